"""cases_admin.py: everyday administration over the raw protocol, and by nodes that older tools write."""
import json
import os
import struct
import threading
import time

import wire
from cluster import check
from kclient import Kafka

NONE, UNKNOWN_TOPIC, TIMED_OUT, INVALID_PARTITIONS, INVALID_ASSIGNMENT, INVALID_REQUEST = 0, 3, 7, 37, 39, 42
PREFERRED_NOT_AVAILABLE, ELIGIBLE_NOT_AVAILABLE, NOT_NEEDED = 80, 83, 84
NOT_LEADER, OUT_OF_RANGE, INVALID_TOPIC = 6, 1, 17
STORAGE_ERROR, NOT_CONTROLLER = 56, 41
DELETE_RECORDS, DESCRIBE_LOG_DIRS, CREATE_PARTITIONS, ELECT_LEADERS, DESCRIBE_PRODUCERS = 21, 35, 37, 43, 61


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
            ([("grows", 8, [])], (INVALID_ASSIGNMENT, "Increasing the number of partitions by 2 but 0 assignments provided.")),
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
        if count == 2:
            node["version"] = 2  # as tools before 2.8
        else:
            node["topic_id"] = topic_id
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


def elect(c, broker, topics, kind=0, timeout=10000):
    """topics: {name: [partition]} or None = all; gives {(topic, partition): (code, message)}"""
    body = struct.pack(">b", kind) + array(topics.items() if topics is not None else None, lambda t: wire.string(t[0]) + array(t[1], int32)) + int32(timeout)
    w = wire.Conn(c.port(broker))
    r = wire.Reader(w.call(ELECT_LEADERS, 1, body))
    w.close()
    check(r.take("ih") == (0, NONE), "no error for the whole request")
    rows = r.array(lambda r: (r.string(), r.array(lambda r: (r.take("ih"), r.string()))))
    r.end()
    return {(name, p): (code, text) for name, parts in rows for (p, code), text in parts}


def id_lost(c):
    """A topic node that lost its id while no controllerd lives (as tools before 2.8 write it): the logs give it back, nothing is lost."""
    c.start(brokers=2, default__replication__factor=2, min__insync__replicas=1)
    c.create_topic("t", 2, 2)
    c.kcat("-P", "-t", "t", "-X", "acks=all", data=b"".join(b"record %d\n" % i for i in range(100)))
    c.isr_is("t", 2, 2)
    before, records = c.zk_json("/brokers/topics/t")["topic_id"], sorted(c.read_all("t"))
    check(len(records) == 100, "100 records: %d", len(records))
    for d in c.controllers() + [c.broker(2)]:
        d.kill()
    c.zk().set("/brokers/topics/t", json.dumps({"version": 1, "partitions": {"0": [1, 2], "1": [2, 1], "2": [1, 2]}}).encode())
    for d in c.controllers() + [c.broker(2)]:
        d.start()
    c.until(lambda: c.zk_json("/brokers/topics/t").get("topic_id") == before, "its id is back", 30)
    c.isr_is("t", 3, 2)
    check(sorted(c.read_all("t")) == records, "the records too")


def asked_without_zookeeper(c):
    """While ZooKeeper is away the controller may say nothing: a request is answered by its own timeout all the same."""
    c.start(brokers=2, controllers=1, default__replication__factor=2, min__insync__replicas=1)
    c.create_topic("t", 1, 2)
    c.zk_stop()
    began = time.monotonic()
    got = create_partitions(c, 1, [("t", 3, None)], timeout=1000)
    took = time.monotonic() - began
    check(got["t"][0] in (TIMED_OUT, NOT_CONTROLLER) and took < 10 * c.slow, "answered in time: %s after %.1f s", got, took)


