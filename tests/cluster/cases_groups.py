"""cases_groups.py: consumer groups: stock clients and raw requests, coordinators that move, offsets that survive."""
import os
import struct
import threading
import time

from cluster import TOP, Failure, check
from kclient import Kafka

SUBSCRIPTION = struct.pack(">hi", 0, 1) + struct.pack(">h", 1) + b"t" + struct.pack(">i", -1)
NONE, UNKNOWN_TOPIC, NOT_AVAILABLE, LOADING, NOT_COORDINATOR = 0, 3, 15, 14, 16
ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING, MEMBER_ID_REQUIRED, FENCED_INSTANCE = 22, 25, 27, 79, 82
RETRIABLE = (NOT_AVAILABLE, LOADING, NOT_COORDINATOR, 7, -1)


def java_hash(text):
    h = 0
    units = text.encode("utf-16-be")
    for i in range(0, len(units), 2):
        h = (h * 31 + (units[i] << 8 | units[i + 1])) & 0xFFFFFFFF
    return h - (1 << 32) if h >> 31 else h


def partition_of(group, partitions=50):
    h = java_hash(group)
    return (0 if h == -(1 << 31) else abs(h)) % partitions


def coordinator(c, group):
    """Port of the broker that FindCoordinator names, once there is one."""
    def ask():
        for d in c.brokers():
            if not d.alive():
                continue
            try:
                k = Kafka(c.ports[d.name], 5)
                one = k.call("FindCoordinator", 4, key_type=0, coordinator_keys=[group])["coordinators"][0]
                k.close()
            except OSError:
                continue
            if one["error_code"] == 0 and one["port"] in [c.ports[b.name] for b in c.brokers() if b.alive()]:
                return one["port"]
        return None
    return c.until(ask, "a coordinator of %s is known" % group, 30, every=0.1)


def retried(c, group, api, version, pick, **values):
    """The answer of the coordinator, asked again while it cannot serve. pick: the error code in an answer."""
    last = [None]

    def ask():
        try:
            k = Kafka(coordinator(c, group), 10)
            last[0] = k.call(api, version, **values)
            k.close()
        except OSError:
            return None
        return last[0] if pick(last[0]) not in RETRIABLE else None
    try:
        return c.until(ask, "%s of %s is answered" % (api, group), 30, every=0.1)
    except Failure as e:
        raise Failure("%s (last answer: %s)" % (e, last[0])) from None


def commit(c, group, topic, offsets, **more):
    """offsets: partition -> offset. Waits until all are committed."""
    topics = [{"name": topic, "partitions": [{"partition_index": p, "committed_offset": o, "committed_leader_epoch": 0, "committed_metadata": "m%d" % o}
        for p, o in offsets.items()]}]
    worst = lambda a: max((p["error_code"] for t in a["topics"] for p in t["partitions"]), key=lambda e: (e != 0, e))
    answer = retried(c, group, "OffsetCommit", 8, worst, group_id=group, topics=topics, **more)
    check(worst(answer) == 0, "commit of %s: %s", group, answer)


def committed(c, group, topic=None):
    """{(topic, partition): offset} as OffsetFetch has it."""
    answer = retried(c, group, "OffsetFetch", 8, lambda a: a["groups"][0]["error_code"], groups=[{"group_id": group, "topics": None}])
    out = {}
    for t in answer["groups"][0]["topics"]:
        for p in t["partitions"]:
            check(p["error_code"] == 0, "OffsetFetch of %s: %s", group, p)
            if topic in (None, t["name"]):
                out[t["name"], p["partition_index"]] = p["committed_offset"]
    return out


# ---- cases ----

def group_kcat(c):
    """A stock consumer in a group: reads all, commits, and the next one goes on where it stopped."""
    c.start()
    c.create_topic("kg", 4)
    coordinator(c, "readers")
    for d in c.brokers():
        k = Kafka(c.ports[d.name])
        c.until(lambda k=k: k.call("ListGroups", 4)["error_code"] == NONE, "all partitions of %s are loaded" % d.name, 20)
        k.close()
    for p in range(4):
        c.kcat("-P", "-t", "kg", "-p", p, "-X", "acks=all", data=b"".join(b"%d-%d\n" % (p, i) for i in range(100)))
    read = lambda: c.kcat("-G", "readers", "kg", "-e", "-q", "-f", "%p %o %s\n", "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000", timeout=90).stdout.decode().splitlines()
    got = read()
    check(sorted(got) == sorted("%d %d %d-%d" % (p, i, p, i) for p in range(4) for i in range(100)), "read %d lines of 400", len(got))
    check(committed(c, "readers") == {("kg", p): 100 for p in range(4)}, "committed: %s", committed(c, "readers"))
    c.kcat("-P", "-t", "kg", "-p", "2", "-X", "acks=all", data=b"more\n")
    check(read() == ["2 100 more"], "only what is new is read")
    topics = {t["name"]: t for t in Kafka(c.port(1)).call("Metadata", 9, topics=None)["topics"]}
    check(topics["__consumer_offsets"]["is_internal"] and len(topics["__consumer_offsets"]["partitions"]) == 50, "the internal topic is as configured")
    configs = c.zk_json("/config/topics/__consumer_offsets")["config"]
    check(configs == {"cleanup.policy": "compact", "segment.bytes": "104857600", "compression.type": "producer"}, "its settings: %s", configs)


