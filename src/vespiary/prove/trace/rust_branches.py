"""What Rust code does where a marked condition is false: see `branches`."""

import re

from vespiary.prove.trace.rust_code import CLOSING, closed, outside

__all__ = ["branch_form"]

_IF = re.compile(r"\bif\b(?:(?!\bif\b|=>)[^{};])*\Z")
_MATCH = re.compile(r"\bmatch\s*\(*\s*\Z")
_ELSE = re.compile(r"\s*else\s*(?=\{)")
_THEN = re.compile(r"[\s)]*\.\s*then(?:_some)?\s*\(")
_OK_OR = re.compile(r"\s*\.\s*ok_or(?:_else)?\s*\(")
_UNWRAP_OR = re.compile(r"\s*\.\s*unwrap_or\s*\(")
_OPENING = re.compile(r"\s*\{")
_ALL = re.compile(r"[\s},]*(?:_|[a-z]\w*)\s*")
_LEAVES = re.compile(r"\breturn\b[^;]*;?\s*\Z")
_BLOCK = re.compile(r"\{[^{}]*\}")
_RETURN = re.compile(r"\breturn\b")
_REFUSES = re.compile(
    r"(?:\A|[;{}])\s*(?:return\s+)?(?:\w+::)*(?:Err\s*\(|(?:panic|unreachable|bail)!)"
)
_CONSTANT = re.compile(
    r"""(?:return\s+)?(b?".+"|b?'.+'|-?[1-9][\w.]*|(?:\w+::)*[A-Z]\w*)\s*;?""", re.DOTALL
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def branch_form(code: str, text: str, start: int, end: int) -> str:
    """`filter` or `choice` if the branch that depends on a mark is one; empty if it is not.

    Args:
        code: The source, in which all that is not code is blank.
        text: The source as it is.
        start: Where the mark begins.
        end: Its closing bracket.
    """
    then = _THEN.match(code, end + 1)
    if then and _OK_OR.match(code, closed(code, then.end() - 1) + 1):
        return "filter"
    pieces = _chained(code, then.end()) if then else _pieces(code, start, end)
    if pieces is None:
        return ""
    if _refuses(code[slice(*pieces[1])]) and not _refuses(code[slice(*pieces[0])]):
        return "filter"
    yes, no = (_COMMENT.sub("", text[slice(*piece)]).strip() for piece in pieces)
    one, other = _CONSTANT.fullmatch(yes), _CONSTANT.fullmatch(no)
    if one is None or other is None or "None" in (one[1], other[1]) or '""' in (one[1], other[1]):
        return ""
    return "choice" if one[1] != other[1] else ""


def _refuses(code: str) -> bool:
    """Whether some code ends with an error, and cannot end otherwise."""
    while inner := _BLOCK.search(code):
        if _RETURN.search(inner[0]):
            return False
        code = f"{code[: inner.start()]};{code[inner.end() :]}"
    return bool(_REFUSES.search(code))


_Piece = tuple[int, int]


def _pieces(code: str, start: int, end: int) -> tuple[_Piece, _Piece] | None:
    """The code for a true and for a false condition; none if that is not to be seen."""
    statement = max(code.rfind(sign, 0, start) for sign in ";{}") + 1
    before = code[statement:start]
    sign = outside(code, end + 1, "{", "}", "=>", ";")
    if sign is None or sign[0] == "}":
        return None
    opening = sign.start()
    if _MATCH.search(before) and code[opening] == "{":
        return _matched(code, opening)
    if not _IF.search(before):
        return None
    if code[opening] == "=":
        return _guarded(code, opening)
    if code[opening] != "{":
        return None
    close = closed(code, opening)
    body = opening + 1, close
    if otherwise := _ELSE.match(code, close + 1):
        return body, (otherwise.end() + 1, closed(code, otherwise.end()))
    if _LEAVES.search(code, *body):
        return body, _after(code, close + 1)
    return None


def _chained(code: str, begin: int) -> tuple[_Piece, _Piece] | None:
    """`mark.then_some(yes).unwrap_or(no)`."""
    close = closed(code, begin - 1)
    other = _UNWRAP_OR.match(code, close + 1)
    return ((begin, close), (other.end(), closed(code, other.end() - 1))) if other else None


def _matched(code: str, opening: int) -> tuple[_Piece, _Piece] | None:
    """`match mark { true => yes, false => no }`, in either order."""
    close = closed(code, opening)
    found: dict[str, _Piece] = {}
    for arm in re.compile(r"\b(true|false|_)\s*(?==>)").finditer(code, opening, close):
        rest = "false" if "true" in found else "true"
        found.setdefault(rest if arm[1] == "_" else arm[1], _arm(code, arm.end()))
    return (found["true"], found["false"]) if len(found) == 2 else None


def _guarded(code: str, arrow: int) -> tuple[_Piece, _Piece] | None:
    """An arm with a guard, and the next if that takes all that is left."""
    body = _arm(code, arrow)
    following = code.find("=>", body[1])
    is_there = 0 <= following < _after(code, arrow + 2)[1]
    is_there = is_there and bool(_ALL.fullmatch(code, body[1], following))
    return (body, _arm(code, following)) if is_there else None


def _arm(code: str, arrow: int) -> _Piece:
    """What comes after the arrow of an arm."""
    begin = arrow + 2
    if block := _OPENING.match(code, begin):
        return block.end(), closed(code, block.end() - 1)
    end = outside(code, begin, ",", *CLOSING.values())
    return begin, end.start() if end else len(code)


def _after(code: str, begin: int) -> _Piece:
    """The rest of a block."""
    end = outside(code, begin, *CLOSING.values())
    return begin, end.start() if end else len(code)
