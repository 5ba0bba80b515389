"""cases_admin.py: everyday administration over the raw protocol, and by nodes that older tools write."""
import json
import struct

import wire
from cluster import check

NONE, UNKNOWN_TOPIC, TIMED_OUT, INVALID_PARTITIONS, INVALID_ASSIGNMENT, INVALID_REQUEST = 0, 3, 7, 37, 39, 42
CREATE_PARTITIONS = 37


def array(items, one):
    return struct.pack(">i", -1) if items is None else struct.pack(">i", len(items)) + b"".join(one(i) for i in items)


def int32(n):
    return struct.pack(">i", n)


def create_partitions(c, broker, topics, timeout=10000, validate_only=False):
    """topics: [(name, count, assignments or None)]; gives {name: (code, message)}"""
    body = array(topics, lambda t: wire.string(t[0]) + int32(t[1]) + array(t[2], lambda ids: array(ids, int32))) + struct.pack(">ib", timeout, validate_only)
    w = wire.Conn(c.port(broker))
    r = wire.Reader(w.call(CREATE_PARTITIONS, 1, body))
    w.close()
    r.take("i")
    rows = r.array(lambda r: (r.string(), r.take("h"), r.string()))
    r.end()
    check(len({row[0] for row in rows}) == len(rows), "each topic is answered once: %s", rows)
    return {name: (code, text) for name, code, text in rows}


def partitions_of(c, topic):
    return {int(p): ids for p, ids in c.zk_json("/brokers/topics/" + topic)["partitions"].items()}


def partitions(c):
    """CreatePartitions: Kafka's codes and sentences, answered when the new partitions can be written to."""
    c.start()
    c.create_topic("grows", 2, 2)
    c.create_topic("other", 1, 1)
    assigned = partitions_of(c, "grows")
    check(create_partitions(c, 1, [("grows", 4, None)], validate_only=True) == {"grows": (NONE, None)}, "validate only")
    check(partitions_of(c, "grows") == assigned, "it changed nothing")
    check(create_partitions(c, 2, [("grows", 6, None)]) == {"grows": (NONE, None)}, "it grows")
    now = partitions_of(c, "grows")
    check(len(now) == 6 and all(now[p] == assigned[p] for p in assigned), "old ones stay where they are: %s", now)
    start = assigned[0][0] - 1
    check([now[p][0] for p in range(2, 6)] == [(p + start) % 3 + 1 for p in range(2, 6)], "first replicas go round from where partition 0 begins: %s", now)
    for p in range(2, 6):
        if c.state("grows", p)["leader"] != 2:
            continue
        w = wire.Conn(c.port(2))
        code = wire.produce_error(w.call(wire.PRODUCE, 3, wire.produce("grows", p, wire.batch([b"x"]))))
        w.close()
        check(code == 0, "the broker that answered takes a record for partition %d at once: error %d", p, code)
    c.until(lambda: all(c.serves("grows", p) for p in range(6)), "all partitions serve", 10)
    for request, want in (
            ([("grows", 5, None)], (INVALID_PARTITIONS, "Topic currently has 6 partitions, which is higher than the requested 5.")),
            ([("grows", 6, None)], (INVALID_PARTITIONS, "Topic already has 6 partitions.")),
            ([("grows", 7, [[1]])], (INVALID_ASSIGNMENT, "Inconsistent replication factor between partitions, partition 0 has 2 while partitions [6] have replication factors [1], respectively.")),
            ([("grows", 7, [[1, 9]])], (INVALID_ASSIGNMENT, "Unknown broker(s) in replica assignment: 9.")),
            ([("grows", 8, [[1, 2]])], (INVALID_ASSIGNMENT, "Increasing the number of partitions by 2 but 1 assignments provided.")),
            ([("grows", 7, [[2, 2]])], (INVALID_ASSIGNMENT, "Duplicate brokers not allowed in replica assignment: 2, 2 for partition id 6.")),
            ([("grows", 7, None), ("grows", 8, None)], (INVALID_REQUEST, "Duplicate topic in request."))):
        for only in (True, False):
            got = create_partitions(c, 3, request, validate_only=only)
            check(got == {"grows": want}, "%s gives %s", request, got)
    got = create_partitions(c, 1, [("nope", 3, None), ("other", 2, [[3]])])
    check(got == {"nope": (UNKNOWN_TOPIC, "The topic 'nope' does not exist."), "other": (NONE, None)}, "each topic for itself: %s", got)
    check(partitions_of(c, "other")[1] == [3], "placed as told")
    check(create_partitions(c, 1, [("other", 3, None)], timeout=0) == {"other": (TIMED_OUT, None)}, "a timeout of 0 answers at once")
    c.until(lambda: c.serves("other", 2), "the work goes on", 10)
    # two at once: one of them finds the topic grown already
    conns = [wire.Conn(c.port(b)) for b in (1, 2, 3)]
    for w in conns:
        w.send(CREATE_PARTITIONS, 1, array(["grows"], lambda t: wire.string(t) + int32(9) + int32(-1)) + struct.pack(">ib", 10000, 0))
    codes = sorted(struct.unpack(">h", w.answer()[1][4 + 4 + 2 + 5:][:2])[0] for w in conns)
    check(codes == [NONE, INVALID_PARTITIONS, INVALID_PARTITIONS], "three requests for the same: %s", codes)
    check(len(partitions_of(c, "grows")) == 9, "nine in the end")


def partitions_by_hand(c):
    """Partitions written into /brokers/topics/T serve in under two seconds, also under the next controller."""
    c.start()
    c.create_topic("edited", 1, 2)
    for count in (2, 4):
        node = c.zk_json("/brokers/topics/edited")
        topic_id = node.pop("topic_id")
        node["version"] = 2  # as tools before 2.8
        for p in range(len(node["partitions"]), count):
            node["partitions"][str(p)] = [3, 1]
        c.zk().set("/brokers/topics/edited", json.dumps(node).encode())
        c.until(lambda: all(c.serves("edited", p) for p in range(count)), "partitions written by hand serve", 2)
        c.until(lambda: c.zk_json("/brokers/topics/edited").get("topic_id") == topic_id, "the topic keeps its id", 5)
        c.kcat("-P", "-t", "edited", "-p", count - 1, "-X", "acks=all", data=b"x\n")
        c.isr_is("edited", count, 2)
        ruler, daemon = c.active_controller()
        daemon.kill()
        c.until(lambda: (c.active_controller() or (ruler, None))[0] != ruler, "another controller rules", 15)
        daemon.start()


CASES = {f.__name__: f for f in (partitions, partitions_by_hand)}
