"""eventlet: a WSGI server and clients as green threads, and a pool of real ones."""

import eventlet

eventlet.monkey_patch()

import threading  # noqa: E402  (after the patch)

from eventlet import tpool, wsgi  # noqa: E402
from eventlet.green.urllib.request import urlopen  # noqa: E402

lock = threading.RLock()
passed = []


def application(environ, start_response):
    with lock:
        passed.append(environ["PATH_INFO"])
        eventlet.sleep(0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


listener = eventlet.listen(("127.0.0.1", 0))
port = listener.getsockname()[1]
serving = eventlet.spawn(wsgi.server, listener, application, log_output=False)
pool = eventlet.GreenPool(20)
answers = list(pool.imap(lambda n: urlopen(f"http://127.0.0.1:{port}/{n}").read(), range(200)))
print(len(answers), len(passed), tpool.execute(sum, range(1000)))
serving.kill()