def one_member(k, group, version):
    """A whole life of one member in JoinGroup `version` and the newest of the others that belong to it."""
    protocols = [{"name": "range", "metadata": SUBSCRIPTION}]
    join = dict(group_id=group, session_timeout_ms=10000, protocol_type="consumer", protocols=protocols)
    if version >= 1:
        join["rebalance_timeout_ms"] = 10000
    a = k.call("JoinGroup", version, **join)
    if version >= 4:
        check(a["error_code"] == MEMBER_ID_REQUIRED and a["member_id"], "JoinGroup v%d wants the id first: %s", version, a)
        check(a["generation_id"] == -1 and a["members"] == [], "no generation yet: %s", a)
        a = k.call("JoinGroup", version, member_id=a["member_id"], **join)
    me = a["member_id"]
    check(a["error_code"] == 0 and a["generation_id"] == 1 and a["leader"] == me and a["protocol_name"] == "range", "JoinGroup v%d: %s", version, a)
    check([(m["member_id"], m["metadata"]) for m in a["members"]] == [(me, SUBSCRIPTION)], "JoinGroup v%d: %s", version, a["members"])
    if version >= 7:
        check(a["protocol_type"] == "consumer", "protocol_type: %s", a)
    if version >= 9:
        check(a["skip_assignment"] is False, "skip_assignment: %s", a)
    sync = min(version, 5)
    assignment = struct.pack(">hi", 0, 0) + struct.pack(">i", -1)
    more = {"protocol_type": "consumer", "protocol_name": "range"} if sync >= 5 else {}
    if sync >= 5:
        a = k.call("SyncGroup", 5, group_id=group, generation_id=1, member_id=me, protocol_type="consumer", protocol_name=None, assignments=[])
        check(a["error_code"] == 23, "SyncGroup v5 wants to know the protocol: %s", a)
    a = k.call("SyncGroup", sync, group_id=group, generation_id=1, member_id=me, assignments=[{"member_id": me, "assignment": assignment}], **more)
    check(a["error_code"] == 0 and a["assignment"] == assignment, "SyncGroup v%d: %s", sync, a)
    beat = min(version, 4)
    check(k.call("Heartbeat", beat, group_id=group, generation_id=1, member_id=me)["error_code"] == 0, "Heartbeat v%d", beat)
    check(k.call("Heartbeat", beat, group_id=group, generation_id=6, member_id=me)["error_code"] == ILLEGAL_GENERATION, "Heartbeat v%d of another generation", beat)
    check(k.call("Heartbeat", beat, group_id=group, generation_id=1, member_id="x")["error_code"] == UNKNOWN_MEMBER, "Heartbeat v%d of nobody", beat)
    describe = min(version, 5)
    more = {"include_authorized_operations": True} if describe >= 3 else {}
    a = k.call("DescribeGroups", describe, groups=[group, "nobody-here"], **more)["groups"]
    check([(g["group_id"], g["group_state"], g["error_code"]) for g in a] == [(group, "Stable", 0), ("nobody-here", "Dead", 0)], "DescribeGroups v%d: %s", describe, a)
    m = a[0]["members"][0]
    check((m["member_id"], m["client_id"], m["client_host"], m["member_metadata"], m["member_assignment"]) == (me, "test", "/127.0.0.1", SUBSCRIPTION, assignment),
        "DescribeGroups v%d: %s", describe, m)
    if describe >= 3:
        check(a[0]["authorized_operations"] == 0x148, "operations: %s", a[0])
    listing = min(version, 5)
    more = {"states_filter": ["sTaBle"]} if listing >= 4 else {}
    a = k.call("ListGroups", listing, **more)
    row = [g for g in a["groups"] if g["group_id"] == group]
    check(a["error_code"] == 0 and len(row) == 1 and row[0]["protocol_type"] == "consumer", "ListGroups v%d: %s", listing, a)
    if listing >= 4:
        check(all(g["group_state"] == "Stable" for g in a["groups"]), "filtered: %s", a)
        check(k.call("ListGroups", listing, states_filter=["Dead"])["groups"] == [], "nothing is dead")
    if listing >= 5:
        check(row[0]["group_type"] == "classic", "type: %s", row)
        check(k.call("ListGroups", 5, types_filter=["consumer"])["groups"] == [], "nothing of the other type")
    check(k.call("DeleteGroups", min(version, 2), groups_names=[group])["results"][0]["error_code"] == 68, "a group with members is not deleted")
    leave = min(version, 5)
    a = k.call("LeaveGroup", leave, group_id=group, **({"member_id": me} if leave < 3 else {"members": [{"member_id": me}, {"member_id": "x"}]}))
    check(a["error_code"] == 0, "LeaveGroup v%d: %s", leave, a)
    if leave >= 3:
        check([m["error_code"] for m in a["members"]] == [0, UNKNOWN_MEMBER], "LeaveGroup v%d: %s", leave, a)
    a = k.call("DeleteGroups", min(version, 2), groups_names=["nobody-here", group, group])["results"]
    check([(g["group_id"], g["error_code"]) for g in a] == [("nobody-here", 69), (group, 0)], "DeleteGroups: %s", a)


