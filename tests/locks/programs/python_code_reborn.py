# expect: inversion
"""New functions have the addresses of deleted functions; the stacks show the new names."""

import threading

from turns import run

SOURCE = """
def {name}():
    lock = threading.Lock()
    with lock:
        return lock, id({name}.__code__)
"""
places: list[int] = []


def made_in(name: str) -> threading.Lock:
    names: dict[str, object] = {"threading": threading}
    exec(SOURCE.format(name=name), names)
    function = names[name]
    assert callable(function)
    lock, place = function()
    names.clear()
    places.append(place)
    return lock  # type: ignore[no-any-return]


for number in range(50):
    made_in(f"gone_{number}")
a, b = made_in("here"), made_in("there")
assert places[-1] in places[:-1], "no function took another's place"


def one() -> None:
    with a, b:
        pass


def other() -> None:
    with b, a:
        pass


run(one, other)
