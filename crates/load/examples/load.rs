//! Load a server from the command line, without a Python interpreter:
//!
//! `load URL [connections=100] [messages=1000] [duration=SECONDS] [size=32] [pipeline=1] [rate=N]
//! [framing=raw] [text=1] [fragment=1] [sources=N] [driver=auto] [seed=N] [hold=SECONDS]
//! [timeout=SECONDS] [spin=SECONDS] [ca=FILE] [json=1]`
//!
//! With `pipeline=0` sending runs free. Prints a line about the phases to standard error, and the
//! result to standard output. Exits with 0 when all was echoed, 1 when something was lost, altered
//! or refused, 2 when the arguments are wrong or the run could not begin.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use vespiary_load::{
    Driver, Error, Fragment, Framing, Phase, Plan, Report, Run, Target, named_counts,
};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(url) = arguments.next() else {
        eprintln!(
            "usage: load URL [connections=N] [messages=N] [size=N] [pipeline=N] [json=1] ..."
        );
        return ExitCode::from(2);
    };
    let result = plan(&url, arguments).and_then(|(plan, json)| {
        let report = run(plan).map_err(|error| error.to_string())?;
        Ok((report, json))
    });
    match result {
        Ok((report, json)) => {
            if json {
                println!("{}", report.json());
            } else {
                print(&report);
            }
            ExitCode::from(u8::from(!report.is_clean()))
        }
        Err(text) => {
            eprintln!("load: {text}");
            ExitCode::from(2)
        }
    }
}

fn plan(url: &str, arguments: impl Iterator<Item = String>) -> Result<(Plan, bool), String> {
    let mut plan = Plan::new(Target::parse(url).map_err(|error| error.to_string())?);
    let mut json = false;
    for argument in arguments {
        let (name, value) = argument
            .split_once('=')
            .ok_or_else(|| format!("{argument:?} is not NAME=VALUE"))?;
        match name {
            "connections" => plan.connections = parse(name, value)?,
            "messages" => plan.messages = Some(parse(name, value)?),
            "duration" => {
                plan.duration = Some(parse_seconds(name, value)?);
                plan.messages = None;
            }
            "size" => plan.size = parse(name, value)?,
            "pipeline" => plan.pipeline = parse(name, value)?,
            "rate" => plan.rate = Some(parse(name, value)?),
            "framing" => plan.framing = Framing::parse(value).map_err(|error| error.to_string())?,
            "text" => plan.text = value == "1",
            "fragment" => plan.fragment = (value == "1").then(Fragment::default),
            "sources" => plan.sources = Some(parse(name, value)?),
            "driver" => plan.driver = Driver::parse(value).map_err(|error| error.to_string())?,
            "seed" => plan.seed = Some(parse(name, value)?),
            "hold" => plan.hold = parse_seconds(name, value)?,
            "concurrency" => plan.connect_concurrency = parse(name, value)?,
            "timeout" => {
                plan.reply_timeout = parse_seconds(name, value)?;
                plan.connect_timeout = plan.reply_timeout;
            }
            "spin" => plan.spin = parse_seconds(name, value)?,
            "ca" => {
                let pem = std::fs::read(value).map_err(|error| format!("{value}: {error}"))?;
                plan.tls.authorities = Some(pem);
            }
            "json" => json = value == "1",
            _ => return Err(format!("there is no option {name:?}")),
        }
    }
    Ok((plan, json))
}

fn parse<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name}={value} is not a number that fits"))
}

fn parse_seconds(name: &str, value: &str) -> Result<Duration, String> {
    let seconds = parse(name, value)?;
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{name}={value}: {error}"))
}

fn run(plan: Plan) -> Result<Report, Error> {
    let mut run = Run::new(plan)?;
    eprintln!(
        "load: began at {} ns of the monotonic clock",
        run.began_monotonic()
    );
    let mut phase = Phase::Connecting;
    loop {
        let progress = run.step(Duration::from_millis(200))?;
        if progress.phase != phase {
            phase = progress.phase;
            eprintln!("load: {} after {:.3} s", phase.name(), progress.seconds);
        }
        if phase == Phase::Done {
            return Ok(run.finish());
        }
    }
}

fn print(report: &Report) {
    println!(
        "{:.0} messages/s in {:.3} s",
        report.messages_per_second(),
        report.seconds
    );
    println!(
        "client's processor time: {:.3} s",
        report.client_cpu_seconds
    );
    for (name, count) in named_counts(&report.counts) {
        println!("{name:>15} {count}");
    }
    for (name, latency) in [
        ("connect", report.connect_latency),
        ("message", report.latency),
    ] {
        println!(
            "{name}: p50 {:.6} s, p90 {:.6} s, p99 {:.6} s, p99.9 {:.6} s, maximum {:.6} s",
            latency.p50, latency.p90, latency.p99, latency.p99_9, latency.maximum
        );
    }
    for problem in &report.problems {
        println!(
            "{}: connection {}: {}",
            problem.fault.name(),
            problem.connection,
            problem.text
        );
    }
}