def group_versions(c):
    """Every version of every call of groups, with what is new in it, on one broker that coordinates all of them."""
    c.start(1, 1, default__replication__factor=1, min__insync__replicas=1, offsets__topic__replication__factor=1, offsets__topic__num__partitions=5,
        group__initial__rebalance__delay__ms=0, offsets__retention__check__interval__ms=200)
    c.create_topic("t", 2, 1)
    k = Kafka(coordinator(c, "any"))
    for p in range(5):  # ListGroups knows nothing of partitions that are not led yet: each is asked for
        name = next("x%d" % i for i in range(1000) if partition_of("x%d" % i, 5) == p)
        c.until(lambda name=name: k.call("Heartbeat", 3, group_id=name, generation_id=1, member_id="x")["error_code"] == UNKNOWN_MEMBER, "partition %d is loaded" % p, 10)
    check(k.call("ListGroups", 0)["error_code"] == 0, "everything is loaded")
    for v in range(7):
        if v < 4:
            a = k.call("FindCoordinator", v, key="any", **({"key_type": 0} if v >= 1 else {}))
            check(a["error_code"] == 0 and a["node_id"] == 1 and a["port"] == c.port(1), "FindCoordinator v%d: %s", v, a)
        else:
            a = k.call("FindCoordinator", v, key_type=0, coordinator_keys=["any", "other"])["coordinators"]
            check([(r["key"], r["error_code"], r["node_id"]) for r in a] == [("any", 0, 1), ("other", 0, 1)], "FindCoordinator v%d: %s", v, a)
            a = k.call("FindCoordinator", v, key_type=1, coordinator_keys=["tx"])["coordinators"][0]
            check(a["error_code"] == 35 and a["node_id"] == -1 and a["error_message"], "transactions are refused: %s", a)
    check(k.call("FindCoordinator", 2, key="any", key_type=7)["error_code"] == 42, "no such type")
    for v in range(10):
        c.until(lambda v=v: k.call("Heartbeat", 3, group_id="g%d" % v, generation_id=1, member_id="x")["error_code"] == UNKNOWN_MEMBER, "loaded", 10)
        one_member(k, "g%d" % v, v)
    for api, top, more in (("JoinGroup", 9, dict(session_timeout_ms=10000, protocol_type="consumer", protocols=[{"name": "range"}])), ("SyncGroup", 5, dict(protocol_type="consumer", protocol_name="range")), ("Heartbeat", 4, {}),
        ("LeaveGroup", 5, {})):
        check(k.call(api, top, group_id="", **more)["error_code"] == 24, "%s without a group", api)
    # offsets
    for v in range(1, 10):
        topics = [{"name": "t", "partitions": [{"partition_index": 0, "committed_offset": v, "committed_metadata": "m"}, {"partition_index": 7, "committed_offset": 1}]},
            {"name": "nosuch", "partitions": [{"partition_index": 0, "committed_offset": 1}]}]
        a = k.call("OffsetCommit", v, group_id="o", topics=topics)["topics"]
        got = {(t["name"], p["partition_index"]): p["error_code"] for t in a for p in t["partitions"]}
        check(got == {("t", 0): 0, ("t", 7): UNKNOWN_TOPIC, ("nosuch", 0): UNKNOWN_TOPIC}, "OffsetCommit v%d: %s", v, got)
        asked = [{"name": "t", "partition_indexes": [0, 1]}]
        a = k.call("OffsetFetch", v, **(dict(group_id="o", topics=asked) if v < 8 else dict(groups=[{"group_id": "o", "topics": asked}, {"group_id": "none", "topics": None}])))
        if v >= 8:
            check((a["groups"][1]["group_id"], a["groups"][1]["topics"], a["groups"][1]["error_code"]) == ("none", [], 0), "OffsetFetch v%d: %s", v, a)
            a = a["groups"][0]
        check(v < 2 or a["error_code"] == 0, "OffsetFetch v%d: %s", v, a)
        got = [(p["partition_index"], p["committed_offset"], p["metadata"], p["error_code"]) for p in a["topics"][0]["partitions"]]
        check(got == [(0, v, "m", 0), (1, -1, "", 0)], "OffsetFetch v%d: %s", v, got)
        if 2 <= v < 8:
            a = k.call("OffsetFetch", v, group_id="o", topics=None)["topics"]
            check([(t["name"], [p["committed_offset"] for p in t["partitions"]]) for t in a] == [("t", [v])], "OffsetFetch v%d of all: %s", v, a)
    a = k.call("OffsetCommit", 8, group_id="o", topics=[{"name": "t", "partitions": [{"partition_index": 0, "committed_offset": 1, "committed_metadata": "x" * 4097}]}])
    check(a["topics"][0]["partitions"][0]["error_code"] == 12, "too much metadata: %s", a)
    a = k.call("OffsetCommit", 8, group_id="o", generation_id_or_member_epoch=3, member_id="x", topics=[{"name": "t", "partitions": [{"partition_index": 0, "committed_offset": 1}]}])
    check(a["topics"][0]["partitions"][0]["error_code"] == UNKNOWN_MEMBER, "a member that is none: %s", a)
    # pipelined on one connection: a fetch sees the commit before it
    for i in range(50):
        k.post("OffsetCommit", 8, group_id="o", topics=[{"name": "t", "partitions": [{"partition_index": 0, "committed_offset": 1000 + i}]}])
        k.post("OffsetFetch", 7, group_id="o", topics=None)
    for i in range(50):
        check(k.next()["topics"][0]["partitions"][0]["error_code"] == 0, "commit %d", i)
        check(k.next()["topics"][0]["partitions"][0]["committed_offset"] == 1000 + i, "fetch %d sees the commit before it", i)
    a = k.call("OffsetDelete", 0, group_id="o", topics=[{"name": "t", "partitions": [{"partition_index": 0}, {"partition_index": 9}]}])
    check(a["error_code"] == 0 and [p["error_code"] for p in a["topics"][0]["partitions"]] == [0, UNKNOWN_TOPIC], "OffsetDelete: %s", a)
    check(committed(c, "o") == {}, "deleted: %s", committed(c, "o"))
    check(k.call("OffsetDelete", 0, group_id="never", topics=[{"name": "t", "partitions": [{"partition_index": 0}]}])["error_code"] == 69, "OffsetDelete of no group")
    a = k.call("OffsetDelete", 0, group_id="never", topics=[{"name": "nowhere", "partitions": [{"partition_index": 0}]}])
    check(a["error_code"] == 69 and not a["topics"], "OffsetDelete of no group and no topic: %s", a)
    fields_of_commits(c, k)