def elections(c):
    """Preferred leaders: by request, by the node that tools of 2.8 write, by themselves; unclean ones by request only."""
    c.start(controllers=1)
    c.create_topic("t", 3, 3)
    assigned = partitions_of(c, "t")
    mine = next(p for p in assigned if assigned[p][0] == 3)
    needless = (NOT_NEEDED, "Leader election not needed for topic partition.")
    check(elect(c, 1, {"t": [mine, 7], "nope": [0]}) == {("t", mine): needless, ("t", 7): (UNKNOWN_TOPIC, "The partition does not exist."),
        ("nope", 0): (UNKNOWN_TOPIC, "The partition does not exist.")}, "nothing to do, nothing there")
    check(elect(c, 1, None) == {}, "of a whole cluster only what changed is told")
    check(elect(c, 1, {}) == {}, "nothing named")

    def bounce():
        c.broker(3).kill()
        c.until(lambda: c.state("t", mine)["leader"] != 3, "another one leads", 10)
        failed = (PREFERRED_NOT_AVAILABLE, "Failed to elect leader for partition t-%d under strategy PreferredReplicaPartitionLeaderElectionStrategy" % mine)
        def got():
            r = elect(c, 1, {"t": [mine]})
            return r if r != {("t", mine): needless} else None  # what ZooKeeper shows, the controller may not have been told yet
        got = c.until(got, "the controller knows of the new leader", 5)
        check(got == {("t", mine): failed}, "the dead cannot lead: %s", got)
        c.broker(3).start()
        c.isr_is("t", 3, 3)
        check(c.state("t", mine)["leader"] != 3, "who is back does not lead by itself")
    bounce()
    check(elect(c, 1, {"t": [mine]}) == {("t", mine): (NONE, None)}, "elected")
    check(c.state("t", mine)["leader"] == 3, "it leads")
    bounce()
    check(elect(c, 2, None) == {("t", mine): (NONE, None)}, "elected, all of the cluster asked for")
    bounce()
    c.zk().create("/admin/preferred_replica_election", json.dumps({"version": 1, "partitions": [{"topic": "t", "partition": p} for p in assigned]}).encode())
    c.until(lambda: c.state("t", mine)["leader"] == 3, "elected by node", 5)
    c.until(lambda: c.zk().get("/admin/preferred_replica_election")[1] is None, "the node is deleted", 5)
    c.daemons["controller-101"].kill()
    c.add_controller(102, leader__imbalance__check__interval__seconds=1).start()
    c.until(lambda: (c.active_controller() or (0, None))[0] == 102, "a controller that looks each second", 30)
    c.broker(3).kill()
    c.until(lambda: c.state("t", mine)["leader"] != 3, "another one leads", 10)
    c.broker(3).start()
    c.until(lambda: c.state("t", mine)["leader"] == 3, "it leads again by itself", 30)
    # an unclean election: only when nobody leads, and then on request
    c.create_topic("one", 1, 2, "min.insync.replicas=1")
    first, second = partitions_of(c, "one")[0]
    check(elect(c, 1, {"one": [0]}, kind=1) == {("one", 0): needless}, "somebody leads")
    c.broker(second).kill()
    c.until(lambda: c.state("one", 0)["isr"] == [first], "alone", 60, every=0.1)
    asked = next(b for b in (1, 2, 3) if b not in (first, second))
    c.broker(first).kill()
    c.until(lambda: c.state("one", 0)["leader"] == -1, "nobody leads", 20)
    got = elect(c, asked, {"one": [0]}, kind=1)
    check(got == {("one", 0): (ELIGIBLE_NOT_AVAILABLE, "Failed to elect leader for partition one-0 under strategy OfflinePartitionLeaderElectionStrategy(true)")}, "nobody there: %s", got)
    c.broker(second).start()
    c.until(lambda: c.health("broker-%d" % second)[0] == 200, "the outdated one is back", 20)
    check(c.state("one", 0)["leader"] == -1, "it does not lead by itself")
    check(elect(c, asked, {"one": [0]}, kind=1) == {("one", 0): (NONE, None)}, "it does when told")
    check(c.state("one", 0)["leader"] == second, "it leads")


def delete_records(c, broker, topic, offsets, timeout=10000):
    """offsets: {partition: offset}; gives {partition: (low watermark, code)}"""
    body = array([topic], lambda t: wire.string(t) + array(offsets.items(), lambda p: struct.pack(">iq", *p))) + int32(timeout)
    w = wire.Conn(c.port(broker))
    r = wire.Reader(w.call(DELETE_RECORDS, 1, body))
    w.close()
    r.take("i")
    rows = r.array(lambda r: (r.string(), r.array(lambda r: r.take("iqh"))))
    r.end()
    check([t for t, _ in rows] == [topic], "the topic is named: %s", rows)
    return {p: (low, code) for p, low, code in rows[0][1]}


