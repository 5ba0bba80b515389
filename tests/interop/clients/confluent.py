"""Python confluent-kafka (librdkafka): the scenarios of the report card."""
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, ElectionType, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType
from scenarios import COUNT, bootstrap, digest, prefix, record, scenario, until

admin = AdminClient({"bootstrap.servers": bootstrap})
topic, group = prefix + "topic", prefix + "group"


def done(futures):
    return {str(k): f.result(90) for k, f in futures.items()}


def consumer(name=group, **more):
    return Consumer(dict({"bootstrap.servers": bootstrap, "group.id": name, "auto.offset.reset": "earliest", "enable.auto.commit": False, "check.crcs": True,
                          "session.timeout.ms": 6000, "heartbeat.interval.ms": 300}, **more))


def create_topic():
    done(admin.create_topics([NewTopic(topic, 2, 1, config={"retention.ms": "123456789"})], operation_timeout=10))
    meta = until(lambda: admin.list_topics(timeout=60).topics.get(topic))
    try:
        done(admin.create_topics([NewTopic(topic, 2, 1)]))
        again = "created"
    except KafkaException as e:
        again = e.args[0].name()
    return {"partitions": len(meta.partitions), "replicas": [len(p.replicas) for p in meta.partitions.values()], "again": again}


def produce(codec):
    name = prefix + codec
    done(admin.create_topics([NewTopic(name, 1, 1)], operation_timeout=10))
    failed = []
    p = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": codec, "linger.ms": 5})
    for i in range(COUNT):
        key, value = record(i)
        p.produce(name, key=key, value=value, headers={"h": b"1"}, partition=0, on_delivery=lambda e, _: e and failed.append(e.name()))
    left = p.flush(90)
    c = consumer()
    c.assign([TopicPartition(name, 0, 0)])
    got = []
    until(lambda: got.extend(c.consume(COUNT, 0.5)) or len(got) >= COUNT)
    c.close()
    return {"left": left, "failed": failed, "read": digest((m.offset(), m.key(), m.value(), m.headers()) for m in got)}


def list_offsets():
    name = prefix + "times"
    done(admin.create_topics([NewTopic(name, 1, 1)], operation_timeout=10))
    p = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for i in range(10):
        p.produce(name, value=b"%d" % i, partition=0, timestamp=1700000000000 + 1000 * i)
    p.flush(90)

    def at(spec):
        r = list(admin.list_offsets({TopicPartition(name, 0): spec}).values())[0].result(90)
        return [r.offset, r.timestamp]
    return {"earliest": at(OffsetSpec.earliest()), "latest": at(OffsetSpec.latest()), "of a time": at(OffsetSpec.for_timestamp(1700000004500)),
            "too late": at(OffsetSpec.for_timestamp(1800000000000)), "max timestamp": at(OffsetSpec.max_timestamp())}


def seek():
    """Where a consumer that begins at an offset really begins, by its policy for offsets that are not there."""
    name = prefix + "times"

    def first(offset, policy):
        c = consumer(prefix + "seek", **{"auto.offset.reset": policy, "enable.partition.eof": True})
        c.assign([TopicPartition(name, 0, offset)])
        m = until(lambda: c.poll(0.5))
        c.close()
        return [m.error().name() if m.error() else "record", m.offset() if not m.error() or policy != "error" else -1]
    out = {"inside": first(7, "earliest"), "at the end": first(10, "earliest"), "beyond, earliest": first(1000, "earliest"), "beyond, latest": first(1000, "latest"),
           "beyond, error": first(1000, "error")}
    done(admin.delete_records([TopicPartition(name, 0, 4)]))
    out.update({"deleted, earliest": first(1, "earliest"), "deleted, latest": first(1, "latest"), "deleted, error": first(1, "error")})
    return out


def fill(n=100):
    p = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for i in range(n):
        p.produce(topic, value=b"%d" % i, partition=i % 2)
    p.flush(90)


def consume_group():
    fill()
    c, got = consumer(), []
    c.subscribe([topic])
    until(lambda: got.extend(c.consume(100, 0.5)) or len(got) >= 100)
    c.commit(asynchronous=False)
    committed = sorted((t.partition, t.offset) for t in c.committed([TopicPartition(topic, p) for p in (0, 1)], timeout=60))
    c.close()
    return {"read": digest(sorted((m.partition(), m.offset(), m.value()) for m in got)), "committed": committed}


def rebalance(strategy):
    name, how = group + strategy, {"partition.assignment.strategy": strategy}
    a, b = consumer(name, **how), consumer(name, **how)

    def shares(*want):
        def ask():
            for c in (a, b) if len(want) == 2 else (a,):
                c.poll(0.1)
            return [len(c.assignment()) for c in (a, b)[:len(want)]] == list(want)
        return bool(until(ask))
    a.subscribe([topic])
    out = {"alone": shares(2)}
    b.subscribe([topic])
    out["two"] = shares(1, 1)
    b.close()
    out["left"] = shares(2)
    a.close()
    return out


