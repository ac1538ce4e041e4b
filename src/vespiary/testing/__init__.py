"""What you need to test handlers, clients and filters: see the page "Testing" of the documents.

* `TestClient` drives a handler from a plain test, in memory and in virtual time.
* `run` and `simulated` do the same for coroutines: servers and clients in a simulated network.
* `serve` and `serve_in_thread` start real servers on free addresses.
* `check_handler` and `check_filter` try what every handler and filter must satisfy.

The pytest fixtures `vespiary_server` and `vespiary_client` are in `vespiary.testing.plugin`.
"""

from vespiary._faults import Faults
from vespiary.testing._client import TestClient, TestConnection, TestResponse
from vespiary.testing._filters import FilterFault, check_filter
from vespiary.testing._handlers import HandlerFault, check_handler
from vespiary.testing._server import ServerThread, TestServer, serve, serve_in_thread
from vespiary.testing._simulation import run, simulated

__all__ = [
    "Faults",
    "FilterFault",
    "HandlerFault",
    "ServerThread",
    "TestClient",
    "TestConnection",
    "TestResponse",
    "TestServer",
    "check_filter",
    "check_handler",
    "run",
    "serve",
    "serve_in_thread",
    "simulated",
]
