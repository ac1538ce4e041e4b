"""paho-mqtt: a client with its own thread, against a small broker of this test."""

import socket
import threading

import paho.mqtt.client as mqtt

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]


def read(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def broker():
    stream, _ = listener.accept()
    while True:
        try:
            kind = read(stream, 1)[0] >> 4
            length = read(stream, 1)[0]
            body = read(stream, length)
        except ConnectionError:
            return
        if kind == 1:
            stream.sendall(b"\x20\x02\x00\x00")
        elif kind == 3:
            topic = int.from_bytes(body[:2], "big")
            stream.sendall(b"\x40\x02" + body[2 + topic : 4 + topic])
        elif kind == 14:
            stream.close()
            return


thread = threading.Thread(target=broker)
thread.start()
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
client.connect("127.0.0.1", port)
client.loop_start()
sent = [client.publish("news", str(number), qos=1) for number in range(100)]
for each in sent:
    each.wait_for_publish(60)
print(sum(each.is_published() for each in sent))
client.disconnect()
client.loop_stop()
thread.join()