def earliest(c, topic, partition, broker=None):
    w = wire.Conn(c.port(broker or c.state(topic, partition)["leader"]))
    code, offset = wire.offset_of(w.call(wire.LIST_OFFSETS, 1, wire.list_offsets(topic, partition, -2)))
    w.close()
    return offset if code == 0 else None


def delete_of_records(c):
    """DeleteRecords: on all replicas when it is answered, and not undone by kill -9 of everything right after."""
    c.start()
    c.create_topic("d", 2, 3)
    for p in (0, 1):
        c.kcat("-P", "-t", "d", "-p", p, "-X", "acks=all", data=b"".join(b"%d\n" % i for i in range(1000)))
    leader = {p: c.state("d", p)["leader"] for p in (0, 1)}
    other = next(b for b in (1, 2, 3) if b != leader[0])
    check(delete_records(c, other, "d", {0: 5}) == {0: (-1, NOT_LEADER)}, "only the leader deletes")
    check(delete_records(c, leader[0], "d", {7: 5}) == {7: (-1, UNKNOWN_TOPIC)}, "no such partition")
    check(delete_records(c, leader[0], "nope", {0: 5}) == {0: (-1, UNKNOWN_TOPIC)}, "no such topic")
    check(delete_records(c, leader[0], "d", {0: 1001}) == {0: (-1, OUT_OF_RANGE)}, "beyond the high watermark")
    check(delete_records(c, leader[0], "d", {0: -7}) == {0: (-1, OUT_OF_RANGE)}, "no such offset")
    check(delete_records(c, leader[0], "d", {0: 100}) == {0: (100, NONE)}, "100 records go")
    check(delete_records(c, leader[0], "d", {0: 50}) == {0: (100, NONE)}, "nothing more to do")
    check(earliest(c, "d", 0) == 100, "it begins at 100")
    check(delete_records(c, leader[1], "d", {1: -1}) == {1: (1000, NONE)}, "all of it")
    lines = c.read_all("d", "%p %o\n")
    check(lines == ["0 %d" % i for i in range(100, 1000)], "what is left: %d lines from %s", len(lines), lines[:1])
    lines = c.klamm("consume", "d", "--offset", "-5000", "--exit", "-f", "%p %o\\n").stdout.decode().splitlines()
    check(lines == ["0 %d" % i for i in range(100, 1000)], "so many before the end are no more than are left: %d lines from %s", len(lines), lines[:1])
    check(delete_records(c, leader[0], "d", {0: 200}, timeout=0)[0][1] in (NONE, TIMED_OUT), "no time to wait")
    c.until(lambda: delete_records(c, leader[0], "d", {0: 200}) == {0: (200, NONE)}, "it goes on", 10)
    check(delete_records(c, leader[0], "d", {0: 300}) == {0: (300, NONE)}, "300 records are gone")
    for b in c.brokers():
        b.kill()
    for b in c.brokers():
        b.start()
    c.until(lambda: c.serves("d", 0) and c.serves("d", 1), "back after kill -9 of all brokers", 30)
    if c.state("d", 0)["leader"] == leader[0]:
        check(earliest(c, "d", 0) == 300, "it begins at 300 still, not at %s", earliest(c, "d", 0))
    c.kcat("-P", "-t", "d", "-p", 1, "-X", "acks=all", data=b"new\n")
    lines = [line for line in c.read_all("d", "%p %o\n") if line.startswith("1 ")]
    check(lines == ["1 1000"], "offsets go on: %s", lines)
    # a replica that was away takes the start over when it is back
    c.isr_is("d", 2, 3)
    leader = c.state("d", 0)["leader"]
    away = next(b for b in (1, 2, 3) if b != leader)
    c.broker(away).kill()
    c.until(lambda: away not in c.state("d", 0)["isr"], "out of the ISR", 30)
    check(delete_records(c, leader, "d", {0: 400}) == {0: (400, NONE)}, "the dead are not waited for")
    c.broker(away).start()
    c.isr_is("d", 2, 3)
    c.broker(leader).kill()
    c.until(lambda: c.state("d", 0)["leader"] not in (-1, leader), "another one leads", 20)
    c.until(lambda: earliest(c, "d", 0) == 400, "whoever leads begins at 400", 20)


