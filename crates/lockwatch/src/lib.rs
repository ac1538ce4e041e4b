//! A library to preload (`LD_PRELOAD`, ld.so(8)) that watches which locks a process takes.
//!
//! It intercepts the calls of the C library's `pthread_mutex_*`, `pthread_rwlock_*`,
//! `pthread_spin_*`, `sem_*` and condition waits. It keeps a record in a file that it shares with
//! the watcher ([`region`]): every lock; every thread, with the locks that it holds and the one
//! that it waits for; and every **order** in which a thread took one lock while it held others.
//! What the orders mean (cycles, gates, threads that cannot meet) is computed elsewhere, during or
//! after the run. Here only facts are written, and they stay in the file even if the process is
//! killed.
//!
//! It affects the program as little as possible:
//!
//! * **An operation that adds no new fact takes nanoseconds.** The lock is found by its address in
//!   a table without locks, each thread has its own list of held locks, and orders that this thread
//!   has recorded lately are recognised by a hash. A stack is captured only for a new order.
//! * **It never waits, and takes no lock itself.** Tables are filled by compare-and-swap. If a
//!   table is full, new entries are dropped and counted.
//! * **It never watches itself.** The functions that it calls (the unwinder, the dynamic loader,
//!   `malloc` inside them) take locks too. While a thread runs code of this library, its operations
//!   are passed on without being recorded.
//! * **It allocates no memory** while a lock is taken: the lock may belong to the allocator.
//! * **It does not change what a call does**: results, errors and `errno` are those of the real
//!   function. The wait for a contended lock has two steps, a short timed wait and then the real
//!   one. Between them, the thread records its stack, so that deadlocks can be reported.
//!
//! In the full mode ([`log`]) every acquisition is recorded too, which costs microseconds.
//!
//! Not seen: programs without the dynamic linker (static programs, Go), locks made of atomics and
//! futexes (Rust's std, parking lots), and operations before this library is ready.

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "vespiary-lockwatch is written for x86-64 and aarch64: its entries are in their machine code"
);

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
mod futexes;
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
mod resident;
mod restrictions;
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
mod unseen;
mod unwind;
