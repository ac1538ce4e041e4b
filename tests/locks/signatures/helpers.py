"""Inversions of unrelated locks: through a helper, in lambdas, and in methods of one name.

The argument is how many pairs of accounts' locks are taken in both orders: one place, many locks.
"""

import sys
import threading
from collections.abc import Callable


class Account:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.other = threading.Lock()

    def forth(self) -> None:
        with self.lock, self.other:
            pass

    def back(self) -> None:
        with self.other, self.lock:
            pass


class Table(Account):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.other = threading.Lock()

    def forth(self) -> None:
        with self.lock, self.other:
            pass

    def back(self) -> None:
        with self.other, self.lock:
            pass


def both(outer: threading.Lock, inner: threading.Lock) -> None:
    with outer, inner:
        pass


a = threading.Lock()
b = threading.Lock()
c = threading.Lock()
d = threading.Lock()
accounts = [Account() for _ in range(int(sys.argv[1]))]
table = Table()
forth = [lambda: both(a, b), lambda: both(c, d), table.forth, *(each.forth for each in accounts)]
back = [lambda: both(b, a), lambda: both(d, c), table.back, *(each.back for each in accounts)]
done = [False]


def work(bodies: list[Callable[[], None]], is_first: bool) -> None:
    while not is_first and not done[0]:
        pass
    for body in bodies:
        body()
    done[0] = True


threads = [
    threading.Thread(target=work, args=(forth, True)),
    threading.Thread(target=work, args=(back, False)),
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
