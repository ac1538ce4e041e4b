"""Django in steady state: threads ask its own handler; prints the CPU time of a request.

Arguments: requests per thread, of which as many come before as are measured. Every request goes
through the middleware and the router, logs, and reads and writes an SQLite database.
"""

import logging
import sys
from collections.abc import Callable, Iterator

import django
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from rounds import processor_time

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


def connect() -> Iterator[Callable[[int], None]]:
    client = Client()

    def request(number: int) -> None:
        answer = client.get(f"/counted/{number}/")
        assert answer.status_code == 200

    yield request


print("django", processor_time(requests, connect))
