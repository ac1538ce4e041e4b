"""Our server with one page: `page.py https PORT CERTIFICATE KEY`; VESPIARY_DRIVER as elsewhere."""

import sys

import vespiary


class Page(vespiary.Handler):
    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        return request.respond(200, "hello\n")


vespiary.serve(
    Page(),
    f"{sys.argv[1]}://127.0.0.1:{sys.argv[2]}",
    tls=vespiary.ServerTLS(*sys.argv[3:]),
    on_serving=lambda urls: print("READY", sys.argv[2], flush=True),
)
