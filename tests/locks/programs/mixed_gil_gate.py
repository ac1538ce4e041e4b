# expect: nothing
"""Two mutexes in both orders, but always with the GIL: one thread at a time."""

from native import held
from turns import run

run(lambda: held.take_both(0, 1), lambda: held.take_both(1, 0))