def deleted_stays_deleted(c):
    """What DeleteRecords answered for is gone under any leader: everything is killed right after the answer, and the leader of then stays away."""
    c.start(min__insync__replicas=1)
    c.create_topic("d", 3, 3)
    for p in range(3):
        c.kcat("-P", "-t", "d", "-p", p, "-X", "acks=all", data=b"".join(b"%d\n" % i for i in range(300)))
    c.isr_is("d", 3, 3)
    for round in range(3):
        leader = c.state("d", round)["leader"]
        check(delete_records(c, leader, "d", {round: 100}) == {round: (100, NONE)}, "100 records are gone")
        for d in c.controllers() + c.brokers():  # controllers first: the ISR stays as it is
            d.kill()
        for d in c.controllers() + [b for b in c.brokers() if b is not c.broker(leader)]:
            d.start()
        c.until(lambda: c.state("d", round)["leader"] not in (-1, leader) and c.serves("d", round), "another one leads", 40)
        check(earliest(c, "d", round) == 100, "it begins at 100 still, not at %s", earliest(c, "d", round))
        c.broker(leader).start()
        c.isr_is("d", 3, 3)


def log_dirs(c, broker, topics):
    """topics: {name: [partition]} or None = all; gives {dir: (code, {(topic, partition): (size, lag, future)})}"""
    body = array(topics.items() if topics is not None else None, lambda t: wire.string(t[0]) + array(t[1], int32))
    w = wire.Conn(c.port(broker))
    r = wire.Reader(w.call(DESCRIBE_LOG_DIRS, 1, body))
    w.close()
    r.take("i")
    rows = r.array(lambda r: (r.take("h"), r.string(), r.array(lambda r: (r.string(), r.array(lambda r: r.take("iqq?"))))))
    r.end()
    return {d: (code, {(t, p[0]): p[1:] for t, parts in topics for p in parts}) for code, d, topics in rows}


class Writer(threading.Thread):
    """A record for one partition of topic a, sent to its leader on a connection of its own."""

    def __init__(self, c, partition):
        super().__init__()
        self.conn, self.partition, self.answer = wire.Conn(c.port(c.state("a", partition)["leader"])), partition, None
        self.start()

    def run(self):
        self.answer = self.conn.call(wire.PRODUCE, 3, wire.produce("a", self.partition, wire.batch([b"x"]), timeout=10000))
        self.conn.close()

    def code(self):
        self.join()
        return wire.produce_error(self.answer)


