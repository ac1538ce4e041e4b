"""Trace the specifications: build with probes, disable each mark in turn, report, gate.

Nothing of the normal build is touched: the tracing build lies in .cache/trace. The page is
.cache/trace/requirements.html, and beside it the same as JSON.
"""

import sys
from pathlib import Path

from steps import CHECKOUT, Steps

CACHE = CHECKOUT / ".cache" / "trace"


def main() -> int:
    """Run everything; the exit status is 1 if any of it failed."""
    steps = Steps("trace")
    run_trace(steps)
    return steps.finish()


def run_trace(steps: Steps) -> None:
    """Add the steps of a trace; without evidence of this very run there is no report."""
    python = Path(sys.executable)
    trace: list[str | Path] = [python, "-m", "vespiary", "trace"]
    evidence = CACHE / "evidence.json"
    evidence.unlink(missing_ok=True)
    steps.run("Marks and claims fit the catalogues (vespiary trace scan)", [*trace, "scan"])
    if not steps.run("The tracing build of the core", [python, "tools/build_tracing.py"]):
        return
    steps.run("Each mark is disabled in turn (vespiary trace prove)", [*trace, "prove"])
    if not evidence.exists():
        return
    page, data = CACHE / "requirements.html", CACHE / "requirements.json"
    title = ["--title", "The requirements that Vespiary meets"]
    steps.run(
        f"The report is {page.relative_to(CHECKOUT)} (vespiary trace report)",
        [*trace, "report", "--html", page, "--json", data, *title],
    )
    steps.run("Every requirement passes its gate (vespiary trace gate)", [*trace, "gate"])
    steps.run("The snapshot is up to date", [*trace, "snapshot", "--check"])


if __name__ == "__main__":
    sys.exit(main())
