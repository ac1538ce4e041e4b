"""The plug-in of the measurement: it publishes numbers, and sends them to one connection."""

import vespiary


class Room(vespiary.Handler[bytes]):
    """A line is a command: `id`, or `number N ID`."""

    def on_start(self, server: vespiary.Server) -> None:
        self.server = server

    def on_open(self, connection: vespiary.Connection[bytes]) -> None:
        connection.subscribe("room")

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        word, *rest = message.decode().split()
        if word == "id":
            connection.send(self.server.connection_id(connection))
        else:
            number, receiver = rest
            self.server.publish("room", f"published {number}", exclude=connection)
            self.server.send_to(receiver, f"sent {number}")
