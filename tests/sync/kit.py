"""Handlers and threads of the tests of the synchronous client."""

import contextlib
import threading
from collections.abc import Iterator

import vespiary


class Echo(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send(message)


class Silent(vespiary.Handler):
    """Reads, and says nothing."""

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        pass


@contextlib.contextmanager
def on_a_thread(function: object) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=function)  # type: ignore[arg-type]
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()
