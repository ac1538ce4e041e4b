"""A chat with rooms and a login: the WebSocket checks the cookie that the login has set.

The room is a part of the path, and each room is a topic. The cookie contains the user's name and an
HMAC of it, so the server stores no sessions.

Run:   .venv/bin/python examples/rooms_chat.py [ADDRESS]     (default 127.0.0.1:9001)
       CHAT_SECRET in the environment signs the cookies; default: a new one at each start
Talk:  curl -i -u ann:honey http://127.0.0.1:9001/login
       and, with the cookie that it sets, connect to ws://127.0.0.1:9001/rooms/garden
"""

import hmac
import json
import os
import secrets
import sys

import vespiary

USERS = {"ann": "honey", "bob": "nectar"}  # A real server keeps hashes.
SECRET = os.environ.get("CHAT_SECRET", secrets.token_hex()).encode()


def sign(name: str) -> str:
    """The value of a user's cookie."""
    return f"{name}.{hmac.digest(SECRET, name.encode(), 'sha256').hex()}"


def user_of(request: vespiary.Request) -> str | None:
    """Return the user's name from the cookie."""
    cookie = request.cookies.get("session", "")
    name = cookie.partition(".")[0]
    return name if hmac.compare_digest(cookie.encode(), sign(name).encode()) else None


class Login(vespiary.Handler):
    """Checks a name and a password (RFC 7617), and sets the cookie."""

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """GET /login."""
        name, password = request.basic_credentials or ("", "")
        known = USERS.get(name, "")
        if not known or not hmac.compare_digest(known.encode(), password.encode()):
            return request.respond(401, headers={"WWW-Authenticate": 'Basic realm="chat"'})
        cookie = f"session={sign(name)}; HttpOnly; SameSite=Strict; Path=/"
        return request.respond(200, f"welcome, {name}\n", {"Set-Cookie": cookie})


class Chat(vespiary.Handler[str]):
    """Sends each message to everyone in the room."""

    def on_start(self, server: vespiary.Server) -> None:
        """Store the server, which publishes messages."""
        self.server = server

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """Accept only users who have logged in."""
        return request.accept() if user_of(request) else request.respond(403, "log in first\n")

    def on_open(self, connection: vespiary.Connection[str]) -> None:
        """Enter the room of the path."""
        assert connection.request is not None
        name, room = user_of(connection.request), connection.request.path_parameters["room"]
        connection.data = name, room
        connection.subscribe(room)
        self.server.publish(room, json.dumps({"joined": name}))

    def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        """Publish it to the room."""
        name, room = connection.data
        self.server.publish(room, json.dumps({"from": name, "text": message}))

    def on_close(self, connection: vespiary.Connection[str], reason: vespiary.CloseReason) -> None:
        """Leave the room."""
        name, room = connection.data
        self.server.publish(room, json.dumps({"left": name}))


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9001"
    server = vespiary.Server()
    server.add(Login(), f"http://{address}/login")
    server.add(
        Chat(), f"ws://{address}/rooms/{{room}}", websocket=vespiary.WebSocket(messages="text")
    )
    server.run()