def static_member():
    """A member that comes back under its instance id gets its share again; the group does not notice that it was away."""
    name = group + "static"

    def share(c):
        c.subscribe([topic])
        return until(lambda: c.poll(0.1) and False or len(c.assignment()))
    first, second = consumer(name, **{"group.instance.id": "one"}), consumer(name, **{"group.instance.id": "one"})
    out = {"first": share(first)}
    first.close()
    out["second"] = share(second)
    d = admin.describe_consumer_groups([name])[name].result(90)
    out["members"] = [(m.group_instance_id, len(m.assignment.topic_partitions)) for m in d.members]
    second.close()
    return out


def resume():
    fill(20)
    first, second = consumer(), consumer()
    first.subscribe([topic])
    got = []
    until(lambda: got.extend(first.consume(1, 0.5)) or len(got) >= 10)
    offsets = {}
    for m in got:
        offsets[m.partition()] = max(offsets.get(m.partition(), 0), m.offset() + 1)
    first.commit(offsets=[TopicPartition(topic, p, o) for p, o in offsets.items()], asynchronous=False)
    first.close()
    second.subscribe([topic])
    rest = []
    until(lambda: rest.extend(second.consume(100, 0.5)) or len(got) + len(rest) >= 20)
    second.close()
    seen = [(m.partition(), m.offset()) for m in got + rest]
    return {"records": len(seen), "different": len(set(seen))}


def describe_groups():
    c = consumer(prefix + "seen", **{"client.id": "watched"})
    c.subscribe([topic])
    until(lambda: c.poll(0.1) and False or len(c.assignment()) == 2)
    d = admin.describe_consumer_groups([prefix + "seen"])[prefix + "seen"].result(90)
    listed = {g.group_id: g.state.name for g in admin.list_consumer_groups().result(90).valid}
    c.close()
    return {"state": d.state.name, "members": [(m.client_id, m.host, len(m.assignment.topic_partitions)) for m in d.members], "assignor": d.partition_assignor,
            "listed": listed.get(prefix + "seen"), "other": listed.get(group)}


def add_partitions():
    done(admin.create_partitions([NewPartitions(topic, 4)], operation_timeout=10))
    try:
        done(admin.create_partitions([NewPartitions(topic, 3)]))
        fewer = "done"
    except KafkaException as e:
        fewer = e.args[0].name()
    return {"four": bool(until(lambda: len(admin.list_topics(topic, timeout=60).topics[topic].partitions) == 4)), "fewer": fewer}


def configs():
    where = ConfigResource(ResourceType.TOPIC, topic)

    def shown():
        e = done(admin.describe_configs([where]))[str(where)]
        return {k: (e[k].value, e[k].source, e[k].is_default, e[k].is_read_only) for k in ("retention.ms", "segment.bytes", "cleanup.policy", "max.message.bytes")}
    before = shown()
    where = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[ConfigEntry("retention.ms", "55555555", incremental_operation=AlterConfigOpType.SET)])
    done(admin.incremental_alter_configs([where]))
    where = ConfigResource(ResourceType.TOPIC, topic)
    until(lambda: shown()["retention.ms"][0] == "55555555")
    after = shown()
    bad = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[ConfigEntry("retention.ms", "abc", incremental_operation=AlterConfigOpType.SET)])
    try:
        done(admin.incremental_alter_configs([bad]))
        refused = "taken"
    except KafkaException as e:
        refused = e.args[0].name()
    return {"before": before, "after": after, "bad value": refused}


def delete_records():
    low = done(admin.delete_records([TopicPartition(topic, 0, 15)]))
    c = consumer()
    ends = c.get_watermark_offsets(TopicPartition(topic, 0), timeout=60)
    c.close()
    return {"low": [v.low_watermark for v in low.values()], "begin": ends[0], "more": ends[1] > 15}


def alter_offsets():
    where = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 1, 7)])
    altered = admin.alter_consumer_group_offsets([where])[group].result(90)
    now = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(90)
    return {"altered": [(t.partition, t.offset, t.error and t.error.name()) for t in altered.topic_partitions],
            "now": sorted((t.partition, t.offset) for t in now.topic_partitions if t.partition == 1)}


def cluster():
    d = admin.describe_cluster().result(90)
    elected = admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, 0)]).result(90)
    return {"controller": d.controller.id, "nodes": [n.id for n in d.nodes], "elected": [e and e.name() for e in elected.values()]}


def delete_group():
    def offsets():
        got = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(90)
        return sorted((t.partition, t.offset >= 0) for t in got.topic_partitions)
    before = offsets()
    done(admin.delete_consumer_groups([group]))
    return {"before": before, "after": offsets()}


def delete_topic():
    done(admin.delete_topics([topic], operation_timeout=10))
    return {"gone": bool(until(lambda: topic not in admin.list_topics(timeout=60).topics))}


scenario("create topic", create_topic)
for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    scenario("produce and read " + codec, produce, codec)
scenario("list offsets", list_offsets)
scenario("seek, offset out of range", seek)
scenario("consume in a group, commit", consume_group)
for way in ("range", "cooperative-sticky"):
    scenario("second member joins and leaves, " + way, rebalance, way)
scenario("static member", static_member)
scenario("commit and resume", resume)
scenario("list and describe groups", describe_groups)
scenario("alter committed offsets", alter_offsets)
scenario("add partitions", add_partitions)
scenario("alter and describe configs", configs)
scenario("delete records", delete_records)
scenario("cluster, leader election", cluster)
scenario("delete group", delete_group)
scenario("delete topic", delete_topic)
