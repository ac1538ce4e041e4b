"""The host `static`: files of a folder. It has no plug-in; its table `config` names the folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from vespiary.errors import ConfigurationError
from vespiary.http import StaticFiles
from vespiary.wasp.decoding import WRONG
from vespiary.wasp.settings import given

if TYPE_CHECKING:
    from vespiary.wasp.hosts.hosting import Hosting

__all__ = ["StaticTable", "make"]


class StaticTable(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The options of `vespiary.StaticFiles`. The folder is relative to that of the file."""

    folder: str
    index: list[str] | UnsetType = UNSET
    precompressed: bool | UnsetType = UNSET
    cache_control: dict[str, str] | UnsetType = UNSET
    not_found: str | UnsetType = UNSET
    fallback: str | UnsetType = UNSET
    dot_files: bool | UnsetType = UNSET
    media_types: dict[str, str] | UnsetType = UNSET
    access_log: bool | UnsetType = UNSET


def make(hosting: Hosting) -> StaticFiles | None:
    """Make the handler of an endpoint for files."""
    table = hosting.decoded(StaticTable)
    if table is WRONG:
        return None
    options = given(table)
    folder = hosting.planned.folder / options.pop("folder")
    try:
        return StaticFiles(folder, **options)
    except ConfigurationError as error:
        hosting.report_config(error)
        return None
