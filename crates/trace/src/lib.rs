//! Marks: which line meets which requirement, and which test says that it shows so.
//!
//! A specification is a list of requirements; a program is a list of conditions. [`requires!`] ties
//! one to the other: it encloses the condition whose being true makes the code do what a
//! requirement demands. [`claims!`] stands first in a test, and says that the test fails when that
//! condition never comes true.
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
//! In a normal build that is all. The macros give back what they enclose: this crate then has no
//! dependency, no function and no static, and `tests/cost.rs` compares the instructions.
//!
//! In a tracing build (feature `probes`) a mark is also a probe. Where the environment names a file
//! in `VESPIARY_TRACE`, every mark that is executed gets a slot in it, with a counter of how often
//! it was reached, another of how often its condition was true, and a flag by which `vespiary trace
//! prove` disables it: a disabled mark is false whatever its condition. The file is mapped by
//! every process that inherits the variable, so that a server in a child process counts too, and a
//! mark is disabled in all of them at once, without a rebuild. Where the variable is unset, the
//! marks of a tracing build are silent.
//!
//! What it cannot see: a requirement that no condition guards (a constant, the order of two
//! statements), and a `const fn`, in which a probe cannot stand.
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
