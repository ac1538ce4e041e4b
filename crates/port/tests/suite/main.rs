//! The promises of the port, on every driver. This is one program, because linking takes longer
//! than most of these tests. Tests that change the whole process (memory, limits, forks) are
//! programs of their own.

#[path = "../rig/mod.rs"]
#[macro_use]
mod rig;

mod contract;
mod datagrams;
mod delivery;
mod random_acts;
mod sending;
mod simulation;
mod watching;
