//! The macros of a tracing build: each mark is a probe, each claim is noted.

/// Marks the code that does what the requirements demand.
///
/// `requires!("rfc6455/5.1/4" => condition)` is `condition`, and false while the mark is disabled.
/// The condition is evaluated either way.
///
/// `requires!("rfc6455/4.2.2/5");` records that the line was reached, and panics while the mark is
/// disabled.
#[macro_export]
macro_rules! requires {
    ($($id:literal),+ => $condition:expr $(,)?) => {{
        static MARK: $crate::Mark = $crate::Mark::new(
            concat!($($id, " "),+),
            concat!(file!(), ":", line!(), ":", column!()),
        );
        MARK.allows($condition)
    }};
    ($($id:literal),+ $(,)?) => {{
        static MARK: $crate::Mark = $crate::Mark::new(
            concat!($($id, " "),+),
            concat!(file!(), ":", line!(), ":", column!()),
        );
        MARK.reach();
    }};
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
