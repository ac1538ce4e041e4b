"""Find the findings of a process, or of several processes that share locks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial

from vespiary.prove.locks.activity import Activity
from vespiary.prove.locks.classes import ClassCircle, class_circles
from vespiary.prove.locks.facts import Edge, Event, Held, Thread
from vespiary.prove.locks.findings import (
    NOTHING,
    Finding,
    Kind,
    LockStory,
    Step,
    ordered,
    with_sets,
)
from vespiary.prove.locks.graph import Circle, circles
from vespiary.prove.locks.interruptions import explained
from vespiary.prove.locks.kinds import FUTURE, GIL, IMPORT, MAY_BE_SIGNALS
from vespiary.prove.locks.live import Deadlock
from vespiary.prove.locks.log import log_of
from vespiary.prove.locks.names import Names
from vespiary.prove.locks.outside import doing
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.stalls import Stall
from vespiary.prove.locks.together import Together

__all__ = ["analyse", "deadlock", "stall", "stall_finding"]

_GIL_ADVICE = (
    "give the GIL away (Py_BEGIN_ALLOW_THREADS; with ctypes, CDLL instead of PyDLL) before a native"
    " lock is taken, or release the native lock before Python is called"
)

_SENTENCES: dict[str, tuple[Kind, str, str]] = {
    "relock": (
        "misuse",
        "a lock that is not recursive is taken again by the thread that holds it",
        "release it first, or make it recursive",
    ),
    "foreign-unlock": (
        "misuse",
        "a mutex is unlocked by a thread that does not hold it",
        "unlock it where it was locked; to signal another thread use a semaphore or a condition",
    ),
    "destroyed-held": (
        "misuse",
        "a lock is destroyed while it is held",
        "unlock it first, and make sure that no thread can still use it",
    ),
    "ended-holding": (
        "misuse",
        "a thread has ended while it held a lock",
        "release it on every path; a robust mutex lets the next one know",
    ),
    "wait-holding": (
        "information",
        "a thread waits on a condition, or for a semaphore, while it holds another lock",
        "make sure that anyone who signals never needs that other lock, or release it first",
    ),
}


class _Teller:
    """Turns numbers into names and stacks."""

    def __init__(self, together: Together) -> None:
        self._together = together
        self._names = Names(together)
        self.threads = self._names.threads
        self.thread = self._names.thread
        self.lock_name = self._names.lock

    def noun(self, numbers: Iterable[int]) -> str:
        """What threads with these numbers are: `task` if all of them are tasks."""
        met = (self.threads.get(number) for number in numbers)
        return "task" if all(thread and thread.noun == "task" for thread in met) else "thread"

    def story(self, number: int) -> LockStory:
        lock = self._together.lock(number)
        places = self._together.places(number)
        made = [] if lock.kind == GIL else places.stack(lock.stack, lock.first_site)
        return LockStory(self.lock_name(number), lock.kind, made, lock.made)

    def step(self, edge: Edge) -> Step:
        places = self._together.places(edge.thread)
        return Step(
            self.thread(edge.thread),
            self.lock_name(edge.first),
            places.frames(edge.first_site),
            self.lock_name(edge.to),
            places.stack(edge.stack, edge.to_site),
            edge.to_shared,
            places.stack(edge.first_stack),
        )

    def waiting(self, thread: Thread, held_for: int | None) -> Step:
        """What a thread waits for now, and how it came to hold what the one before it wants."""
        assert thread.waiting is not None
        places = self._together.places(thread.number)
        who, held = self._holding(thread, held_for)
        return Step(
            self.thread(who),
            NOTHING if held_for is None else self.lock_name(held_for),
            places.frames(held.site) if held else [],
            self.lock_name(thread.waiting),
            places.stack(thread.waiting_stack),
            thread.waiting_shared,
            self._held_stack(thread.number, held),
        )

    def _holding(self, thread: Thread, lock: int | None) -> tuple[int, Held | None]:
        """Who of a thread and the tasks that it runs holds a lock, and how."""
        carried = [task for task in self.threads.values() if task.carrier == thread.number]
        for each in (thread, *carried):
            for held in each.held:
                if held.lock == lock:
                    return each.number, held
        carrier = None if thread.carrier is None else self.threads.get(thread.carrier)
        for held in carrier.held if carrier else ():
            if held.lock == lock and held.task == thread.number:
                return thread.number, held
        return thread.number, None

    def _held_stack(self, thread: int, held: Held | None) -> list[Frame]:
        """Where a lock was taken that is held now, where the full mode has kept it."""
        if held is None or held.entry is None:
            return []
        log = log_of(self._together.record(thread))
        places = self._together.places(thread)
        return places.stack(log.stack(held.entry)) if log is not None else []

    def left(self, owner: int, lock: int) -> list[Step]:
        """What the owner of a lock did that is not there any more: where it holds it."""
        thread = self.threads.get(owner)
        if thread is None:
            return []
        places = self._together.places(owner)
        name = self.lock_name(lock)
        held = next((held for held in thread.held if held.lock == lock), None)
        parent = self._together.parent_of(owner) if thread.left_behind else None
        fork = self._together.record(owner).fork
        if parent is None or fork is None:
            since = places.frames(held.site) if held else []
            return [Step(self.thread(owner), name, since, NOTHING, [])]
        names, there = Names(parent), parent.places(0)
        since = there.frames(held.site) if held else []
        pid = parent.records[0].pid
        return [
            Step(
                f"{self.thread(owner)} of the parent ({pid})",
                name,
                since,
                NOTHING,
                [],
            ),
            Step(
                f"{names.thread(fork.thread)} of the parent ({pid})",
                NOTHING,
                [],
                "to fork",
                there.stack(fork.stack),
            ),
        ]

    def holding(self, thread: Thread, lock: int | None, does: str, frames: list[Frame]) -> Step:
        """What a thread does while it holds a lock that others wait for.

        Args:
            thread: It.
            lock: The lock.
            does: What it does, as the kernel says.
            frames: And where, as it is seen from outside.
        """
        assert lock is not None
        places = self._together.places(thread.number)
        who, held = self._holding(thread, lock)
        if thread.waiting is not None:
            does = f"waits for {self.lock_name(thread.waiting)}"
            frames = places.stack(thread.waiting_stack) or frames
        return Step(
            self.thread(who),
            self.lock_name(lock),
            places.frames(held.site) if held else [],
            NOTHING,
            frames,
            held_stack=self._held_stack(thread.number, held),
            does=does,
        )

    def subject(self, event: Event) -> int:
        """The lock that an event is about: held while a sign is waited for, or misused."""
        if event.what == "wait-holding" and event.other is not None:
            return event.other
        return event.lock

    def event(self, event: Event) -> Finding:
        kind, title, advice = _SENTENCES[event.what]
        locks = [self.story(event.lock)]
        if event.what == "ended-holding" and locks[0].kind in MAY_BE_SIGNALS:
            kind, advice = "information", "nothing, if another thread is to release it"
        if event.what == "wait-holding" and event.other is not None:
            locks.append(self.story(event.other))
        where = self._together.places(event.thread).stack(event.stack, event.site)
        title = title.replace("thread", self.noun([event.thread]))
        name = self.lock_name(event.lock)
        step = Step(self.thread(event.thread), name, [], name, where)
        process = self._together.record(event.thread).pid
        return Finding(kind, title, advice, process, locks, [step], event=event.what)


def analyse(
    together: Together,
    on_limit: Callable[[frozenset[int]], None] = lambda locks: None,
    *,
    with_classes: bool = False,
) -> list[Finding]:
    """Everything that the records tell, the worst first, each signature once.

    Args:
        together: The records, of processes that share locks.
        on_limit: Called with locks among which not all circles could be looked for.
        with_classes: Whether inversions between classes of locks are reported too, as information.
    """
    teller = _Teller(together)
    is_signal = cache(lambda number: together.lock(number).signal)
    orders = [
        edge for edge in together.edges() if not is_signal(edge.first) and not is_signal(edge.to)
    ]
    kind = cache(lambda number: together.lock(number).kind)
    look = partial(circles, threads=teller.threads, kind=kind, is_over=together.is_over)
    rings = look([edge for edge in orders if not edge.private], on_limit=on_limit)
    found = [_circle(together, teller, circle) for circle in rings]
    if any(edge.private for edge in orders):
        known = {circle.locks for circle in rings}
        weak = [circle for circle in look(orders) if circle.locks not in known]
        found += [_weak_circle(_circle(together, teller, circle)) for circle in weak]
    if with_classes:
        rings_of_classes = class_circles(together, orders, teller.threads, rings)
        found += [_class_circle(together, teller, circle) for circle in rings_of_classes]
    found += [
        teller.event(event)
        for event in together.events()
        if event.what in _SENTENCES and not is_signal(teller.subject(event))
    ]
    return ordered(with_sets([explained(finding) for finding in found]))


def _process(together: Together, locks: Iterable[int]) -> int:
    """The process that a circle of locks is reported of, the same for each report about them."""
    return together.record(min(locks)).pid


def _circle(together: Together, teller: _Teller, circle: Circle) -> Finding:
    process = _process(together, circle.locks)
    locks = [teller.story(edge.first) for edge in circle.edges]
    steps = [teller.step(edge) for edge in circle.edges]
    noun = teller.noun(edge.thread for edge in circle.edges)
    if circle.threads == 1:
        title = f"one {noun} takes {len(locks)} locks in different orders"
        advice = f"harmless while no other {noun} does; but it is better to keep one order"
        return Finding("information", title, advice, process, locks, steps)
    title = f"{circle.threads} {noun}s take {len(locks)} locks in orders that can deadlock"
    if any(lock.kind == GIL for lock in locks):
        return Finding("inversion", title, _GIL_ADVICE, process, locks, steps)
    advice = (
        "choose one order for these locks and keep it everywhere; or hold only one of them at a"
        " time; or take the inner one with a try, and release the outer one when it fails"
    )
    return Finding("inversion", title, advice, process, locks, steps)


def _weak_circle(found: Finding) -> Finding:
    """An inversion with an order that was made while nobody else could know one of the locks."""
    return replace(
        found,
        kind="information",
        title=f"{found.title}, if others know a lock while its maker takes it first",
        advice="nothing, if the object is shared only after that; else one order for these locks",
    )


def _class_circle(together: Together, teller: _Teller, circle: ClassCircle) -> Finding:
    """Orders that could deadlock with other locks that were made at the same places."""
    process = together.record(circle.edges[0].thread).pid
    noun = teller.noun(edge.thread for edge in circle.edges)
    stories = zip(circle.edges, circle.members, strict=True)
    locks = [
        replace(story, name=f"{story.name}, one of {members}")
        for story, members in ((teller.story(edge.first), members) for edge, members in stories)
    ]
    steps = [teller.step(edge) for edge in circle.edges]
    if circle.within:
        title = (
            f"{circle.threads} {noun}s take locks that were made at one place within each other,"
            " in no order of their age or address"
        )
        advice = "take such locks in one order, by a number or by address"
    else:
        title = (
            f"{circle.threads} {noun}s take locks made at {len(locks)} places in orders that could"
            " deadlock, if they were the same locks"
        )
        advice = "choose one order for locks of these places, or say why these locks never meet"
    return Finding("information", title, advice, process, locks, steps, by_class=True)


def deadlock(together: Together, found: Deadlock) -> Finding:
    """A deadlock that has happened."""
    teller = _Teller(together)
    threads = found.threads
    noun = teller.noun(thread.number for thread in threads)
    wanted = [thread.waiting for thread in threads if thread.waiting is not None]
    steps = [
        teller.waiting(thread, threads[position - 1].waiting)
        for position, thread in enumerate(threads)
    ]
    locks = [teller.story(number) for number in wanted]
    if found.owner_gone is not None:
        title, advice = _gone(together, teller, found.owner_gone)
        steps += teller.left(found.owner_gone, wanted[0])
    elif len(threads) == 1:
        title = f"a {noun} waits for a lock that it holds itself"
        advice = "release it first, or make it recursive"
    else:
        title = f"{len(threads)} {noun}s wait for each other"
        advice = "choose one order for these locks and keep it everywhere"
        if any(lock.kind == GIL for lock in locks):
            advice = _GIL_ADVICE
        elif any(lock.kind == IMPORT for lock in locks):
            advice = "import the module before the lock is taken, as at the start of the program"
        elif any(lock.life or lock.kind == FUTURE for lock in map(together.lock, wanted)):
            advice = "release the lock before you wait for a thread or a result that needs it"
    process = together.record(threads[0].number).pid
    if found.owner_gone is None:
        process = _process(together, wanted)
    return explained(Finding("deadlock", title, advice, process, locks, steps))


def _gone(together: Together, teller: _Teller, owner: int) -> tuple[str, str]:
    """What is said of a lock whose owner is not there any more."""
    thread = teller.threads.get(owner)
    if thread is not None and thread.left_behind:
        return (
            "a thread waits for a lock that another thread of the parent held at the fork",
            "fork before there are threads, or start a new program (multiprocessing: spawn or"
            " forkserver); or make a new lock in the child (pthread_atfork,"
            " os.register_at_fork)",
        )
    if thread is not None and not together.lives(owner):
        return (
            "a thread waits for a lock whose owner's process has ended",
            "release it on every path on which a process can end; a robust mutex lets the next one"
            " know (pthread_mutexattr_setrobust)",
        )
    return (
        "a thread waits for a lock whose owner has ended",
        "release it on every path on which a thread can end",
    )


_STALLS = {
    "sleep": "do not sleep with the lock held",
    "input": "do not wait for others than the program's threads with the lock held, or set a time"
    " limit for that",
    "children": "do not wait for a process with the lock held",
    "threads": "release the lock before the holder waits for another thread, or find out why that"
    " one does not wake it",
}


def stall(found: Stall) -> Finding:
    """A wait that lasts, with what the holder does; it fails a build if that cannot end alone."""
    teller = _Teller(found.together)
    first, holder = found.waiting[0], found.holder
    behind: list[int | None] = [None, *(thread.waiting for thread in found.waiting)]
    steps = [
        teller.waiting(thread, held_for)
        for thread, held_for in zip(found.waiting, behind, strict=False)
    ]
    steps[0] = replace(steps[0], holds=NOTHING)
    process = found.together.record(holder.number).pid
    does, frames = doing(process, holder.tid)
    steps.append(teller.holding(holder, behind[-1], does.text, list(frames)))
    locks = [teller.story(thread.waiting) for thread in found.waiting if thread.waiting is not None]
    pid = found.together.record(first.number).pid
    whole = stall_finding(found.seconds, pid, locks, steps, does)
    return whole if holder.carrier is None else replace(whole, may_pass=True)


def stall_finding(
    seconds: float, pid: int, locks: list[LockStory], steps: list[Step], does: Activity
) -> Finding:
    """A wait that has lasted for some seconds, because of what the last step's thread does."""
    title = (
        f"a thread has waited for a lock for {seconds:g} s or longer, in which the lock's holder"
        " did not run"
    )
    advice = _STALLS.get(does.kind, "hold the lock for less time")
    return Finding("stall", title, advice, pid, locks, steps, may_pass=not does.is_endless)
