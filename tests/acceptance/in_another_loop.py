"""Run a program in a loop that is not Vespiary's.

    python in_another_loop.py LOOP PROGRAM [ARGUMENT...]

LOOP is asyncio or uvloop. The program is unchanged: where it calls `vespiary.run`, `vespiary.serve`
or `Server.run`, or makes a loop itself, it gets one of that kind, of which Vespiary is a guest.
"""

import asyncio
import runpy
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import vespiary
import vespiary.server

T = TypeVar("T")


def loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes a loop of this kind."""
    if kind == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    assert kind == "asyncio", f"the loop must be asyncio or uvloop; got {kind!r}"
    return asyncio.SelectorEventLoop


def main() -> None:
    """Replace what makes loops, and run the program."""
    _, kind, program, *arguments = sys.argv
    factory = loop_factory(kind)

    def run(main: Coroutine[Any, Any, T], **_: object) -> T:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)

    vespiary.run = vespiary.server.run = run  # type: ignore[attr-defined]
    asyncio.new_event_loop = factory
    sys.argv = [program, *arguments]
    sys.path[0] = str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
