"""TCP sockets in TIME_WAIT: how many, whose, since when, and when local ports will run out.

What `vespiary timewait` does, for programs::

    from vespiary.prove.timewait import Monitor, own_namespace

    with Monitor(lambda: [own_namespace()]) as monitor:
        report = monitor.report()
    print(report["states"]["time_wait"], report["forecasts"])
"""

from vespiary.prove.timewait.alarm import Condition
from vespiary.prove.timewait.monitor import Monitor, WatchError
from vespiary.prove.timewait.namespaces import Namespace, all_namespaces, own_namespace
from vespiary.prove.timewait.report import Report

__all__ = [
    "Condition",
    "Monitor",
    "Namespace",
    "Report",
    "WatchError",
    "all_namespaces",
    "own_namespace",
]
