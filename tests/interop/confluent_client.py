"""Produces and consumes with Python confluent-kafka, comparing content: run by tests/interop/run in its virtual environment.

    confluent_client.py BOOTSTRAP TOPIC CODEC RECORDS
"""
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition


def records(count):
    for i in range(count):
        yield f"key{i % 997}", None if i % 10 == 3 else f"value {i} " + "x" * (i % 60)


def produce(bootstrap, topic, codec, count):
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": codec, "linger.ms": 5})
    for key, value in records(count):
        while True:
            try:
                producer.produce(topic, key=key, value=value, headers={"h": "1"}, on_delivery=lambda err, _: err and failures.append(str(err)))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(120)
    assert not left and not failures, f"{left} not delivered, failures {failures[:3]}"


def consume(bootstrap, topic, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "interop", "enable.auto.commit": False, "auto.offset.reset": "error",
                         "check.crcs": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    end, expected, got = time.monotonic() + 120, records(count), 0
    while got < count and time.monotonic() < end:
        for m in consumer.consume(10000, 1.0):
            assert not m.error(), m.error()
            key, value = next(expected)
            have = (m.key().decode(), m.value() and m.value().decode(), m.headers())
            assert have == (key, value, [("h", b"1")]) and m.offset() == got, f"record {got}: {have} at {m.offset()}"
            got += 1
    assert got == count, f"{got} of {count} records"
    consumer.close()


def main():
    bootstrap, topic, codec, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    produce(bootstrap, topic, codec, count)
    consume(bootstrap, topic, count)


main()
