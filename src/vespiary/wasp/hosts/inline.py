"""The host `inline`: the plug-in runs in the process of the server. Applications have it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from vespiary.handler import AnyHandler
from vespiary.wasp.plugins import load_plugin, make_handler
from vespiary.wasp.settings import given

if TYPE_CHECKING:
    from vespiary.wasp.hosts.hosting import Hosting

__all__ = ["make"]


def make(hosting: Hosting) -> AnyHandler | None:
    """Load the plug-in, and make its handler.

    Raises:
        ConfigurationError: the plug-in cannot be loaded, or is not a handler.
        Exception: what its `__init__` has raised.
    """
    planned = hosting.planned
    table = planned.table
    plugin = load_plugin(table.plugin, planned.folder, hosting.files)
    application = {} if table.application is UNSET else given(table.application)
    return make_handler(hosting.source, plugin, hosting.config, application, planned.path)
