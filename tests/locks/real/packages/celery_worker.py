"""Celery: a worker with threads, a broker and results in memory."""

import threading

from celery import Celery
from celery.contrib.testing.worker import start_worker

app = Celery("tasks", broker="memory://", backend="cache+memory://")
lock = threading.Lock()
total = {"count": 0}


@app.task
def add(one, two):
    with lock:
        total["count"] += 1
    return one + two


with start_worker(app, pool="threads", concurrency=4, perform_ping_check=False, loglevel="ERROR"):
    results = [add.delay(number, number) for number in range(100)]
    print(sum(result.get(timeout=60) for result in results), total["count"])
