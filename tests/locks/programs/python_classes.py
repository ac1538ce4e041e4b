# expect: information
"""Objects of two classes have a lock each, and two threads take them in both orders."""

import threading

from turns import run


class Account:
    def __init__(self) -> None:
        self.lock = threading.Lock()


class Table:
    def __init__(self) -> None:
        self.lock = threading.RLock()


accounts = [Account() for _ in range(3)]
tables = [Table() for _ in range(3)]


def one() -> None:
    with accounts[0].lock, tables[0].lock:
        pass


def other() -> None:
    with tables[1].lock, accounts[1].lock:
        pass


run(one, other)
