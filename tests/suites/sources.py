"""Sources of other projects, from PyPI: their tests are not in their wheels."""

import subprocess
import sys
import tarfile
from pathlib import Path


def sources(package: str, version: str, folder: str, cache: Path) -> Path:
    """One folder of a package's sources, downloaded when it is not in the cache.

    Nothing else is unpacked: sources that are not built would hide the installed package.
    """
    found = cache / f"{package}-{version}" / folder
    if not found.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", package, "--dest", str(cache), f"{package}=={version}"]
        subprocess.run(command, check=True)
        with tarfile.open(cache / f"{package}-{version}.tar.gz") as archive:
            wanted = [
                member
                for member in archive.getmembers()
                if member.name.startswith(f"{package}-{version}/{folder}/")
            ]
            archive.extractall(cache, members=wanted, filter="data")
    return found
