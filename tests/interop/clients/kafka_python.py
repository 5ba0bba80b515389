"""Python kafka-python: the scenarios of the report card."""
import threading

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, MemberToRemove, NewPartitions, NewTopic, OffsetSpec
from scenarios import COUNT, bootstrap, digest, plain, prefix, record, scenario, until

admin = KafkaAdminClient(bootstrap_servers=bootstrap)
topic, group = prefix + "kp-topic", prefix + "kp-group"


def consumer(name=group, **more):
    return KafkaConsumer(**dict({"bootstrap_servers": bootstrap, "group_id": name, "auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 6000,
                                 "heartbeat_interval_ms": 300}, **more))


def read(c, count):
    got = []
    until(lambda: got.extend(m for batch in c.poll(500).values() for m in batch) or len(got) >= count)
    return got


def error_of(fn):
    try:
        fn()
        return "done"
    except Exception as e:  # the name is the outcome
        return type(e).__name__


def described(name):
    found = [t for t in admin.describe_topics([name]) if not t.get("error_code")]
    return found[0]["partitions"] if found else []


def create_topic():
    admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "123456789"})])
    return {"partitions": until(lambda: len(described(topic))), "again": error_of(lambda: admin.create_topics([NewTopic(topic, 2, 1)]))}


def produce(codec):
    name = prefix + "kp-" + str(codec)
    admin.create_topics([NewTopic(name, 1, 1)])
    p = KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type=codec, linger_ms=5)
    futures = []
    for i in range(COUNT):
        key, value = record(i)
        futures.append(p.send(name, key=key, value=value, headers=[("h", b"1")], partition=0))
    p.flush(90)
    failed = sum(f.failed() for f in futures)
    p.close()
    c = consumer(None)
    c.assign([TopicPartition(name, 0)])
    c.seek_to_beginning()
    got = read(c, COUNT)
    c.close()
    return {"failed": failed, "read": digest((m.offset, m.key, m.value, [tuple(h) for h in m.headers]) for m in got)}


def list_offsets():
    name = prefix + "kp-times"
    admin.create_topics([NewTopic(name, 1, 1)])
    p = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    for i in range(10):
        p.send(name, value=b"%d" % i, partition=0, timestamp_ms=1700000000000 + 1000 * i)
    p.flush(90)
    p.close()
    tp, c = TopicPartition(name, 0), consumer(None)
    out = {str(what): plain(admin.list_partition_offsets({tp: what})[tp]) for what in (OffsetSpec.EARLIEST, OffsetSpec.LATEST, OffsetSpec.MAX_TIMESTAMP)}
    out["of a time"], out["too late"] = plain(c.offsets_for_times({tp: 1700000004500})), plain(c.offsets_for_times({tp: 1800000000000}))
    out["ends"] = [c.beginning_offsets([tp])[tp], c.end_offsets([tp])[tp]]
    c.close()
    return out


def seek():
    """Where a consumer that begins at an offset really begins, by its policy for offsets that are not there."""
    tp = TopicPartition(prefix + "kp-times", 0)

    def first(offset, policy):
        c = consumer(None, auto_offset_reset=policy)
        c.assign([tp])
        c.seek(tp, offset)
        try:
            got = []
            until(lambda: got.extend(m.offset for batch in c.poll(500).values() for m in batch) or got or c.position(tp) != offset)
            return got[:1] or [c.position(tp)]
        except Exception as e:  # the name is the outcome
            return type(e).__name__
        finally:
            c.close()
    out = {"inside": first(7, "earliest"), "beyond, earliest": first(1000, "earliest"), "beyond, latest": first(1000, "latest"), "beyond, none": first(1000, "none")}
    admin.delete_records({tp: 4})
    out.update({"deleted, earliest": first(1, "earliest"), "deleted, latest": first(1, "latest"), "deleted, none": first(1, "none")})
    return out


def fill(n=100):
    p = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    for i in range(n):
        p.send(topic, value=b"%d" % i, partition=i % 2)
    p.flush(90)
    p.close()


def consume_group():
    fill()
    c = consumer()
    c.subscribe([topic])
    got = read(c, 100)
    c.commit()
    committed = [c.committed(TopicPartition(topic, p)) for p in (0, 1)]
    c.close()
    return {"read": digest(sorted((m.partition, m.offset, m.value) for m in got)), "committed": committed}


def rebalance():
    shares, stop, threads = {}, {}, []

    def member(n):
        c = consumer()
        c.subscribe([topic])
        while not stop.get(n):
            c.poll(100)
            shares[n] = len(c.assignment())
        c.close()
        shares[n] = -1

    def begin(n):
        threads.append(threading.Thread(target=member, args=(n,)))
        threads[-1].start()
    begin(0)
    out = {"alone": bool(until(lambda: shares.get(0) == 2))}
    begin(1)
    out["two"] = bool(until(lambda: shares == {0: 1, 1: 1}))
    stop[1] = True
    out["left"] = bool(until(lambda: shares == {0: 2, 1: -1}))
    stop[0] = True
    for t in threads:
        t.join(90)
    return out


