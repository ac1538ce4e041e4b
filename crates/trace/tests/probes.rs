//! Marks and claims in child processes: each scenario runs this binary's test `child` alone, with
//! or without a file to count in.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::Ordering::Relaxed;
use vespiary_trace::table::{FORCED, Kind, Slot, Table, VARIABLE};
use vespiary_trace::{claims, requires};

/// What a child does: it executes marks, and returns a number that shows which of them acted.
fn act(masked: bool) -> u32 {
    let mut acts = 0;
    if requires!("a/1/1" => !masked) {
        acts += 1;
    }
    requires!("a/1/2", "a/1/3");
    acts + 10
}

#[test]
fn child() {
    claims!("a/1/1", "a/1/2");
    let threads: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(|| (0..50).map(|_| act(false)).max()))
        .collect();
    for thread in threads {
        thread.join().expect("the thread ends normally");
    }
    println!("acts: {} {}", act(false), act(true));
}

fn run_child(file: Option<&Path>) -> Output {
    start_child(file).wait_with_output().expect("its output")
}

fn start_child(file: Option<&Path>) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["child", "--exact", "--nocapture"]);
    command.env_remove(VARIABLE);
    if let Some(file) = file {
        command.env(VARIABLE, file);
    }
    let piped = std::process::Stdio::piped;
    command
        .stdout(piped())
        .stderr(piped())
        .spawn()
        .expect("it starts")
}

fn place(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("probes-{name}"));
    let _ = std::fs::remove_file(&path);
    path
}

fn slot(table: &Table, ids: &str) -> &'static Slot {
    let mut slots = table.slots().iter();
    slots.find(|slot| slot.ids() == ids).expect("the slot")
}

fn printed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let at = text.find("acts: ").unwrap_or_else(|| panic!("{output:?}"));
    text[at..].lines().next().unwrap_or_default().to_owned()
}

#[test]
fn probes_are_silent_without_a_file() {
    assert_eq!(printed(&run_child(None)), "acts: 11 10");
    assert_eq!(printed(&run_child(Some(Path::new("")))), "acts: 11 10");
}

#[test]
fn a_mark_counts_how_often_it_is_reached_and_how_often_it_acts() {
    let path = place("counts");
    assert_eq!(printed(&run_child(Some(&path))), "acts: 11 10");
    let table = Table::open(&path).expect("the file");
    let mark = slot(&table, "a/1/1");
    assert_eq!(
        (mark.reached.load(Relaxed), mark.acted.load(Relaxed)),
        (202, 201)
    );
    assert!(
        mark.site().starts_with(concat!(file!(), ":")),
        "{}",
        mark.site()
    );
    assert_eq!(slot(&table, "a/1/2 a/1/3").acted.load(Relaxed), 202);
}

#[test]
fn a_disabled_mark_is_false_and_its_condition_is_still_counted() {
    let path = place("disabled");
    run_child(Some(&path));
    let table = Table::open(&path).expect("the file");
    let mark = slot(&table, "a/1/1");
    mark.disabled.store(1, Relaxed);
    assert_eq!(printed(&run_child(Some(&path))), "acts: 10 10");
    assert_eq!(mark.acted.load(Relaxed), 402);
}

#[test]
fn a_forced_mark_is_true_and_its_condition_is_still_counted() {
    let path = place("forced");
    run_child(Some(&path));
    let table = Table::open(&path).expect("the file");
    let mark = slot(&table, "a/1/1");
    mark.disabled.store(FORCED, Relaxed);
    let (reached, acted) = (mark.reached.load(Relaxed), mark.acted.load(Relaxed));
    assert_eq!(printed(&run_child(Some(&path))), "acts: 11 11");
    assert_eq!(mark.reached.load(Relaxed) - reached, 202);
    assert_eq!(mark.acted.load(Relaxed) - acted, 201);
}

#[test]
fn a_disabled_statement_panics_and_names_its_requirements() {
    let path = place("statement");
    run_child(Some(&path));
    let table = Table::open(&path).expect("the file");
    let mark = slot(&table, "a/1/2 a/1/3");
    mark.disabled.store(1, Relaxed);
    let output = run_child(Some(&path));
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(
        errors.contains("the code that implements a/1/2 a/1/3 at"),
        "{errors}"
    );
    assert!(mark.reached.load(Relaxed) > 202);
}

#[test]
fn a_claim_is_noted_under_the_name_of_its_test() {
    let path = place("claim");
    run_child(Some(&path));
    let table = Table::open(&path).expect("the file");
    assert_eq!(slot(&table, "a/1/1 a/1/2").site(), "child");
}

#[test]
fn processes_that_run_at_once_count_in_the_same_slots() {
    let path = place("processes");
    let children: Vec<_> = (0..6).map(|_| start_child(Some(&path))).collect();
    for child in children {
        let output = child.wait_with_output().expect("its output");
        assert_eq!(printed(&output), "acts: 11 10");
    }
    let table = Table::open(&path).expect("the file");
    let kinds = [Kind::Mark, Kind::Claim];
    assert_eq!(table.slots().len(), kinds.len() + 1);
    assert_eq!(slot(&table, "a/1/1").reached.load(Relaxed), 6 * 202);
}

#[test]
fn a_foreign_file_fails_the_test_that_would_have_counted() {
    let path = place("foreign");
    std::fs::write(&path, "somebody's notes").expect("a file");
    let output = run_child(Some(&path));
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(
        errors.contains("is not a table of traced marks"),
        "{errors}"
    );
    assert_eq!(std::fs::read(&path).expect("the file"), b"somebody's notes");
}
