"""A server for test_tls.py: `python -m tests.browser.tls_server CERTIFICATE KEY` prints its URL."""

import json
import sys

import vespiary


def known(connection: vespiary.Connection) -> str:
    """What the connection's TLS has agreed on."""
    tls = connection.tls
    assert tls is not None
    names = ("version", "cipher", "group", "alpn", "resumed")
    return json.dumps({name: getattr(tls, name) for name in names})


class Told(vespiary.Handler):
    def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
        if request.is_upgrade:
            return None
        return request.respond(200, known(request.connection), headers={"Connection": "close"})

    def on_open(self, connection: vespiary.Connection) -> None:
        connection.send(known(connection))


if __name__ == "__main__":
    vespiary.serve(
        Told(),
        "wss://127.0.0.1:0",
        tls=vespiary.ServerTLS(*sys.argv[1:]),
        on_serving=lambda urls: print(urls[0], flush=True),
    )