def fields_of_commits(c, k):
    """What a commit carries besides offsets has effect, and so has what a fetch asks for."""
    def commit_one(version, group, more=None, **row):
        row = dict({"partition_index": 0, "committed_offset": 5}, **row)
        a = k.call("OffsetCommit", version, group_id=group, topics=[{"name": "t", "partitions": [row]}], **(more or {}))
        return a["topics"][0]["partitions"][0]["error_code"]
    # an instance id whose member is another one
    join = dict(group_id="static", session_timeout_ms=30000, rebalance_timeout_ms=30000, protocol_type="consumer", group_instance_id="i",
        protocols=[{"name": "range", "metadata": SUBSCRIPTION}])
    first, second = k.call("JoinGroup", 5, **join), None
    k.post("JoinGroup", 5, **join)
    second = k.next()
    check(first["error_code"] == 0 and second["error_code"] == 0 and first["member_id"] != second["member_id"], "static members: %s %s", first, second)
    sync = dict(group_id="static", generation_id=second["generation_id"], member_id=second["member_id"])
    check(k.call("SyncGroup", 3, assignments=[], group_instance_id="i", **sync)["error_code"] == 0, "the second syncs")
    for v in (7, 8, 9):
        who = dict(generation_id_or_member_epoch=second["generation_id"], member_id=first["member_id"])
        check(commit_one(v, "static", dict(who, group_instance_id="i")) == FENCED_INSTANCE, "OffsetCommit v%d of a fenced instance", v)
        check(commit_one(v, "static", who) == UNKNOWN_MEMBER, "OffsetCommit v%d of a member that was replaced", v)
        check(commit_one(v, "static", dict(who, member_id=second["member_id"], group_instance_id="i")) == 0, "OffsetCommit v%d of the instance", v)
    # no topics are none, null is all
    for v in range(2, 10):
        for topics, want in (([], []), (None, ["t"])):
            a = k.call("OffsetFetch", v, **(dict(group_id="static", topics=topics) if v < 8 else dict(groups=[{"group_id": "static", "topics": topics}])))
            a = a if v < 8 else a["groups"][0]
            check(a["error_code"] == 0 and [t["name"] for t in a["topics"]] == want, "OffsetFetch v%d of %s: %s", v, topics, a)
    # a time to live of its own (versions 2 to 4), or a time of its own (version 1) from which the retention counts
    check(commit_one(1, "time-stays") == 0 and commit_one(1, "time-1970", commit_timestamp=1) == 0, "OffsetCommit v1")
    for v in (2, 3, 4):
        check(commit_one(v, "stays-%d" % v, {"retention_time_ms": 3600000}) == 0 and commit_one(v, "goes-%d" % v, {"retention_time_ms": 1}) == 0, "OffsetCommit v%d", v)
    for g in ("time-1970", "goes-2", "goes-3", "goes-4"):
        c.until(lambda g=g: not committed(c, g), "what was committed for %s expires" % g, 20, every=0.1)
    for g in ("time-stays", "stays-2", "stays-3", "stays-4"):
        check(committed(c, g) == {("t", 0): 5}, "%s: %s", g, committed(c, g))


def group_zookeeper(c):
    """Version 0 of commit and fetch: offsets are znodes, as with Kafka; while ZooKeeper is away clients are told to try again."""
    c.start(1, 1, default__replication__factor=1, min__insync__replicas=1, offsets__topic__replication__factor=1)
    c.create_topic("t", 2, 1)
    k = Kafka(c.port(1), 60)
    fetch = lambda: {p["partition_index"]: (p["committed_offset"], p["error_code"]) for p in k.call("OffsetFetch", 0, group_id="old", topics=[{"name": "t", "partition_indexes": [0, 1, 9]}])["topics"][0]["partitions"]}
    put = lambda group, p, o: k.call("OffsetCommit", 0, group_id=group, topics=[{"name": "t", "partitions": [{"partition_index": p, "committed_offset": o}]}])["topics"][0]["partitions"][0]["error_code"]
    check(fetch() == {0: (-1, 3), 1: (-1, 3), 9: (-1, 3)}, "nothing yet: %s", fetch())
    for o in (5, 1 << 40):
        check(put("old", 0, o) == 0, "commit")
        check(c.zk().get("/consumers/old/offsets/t/0")[0] == b"%d" % o, "znode: %s", c.zk().get("/consumers/old/offsets/t/0"))
        check(fetch() == {0: (o, 0), 1: (-1, 3), 9: (-1, 3)}, "read back: %s", fetch())
    c.zk().set("/consumers/old/offsets/t/0", b"17")
    check(fetch()[0] == (17, 0), "what a tool wrote is read")
    check(put("old", 9, 1) == UNKNOWN_TOPIC and put("a/b", 0, 1) == 24, "refused")
    check(c.zk().children("/consumers") == ["old"], "nothing else was made: %s", c.zk().children("/consumers"))
    check(committed(c, "old") == {}, "the two kinds do not know each other")
    c.zk_stop()
    c.until(lambda: put("old", 0, 6) == NOT_AVAILABLE, "commits are refused while ZooKeeper is away", 30)
    check(fetch()[0] == (-1, NOT_AVAILABLE), "fetches too")
    commit(c, "new", "t", {0: 3})
    check(committed(c, "new") == {("t", 0): 3}, "the other kind needs no ZooKeeper")
    c.zk_start()
    c.until(lambda: put("old", 0, 7) == 0, "and they work again", 60)


def internal_topic(c):
    """__consumer_offsets: made once, by whoever needs it first, not before enough brokers live, and nobody else writes to it."""
    c.zk_start()
    c.add_controller(101).start()
    c.add_broker(1, offsets__topic__num__partitions=7).start()
    c.add_broker(2, offsets__topic__num__partitions=7).start()
    c.wait_serving()
    for b in (1, 2):
        a = Kafka(c.port(b)).call("FindCoordinator", 1, key="g", key_type=0)
        check(a["error_code"] == NOT_AVAILABLE and a["node_id"] == -1 and a["error_message"], "two brokers of three: %s", a)
    check("__consumer_offsets" not in c.zk().children("/brokers/topics"), "and no topic")
    c.add_broker(3, offsets__topic__num__partitions=7).start()
    c.wait_serving()
    conns = [Kafka(c.port(b)) for b in (1, 2, 3) for _ in range(10)]
    for k in conns:
        k.post("FindCoordinator", 4, key_type=0, coordinator_keys=["g%d" % i for i in range(20)])
    for k in conns:
        for one in k.next()["coordinators"]:
            check(one["error_code"] in (0, NOT_AVAILABLE), "asked at once: %s", one)
    coordinator(c, "g")
    check(len(c.zk().children("/brokers/topics/__consumer_offsets/partitions")) == 7, "seven partitions")
    text = "".join(d.log_text() for d in c.controllers())
    check(text.count("topic.created") <= 1 or text.count("topic.created topic=__consumer_offsets") <= 1, "created once")
    import wire
    w = wire.Conn(c.port(c.state("__consumer_offsets", 0)["leader"]))
    check(wire.produce_error(w.call(wire.PRODUCE, 3, wire.produce("__consumer_offsets", 0, wire.batch([b"x"])))) == 17, "clients may not write to it")
    c.isr_is("__consumer_offsets", 7, 3)
    # coordinator = leader of abs(hash) mod partitions
    k = Kafka(c.port(1))
    leaders = {p["partition_index"]: p["leader_id"] for p in k.call("Metadata", 9, topics=[{"name": "__consumer_offsets"}])["topics"][0]["partitions"]}
    names = ["g%d" % i for i in range(50)] + ["polygenelubricants", "Gr\u00fcn", "\U0001f600-users"]
    for one in k.call("FindCoordinator", 4, key_type=0, coordinator_keys=names)["coordinators"]:
        check(one["node_id"] == leaders[partition_of(one["key"], 7)], "%s is coordinated by %d, not by %d", one["key"], one["node_id"], leaders[partition_of(one["key"], 7)])


