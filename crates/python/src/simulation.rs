//! The simulated driver for Python: its seed, its faults, and what keeps its time from jumping.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vespiary_engine::Random;
use vespiary_engine::port::Port;
use vespiary_engine::port::sim::{self, Faults, Hold, Hosted};

/// What makes the bytes that clients need (mask keys, keys of handshakes) differ from the faults'.
const OTHER_STREAM: u64 = 0x5EED_0F0B_7E5A_11CE;

/// A simulated port, and what belongs to it.
pub(crate) struct Simulation {
    pub(crate) port: Box<dyn Port>,
    pub(crate) random: Random,
    pub(crate) hold: Hold,
}

/// Open a simulation in which everything follows from the seed.
pub(crate) fn open(seed: u64, faults: Option<&Bound<'_, PyDict>>) -> PyResult<Simulation> {
    let faults = faults.map_or_else(|| Ok(Faults::none()), read)?;
    let port = Hosted::new(seed, faults)?;
    let hold = port.hold();
    let mut chance = sim::Random::new(seed ^ OTHER_STREAM);
    Ok(Simulation {
        port: Box::new(port),
        random: Box::new(move |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = chance.draw() as u8;
            }
        }),
        hold,
    })
}

/// The faults that a dictionary names by the fields of `Faults`.
fn read(given: &Bound<'_, PyDict>) -> PyResult<Faults> {
    let mut faults = Faults::none();
    for (name, value) in given {
        let name: String = name.extract()?;
        match name.as_str() {
            "short_read_permille" => faults.short_read_permille = value.extract()?,
            "short_write_permille" => faults.short_write_permille = value.extract()?,
            "delay_permille" => faults.delay_permille = value.extract()?,
            "delay_microseconds_max" => faults.delay_microseconds_max = value.extract()?,
            "reset_permille" => faults.reset_permille = value.extract()?,
            "accept_error_permille" => faults.accept_error_permille = value.extract()?,
            "no_buffer_permille" => faults.no_buffer_permille = value.extract()?,
            "late_cancel_permille" => faults.late_cancel_permille = value.extract()?,
            "at_once_permille" => faults.at_once_permille = value.extract()?,
            "stall_permille" => faults.own_stall_permille = value.extract()?,
            "stall_microseconds_max" => faults.stall_microseconds_max = value.extract()?,
            "datagram_loss_permille" => faults.datagram_loss_permille = value.extract()?,
            "datagram_double_permille" => faults.datagram_double_permille = value.extract()?,
            "window_bytes" => faults.window_bytes = value.extract()?,
            "buffers" => faults.buffers = value.extract()?,
            "buffer_bytes" => faults.buffer_bytes = value.extract()?,
            _ => return Err(PyValueError::new_err(format!("{name:?} is not a fault"))),
        }
    }
    Ok(faults)
}
