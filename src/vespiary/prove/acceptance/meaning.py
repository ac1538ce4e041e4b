"""What a suite must satisfy beyond the types of its values: names that exist, choices that fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from vespiary._toml_files import KeyPath as Path
from vespiary._toml_files import Problem
from vespiary.prove.acceptance.matrix import AXES, cells_of, excludes, values_of
from vespiary.prove.acceptance.names import NAMES, used_in
from vespiary.prove.acceptance.suite import Axes, Case, Client, Counter, Matrix, Server, Suite
from vespiary.prove.acceptance.tools import BUILT_IN

__all__ = ["problems_of"]

_FILE_NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.-]{1,100}")
"""A name that files and folders are named after: not `..`, and nothing with a slash."""


def problems_of(suite: Suite, data: Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with a suite whose values have the right types.

    Args:
        suite: The suite.
        data: The same as it was in the file.
    """
    return [
        *_of_file_names(suite),
        *_of_texts(data),
        *_of_names(suite, data),
        *_of_tools(suite),
        *_of_matrix(suite),
        *(problem for name, case in suite.cases.items() for problem in _of_case(name, case)),
    ]


def suggestion(name: object, known: Sequence[object]) -> str:
    """What may have been meant."""
    names = list(map(str, known))
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(names)}" if names else "there is none"


