//! A library to preload (`LD_PRELOAD`, ld.so(8)) that watches which locks a process takes.
//!
//! It stands between the program and the C library's `pthread_mutex_*`, `pthread_rwlock_*`,
//! `pthread_spin_*`, `sem_*` and condition waits, and keeps in one file that it shares with
//! anyone who watches ([`region`]): every lock, every thread with the locks it holds and the one it
//! waits for, and every **order** in which a thread took one lock while it held others. What the
//! orders mean (cycles, gates, threads that never met) is worked out elsewhere, after the run or
//! beside it; here only facts are written, and a fact is there even when the process is killed.
//!
//! How it stays out of the way:
//!
//! * **An operation that tells nothing new costs nanoseconds.** The lock is found by its address in
//!   a table without locks, the thread's list of held locks is its own, and an order that this
//!   thread has recorded lately is known by a hash. Only a new order captures a stack.
//! * **It never waits and takes no lock of its own.** Tables are filled by compare-and-swap; one
//!   that is full drops what is new and counts it.
//! * **It never enters itself.** What it calls (the unwinder, the dynamic loader, `malloc` inside
//!   them) takes locks too: while a thread is inside, its operations go straight through.
//! * **It allocates nothing** where a lock is taken: the lock may be the allocator's.
//! * **It does not change what a call does**: results, errors and `errno` are the real function's.
//!   A lock that is contended is waited for in two steps, a short timed wait and then the real one;
//!   between them the thread leaves its stack for anyone who looks for deadlocks.
//!
//! In the full mode ([`log`]) every acquisition is kept besides, which costs microseconds.
//!
//! Not seen: what a program does without the dynamic linker (static programs, Go), locks made of
//! atomics and futexes (Rust's std, parking lots), and operations before this library is ready.

mod births;
mod c11;
mod calls;
mod clock;
mod clocks;
mod current;
mod edges;
mod ends;
mod events;
mod execs;
mod forks;
mod frame_rules;
mod frees;
mod handovers;
mod held;
mod interpreter;
mod layout;
mod loaded;
mod loader;
mod locks;
mod log;
mod mapped;
mod memory;
mod modules;
mod mutexes;
mod notes;
mod objects;
mod once;
mod perturb;
mod processes;
mod python;
mod read_write_locks;
mod readable;
mod real;
mod recorded;
mod region;
mod semaphores;
mod shared;
mod spin_locks;
mod stacks;
mod start;
mod streams;
mod symbols;
mod texts;
mod thread_calls;
mod threads;
mod unwind;
