//! The engine on every driver: each scenario is written once and runs on io_uring, on epoll and in
//! the simulation, there once in a perfect world and often in a bad one.

#[path = "../kit/mod.rs"]
#[macro_use]
mod kit;

mod broken;
mod closing;
mod deadlines;
mod echo;
mod http;
mod limits;
mod slow;
