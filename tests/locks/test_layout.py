"""The layout of the records is written down once, in the library."""

from pathlib import Path

import pytest
from lock_layout import SOURCE, TARGET, Layout, written

from vespiary.prove.locks import layout
from vespiary.prove.locks.kinds import EVENTS, KINDS, LOST
from vespiary.prove.locks.record import Record, RecordError

ROOT = Path(__file__).resolve().parents[2]
library = (ROOT / SOURCE).read_text()


def test_python_reads_records_by_the_library_s_own_layout() -> None:
    assert (ROOT / TARGET).read_text() == written(Layout(library)), "make lock-layout"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pub(crate) born: AtomicU32,", "pub(crate) born: AtomicU64,"),
        ("Import = 15,", "Import = 15,\n    Another = 18,"),
        ("HELD_MAX: usize = 64", "HELD_MAX: usize = 65"),
        ("LIMITED: u32 = 4", "LIMITED: u32 = 16"),
    ],
)
def test_every_change_of_the_layout_changes_what_python_has(old: str, new: str) -> None:
    assert library.count(old) >= 1
    assert written(Layout(library)) != written(Layout(library.replace(old, new)))


def test_what_the_layout_has_that_is_not_understood_is_refused() -> None:
    with pytest.raises(ValueError, match="the type AtomicPtr"):
        Layout(library.replace("pub(crate) born: AtomicU32,", "pub(crate) born: AtomicPtr,"))
    with pytest.raises(ValueError, match="is not a number"):
        Layout(library.replace("HELD_MAX: usize = 64", "HELD_MAX: usize = 60 + 4"))


def test_fields_lie_where_c_puts_them() -> None:
    text = """
/// Two.
#[repr(C)]
pub(crate) struct Outer {
    pub(crate) small: AtomicU8,
    pub(crate) inner: [Inner; 2],
    pub(crate) name: [AtomicU8; 3],
    pub(crate) wide: AtomicU64,
    pub(crate) last: AtomicU32,
}

#[repr(C)]
pub(crate) struct Inner {
    pub(crate) half: u32,
    pub(crate) one: AtomicU8,
}
"""
    found = Layout(text)
    outer = found.structures["Outer"]
    assert (outer.size, outer.align) == (40, 8)
    form, fields, elsewhere = found.read_by(outer)
    assert form == "<B3x16x3s1xQI4x"
    assert [field.name for field in fields] == ["small", "name", "wide", "last"]
    assert elsewhere == {"inner": 4}


def test_every_number_has_its_name() -> None:
    assert set(KINDS) == set(layout.Kind)
    assert set(EVENTS) == set(layout.What)
    assert set(LOST) == set(layout.Lost)


def test_a_record_with_items_of_another_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(layout.HEADER_STRUCT.size + 4096)
    data[:8] = layout.MAGIC
    path = tmp_path / "1-1.locks"
    path.write_bytes(data)
    with pytest.raises(RecordError, match="of another version"):
        Record(path)
