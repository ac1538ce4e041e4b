"""The files of a folder over HTTP, with the time of the server next to them.

The kernel copies the files to the sockets. Vespiary answers ranges and conditional requests.

Run:   .venv/bin/python examples/static_files.py [URL [FOLDER]]
       (default http://127.0.0.1:8000, and the folder of this file)
Talk:  curl -i http://127.0.0.1:8000/static_files.py
       curl -r 0-63 http://127.0.0.1:8000/static_files.py
       curl -i http://127.0.0.1:8000/time
"""

import sys
import time
from pathlib import Path

import vespiary


class Time(vespiary.Handler):
    """Answers every request with the time."""

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """Say what time it is."""
        return request.respond(200, f"{time.ctime()}\n", {"Cache-Control": "no-store"})


def main() -> None:
    """Serve until a signal stops the server."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent
    files = vespiary.StaticFiles(
        folder,
        precompressed=True,
        cache_control={"*.html": "no-cache", "*": "public, max-age=3600"},
        media_types={".toml": "application/toml"},
    )
    server = vespiary.Server()
    server.add(files, url)
    server.add(Time(), f"{url}/time")
    server.run()


if __name__ == "__main__":
    main()
