# expect: information
"""A constructor takes the new object's lock in the other order, before others can use it."""

import threading

registry_lock = threading.Lock()
registry: list["Session"] = []


class Session:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        with self.lock, registry_lock:
            registry.append(self)


def makes() -> None:
    Session()
    is_made[0] = True


def goes_through() -> None:
    while not is_made[0]:
        pass
    with registry_lock:
        for session in registry:
            with session.lock:
                pass


is_made = [False]
threads = [threading.Thread(target=body) for body in (goes_through, makes)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
