"""What is called when a future is done wants the lock of the one who sets its result."""

import threading
from concurrent.futures import Future

lock = threading.Lock()


def on_done(future: Future[int]) -> None:
    with lock:
        pass


def work() -> None:
    future = Future[int]()
    future.add_done_callback(on_done)
    with lock:
        future.set_result(1)


work()
