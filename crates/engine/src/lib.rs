//! Listeners, connections, write queues, limits, deadlines, counters, drain.
#![forbid(unsafe_code)]
