"""Open files beneath a folder, and nothing outside of it.

openat2(2) does it in one system call: with `RESOLVE_BENEATH` the kernel follows symbolic links as
long as they stay within the folder, even while somebody else renames or replaces them. With
`RESOLVE_CACHED` it fails with `EAGAIN` where it would have to wait for a disk. Where there is no
openat2 (a seccomp profile may forbid it), the path is walked one segment at a time, and no link is
followed by the kernel: its target is put in front of the segments that are left.

A link with an absolute target leaves the folder, wherever it points. In both ways the error is
`EXDEV` for what leads outside.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

__all__ = ["open_beneath"]

_OPENAT2 = 437
"""The same number on every architecture."""
_NO_MAGICLINKS, _BENEATH, _CACHED = 0x02, 0x08, 0x20
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""Non-blocking: opening a named pipe would wait for its writer."""
_LINKS_MAX = 40
"""As the kernel has it (path_resolution(7))."""


class _How(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_size = ctypes.c_size_t(ctypes.sizeof(_How))
_hows = {
    is_cached: _How(_FLAGS, 0, _BENEATH | _NO_MAGICLINKS | (_CACHED if is_cached else 0))
    for is_cached in (False, True)
}


def open_beneath(folder: int, name: bytes, *, only_cached: bool = False) -> int:
    """Open a file for reading.

    Args:
        folder: The descriptor of the folder.
        name: A path relative to it.
        only_cached: Whether to fail rather than to wait for a disk.

    Returns:
        A descriptor, which may also be a folder's or a device's.

    Raises:
        BlockingIOError: with `only_cached`, the kernel would have to wait, or cannot tell.
        OSError: it cannot be opened.
    """
    if b"\0" in name:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    how = ctypes.byref(_hows[only_cached])
    while True:
        found: int = _libc.syscall(
            _OPENAT2, ctypes.c_int(folder), ctypes.c_char_p(name), how, _size
        )
        if found >= 0:
            return found
        number = ctypes.get_errno()
        # EAGAIN without `_CACHED`: something was renamed meanwhile, and the kernel is not sure.
        if number != errno.EINTR and (only_cached or number != errno.EAGAIN):
            break
    if number in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
        if only_cached:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return walk(folder, name)
    raise OSError(number, os.strerror(number))


def walk(folder: int, name: bytes) -> int:
    """Do the same without openat2."""
    if name.startswith(b"/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    segments = name.split(b"/")
    above = [os.dup(folder)]
    links = 0
    try:
        while segments:
            segment = segments.pop(0)
            if segment in (b"", b"."):
                continue
            if segment == b"..":
                if len(above) == 1:
                    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
                os.close(above.pop())
                continue
            path = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            found = os.open(segment, path, dir_fd=above[-1])
            above.append(found)
            if stat.S_ISLNK(os.fstat(found).st_mode):
                links += 1
                target = os.readlink(b"", dir_fd=found)
                os.close(above.pop())
                if target.startswith(b"/"):
                    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
                if links > _LINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                segments[:0] = target.split(b"/")
        found = os.open(b"/proc/self/fd/%d" % above[-1], _FLAGS)
    finally:
        for descriptor in above:
            os.close(descriptor)
    if name.endswith(b"/") and not stat.S_ISDIR(os.fstat(found).st_mode):
        os.close(found)
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return found
