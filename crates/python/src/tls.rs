//! TLS as Python sees it: settings, checked once and shared by connections; what a connection has
//! agreed on; certificates for development.

use crate::attachment::HasRare as _;
use crate::calls::Invoke as _;
use crate::connection::Connection;
use crate::core::Conn;
use crate::{imports, send};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use std::rc::Rc;
use vespiary_engine::{Layer, SendError};
use vespiary_tls::{
    ClientSettings, Clients, Facts, Identity, ServerSettings, Setting, TlsError, development,
};

/// Certificates and keys, as PEM.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn identity((certificates, key): (Vec<u8>, Vec<u8>)) -> Identity {
    Identity { certificates, key }
}

/// `ValueError` with what is wrong, in which setting, and the number of the certificate.
fn error((setting, error): (Option<Setting>, TlsError)) -> PyErr {
    let (name, number) = match setting {
        None => (None, 0),
        Some(Setting::Certificate(number)) => (Some("certificate"), number),
        Some(Setting::Key(number)) => (Some("key"), number),
        Some(Setting::ClientAuthorities) => (Some("client_ca"), 0),
        Some(Setting::ServerAuthorities) => (Some("ca"), 0),
    };
    PyValueError::new_err((error.to_string(), name, number))
}

/// What the endpoints of a server use.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct ServerTls(vespiary_tls::ServerTls);

fn server_settings(
    pairs: Pairs,
    client_ca: Option<Vec<u8>>,
    clients_required: bool,
    alpn: Vec<Vec<u8>>,
    tls12: bool,
) -> ServerSettings {
    let clients = match (&client_ca, clients_required) {
        (None, _) => Clients::Anonymous,
        (Some(_), false) => Clients::Asked,
        (Some(_), true) => Clients::Required,
    };
    ServerSettings {
        identities: pairs.into_iter().map(identity).collect(),
        client_authorities: client_ca,
        clients,
        alpn,
        allows_tls12: tls12,
    }
}

#[pymethods]
impl ServerTls {
    #[new]
    fn new(
        pairs: Pairs,
        client_ca: Option<Vec<u8>>,
        clients_required: bool,
        alpn: Vec<Vec<u8>>,
        tls12: bool,
    ) -> PyResult<Self> {
        let settings = server_settings(pairs, client_ca, clients_required, alpn, tls12);
        vespiary_tls::ServerTls::new(&settings)
            .map(Self)
            .map_err(error)
    }

    /// Use other settings for new connections. If they are not valid, nothing changes.
    fn replace(
        &self,
        pairs: Pairs,
        client_ca: Option<Vec<u8>>,
        clients_required: bool,
        alpn: Vec<Vec<u8>>,
        tls12: bool,
    ) -> PyResult<()> {
        let settings = server_settings(pairs, client_ca, clients_required, alpn, tls12);
        self.0.replace(&settings).map_err(error)
    }

    /// Replace the secret of session tickets if its time is over, in a process that only forks.
    fn rotate_tickets(&self) {
        self.0.rotate_tickets();
    }
}

/// What clients use.
#[pyclass(frozen, module = "vespiary._core")]
pub(crate) struct ClientTls(vespiary_tls::ClientTls);

#[pymethods]
impl ClientTls {
    #[new]
    fn new(
        ca: Option<Vec<u8>>,
        pair: Option<(Vec<u8>, Vec<u8>)>,
        alpn: Vec<Vec<u8>>,
        tls12: bool,
    ) -> PyResult<Self> {
        let settings = ClientSettings {
            authorities: ca,
            identity: pair.map(identity),
            alpn,
            allows_tls12: tls12,
        };
        vespiary_tls::ClientTls::new(&settings)
            .map(Self)
            .map_err(error)
    }
}

/// The TLS of an endpoint's connections.
pub(crate) enum EndpointTls {
    Server(vespiary_tls::ServerTls),
    /// With the name that the server's certificate must be valid for.
    Client(vespiary_tls::ClientTls, String),
}

