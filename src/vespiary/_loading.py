"""From `MODULE:OBJECT` on a command line to the object, with a clear word about what is missing."""

import difflib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from vespiary.errors import ConfigurationError

__all__ = ["load_object"]


def load_object(
    reference: str, folder: Path | None = None, files: dict[Path, ModuleType] | None = None
) -> Any:
    """Import what `module:object` or `path/to/file.py:object` names; the object may be dotted.

    Args:
        reference: The module and the object in it.
        folder: Put first on `sys.path`, and what a path is relative to; default: the current
            folder.
        files: Files that were executed before, which are not executed again; by default none.

    Raises:
        ConfigurationError: no such module or attribute (near misses are suggested), or the module
            raised an exception or ended the program while it was imported (its traceback is in the
            text).
    """
    folder = (folder or Path()).absolute()
    name, colon, attribute = reference.rpartition(":")
    if not colon or not name or not attribute:
        raise ConfigurationError(
            f"{reference!r} does not name an object: write MODULE:OBJECT, as in echo:Echo or "
            "echo.py:Echo",
            subject=reference,
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    if not name.endswith(".py"):
        module = _load_module(name, folder)
    elif files is None:
        module = _load_file(folder / name)
    else:
        path = (folder / name).resolve()
        module = files[path] = files.get(path) or _load_file(folder / name)
    return _find_attribute(module, name, attribute)


def _load_module(name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module exists, but imports one that is missing: the name that was given is not wrong.
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _failed(name, error) from error
        raise ConfigurationError(
            f"there is no module {error.name!r} in {folder} or among those installed"
            f"{_near(error.name, _module_names(error.name, folder))}",
            subject=name,
        ) from None
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        siblings = [sibling.name for sibling in path.parent.glob("*.py")]
        raise ConfigurationError(
            f"there is no file {path}{_near(path.name, siblings)}", subject=str(path)
        )
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    # A program's own module has the name __main__.
    name = path.stem if path.stem != "__main__" else path.resolve().parent.name
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is not a Python file", subject=str(path))
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise _failed(str(path), error) from error
    return module


def _find_attribute(module: ModuleType, name: str, dotted: str) -> Any:
    found: Any = module
    for part in dotted.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [known for known in vars(found) if not known.startswith("_")]
            raise ConfigurationError(
                f"{name} has no {dotted!r}{_near(part, names)}", subject=f"{name}:{dotted}"
            ) from None
    return found


def _failed(name: str, error: BaseException) -> ConfigurationError:
    """What a module raised when it was imported, without the frames of the import machinery."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if frame.filename != __file__
        and not frame.filename.startswith("<frozen importlib")
        and not frame.filename.endswith("importlib/__init__.py")
    ]
    story = "".join(
        traceback.format_list(own) + traceback.format_exception_only(type(error), error)
    )
    return ConfigurationError(f"{name} could not be imported:\n{story}".rstrip(), subject=name)


def _module_names(name: str, folder: Path) -> list[str]:
    """The modules besides the one that is missing."""
    package, _, _ = name.rpartition(".")
    if package:
        places = list(getattr(sys.modules.get(package), "__path__", []))
        prefix = f"{package}."
    else:
        places, prefix = [str(folder)], ""
    return [prefix + module.name for module in pkgutil.iter_modules(places)]


def _near(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
