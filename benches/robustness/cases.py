"""The cases: each starts a server, brings trouble upon it, and returns figures."""

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from benches.robustness.peers import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Peer,
    PeerError,
    answer_pings,
    converse,
    frame,
    opened,
    request,
    select_readable,
)
from benches.robustness.process import Server, Version

PAUSE_SECONDS = 4.0
HANDSHAKES, PINGED, ACTIVE = 500, 1000, 1000
DEAD_PER_KIND = 50
DEAD_SECONDS = 8
BUSY = 20
SLOW_READERS, SLOW_SECONDS, SLOW_BYTES = 20, 6.0, 16 << 10
FLOOD_SECONDS = 3.0
PROTOCOLS, TOPICS = 4000, 9500

Figures = Iterator[tuple[str, str]]


@contextlib.contextmanager
def reading(peers: list[Peer]) -> Iterator[None]:
    """Read what the peers get, and forget it, in a thread of its own."""
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for peer in select_readable(peers, 0.1):
                peer.look()
                peer.buffer.clear()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def pause(version: Version, driver: str) -> Figures:
    """The server's process is stopped for 4 s (SIGSTOP), and its peers go on."""
    with Server(version, "pause", driver) as server:
        handshakes, pinged, active = server.ports
        peers = opened(active, ACTIVE)
        pongs = opened(pinged, PINGED)
        waiting = [Peer(handshakes) for _ in range(HANDSHAKES)]
        hello = frame(TEXT, b"here")
        got: set[int] = set()
        end = time.monotonic() + 10
        # Until every peer has a ping that it has not answered, or a while has passed.
        while len(got) < PINGED and time.monotonic() < end:
            for peer in select_readable(pongs, 0.1):
                peer.look()
                if any(kind == PING for kind, _ in peer.frames()):
                    got.add(id(peer))
            for peer in peers:
                peer.send_some(hello)
        server.signal(signal.SIGSTOP)
        for peer in pongs:
            peer.send_some(frame(10))
        for peer in waiting:
            peer.send(request(handshakes))
        converse(peers, PAUSE_SECONDS, speak=hello)
        server.signal(signal.SIGCONT)
        refused = Counter(peer.head() for peer in waiting)
        accepted = sum(count for status, count in refused.items() if " 101 " in status)
        converse(peers + pongs, 1.5, speak=hello)
        yield "complete handshakes that were refused", f"{HANDSHAKES - accepted} of {HANDSHAKES}"
        lost = sum(bool(peer.ended) for peer in pongs)
        yield "peers disconnected whose pongs waited in the kernel", f"{lost} of {PINGED}"
        lost = sum(bool(peer.ended) for peer in peers)
        yield "active peers closed as idle", f"{lost} of {ACTIVE}"


def dead(version: Version, driver: str) -> Figures:
    """Peers end while the server does not read from them."""
    kinds: dict[str, Callable[[Peer], object]] = {
        "FIN": lambda peer: peer.close(),
        "RST": lambda peer: peer.reset(),
        "gone without a packet": lambda peer: peer.vanish(),
        "gone behind unread bytes": lambda peer: (peer.send(frame(TEXT, b"x")), peer.vanish()),
    }
    with Server(version, "dead", driver) as server:
        websocket, stream = server.ports
        for name, port in (("WebSocket", websocket), ("TCP", stream)):
            for kind, end in kinds.items():
                before = server.sockets()
                if port == websocket:
                    peers = opened(port, DEAD_PER_KIND)
                else:
                    peers = [Peer(port) for _ in range(DEAD_PER_KIND)]
                deadline = time.monotonic() + 10
                while server.sockets() < before + DEAD_PER_KIND and time.monotonic() < deadline:
                    time.sleep(0.01)
                for peer in peers:
                    end(peer)
                began = time.monotonic()
                while server.sockets() > before and time.monotonic() < began + DEAD_SECONDS:
                    time.sleep(0.05)
                took = time.monotonic() - began
                left = max(0, server.sockets() - before)
                text = f"{left} of {DEAD_PER_KIND}"
                # The peer's FIN does not end a stream: its handler may still send.
                half = name == "TCP" and kind == "FIN"
                what = f"{name}, {kind}{' (half-closed)' if half else ''}: descriptors still held"
                yield (
                    what,
                    f"{text} after {DEAD_SECONDS} s" if left else f"0 after {took:.1f} s",
                )
                for peer in peers:
                    peer.close()


