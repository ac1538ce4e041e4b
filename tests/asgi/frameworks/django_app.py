"""Django: the same views as an ASGI and as a WSGI application."""

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.core.handlers.asgi import ASGIHandler  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
from django.http import (  # type: ignore[import-untyped]
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path  # type: ignore[import-untyped]

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="bees", DEBUG=False)
django.setup()


def hello(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"message": "hello"})


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body, content_type="application/octet-stream")


def upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    return HttpResponse(f"{file.name} {file.size}")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    if isinstance(request, ASGIHandler.request_class):

        async def later() -> object:
            for number in range(3):
                yield f"{number}\n"

        return StreamingHttpResponse(later())
    return StreamingHttpResponse(f"{number}\n" for number in range(3))


def fail(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("planted")


urlpatterns = [
    path("json", hello),
    path("echo", echo),
    path("upload", upload),
    path("stream", stream),
    path("fail", fail),
]
app = get_asgi_application()
wsgi_app = get_wsgi_application()
