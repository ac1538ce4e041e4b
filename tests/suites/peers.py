"""Send the same requests to our server, uvicorn and granian, and compare what they make of them.

Ordinary requests (conversations.py) must get the same answers, and the application behind each
server must be given the same of each. Odd ones (odd_requests.toml) must get from ours what the file
says, on both drivers and wherever the bytes are cut. What another server does differently is listed
in peer_differences.toml, with the section of the specification that says who is right.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.addresses import OWN_HOST, free_port
from tests.waiting import wait_until

from .conversations import Conversation, conversation
from .odd_requests import AFTER, OddRequest
from .raw_client import converse
from .runs import CHECKOUT

__all__ = ["OURS", "PEERS", "Found", "Listed", "compare", "cuts_that_matter", "serving"]

OURS = ("vespiary-uring", "vespiary-epoll")
PEERS = ("uvicorn-h11", "uvicorn-httptools", "granian")
AT_ONCE = 24
QUIET_SECONDS = 2.0
"""So long without a byte, a server waits for more of the request."""
PATIENT_SECONDS = 30.0
"""The same, when something differs and is asked again."""
_OWN = {"date", "server", "content-length", "transfer-encoding", "connection", "keep-alive"}
"""Fields that servers may choose."""
_DIFFERENCES = Path(__file__).with_name("peer_differences.toml")
Found = dict[tuple[str, str, str], str]
"""What differed, by the server, the odd request or the feature of requests, and the aspect."""

_HEAD = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")


@dataclass(frozen=True)
class Answer:
    """A final response, and the interim ones before it."""

    status: int
    interim: tuple[int, ...]
    fields: tuple[tuple[str, str], ...]
    body: bytes
    trailers: tuple[tuple[str, str], ...]

    @property
    def is_of_application(self) -> bool:
        """Whether the application has answered, and not the server."""
        return any(name == "x-app" for name, _ in self.fields)


@dataclass(frozen=True)
class Outcome:
    """What a server has done with the bytes of a connection.

    Attributes:
        answers: The responses.
        end: `closed`, or `waits` if it waits for more of a request.
        rest: Bytes behind the last whole response.
    """

    answers: tuple[Answer, ...]
    end: str
    rest: bytes = b""

    def __str__(self) -> str:
        parts = [str(one.status) for one in self.answers] + [self.end]
        return " ".join(parts) + (f", then {self.rest[:80]!r}" if self.rest else "")

    def paths(self) -> list[str]:
        """Which requests the application has seen."""
        return [
            json.loads(one.body)["path"]
            for one in self.answers
            if one.is_of_application and one.body
        ]


class Listed:
    """What is known to differ, with the reasons."""

    def __init__(self) -> None:
        with _DIFFERENCES.open("rb") as file:
            self.groups: list[dict[str, Any]] = tomllib.load(file)["difference"]

    def reason(self, server: str, cause: str, aspect: str) -> str | None:
        """Why a server differs in an aspect, if that is a listed feature or odd request."""
        for group in self.groups:
            is_it = server in group["servers"] and aspect in group.get("aspects", ["outcome"])
            if is_it and cause in group["of"]:
                return str(group["reason"])
        return None

    def unexplained(self, found: Found) -> Found:
        """The differences without a reason."""
        return {key: text for key, text in found.items() if self.reason(*key) is None}

    def stale(self, found: Found) -> list[str]:
        """What is listed, and does not differ."""
        differing = {cause for _, cause, _ in found}
        return [cause for group in self.groups for cause in group["of"] if cause not in differing]


@contextlib.contextmanager
def serving(*names: str) -> Iterator[dict[str, tuple[str, int]]]:
    """Serve the application with each of the servers, in a process of its own; their addresses."""
    processes, addresses = [], {}
    try:
        for name in names:
            address = addresses[name] = (OWN_HOST, free_port())
            command = [sys.executable, "-m", "tests.suites.peer_server", name, *map(str, address)]
            processes.append(subprocess.Popen(command, cwd=CHECKOUT))
        for address in addresses.values():
            wait_until(lambda address=address: _is_reachable(address))  # type: ignore[misc]
        yield addresses
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _is_reachable(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address):
        return True
    return False


async def ask(
    address: tuple[str, int], segments: list[bytes], methods: list[str], quiet: float
) -> Outcome:
    """Send the segments and read all answers."""
    received, is_open = await converse(address, segments, quiet)
    answers, rest = parsed(received, methods)
    return Outcome(tuple(answers), "waits" if is_open else "closed", rest)


def parsed(data: bytes, methods: list[str]) -> tuple[list[Answer], bytes]:
    """The responses in the bytes of a connection that has ended, and what follows the last one."""
    answers: list[Answer] = []
    interim: list[int] = []
    while head := _HEAD.match(data):
        status, fields = int(head[1]), _fields(head[2])
        rest = data[head.end() :]
        if status < 200:
            interim.append(status)
            data = rest
            continue
        method = methods[len(answers)] if len(answers) < len(methods) else "GET"
        framing = dict(fields)
        trailers: tuple[tuple[str, str], ...] = ()
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif "transfer-encoding" in framing:
            found = _chunked(rest)
            if found is None:
                return answers, data
            body, trailers, rest = found
        else:
            size = int(framing.get("content-length", len(rest)))
            if len(rest) < size:
                return answers, data
            body, rest = rest[:size], rest[size:]
        kept = tuple(sorted(one for one in fields if one[0] not in _OWN))
        answers.append(Answer(status, tuple(interim), kept, body, trailers))
        interim, data = [], rest
    return answers, data


def _fields(lines: bytes) -> list[tuple[str, str]]:
    pairs = (line.partition(":") for line in lines.decode("latin-1").split("\r\n") if line)
    return [(name.lower(), value.strip(" \t")) for name, _, value in pairs]


def _chunked(data: bytes) -> tuple[bytes, tuple[tuple[str, str], ...], bytes] | None:
    """A chunked body, its trailer fields and what follows; None if it is not whole."""
    body = b""
    while line := re.match(rb"([0-9a-fA-F]+)\r\n", data):
        size, data = int(line[1], 16), data[line.end() :]
        if size == 0:
            trailers = re.match(rb"((?:[^\r\n]+\r\n)*)\r\n", data)
            if trailers is None:
                return None
            return body, tuple(_fields(trailers[1])), data[trailers.end() :]
        if data[size : size + 2] != b"\r\n":
            return None
        body, data = body + data[:size], data[size + 2 :]
    return None


def aspects(ours: Outcome, theirs: Outcome) -> dict[str, str]:
    """In which aspects two servers differ."""
    found = {}
    if (
        len(ours.answers) != len(theirs.answers)
        or ours.end != theirs.end
        or ours.rest
        or theirs.rest
    ):
        found["answers"] = f"{theirs}; ours: {ours}"
    for one, other in zip(ours.answers, theirs.answers, strict=False):
        for name in ("status", "interim", "fields", "trailers"):
            if getattr(one, name) != getattr(other, name):
                found[name] = f"{getattr(other, name)}; ours: {getattr(one, name)}"
        if one.body == other.body:
            continue
        if not (one.body and other.body and one.is_of_application and other.is_of_application):
            found["body"] = f"{other.body[:200]!r}; ours: {one.body[:200]!r}"
            continue
        seen, there = json.loads(one.body), json.loads(other.body)
        for name in seen:
            if name == "headers":
                seen[name], there[name] = sorted(seen[name]), sorted(there[name])
            if seen[name] != there[name]:
                found[f"scope.{name}"] = f"{there[name]}; ours: {seen[name]}"
    return found


async def compare(
    addresses: dict[str, tuple[str, int]], count: int, odd: list[OddRequest], listed: Listed
) -> Found:
    """Ask all servers, and collect what differs.

    Args:
        addresses: Of the servers; the first is the one that the others are compared with.
        count: How many requests are generated, at least.
        odd: These are sent too.
        listed: What differs without a reason is asked again, with more patience.
    """
    differences: Found = {}
    limit = asyncio.Semaphore(AT_ONCE)

    async def ordinary(seed: int) -> None:
        made = conversation(seed)
        found: Found = {}
        async with limit:
            for quiet in (QUIET_SECONDS, PATIENT_SECONDS):
                outcomes = await _ask_all(addresses, made.segments, made.methods, quiet)
                found = _of_ordinary(outcomes, made, seed, listed)
                if not listed.unexplained(found):
                    break
        differences.update(found)

    async def strange(one: OddRequest) -> None:
        found: Found = {}
        async with limit:
            for quiet in (QUIET_SECONDS, PATIENT_SECONDS):
                outcomes = await _ask_all(addresses, [one.data + AFTER], [], quiet)
                found = _of_odd(outcomes, one)
                if not listed.unexplained(found):
                    break
        differences.update(found)

    await asyncio.gather(*map(ordinary, seeds(count)), *map(strange, odd))
    return differences


def seeds(count: int) -> range:
    """The seeds of conversations with so many requests."""
    last = 0
    while count > 0:
        count -= len(conversation(last).methods)
        last += 1
    return range(last)


async def _ask_all(
    addresses: dict[str, tuple[str, int]], segments: list[bytes], methods: list[str], quiet: float
) -> dict[str, Outcome]:
    outcomes = await asyncio.gather(
        *(ask(address, segments, methods, quiet) for address in addresses.values())
    )
    return dict(zip(addresses, outcomes, strict=True))


def _of_ordinary(
    outcomes: dict[str, Outcome], made: Conversation, seed: int, listed: Listed
) -> Found:
    """The differences of a conversation, each for what may be its cause."""
    ours, found = outcomes[OURS[0]], {}
    for name, outcome in outcomes.items():
        for aspect, text in aspects(ours, outcome).items():
            causes = [one for one in made.features if listed.reason(name, one, aspect)]
            for cause in causes or [", ".join(sorted(made.features))]:
                found[name, cause, aspect] = f"seed {seed}: {text}"
    return found


def _of_odd(outcomes: dict[str, Outcome], one: OddRequest) -> Found:
    ours, found = outcomes[OURS[0]], {}
    if str(ours) != one.outcome:
        found[OURS[0], one.name, "outcome"] = f"{ours}; expected: {one.outcome}"
    for name, outcome in outcomes.items():
        if _gist(outcome) != _gist(ours):
            found[name, one.name, "outcome"] = (
                f"{outcome} {outcome.paths()}; ours: {ours} {ours.paths()}"
            )
    return found


def _gist(outcome: Outcome) -> Any:
    """What must be alike for an odd request: what the application has seen, and a refusal."""
    seen = []
    for answer in outcome.answers:
        if answer.is_of_application and answer.body:
            body = json.loads(answer.body)
            seen.append({**body, "headers": sorted(body["headers"])})
    is_refused = any(not one.is_of_application for one in outcome.answers) or not seen
    return seen, is_refused, outcome.end


async def cuts_that_matter(address: tuple[str, int], odd: Iterable[OddRequest]) -> list[str]:
    """Cut each odd request at every place, and byte by byte; the cuts that change the outcome."""
    limit = asyncio.Semaphore(AT_ONCE)
    found = []

    async def cut(one: OddRequest, at: int) -> None:
        data = one.data + AFTER
        parts = [data[:at], data[at:]] if at else [bytes([byte]) for byte in data]
        async with limit:
            is_open = one.outcome.endswith("waits")
            outcome = await ask(address, parts, [], QUIET_SECONDS if is_open else PATIENT_SECONDS)
        if str(outcome) != one.outcome:
            found.append(f"{one.name}: {outcome} when cut at {at}; otherwise {one.outcome}")

    await asyncio.gather(*(cut(one, at) for one in odd for at in range(len(one.data) + 1)))
    return sorted(found)
