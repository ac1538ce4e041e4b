"""JSON lines on TCP: a client sends one JSON object per line, and gets one per line.

    {"sensor": "roof", "celsius": 21.5}   ->  {"sensor": "roof", "count": 1, "mean": 21.5}
    {"report": true}                      ->  {"sensors": {"roof": 21.5}}

Any other line is answered with {"error": ...}, and the connection stays open. A line that is longer
than `message_bytes_max` ends the connection.

Run:   .venv/bin/python examples/json_lines.py [URL...]           (default tcp://127.0.0.1:5050)
Talk:  nc 127.0.0.1 5050
"""

import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import vespiary

SENSORS_MAX = 1000


@dataclass
class Sensor:
    """The measurements of a sensor."""

    count: int = 0
    mean: float = 0.0

    def add(self, value: float) -> None:
        """Add a value to the mean, without storing it."""
        self.count += 1
        self.mean += (value - self.mean) / self.count


class Weather(vespiary.Handler[bytes]):
    """Takes measurements from many connections."""

    def __init__(self) -> None:
        self.sensors: dict[str, Sensor] = {}

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        """Answer a line."""
        try:
            answer = self.answer(json.loads(message))
        except (ValueError, RecursionError) as error:
            answer = {"error": f"this line is not JSON: {error}"}
        connection.send(json.dumps(answer))

    def answer(self, request: object) -> dict[str, Any]:
        """Return the answer to an object."""
        match request:
            case {"sensor": str(name), "celsius": int(value) | float(value)} if is_number(value):
                if name not in self.sensors and len(self.sensors) >= SENSORS_MAX:
                    return {"error": f"there are {SENSORS_MAX} sensors already"}
                sensor = self.sensors.setdefault(name, Sensor())
                sensor.add(value)
                return {"sensor": name, "count": sensor.count, "mean": round(sensor.mean, 3)}
            case {"report": True}:
                means = {name: round(each.mean, 3) for name, each in sorted(self.sensors.items())}
                return {"sensors": means}
            case _:
                return {"error": 'send {"sensor": NAME, "celsius": NUMBER} or {"report": true}'}


def is_number(value: float) -> bool:
    """Return whether a value is a number. Python's parser also accepts NaN and Infinity."""
    return not isinstance(value, bool) and math.isfinite(value)


if __name__ == "__main__":
    limits = vespiary.Limits(message_bytes_max=16 << 10)
    urls = sys.argv[1:] or ["tcp://127.0.0.1:5050"]
    vespiary.serve(Weather(), *urls, framing="line", limits=limits)