def lost_directory(c):
    """One of two log directories fails, at run time and at a start: its replicas are offline, others lead, the rest goes on; the last one ends the broker."""
    c.zk_start()
    for i in (101, 102):
        c.add_controller(i).start()
    one, two = os.path.join(c.dir, "data", "broker-1"), os.path.join(c.dir, "data", "second")
    c.add_broker(1, log__dirs=one + "," + two, default__replication__factor=2, min__insync__replicas=1).start()
    c.add_broker(2, default__replication__factor=2, min__insync__replicas=1).start()
    c.wait_serving()
    c.create_topic("a", 8, 2)
    c.create_topic("alone", 2, 1)
    c.isr_is("a", 8, 2)
    lost = {p for p in log_dirs(c, 1, None)[two][1]}
    a = {p for topic, p in lost if topic == "a"}
    check(2 <= len(a) <= 6 and any(c.state("a", p)["leader"] == 1 for p in a), "the second directory has some that broker 1 leads: %s", lost)

    def offline(topic, broker=2):
        return {p for p, row in metadata(c.port(broker), 12, [topic])["topics"][0][1]["partitions"].items() if row[4] == [1]}

    def moved():
        return all(c.state("a", p)["leader"] == 2 and c.state("a", p)["isr"] == [2] for p in a) and offline("a") == a == offline("a", 1)

    os.rename(two, two + ".away")
    with open(two, "w", encoding="ascii") as f:
        f.write("not a directory")
    writing = [Writer(c, p) for p in range(8)]
    codes = [w.code() for w in writing]
    check(all(codes[p] == NONE if p not in a else codes[p] in (NONE, NOT_LEADER, STORAGE_ERROR) for p in range(8)), "every write is answered: %s, lost: %s", codes, a)
    c.until(moved, "others lead what was in the lost directory, and its replicas are offline", 30, every=0.2)
    for p in range(8):
        if p not in a:
            check(sorted(c.state("a", p)["isr"]) == [1, 2], "the other directory goes on: %d %s", p, c.state("a", p))
    found = log_dirs(c, 1, None)
    check(found[two] == (STORAGE_ERROR, {}) and found[one][0] == NONE and {p for t, p in found[one][1] if t == "a"} == set(range(8)) - a, "directories: %s", found)
    gone = {p for topic, p in lost if topic == "alone"}
    c.until(lambda: offline("alone") == {p for p in gone if partitions_of(c, "alone")[p] == [1]}, "offline of the topic without other replicas", 10)
    for p in gone:
        if partitions_of(c, "alone")[p] == [1]:
            c.until(lambda p=p: (c.state("alone", p)["leader"], c.state("alone", p)["isr"]) == (-1, [1]), "nobody leads it", 10)
    # a new reign learns it
    c.active_controller()[1].kill()
    c.until(moved, "the next controller knows it too", 40, every=0.2)
    # at a start
    c.broker(1).kill()
    c.until(lambda: all(c.state("a", p)["leader"] == 2 for p in range(8)), "broker 2 leads everything", 20)
    c.broker(1).start()
    c.until(lambda: offline("a") == a == offline("a", 1), "what cannot be found is offline", 30, every=0.2)
    c.until(lambda: all(sorted(c.state("a", p)["isr"]) == [1, 2] for p in range(8) if p not in a), "the others are in sync again", 20)
    check({p for t, p in log_dirs(c, 1, None)[one][1] if t == "a"} == set(range(8)) - a, "nothing is made anew elsewhere")
    c.create_topic("later", 2, 2)  # new ones go where there is room
    c.isr_is("later", 2, 2)
    # back again
    c.broker(1).kill()
    os.unlink(two)
    os.rename(two + ".away", two)
    c.broker(1).start()
    c.isr_is("a", 8, 2)
    c.until(lambda: offline("a") == set(), "nothing is offline", 10)
    # the last one
    for d in (one, two):
        os.rename(d, d + ".away")
        with open(d, "w", encoding="ascii") as f:
            f.write("not a directory")
    c.kcat("-P", "-t", "a", "-X", "acks=1", data=b"record\n" * 100, check_status=False)
    check(c.broker(1).wait(30) == 74, "it ends when no directory is left")


def varint(n):
    return bytes([n])  # below 128


def describe_producers(c, broker, topic, partition):
    """DescribeProducers 0 (flexible): (code, [(id, epoch, last sequence)])"""
    name = topic.encode()
    body = b"\0" + varint(2) + varint(len(name) + 1) + name + varint(2) + int32(partition) + b"\0\0"
    w = wire.Conn(c.port(broker))
    answer = w.call(DESCRIBE_PRODUCERS, 0, body)
    w.close()
    r = wire.Reader(answer)
    check(r.take("B") == 0, "no tags in the header")
    check(r.take("iB") == (0, 2), "one topic")
    skipped = r.take("B") - 1
    r.at += skipped
    check(r.take("Bi") == (2, partition), "the partition that was asked for")
    code, message = r.take("hB")
    r.at += max(message - 1, 0)
    rows = [r.take("qiiqiqB")[:3] for _ in range(r.take("B") - 1)]
    return code, rows


