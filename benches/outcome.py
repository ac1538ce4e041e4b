"""What a run leaves behind: the results as JSON, a table and a picture."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benches import machine
from benches.catalogue import HERE, Server, Transport
from benches.picture import svg
from benches.provision import Toolbox
from benches.report import markdown
from benches.session import Plan, Result
from benches.summary import FOREIGN_SHARE_MAX, Summary

RESULTS = HERE / "results"


@dataclass(frozen=True)
class Outcome:
    """A run that is over.

    Attributes:
        title: What stands over the table.
        plan: What was done.
        servers: All that took part or should have.
        toolbox: With what; it names what is missing.
        results: The single measurements.
        bases: For each transport, the key of the server that ratios are taken to.
    """

    title: str
    plan: Plan
    servers: Sequence[Server]
    toolbox: Toolbox
    results: Sequence[Result]
    bases: Mapping[Transport, str]

    def write(self, name: str) -> Path:
        """Write NAME.json, NAME.md and NAME.svg into the results; give the table's path."""
        told = machine.describe()
        found = machine.versions(self.toolbox)
        RESULTS.mkdir(exist_ok=True)
        document = {
            "title": self.title,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "machine": told,
            "versions": found,
            "repeats": self.plan.repeats,
            "seconds": self.plan.seconds,
            "seed": self.plan.seed,
            "scenarios": [asdict(scenario) for scenario in self.plan.scenarios],
            "missing": self.toolbox.missing,
            "results": [asdict(result) for result in self.results],
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
        summary = Summary(self.results)
        scenarios = self.plan.scenarios
        path = RESULTS / f"{name}.md"
        path.write_text(
            markdown(
                summary,
                self.servers,
                scenarios,
                self.toolbox.missing,
                self._heading(summary, told, found, f"{name}.svg"),
                self.bases,
            )
        )
        footer = f"{time.strftime('%Y-%m-%d')}; {told['processor']}; Linux {told['kernel']}"
        picture = svg(summary, self.servers, scenarios, footer, self.bases)
        (RESULTS / f"{name}.svg").write_text(picture)
        return path

    def _heading(
        self,
        summary: Summary,
        told: Mapping[str, object],
        found: Mapping[str, str],
        picture: str,
    ) -> list[str]:
        bases = ", ".join(base for base in self.bases.values())
        return [
            f"# {self.title}",
            "",
            f"{time.strftime('%Y-%m-%d')}; {machine.in_words(told)}, {told['distribution']}; "
            f"server on core 0, load on core 1; {self.plan.repeats} interleaved repeats of "
            f"{self.plan.seconds:g} s, every echo verified. Medians; ratios are to {bases}, paired "
            "by repeat, with their quartiles. In "
            f"{summary.disturbed} of {summary.count} measurements other processes took more than "
            f"{FOREIGN_SHARE_MAX:.0%} of the server's core.",
            "",
            "Versions: " + ", ".join(f"{name} {version}" for name, version in found.items()) + ".",
            "",
            f"![The same as a picture]({picture})",
        ]
