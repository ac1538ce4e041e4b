//! A toy protocol, one mark for everything that may come of disabling one.

use vespiary_trace::requires;

/// Proven: a test fails without it.
pub fn refused(masked: bool) -> bool {
    requires!("toy/1/1" => !masked)
}

/// Survives: the test that claims it makes it act, and looks at something else.
pub fn capped(length: u64) -> u64 {
    if requires!("toy/1/2" => length > 125) {
        return 125;
    }
    length
}

/// Unreached: the test that claims it never comes here.
pub fn closed(code: u16) -> bool {
    requires!("toy/1/3" => code == 1000)
}

/// Without it, the loop does not end.
pub fn waited(turns: u64) -> u64 {
    let mut done = 0;
    loop {
        done += 1;
        if requires!("toy/1/4" => done >= turns) {
            return done;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Executed in another process than that of the test.
pub fn greeting() -> &'static str {
    requires!("toy/1/5");
    "hello"
}

/// No test claims it.
pub fn ignored() -> bool {
    requires!("toy/1/6");
    true
}

/// Two requirements, of which one is claimed by a test that does not need it.
pub fn both(text: &str) -> bool {
    requires!("toy/1/7", "toy/1/8" => text.len() > 3)
}

/// Either of these does what is required, so that disabling one alone shows nothing.
pub fn doubly(text: &str) -> bool {
    let empty = requires!("toy/1/9" => text.is_empty());
    let short = requires!("toy/1/9" => text.len() < 2);
    empty || short
}

/// Reached: a test that claims it fails when this fails.
pub fn framed() -> [u8; 2] {
    requires!("toy/1/10");
    [0x81, 0x00]
}

/// Survives: the test that claims it looks away when this fails.
pub fn tried() -> u8 {
    requires!("toy/1/11");
    7
}

macro_rules! guard {
    ($condition:expr) => {
        requires!("toy/1/12" => $condition)
    };
}

/// The mark of these two stands in a macro: the compiler knows it by the macro's calls.
pub fn guarded(text: &str) -> bool {
    guard!(text.len() > 2)
}

/// The other of the two.
pub fn guarded_also(text: &str) -> bool {
    guard!(text.is_ascii())
}

macro_rules! named {
    ($id:literal, $condition:expr) => {
        requires!($id => $condition)
    };
}

/// The identifier of its mark is a parameter of a macro.
pub fn named(text: &str) -> bool {
    named!("toy/1/13", text.len() > 2)
}

/// Without the mark it reads beyond the end.
pub fn fourth(text: &[u8]) -> Option<u8> {
    if requires!("toy/1/14" => text.len() < 4) {
        return None;
    }
    Some(text[3])
}

/// Its test shows nothing that it keeps back.
pub fn even(numbers: &[u8]) -> Vec<u8> {
    let kept = numbers
        .iter()
        .filter(|number| requires!("toy/1/15" => **number % 2 == 0));
    kept.copied().collect()
}

/// Its test shows what each of the two conditions refuses.
pub fn within(number: u8) -> bool {
    requires!("toy/1/16" => number > 3) && requires!("toy/1/16" => number < 9)
}