def deleted_while_away(c):
    """[K1] A topic is deleted while one of its brokers is dead: who has yet to remove it stands in ZooKeeper, over a change of controllers as well; its directories go when
    it is back, and then the node."""
    c.start()
    c.create_topic("t", 4, 3)
    c.create_topic("stays", 4, 3)
    c.isr_is("t", 4, 3)
    c.isr_is("stays", 4, 3)
    mark = "/klamm/deleted/" + c.zk_json("/brokers/topics/t")["topic_id"]

    def dirs(broker, topic="t"):
        return sorted(n for n in os.listdir(os.path.join(c.dir, "data", "broker-%d" % broker)) if n.startswith(topic + "-") and not n.endswith("-delete"))
    c.broker(3).kill()
    c.klamm("topic", "delete", "t")
    c.until(lambda: not dirs(1) and not dirs(2), "the living remove it", 10)
    check(c.zk_json(mark)["topic"] == "t" and all(3 in ids for ids in c.zk_json(mark)["partitions"].values()), "%s is %s", mark, c.zk_json(mark))
    name, active = c.active_controller()
    active.kill()
    c.until(lambda: (c.active_controller() or (name, None))[0] != name, "the other controller rules", 20)
    check(len(dirs(3)) == 4 and c.zk_json(mark), "broker 3 has its directories still")
    c.broker(3).start()
    c.until(lambda: not dirs(3), "they go when it is back", 30, also=c.broker(3))
    c.until(lambda: c.zk().get(mark)[1] is None, "everybody has said so", 10)
    c.isr_is("stays", 4, 3)
    check(all(len(dirs(b, "stays")) == 4 for b in (1, 2, 3)), "nothing else goes")


def logs(c):
    """DescribeLogDirs and DescribeProducers: what lies on a broker."""
    c.zk_start()
    c.add_controller(101).start()
    more, broken = os.path.join(c.dir, "data", "second"), os.path.join(c.dir, "broken")
    with open(broken, "w", encoding="ascii") as f:
        f.write("not a directory")
    for b in (1, 2):
        dirs = os.path.join(c.dir, "data", "broker-%d" % b) + "," + (more if b == 1 else broken)
        c.add_broker(b, log__dirs=dirs, default__replication__factor=2, min__insync__replicas=1).start()
    c.wait_serving()
    c.create_topic("a", 4, 2)
    c.create_topic("b", 2, 2)
    c.kcat("-P", "-t", "a", "-p", 1, "-X", "acks=all", "-X", "enable.idempotence=true", data=b"x" * 1000 + b"\n" + b"y" * 1000 + b"\n")
    c.isr_is("a", 4, 2)
    found = log_dirs(c, 1, None)
    check(set(found) == {os.path.join(c.dir, "data", "broker-1"), more} and all(code == NONE for code, _ in found.values()), "both directories: %s", found)
    parts = {k: v for _, p in found.values() for k, v in p.items()}
    check(sorted(parts) == [("a", p) for p in range(4)] + [("b", p) for p in range(2)], "all partitions, each once: %s", parts)
    check(all(len(p) == 3 for _, p in found.values()), "directories are filled evenly: %s", found)
    for (topic, p), (size, lag, future) in parts.items():
        where = next(d for d, (_, all_of_it) in found.items() if (topic, p) in all_of_it)
        check(size == os.path.getsize(os.path.join(where, "%s-%d" % (topic, p), "%020d.log" % 0)) and lag == 0 and not future, "%s-%d: %d bytes, lag %d", topic, p, size, lag)
    some = log_dirs(c, 1, {"a": [1, 9], "nope": [0]})
    check([list(p) for _, p in some.values() if p] == [[("a", 1)]], "only what is named: %s", some)
    check([p for _, p in log_dirs(c, 1, {}).values()] == [{}, {}], "nothing named, nothing told")
    check(log_dirs(c, 2, None)[broken] == (STORAGE_ERROR, {}), "a directory that cannot be used is told as such")
    k = Kafka(c.port(1))
    for row in k.call("DescribeLogDirs", 4, topics=None)["results"]:
        disk = os.statvfs(row["log_dir"])
        check(row["total_bytes"] == disk.f_blocks * disk.f_frsize and 0 < row["usable_bytes"] < row["total_bytes"], "the disk of %s: %s of %s bytes are free", row["log_dir"],
            row["usable_bytes"], row["total_bytes"])
    k.close()
    leader = c.state("a", 1)["leader"]
    code, rows = describe_producers(c, leader, "a", 1)
    check(code == NONE and len(rows) == 1 and rows[0][1:] == (0, 1), "one producer, two records: %d %s", code, rows)
    check(describe_producers(c, 3 - leader, "a", 1) == (code, rows), "a follower knows it too")
    check(describe_producers(c, 1, "a", 2) == (NONE, []), "nobody wrote")
    check(describe_producers(c, 1, "a", 9) == (UNKNOWN_TOPIC, []), "no such partition")
    check(describe_producers(c, 1, "nope", 0) == (UNKNOWN_TOPIC, []), "no such topic")
    check(describe_producers(c, 1, "in valid", 0) == (INVALID_TOPIC, []), "no such name")


