"""Echo over TLS: a certificate, and a new one in its place while the server runs.

SIGHUP reads the files again: connections that are open go on, new ones get the new certificate.

Run:   .venv/bin/vespiary cert                 (once: makes localhost.pem and vespiary-ca.pem here)
       .venv/bin/python examples/tls_echo.py [URL [CERTIFICATE [KEY]]]
       (default wss://127.0.0.1:9001 localhost.pem localhost-key.pem)
Talk:  .venv/bin/vespiary load wss://localhost:9001 --ca vespiary-ca.pem --duration 3s
       kill -HUP PID
"""

import asyncio
import logging
import signal
import sys

import vespiary


class Echo(vespiary.Handler):
    """Sends every message back."""

    def on_open(self, connection: vespiary.Connection) -> None:
        """What TLS has agreed on is known from here on."""
        if connection.tls is not None:
            logging.info("%s with %s", connection.tls.version, connection.tls.group)

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """The same as without TLS."""
        connection.send(message)


async def main(url: str, certificate: str, key: str) -> None:
    """Serve, and reload the certificate on SIGHUP."""
    tls = vespiary.ServerTLS(certificate, key)

    def reload() -> None:
        try:
            tls.reload()
            logging.info("The certificate was read again")
        except (vespiary.ConfigurationError, OSError):
            logging.exception("The old certificate stays in use")

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    server = vespiary.Server()
    server.add(Echo(), url, tls=tls)
    async with server:
        await server.wait_stopped()


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(message)s")
    defaults = ["wss://127.0.0.1:9001", "localhost.pem", "localhost-key.pem"]
    vespiary.run(main(*(sys.argv[1:4] + defaults[len(sys.argv[1:4]) :])))
