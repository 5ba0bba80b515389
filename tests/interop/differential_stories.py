"""differential_stories.py: sequences of requests in which what came before decides (see differential.py)."""
import struct

import records
from differential_cases import ASSIGNMENT, SUBSCRIPTION, committed, committing, fetch, joining, member, produce, story, syncing
from records import NOW, batch, message_set


# ---- frames ----

@story("ApiVersions", first=4)
def unknown_apis_and_versions(s, _):
    """Whatever a broker does not speak closes the connection; ApiVersions alone is answered."""
    def raw(label, key, version, body=b"", head=b"\0\4test"):
        c = s.open()
        frame = struct.pack(">hhi", key, version, 7) + head + body
        c.raw(struct.pack(">i", len(frame)) + frame)
        try:
            corr, answer = c.answer()
            s.note(label, "%d: %s" % (corr, answer.hex() if key == 18 and version > 4 else "an answer"))
        except TimeoutError:
            s.note(label, "no answer")
        except OSError:
            s.note(label, "closed")
    for version in (5, 99, 32767):
        raw("ApiVersions %d" % version, 18, version, b"\0\5test\0021\0")
    raw("ApiVersions -1", 18, -1)
    for key in (-1, 70, 71, 74, 75, 999):
        raw("key %d" % key, key, 0)
    for name, (first, last) in sorted(s.ranges.items()):
        if name != "ApiVersions":
            raw("%s above" % name, s.apis[name].key, last + 1)
            raw("%s below" % name, s.apis[name].key, first - 1)
    raw("no body", 3, 1)
    raw("client id too long", 3, 1, head=b"\x7f\xfftest")
    raw("client id null", 3, 1, b"\0\0\0\0", head=b"\xff\xff")
    raw("a byte too many", 3, 1, b"\0\0\0\0\0")
    raw("tag in the header", 18, 3, b"\5test\0021\0", head=b"\0\4test\1\5\1x")
    raw("tag in the body", 18, 3, b"\5test\0021\1\5\1x", head=b"\0\4test\0")


@story("ApiVersions", first=4)
def bad_frames(s, _):
    for label, data in (("size -1", b"\xff\xff\xff\xff"), ("size 0", b"\0\0\0\0"), ("size 3", b"\0\0\0\3abc"), ("size too large", b"\x7f\xff\xff\xff"), ("an HTTP request", b"GET / HTTP/1.1\r\n\r\n")):
        c = s.open()
        c.raw(data)
        s.note(label, "closed" if c.is_closed(3.0) else "open")


# ---- Produce ----

def log_of(s, topic, what=""):
    """What is in the log afterwards, and its ends."""
    s.ask("ListOffsets", 5, {"replica_id": -1, "topics": [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -1}]}]}, what + "end of the log")
    s.ask("Fetch", 12, fetch(s, topic), what + "the log")


def try_batches(s, v, topic, forms, what=""):
    for label, data in forms:
        s.ask("Produce", v, produce(topic, data), what + label)
    log_of(s, topic, what)


@story("Produce", first=3, needs=("Fetch", "ListOffsets"))
def batches(s, v):
    name = "t-batches-%d" % v
    s.create(name)
    good = batch()
    try_batches(s, v, name, (
        ("good", good), ("with records of null value", batch([b"a", None])), ("with null key", batch(key=None)), ("gzip", batch(attributes=1)), ("crc wrong", batch(crc_xor=1)),
        ("base offset 5", batch(base=5)), ("count too high", batch(count=3)), ("count too low", batch(count=1)), ("count 0", batch(count=0)), ("count -1", batch(count=-1)),
        ("last delta wrong", batch(last_delta=5)), ("control bit", batch(attributes=0x20)), ("transactional bit", batch(attributes=0x10)),
        ("transactional bit with producer", batch(attributes=0x10, producer=(1, 0, 0))), ("codec 5", batch(attributes=5)), ("codec 7", batch(attributes=7)),
        ("compressed garbage gzip", batch(attributes=1, inside=b"garbage")), ("compressed garbage snappy", batch(attributes=2, inside=b"garbage")),
        ("compressed garbage lz4", batch(attributes=3, inside=b"garbage")), ("compressed garbage zstd", batch(attributes=4, inside=b"garbage")),
        ("no records", batch([], count=0)), ("empty", b""), ("cut", good[:-1]), ("61 bytes", good[:61]), ("60 bytes", good[:60]), ("11 bytes", good[:11]),
        ("two", good + good), ("length too small", batch(length_add=-10)), ("length too large", batch(length_add=10)), ("length negative", batch(length_add=-1000)),
        ("magic 3", batch(magic=3)), ("magic -1", batch(magic=-1)), ("partition leader epoch 7", batch(epoch=7)), ("timestamp -1", batch(timestamp=-1)), ("timestamp -2", batch(timestamp=-2)),
        ("timestamp of the year 2100", batch(timestamp=4102444800000)), ("log append time bit", batch(attributes=8)), ("unknown attribute bits", batch(attributes=0x100)),
        ("inside garbage", batch(inside=b"\1\2\3")), ("inside too long", batch(inside=records.record(0, b"a") + records.record(1, b"b") + b"xx")),
        ("a record too few", batch(inside=records.record(0, b"a"))),
        ("producer id without sequence", batch(producer=(5, 0, -1))), ("producer epoch -1", batch(producer=(5, -1, 0)))))


@story("Produce", first=3)
def tolerated(s, v):
    """What Kafka takes, and changes on the way."""
    for name in ("", "tx"):
        s.ask("Produce", v, produce("d-old", batch(), transactional_id=name), "transactional_id '%s'" % name)
    s.ask("Produce", v, produce("d-old", batch() + b"tail"), "a tail")
    s.ask("Produce", v, produce("d-old", batch(inside=records.record(1, b"a") + records.record(0, b"b"))), "deltas wrong")


