//! The macros of a normal build: they are what they enclose.

/// Marks the code that does what the requirements demand.
///
/// `requires!("rfc6455/5.1/4" => condition)` is `condition`. Several requirements may share one
/// condition: `requires!("a", "b" => condition)`. In a tracing build the mark can be disabled; then
/// it is `false`. Write the code so that the marked condition guards what is required.
///
/// `requires!("rfc6455/4.2.2/5");` is a statement, on its own line above code that has no condition
/// and always does what is required. It compiles to nothing. In a tracing build it panics when it
/// is reached while the mark is disabled.
#[macro_export]
macro_rules! requires {
    ($($id:literal),+ => $condition:expr $(,)?) => {
        $condition
    };
    ($($id:literal),+ $(,)?) => {
        ()
    };
}

/// The requirements that this test shows to be met: with their marks disabled it fails.
///
/// The first statement of a test: `claims!("rfc6455/5.1/4");`.
#[macro_export]
macro_rules! claims {
    ($($id:literal),+ $(,)?) => {
        ()
    };
}
