"""The load and black-box client: what `vespiary load` does, for programs.

The work is done natively, on a thread of its own, so that the client is not what is measured::

    from vespiary.prove.load import Plan, run

    report = run(Plan("ws://127.0.0.1:9001/", connections=100, messages=1000))
    assert report.clean, report.problems
    print(report.messages_per_second, report.latency.p99)
"""

from vespiary.prove.load.plan import Plan
from vespiary.prove.load.report import Latency, Paced, Problem, Progress, Report
from vespiary.prove.load.run import run

__all__ = ["Latency", "Paced", "Plan", "Problem", "Progress", "Report", "run"]
