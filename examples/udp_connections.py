"""UDP echo with pseudo-connections: each peer has a connection with its own state.

The server numbers the datagrams of each peer, and removes a peer that is silent for a minute. A
sender can forge its address. So limits apply to the number of peers, and no answer is much longer
than its request.

Run:   .venv/bin/python examples/udp_connections.py [URL...]   (default udp://127.0.0.1:9000)
Talk:  nc -u 127.0.0.1 9000        (each line is a datagram; "bye" makes the server forget you)
"""

import sys

import vespiary


async def count(connection: vespiary.Connection[bytes]) -> None:
    """Send each datagram back with its number. When the function returns, the peer is removed."""
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
