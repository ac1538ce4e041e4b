"""The memory of a program: a limit for all its processes, a record over time, and leaks.

`keeper` is the process between the tool and the program: it starts the program, adopts the
processes that the program's processes leave behind, and ends all of them. `limiters` chooses how
the limit is enforced: by a control group of the kernel (`groups`) or by samples (`sampling`). `run`
watches, `record` stores, `trend` decides whether memory grows, and `expectations` compares.
`report`, `formats` and `page` show the results.
"""

from vespiary.prove.memory.work import report_work

__all__ = ["report_work"]
