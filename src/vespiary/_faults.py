"""What goes wrong in a simulated network, and how often.

Each chance is between 0 (never) and 1 (always), and is drawn again at every occasion from the seed.
"""

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Literal, Self

from vespiary._seconds import is_seconds
from vespiary.errors import ConfigurationError

__all__ = ["FaultNames", "Faults", "faults_of"]

FaultNames = Literal["lossless", "harsh"]
"""Faults by name: see `Faults.lossless` and `Faults.harsh`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults of a simulated network. By default nothing goes wrong.

    Attributes:
        short_reads: Chance that a read brings less than has arrived.
        short_writes: Chance that a write takes less than it could.
        late_completions: Chance that an operation is reported late, and so perhaps after operations
            on other sockets that finished later. Late datagrams arrive out of order.
        late_seconds_max: How late at most.
        immediate_completions: Chance that an operation completes while it is asked for.
        late_cancels: Chance that a cancelled operation continues for a while.
        exhausted_buffers: Chance that a read finds no free buffer.
        failed_accepts: Chance that accepting fails for want of descriptors or memory.
        stalls: Chance that a socket receives nothing for a while after it was sent bytes.
        stall_seconds_max: For how long at most.
        resets: Chance that a write meets a reset connection. Bytes in flight are lost.
        lost_datagrams: Chance that a datagram is lost on its way.
        doubled_datagrams: Chance that a datagram arrives twice.
        window_bytes: How many unread bytes a socket holds before its peer must wait.
        read_bytes_max: The most that one read brings. 1: everything arrives byte by byte.
    """

    short_reads: float = 0.0
    short_writes: float = 0.0
    late_completions: float = 0.0
    late_seconds_max: float = 0.002
    immediate_completions: float = 0.0
    late_cancels: float = 0.0
    exhausted_buffers: float = 0.0
    failed_accepts: float = 0.0
    stalls: float = 0.0
    stall_seconds_max: float = 0.005
    resets: float = 0.0
    lost_datagrams: float = 0.0
    doubled_datagrams: float = 0.0
    window_bytes: int = 65_536
    read_bytes_max: int = 16_384

    def __post_init__(self) -> None:
        """Check every field."""
        for name in _CHANCES:
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value <= 1:
                raise _wrong(name, value, "a chance between 0 and 1")
        for name in ("late_seconds_max", "stall_seconds_max"):
            value = getattr(self, name)
            if not is_seconds(value) or value > _SECONDS_MAX:
                raise _wrong(name, value, f"a number of seconds from 0 to {_SECONDS_MAX}")
        for name in ("window_bytes", "read_bytes_max"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _BYTES_MAX:
                raise _wrong(name, value, f"a whole number from 1 to {_BYTES_MAX}")

    @classmethod
    def lossless(cls) -> Self:
        """Everything goes wrong often that loses no byte: what was sent arrives, in order."""
        return cls(
            short_reads=0.3,
            short_writes=0.3,
            late_completions=0.3,
            immediate_completions=0.3,
            late_cancels=0.5,
            exhausted_buffers=0.05,
            failed_accepts=0.1,
            stalls=0.1,
            window_bytes=4096,
        )

    @classmethod
    def harsh(cls) -> Self:
        """All of that, and connections are reset, and datagrams lost or doubled."""
        return dataclasses.replace(
            cls.lossless(), resets=0.02, lost_datagrams=0.1, doubled_datagrams=0.05
        )

    def native(self) -> dict[str, int]:
        """The same as the simulation has it."""
        numbers = {native: round(getattr(self, name) * 1000) for name, native in _CHANCES.items()}
        return {
            **numbers,
            "delay_microseconds_max": round(self.late_seconds_max * 1e6),
            "stall_microseconds_max": round(self.stall_seconds_max * 1e6),
            "window_bytes": self.window_bytes,
            "buffer_bytes": self.read_bytes_max,
        }


_CHANCES = {
    "short_reads": "short_read_permille",
    "short_writes": "short_write_permille",
    "late_completions": "delay_permille",
    "immediate_completions": "at_once_permille",
    "late_cancels": "late_cancel_permille",
    "exhausted_buffers": "no_buffer_permille",
    "failed_accepts": "accept_error_permille",
    "stalls": "stall_permille",
    "resets": "reset_permille",
    "lost_datagrams": "datagram_loss_permille",
    "doubled_datagrams": "datagram_double_permille",
}
_SECONDS_MAX = 3600
_BYTES_MAX = 1 << 24


def faults_of(given: Faults | FaultNames | None) -> Faults:
    """The faults that an option asks for.

    Raises:
        ConfigurationError: it is neither `Faults` nor one of the names.
    """
    if given is None:
        return Faults()
    if isinstance(given, Faults):
        return given
    named = {"lossless": Faults.lossless, "harsh": Faults.harsh}
    name: object = given
    found = named.get(name) if isinstance(name, str) else None
    if found is None:
        near = difflib.get_close_matches(str(given), named, n=1, cutoff=0.5)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(
            f"faults must be 'lossless', 'harsh' or vespiary.testing.Faults(...); got {given!r}"
            f"{advice}",
            subject="faults",
            value=given,
        )
    return found()


def _wrong(name: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"Faults.{name} must be {wanted}; got {value!r}", subject=name, value=value
    )