impl EndpointTls {
    /// What the options of an endpoint name: `tls`, and on a client `tls_name`.
    pub(crate) fn of(options: &Bound<'_, PyDict>) -> PyResult<Option<Self>> {
        let Some(tls) = options.get_item("tls")?.filter(|it| !it.is_none()) else {
            return Ok(None);
        };
        if let Ok(server) = tls.cast::<ServerTls>() {
            return Ok(Some(Self::Server(server.get().0.clone())));
        }
        let client = tls.cast::<ClientTls>()?.get().0.clone();
        let name = options
            .get_item("tls_name")?
            .ok_or_else(|| PyValueError::new_err("the option tls_name is missing"))?;
        Ok(Some(Self::Client(client, name.extract()?)))
    }

    /// The layer of a connection, which keeps a handle of it.
    pub(crate) fn layer(&self, connection: &Rc<Conn>) -> Result<Box<dyn Layer>, TlsError> {
        let layer = match self {
            Self::Server(tls) => tls.layer(),
            Self::Client(tls, name) => tls.layer(name)?,
        };
        connection.rare(|rare| rare.tls = Some(layer.handle()));
        Ok(Box::new(layer))
    }
}

/// Begin TLS on a connection that has none: see `Connection.start_tls`.
pub(crate) fn start(
    py: Python<'_>,
    this: &Connection,
    connection: &Rc<Conn>,
    tls: Py<PyAny>,
) -> PyResult<()> {
    let endpoint = connection.endpoint();
    let url = endpoint.host.url.borrow().to_string();
    let options = imports::start_tls_options(py)?.invoke((url, connection.is_client(), tls))?;
    let tls = EndpointTls::of(options.cast()?)?;
    let refusal = if connection.rare(|rare| rare.tls.is_some()) == Some(true) {
        Some("start_tls(): the connection uses TLS already")
    } else if endpoint.host.working.is_some() {
        Some("start_tls() cannot be used with executor='threads': messages may wait for a thread")
    } else if endpoint.options().filtered {
        Some("start_tls() cannot be used with filters=, which would get encrypted bytes")
    } else {
        None
    };
    if let Some(text) = refusal {
        return Err(send::refused(py, text));
    }
    let is_ending = connection.is_sending_last();
    if is_ending || !connection.is_open() {
        let error = if is_ending {
            SendError::Ended
        } else {
            SendError::Closed
        };
        return Err(this.send_error(py, connection, error, None));
    }
    let Some(tls) = tls else {
        return Ok(());
    };
    let layer = tls.layer(connection);
    let layer = layer.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let inbox = this.local()?.inbox.get();
    let has_unhandled = inbox.is_some_and(|inbox| !inbox.is_empty());
    connection.start_layer(layer, has_unhandled);
    Ok(())
}

/// What a connection's TLS has agreed on; nothing before the end of its handshake.
pub(crate) fn facts(connection: &Conn) -> Option<Box<Facts>> {
    connection.user.borrow().as_ref()?.tls_facts()
}

/// The same as a dictionary.
pub(crate) fn fields<'py>(py: Python<'py>, facts: &Facts) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("version", facts.version)?;
    fields.set_item("cipher", &facts.cipher)?;
    fields.set_item("group", &facts.group)?;
    let alpn = facts.alpn.as_ref().map(|it| String::from_utf8_lossy(it));
    fields.set_item("alpn", alpn)?;
    fields.set_item("server_name", &facts.server_name)?;
    let certificates = facts.peer_certificates.iter();
    let certificates = certificates.map(|it| PyBytes::new(py, it));
    fields.set_item("peer_certificates", PyTuple::new(py, certificates)?)?;
    fields.set_item("resumed", facts.resumed)?;
    Ok(fields)
}

/// An authority for development: its certificate and key as PEM.
#[pyfunction]
fn make_authority() -> PyResult<(String, String)> {
    let pair = development::authority().map_err(|it| error((None, it)))?;
    Ok((pair.certificate, pair.key))
}

/// A certificate and its key as PEM, signed with the key of such an authority.
#[pyfunction]
fn make_certificate(
    authority_key: &str,
    names: Vec<String>,
    days: i64,
) -> PyResult<(String, String)> {
    let pair = development::certificate(authority_key, &names, days);
    let pair = pair.map_err(|it| error((None, it)))?;
    Ok((pair.certificate, pair.key))
}

/// Add classes and functions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ServerTls>()?;
    module.add_class::<ClientTls>()?;
    module.add_function(wrap_pyfunction!(make_authority, module)?)?;
    module.add_function(wrap_pyfunction!(make_certificate, module)?)
}
