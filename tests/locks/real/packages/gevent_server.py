"""gevent: a server and clients as greenlets, a pool of threads, locks of both kinds."""

from gevent import monkey

monkey.patch_all()

import threading  # noqa: E402  (after the patch)

import gevent  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from gevent.server import StreamServer  # noqa: E402
from gevent.socket import create_connection  # noqa: E402

lock = threading.Lock()
counts = {"requests": 0}


def serve(stream, address):
    for line in stream.makefile("rb"):
        with lock:
            counts["requests"] += 1
            gevent.sleep(0)
        stream.sendall(line)


def client(number):
    stream = create_connection(("127.0.0.1", server.server_port))
    lines = stream.makefile("rb")
    for each in range(100):
        stream.sendall(b"%d\n" % each)
        assert lines.readline() == b"%d\n" % each
    stream.close()
    return gevent.get_hub().threadpool.apply(sum, (range(number + 1000),))


server = StreamServer(("127.0.0.1", 0), serve)
server.start()
print(sum(Pool(20).map(client, range(60))), counts)
server.stop()
