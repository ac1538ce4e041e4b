"""What the preloaded library runs in a program that uses asyncio, once."""

swap = globals()["swap"]


given = globals()["given"]


def watch(lock_class, make, ending):
    """Watch a class of locks, of which `make` becomes `__init__`.

    The library's functions for it have names with this ending. A class that differs from those
    known here is left as it is.
    """

    async def acquire(self):
        really = "REALLY"
        taken = "TAKEN"
        if self._waiters or self.locked():
            want = "WANT"
            waited = "WAITED"
            wait = want(self)
            try:
                result = await really(self)
            finally:
                waited(wait)
        else:
            result = await really(self)
        taken(self)
        return result

    def release(self):
        really = "REALLY"
        released = "RELEASED"
        really(self)
        released(self)

    one = lock_class()
    if not (hasattr(one, "locked") and hasattr(one, "_waiters")):
        return
    names = {name: given[name + ending] for name in ("MADE", "WANT", "TAKEN", "RELEASED")}
    if swap(lock_class.acquire, acquire, names) and swap(lock_class.release, release, names):
        swap(lock_class.__init__, make, names)


def make_lock(self):
    """Make an `asyncio.Lock`."""
    really = "REALLY"
    made = "MADE"
    really(self)
    made(self)


def make_semaphore(self, value=1):
    """Make an `asyncio.Semaphore`: one that begins with 1 is a lock, while it is used as one."""
    really = "REALLY"
    really(self, value)
    if value == 1:
        made = "MADE"
        made(self)


def watch_limits():
    """Watch `asyncio.timeout`, and `wait_for` which is made of it since Python 3.12."""
    timeout_class = globals()["modules"]["asyncio.timeouts"].Timeout

    async def enter(self):
        really = "REALLY"
        limited = "LIMITED"
        result = await really(self)
        limited(self)
        return result

    async def leave(self, exc_type, exc_val, exc_tb):
        really = "REALLY"
        unlimited = "UNLIMITED"
        unlimited(self)
        return await really(self, exc_type, exc_val, exc_tb)

    if swap(timeout_class.__aexit__, leave):
        swap(timeout_class.__aenter__, enter)


def is_limited(task):
    """Whether `wait_for` of Python 3.11 waits for a task."""
    functions = (getattr(callback, "func", None) for callback, _ in task._callbacks or ())
    return any(getattr(each, "__name__", "") == "_release_waiter" for each in functions)


def woken(task):
    """The tasks that continue when a task has ended: those that wait for it, also indirectly.

    That is reported by what it will call: a task itself, a group of tasks, or a function that
    closes over a future for which others wait (`gather`, `wait`, `shield`, `wait_for`).
    """
    found, seen, futures = [], set(), [task]
    while futures and len(seen) < 100:
        future = futures.pop()
        if id(future) in seen:
            continue
        seen.add(id(future))
        for callback, _ in getattr(future, "_callbacks", None) or ():
            owner = getattr(callback, "__self__", None)
            if hasattr(owner, "get_coro"):
                found.append(owner)
            elif getattr(owner, "_parent_task", None) is not None:
                found.append(owner._parent_task)
            cells = getattr(callback, "__closure__", None) or ()
            near = [cell.cell_contents for cell in cells if cell != type(cell)()]
            near += getattr(callback, "args", ())
            futures += [each for each in near if hasattr(each, "_asyncio_future_blocking")]
    return found


locks = globals()["modules"]["asyncio.locks"]
watch(locks.Lock, make_lock, "_LOCK")
watch(locks.Semaphore, make_semaphore, "_SEMAPHORE")
