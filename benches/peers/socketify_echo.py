"""WebSocket echo with socketify, the Python face of uWebSockets."""

import sys

from socketify import App, AppListenOptions, CompressOptions

PORT = int(sys.argv[1])

application = App()
application.ws(
    "/*",
    {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": 16 * 1024 * 1024,
        "max_backpressure": 64 * 1024 * 1024,
        "idle_timeout": 0,
        "message": lambda socket, message, opcode: socket.send(message, opcode),
    },
)
application.listen(
    AppListenOptions(port=PORT, host="127.0.0.1"),
    lambda config: print("READY", PORT, flush=True),
)
application.run()
