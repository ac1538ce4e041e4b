"""HTTP responses with cookies: a page that counts your visits.

The cookie contains the count and its signature (HMAC). So the server stores nothing, and ignores a
count that somebody has changed.

Run:   .venv/bin/python examples/visits_cookie.py [URL...]       (default http://127.0.0.1:8000)
       VISITS_SECRET in the environment signs the cookies; default: a new one at each start
Talk:  curl -b jar -c jar http://127.0.0.1:8000/         and again
       curl -b jar -c jar -L http://127.0.0.1:8000/forget
       .venv/bin/vespiary load http://127.0.0.1:8000/ --connections 50 --duration 3s
"""

import hmac
import os
import secrets
import sys

import vespiary

SECRET = os.environ.get("VISITS_SECRET", secrets.token_hex()).encode()
YEAR = 365 * 24 * 3600
RULES = "HttpOnly; SameSite=Strict; Path=/"


def signed(count: int) -> str:
    """The value of a cookie."""
    return f"{count}.{hmac.digest(SECRET, str(count).encode(), 'sha256').hex()}"


def count_of(request: vespiary.Request) -> int:
    """Return the number of visits; 0 without a valid cookie."""
    cookie = request.cookies.get("visits", "")
    count = cookie.partition(".")[0]
    if not count.isdecimal():
        return 0
    return int(count) if hmac.compare_digest(cookie.encode(), signed(int(count)).encode()) else 0


class Visits(vespiary.Handler):
    """Serves two pages: one shows the count, and one deletes it."""

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """Answer a request."""
        if request.method not in ("GET", "HEAD"):
            return request.respond(405, headers={"Allow": "GET, HEAD"})
        match request.path:
            case "/":
                count = count_of(request) + 1
                cookie = f"visits={signed(count)}; Max-Age={YEAR}; {RULES}"
                headers = {"Set-Cookie": cookie, "Cache-Control": "no-store"}
                return request.respond(200, f"This is your visit {count}.\n", headers)
            case "/forget":
                headers = {"Location": "/", "Set-Cookie": "visits=; Max-Age=0; Path=/"}
                return request.respond(303, headers=headers)
            case _:
                return request.respond(404, "there is / and /forget\n")


if __name__ == "__main__":
    vespiary.serve(Visits(), *(sys.argv[1:] or ["http://127.0.0.1:8000"]))
