"""What the preloaded library runs in a program that uses asyncio, once."""

swap = globals()["swap"]


def watch_lock(lock_class):
    """Watch `asyncio.Lock`; another one than is known here is left as it is."""
    one = lock_class()
    if not (hasattr(one, "_locked") and hasattr(one, "_waiters")):
        return

    def make(self):
        really = "REALLY"
        made = "MADE"
        really(self)
        made(self)

    async def acquire(self):
        really = "REALLY"
        taken = "TAKEN"
        if self._locked or self._waiters:
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

    swap(lock_class.__init__, make)
    swap(lock_class.acquire, acquire)
    swap(lock_class.release, release)


def watch_semaphore(semaphore_class):
    """Watch `asyncio.Semaphore` where it begins with 1: a lock, as long as it is used as one."""
    one = semaphore_class(2)
    if not (hasattr(one, "_value") and hasattr(one, "_waiters") and hasattr(one, "locked")):
        return

    def make(self, value=1):
        really = "REALLY"
        really(self, value)
        if value == 1:
            made = "MADE_SEMAPHORE"
            made(self)

    async def acquire(self):
        really = "REALLY"
        taken = "TAKEN_SEMAPHORE"
        if self.locked():
            want = "WANT_SEMAPHORE"
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
        released = "RELEASED_SEMAPHORE"
        really(self)
        released(self)

    if swap(semaphore_class.acquire, acquire) and swap(semaphore_class.release, release):
        swap(semaphore_class.__init__, make)


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
    """The tasks that go on once a task has ended: those that wait for it, by whatever is between.

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


watch_lock(globals()["modules"]["asyncio.locks"].Lock)
watch_semaphore(globals()["modules"]["asyncio.locks"].Semaphore)
