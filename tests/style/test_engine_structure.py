"""The engine's files depend on each other in few and small circles; sessions and layers in none."""

import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "crates" / "engine" / "src"

CIRCLE_FILES_MAX = 6
"""The engine, its connections, listeners, sockets for datagrams, endpoints and its host know
each other."""

PURE = ("session", "layers")
"""What turns bytes into messages and back. It reports to a trait; its tests need no port."""

_IMPORT = re.compile(r"^\s*(?:pub(?:\(crate\))? )?use ((?:crate|super)::[^;]+);", re.MULTILINE)
_NOT_CODE = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"', re.DOTALL)


def module_of(file: Path) -> tuple[str, ...]:
    """A file's module path."""
    path = file.relative_to(SOURCE).with_suffix("").parts
    return path[:-1] if path[-1] == "mod" else path


FILES = {module_of(file): file for file in SOURCE.rglob("*.rs") if file.name != "tests.rs"}


def expand(tree: str) -> list[list[str]]:
    """The paths of one `use`, with its braces written out."""
    tree = re.sub(r"\s+", "", tree)
    opened = tree.find("{")
    if opened < 0:
        return [tree.split("::")]
    prefix, inner = tree[:opened], tree[opened + 1 : tree.rindex("}")]
    parts, depth, begun = [], 0, 0
    for place, letter in enumerate(inner + ","):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append(inner[begun:place])
            begun = place + 1
    return [path for part in parts if part for path in expand(prefix + part)]


def imports(module: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The modules that a file names in its `use` lines."""
    found = set()
    for tree in _IMPORT.findall(FILES[module].read_text()):
        for path in expand(tree):
            at = module if module in FILES else ()
            if path[0] == "crate":
                at, path = (), path[1:]
            while path and path[0] == "super":
                at, path = at[:-1], path[1:]
            target = (*at, *path)
            while target and target not in FILES:
                target = target[:-1]
            if target and target not in (module, ("lib",)):
                found.add(target)
    return found


def circles() -> list[set[tuple[str, ...]]]:
    """The groups of files each of which depends, directly or not, on all the others."""
    direct = {module: imports(module) for module in FILES}
    reachable = {}
    for module in FILES:
        seen: set[tuple[str, ...]] = set()
        waiting = list(direct[module])
        while waiting:
            other = waiting.pop()
            if other not in seen:
                seen.add(other)
                waiting.extend(direct[other])
        reachable[module] = seen
    groups: list[set[tuple[str, ...]]] = []
    for module in FILES:
        group = {other for other in reachable[module] if module in reachable[other]}
        if group and group not in groups:
            groups.append(group)
    return groups


def test_no_circle_of_imports_has_more_than_six_files() -> None:
    named = [sorted("/".join(module) for module in group) for group in circles()]
    assert [group for group in named if len(group) > CIRCLE_FILES_MAX] == []


def test_sessions_and_layers_name_neither_the_connection_nor_the_engine() -> None:
    guilty = []
    for file in sorted(path for folder in PURE for path in (SOURCE / folder).rglob("*.rs")):
        code = _NOT_CODE.sub("", file.read_text())
        if re.search(r"\b(?:Connection|Engine)\b|crate::(?:connection|engine)\b", code):
            guilty.append(file.relative_to(SOURCE).as_posix())
    assert guilty == []


def test_sessions_and_layers_import_nothing_that_knows_the_connection() -> None:
    knowing = {module for module in FILES if re.search(r"\bConnection<", FILES[module].read_text())}
    pure = [module for module in FILES if module and module[0] in PURE]
    assert [(m, sorted(imports(m) & knowing)) for m in pure if imports(m) & knowing] == []