ASKED_NOT, TOPIC_OPERATIONS, CLUSTER_OPERATIONS = -2147483648, 0x0DF8, 0x1FA0


def metadata(port, version, topics, create=False, operations=False):
    """topics: None = all, or names, or (name, id). Gives what is looked at here: brokers, controller, cluster operations, topics by name or id."""
    flex = version >= 9
    text = (lambda s: b"\0" if s is None else bytes([len(s) + 1]) + s.encode()) if flex else wire.string

    def one(t):
        name, uid = t if isinstance(t, tuple) else (t, bytes(16))
        return (uid if version >= 10 else b"") + text(name) + (b"\0" if flex else b"")
    if flex:
        body = b"\0" + (b"\0" if topics is None else bytes([len(topics) + 1]) + b"".join(one(t) for t in topics))
    else:
        body = array(topics, one)
    if version >= 4:
        body += struct.pack(">?", create)
    if version >= 8:
        body += (struct.pack(">?", operations) if version <= 10 else b"") + struct.pack(">?", operations)
    w = wire.Conn(port)
    r = wire.Reader(w.call(wire.METADATA, version, body + (b"\0" if flex else b"")))
    w.close()

    def length(r):
        n = r.take("B") if flex else r.take("i")
        if flex and n > 127:
            n = n - 128 + (r.take("B") << 7)
        return n - 1 if flex else n

    def string(r):
        if not flex:
            return r.string()
        n = length(r)
        if n < 0:
            return None
        r.at += n
        return r.data[r.at - n:r.at].decode()

    def tags(r):
        if flex:
            check(r.take("B") == 0, "no tagged fields")

    def ids(r):
        return [r.take("i") for _ in range(length(r))]

    def partition(r):
        code, index, leader = r.take("hii")
        epoch = r.take("i") if version >= 7 else None
        out = (index, code, leader, ids(r), ids(r), ids(r) if version >= 5 else None)
        tags(r)
        check(epoch is None or epoch >= 0, "leader epoch %s", epoch)
        return out

    def topic(r):
        code, name = r.take("h"), string(r)
        uid = None
        if version >= 10:
            uid = r.data[r.at:r.at + 16]
            r.at += 16
        internal = r.take("?") if version >= 1 else None
        parts = [partition(r) for _ in range(length(r))]
        ops = r.take("i") if version >= 8 else None
        tags(r)
        return name, {"code": code, "id": uid, "internal": internal, "partitions": {p[0]: p[1:] for p in parts}, "operations": ops}
    tags(r)
    if version >= 3:
        r.take("i")
    out = {"brokers": []}
    for _ in range(length(r)):
        out["brokers"].append(r.take("i"))
        string(r)
        r.take("i")
        if version >= 1:
            string(r)
        tags(r)
    out["cluster"] = string(r) if version >= 2 else None
    out["controller"] = r.take("i") if version >= 1 else None
    out["topics"] = [topic(r) for _ in range(length(r))]
    out["operations"] = r.take("i") if 8 <= version <= 10 else None
    tags(r)
    r.end()
    return out


