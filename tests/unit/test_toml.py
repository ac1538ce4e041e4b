import tomllib

import pytest

from vespiary import _toml as toml


def test_values_that_are_nested_too_deeply_are_refused_as_what_is_not_toml() -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match="nested too deeply"):
        toml.loads("a = " + "[" * 100_000)
    assert toml.loads("a = [[1]]") == {"a": [[1]]}
