"""UDP echo with pseudo-connections: each peer has a connection, and so a state of its own.

The server numbers the datagrams of each peer, and forgets a peer that is silent for a minute. A
sender of UDP can claim any address: limits bound the number of peers, and no answer is much longer
than its question.

Run:   .venv/bin/python examples/udp_connections.py [URL...]   (default udp://127.0.0.1:9000)
Talk:  nc -u 127.0.0.1 9000        (each line is a datagram; "bye" makes the server forget you)
"""

import sys

import vespiary


async def count(connection: vespiary.Connection[bytes]) -> None:
    """Send each datagram back with its number; the end of the function forgets the peer."""
    number = 0
    async for message in connection:
        if message.strip() == b"bye":
            connection.send(b"bye\n")
            break
        number += 1
        connection.send(b"%d: %s" % (number, message))


if __name__ == "__main__":
    vespiary.serve(
        count,
        *(sys.argv[1:] or ["udp://127.0.0.1:9000"]),
        connections=True,
        limits=vespiary.Limits(connections_max=1000, connections_per_address_max=20),
        deadlines=vespiary.Deadlines(datagram_idle_seconds=60),
    )
