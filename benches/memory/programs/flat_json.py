"""Flat: documents that are parsed, changed and written, as a server of JSON does all day."""

import json
import random
import sys
import time

chance = random.Random(3)
seconds = float(sys.argv[1])
began = time.monotonic()
text = json.dumps({str(number): [number] * 20 for number in range(300)})
while time.monotonic() - began < seconds:
    document = json.loads(text)
    for key in chance.sample(sorted(document), 50):
        document[key] = ["x" * chance.randrange(100)] * 20
    text = json.dumps(document)
    time.sleep(0.01)