def shutdown(version: Version, driver: str) -> Figures:
    """SIGTERM while work of 1 s is under way; `drain_seconds` is 5."""
    with Server(version, "shutdown", driver) as server:
        message, close, coroutine, asked, echo = server.ports
        busy = opened(message, BUSY)
        closing = opened(close, BUSY)
        running = opened(coroutine, BUSY)
        idle = opened(echo, BUSY)
        requests = [Peer(asked) for _ in range(BUSY)]
        for peer in busy:
            peer.send(frame(TEXT, b"work"))
        for peer in closing:
            peer.send(frame(CLOSE, b"\x03\xe8"))
        for peer in requests:
            peer.send(request(asked))
        time.sleep(0.3)
        server.signal(signal.SIGTERM)
        began = time.monotonic()
        codes: Counter[str] = Counter()
        everybody = busy + running + idle + requests
        asking, answered = set(requests), 0
        # Peers answer the close frame, and leave the end of the connection to the server.
        while time.monotonic() < began + 12 and not all(peer.ended for peer in everybody):
            for peer in select_readable(everybody, 0.1):
                peer.look()
                if peer in asking:
                    if b"\r\n\r\n" not in peer.buffer:
                        continue
                    asking.remove(peer)
                    answered += " 101 " in peer.head()
                for kind, payload in peer.frames():
                    if kind == CLOSE:
                        codes[str(int.from_bytes(payload[:2], "big"))] += 1
                        peer.send_some(frame(CLOSE, payload[:2]))
        took = server.wait(15)
        took = None if took is None else time.monotonic() - began
        figures = server.report("ended", 1)["figures"]
        for name in ("on_message", "on_close", "finally", "on_request"):
            begun, done = figures.get(f"{name} begun", 0), figures.get(f"{name} completed", 0)
            yield f"{name} completed", f"{done} of {begun}"
        yield "requests under way that were answered 101", f"{answered} of {BUSY}"
        yield "close codes", ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
        yield "until the process ended", "never" if took is None else f"{took:.1f} s"


def work(version: Version, driver: str) -> Figures:
    """Input that asks for much work, and queues that hold much."""
    with Server(version, "work", driver) as server:
        echo, topics, one_byte, threads, blocker = server.ports
        names = ",".join(f"{number:x}" for number in range(PROTOCOLS))
        count = 50
        peers = [Peer(echo) for _ in range(count)]
        time.sleep(0.2)
        before = server.cpu_seconds()
        for peer in peers:
            peer.open(f"Sec-WebSocket-Protocol: {names}\r\n")
        cost = (server.cpu_seconds() - before) / count
        yield f"CPU for a handshake with {PROTOCOLS:,} subprotocols", f"{cost * 1e3:.2f} ms"

        [peer] = opened(one_byte, 1)
        before = server.memory()
        peer.send(frame(TEXT, b"go"))
        sent = server.report("full", 60)["sent"]
        ratio = (server.memory() - before) / (4 << 20)
        text = f"{ratio:.1f} ({sent:,} sent)"
        yield "memory of one-byte messages that wait, over write_bytes_max", text
        peer.close()

        [peer] = opened(topics, 1)
        words = ",".join(f"{number:x}" for number in range(TOPICS))
        for order in ("subscribe", "unsubscribe"):
            peer.send(frame(TEXT, f"{order} {words}".encode()))
            spent = float(peer.next(TEXT, 60) or b"nan")
        size = len(words) / 1000
        yield f"{size:.0f} kB of unsubscribes stall the server", f"{spent * 1e3:.0f} ms"

        peers = opened(threads, 4)
        [peer] = opened(blocker, 1)
        before = server.memory()
        server.forget_peak()
        for sender in peers:
            sender.send(frame(BINARY, b"go"))
        time.sleep(0.05)
        peer.send(frame(TEXT, b"block"))
        with reading(peers):
            for _ in peers:
                server.report("full", 60)
        grown = max(server.memory("VmHWM") - before, 0)
        what = "memory of 4 x 400,000 sends of 16 bytes from threads while the loop is blocked"
        yield what, f"{grown >> 20} MiB"


def flood(version: Version, driver: str) -> Figures:
    """A peer that does not read sends pings after the server's close frame."""
    with Server(version, "flood", driver) as server:
        peer = Peer(server.ports[0], receive_bytes=4096)
        peer.open()
        before = server.memory()
        server.forget_peak()
        pings = frame(PING, bytes(125)) * 500
        peer.send(frame(TEXT, b"close"))
        time.sleep(0.2)
        end = time.monotonic() + FLOOD_SECONDS
        sent, rest = 0, b""
        while time.monotonic() < end and not peer.ended:
            rest = rest or pings
            taken = peer.send_some(rest)
            if not taken:
                time.sleep(0.001)
            sent += taken
            rest = rest[taken:]
        grown = max(server.memory("VmHWM") - before, 0)
        text = f"{grown / 1e6:.1f} MB (of {sent / 1e6:.1f} MB of pings that it took)"
        yield "memory that the answers hold", text


def slow(version: Version, driver: str) -> Figures:
    """Peers read 160 kB per second, steadily; `write_seconds` is 2, `ping_timeout_seconds` is 1."""
    with Server(version, "slow", driver) as server:
        for name, port in zip(("write_seconds", "ping_timeout_seconds"), server.ports, strict=True):
            peers = [Peer(port, receive_bytes=16 << 10) for _ in range(SLOW_READERS)]
            for peer in peers:
                peer.open()
            end = time.monotonic() + SLOW_SECONDS
            while time.monotonic() < end:
                for peer in peers:
                    if not peer.ended:
                        peer.look(SLOW_BYTES)
                        peer.buffer.clear()
                time.sleep(0.1)
            lost = sum(bool(peer.ended) for peer in peers)
            yield f"steady readers that {name} ended", f"{lost} of {SLOW_READERS}"
            for peer in peers:
                peer.close()


CASES: dict[str, Callable[[Version, str], Figures]] = {
    case.__name__: case for case in (pause, dead, shutdown, work, flood, slow)
}
__all__ = ["CASES", "PeerError", "answer_pings"]
