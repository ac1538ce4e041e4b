"""A small DNS server for your own names, over UDP and TCP, with one handler for both.

It answers questions for IPv4 addresses (A) of the names in ADDRESSES, reports that other names do
not exist, and refuses everything else. The messages have the format of RFC 1035 section 4.1. Over
TCP, each message comes after its length in two bytes (section 4.2.2).

A malformed message gets no answer, because its source address may be forged.

Run:   .venv/bin/python examples/dns_stub.py [UDP-URL TCP-URL]
       (default udp://127.0.0.1:5353 tcp://127.0.0.1:5353)
Talk:  dig @127.0.0.1 -p 5353 printer.home.arpa        (+tcp for TCP)
"""

import ipaddress
import struct
import sys

import vespiary

ADDRESSES = {
    "printer.home.arpa": ipaddress.IPv4Address("192.0.2.10"),
    "files.home.arpa": ipaddress.IPv4Address("192.0.2.11"),
}
TTL_SECONDS = 60
LIMITS = vespiary.Limits(datagram_bytes_max=512, message_bytes_max=512)
PREFIX = vespiary.LengthPrefix(width=2)

HEADER = struct.Struct("!HHHHHH")
ANSWER, RECURSION_DESIRED, AUTHORITATIVE = 0x8000, 0x0100, 0x0400
OPCODE, NO_ERROR, NO_SUCH_NAME, NOT_IMPLEMENTED = 0x7800, 0, 3, 4
TYPE_A, CLASS_INTERNET = 1, 1
POINTER_TO_QUESTION = 0xC000 | HEADER.size


def answer(query: bytes) -> bytes | None:
    """Return the answer to a query; None if it is not a valid query."""
    if len(query) < HEADER.size:
        return None
    number, flags, questions, *_ = HEADER.unpack_from(query)
    found = read_question(query)
    if flags & ANSWER or questions != 1 or found is None:
        return None
    name, kind, end = found
    code, record = NO_ERROR, b""
    address = ADDRESSES.get(name)
    if flags & OPCODE:
        code = NOT_IMPLEMENTED
    elif address is None:
        code = NO_SUCH_NAME
    elif kind == (TYPE_A, CLASS_INTERNET):
        fields = (POINTER_TO_QUESTION, TYPE_A, CLASS_INTERNET, TTL_SECONDS, 4, address.packed)
        record = struct.pack("!HHHIH4s", *fields)
    flags = ANSWER | AUTHORITATIVE | flags & (OPCODE | RECURSION_DESIRED) | code
    header = HEADER.pack(number, flags, 1, 1 if record else 0, 0, 0)
    return header + query[HEADER.size : end] + record


def read_question(query: bytes) -> tuple[str, tuple[int, int], int] | None:
    """Return the name, the type and class, and the end of a query's question; None if cut off."""
    labels: list[bytes] = []
    place = HEADER.size
    while place < len(query) and (length := query[place]):
        # A longer one is a pointer, which no question needs (section 4.1.4).
        if length > 63:
            return None
        labels.append(query[place + 1 : place + 1 + length])
        place += 1 + length
    end = place + 5
    if end > len(query):
        return None
    kind, group = struct.unpack_from("!HH", query, place + 1)
    return b".".join(labels).decode("latin-1").lower(), (kind, group), end


class Names(vespiary.Handler[bytes]):
    """Answers queries."""

    def on_datagram(self, datagram: vespiary.Datagram) -> None:
        """Answer a query over UDP."""
        found = answer(datagram.data)
        if found is not None:
            datagram.reply(found)

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        """Answer a query over TCP. A malformed query ends the connection."""
        found = answer(message)
        if found is None:
            connection.close()
        else:
            connection.send(found)


def main() -> None:
    """Serve the same handler on both."""
    udp, tcp = sys.argv[1:] or ["udp://127.0.0.1:5353", "tcp://127.0.0.1:5353"]
    names = Names()
    server = vespiary.Server()
    server.add(names, udp, limits=LIMITS)
    server.add(names, tcp, limits=LIMITS, framing=PREFIX)
    server.run()


if __name__ == "__main__":
    main()