def _strings(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _strings(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _strings(each, (*path, number))


def _of_file_names(suite: Suite) -> Iterator[Problem]:
    """Names that files are named after: each is one, and within a case each is another."""
    text = "expected a name of letters, digits, dots, hyphens and underscores"
    places: list[tuple[Path, str]] = [
        *((("tools", name), name) for name in suite.tools),
        *((("hosts", name), name) for name in suite.hosts),
    ]
    for case_name, case in suite.cases.items():
        above: Path = ("cases", case_name)
        places.append((above, case_name))
        labels = set() if case.server is None else {"server"}
        named: list[tuple[Path, str, str]] = [
            ((*above, "services", name), name, name) for name in case.services
        ]
        for number, client in enumerate(case.clients):
            name = client.name or str(number + 1)
            named.append(((*above, "clients", number), name, f"client-{name}"))
        for path, name, label in named:
            places.append((path, name))
            if label in labels:
                yield Problem(path, f"another program of this case is called {label!r}, too")
            labels.add(label)
    yield from (Problem(path, text) for path, name in places if not _FILE_NAME.fullmatch(name))


def _of_texts(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What the kernel takes: no text with NUL, and no variable with `=` in its name."""
    for path, text in _strings(data, ()):
        if "\0" in text:
            yield Problem(path, "expected a text without the character NUL")
        name = str(path[-1])
        if "environment" in path[:-1] and (not name or "=" in name or "\0" in name):
            yield Problem(path, f"expected the name of a variable, without '='; got {name!r}")


def _of_names(suite: Suite, data: Mapping[str, Any]) -> Iterator[Problem]:
    """Names in braces."""
    for top in ("cases", "tools", "defaults"):
        for path, text in _strings(data.get(top, {}), (top,)):
            for name in used_in(text):
                if name not in NAMES and not name.startswith("port."):
                    known = suggestion(name, list(NAMES))
                    yield Problem(path, f"unknown name {{{name}}}: {known}")
                elif name == "vespiary" and text != "{vespiary}" and "command" not in path:
                    yield Problem(path, "{vespiary} can only be a word of a command")
    for case_name, case in suite.cases.items():
        for path, text in _strings(data["cases"][case_name], ("cases", case_name)):
            for axis in {"driver", "workers"} & set(used_in(text)):
                if values_of(suite, case, axis) == [None]:
                    wanted = AXES[axis]
                    yield Problem(path, f"{{{axis}}} needs matrix.{wanted}, which names none")


def _of_tools(suite: Suite) -> Iterator[Problem]:
    for name, tool in suite.tools.items():
        path: Path = ("tools", name)
        if name in BUILT_IN and tool.command is not None:
            text = f"{name} is one of Vespiary's own tools: give your own tool another name"
            yield Problem((*path, "command"), text)
        elif name not in BUILT_IN and tool.command is None:
            yield Problem(path, "expected a command, as this is not one of Vespiary's own tools")
    known = [*BUILT_IN, *suite.tools]
    for name, case in suite.cases.items():
        for tool_name in case.tool_arguments:
            if tool_name not in known:
                place: Path = ("cases", name, "tool_arguments", tool_name)
                yield Problem(place, f"unknown tool: {suggestion(tool_name, known)}")


def _of_matrix(suite: Suite) -> Iterator[Problem]:
    if not suite.cases:
        yield Problem(("cases",), "expected at least one case: a table [cases.NAME]")
    places: list[tuple[Path, Matrix]] = [(("matrix",), suite.matrix)]
    places += [(("cases", name, "matrix"), case.matrix) for name, case in suite.cases.items()]
    known: dict[str, list[Any]] = {
        "tools": [*BUILT_IN, *suite.tools],
        "drivers": ["uring", "epoll"],
        "hosts": list(suite.hosts),
    }
    is_right = True
    for path, matrix in places:
        for axis, names in known.items():
            for number, name in enumerate(getattr(matrix, axis) or []):
                if name not in names:
                    is_right = False
                    text = f"unknown: {name!r}; {suggestion(name, names)}"
                    yield Problem((*path, axis, number), text)
        for number, count in enumerate(matrix.workers or []):
            if count < 1:
                yield Problem((*path, "workers", number), f"expected 1 or more; got {count}")
        for axis in AXES.values():
            if getattr(matrix, axis) == []:
                yield Problem((*path, axis), "is empty: expected a value or more, or no such key")
    if is_right:
        yield from _of_exclusions(suite)


def _of_exclusions(suite: Suite) -> Iterator[Problem]:
    """Exclusions that exclude nothing are mistakes."""
    every = [cell for name in suite.cases for cell in cells_of(suite, name, excluding=False)]
    axes = ["case", *AXES]
    places: list[tuple[Path, list[str], list[Axes]]] = [((), [*suite.cases], suite.matrix.exclude)]
    places += [(("cases", name), [name], case.matrix.exclude) for name, case in suite.cases.items()]
    for above, names, entries in places:
        for number, entry in enumerate(entries):
            path: Path = (*above, "matrix", "exclude", number)
            wrong = [axis for axis in entry if axis not in axes]
            for axis in wrong:
                yield Problem((*path, axis), f"unknown key: {suggestion(axis, axes)}")
            mine = [cell for cell in every if cell.case in names]
            if not wrong and not any(excludes(entry, cell) for cell in mine):
                yield Problem(path, "excludes nothing: no case has this combination")


def _of_case(name: str, case: Case) -> Iterator[Problem]:
    path: Path = ("cases", name)
    if case.server is None and not case.clients:
        yield Problem(path, "expected a server, or clients, or both: there is nothing to run")
    if case.server is not None:
        yield from _of_server((*path, "server"), case.server)
    for service, server in case.services.items():
        yield from _of_server((*path, "services", service), server)
    for number, client in enumerate(case.clients):
        yield from _of_client((*path, "clients", number), client)
    for number, counter in enumerate(case.checks.counters):
        yield from _of_counter((*path, "checks", "counters", number), counter)
    if case.server is None:
        for key in ("output", "no_output"):
            if getattr(case.checks, key):
                text = "is about the server's output, and there is no server"
                yield Problem((*path, "checks", key), text)


def _of_server(path: Path, server: Server) -> Iterator[Problem]:
    ready = server.ready
    if ready.port is None and ready.output is None and ready.http is None and not ready.notify:
        text = "expected how to know that it is ready: port, output, http or notify"
        yield Problem((*path, "ready"), text)
    if ready.http is not None and not re.match(r"https?://", ready.http):
        yield Problem((*path, "ready", "http"), "expected a URL such as 'http://127.0.0.1:{port}/'")


def _one_of(path: Path, item: object, *keys: str) -> Iterator[Problem]:
    given = [key for key in keys if getattr(item, key) is not None]
    if len(given) != 1:
        there = f"there are {' and '.join(given)}" if given else "there is none"
        yield Problem(path, f"expected one of {', '.join(keys)}: {there}")


def _of_client(path: Path, client: Client) -> Iterator[Problem]:
    yield from _one_of(path, client, "command", "load")
    if client.load is not None and "--json" in client.load:
        text = "has --json already: the report is {artifacts}/client-NAME.json"
        yield Problem((*path, "load"), text)


def _of_counter(path: Path, counter: Counter) -> Iterator[Problem]:
    yield from _one_of(path, counter, "url", "file", "command")
    yield from _one_of(path, counter, "json", "metric", "pattern")
    if counter.pattern is not None and re.compile(counter.pattern).groups != 1:
        yield Problem((*path, "pattern"), "expected one group, around the number")
