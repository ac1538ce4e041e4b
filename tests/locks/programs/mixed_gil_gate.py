# expect: nothing
"""Two mutexes in both orders, but always while the thread holds the GIL."""

from native import held
from turns import run

run(lambda: held.take_both(0, 1), lambda: held.take_both(1, 0))
