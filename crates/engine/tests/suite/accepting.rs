//! Errors of `accept(2)` are survived: told, paused for, and over when their cause is.

use crate::kit::defaults;
use crate::kit::{Bench, Driver, Ending, Peer, Script};
use std::fs::File;
use std::process::Command;
use vespiary_engine::port::Errno;
use vespiary_engine::port::driver::Preference;
use vespiary_engine::port::sim::Faults;
use vespiary_engine::{Event, Framing, Options};

on_every_driver_and_with_faults!(
    a_suspended_listener_accepts_nobody_until_it_continues,
    a_closed_listener_refuses_and_its_connections_stay,
    suspending_and_going_on_at_once_loses_nobody,
    many_connections_at_once_are_all_accepted,
);

fn lines() -> Options {
    defaults(Framing::Line { ending: b"\n" })
}

fn is_served(bench: &Bench, peer: &mut Peer) {
    peer.send(bench, b"hello\n");
    assert_eq!(peer.take(bench, 6), b"hello\n");
}

#[test]
fn every_error_of_accept_is_reported_paused_for_and_survived_on_sim() {
    let faults = Faults {
        accept_error_permille: 700,
        ..Faults::none()
    };
    for seed in 0..20 {
        let driver = Driver::Simulated(seed, faults.clone());
        driver.run(|bench| {
            let place = bench.listen(lines(), Script::echo());
            let mut peers: Vec<Peer> = (0..20).map(|_| bench.connect(&place)).collect();
            for peer in &mut peers {
                is_served(bench, peer);
            }
            let errors: u64 = place.counters().accept_errors.borrow().values().sum();
            let told = bench.host().events();
            assert_eq!(told.len() as u64, errors);
            let pauses = told.iter().all(|event| {
                matches!(
                    event,
                    Event::AcceptFailed {
                        pause_milliseconds: 100,
                        ..
                    }
                )
            });
            assert!(pauses, "{told:?}");
            assert!(errors > 0);
        });
    }
}

/// Set in a process that has few descriptors.
const FEW: &str = "VESPIARY_FEW_DESCRIPTORS";

/// Run the test that is called `name` once more, in a process of its own with few descriptors,
/// because a limit on descriptors is a process's; there `scenario` is run.
fn with_few_descriptors(name: &str, driver: Driver, scenario: fn(&Bench)) {
    if std::env::var_os(FEW).is_some() {
        return driver.run(scenario);
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 96 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg(format!("accepting::{name}"))
        .env(FEW, "1")
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{errors}"
    );
    eprint!("{errors}");
}

#[test]
fn a_full_descriptor_table_is_survived_on_uring() {
    let name = "a_full_descriptor_table_is_survived_on_uring";
    with_few_descriptors(name, Driver::Kernel(Preference::Uring), descriptors_run_out);
}

#[test]
fn a_full_descriptor_table_is_survived_on_epoll() {
    let name = "a_full_descriptor_table_is_survived_on_epoll";
    with_few_descriptors(name, Driver::Kernel(Preference::Epoll), descriptors_run_out);
}

fn descriptors_run_out(bench: &Bench) {
    const EMFILE: i32 = 24;
    let place = bench.listen(lines(), Script::echo());
    let mut first = bench.connect_open(&place);
    is_served(bench, &mut first);
    let mut waiting = bench.connect(&place);
    let mut others = Vec::new();
    // The connection waits in the kernel's queue; now take every descriptor there is.
    while let Ok(file) = File::open("/dev/null") {
        others.push(file);
        assert!(
            others.len() < 1000,
            "the limit on descriptors does not hold"
        );
    }
    let failures = || {
        place
            .counters()
            .accept_errors
            .borrow()
            .get(&EMFILE)
            .copied()
            .unwrap_or(0)
    };
    bench.until("the first failure", || failures() == 1);
    is_served(bench, &mut first);
    let start = bench.engine.now_ms();
    bench.until("the third failure", || failures() == 3);
    let took = bench.engine.now_ms() - start;
    assert!(took >= 150, "accepting spins: {took} ms");
    let events = bench.host().events();
    let event = Event::AcceptFailed {
        errno: EMFILE,
        pause_milliseconds: 100,
    };
    assert!(
        events.len() >= 3 && events.iter().all(|told| *told == event),
        "{events:?}"
    );
    drop(others);
    is_served(bench, &mut waiting);
    is_served(bench, &mut first);
}

fn a_suspended_listener_accepts_nobody_until_it_continues(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let mut first = bench.connect_open(&place);
    place.listener.suspend();
    bench.settle();
    let mut second = bench.connect(&place);
    bench.settle();
    assert_eq!(place.counters().accepted.get(), 1);
    is_served(bench, &mut first);
    place.listener.unsuspend();
    is_served(bench, &mut second);
}

fn a_closed_listener_refuses_and_its_connections_stay(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let mut first = bench.connect_open(&place);
    place.listener.close();
    place.listener.close();
    bench.settle();
    let endpoint = Script::sink().endpoint(lines());
    drop(
        bench
            .engine
            .connect(&place.address, None, endpoint, None)
            .expect("a socket"),
    );
    bench.until_closed(1);
    assert_eq!(
        bench.host().reasons()[0].errno(),
        Some(Errno(111)),
        "ECONNREFUSED"
    );
    is_served(bench, &mut first);
}

fn suspending_and_going_on_at_once_loses_nobody(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    for _ in 0..20 {
        let mut peer = bench.connect(&place);
        place.listener.suspend();
        place.listener.unsuspend();
        bench.turn();
        place.listener.suspend();
        bench.turn();
        place.listener.unsuspend();
        is_served(bench, &mut peer);
    }
    place.listener.suspend();
    place.listener.close();
    bench.settle();
    assert_eq!(
        bench.book.borrow().outstanding.len(),
        bench.engine.connection_count()
    );
}

fn many_connections_at_once_are_all_accepted(bench: &Bench) {
    let place = bench.listen(lines(), Script::echo());
    let mut peers: Vec<Peer> = (0..300).map(|_| bench.connect(&place)).collect();
    for peer in &mut peers {
        peer.write(b"hello\n");
        peer.finish();
    }
    for peer in &mut peers {
        assert_eq!(
            peer.take_rest(bench),
            (b"hello\n".to_vec(), Ending::Finished)
        );
    }
    bench.until_closed(300);
    assert_eq!(place.counters().opened.get(), 300);
    assert_eq!(place.counters().closed.get(), 300);
}
