# expect: nothing
"""A connection of SQLite is used by one thread and closed by another, after an event.

Its mutex is taken with the GIL held, and the GIL with its mutex held, in callbacks.
"""

import sqlite3
import threading

connection = sqlite3.connect(":memory:", check_same_thread=False)
is_used = threading.Event()


def uses() -> None:
    connection.create_function("more", 1, lambda value: value + 1)
    connection.set_progress_handler(lambda: 0, 100)
    connection.execute("create table numbers(value)")
    connection.executemany("insert into numbers values(more(?))", [(n,) for n in range(200)])
    list(connection.execute("select more(value) from numbers order by more(value)"))
    connection.commit()
    is_used.set()


def closes() -> None:
    is_used.wait()
    connection.close()


threads = [threading.Thread(target=body) for body in (closes, uses)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
