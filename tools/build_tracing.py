"""The tracing build: the extension whose marks are probes, beside the normal one.

It lies in .cache/trace/site, in a package `vespiary` whose other parts are links to src/vespiary.
So a process that has that folder first in its PYTHONPATH runs this checkout's Python with the
tracing extension, and the normal extension stays where and as it is.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
CACHE = CHECKOUT / ".cache" / "trace"
SITE = CACHE / "site"


def main() -> int:
    """Build it; the exit status is that of the build."""
    wheels = CACHE / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    maturin = Path(sys.executable).parent / "maturin"
    command = [maturin, "build", "--profile", "dev", "--features", "trace", "--locked", "--quiet"]
    command += ["--interpreter", sys.executable, "--out", wheels]
    status = subprocess.run([str(part) for part in command], cwd=CHECKOUT, check=False).returncode
    if status:
        return status
    package = SITE / "vespiary"
    shutil.rmtree(SITE, ignore_errors=True)
    package.mkdir(parents=True)
    for part in (CHECKOUT / "src" / "vespiary").iterdir():
        if part.suffix != ".so":
            (package / part.name).symlink_to(os.path.relpath(part, package))
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".so"):
                archive.extract(name, SITE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
