//! The engine on every driver: each scenario is written once and runs on io_uring, on epoll and in
//! the simulation, there once in a perfect world and often in a bad one.

#[path = "../kit/mod.rs"]
#[macro_use]
mod kit;

mod accepting;
mod broken;
mod client;
mod close_answers;
mod closing;
mod closing_late;
mod closing_slowly;
mod compression;
mod compression_rules;
mod datagrams;
mod deadlines;
mod echo;
mod filters;
mod half_open;
mod held_up;
mod http;
mod http_bodies;
mod http_keep_alive;
mod http_responses;
mod http_streams;
mod http_whole_responses;
mod kinds;
mod layers;
mod life;
mod limits;
mod not_read;
mod overflow;
mod parts;
mod proxies;
mod pseudo_connections;
mod pushing;
mod reached;
mod requirements;
mod requirements_client;
mod rules;
mod sharing;
mod slow;
mod slow_readers;
mod topics;
mod upgrades;
mod versions;
