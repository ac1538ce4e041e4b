"""Flask."""

from collections.abc import Iterator

from flask import Flask, Response, request

app = Flask(__name__)


@app.get("/json")
def hello() -> dict[str, str]:
    return {"message": "hello"}


@app.post("/echo")
def echo() -> Response:
    return Response(request.get_data())


@app.post("/upload")
def upload() -> str:
    file = request.files["file"]
    return f"{file.filename} {len(file.read())}"


@app.get("/stream")
def stream() -> Response:
    def lines() -> Iterator[str]:
        for number in range(3):
            yield f"{number}\n"

    return Response(lines())


@app.get("/fail")
def fail() -> str:
    raise ZeroDivisionError("planted")
