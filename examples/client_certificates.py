"""Mutual TLS: clients present a certificate, and the server identifies them by it.

An authority signs the certificates of all clients that may connect. The server looks up the name of
a client in a folder with a certificate per client, FOLDER/NAME.pem. To lock a client out, delete
its file. The folder contains no secrets, because only the clients have the private keys.

Run:   .venv/bin/vespiary cert localhost --folder certificates     (once, and it makes an authority)
       .venv/bin/vespiary cert ann --folder certificates           (for each client)
       mkdir certificates/clients && cp certificates/ann.pem certificates/clients
       .venv/bin/python examples/client_certificates.py [URL [FOLDER]]
       (default tls://127.0.0.1:5050 certificates)
Talk:  cd certificates; openssl s_client -quiet -connect localhost:5050 -CAfile vespiary-ca.pem
         -cert ann.pem -key ann-key.pem
"""

import hashlib
import ssl
import sys
from pathlib import Path

import vespiary


def names(folder: Path) -> dict[bytes, str]:
    """The clients' names by the hashes of their certificates."""
    certificates = [(path.stem, path.read_text()) for path in folder.glob("*.pem")]
    return {
        hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).digest(): name for name, text in certificates
    }


class Office(vespiary.Handler[bytes]):
    """Greets each client by its name, and repeats what it says."""

    def __init__(self, clients: Path) -> None:
        self.clients = clients

    def on_open(self, connection: vespiary.Connection[bytes]) -> None:
        """Look up the name of the verified certificate."""
        assert connection.tls is not None
        assert connection.tls.peer_certificate is not None
        digest = hashlib.sha256(connection.tls.peer_certificate).digest()
        name = names(self.clients).get(digest)
        if name is None:
            connection.send("this certificate is not in the folder")
            connection.close()
            return
        connection.data = name
        connection.send(f"hello {name}")

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        """Repeat a line, with the client's name."""
        connection.send(f"{connection.data}: {message.decode(errors='replace')}")


if __name__ == "__main__":
    url, folder = sys.argv[1:3] + ["tls://127.0.0.1:5050", "certificates"][len(sys.argv[1:3]) :]
    here = Path(folder)
    tls = vespiary.ServerTLS(
        here / "localhost.pem", here / "localhost-key.pem", client_ca=here / "vespiary-ca.pem"
    )
    vespiary.serve(Office(here / "clients"), url, framing="line", tls=tls)
