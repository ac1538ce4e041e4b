//! Whole runs over real sockets, on both drivers of the kernel, against servers that echo rightly
//! and wrongly.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use vespiary_load::{
    BackgroundRun, Driver, Error, Fault, Fragment, Framing, Phase, Plan, Report, Run, Target,
};

/// Serve `connections` connections, each in a thread of its own, and give the address.
fn serve(connections: u32, treat: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().expect("a connection");
            let treat = treat.clone();
            thread::spawn(move || treat(stream));
        }
    });
    format!("tcp://{address}")
}

/// Echo, with each piece passed through `change`, until the end of the stream.
fn echo(mut stream: TcpStream, mut change: impl FnMut(&mut Vec<u8>)) {
    let mut buffer = vec![0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                let mut bytes = buffer[..count].to_vec();
                change(&mut bytes);
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        }
    }
}

fn plan(url: &str, driver: Driver) -> Plan {
    let mut plan = Plan::new(Target::parse(url).expect("an address"));
    plan.driver = driver;
    plan.connections = 8;
    plan.messages = Some(50);
    plan.pipeline = 4;
    plan.seed = Some(11);
    plan
}

fn run(plan: Plan) -> Report {
    let mut run = Run::new(plan).expect("a plan that can be run");
    let began = Instant::now();
    while run
        .step(Duration::from_millis(100))
        .expect("the port works")
        .phase
        != Phase::Done
    {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the run does not end"
        );
    }
    run.finish()
}

const DRIVERS: [Driver; 2] = [Driver::Uring, Driver::Epoll];

#[test]
fn a_true_echo_is_clean_under_every_framing_and_cut() {
    for driver in DRIVERS {
        for framing in ["raw", "line", "crlf", "length", "length:2le+self"] {
            for fragment in [None, Some(Fragment::default())] {
                let mut plan = plan(&serve(8, |stream| echo(stream, |_| {})), driver);
                plan.framing = Framing::parse(framing).expect("known");
                plan.fragment = fragment;
                let report = run(plan);
                assert!(
                    report.is_clean() && report.is_complete,
                    "{framing}: {report:?}"
                );
                assert_eq!(report.counts.received, 400);
                assert_eq!(report.latency.count, 400);
                assert_eq!(report.counts.bytes_sent, report.counts.bytes_received);
            }
        }
    }
}

#[test]
fn messages_larger_than_the_sockets_buffers_pass_in_both_directions() {
    for driver in DRIVERS {
        let mut plan = plan(&serve(2, |stream| echo(stream, |_| {})), driver);
        plan.connections = 2;
        plan.messages = Some(6);
        plan.pipeline = 3;
        plan.size = 3 << 20;
        let report = run(plan);
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.counts.bytes_received, 36 << 20);
    }
}

#[test]
fn one_altered_byte_in_a_megabyte_is_found() {
    for driver in DRIVERS {
        let url = serve(1, |stream| {
            let mut place = 0;
            echo(stream, |bytes| {
                if let Some(byte) = bytes.get_mut(500_000_usize.wrapping_sub(place)) {
                    *byte ^= 1;
                }
                place += bytes.len();
            });
        });
        let mut plan = plan(&url, driver);
        plan.connections = 1;
        plan.messages = Some(1000);
        plan.pipeline = 0;
        plan.size = 1000;
        let report = run(plan);
        assert!(!report.is_clean());
        assert_eq!((report.counts.altered, report.counts.received), (1, 1000));
        let problem = &report.problems[0];
        assert_eq!(
            (problem.fault, problem.message, problem.offset),
            (Fault::Altered, Some(500), Some(0))
        );
    }
}

#[test]
fn a_server_that_ends_its_side_early_is_reported_with_what_is_lost() {
    for driver in DRIVERS {
        let url = serve(8, |mut stream| {
            let mut message = [0; 32];
            stream.read_exact(&mut message).expect("a message");
            stream.write_all(&message).expect("the client reads");
            stream.shutdown(Shutdown::Write).expect("it is open");
            // Reading on, so that it is an end of stream and not a reset.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let report = run(plan(&url, driver));
        assert_eq!((report.counts.closed, report.counts.reset), (8, 0));
        assert_eq!(report.counts.received, 8);
        assert_eq!(report.counts.lost + report.counts.unsent, 392);
        assert_eq!(report.problems[0].message, Some(1));
    }
}

#[test]
fn silence_ends_with_the_reply_timeout_and_the_connect_timeout() {
    for driver in DRIVERS {
        let silent = |mut stream: TcpStream| {
            let _ = stream.read_to_end(&mut Vec::new());
        };
        let mut waiting = plan(&serve(8, silent), driver);
        waiting.reply_timeout = Duration::from_millis(200);
        let report = run(waiting);
        assert_eq!((report.counts.lost, report.counts.unsent), (32, 368));
        assert_eq!(report.problems[0].fault, Fault::Lost);

        let url = serve(8, silent).replace("tcp:", "ws:");
        let mut shaking = plan(&url, driver);
        shaking.connect_timeout = Duration::from_millis(200);
        let report = run(shaking);
        assert_eq!((report.counts.refused, report.counts.connected), (8, 0));
    }
}

#[test]
fn a_run_in_the_background_can_be_stopped_and_gives_its_report_once() {
    let mut plan = plan(&serve(8, |stream| echo(stream, |_| {})), Driver::Automatic);
    plan.messages = None;
    plan.duration = Some(Duration::from_secs(60));
    let run = BackgroundRun::start(plan).expect("a plan that can be run");
    let began = Instant::now();
    while run.step(Duration::from_millis(20)).counts.received < 100 {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "nothing comes back"
        );
    }
    run.stop();
    let report = run
        .finish()
        .expect("the port works")
        .expect("the first asks");
    assert!(report.is_clean() && !report.is_complete, "{report:?}");
    assert_eq!(report.counts.sent, report.counts.received);
    assert!(run.finish().expect("the port works").is_none());
    assert!(run.is_over());
}

#[test]
fn a_run_that_is_dropped_ends_at_once_even_while_the_server_is_silent() {
    let silent = |mut stream: TcpStream| {
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let run = BackgroundRun::start(plan(&serve(8, silent), Driver::Automatic)).expect("a plan");
    let began = Instant::now();
    while run.step(Duration::from_millis(20)).counts.sent == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing leaves");
    }
    drop(run);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_plan_that_makes_no_sense_does_not_begin() {
    let mut endless = plan("tcp://127.0.0.1:1", Driver::Automatic);
    endless.messages = None;
    let error = BackgroundRun::start(endless).expect_err("it would not end");
    assert!(matches!(error, Error::Plan(_)), "{error}");
}

#[test]
fn a_run_in_progress_gives_the_report_so_far_and_continues() {
    let mut endless = plan(&serve(8, |stream| echo(stream, |_| ())), Driver::Automatic);
    endless.messages = None;
    endless.duration = Some(Duration::from_secs(600));
    let run = BackgroundRun::start(endless).expect("a plan that can be run");
    while run.step(Duration::from_millis(1)).counts.received == 0 {}
    let first = run.so_far().expect("it is under way");
    let second = run.so_far().expect("it goes on");
    assert!(!first.is_complete && first.is_clean());
    assert!(first.counts.received > 0 && first.seconds > 0.0);
    assert_eq!(first.counts.connected, 8);
    assert!(second.counts.received > first.counts.received);
    assert!(second.latency.count > first.latency.count);
    run.stop();
    let last = run.finish().expect("the port works").expect("the report");
    assert!(last.counts.received >= second.counts.received);
    assert!(run.so_far().is_none(), "it is over");
}
