"""What the preloaded library runs in a program once it has imported `threading`."""

swap = globals()["swap"]
threading = globals()["modules"]["threading"]
globals()["given"]["LOCK_TYPE"] = type(globals()["modules"]["_thread"].allocate_lock())


def acquire(self, blocking=True, timeout=None):
    """Acquire the semaphore, and say so."""
    really = "REALLY"
    want = "WANT"
    lock_type = "LOCK_TYPE"
    lock = self._cond._lock
    if self._value == 1 and type(lock) is lock_type:
        met = "MET"
        met(lock)
    want(lock if blocking and timeout is None else None)
    result = really(self, blocking, timeout)
    if result:
        taken = "TAKEN"
        taken(lock)
    return result


def release(self, n=1):
    """Release the semaphore, and say so."""
    really = "REALLY"
    let_go = "LET_GO"
    signal = "SIGNAL"
    lock_type = "LOCK_TYPE"
    lock = self._cond._lock
    # None: it is not watched, or is a signal.
    was_held = let_go(lock) if type(lock) is lock_type else None
    try:
        result = really(self, n)
    except BaseException:
        if was_held:
            taken = "TAKEN"
            taken(lock)
        raise
    finally:
        if was_held is not None:
            released = "RELEASED"
            released(lock)
    if was_held is False or (was_held and n != 1):
        signal(lock)
    return result


if swap(threading.Semaphore.acquire, acquire):
    swap(threading.Semaphore.release, release)
    swap(threading.BoundedSemaphore.release, release)
