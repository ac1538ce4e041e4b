"""One server in several processes: `Workers` has the options.

`_supervisor` has the reasons for what is done how, `_backplane` how messages get from one process
to another, `_board` the memory that they share.
"""

from vespiary.workers._options import Workers

__all__ = ["Workers"]
