"""numpy and pandas: threads that compute, and processes forked beside them."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy
import pandas


def compute(number):
    matrix = numpy.full((60, 60), number, dtype=float)
    frame = pandas.DataFrame(matrix @ matrix)
    return float(frame.sum().sum())


if __name__ == "__main__":
    with ThreadPoolExecutor(4) as threads:
        print(sum(threads.map(compute, range(20))))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(sum(pool.map(compute, range(20))))
