"""Messages of gigabytes in constant memory: an upload that is hashed, and a generated download.

`on_part` gets the parts of a message as they arrive, and does not store them. So the size of a
message is not limited. `send_part` sends a message while its bytes are generated. `on_drain` is
called when the client has read them, and sends more. So a slow client needs no more memory than a
fast one.

Run:   .venv/bin/python examples/large_messages.py [URL...]     (default ws://127.0.0.1:9001)
Talk:  send a binary message of any size: its size and SHA-256 come back;
       send the text "download 5000000000": so many bytes come as one message
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator

import vespiary

PART_BYTES = 32 << 10
COMMAND_BYTES_MAX = 100
LIMITS = vespiary.Limits(message_bytes_max=None, fragments_max=None)


class Upload:
    """A message that is arriving."""

    def __init__(self) -> None:
        self.size = 0
        self.hash = hashlib.sha256()
        self.text = b""

    def add(self, part: bytes, is_text: bool) -> None:
        """Add a part. Of a text, only the maximum length of a command is stored."""
        self.size += len(part)
        self.hash.update(part)
        if is_text and self.size <= COMMAND_BYTES_MAX:
            self.text += part

    def receipt(self) -> str:
        """The answer to the sender."""
        return json.dumps({"size": self.size, "sha256": self.hash.hexdigest()})


class Transfer:
    """The state of a connection: its current upload and its waiting downloads."""

    def __init__(self) -> None:
        self.upload = Upload()
        self.downloads: list[Iterator[tuple[bytes, bool]]] = []


def parts(size: int) -> Iterator[tuple[bytes, bool]]:
    """The parts of a message of `size` bytes, and whether each is the last."""
    pattern = bytes(range(256)) * (PART_BYTES // 256)
    left = size
    while left > PART_BYTES:
        yield pattern, False
        left -= PART_BYTES
    yield pattern[:left], True


class LargeMessages(vespiary.Handler):
    """Hashes uploads and generates downloads. It stores nothing."""

    def on_open(self, connection: vespiary.Connection) -> None:
        """Create the state of the connection."""
        connection.data = Transfer()

    def on_part(self, connection: vespiary.Connection, part: bytes, last: bool, text: bool) -> None:
        """A part of a message; the next message begins after the last one."""
        transfer: Transfer = connection.data
        transfer.upload.add(part, text)
        if not last:
            return
        upload, transfer.upload = transfer.upload, Upload()
        wish = re.fullmatch(rb"download (\d{1,15})", upload.text)
        if wish:
            transfer.downloads.append(parts(int(wish[1])))
            # While a download is under way no further wish is read, so the list stays short.
            connection.pause_reading()
            self.on_drain(connection)
        else:
            connection.send(upload.receipt())

    def on_drain(self, connection: vespiary.Connection) -> None:
        """Send until the write queue is full or the download is complete."""
        downloads = connection.data.downloads
        high = LIMITS.write_high_bytes
        while downloads and connection.queued_bytes <= high:
            for part, last in downloads[0]:
                connection.send_part(part, last=last)
                if last:
                    downloads.pop(0)
                if last or connection.queued_bytes > high:
                    break
        if not downloads:
            connection.resume_reading()


if __name__ == "__main__":
    vespiary.serve(LargeMessages(), *(sys.argv[1:] or ["ws://127.0.0.1:9001"]), limits=LIMITS)
