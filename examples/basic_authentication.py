"""A WebSocket echo with a user name and a password: basic authentication (RFC 7617).

A client without a valid name and password gets the status 401, before a WebSocket exists. A browser
that opens the page then asks the user for them, and also sends them with the page's WebSocket. The
password is readable on the network: outside this machine, use a proxy with TLS.

Run:   .venv/bin/python examples/basic_authentication.py [URL]     (default ws://127.0.0.1:9001)
Talk:  open http://127.0.0.1:9001/ as ann, with the password `nest`
       .venv/bin/python -m websockets ws://ann:nest@127.0.0.1:9001/
"""

import hashlib
import hmac
import sys

import vespiary

PASSWORDS = {"ann": "nest", "bob": "honey: & comb"}
CHALLENGE = ("WWW-Authenticate", 'Basic realm="wasps", charset="UTF-8"')
PAGE = """<!doctype html><meta charset="utf-8"><title>Echo</title><p id="said">...</p>
<script>
const socket = new WebSocket(location.href.replace(/^http/, "ws"));
socket.onopen = () => socket.send("hello");
socket.onmessage = message => { document.getElementById("said").textContent = message.data };
</script>
"""


def digest(text: str) -> bytes:
    """Return a hash, which has the same length for every text."""
    return hashlib.sha256(text.encode()).digest()


DIGESTS = {name: digest(password) for name, password in PASSWORDS.items()}


def user_of(request: vespiary.Request) -> str | None:
    """Return the user's name if the password is correct.

    Every wrong name and every wrong password takes the same time, so the time reveals nothing.
    """
    if request.basic_credentials is None:
        return None
    name, password = request.basic_credentials
    right = hmac.compare_digest(digest(password), DIGESTS.get(name, digest("")))
    return name if right and name in DIGESTS else None


class Echo(vespiary.Handler):
    """The echo; `connection.data` is the user's name."""

    def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
        """Serve the page or the WebSocket to a user with a correct password."""
        user = user_of(request)
        if user is None:
            return request.respond(401, "a name and a password, please\n", [CHALLENGE])
        request.connection.data = user
        if request.is_upgrade:
            return None
        return request.respond(200, PAGE, [("Content-Type", "text/html; charset=utf-8")])

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Send the message back, with the user's name."""
        connection.send(f"{connection.data}: {message!s}")


def main() -> None:
    """Serve."""
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001"
    vespiary.serve(Echo, url)


if __name__ == "__main__":
    main()
