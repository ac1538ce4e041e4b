# expect: nothing
"""The lock methods accept and refuse the same arguments with and without the detector."""

import threading
from typing import Any

REFUSED: list[tuple[type[Exception], tuple[Any, ...], dict[str, Any]]] = [
    (ValueError, (), {"timeout": -100}),
    (ValueError, (True, -0.5), {}),
    (ValueError, (False, 1), {}),
    (TypeError, (), {"unknown": 1}),
    (TypeError, (True,), {"blocking": True}),
    (TypeError, (True, -1, 3), {}),
    (TypeError, (), {"timeout": "long"}),
    (OverflowError, (), {"timeout": 1e100}),
]
TAKEN: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((True,), {}),
    ((True, -1), {}),
    ((1,), {"timeout": -1.0}),
    ((), {"blocking": True, "timeout": 0.5}),
    ((False,), {}),
]

for make in (threading.Lock, threading.RLock):
    lock: Any = make()
    for error, given, named in REFUSED:
        try:
            lock.acquire(*given, **named)
        except error:
            continue
        raise AssertionError(f"{make}: acquire took {given} and {named}")
    for given, named in TAKEN:
        assert lock.acquire(*given, **named) is True
        lock.release()
