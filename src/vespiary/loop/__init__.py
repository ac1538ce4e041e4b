"""Vespiary's asyncio loop, and Vespiary as the guest of other loops."""

from vespiary.loop._guest import running_core
from vespiary.loop._loop import Loop, new_event_loop, run
from vespiary.loop._selector import PortSelector

__all__ = ["Loop", "PortSelector", "new_event_loop", "run", "running_core"]
