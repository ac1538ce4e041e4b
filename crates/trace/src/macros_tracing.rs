//! The macros of a tracing build: each mark is a probe, each claim is noted.

/// The condition that makes the code do what the requirements demand.
///
/// `requires!("rfc6455/5.1/4" => condition)` is `condition`, and `requires!("rfc6455/4.2.2/5")` is
/// `true`, unless the mark is disabled: then both are `false`. The condition is evaluated either
/// way.
#[macro_export]
macro_rules! requires {
    ($($id:literal),+ => $condition:expr $(,)?) => {{
        static MARK: $crate::Mark = $crate::Mark::new(
            concat!($($id, " "),+),
            concat!(file!(), ":", line!(), ":", column!()),
        );
        MARK.allows($condition)
    }};
    ($($id:literal),+ $(,)?) => { $crate::requires!($($id),+ => true) };
}

/// The requirements that this test shows to be met: with their marks disabled it fails.
///
/// The first statement of a test. The claim is noted under the name of the thread, which is the
/// name of the test, so that a test made by a macro is known by its own name.
#[macro_export]
macro_rules! claims {
    ($($id:literal),+ $(,)?) => {{
        static CLAIM: $crate::Claim = $crate::Claim::new(concat!($($id, " "),+));
        CLAIM.note()
    }};
}
