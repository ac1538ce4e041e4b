"""confluent-kafka: producers and a group of consumers, against librdkafka's own mock brokers."""

import threading
import time

from confluent_kafka import Consumer, Producer

MESSAGES = 2000

cluster = Producer({"bootstrap.servers": "none:9", "test.mock.num.brokers": 3})
brokers = cluster.list_topics(timeout=60).brokers.values()
where = ",".join(f"{each.host}:{each.port}" for each in brokers)
counts = {"sent": 0, "received": 0}
lock = threading.Lock()
is_over = threading.Event()


def delivered(error, message):
    assert error is None, error
    with lock:
        counts["sent"] += 1


def produce(number):
    producer = Producer({"bootstrap.servers": where, "linger.ms": 5})
    for each in range(MESSAGES // 4):
        producer.produce("topic", f"{number} {each}".encode(), callback=delivered)
        producer.poll(0)
    assert producer.flush(120) == 0


def consume():
    options = {"group.id": "all", "auto.offset.reset": "earliest", "session.timeout.ms": 60000}
    consumer = Consumer({"bootstrap.servers": where, **options})
    consumer.subscribe(["topic"])
    while not is_over.is_set():
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            with lock:
                counts["received"] += 1
                if counts["received"] == MESSAGES:
                    is_over.set()
    consumer.close()


threads = [threading.Thread(target=produce, args=(number,)) for number in range(4)]
threads += [threading.Thread(target=consume) for _ in range(2)]
for thread in threads:
    thread.start()
threads[0].join()
if not is_over.wait(200):
    is_over.set()
for thread in threads:
    thread.join()
time.sleep(0.1)
print(counts)
