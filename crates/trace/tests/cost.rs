//! A mark costs nothing in a normal build: the compiler makes the same instructions with it and
//! without it. The third function holds a counter where the mark would be, and shows that the
//! comparison sees a difference where there is one.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = r#"
use std::sync::atomic::{AtomicU64, Ordering};
use vespiary_trace::{claims, requires};

static COUNTER: AtomicU64 = AtomicU64::new(0);

#[unsafe(no_mangle)]
pub fn unmarked(masked: bool, length: u64) -> u64 {
    if !masked { return 1002; }
    if length > 125 { return 1009; }
    length
}

#[unsafe(no_mangle)]
pub fn marked(masked: bool, length: u64) -> u64 {
    claims!("a/1/1", "a/1/2");
    if requires!("a/1/1" => !masked) { return 1002; }
    if requires!("a/1/2", "a/1/3" => length > 125) { return 1009; }
    requires!("a/1/4");
    length
}

#[unsafe(no_mangle)]
pub fn counted(masked: bool, length: u64) -> u64 {
    COUNTER.fetch_add(1, Ordering::Relaxed);
    if !masked { return 1002; }
    if length > 125 { return 1009; }
    length
}
"#;

fn compile(directory: &Path, arguments: &[&str]) {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler)
        .args(["--edition", "2024", "--crate-type", "lib", "-O"])
        // One function is otherwise made an alias of the other, when both are the same.
        .args(["-Z", "merge-functions=disabled"])
        .args(arguments)
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(directory)
        .output()
        .expect("rustc runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// The instructions of a function, without the labels and notes of the assembler.
fn instructions(assembly: &str, function: &str) -> Vec<String> {
    let body = assembly
        .split_once(&format!("\n{function}:\n"))
        .expect("the function is there")
        .1;
    let body = body.split_once(".cfi_endproc").expect("it ends").0;
    let lines = body.lines().map(str::trim);
    let lines: Vec<String> = lines
        .filter(|line| !line.starts_with(['.', '#']) && !line.ends_with(':'))
        .map(|line| line.split(".LBB").next().unwrap_or(line).to_owned())
        .collect();
    assert!(lines.len() > 2, "{lines:?}");
    lines
}

#[test]
fn a_mark_adds_no_instruction_to_a_normal_build() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cost");
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("cost.rs"), SOURCE).expect("the source");
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs");
    compile(&directory, &["--crate-name", "vespiary_trace", library]);
    compile(
        &directory,
        &[
            "--emit",
            "asm",
            "--extern",
            "vespiary_trace=libvespiary_trace.rlib",
            "cost.rs",
        ],
    );
    let assembly = std::fs::read_to_string(directory.join("cost.s")).expect("the assembly");
    let marked = instructions(&assembly, "marked");
    assert_eq!(marked, instructions(&assembly, "unmarked"));
    assert_ne!(marked, instructions(&assembly, "counted"));
}