def static_member():
    """A member that comes back under its instance id gets its share again; the group does not notice that it was away."""
    name, out = prefix + "kp-static", {}
    for turn in ("first", "second"):
        c = consumer(name, group_instance_id="one")
        c.subscribe([topic])
        out[turn] = until(lambda: c.poll(100) and False or len(c.assignment()))
        if turn == "second":
            out["group"] = plain(admin.describe_groups([name]))
        c.close()
    out["removed"] = plain(admin.remove_group_members(name, [MemberToRemove(group_instance_id="one")]))
    out["members"] = len(list(admin.describe_groups([name]).values())[0]["members"])
    return out


def resume():
    fill(20)
    first = consumer(max_poll_records=5)
    first.subscribe([topic])
    got = read(first, 10)
    offsets = {}
    for m in got:
        offsets[TopicPartition(topic, m.partition)] = OffsetAndMetadata(max(m.offset + 1, offsets.get(TopicPartition(topic, m.partition), (0,))[0]), "note", -1)
    first.commit(offsets)
    first.close()
    second = consumer()
    second.subscribe([topic])
    rest = read(second, 20 - len(got))
    second.close()
    seen = [(m.partition, m.offset) for m in got + rest]
    return {"records": len(seen), "different": len(set(seen))}


def describe_groups():
    c = consumer(prefix + "kp-seen", client_id="watched")
    c.subscribe([topic])
    until(lambda: c.poll(100) and False or len(c.assignment()) == 2)
    described_groups = plain(admin.describe_groups([prefix + "kp-seen", prefix + "kp-nobody"]))
    listed = plain([g for g in admin.list_groups() if prefix + "kp-" in str(g)])
    c.close()
    return {"described": described_groups, "listed": sorted(listed)}


def add_partitions():
    admin.create_partitions({topic: NewPartitions(4)})
    return {"four": bool(until(lambda: len(described(topic)) == 4)), "fewer": error_of(lambda: admin.create_partitions({topic: NewPartitions(3)}))}


def configs():
    def shown():
        text = plain(admin.describe_configs([ConfigResource("TOPIC", topic)], include_synonyms=True))
        return text
    before = shown()
    admin.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": "55555555"})])
    until(lambda: "55555555" in shown())
    return {"before": before, "after": shown(), "bad value": error_of(lambda: admin.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": "abc"})]))}


def delete_records():
    out = plain(admin.delete_records({TopicPartition(topic, 0): 15}))
    c = consumer(None)
    begin = c.beginning_offsets([TopicPartition(topic, 0)])[TopicPartition(topic, 0)]
    c.close()
    return {"answer": out, "begin": begin}


def alter_offsets():
    tp, out = TopicPartition(topic, 1), {}

    def now():
        return plain(admin.list_group_offsets({group: None})[group].get(tp))
    out["altered"] = plain(admin.alter_group_offsets(group, {tp: OffsetAndMetadata(7, "by hand", -1)})), now()
    out["reset"] = plain(admin.reset_group_offsets(group, {tp: OffsetSpec.EARLIEST})), now()
    out["deleted"] = plain(admin.delete_group_offsets(group, [tp])), now()
    return out


def cluster():
    d = admin.describe_cluster()
    dirs = admin.describe_log_dirs({topic: [0]})
    return {"brokers": len(d["brokers"]), "controller": d["controller_id"], "log dirs": [[(x["error_code"], [t["name"] for t in x["topics"]]) for x in b["log_dirs"]] for b in dirs],
            "elected": plain(admin.elect_leaders(0, {topic: [0]}, raise_errors=False))}


def delete_group():
    return {"before": len(admin.list_group_offsets({group: None})[group]), "deleted": plain(admin.delete_groups([group])), "after": plain(admin.list_group_offsets({group: None}))}


def delete_topic():
    admin.delete_topics([topic])
    return {"gone": bool(until(lambda: topic not in admin.list_topics())), "again": error_of(lambda: admin.delete_topics([topic]))}


scenario("create topic", create_topic)
for codec in (None, "gzip", "snappy", "lz4", "zstd"):
    scenario("produce and read %s" % (codec or "none"), produce, codec)
scenario("list offsets", list_offsets)
scenario("seek, offset out of range", seek)
scenario("consume in a group, commit", consume_group)
scenario("second member joins and leaves", rebalance)
scenario("static member", static_member)
scenario("commit and resume", resume)
scenario("list and describe groups", describe_groups)
scenario("alter, reset and delete committed offsets", alter_offsets)
scenario("add partitions", add_partitions)
scenario("alter and describe configs", configs)
scenario("delete records", delete_records)
scenario("cluster, log dirs, leader election", cluster)
scenario("delete group", delete_group)
scenario("delete topic", delete_topic)