def group_golden(c):
    """Offsets that Kafka 3.9 committed are read, those of a committed transaction too, and the group goes on."""
    import cases_basic
    cases_basic.golden_start(c)
    check(committed(c, "golden-group") == {("codec-none", 0): 42, ("keyed", 1): 7}, "golden-group: %s", committed(c, "golden-group"))
    check(committed(c, "golden-txn-group") == {("codec-none", 0): 77}, "golden-txn-group: %s", committed(c, "golden-txn-group"))
    a = Kafka(coordinator(c, "golden-group")).call("OffsetFetch", 7, group_id="golden-group", topics=[{"name": "codec-none", "partition_indexes": [0]}], require_stable=True)
    p = a["topics"][0]["partitions"][0]
    check((p["committed_leader_epoch"], p["metadata"], p["error_code"]) == (0, "meta", 0), "with epoch and metadata: %s", p)
    commit(c, "golden-group", "keyed", {1: 8, 2: 1})
    c.broker(1).kill()
    c.broker(1).start()
    c.wait_serving()
    check(committed(c, "golden-group") == {("codec-none", 0): 42, ("keyed", 1): 8, ("keyed", 2): 1}, "after kill -9: %s", committed(c, "golden-group"))


class Committer(threading.Thread):
    """Commits ascending offsets for some groups, one after the other, whatever happens to the cluster. What was acknowledged must stay."""

    def __init__(self, c, groups, topic):
        super().__init__(daemon=True)
        self.c, self.groups, self.topic = c, groups, topic
        self.acked = {g: 0 for g in groups}
        self.tried = {g: 0 for g in groups}
        self.conns = {}
        self.stopping = threading.Event()
        self.failed = self.count = 0
        self.wrong = []

    def connection(self, group):
        if group not in self.conns:
            for d in self.c.brokers():
                try:
                    k = Kafka(self.c.ports[d.name], 3)
                    one = k.call("FindCoordinator", 4, key_type=0, coordinator_keys=[group])["coordinators"][0]
                    k.close()
                    if one["error_code"] == 0:
                        self.conns[group] = Kafka(one["port"], 8)
                        return self.conns[group]
                except OSError:
                    continue
            raise OSError("no coordinator")
        return self.conns[group]

    def one(self, group):
        k = self.connection(group)
        read = k.call("OffsetFetch", 7, group_id=group, topics=[{"name": self.topic, "partition_indexes": [0]}])
        p = read["topics"][0]["partitions"][0] if read["topics"] else None
        if read["error_code"] == 0 and p and not self.acked[group] <= max(0, p["committed_offset"]) <= self.tried[group]:
            self.wrong.append("%s: read %d, acknowledged %d, tried %d" % (group, p["committed_offset"], self.acked[group], self.tried[group]))
        self.tried[group] += 1
        want = self.tried[group]
        a = k.call("OffsetCommit", 8, group_id=group, topics=[{"name": self.topic, "partitions": [{"partition_index": 0, "committed_offset": want}]}])
        error = a["topics"][0]["partitions"][0]["error_code"]
        if error == 0:
            self.acked[group] = want
            self.count += 1
            return
        self.failed += 1
        if error in (NOT_COORDINATOR, NOT_AVAILABLE):
            raise OSError("moved")
        time.sleep(0.02)

    def run(self):
        while not self.stopping.is_set():
            for g in self.groups:
                try:
                    self.one(g)
                except (OSError, AssertionError):
                    k = self.conns.pop(g, None)
                    if k:
                        k.close()
                    self.failed += 1
                    time.sleep(0.02)

    def finish(self):
        self.stopping.set()
        self.join(60)
        check(not self.is_alive(), "the committer ends")
        for k in self.conns.values():
            k.close()
        check(not self.wrong, "offsets that were read: %s", self.wrong[:3])


def group_moves(c):
    """Commits while coordinators are killed and stopped; then every process dies at once. No acknowledged commit is lost, none is read back wrong."""
    c.start(3, 2, offsets__topic__num__partitions=8)
    c.create_topic("t", 3)
    coordinator(c, "g0")
    c.isr_is("__consumer_offsets", 8, 3)
    committers = [Committer(c, ["g%d-%d" % (n, i) for i in range(5)], "t") for n in range(4)]
    for k in committers:
        k.start()
    progress = lambda: sum(k.count for k in committers)
    for number, how in ((1, "kill"), (2, "stop"), (3, "kill")):
        before = progress()
        c.until(lambda before=before: progress() > before + 200, "commits go on", 30)
        if how == "kill":
            c.broker(number).kill()
        else:
            check(c.broker(number).term(15 * c.slow) == 0, "broker %d stops cleanly", number)
        before = progress()
        c.until(lambda before=before: progress() > before + 200, "commits go on without broker %d" % number, 30)
        c.broker(number).start()
        c.wait_serving()
        c.isr_is("__consumer_offsets", 8, 3)
    for d in c.brokers():
        d.signal(9)
    for d in c.brokers():
        d.kill()
        d.start()
    c.wait_serving()
    before = progress()
    c.until(lambda: progress() > before + 100, "commits go on after everybody was killed", 60)
    for d in c.brokers():
        d.signal(9)
    for k in committers:
        k.finish()
    for d in c.brokers():
        d.kill()
        d.start()
    c.wait_serving()
    for k in committers:
        for g in k.groups:
            got = committed(c, g).get(("t", 0), 0)
            check(k.acked[g] <= got <= k.tried[g], "%s: %d is committed, acknowledged was %d, tried %d", g, got, k.acked[g], k.tried[g])