@story("Produce", first=9, last=9)
def no_records(s, v):
    """One version is enough: Kafka's silence takes seconds."""
    s.ask("Produce", v, produce("d-old", None), "null")


@story("Produce", first=3, needs=("Fetch", "ListOffsets"))
def limits(s, v):
    s.ask("Produce", v, produce("d-small", batch([b"x" * 600])), "larger than max.message.bytes")
    s.ask("Produce", v, produce("d-small", batch([b"x" * 5000], attributes=1)), "smaller when compressed")
    name = "t-segment-%d" % v
    s.create(name, segment__bytes=2000, max__message__bytes=10000)
    try_batches(s, v, name, (("larger than a segment", batch([b"x" * 3000])), ("fits", batch([b"x" * 1500])), ("fits again", batch([b"x" * 1500]))))
    name = "t-append-%d" % v
    s.create(name, message__timestamp__type="LogAppendTime")
    try_batches(s, v, name, (("append time", batch()), ("append time, gzip", batch(attributes=1)), ("append time, step", batch(step=5))))
    name = "t-times-%d" % v
    s.create(name, message__timestamp__before__max__ms=1000, message__timestamp__after__max__ms=1000)
    try_batches(s, v, name, (("too old", batch()), ("too new", batch(timestamp=4102444800000)), ("one of them", batch(timestamp=-1, step=0)), ("gzip too old", batch(attributes=1))))


@story("Produce", first=3, needs=("Fetch", "ListOffsets", "InitProducerId"))
def sequences(s, v):
    name = "t-sequences-%d" % v
    s.create(name)
    pid = s.quietly("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": 60000})["producer_id"]
    forms = [("first", 0, 0, 2), ("next", 0, 2, 2), ("again", 0, 2, 2), ("first again", 0, 0, 2), ("a gap", 0, 9, 2), ("an overlap", 0, 3, 2), ("a duplicate of another length", 0, 2, 1),
             ("newer epoch not from 0", 1, 4, 1), ("newer epoch", 1, 0, 1), ("older epoch", 0, 4, 1), ("epoch -1", -1, 1, 1), ("next of the newer", 1, 1, 1)]
    for label, epoch, sequence, n in forms:
        s.ask("Produce", v, produce(name, batch([b"v"] * n, producer=(pid, epoch, sequence))), label)
    for i in range(6):
        s.ask("Produce", v, produce(name, batch([b"v"], producer=(pid, 1, 2 + i))), "number %d" % i)
    for i in range(7):
        s.ask("Produce", v, produce(name, batch([b"v"], producer=(pid, 1, 1 + i))), "repeated number %d" % i)
    s.ask("Produce", v, produce(name, batch([b"v"], producer=(pid + 100000, 3, 77))), "unknown producer from 77")
    s.ask("Produce", v, produce(name, batch([b"v"] * 3, producer=(pid + 100001, 0, 2147483646))), "before the wrap")
    s.ask("Produce", v, produce(name, batch([b"v"], producer=(pid + 100001, 0, 1))), "after the wrap")
    log_of(s, name)


@story("Produce", first=3)
def addresses(s, v):
    good = batch()
    def parts(*which):
        return [{"index": i, "records": good} for i in which]
    def of(*topics, acks=-1):
        return {"acks": acks, "timeout_ms": 2000, "topic_data": [{"name": n, "partition_data": p} for n, p in topics]}
    s.ask("Produce", v, of(("d-many", parts(0, 1, 2))), "three partitions")
    s.ask("Produce", v, of(("d-many", parts(0, 7)), ("no-such", parts(0))), "some unknown")
    s.ask("Produce", v, of(("d-many", parts(0)), ("d-many", parts(1))), "one topic in two entries")
    s.ask("Produce", v, of(("d-many", parts(-1))), "partition -1")
    s.ask("Produce", v, of(("d-many", parts(0)), acks=1), "acks 1")
    s.ask("Produce", v, of(("d-many", parts(0, 7)), acks=2), "acks 2")
    s.ask("Produce", v, of(("d-many", parts(0)), acks=-2), "acks -2")
    s.ask("Produce", v, of(("", parts(0))), "empty name")
    s.ask("Produce", v, of(("__consumer_offsets", parts(0))), "internal topic")
    for label, topics in (("acks 0", [("d-many", parts(0))]), ("acks 0, unknown partition", [("d-many", parts(9))]), ("acks 0, bad batch", [("d-many", [{"index": 0, "records": batch(crc_xor=1)}])])):
        c = s.open()
        c.raw(c.request("Produce", v, of(*topics, acks=0)))
        s.ask("ApiVersions", 0, {}, label + ": the next answer", conn=c)


@story("Produce", last=2, needs=("Fetch", "ListOffsets"))
def formats_of_old(s, v):
    name = "t-old-%d" % v
    s.create(name)
    try_batches(s, v, name, (("magic 0", message_set(0)), ("magic 1", message_set(1)), ("magic 2", batch()), ("two batches", batch() + batch()), ("empty", b""), ("crc wrong", message_set(1, crc_xor=1))), "old formats: ")


# ---- Fetch ----

