"""golden.py: a data directory that Kafka 3.9 wrote, opened by brokerd, read by Kafka's console consumer; called by tests/interop/run.

tests/cluster's case golden_log compares what kcat reads. Here it is Kafka's own consumer that reads, before and after a restart of the
broker, and the partitions of formats 0 and 1 are compared as whole folders, also after the broker has been shut down.
"""
import json
import os
import re
import shutil
import struct

import wire
from cluster import TOP, Cluster, check

SOURCE = os.path.join(TOP, "tests", "golden", "log-3.9")
OLD = ("magic0", "magic1")
CONFIGS = {"compacted": {"cleanup.policy": "compact"}, "logappend": {"message.timestamp.type": "LogAppendTime"}}


def read_text(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def partitions():
    """(topic, partition, topic id, last leader epoch) of every partition of the recording."""
    out = []
    for name in sorted(os.listdir(os.path.join(SOURCE, "data"))):
        folder = os.path.join(SOURCE, "data", name)
        m = re.match(r"^(.*)-(\d+)$", name)
        if m and os.path.isdir(folder):
            rows = read_text(folder, "leader-epoch-checkpoint").split("\n")[2:]
            epochs = [int(r.split()[0]) for r in rows if r.strip()]
            out.append((m[1], int(m[2]), re.search(r"topic_id: (\S+)", read_text(folder, "partition.metadata"))[1], epochs[-1] if epochs else 0))
    check(len(out) == 20, "the recording is whole: %d partitions", len(out))
    return out


def write_state(z, all_parts):
    """The nodes that Kafka would have had beside this directory (the recording has none)."""
    cluster = re.search(r"cluster\.id=(\S+)", read_text(SOURCE, "data", "meta.properties"))[1]
    z.create_all("/cluster/id", json.dumps({"version": "1", "id": cluster}).encode())
    z.create_all("/controller_epoch", b"1")
    for topic in sorted({p[0] for p in all_parts}):
        mine = [p for p in all_parts if p[0] == topic]
        config = dict(CONFIGS.get(topic, {}), **{"min.insync.replicas": "1", "retention.ms": "-1"})
        z.create_all("/config/topics/" + topic, json.dumps({"version": 1, "config": config}).encode())
        z.create_all("/brokers/topics/" + topic, json.dumps({"partitions": {str(p[1]): [1] for p in mine}, "topic_id": mine[0][2],
            "adding_replicas": {}, "removing_replicas": {}, "version": 3}).encode())
        for _, number, _, epoch in mine:
            z.create_all("/brokers/topics/%s/partitions/%d/state" % (topic, number), json.dumps({"controller_epoch": 1, "leader": 1, "version": 1,
                "leader_epoch": epoch, "isr": [1]}).encode())


def folder_bytes(folder):
    out = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as f:
            out[name] = f.read()
    return out


def console_line(line, kind):
    """offset|timestamp|keyLength|key|valueLength|value|headers of the recording, as the console consumer prints it."""
    offset, timestamp, key_length, key, value_length, value, headers = line.split("|")
    def text(length, s):
        return "NULL" if length == "-1" else s
    shown = ",".join("%s:%s" % tuple(h.split("=", 1)) for h in headers.split(",")) if headers else "NO_HEADERS"
    return "\t".join(["%s:%s" % (kind, timestamp), "Offset:" + offset, shown, text(key_length, key), text(value_length, value)])


def read_all(run, bootstrap, all_parts):
    """Every partition of format 2, by Kafka's console consumer."""
    for topic, number, _, _ in all_parts:
        expected = os.path.join(SOURCE, "expected", "%s-%d.txt" % (topic, number))
        if topic in OLD or topic.startswith("__"):
            continue
        kind = "LogAppendTime" if topic == "logappend" else "CreateTime"
        want = [console_line(line, kind) for line in read_text(expected).split("\n")[:-1]]
        props = [x for p in ("print.timestamp", "print.offset", "print.headers", "print.key") for x in ("--property", p + "=true")]
        out = run.java("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", bootstrap, "--topic", topic, "--partition", str(number),
            "--offset", "earliest", "--isolation-level", "read_uncommitted", "--max-messages", str(len(want)), "--timeout-ms", "60000", *props,
            "--property", "null.literal=NULL")
        got = out.decode().split("\n")[:-1]
        check(got == want, "%s-%d: read %d lines, want %d; first difference: %s", topic, number, len(got), len(want),
            next((d for d in zip(got + [""] * 999, want) if d[0] != d[1]), None))


def refused(port, topic):
    """Error of a fetch from a partition of an old format."""
    w = wire.Conn(port)
    answer = w.call(wire.FETCH, 4, wire.fetch(topic, 0, 0))
    w.close()
    at = 4 + 4 + 2 + len(topic) + 4 + 4
    return struct.unpack(">h", answer[at:at + 2])[0]


def opens(options, run):
    c = Cluster(options, "golden")
    try:
        data = os.path.join(c.dir, "data", "broker-1")
        shutil.copytree(os.path.join(SOURCE, "data"), data)
        os.chmod(data, 0o700)
        old = {t: folder_bytes(os.path.join(data, t + "-0")) for t in OLD}
        all_parts = partitions()
        c.zk_start()
        write_state(c.zk(), all_parts)
        c.add_controller(101).start()
        broker = c.add_broker(1, default__replication__factor=1, min__insync__replicas=1)
        for turn in ("as Kafka left it", "after a restart"):
            c.zk_sessions.clear()  # one that is not pinged does not live through the reading
            broker.start()
            c.wait_serving()
            for topic, number, _, _ in all_parts:
                c.until(lambda t=topic, n=number: (c.state(t, n) or {}).get("leader") == 1, "%s-%d has a leader" % (topic, number), 60)
            read_all(run, c.bootstrap(), all_parts)
            for topic in OLD:
                check(refused(c.port(1), topic) == 43, "%s: a fetch from %s is answered with %d", turn, topic, refused(c.port(1), topic))
            check(broker.term(60) == 0, "%s: SIGTERM ends with 0", turn)
            for topic in OLD:
                now = folder_bytes(os.path.join(data, topic + "-0"))
                changed = sorted(n for n in set(now) | set(old[topic]) if now.get(n) != old[topic].get(n))
                check(not changed, "%s: %s-0 is left untouched, but %s", turn, topic, changed)
        said = c.reports()
        check(not said, "%s", said)
    finally:
        c.stop()
