# expect: inversion of mutex, mutex
"""Two mutexes in both orders, one of them without the GIL."""

from native import free, held
from turns import run

run(lambda: held.take_both(0, 1), lambda: free.take_both(1, 0))
