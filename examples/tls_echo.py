"""Echo over TLS, with a certificate that is renewed while the server runs.

The server reads the files again when they change, and on SIGHUP. Open connections continue, and new
connections get the new certificate.

Run:   .venv/bin/vespiary cert                 (once: makes localhost.pem and vespiary-ca.pem here)
       .venv/bin/python examples/tls_echo.py [URL [CERTIFICATE [KEY]]]
       (default wss://127.0.0.1:9001 localhost.pem localhost-key.pem)
Talk:  .venv/bin/vespiary load wss://localhost:9001 --ca vespiary-ca.pem --duration 3s
       kill -HUP PID
"""

import logging
import sys

import vespiary


class Echo(vespiary.Handler):
    """Sends every message back."""

    def on_open(self, connection: vespiary.Connection) -> None:
        """Log the TLS version and the key exchange."""
        if connection.tls is not None:
            logging.info("%s with %s", connection.tls.version, connection.tls.group)

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Send the message back, as without TLS."""
        connection.send(message)


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(message)s")
    defaults = ["wss://127.0.0.1:9001", "localhost.pem", "localhost-key.pem"]
    url, certificate, key = [*sys.argv[1:4], *defaults[len(sys.argv[1:4]) :]]
    vespiary.serve(Echo(), url, tls=vespiary.ServerTLS(certificate, key))