@story("Fetch", first=7)
def sessions(s, v):
    def ask(label, session, epoch, topics=None, forgotten=()):
        q = fetch(s, "d-one", 8)
        q.update(session_id=session, session_epoch=epoch, forgotten_topics_data=list(forgotten))
        if topics is not None:
            q["topics"] = topics
        return s.ask("Fetch", v, q, label)
    many = {"topic": "d-three", "topic_id": s.id_of("d-three"), "partitions": [{"partition": 1, "fetch_offset": 0, "partition_max_bytes": 1000}]}
    bad = {"topic": "no-such", "topic_id": bytes(range(16)), "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1000}]}
    answer = ask("full", 0, 0)
    n = answer["session_id"] if isinstance(answer, dict) else 0
    ask("nothing new", n, 1, [])
    ask("the same again", n, 2)
    ask("wrong epoch", n, 7, [])
    ask("epoch again", n, 3, [])
    ask("another partition", n, 4, [many])
    ask("nothing new of two", n, 5, [])
    ask("forget one", n, 6, [], [{"topic": "d-three", "topic_id": s.id_of("d-three"), "partitions": [1]}])
    ask("forget what is not there", n, 7, [], [{"topic": "d-three", "topic_id": s.id_of("d-three"), "partitions": [1, 9]}])
    ask("unknown topic", n, 8, [bad])
    ask("unknown topic again", n, 9, [])
    ask("close", n, -1, [])
    ask("after the close", n, 10, [])
    ask("unknown session", 12345, 1, [])
    ask("session without id, epoch 3", 0, 3)
    ask("close of none", 0, -1)
    ask("negative id", -5, 1, [])


@story("Fetch")
def ranges(s, v):
    for label, q in (("offset 1", {"offset": 1}), ("offset 9", {"offset": 9}), ("the end", {"offset": 10}), ("beyond", {"offset": 11}), ("negative", {"offset": -1}),
                     ("partition bytes 0", {"partition_max_bytes": 0}), ("partition bytes 1", {"partition_max_bytes": 1}), ("partition bytes 80", {"partition_max_bytes": 80}),
                     ("bytes 0", {"max_bytes": 0}), ("bytes 1", {"max_bytes": 1}), ("bytes 100", {"max_bytes": 100}), ("epoch 0", {"current_leader_epoch": 0}),
                     ("epoch 5", {"current_leader_epoch": 5}), ("epoch -2", {"current_leader_epoch": -2}), ("last epoch 0", {"last_fetched_epoch": 0, "current_leader_epoch": 0}),
                     ("last epoch 3", {"last_fetched_epoch": 3}), ("partition 7", {"partition": 7}), ("committed", {"isolation_level": 1}), ("isolation 2", {"isolation_level": 2}),
                     ("a follower that is none", {"replica_id": 5, "replica_state": {"replica_id": 5, "replica_epoch": -1}}), ("rack", {"rack_id": "r"}),
                     ("min bytes more than there is", {"min_bytes": 1 << 20, "wait": 30}), ("another cluster", {"cluster_id": "other"})):
        q = dict(q)
        offset, wait = q.pop("offset", 0), q.pop("wait", 0)
        s.ask("Fetch", v, fetch(s, "d-one", offset, wait, **q), label)
    q = fetch(s, "d-one", 4)
    q["topics"] += fetch(s, "d-three")["topics"] + fetch(s, "d-one", 6)["topics"]
    s.ask("Fetch", v, q, "topics and one of them twice")
    q = fetch(s, "d-three")
    q["topics"][0]["partitions"] = [{"partition": i, "fetch_offset": 0, "partition_max_bytes": 50} for i in (2, 0, 9, 1)]
    s.ask("Fetch", v, q, "partitions in another order")
    s.ask("Fetch", v, fetch(s, "d-append"), "empty log")


# ---- ListOffsets, OffsetForLeaderEpoch ----

@story("ListOffsets")
def timestamps(s, v):
    for t in (-6, -5, -4, -3, -2, -1, 0, NOW - 1, NOW, NOW + 5, NOW + 10, NOW + 11, NOW + 2000, NOW + 4010, NOW + 4011, 1 << 62):
        for level in (0, 1) if v >= 2 and t in (-1, NOW) else (0,):
            s.ask("ListOffsets", v, {"replica_id": -1, "isolation_level": level, "topics": [{"name": "d-one", "partitions": [
                {"partition_index": 0, "timestamp": t, "max_num_offsets": 5}]}]}, "time %s" % (t if t < 0 else "NOW%+d" % (t - NOW)))
        s.ask("ListOffsets", v, {"replica_id": -1, "topics": [{"name": "d-append", "partitions": [{"partition_index": 0, "timestamp": t, "max_num_offsets": 5}]}]},
              "empty log, time %s" % (t if t < 0 else "NOW%+d" % (t - NOW)))
    for replica in (-3, -2, 0, 1, 2):
        s.ask("ListOffsets", v, {"replica_id": replica, "topics": [{"name": "d-one", "partitions": [{"partition_index": 0, "timestamp": -1, "max_num_offsets": 1}]}]}, "replica %d" % replica)
    for epoch in (-1, 0, 1):
        s.ask("ListOffsets", v, {"replica_id": -1, "topics": [{"name": "d-one", "partitions": [{"partition_index": 0, "timestamp": -1, "max_num_offsets": 1, "current_leader_epoch": epoch}]}]},
              "epoch %d" % epoch)


@story("OffsetForLeaderEpoch")
def epochs(s, v):
    for replica in (-1, -2, 0, 1, 2):
        for current in (-1, 0, 1):
            for epoch in (-1, 0, 1, 5):
                s.ask("OffsetForLeaderEpoch", v, {"replica_id": replica, "topics": [{"topic": "d-one", "partitions": [
                    {"partition": 0, "current_leader_epoch": current, "leader_epoch": epoch}]}]}, "replica %d, current %d, epoch %d" % (replica, current, epoch))


# ---- Metadata, topics ----

@story("Metadata")
def lists(s, v):
    s.ask("Metadata", v, {"topics": [], "allow_auto_topic_creation": False}, "empty list")
    if v >= 1:
        s.ask("Metadata", v, {"topics": None, "allow_auto_topic_creation": False}, "all")
    s.ask("Metadata", v, {"topics": [{"name": n} for n in ("d-one", "no-such", "d-many", "", "bad name!", "d-one")], "allow_auto_topic_creation": False}, "some")
    if v >= 8:
        s.ask("Metadata", v, {"topics": [{"name": "d-one"}], "include_cluster_authorized_operations": True, "include_topic_authorized_operations": True}, "operations")


@story("CreateTopics", needs=("Metadata", "DescribeConfigs"))
def creations(s, v):
    number = [0]
    def ask(label, topics, validate=False, timeout=5000):
        s.ask("CreateTopics", v, {"topics": topics, "timeout_ms": timeout, "validate_only": validate}, label)
    def name():
        number[0] += 1
        return "t-created-%d-%d" % (v, number[0])
    def plain(n=None, partitions=1, factor=1, configs=(), assignments=()):
        return {"name": name() if n is None else n, "num_partitions": partitions, "replication_factor": factor,
                "configs": [{"name": k, "value": x} for k, x in configs], "assignments": [{"partition_index": p, "broker_ids": b} for p, b in assignments]}
    ask("validate only", [plain()], True)
    ask("two", [plain(), plain()])
    ask("exists", [plain("d-one")])
    ask("one good, one bad", [plain(), plain("d-one"), plain("bad name!")])
    ask("the same name twice", [plain("t-twice-%d" % v), plain("t-twice-%d" % v)])
    ask("collides", [plain("d_one"), plain("d.one")])
    for bad in ("", ".", "..", "x" * 249, "x" * 250, "a/b", "ä", "__consumer_offsets2"):
        ask("name %s" % (bad if len(bad) < 20 else len(bad)), [plain(bad)], v >= 1)
    for partitions, factor in ((-1, -1), (-1, 1), (1, -1), (0, 1), (1, 0), (-2, 1), (1, -2), (1, 2), (3, 1)):
        ask("%d partitions, factor %d" % (partitions, factor), [plain(None, partitions, factor)])
    for what, rows in (("not from 0", [(1, [1])]), ("a hole", [(0, [1]), (2, [1])]), ("twice", [(0, [1]), (0, [1])]), ("no broker", [(0, [])]), ("unknown broker", [(0, [9])]),
                       ("broker twice", [(0, [1, 1])]), ("negative broker", [(0, [-1])]), ("different sizes", [(0, [1]), (1, [1, 2])]), ("good", [(0, [1]), (1, [1])])):
        ask("assigned: " + what, [plain(None, -1, -1, (), rows)])
    ask("assigned and counted", [plain(None, 1, 1, (), [(0, [1])])])
    for key, value in (("no.such.key", "1"), ("retention.ms", "x"), ("retention.ms", "-2"), ("retention.ms", None), ("retention.ms", ""), ("retention.ms", " 5 "), ("cleanup.policy", "compact"), ("cleanup.policy", "compact,delete"),
                       ("cleanup.policy", "bad"), ("cleanup.policy", ""), ("compression.type", "rar"), ("segment.bytes", "13"), ("segment.bytes", "14"), ("max.message.bytes", "-1"), ("min.insync.replicas", "0"),
                       ("min.cleanable.dirty.ratio", "1.5"), ("message.timestamp.type", "Other"), ("preallocate", "maybe"), ("segment.ms", "0"), ("message.format.version", "2.0"), ("min.insync.replicas", "2"),
                       ("unclean.leader.election.enable", "TRUE"), ("segment.index.bytes", "3"), ("local.retention.ms", "5"), ("remote.storage.enable", "true"),
                       ("follower.replication.throttled.replicas", "x"), ("leader.replication.throttled.replicas", "*"), ("flush.messages", "1"), ("file.delete.delay.ms", "1"), ("index.interval.bytes", "0")):
        ask("config %s=%s" % (key, value), [plain(None, 1, 1, [(key, value)])])
    ask("config twice", [plain(None, 1, 1, [("retention.ms", "5"), ("retention.ms", "6")])])
    ask("no topics", [])


@story("DeleteTopics")
def deletions(s, v):
    def ask(label, names, ids=()):
        s.ask("DeleteTopics", v, {"topic_names": list(names), "topics": [{"name": n} for n in names] + [{"name": None, "topic_id": i} for i in ids], "timeout_ms": 5000}, label)
    for i in range(3):
        s.create("t-deleted-%d-%d" % (v, i))
    ask("one", ["t-deleted-%d-0" % v])
    ask("again", ["t-deleted-%d-0" % v])
    ask("one, an unknown one, a bad name", ["t-deleted-%d-1" % v, "no-such", "bad name!", ""])
    ask("twice", ["t-deleted-%d-2" % v] * 2)
    ask("none", [])
    if v >= 6:
        s.create("t-deleted-id")
        ask("by id", [], [s.id_of("t-deleted-id")])
        ask("by id again", [], [s.id_of("t-deleted-id"), bytes(16)])
        s.ask("DeleteTopics", v, {"topics": [{"name": "d-one", "topic_id": s.id_of("d-one")}], "timeout_ms": 5000}, "name and id")


@story("DescribeConfigs")
def described(s, v):
    def ask(label, kind, name, keys=None, **more):
        s.ask("DescribeConfigs", v, dict({"resources": [{"resource_type": kind, "resource_name": name, "configuration_keys": keys}]}, **more), label)
    ask("topic", 2, "d-many")
    ask("topic with synonyms", 2, "d-small", include_synonyms=True)
    ask("topic with documentation", 2, "d-append", include_documentation=True, include_synonyms=True)
    ask("topic, no keys", 2, "d-one", [])
    ask("topic, unknown key", 2, "d-one", ["no.such", "retention.ms"])
    ask("topic unknown", 2, "no-such")
    ask("topic, bad name", 2, "bad name!")
    ask("defaults", 4, "")
    ask("broker", 4, "1", ["log.retention.hours", "num.partitions", "message.max.bytes", "ssl.key.password", "broker.id", "no.such", "min.insync.replicas", "log.segment.bytes", "unclean.leader.election.enable"],
        include_synonyms=True)
    ask("broker unknown", 4, "9")
    ask("broker no number", 4, "x")
    for kind in (0, 1, 3, 8, 16, 32, 99, -1):
        ask("resource type %d" % kind, kind, "1" if kind == 8 else "d-one", ["kafka"])


# ---- groups ----

GROUP_APIS = ("FindCoordinator", "JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup", "OffsetCommit", "OffsetFetch", "DescribeGroups")


@story("FindCoordinator")
def coordinators(s, v):
    for kind in (0, 1, 2, 3, -1) if v >= 1 else (0,):
        if v >= 4:
            s.ask("FindCoordinator", v, {"key_type": kind, "coordinator_keys": ["a", "b", "", "a"]}, "keys of type %d" % kind)
        else:
            for key in ("a", ""):
                s.ask("FindCoordinator", v, {"key": key, "key_type": kind}, "key '%s' of type %d" % (key, kind))


def watch(s, group, label):
    s.ask("DescribeGroups", 5, {"groups": [group]}, label + ": the group")


@story("JoinGroup", needs=GROUP_APIS)
def a_rebalance(s, v):
    """Two members: the second comes, both join again, the second leaves."""
    group = "g-rebalance-%d" % v
    sync, beat, leave = min(v, s.top("SyncGroup")), min(v, s.top("Heartbeat")), min(v, 2)
    a, b = s.open("client-a"), s.open("client-b")

    def join(conn, who, label):
        answer = s.ask("JoinGroup", v, joining(group, who, protocols=(("range", SUBSCRIPTION), ("roundrobin", SUBSCRIPTION + b"a"))), label, conn=conn)
        if answer["error_code"] == 79:
            answer = s.ask("JoinGroup", v, joining(group, answer["member_id"], protocols=(("range", SUBSCRIPTION), ("roundrobin", SUBSCRIPTION + b"a"))), label + ", with the id", conn=conn)
        return answer["member_id"]
    first = join(a, "", "first")
    watch(s, group, "before the sync")
    s.ask("Heartbeat", beat, {"group_id": group, "generation_id": 1, "member_id": first}, "heartbeat before the sync")
    s.ask("OffsetCommit", 7, committing(group, generation=1, who=first), "commit before the sync")
    s.ask("SyncGroup", sync, syncing(group, 1, first), "sync", conn=a)
    s.ask("SyncGroup", sync, syncing(group, 1, first), "sync again", conn=a)
    watch(s, group, "stable")
    s.ask("OffsetCommit", 7, committing(group, generation=1, who=first), "commit")
    for label, generation, who in (("of another generation", 2, first), ("of an older generation", 0, first), ("of an unknown member", 1, "nobody"), ("of no member", 1, ""), ("as a simple consumer", -1, "")):
        s.ask("Heartbeat", beat, {"group_id": group, "generation_id": generation, "member_id": who}, "heartbeat " + label)
        s.ask("OffsetCommit", 7, committing(group, generation=generation, who=who), "commit " + label)
        s.ask("SyncGroup", sync, syncing(group, generation, who), "sync " + label)
    # the second member waits in its join until the first joins again
    if v >= 4:
        second = s.ask("JoinGroup", v, joining(group), "second", conn=b)["member_id"]
    else:
        second = ""
    b.raw(b.request("JoinGroup", v, joining(group, second)))
    s.until("the rebalance", lambda: s.quietly("DescribeGroups", {"groups": [group]}, version=4)["groups"][0]["group_state"] == "PreparingRebalance")
    s.ask("Heartbeat", beat, {"group_id": group, "generation_id": 1, "member_id": first}, "heartbeat in the rebalance")
    s.ask("OffsetCommit", 7, committing(group, generation=1, who=first, offset=7), "commit in the rebalance")
    s.ask("SyncGroup", sync, syncing(group, 1, first), "sync in the rebalance")
    join(a, first, "first again")
    answer = b.receive("JoinGroup", v)
    s.answers.append(("second", "JoinGroup", answer))
    second = answer["member_id"]
    b.raw(b.request("SyncGroup", sync, syncing(group, 2, second, assign=False)))
    s.ask("SyncGroup", sync, {"group_id": group, "generation_id": 2, "member_id": first, "protocol_type": "consumer", "protocol_name": "range", "assignments": [
        {"member_id": second, "assignment": ASSIGNMENT}, {"member_id": "nobody", "assignment": b"x"}]}, "the leader's sync", conn=a)
    s.answers.append(("the other's sync", "SyncGroup", b.receive("SyncGroup", sync)))
    watch(s, group, "two members")
    s.ask("JoinGroup", v, joining(group, second), "a follower joins again, unchanged", conn=b)
    s.ask("DeleteGroups", s.top("DeleteGroups"), {"groups_names": [group]}, "deletion while it lives") if "DeleteGroups" in s.ranges else None
    s.ask("LeaveGroup", leave, {"group_id": group, "member_id": second}, "the second leaves")
    s.ask("Heartbeat", beat, {"group_id": group, "generation_id": 2, "member_id": first}, "heartbeat afterwards")
    join(a, first, "first alone")
    s.ask("SyncGroup", sync, syncing(group, 3, first), "sync alone", conn=a)
    s.ask("LeaveGroup", leave, {"group_id": group, "member_id": first}, "the first leaves")
    watch(s, group, "empty")
    s.ask("OffsetFetch", 5, {"group_id": group, "topics": None}, "its offsets")
    s.ask("OffsetCommit", 7, committing(group, offset=9), "a simple commit when it is empty")
    s.ask("JoinGroup", v, joining(group, first), "a member that left joins")


@story("JoinGroup", first=5, needs=GROUP_APIS)
def static_members(s, v):
    group = "g-static-%d" % v
    a, b = s.open("client-a"), s.open("client-b")
    sync = min(v - 2, s.top("SyncGroup"))

    def syncs(who, generation, label, instance="i-1"):
        q = syncing(group, generation, who)
        q["group_instance_id"] = instance
        s.ask("SyncGroup", sync, q, label)
    first = s.ask("JoinGroup", v, joining(group, instance="i-1"), "first", conn=a)["member_id"]
    syncs(first, 1, "sync")
    watch(s, group, "stable")
    answer = s.ask("JoinGroup", v, joining(group, instance="i-1"), "the same instance again", conn=b)
    second = answer["member_id"]
    watch(s, group, "replaced")
    for label, who, instance in (("of the old id", first, "i-1"), ("of the new id", second, "i-1"), ("of another instance", second, "i-2"), ("without instance", second, None)):
        s.ask("Heartbeat", s.top("Heartbeat"), {"group_id": group, "generation_id": answer["generation_id"], "member_id": who, "group_instance_id": instance}, "heartbeat " + label)
        q = committing(group, generation=answer["generation_id"], who=who)
        q["group_instance_id"] = instance
        s.ask("OffsetCommit", 7, q, "commit " + label)
        syncs(who, answer["generation_id"], "sync " + label, instance)
    s.ask("JoinGroup", v, joining(group, first, instance="i-1"), "the old id joins")
    top = s.top("LeaveGroup")
    s.ask("LeaveGroup", top, {"group_id": group, "members": [{"member_id": "", "group_instance_id": "i-9"}, {"member_id": first, "group_instance_id": "i-1"}, {"member_id": "nobody"}]}, "who is not there leaves")
    s.ask("LeaveGroup", top, {"group_id": group, "members": [{"member_id": "", "group_instance_id": "i-1"}]}, "leaves by its instance")
    watch(s, group, "empty")


@story("JoinGroup", needs=GROUP_APIS)
def refusals(s, v):
    group = "g-refused-%d" % v
    for label, q in (("empty group", joining("")), ("session too short", joining(group, session=5999)), ("session too long", joining(group, session=1800001)), ("unknown member", joining(group, "nobody")),
                     ("no protocols", joining(group, protocols=())), ("no protocol type", joining(group, kind="")), ("rebalance timeout 0", joining(group + "-r", rebalance=0)),
                     ("rebalance timeout -1", joining(group + "-s", rebalance=-1)), ("metadata that is no subscription", joining(group + "-m", protocols=(("x", b"?"),)))):
        s.ask("JoinGroup", v, q, label)
    member(s, group + "-t")
    s.ask("JoinGroup", v, joining(group + "-t", kind="connect"), "another protocol type")
    s.ask("JoinGroup", v, joining(group + "-t", protocols=(("other", SUBSCRIPTION),)), "no protocol in common")


@story("OffsetCommit", needs=("OffsetFetch",) + GROUP_APIS)
def commits(s, v):
    group = "g-commits-%d" % v
    for label, q in (("a first", committing(group)), ("negative offset", committing(group, offset=-5)), ("large offset", committing(group, offset=1 << 62)), ("unknown topic", committing(group, name="no-such")),
                     ("unknown partition", committing(group, partition=7)), ("metadata null", committing(group, metadata=None)), ("metadata empty", committing(group, metadata="")),
                     ("metadata of 4096", committing(group, metadata="m" * 4096)), ("metadata of 4097", committing(group, metadata="m" * 4097)), ("epoch 3", committing(group, epoch=3)),
                     ("generation 0 of no group", committing(group + "-x", generation=0, who="m")), ("generation -1 with a member", committing(group + "-y", who="m")), ("empty group", committing("")),
                     ("internal topic", committing(group, name="__consumer_offsets"))):
        s.ask("OffsetCommit", v, q, label)
        asked = {"group_id": q["group_id"], "topics": [{"name": "d-one", "partition_indexes": [0]}]}
        s.ask("OffsetFetch", min(v, 1), asked, label + ": read again")
        if v >= 1 and q["group_id"]:
            s.ask("OffsetFetch", 5, asked, label + ": read again with 5")
    both = committing(group)
    both["topics"] += committing(group, name="no-such")["topics"] + committing(group, name="d-many", partition=2, offset=5)["topics"]
    s.ask("OffsetCommit", v, both, "some unknown")
    s.ask("OffsetFetch", 5 if v else 0, {"group_id": group, "topics": [{"name": n, "partition_indexes": [0, 2]} for n in ("d-one", "d-many", "no-such")]}, "all of them")


@story("OffsetFetch", needs=GROUP_APIS)
def offsets(s, v):
    group = committed(s, "g-fetched-%d" % v, metadata="text", epoch=4)
    committed(s, group, name="d-many", partition=2, offset=8)

    def ask(label, topics, groups=None, stable=False):
        if v < 2 and topics is None:
            return
        s.ask("OffsetFetch", v, {"group_id": group, "topics": topics, "require_stable": stable, "groups": groups or [{"group_id": group, "topics": topics}]}, label)
    ask("all", None)
    ask("none", [])
    ask("stable", None, stable=True)
    ask("some, unknown too", [{"name": "d-many", "partition_indexes": [0, 2, 9, -1]}, {"name": "no-such", "partition_indexes": [0]}])
    ask("twice", [{"name": "d-one", "partition_indexes": [0, 0]}] * 2)
    if v >= 8:
        ask("groups", None, [{"group_id": g, "topics": t} for g, t in ((group, None), ("no-such", None), ("no-such", [{"name": "d-one", "partition_indexes": [0]}]), ("", None))])
    if v >= 9:
        s.ask("OffsetFetch", v, {"groups": [{"group_id": group, "member_id": "m", "member_epoch": 3, "topics": None}]}, "a member of the new protocol")


@story("DescribeGroups", needs=GROUP_APIS)
def descriptions(s, v):
    group = "g-described-%d" % v
    member(s, group)
    committed(s, group + "-simple")
    s.ask("DescribeGroups", v, {"groups": [group, group + "-simple", "no-such", "", group], "include_authorized_operations": v >= 3}, "four")


@story("ListGroups", needs=GROUP_APIS)
def listings(s, v):
    member(s, "g-listed-%d" % v)
    committed(s, "g-listed-simple-%d" % v)
    for states in ([], ["Stable"], ["stable"], ["Empty", "Dead"], ["no-such"]) if v >= 4 else ([],):
        for types in ([], ["classic"], ["Classic"], ["consumer"], ["no-such"]) if v >= 5 else ([],):
            answer = s.quietly("ListGroups", {"states_filter": states, "types_filter": types}, version=v)
            answer["groups"] = [g for g in answer["groups"] if g["group_id"].startswith("g-listed") and g["group_id"].endswith("-%d" % v)]
            s.answers.append(("states %s, types %s" % (states, types), "ListGroups", answer))


@story("DeleteGroups", needs=("OffsetDelete",) + GROUP_APIS)
def removals(s, v):
    group = "g-removed-%d" % v
    committed(s, group)
    committed(s, group, name="d-many", partition=2)
    member(s, group + "-live")
    committed(s, group + "-live", generation=1, who=s.quietly("DescribeGroups", {"groups": [group + "-live"]}, version=4)["groups"][0]["members"][0]["member_id"])

    def drop(label, name, topics):
        s.ask("OffsetDelete", 0, {"group_id": name, "topics": [{"name": t, "partitions": [{"partition_index": p} for p in parts]} for t, parts in topics]}, label)
    drop("offsets, some unknown", group, [("d-many", (2, 9)), ("no-such", (0,))])
    drop("offsets of a subscribed topic", group + "-live", [("d-one", (0,))])
    drop("offsets of another topic", group + "-live", [("d-many", (0,))])
    drop("offsets of no group", "no-such", [("d-one", (0,))])
    drop("offsets of no group and no topic", "no-such", [("no-such", (0,))])
    s.ask("OffsetFetch", 5, {"group_id": group, "topics": None}, "what is left")
    s.ask("DeleteGroups", v, {"groups_names": [group, group + "-live", "no-such", "", group]}, "some")
    s.ask("OffsetFetch", 5, {"group_id": group, "topics": None}, "nothing is left")
    s.ask("DeleteGroups", v, {"groups_names": []}, "none")


# ---- everyday administration ----

@story("CreatePartitions", needs=("Metadata",))
def growth(s, v):
    name = "t-grown-%d" % v
    s.create(name)

    def ask(label, count, assignments=None, validate=False, topic=None):
        s.ask("CreatePartitions", v, {"topics": [{"name": topic or name, "count": count, "assignments": None if assignments is None else [{"broker_ids": b} for b in assignments]}],
            "timeout_ms": 5000, "validate_only": validate}, label)
        s.ask("Metadata", 5, {"topics": [{"name": topic or name}], "allow_auto_topic_creation": False}, label + ": afterwards")
    for label, count, rows in (("the same", 1, None), ("fewer", 0, None), ("too few assignments", 3, [[1]]), ("too many", 2, [[1], [1]]), ("unknown broker", 2, [[9]]), ("broker twice", 2, [[1, 1]]), ("no broker", 2, [[]])):
        ask(label, count, rows)
    ask("validate only", 4, validate=True)
    ask("two", 2)
    ask("four, assigned", 4, [[1], [1]])
    ask("unknown topic", 4, topic="no-such")
    s.ask("CreatePartitions", v, {"topics": [{"name": name, "count": 5}, {"name": name, "count": 6}], "timeout_ms": 5000}, "twice")


@story("DeleteRecords", needs=("ListOffsets", "Fetch"))
def shortened(s, v):
    name = "t-short-%d" % v
    s.create(name)
    for i in range(5):
        s.quietly("Produce", produce(name, batch([b"v"] * 4)), version=9)
    for offset in (3, 2, 0, -1, -2, 50, 20):
        s.ask("DeleteRecords", v, {"topics": [{"name": name, "partitions": [{"partition_index": 0, "offset": offset}]}], "timeout_ms": 5000}, "to %d" % offset)
        for when in (-1, -2):
            s.ask("ListOffsets", 5, {"replica_id": -1, "topics": [{"name": name, "partitions": [{"partition_index": 0, "timestamp": when}]}]}, "to %d: offset %d" % (offset, when))
        s.ask("Fetch", 12, fetch(s, name, 1), "to %d: a fetch from 1" % offset)
    s.ask("DeleteRecords", v, {"topics": [{"name": n, "partitions": [{"partition_index": p, "offset": 1}]} for n, p in ((name, 7), ("no-such", 0), ("", 0), ("__consumer_offsets", 0))], "timeout_ms": 5000}, "unknown")


@story("DescribeLogDirs")
def folders(s, v):
    for label, topics in (("one", [{"topic": "d-one", "partitions": [0]}]), ("unknown", [{"topic": "d-one", "partitions": [5]}, {"topic": "no-such", "partitions": [0]}]), ("none", [])):
        s.ask("DescribeLogDirs", v, {"topics": topics}, label)


@story("DescribeProducers", needs=("InitProducerId", "Produce"))
def producers(s, v):
    s.create("t-producers")
    pid = s.quietly("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": 60000})["producer_id"]
    s.quietly("Produce", produce("t-producers", batch(producer=(pid, 0, 0))), version=9)
    s.ask("DescribeProducers", v, {"topics": [{"name": "t-producers", "partition_indexes": [0, 3]}, {"name": "no-such", "partition_indexes": [0]}]}, "one, and unknown ones")