class Readers:
    """Many kcat -G of one group, each with a file of what it said: records and rebalances in the order in which they came."""

    def __init__(self, c, group, topic, strategy):
        self.c, self.group, self.topic, self.strategy = c, group, topic, strategy
        self.procs = []
        self.files = []

    def add(self, count):
        for _ in range(count):
            path = os.path.join(self.c.dir, "logs", "%s-%d.txt" % (self.group, len(self.files)))
            self.files.append(path)
            out = open(path, "wb")
            self.procs.append(self.c.background(["kcat", "-b", self.c.bootstrap(), "-G", self.group, self.topic, "-u", "-f", "%p %o %s\n",
                "-X", "auto.offset.reset=earliest", "-X", "partition.assignment.strategy=" + self.strategy, "-X", "session.timeout.ms=6000",
                "-X", "heartbeat.interval.ms=500", "-X", "auto.commit.interval.ms=500",
                # librdkafka logs from threads of its own, into the middle of a record's line
                "-X", "log_level=0"], stdout=out, stderr=out))
            out.close()

    def end(self, count, sig=15):
        for p in [p for p in self.procs if p.poll() is None][:count]:
            p.send_signal(sig)
            try:
                p.wait(20)
            except Exception:
                raise Failure("kcat does not leave") from None

    def alive(self):
        return sum(p.poll() is None for p in self.procs)

    def read(self):
        """Numbers that were read; each reader must have read each partition without a gap or a repetition between two rebalances."""
        numbers, rebalances = set(), 0
        for path in self.files:
            expected = {}
            with open(path, encoding="utf-8", errors="replace") as f:
                for line in f:
                    words = line.split("%")[0].split()
                    if line.startswith("%"):
                        if "rebalanced" in line or "assigned" in line:
                            rebalances += 1
                            expected = {}
                        continue
                    if len(words) != 3 or not line.endswith("\n"):
                        continue
                    p, offset, number = int(words[0]), int(words[1]), int(words[2])
                    check(offset == expected.get(p, offset), "%s: offset %d of partition %d follows %d", path, offset, p, expected.get(p, 0) - 1)
                    expected[p] = offset + 1
                    numbers.add(number)
        return numbers, rebalances


def twenty(c, strategy):
    """20 consumers, 60 partitions, members that come and go, brokers that die: everything is read, and the offsets outlive kill -9 of all brokers."""
    c.start(3, 2, offsets__topic__num__partitions=4, group__initial__rebalance__delay__ms=500)
    c.create_topic("sixty", 60)
    readers = Readers(c, "twenty", "sixty", strategy)
    readers.add(12)
    sent = [0]

    def feed(n):
        c.kcat("-P", "-t", "sixty", "-X", "enable.idempotence=true", "-X", "acks=all", "-X", "linger.ms=5", "-X", "message.timeout.ms=120000", "-X", "partitioner=random",
            "-X", "sticky.partitioning.linger.ms=0", data=b"".join(b"%d\n" % i for i in range(sent[0], sent[0] + n)), timeout=150)
        sent[0] += n

    def caught_up(what, timeout=90):
        feed(2000)
        want = set(range(sent[0]))
        c.until(lambda: want <= readers.read()[0], what, timeout, every=0.3)
    caught_up("twelve members read everything")
    state = lambda: retried(c, "twenty", "DescribeGroups", 5, lambda a: a["groups"][0]["error_code"], groups=["twenty"])["groups"][0]

    def twenty_members():
        readers.add(20 - readers.alive())  # kcat gives up when it starts while its first broker is down
        g = state()
        return g if g["group_state"] == "Stable" and len(g["members"]) == 20 else None
    c.until(twenty_members, "a stable generation of twenty", 60, every=0.3)
    caught_up("twenty members read everything")
    readers.end(4)
    readers.end(2, 9)
    port = coordinator(c, "twenty")
    d = [b for b in c.brokers() if c.ports[b.name] == port][0]
    d.kill()
    caught_up("read on after members and the coordinator died")
    readers.add(6)
    d.start()
    c.wait_serving()
    other = [b for b in c.brokers() if b is not d][0]
    other.kill()
    caught_up("read on after another broker died")
    other.start()
    c.wait_serving()
    g = c.until(twenty_members, "twenty again", 60, every=0.3)
    check(g["protocol_data"] == strategy, "by %s: %s", strategy, g["protocol_data"])
    owned = {}
    for m in g["members"]:
        a = m["member_assignment"]
        n = struct.unpack(">i", a[2:6])[0] if len(a) >= 6 else 0
        at = 6
        for _ in range(n):
            size = struct.unpack(">h", a[at:at + 2])[0]
            at += 2 + size
            count = struct.unpack(">i", a[at:at + 4])[0]
            for p in struct.unpack(">%di" % count, a[at + 4:at + 4 + 4 * count]):
                check(p not in owned, "partition %d is assigned twice", p)
                owned[p] = m["member_id"]
            at += 4 + 4 * count
    check(len(owned) == 60 or strategy != "range", "all sixty are assigned: %d", len(owned))
    caught_up("everything is read in the end")
    ends = {}
    for line in c.read_all("sixty", "%p %o\n"):
        p, o = line.split()
        ends["sixty", int(p)] = int(o) + 1
    c.until(lambda: committed(c, "twenty") == ends, "all of it is committed", 30, every=0.3)
    readers.end(20)
    before = committed(c, "twenty")
    check(before == ends, "it stays so when all leave: %s", {k: (before.get(k), ends.get(k)) for k in set(before) | set(ends) if before.get(k) != ends.get(k)})
    for b in c.brokers():
        b.signal(9)
    for b in c.brokers():
        b.kill()
        b.start()
    c.wait_serving()
    check(committed(c, "twenty") == before, "and is still after kill -9 of all brokers")


def group_twenty_range(c):
    twenty(c, "range")


def group_twenty_cooperative(c):
    twenty(c, "cooperative-sticky")


