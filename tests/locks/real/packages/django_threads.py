"""Django: requests by several threads, with a database, a cache, sessions of logs and signals."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import path


def view(request, number):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s + 1", [number])
        (result,) = cursor.fetchone()
    cache.set(f"key{number % 7}", result)
    return HttpResponse(str(result))


urlpatterns = [path("<int:number>/", view)]
with tempfile.TemporaryDirectory() as folder:
    settings.configure(
        SECRET_KEY="a test's",
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path(folder, "data"),
            }
        },
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    )
    django.setup()

    def ask(number):
        answer = int(Client().get(f"/{number}/").content)
        connection.close()
        return answer

    with ThreadPoolExecutor(6) as pool:
        print(sum(pool.map(ask, range(300))))
