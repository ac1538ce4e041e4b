//! The shared file: who takes slots, and what is refused.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use vespiary_trace::table::{Kind, TEXT_BYTES_MAX, Table, TableError};

fn place(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn a_mark_has_the_same_slot_in_every_mapping() {
    let path = place("same-slot");
    let one = Table::open(&path).expect("a new file");
    let other = Table::open(&path).expect("the same file");
    let slot = one
        .claim(Kind::Mark, "a/1/1 a/1/2", "x.rs:1:2")
        .expect("a slot");
    slot.disabled.store(1, Relaxed);
    let seen = other
        .claim(Kind::Mark, "a/1/1 a/1/2", "x.rs:1:2")
        .expect("the slot");
    assert_eq!(seen.disabled.load(Relaxed), 1);
    assert_eq!(
        (seen.ids().as_str(), seen.site().as_str()),
        ("a/1/1 a/1/2", "x.rs:1:2")
    );
    assert_eq!(other.slots().len(), 1);
}

#[test]
fn what_differs_in_its_kind_or_identifiers_or_site_has_a_slot_of_its_own() {
    let table = Table::open(&place("differs")).expect("a new file");
    for (kind, ids, site) in [
        (Kind::Mark, "a", "x.rs:1:1"),
        (Kind::Claim, "a", "x.rs:1:1"),
        (Kind::Mark, "ax", ".rs:1:1"),
        (Kind::Mark, "a", "x.rs:1:2"),
    ] {
        table.claim(kind, ids, site).expect("a slot");
    }
    assert_eq!(table.slots().len(), 4);
}

#[test]
fn threads_that_claim_at_once_agree_on_the_slots() {
    let path = place("threads");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let table = Table::open(&path).expect("the file");
                for number in 0..100 {
                    let slot = table.claim(Kind::Mark, "a", &format!("x.rs:{number}:1"));
                    slot.expect("a slot").reached.fetch_add(1, Relaxed);
                }
            });
        }
    });
    let table = Table::open(&path).expect("the file");
    let counts: Vec<u64> = table
        .slots()
        .iter()
        .map(|slot| slot.reached.load(Relaxed))
        .collect();
    assert_eq!(counts, vec![4; 100]);
}

#[test]
fn a_full_file_is_an_error_that_tells_its_capacity() {
    let table = Table::open_or_make(&place("full"), 2).expect("a new file");
    for site in ["x.rs:1:1", "x.rs:2:1", "x.rs:2:1"] {
        table.claim(Kind::Mark, "a", site).expect("a slot");
    }
    let error = table
        .claim(Kind::Mark, "a", "x.rs:3:1")
        .expect_err("no slot is left");
    assert!(matches!(error, TableError::Full(_, 2)), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("is full: it has 2 slots; make it with more")
    );
}

#[test]
fn a_foreign_file_is_refused_and_left_as_it_was() {
    for (name, bytes) in [
        ("short", b"hello".to_vec()),
        ("long", vec![b'x'; 1 << 16]),
        (
            "version",
            [b"VSPTRACE\xff\xff\xff\xff".to_vec(), vec![0; 4096]].concat(),
        ),
        ("cut", cut_table()),
    ] {
        let path = place(&format!("foreign-{name}"));
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(&bytes).expect("its bytes");
        let error = Table::open(&path).err().expect("it is refused");
        assert!(matches!(error, TableError::Foreign(_)), "{name}: {error}");
        assert_eq!(std::fs::read(&path).expect("the file"), bytes, "{name}");
    }
}

fn cut_table() -> Vec<u8> {
    let path = place("whole");
    Table::open_or_make(&path, 3).expect("a new file");
    let mut bytes = std::fs::read(&path).expect("the file");
    bytes.truncate(bytes.len() - 1);
    bytes
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error_that_names_it() {
    let error = Table::open(Path::new("/nonexistent/trace"))
        .err()
        .expect("no directory");
    assert!(
        error.to_string().starts_with("/nonexistent/trace: "),
        "{error}"
    );
}

#[test]
fn a_mark_with_too_long_a_path_is_an_error_that_names_it() {
    let table = Table::open(&place("long-site")).expect("a new file");
    let site = "x".repeat(TEXT_BYTES_MAX);
    let error = table
        .claim(Kind::Mark, "a", &site)
        .expect_err("it is too long");
    assert!(error.to_string().contains(&site));
    table.claim(Kind::Mark, "", &site).expect("it just fits");
}