def group_thousand(c):
    """A thousand groups: each with its offset, listed by the brokers that coordinate them, before and after the leaders moved."""
    c.start(3, 2, offsets__topic__num__partitions=10)
    c.create_topic("t", 1)
    coordinator(c, "x")
    c.isr_is("__consumer_offsets", 10, 3)
    names = ["thousand-%d" % i for i in range(1000)]
    of_port = {}
    for i in range(0, 1000, 100):
        def find(i=i):
            a = Kafka(c.port(1)).call("FindCoordinator", 4, key_type=0, coordinator_keys=names[i:i + 100])["coordinators"]
            return a if all(r["error_code"] == 0 for r in a) else None
        for r in c.until(find, "coordinators are known", 20):
            of_port.setdefault(r["port"], []).append(r["key"])
    conns = {port: Kafka(port) for port in of_port}
    for port, groups in of_port.items():
        c.until(lambda port=port: conns[port].call("ListGroups", 4)["error_code"] == 0, "loaded", 20)
        for g in groups:
            conns[port].post("OffsetCommit", 8, group_id=g, topics=[{"name": "t", "partitions": [{"partition_index": 0, "committed_offset": int(g[9:])}]}])
    for port, groups in of_port.items():
        for g in groups:
            a = conns[port].next()
            check(a["topics"][0]["partitions"][0]["error_code"] == 0, "commit of %s: %s", g, a)

    def everything():
        found = {}
        for d in c.brokers():
            if not d.alive():
                continue
            k = Kafka(c.ports[d.name])
            a = k.call("ListGroups", 4)
            if a["error_code"]:
                return None
            mine = [g["group_id"] for g in a["groups"]]
            got = k.call("OffsetFetch", 8, groups=[{"group_id": g, "topics": [{"name": "t", "partition_indexes": [0]}]} for g in mine])["groups"]
            described = k.call("DescribeGroups", 5, groups=mine)["groups"]
            if any(g["error_code"] for g in got) or any(g["error_code"] for g in described):
                return None
            check([g["group_id"] for g in got] == mine and [g["group_id"] for g in described] == mine, "answers in the order of the request")
            check({g["group_state"] for g in described} <= {"Empty"}, "all are empty")
            for g in got:
                found[g["group_id"]] = g["topics"][0]["partitions"][0]["committed_offset"]
            k.close()
        return found if len(found) >= 1000 else None
    want = {n: int(n[9:]) for n in names}
    check(c.until(everything, "all of them are listed", 20) == want, "with their offsets")
    c.broker(2).kill()
    check(c.until(everything, "all of them are listed by the two that are left", 30) == want, "with their offsets")


def group_waits(c):
    """Calls that wait are answered when the coordinator goes: no longer leader, stopped in good order, stopped with nobody to hand over to."""
    c.start(3, 1, offsets__topic__num__partitions=3, group__initial__rebalance__delay__ms=60000)
    c.create_topic("t", 1)
    join = dict(group_id="waiting", session_timeout_ms=10000, rebalance_timeout_ms=60000, protocol_type="consumer", protocols=[{"name": "range", "metadata": SUBSCRIPTION}])

    def waiting():
        """A connection on which a JoinGroup waits, and its broker."""
        def ready():
            port = coordinator(c, "waiting")  # again: the broker that names it may be told of a change after others
            k = Kafka(port, 20)
            if k.call("Heartbeat", 3, group_id="waiting", generation_id=1, member_id="x")["error_code"] == UNKNOWN_MEMBER:
                return port, k
            k.close()
            return None
        port, k = c.until(ready, "loaded", 20)
        k.post("JoinGroup", 3, **join)
        other = Kafka(port)
        c.until(lambda: other.call("DescribeGroups", 5, groups=["waiting"])["groups"][0]["group_state"] == "PreparingRebalance", "the group waits for more members", 20)
        other.close()
        return k, [b for b in c.brokers() if c.ports[b.name] == port][0]

    def answered(k, what):
        a = k.next()
        check(a["error_code"] == NOT_COORDINATOR, "JoinGroup at %s: %s", what, a)
        k.close()
    p = partition_of("waiting", 3)
    coordinator(c, "waiting")
    c.isr_is("__consumer_offsets", 3, 3)
    k, d = waiting()
    d.signal(15)
    answered(k, "a broker that stops and hands over")
    check(d.wait(15 * c.slow) == 0, "it stops cleanly")
    k, other = waiting()
    check(other is not d, "another coordinates")
    first = c.zk_json("/brokers/topics/__consumer_offsets")["partitions"][str(p)][0]
    check(c.broker(first) is d, "the one that stopped was the preferred leader")
    d.start()
    c.wait_serving()
    c.isr_is("__consumer_offsets", 3, 3)
    Kafka(c.port(1)).call("ElectLeaders", 2, election_type=0, topic_partitions=[{"topic": "__consumer_offsets", "partitions": [p]}], timeout_ms=10000)
    answered(k, "a broker that leads no longer")
    k, now = waiting()
    check(now is d, "the preferred leader coordinates again")
    for b in c.brokers():
        if b is not d:
            b.kill()
    d.signal(15)
    answered(k, "a broker that stops with nobody to hand over to")
    check(d.wait(15 * c.slow) == 0, "it stops cleanly, alone")


