//! The one error type of the crate: a run that cannot begin. What goes wrong while it runs is not
//! an error but its result, and is in the report.

use std::fmt;
use std::io;

/// Why a run cannot begin or continue.
#[derive(Debug)]
pub enum Error {
    /// The plan is wrong; the text names the option and what it allows.
    Plan(String),
    /// The process may not open enough descriptors; the text says how many are needed and what to
    /// do.
    Descriptors(String),
    /// The kernel refused something that the run as a whole needs.
    System {
        /// What was tried.
        attempt: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn plan(text: impl Into<String>) -> Self {
        Self::Plan(text.into())
    }

    pub(crate) fn system(attempt: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { attempt, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(text) | Self::Descriptors(text) => formatter.write_str(text),
            Self::System { attempt, source } => write!(formatter, "{attempt}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
