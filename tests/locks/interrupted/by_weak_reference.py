"""A weak reference's callback wants the lock that is held when the last reference goes."""

import threading
import weakref

lock = threading.Lock()


class Resource:
    pass


def gone(reference: object) -> None:
    with lock:
        pass


def work() -> None:
    resource = Resource()
    seen = weakref.ref(resource, gone)
    with lock:
        del resource
    assert seen() is None


work()
