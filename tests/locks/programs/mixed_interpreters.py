# expect: nothing
"""Several interpreters with their own locks and, since Python 3.12, their own GILs."""

import importlib
import threading
import time

try:
    interpreters = importlib.import_module("_interpreters")
except ImportError:
    interpreters = importlib.import_module("_xxsubinterpreters")

code = """
import threading, time
a, b = threading.Lock(), threading.Lock()
for _ in range(20):
    with a:
        time.sleep(0.0005)
        with b:
            sum(range(1000))
"""


def other() -> None:
    identifier = interpreters.create()
    run = getattr(interpreters, "exec", None) or interpreters.run_string
    run(identifier, code)
    interpreters.destroy(identifier)


threads = [threading.Thread(target=other) for _ in range(3)]
for thread in threads:
    thread.start()
lock = threading.Lock()
for _ in range(50):
    with lock:
        time.sleep(0.0005)
for thread in threads:
    thread.join()
