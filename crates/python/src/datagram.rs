//! `vespiary.Datagram`: one that came.

use crate::addresses::address_object;
use crate::datagram_socket::DatagramSocket;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::net::IpAddr;
use vespiary_engine::port::{Address, Arrival};

/// A datagram that came. It may be kept, and answered later, from any thread.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct Datagram {
    /// The socket on which it came.
    #[pyo3(get)]
    socket: Py<DatagramSocket>,
    /// Its bytes; they may be empty.
    #[pyo3(get)]
    data: Py<PyBytes>,
    peer: Address,
    local: Option<IpAddr>,
    answer_from: Option<IpAddr>,
    /// Its time to live or hop limit when it came; None without `packet_info=True`.
    #[pyo3(get)]
    ttl: Option<u8>,
    /// Its ECN bits, 0 to 3; None without `packet_info=True`.
    #[pyo3(get)]
    ecn: Option<u8>,
}

impl Datagram {
    pub(crate) fn new(
        py: Python<'_>,
        socket: &Py<DatagramSocket>,
        arrival: &Arrival,
        bytes: &[u8],
    ) -> Self {
        Self {
            socket: socket.clone_ref(py),
            data: PyBytes::new(py, bytes).unbind(),
            peer: arrival.peer.clone(),
            local: arrival.local,
            answer_from: arrival.answer_from,
            ttl: arrival.ttl,
            ecn: arrival.ecn,
        }
    }
}

#[pymethods]
impl Datagram {
    /// The address of its sender; None for a Unix socket without a name.
    #[getter]
    fn peer(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        address_object(py, Some(&self.peer))
    }

    /// The address to which it was sent.
    #[getter]
    fn local_address(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let bound = self.socket.get().bound();
        match (self.local, bound.port()) {
            (Some(ip), Some(port)) => address_object(py, Some(&Address::Inet((ip, port).into()))),
            _ => address_object(py, Some(bound)),
        }
    }

    /// Send a datagram to its peer, from the address to which it was sent.
    #[pyo3(signature = (data, /))]
    fn reply(&self, data: &Bound<'_, PyAny>) -> PyResult<bool> {
        let socket = self.socket.bind(data.py());
        DatagramSocket::send(socket, data, &self.peer, self.answer_from)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let count = self.data.bind(py).as_bytes().len();
        format!("<Datagram of {count} bytes from {}>", self.peer)
    }
}
