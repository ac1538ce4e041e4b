"""Send each message back."""

import vespiary


class Echo(vespiary.Handler):
    """Send each message back to the client that sent it."""

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Send the message back."""
        connection.send(message)
