"""The plug-ins of the demonstration: see wasp.toml."""

import msgspec

import vespiary


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """The table `config` of an endpoint that `Greeter` serves."""

    greeting: str
    is_loud: bool = False


class Greeter(vespiary.Handler[bytes]):
    """Greets everyone by name: a message is a name."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        self.count = 0

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        """Answer with the greeting of this endpoint, and with its number."""
        self.count += 1
        name = message.decode(errors="replace")
        text = f"{self.config.greeting}, {name}: you are number {self.count}"
        connection.send((text.upper() if self.config.is_loud else text).encode())


class Datagrams(vespiary.Handler):
    """Sends each datagram back."""

    def on_datagram(self, datagram: vespiary.Datagram) -> None:
        """Back to its sender."""
        datagram.reply(datagram.data)