@story("ElectLeaders")
def elections(s, v):
    for kind in (0, 1, 2) if v >= 1 else (0,):
        for label, parts in (("one", [{"topic": "d-one", "partitions": [0]}]), ("unknown", [{"topic": "d-one", "partitions": [5]}, {"topic": "no-such", "partitions": [0]}]), ("none", [])):
            s.ask("ElectLeaders", v, {"election_type": kind, "topic_partitions": parts, "timeout_ms": 5000}, "type %d: %s" % (kind, label))


@story("IncrementalAlterConfigs", needs=("DescribeConfigs",))
def changes(s, v):
    s.create("t-changed-%d" % v)

    def ask(label, *rows, kind=2, name="t-changed-%d" % v, validate=False):
        s.ask("IncrementalAlterConfigs", v, {"resources": [{"resource_type": kind, "resource_name": name, "configs": [
            {"name": k, "config_operation": op, "value": x} for k, op, x in rows]}], "validate_only": validate}, label)
        if kind == 2 and name.startswith("t-"):
            keys = [k for k, _, _ in rows if k]
            s.until("the change", lambda: True)
            s.ask("DescribeConfigs", 3, {"resources": [{"resource_type": 2, "resource_name": name, "configuration_keys": keys}], "include_synonyms": True}, label + ": afterwards")
    ask("set", ("retention.ms", 0, "5000"))
    ask("delete", ("retention.ms", 1, None))
    ask("delete what is not set", ("retention.bytes", 1, None))
    ask("append to what is no list", ("retention.ms", 2, "1"))
    ask("append", ("leader.replication.throttled.replicas", 2, "0:1"))
    ask("append again", ("leader.replication.throttled.replicas", 2, "0:1"))
    ask("append another", ("leader.replication.throttled.replicas", 2, "1:1"))
    ask("subtract", ("leader.replication.throttled.replicas", 3, "0:1"))
    ask("subtract what is not there", ("leader.replication.throttled.replicas", 3, "7:1"))
    ask("null value", ("retention.ms", 0, None))
    ask("bad value", ("retention.ms", 0, "x"))
    ask("unknown key", ("no.such", 0, "1"))
    ask("empty key", ("", 0, "1"))
    ask("unknown operation", ("retention.ms", 7, "1"))
    ask("twice", ("retention.ms", 0, "1"), ("retention.ms", 0, "2"))
    ask("one bad of two", ("retention.ms", 0, "7000"), ("segment.bytes", 0, "x"))
    ask("validate only", ("retention.ms", 0, "9000"), validate=True)
    ask("nothing")
    ask("unknown topic", ("retention.ms", 0, "1"), name="no-such")
    ask("bad name", ("retention.ms", 0, "1"), name="bad name!")
    ask("unknown broker", ("log.retention.ms", 0, "1"), kind=4, name="9")
    ask("broker, read only", ("broker.id", 0, "1"), kind=4, name="1")
    ask("broker, not a number", ("log.retention.ms", 0, "1"), kind=4, name="x")
    ask("broker, unknown key", ("no.such", 0, "1"), kind=4, name="1")
    ask("broker, bad value", ("log.cleaner.threads", 0, "-1"), kind=4, name="1")
    ask("type 0", ("a", 0, "1"), kind=0)
    ask("type 99", ("a", 0, "1"), kind=99)


@story("AlterConfigs", needs=("DescribeConfigs",))
def replacements(s, v):
    name = "t-replaced-%d" % v
    s.create(name, retention__ms=77777)

    def ask(label, rows, kind=2, at=name, validate=False):
        s.ask("AlterConfigs", v, {"resources": [{"resource_type": kind, "resource_name": at, "configs": [{"name": k, "value": x} for k, x in rows]}], "validate_only": validate}, label)
        if at == name:
            s.ask("DescribeConfigs", 3, {"resources": [{"resource_type": 2, "resource_name": at, "configuration_keys": ["retention.ms", "segment.bytes"]}]}, label + ": afterwards")
    ask("another key", [("segment.bytes", "2000000")])
    ask("validate only", [("segment.bytes", "3000000")], validate=True)
    ask("bad value", [("segment.bytes", "x")])
    ask("unknown key", [("no.such", "x")])
    ask("null value", [("segment.bytes", None)])
    ask("nothing", [])
    ask("unknown topic", [("segment.bytes", "2000000")], at="no-such")
    ask("unknown broker", [("log.retention.ms", "1")], 4, "9")
    ask("type 99", [("a", "1")], 99)
