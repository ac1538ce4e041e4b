"""The plug-in of the measurement: it publishes numbers, and sends them to one connection."""

import vespiary


class Room(vespiary.Handler[bytes]):
    """A line is a command: `id`, `number N ID`, `enter NAME`, `present`, `retain N`, `retained`."""

    def on_start(self, server: vespiary.Server) -> None:
        self.server = server

    def on_open(self, connection: vespiary.Connection[bytes]) -> None:
        connection.subscribe("room")

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        word, *rest = message.decode().split()
        if word == "id":
            connection.send(self.server.connection_id(connection))
        elif word == "enter":
            self.server.enter(connection, "room", rest[0])
            connection.send("entered")
        elif word == "present":
            connection.send(str(len(self.server.presence("room"))))
        elif word == "retain":
            for one in range(int(rest[0])):
                self.server.publish(f"topic {one}", f"message {one}", retain=True)
            connection.send("done")
        elif word == "retained":
            connection.send(str(self.server.statistics().topics.retained_messages))
        else:
            number, receiver = rest
            self.server.publish("room", f"published {number}", exclude=connection)
            self.server.send_to(receiver, f"sent {number}")