def group_loading(c):
    """A coordinator that has not loaded yet, and a commit that is on its way: what each call is answered meanwhile. The high watermark stands still,
    since the other replica is away and two are asked for."""
    c.zk_start()
    c.add_controller(101, controller__link__silence__ms=60000).start()
    for b in (1, 2):
        c.add_broker(b, default__replication__factor=2, offsets__topic__replication__factor=2, offsets__topic__num__partitions=1,
            replica__lag__time__max__ms=60000, offsets__commit__timeout__ms=5000).start()
    c.wait_serving()
    c.create_topic("t", 1, 2)
    commit(c, "g", "t", {0: 1})
    c.isr_is("__consumer_offsets", 1, 2)
    port = coordinator(c, "g")
    here = next(b for b in c.brokers() if c.ports[b.name] == port)
    other = next(b for b in c.brokers() if b is not here)
    number = 1 if here is c.broker(1) else 2
    asked = [{"name": "t", "partition_indexes": [0]}]
    fetch = lambda k, v, stable=False: k.call("OffsetFetch", v, **(dict(group_id="g", topics=asked) if v < 8 else dict(groups=[{"group_id": "g", "topics": asked}])),
        **({"require_stable": stable} if v >= 7 else {}))
    error_of = lambda a: a["topics"][0]["partitions"][0]["error_code"]
    # who does not coordinate says so, where each version has a place for it
    k = Kafka(c.ports[other.name])
    check(error_of(fetch(k, 1)) == NOT_COORDINATOR, "OffsetFetch v1 elsewhere: %s", fetch(k, 1))
    check(all(fetch(k, v)["error_code"] == NOT_COORDINATOR for v in range(2, 8)), "OffsetFetch v2 to v7 elsewhere")
    check(all(fetch(k, v)["groups"][0]["error_code"] == NOT_COORDINATOR for v in (8, 9)), "OffsetFetch v8 and v9 elsewhere")
    # a commit that waits for the other replica
    other.pause()
    slow, k = Kafka(port, 20), Kafka(port, 20)
    slow.post("OffsetCommit", 8, group_id="g", topics=[{"name": "t", "partitions": [{"partition_index": 0, "committed_offset": 2}]}])
    c.until(lambda: error_of(fetch(k, 7, True)) == 88, "the commit is on its way", 4)
    check(error_of(fetch(k, 8, True)["groups"][0]) == 88 and error_of(fetch(k, 9, True)["groups"][0]) == 88, "OffsetFetch v8, v9: unstable")
    a = fetch(k, 7)
    check((error_of(a), a["topics"][0]["partitions"][0]["committed_offset"]) == (0, 1), "what is committed: %s", a)
    check(slow.next()["topics"][0]["partitions"][0]["error_code"] in (7, NOT_AVAILABLE), "the commit is not answered as done")
    other.signal(9)
    other.wait(10)  # it did not go on for a moment, as with Daemon.kill
    c.until(lambda: c.state("__consumer_offsets", 0)["isr"] == [number], "the other one has left the ISR", 30)
    # the record is in the log of the one that is left, above its high watermark, which one of two cannot move
    here.kill()
    here.start()
    c.wait_serving()
    c.until(lambda: c.state("__consumer_offsets", 0)["leader"] == number, "it leads", 30)
    k = Kafka(port, 20)
    c.until(lambda: k.call("JoinGroup", 3, group_id="g", session_timeout_ms=10000, rebalance_timeout_ms=10000, protocol_type="consumer",
        protocols=[{"name": "range", "metadata": b""}])["error_code"] == LOADING, "JoinGroup: loading", 20)
    check(k.call("SyncGroup", 3, group_id="g", generation_id=1, member_id="x", assignments=[])["error_code"] == REBALANCING, "SyncGroup while loading: join again")
    check(k.call("Heartbeat", 3, group_id="g", generation_id=1, member_id="x")["error_code"] == NONE, "Heartbeat while loading: nothing is wrong")
    check(k.call("LeaveGroup", 3, group_id="g", members=[{"member_id": "x"}])["error_code"] == LOADING, "LeaveGroup while loading")
    check(error_of(fetch(k, 1)) == LOADING and fetch(k, 7)["error_code"] == LOADING and fetch(k, 9)["groups"][0]["error_code"] == LOADING, "OffsetFetch while loading")
    check(k.call("DescribeGroups", 5, groups=["g"])["groups"][0]["error_code"] == LOADING, "DescribeGroups while loading")
    check(k.call("ListGroups", 4)["error_code"] == LOADING, "ListGroups while loading")
    check(k.call("DeleteGroups", 2, groups_names=["g"])["results"][0]["error_code"] == LOADING, "DeleteGroups while loading")
    check(k.call("OffsetDelete", 0, group_id="g", topics=[{"name": "t", "partitions": [{"partition_index": 0}]}])["error_code"] == LOADING, "OffsetDelete while loading")
    commit_of = k.call("OffsetCommit", 8, group_id="g", topics=[{"name": "t", "partitions": [{"partition_index": 0, "committed_offset": 3}]}])
    check(error_of(commit_of) == LOADING, "OffsetCommit while loading: %s", commit_of)
    other.start()
    c.until(lambda: not fetch(k, 7)["error_code"], "loaded once both are there", 30)
    check(committed(c, "g") == {("t", 0): 2}, "the commit that nobody was told of is in the log: %s", committed(c, "g"))


def group_topic_anew(c):
    """A topic that is deleted and at once created anew: what was committed for the old one goes, what is committed for the new one stays."""
    c.start(1, 1, offsets__topic__num__partitions=4, offsets__topic__replication__factor=1)
    c.create_topic("t", 2, 1)
    groups = ["old-%d" % i for i in range(400)]
    for i in range(4):
        commit(c, next(g for g in groups if partition_of(g, 4) == i), "t", {0: 1})  # each partition of the offsets topic serves
    k = Kafka(coordinator(c, groups[0]), 20)
    for g in groups:
        k.post("OffsetCommit", 8, group_id=g, topics=[{"name": "t", "partitions": [{"partition_index": p, "committed_offset": 10 + p} for p in range(2)]}])
    for g in groups:
        a = k.next()
        check(all(p["error_code"] == 0 for p in a["topics"][0]["partitions"]), "commit of %s: %s", g, a)
    check(k.call("DeleteTopics", 4, topic_names=["t"], timeout_ms=10000)["responses"][0]["error_code"] == 0, "t is deleted")
    c.until(lambda: k.call("CreateTopics", 5, topics=[{"name": "t", "num_partitions": 2, "replication_factor": 1}], timeout_ms=10000)["topics"][0]["error_code"] == 0,
        "t is created anew", 20)
    commit(c, groups[0], "t", {0: 20})
    commit(c, "new", "t", {0: 21})

    def shown(g):
        return committed(c, g)
    check(shown(groups[0]) == {("t", 0): 20}, "only the new topic's commit: %s", shown(groups[0]))
    check(all(not shown(g) for g in groups[1::40]), "no commit of the old topic is shown")
    c.until(lambda: {g["group_id"] for g in k.call("ListGroups", 4)["groups"]} == {groups[0], "new"}, "the old topic's offsets are removed, and so are groups without others", 20)
    c.broker(1).kill()
    c.broker(1).start()
    c.wait_serving()
    check(shown(groups[0]) == {("t", 0): 20} and shown("new") == {("t", 0): 21}, "after kill -9: %s %s", shown(groups[0]), shown("new"))
    check(all(not shown(g) for g in groups[1::40]), "the others stay away")


CASES = {f.__name__: f for f in (group_kcat, group_versions, group_zookeeper, internal_topic, group_golden, group_moves, group_twenty_range,
    group_twenty_cooperative, group_thousand, group_waits, group_loading, group_topic_anew)}
