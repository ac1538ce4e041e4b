"""A chat on several machines, which `wasp.toml` serves: one room for the clients of all nodes.

The first message of a client is its name. Then `who` is answered with who is there, on whichever
node, `topic TEXT` sets the topic of the room, and everything else is said to all.
"""

import vespiary

ROOM = "room"
TOPIC = "room/topic"


class Chat(vespiary.Handler[str]):
    """A room in which everybody sees everybody, on whichever node they are."""

    def __init__(self, config: dict[str, str]) -> None:
        self.node = config["node"]

    def on_start(self, server: vespiary.Server) -> None:
        """Keep the server: its topics are those of all nodes."""
        self.server = server

    def on_open(self, connection: vespiary.Connection[str]) -> None:
        """Ask for a name. `data` is the name, once it is known."""
        connection.send(f"you are on node {self.node}: what is your name?")

    def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        """Carry out what a client asks for."""
        if connection.data is None:
            self.enter(connection, message)
        elif message == "who":
            names = sorted(member.info for member in self.server.presence(ROOM))
            connection.send("here: " + ", ".join(names))
        elif message.startswith("topic "):
            # Clients that come later get it too, also on nodes that start later.
            self.server.publish(TOPIC, message, retain=True)
        else:
            self.server.publish(ROOM, f"{connection.data}: {message}")

    def enter(self, connection: vespiary.Connection[str], name: str) -> None:
        """Let a client into the room."""
        if not 0 < len(name.strip()) <= 40:
            connection.send("a name has 1 to 40 characters: what is your name?")
            return
        connection.data = name.strip()
        self.server.enter(connection, ROOM, connection.data)
        connection.subscribe(ROOM)
        connection.subscribe(TOPIC)
        self.server.publish(ROOM, f"{connection.data} has come to node {self.node}")

    def on_close(self, connection: vespiary.Connection[str], reason: vespiary.CloseReason) -> None:
        """Say that somebody has left."""
        if connection.data is not None:
            self.server.publish(ROOM, f"{connection.data} has left")
