"""WASP, the platform that serves plug-ins as a configuration file says: `vespiary run`."""

from vespiary._toml_files import FileError
from vespiary.wasp.configuration import Configuration
from vespiary.wasp.platform import Platform, Reload, check

__all__ = ["Configuration", "FileError", "Platform", "Reload", "check"]
