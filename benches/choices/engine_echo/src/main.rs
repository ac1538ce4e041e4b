//! An echo server on the bare engine, without Python, with switches for what the design chose:
//!
//! `engine_echo tcp|ws PORT [driver=uring|epoll] [buffers=N] [buffer_bytes=N] [epoll_buffers=N]
//! [epoll_buffer_bytes=N] [spin=MICROSECONDS] [write_high=BYTES] [gather=1|0|BYTES] [inline=1|0]
//! [round_bytes=N]`
//!
//! `gather=0` sends each piece of a batch by itself, as a server does that writes every message
//! when its handler says so; `gather=BYTES` sends pieces of so many bytes. `inline=0` takes another
//! turn of the port before what completed at once is handled. `round_bytes` ends a round, and so
//! sends what was answered, once so many bytes were received in it.

mod echo;
mod pieces;
mod rounds;
mod turns;

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use vespiary_engine::port::driver::{self, Preference};
use vespiary_engine::port::{Address, Port};
use vespiary_engine::{Endpoint, Engine, Framing, Options};

use crate::echo::Echo;
use crate::pieces::Pieces;
use crate::rounds::ShortRounds;
use crate::turns::OneRoundATurn;

/// More than any benchmark has waiting.
const BACKLOG: u32 = 4096;

struct Settings {
    framing: Framing,
    port: u16,
    driver: Preference,
    kernel: driver::Options,
    write_high: Option<usize>,
    piece_bytes: Option<usize>,
    is_inline: bool,
    round_bytes: Option<usize>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let served = parse(&arguments).and_then(|settings| serve(&settings));
    match served {
        Ok(never) => match never {},
        Err(text) => {
            eprintln!("engine_echo: {text}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Result<Settings, String> {
    let [transport, port, switches @ ..] = arguments else {
        return Err("usage: engine_echo tcp|ws PORT [name=value ...]".to_owned());
    };
    let framing = match transport.as_str() {
        "tcp" => Framing::Raw,
        "ws" => Framing::WebSocket,
        other => return Err(format!("{other:?} is neither tcp nor ws")),
    };
    let mut settings = Settings {
        framing,
        port: port
            .parse()
            .map_err(|_| format!("{port:?} is not a port number"))?,
        driver: Preference::Uring,
        kernel: driver::Options::default(),
        write_high: None,
        piece_bytes: None,
        is_inline: true,
        round_bytes: None,
    };
    for switch in switches {
        set(&mut settings, switch)?;
    }
    Ok(settings)
}

fn set(settings: &mut Settings, switch: &str) -> Result<(), String> {
    let (name, value) = switch
        .split_once('=')
        .ok_or_else(|| format!("{switch:?} is not name=value"))?;
    if name == "driver" {
        settings.driver = value.parse()?;
        return Ok(());
    }
    let number: u32 = value
        .parse()
        .map_err(|_| format!("{switch}: not a number that fits"))?;
    let small = u16::try_from(number).map_err(|_| format!("{switch}: more than 65535"));
    let kernel = &mut settings.kernel;
    match name {
        "buffers" => kernel.buffers = small?,
        "buffer_bytes" => kernel.buffer_bytes = number,
        "epoll_buffers" => kernel.epoll_buffers = small?,
        "epoll_buffer_bytes" => kernel.epoll_buffer_bytes = number,
        "spin" => kernel.spin_microseconds = number,
        "write_high" => settings.write_high = Some(number as usize),
        "gather" if number == 1 => settings.piece_bytes = None,
        "gather" => settings.piece_bytes = Some(number as usize),
        "round_bytes" => settings.round_bytes = Some(number as usize),
        "inline" => settings.is_inline = number != 0,
        _ => return Err(format!("there is no switch {name:?}")),
    }
    Ok(())
}

fn serve(settings: &Settings) -> Result<std::convert::Infallible, String> {
    let told = |error: std::io::Error| error.to_string();
    let (mut port, _) = driver::open(Some(settings.driver), &settings.kernel).map_err(told)?;
    if let Some(bytes) = settings.piece_bytes {
        port = Box::new(Pieces::new(port, bytes)) as Box<dyn Port>;
    }
    if let Some(bytes) = settings.round_bytes {
        port = Box::new(ShortRounds::new(port, bytes));
    }
    if !settings.is_inline {
        port = Box::new(OneRoundATurn::new(port));
    }
    let engine = Engine::new(Echo, port, Box::new(randomly));
    let mut options = Options::unlimited(settings.framing.clone());
    if let Some(bytes) = settings.write_high {
        options.limits.write_high_bytes = bytes;
        options.limits.write_low_bytes = bytes / 4;
    }
    let address = Address::Inet(SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port)));
    let endpoint = Endpoint::new(options, ());
    let listener = engine
        .listen(&address, endpoint, BACKLOG, false)
        .map_err(told)?;
    listener.unsuspend();
    println!("READY {}", settings.port);
    loop {
        engine.wait(None).map_err(told)?;
        engine.run();
    }
}

fn randomly(bytes: &mut [u8]) {
    let source = std::fs::File::open("/dev/urandom");
    let filled = source.and_then(|mut file| file.read_exact(bytes));
    filled.expect("/dev/urandom is on every Linux");
}
