"""What a test of Rust prints when it fails says whether a test or the code has panicked."""

from pathlib import Path

import pytest

from vespiary.prove.trace.proving.panics import how_failed
from vespiary.prove.trace.proving.record import ASSERTION, BROKEN, EXCEPTION

LIBRARY = """\
fn replace(found: Option<u8>) -> u8 {
    if requires!("a/1/1" => found.is_none()) { return 0; }
    found.unwrap()
}

#[tokio::test]
async fn test_beside_it() {
    replaced().unwrap();
}

#[cfg(test)]
mod tests {
    fn helper() -> u8 {
        replaced().unwrap()
    }
}

fn below() { other().unwrap(); }
"""

UNWRAP = "called `Option::unwrap()` on a `None` value"
RESULT = "called `Result::unwrap()` on an `Err` value: TooLong"


def told(place: str, words: str) -> bytes:
    return f"\nthread 'a' (7) panicked at {place}:5:\n{words}\nnote: run with ...\n".encode()


@pytest.mark.parametrize(
    ("place", "words", "how"),
    [
        ("hive/src/lib.rs:3", UNWRAP, BROKEN),
        ("hive/src/lib.rs:3", RESULT, BROKEN),
        ("hive/src/lib.rs:18", UNWRAP, BROKEN),
        # A test's own: it expects a value.
        ("hive/src/lib.rs:8", UNWRAP, EXCEPTION),
        ("hive/src/lib.rs:14", UNWRAP, EXCEPTION),
        ("hive/tests/doors.rs:3", UNWRAP, EXCEPTION),
        # Something with words has a person foreseen.
        ("hive/src/lib.rs:3", "the door is open", EXCEPTION),
        ("hive/src/lib.rs:3", "assertion `left == right` failed", ASSERTION),
        ("hive/tests/doors.rs:3", "index out of bounds: the len is 0", BROKEN),
        ("hive/tests/doors.rs:3", "attempt to subtract with overflow", BROKEN),
    ],
)
def test_an_unwrap_is_a_crash_in_marked_code_only(
    tmp_path: Path, place: str, words: str, how: str
) -> None:
    package = tmp_path / "hive"
    (package / "src").mkdir(parents=True)
    (package / "src" / "lib.rs").write_text(LIBRARY)
    assert how_failed(told(place, words), ["hive/src/lib.rs"], package) == how


def test_a_place_that_is_not_found_is_an_exception(tmp_path: Path) -> None:
    assert how_failed(told("gone.rs:3", UNWRAP), ["gone.rs"], tmp_path) == EXCEPTION
