"""Django in steady state: threads ask its own handler; prints the CPU time of a request.

Arguments: requests per thread, of which as many come before as are measured. Every request goes
through the middleware and the router, logs, and reads and writes an SQLite database.
"""

import logging
import sys
import threading
import time

import django
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

THREADS = 4
requests = int(sys.argv[1])
log = logging.getLogger("application")


def counted(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sqlite_master")
        (count,) = cursor.fetchone()
    log.info("answered with %s", count)
    return HttpResponse(f"{count} of {request.path}\n" * 20)


urlpatterns = [path("counted/<int:number>/", lambda request, number: counted(request))]
settings.configure(
    SECRET_KEY="a benchmark's",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    LOGGING={
        "version": 1,
        "handlers": {"null": {"class": "logging.FileHandler", "filename": "/dev/null"}},
        "root": {"handlers": ["null"], "level": "INFO"},
    },
)
django.setup()
together = threading.Barrier(THREADS + 1)


def work() -> None:
    client = Client()
    for _ in range(2):
        together.wait()
        for number in range(requests):
            answer = client.get(f"/counted/{number}/")
            assert answer.status_code == 200
        together.wait()


threads = [threading.Thread(target=work) for _ in range(THREADS)]
for thread in threads:
    thread.start()
together.wait()
together.wait()
began = time.process_time_ns()
together.wait()
together.wait()
used = time.process_time_ns() - began
for thread in threads:
    thread.join()
print("django", used / (THREADS * requests))
