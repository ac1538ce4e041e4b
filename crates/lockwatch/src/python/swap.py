"""Runs in a program that is watched, before each of the library's own pieces of Python.

The library gives the names in capitals and `modules`, which is `sys.modules`. Functions of the
program's modules stay the objects that they are, so that anyone who keeps one, or a method bound
before, is covered: only their code is swapped. It finds what it needs among its constants, since a
function's globals are its module's own and are left alone.
"""

given = {name: each for name, each in globals().items() if name.isupper()}


def swap(function, watched, names=None):
    """Give a function another code, which calls what it did as `REALLY`; whether that fits.

    `names` has what some of the names in capitals mean in this code, where that differs.
    """
    code = function.__code__
    new = watched.__code__
    shape = "co_argcount", "co_kwonlyargcount", "co_posonlyargcount", "co_varnames", "co_flags"
    count = code.co_argcount + code.co_kwonlyargcount
    for each in shape:
        ours, theirs = getattr(new, each), getattr(code, each)
        if each == "co_varnames":
            ours, theirs = ours[:count], theirs[:count]
        if each == "co_flags":
            # With *arguments, with **named, a coroutine.
            ours, theirs = ours & 0x8C, theirs & 0x8C
        if ours != theirs or function.__closure__:
            return False
    kind = type(function)
    really = kind(code, function.__globals__, function.__name__, function.__defaults__)
    really.__kwdefaults__ = function.__kwdefaults__
    names = {**given, **(names or {}), "REALLY": really}
    constants = tuple(
        names.get(each, each) if isinstance(each, str) else each for each in new.co_consts
    )
    function.__code__ = new.replace(
        co_consts=constants,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_firstlineno=code.co_firstlineno,
    )
    return True
