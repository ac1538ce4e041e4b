# expect: inversion
"""A child process of multiprocessing takes two locks in both orders."""

import multiprocessing
import threading

from turns import run


def child() -> None:
    a, b = threading.Lock(), threading.Lock()

    def one() -> None:
        with a, b:
            pass

    def other() -> None:
        with b, a:
            pass

    run(one, other)


if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child)
    process.start()
    process.join()
