//! Marks: which line implements which requirement, and which test claims to show it.
//!
//! [`requires!`] encloses the condition that must be true for the code to do what a requirement
//! demands; without a condition it is a statement above code that always does so. [`claims!`] is
//! the first statement of a test, and says that the test fails without the marked code.
//!
//! ```
//! use vespiary_trace::requires;
//!
//! /// RFC 6455 section 5.1: a server closes the connection on a frame that is not masked.
//! fn accept_frame(masked: bool) -> Result<(), &'static str> {
//!     if requires!("rfc6455/5.1/4" => !masked) {
//!         return Err("the client's frame is not masked");
//!     }
//!     Ok(())
//! }
//!
//! assert_eq!(accept_frame(true), Ok(()));
//! assert!(accept_frame(false).is_err());
//! ```
//!
//! In a normal build the macros are what they enclose: this crate then has no dependency, no
//! function and no static, and `tests/cost.rs` compares the instructions.
//!
//! In a tracing build (feature `probes`) a mark is also a probe. Where the environment names a file
//! in `VESPIARY_TRACE`, every mark that is executed gets a slot in it, with a counter of how often
//! it was reached, another of how often its condition was true, and a flag by which `vespiary trace
//! prove` disables it. A disabled mark is false regardless of its condition; a disabled statement
//! panics. The file is mapped by every process that inherits the variable, so that a server in a
//! child process counts too, and a mark is disabled in all of them at once, without a rebuild.
//! Where the variable is unset, the marks of a tracing build are silent.
//!
//! A statement shows less than a condition: that a claiming test executes the code and fails when
//! the code fails, not that it fails when the code does something else. `vespiary trace report`
//! says which is which. A `const fn` cannot have a mark.
#![cfg_attr(not(feature = "probes"), no_std)]
#![cfg_attr(not(feature = "probes"), forbid(unsafe_code))]

#[cfg(not(feature = "probes"))]
mod macros_plain;
#[cfg(feature = "probes")]
mod macros_tracing;
#[cfg(feature = "probes")]
mod probe;
#[cfg(feature = "probes")]
pub mod table;

#[cfg(feature = "probes")]
#[doc(hidden)]
pub use probe::{Claim, Mark};