def metadata_forms(c):
    """Every form of Metadata, every version: what is asked, what is told, which error where; as recordings of Kafka 3.9.1 have it."""
    extra = {b: c.opt.ports.take() for b in (1, 2)}
    c.zk_start()
    c.add_controller(101).start()
    for b in (1, 2, 3):
        port, more = c.opt.ports.take(), {}
        if b != 3:  # the third has no listener of that name
            more = {"listeners": "PLAINTEXT://127.0.0.1:%d,EXTRA://127.0.0.1:%d" % (port, extra[b]), "listener__security__protocol__map": "PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT"}
        c.add_broker(b, port=port, inter__broker__listener__name="PLAINTEXT", auto__create__topics__enable="false", **more).start()
    c.wait_serving()
    c.create_topic("t", 3, 3)
    c.create_topic("u", 1, 1)
    c.isr_is("t", 3, 3)
    uid = {}
    for version in range(13):
        got = metadata(c.port(1), version, ["t", "nope", "in valid", "t"] + (["__consumer_offsets"] if version else []))
        topics = dict(got["topics"])
        check(len(topics) == len(got["topics"]), "v%d: each topic once: %s", version, got["topics"])
        check(got["brokers"] == [1, 2, 3] and got["controller"] in (None, 1), "v%d: %s", version, got)
        check(topics["nope"]["code"] == UNKNOWN_TOPIC and topics["in valid"]["code"] == INVALID_TOPIC, "v%d: %s", version, topics)
        check(topics["nope"]["partitions"] == {} and topics["nope"]["id"] in (None, bytes(16)), "v%d: %s", version, topics["nope"])
        check(all(p[0] == NONE and p[1] == p[2][0] and sorted(p[3]) == [1, 2, 3] and not p[4] for p in topics["t"]["partitions"].values()), "v%d: %s", version, topics["t"])
        check(len(topics["t"]["partitions"]) == 3, "v%d: all partitions", version)
        if version:
            check(topics["__consumer_offsets"]["internal"] and not topics["t"]["internal"], "v%d: internal", version)
        check(got["operations"] in (None, ASKED_NOT) and all(t["operations"] in (None, ASKED_NOT) for t in topics.values()), "v%d: operations are not asked for", version)
        every = {n for n, _ in metadata(c.port(1), version, None if version else [])["topics"]}
        check(every == {"t", "u"}, "v%d: all topics: %s", version, every)
        if version:
            check(metadata(c.port(1), version, [])["topics"] == [], "v%d: brokers only", version)
        if version >= 8:
            got = metadata(c.port(1), version, ["t", "nope"], operations=True)
            check(got["operations"] in (None, CLUSTER_OPERATIONS) and all(t["operations"] == TOPIC_OPERATIONS for _, t in got["topics"]), "v%d: operations: %s", version, got)
        if version in (10, 11):
            uid["t"] = topics["t"]["id"]
            for bad in ((None, bytes(16)), ("t", uid["t"])):
                got = metadata(c.port(1), version, ["u", bad])
                check(got["brokers"] == [] and got["cluster"] is None and [t["code"] for _, t in got["topics"]] == [INVALID_REQUEST] * 2, "v%d: ids are not taken yet: %s", version, got)
    got = metadata(c.port(1), 12, [(None, uid["t"]), (None, b"\1" * 16), "u"])
    codes = {name: t["code"] for name, t in got["topics"]}
    check(codes == {"t": NONE, None: 100}, "by id; names beside ids are not looked at: %s", codes)
    # a listener that one broker lacks
    for version, code in ((0, 5), (5, 5), (6, 72), (12, 72)):
        got = metadata(extra[1], version, ["t"])
        check(got["brokers"] == [1, 2], "v%d: brokers of that listener: %s", version, got["brokers"])
        parts = got["topics"][0][1]["partitions"].values()
        led = [p for p in parts if p[1] == -1]
        check(len(led) == 1 and led[0][0] == code, "v%d: its partition has error %d: %s", version, code, parts)
        if version == 0:
            check(all(p[0] == 9 and sorted(p[2]) == [1, 2] for p in parts if p[1] != -1), "v0: others lack a replica: %s", parts)
    # a broker that is down
    c.broker(3).kill()
    for b in (1, 2):
        def moved(b=b):
            got = metadata(c.port(b), 12, ["t"])
            return got["brokers"] == [1, 2] and all(p[0] == 0 and p[1] != 3 for p in got["topics"][0][1]["partitions"].values())
        c.until(moved, "broker %d is told that it is dead and others lead" % b, 10)
    for version in (0, 1, 5, 12):
        parts = metadata(c.port(2), version, ["t"])["topics"][0][1]["partitions"].values()
        check(all(p[0] == (9 if version == 0 else 0) and len(p[2]) == (2 if version == 0 else 3) and (p[4] in ([3], None)) for p in parts), "v%d: %s", version, parts)


CASES = {f.__name__: f for f in (asked_without_zookeeper, id_lost, partitions, partitions_by_hand, elections, delete_of_records, deleted_stays_deleted, deleted_while_away, logs, lost_directory, metadata_forms)}
