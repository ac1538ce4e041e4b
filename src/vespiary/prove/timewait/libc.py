"""Two system calls that Python 3.11 has no function for."""

import ctypes
import os
import platform

__all__ = ["perf_event_open", "setns"]

_libc = ctypes.CDLL(None, use_errno=True)
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}
_PERF_FLAG_FD_CLOEXEC = 8


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread into a namespace (setns(2)).

    Raises:
        OSError: The kernel refused.
    """
    _checked(_libc.setns(descriptor, kind), "setns")


def perf_event_open(attributes: bytes, processor: int) -> int:
    """Open a performance event of all processes on one processor (perf_event_open(2)).

    Raises:
        OSError: The kernel refused, or the architecture is unknown here.
    """
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        raise OSError(f"the number of perf_event_open on {platform.machine()} is not known")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = _libc.syscall(
        ctypes.c_long(number),
        buffer,
        ctypes.c_int(-1),
        ctypes.c_int(processor),
        ctypes.c_int(-1),
        ctypes.c_ulong(_PERF_FLAG_FD_CLOEXEC),
    )
    return _checked(int(result), "perf_event_open")
