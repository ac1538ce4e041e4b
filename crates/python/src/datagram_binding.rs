//! Making sockets for datagrams.

use crate::addresses::address_of;
use crate::core::Core;
use crate::datagram_socket::DatagramSocket;
use crate::imports;
use crate::listener::{Listener, Socket, add_listener};
use crate::site::Site;
use pyo3::prelude::*;
use std::net::IpAddr;
use vespiary_engine::port::{DatagramOptions, Group};

/// Bind a socket for datagrams to an address, (ip, port) or a path, or take over the descriptor of
/// one that is bound already; nothing is received before `resume`. A group is (address, number of
/// the interface).
#[pyfunction]
#[pyo3(signature = (
    core, address, site, *, groups, reuse_port, broadcast, local_address, packet_info,
    receive_buffer_bytes
))]
#[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)] // Named options.
fn bind_datagrams(
    core: &Bound<'_, Core>,
    address: &Bound<'_, PyAny>,
    site: &Bound<'_, Site>,
    groups: Vec<(String, u32)>,
    reuse_port: bool,
    broadcast: bool,
    local_address: bool,
    packet_info: bool,
    receive_buffer_bytes: Option<u32>,
) -> PyResult<Py<Listener>> {
    let py = core.py();
    let engine = core.get().engine()?;
    let endpoint = site.get().endpoint()?;
    let group = |(address, interface): (String, u32)| -> PyResult<Group> {
        let address = address.parse::<IpAddr>()?;
        Ok(Group { address, interface })
    };
    let options = DatagramOptions {
        reuse_port,
        broadcast,
        local_address,
        packet_info,
        receive_buffer_bytes,
        groups: groups.into_iter().map(group).collect::<PyResult<_>>()?,
    };
    let socket = if let Ok(socket) = address.extract::<i32>() {
        engine.adopt_datagrams(socket, endpoint, &options)
    } else {
        engine.bind(&address_of(address)?, endpoint, &options)
    };
    let socket = socket.map_err(|error| imports::os_error(&error))?;
    let object = DatagramSocket::new(core.get().shared.clone(), socket.clone());
    let object = Py::new(py, object)?;
    let mut sockets = engine.host.datagram_sockets.borrow_mut();
    sockets.insert(socket.token(), object);
    drop(sockets);
    add_listener(py, &engine, Socket::Datagrams(socket))
}

/// Add the function to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(bind_datagrams, module)?)
}
