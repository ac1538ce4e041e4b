"""The memory of a program: a limit for all its processes, a record over time, and leaks.

`keeper` is the process between the tool and the program: it starts the program, adopts what the
program's processes leave behind, and ends all of them. `limiters` chooses who holds the limit: a
control group of the kernel (`groups`) or samples (`sampling`). `run` watches, `record` keeps,
`trend` judges growth, `expectations` compares; `report`, `formats` and `page` show.
"""

from vespiary.prove.memory.work import report_work

__all__ = ["report_work"]
