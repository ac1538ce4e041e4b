//! The start of the process, and of a child.

use std::sync::atomic::Ordering;

use crate::{
    births, clocks, edges, events, forks, loader, locks, log, notes, perturb, python, real, region,
    shared, stacks, texts, threads,
};

#[used]
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = on_load;

extern "C" fn on_load() {
    // SAFETY: the handlers stay loaded with this library.
    unsafe {
        libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(on_fork));
        libc::atexit(on_exit);
    }
    real::open();
    loader::open();
    notes::open();
    threads::open();
    perturb::begin();
    region::allow(make_region);
}

/// Make this process's region.
fn make_region() {
    notes::with_folder(|folder| {
        locks::open();
        births::open();
        region::open(folder);
    });
    if let Some(region) = region::present() {
        forks::unpack(region);
    }
}

unsafe extern "C" fn before_fork() {
    // SAFETY: this is the moment that it is for.
    unsafe { forks::prepare() };
    threads::step_aside();
}

unsafe extern "C" fn after_fork() {
    threads::step_back();
    // SAFETY: this is the moment that it is for.
    unsafe { forks::in_parent() };
}

unsafe extern "C" fn on_fork() {
    threads::step_back();
    forks::in_child();
    python::gil::on_fork();
    // The parent's file stays the parent's.
    region::forget();
    threads::forget();
    stacks::forget();
    edges::forget();
    clocks::forget();
    events::forget();
    texts::forget();
    log::forget();
    python::forget();
    region::allow(make_region);
}

extern "C" fn on_exit() {
    if let Some(region) = region::present() {
        threads::tell_shared(region);
        shared::tell_private(region);
        region.header.ended.store(1, Ordering::Release);
        log::end();
        notes::modules();
    }
}
