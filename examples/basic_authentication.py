"""A WebSocket echo behind a user name and a password: HTTP Basic authentication (RFC 7617).

Who asks without the right ones is answered 401 before there is a WebSocket; a browser that opens
the page then asks its user, and sends the answer with the page's WebSocket too. Name and password
are readable on the wire: outside this machine, put a proxy with TLS in front.

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
    """Texts of any length as bytes of one length."""
    return hashlib.sha256(text.encode()).digest()


DIGESTS = {name: digest(password) for name, password in PASSWORDS.items()}


def user_of(request: vespiary.Request) -> str | None:
    """The user who asks, if the password is right.

    An unknown name takes as long as a wrong password, and a nearly right one as long as any other,
    so that the time of the answer tells nothing.
    """
    if request.basic_credentials is None:
        return None
    name, password = request.basic_credentials
    right = hmac.compare_digest(digest(password), DIGESTS.get(name, digest("")))
    return name if right and name in DIGESTS else None


class Echo(vespiary.Handler):
    """The echo; `connection.data` is the user's name."""

    def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
        """The page or a WebSocket, to whom they belong."""
        user = user_of(request)
        if user is None:
            return request.respond(401, "a name and a password, please\n", [CHALLENGE])
        request.connection.data = user
        if request.is_upgrade:
            return None
        return request.respond(200, PAGE, [("Content-Type", "text/html; charset=utf-8")])

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Back to whom it came from, by name."""
        connection.send(f"{connection.data}: {message!s}")


def main() -> None:
    """Serve."""
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001"
    vespiary.serve(Echo, url)


if __name__ == "__main__":
    main()
