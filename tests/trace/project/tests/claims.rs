//! The toy's tests.

use vespiary_trace::claims;

#[test]
fn what_is_not_masked_is_refused() {
    claims!("toy/1/1");
    assert!(toy::refused(false));
    assert!(!toy::refused(true));
}

#[test]
fn what_is_long_is_capped() {
    claims!("toy/1/2");
    assert!(toy::capped(126) > 100);
}

#[test]
fn a_close_code_is_looked_at() {
    claims!("toy/1/3");
    assert!(!toy::refused(true));
}

#[test]
fn waiting_ends() {
    claims!("toy/1/4");
    assert_eq!(toy::waited(3), 3);
}

#[test]
fn another_process_greets() {
    claims!("toy/1/5");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_greeter")).output();
    assert_eq!(output.expect("it runs").stdout, b"hello\n");
}

fn long_texts_are_both(text: &str) {
    claims!("toy/1/7");
    assert!(toy::both(text));
}

macro_rules! with_every_text {
    ($($scenario:ident),*) => { $(
        mod $scenario {
            #[test]
            fn with_four() {
                super::$scenario("four");
            }

            #[test]
            fn with_seven() {
                super::$scenario("seven");
            }
        }
    )* };
}

with_every_text!(long_texts_are_both);

#[test]
fn it_claims_more_than_it_shows() {
    claims!("toy/1/1", "toy/1/8");
    assert!(toy::refused(false));
    toy::both("four");
}

#[test]
fn an_empty_text_is_doubly_so() {
    claims!("toy/1/9");
    assert!(toy::doubly(""));
}

#[test]
fn a_short_text_has_no_fourth() {
    claims!("toy/1/14");
    assert_eq!(toy::fourth(b"abc"), None);
}

#[test]
fn even_numbers_are_kept() {
    claims!("toy/1/15");
    assert_eq!(toy::even(&[2, 4]), [2, 4]);
}

#[test]
fn numbers_lie_within_bounds() {
    claims!("toy/1/16");
    assert!(toy::within(4));
    assert!(!toy::within(3));
    assert!(!toy::within(9));
}

#[test]
fn a_frame_has_a_head() {
    claims!("toy/1/10");
    assert_eq!(toy::framed()[0], 0x81);
}

#[test]
fn a_failure_is_caught_and_forgotten() {
    claims!("toy/1/11");
    let _ = std::panic::catch_unwind(toy::tried);
}

#[test]
fn a_test_that_claims_nothing_is_not_run() {
    std::thread::sleep(std::time::Duration::from_secs(600));
}

#[test]
fn a_claim_that_is_not_come_to() {
    if toy::refused(true) {
        claims!("toy/1/1");
    }
}

macro_rules! claiming_tests {
    ($($name:ident: $id:literal => $shown:expr;)*) => { $(
        #[test]
        fn $name() {
            claims!($id);
            assert!($shown);
        }
    )* };
}

claiming_tests! {
    a_guard_of_a_macro_lets_through: "toy/1/12" => toy::guarded("abc");
    another_guard_of_the_macro_lets_through: "toy/1/12" => toy::guarded_also("abc");
    a_mark_named_by_a_macros_call_lets_through: "toy/1/13" => toy::named("abc");
}

macro_rules! with_four {
    ($name:ident, |$text:ident| $body:expr) => {
        #[test]
        fn $name() {
            closure("four");

            fn closure($text: &str) {
                $body
            }
        }
    };
}

with_four! {
    a_claim_stands_in_the_arguments_of_a_macro,
    |text| {
        claims!("toy/1/7");
        assert!(toy::both(text));
    }
}

#[cfg(feature = "more")]
#[test]
fn only_with_a_feature() {
    claims!("toy/1/1");
    assert!(toy::refused(false));
}
