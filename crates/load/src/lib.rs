//! The load and black-box client: opens connections, sends messages, verifies every echo byte for
//! byte, measures.
//!
//! ```no_run
//! use std::time::Duration;
//! use vespiary_load::{Phase, Plan, Run, Target};
//!
//! # fn main() -> Result<(), vespiary_load::Error> {
//! let mut plan = Plan::new(Target::parse("ws://127.0.0.1:9001/")?);
//! plan.connections = 100;
//! plan.messages = Some(1000);
//! let mut run = Run::new(plan)?;
//! while run.step(Duration::from_millis(200))?.phase != Phase::Done {}
//! let report = run.finish();
//! println!("{:.0} messages/s, clean: {}", report.messages_per_second(), report.is_clean());
//! # Ok(())
//! # }
//! ```
//!
//! A [`Plan`] says what to do, a [`Run`] does it on the calling thread, a [`BackgroundRun`] on one
//! of its own, and the [`Report`] tells the result. What goes wrong with a server is never an
//! [`Error`] but part of the report.
//!
//! Everything is bounded: connections, messages in flight, bytes waiting, problems described, and
//! every wait.
#![forbid(unsafe_code)]

mod arrivals;
mod background;
mod clock;
mod compression;
mod connection;
mod cutter;
mod datagrams;
mod descriptors;
mod ending;
mod error;
mod framing;
mod http;
mod json;
mod ledger;
mod matching;
mod own;
mod pace;
mod payload;
mod plan;
mod random;
mod reception;
mod record;
mod report;
mod run;
mod schedule;
mod series;
mod shape;
mod shared;
mod stamps;
mod target;
mod tls;
mod traffic;
mod verify;
mod websocket;

pub use background::BackgroundRun;
pub use error::Error;
pub use framing::Framing;
pub use plan::{
    CONNECTIONS_MAX, Driver, FREE_BYTES_MAX, FREE_MESSAGES_MAX, Fragment, PIPELINE_MAX,
    PROBLEMS_MAX, Plan, Reply, SIZE_MAX,
};
pub use record::{Counts, Fault, Problem};
pub use report::{Latency, Paced, Report, named as named_counts};
pub use run::{Phase, Progress, Run};
pub use series::Point;
pub use target::{Protocol, Resource, Target};
pub use tls::TlsSettings;
