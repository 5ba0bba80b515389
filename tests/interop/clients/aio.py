"""Python aiokafka: the scenarios of the report card (it cannot delete groups)."""
import asyncio
import inspect

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from scenarios import COUNT, bootstrap, digest, missed, plain, prefix, record, scenario

topic, group = prefix + "aio-topic", prefix + "aio-group"


async def until(condition, seconds=90):
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(0.05)
    missed.append(condition)
    return False


def consumer(*topics, name=group, **more):
    return AIOKafkaConsumer(*topics, **dict({"bootstrap_servers": bootstrap, "group_id": name, "auto_offset_reset": "earliest", "enable_auto_commit": False,
                                             "session_timeout_ms": 6000, "heartbeat_interval_ms": 300}, **more))


async def read(c, count):
    got = []

    async def more():
        got.extend(m for batch in (await c.getmany(timeout_ms=500)).values() for m in batch)
        return len(got) >= count
    await until(more)
    return got


async def partitions(admin):
    return len((await admin.describe_topics([topic]))[0]["partitions"])


async def create_topic(admin):
    first = await admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "123456789"})])
    return {"answer": plain(first), "partitions": await until(lambda: partitions(admin)), "again": plain(await admin.create_topics([NewTopic(topic, 2, 1)]))}


async def produce(admin, codec):
    name = prefix + "aio-" + str(codec)
    await admin.create_topics([NewTopic(name, 1, 1)])
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, compression_type=codec, linger_ms=5) as p:
        for i in range(COUNT):
            key, value = record(i)
            await p.send(name, key=key, value=value, headers=[("h", b"1")], partition=0)
        await p.flush()
    c = consumer(name=None)
    c.assign([TopicPartition(name, 0)])
    await c.start()
    await c.seek_to_beginning()
    got = await read(c, COUNT)
    await c.stop()
    return {"read": digest((m.offset, m.key, m.value, [tuple(h) for h in m.headers]) for m in got)}


async def list_offsets(admin):
    name = prefix + "aio-times"
    await admin.create_topics([NewTopic(name, 1, 1)])
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as p:
        for i in range(10):
            await p.send(name, value=b"%d" % i, partition=0, timestamp_ms=1700000000000 + 1000 * i)
        await p.flush()
    tp = TopicPartition(name, 0)
    async with consumer(name=None) as c:
        return {"of a time": plain(await c.offsets_for_times({tp: 1700000004500})), "too late": plain(await c.offsets_for_times({tp: 1800000000000})),
                "ends": [(await c.beginning_offsets([tp]))[tp], (await c.end_offsets([tp]))[tp]]}


async def seek(admin):
    """Where a consumer that begins at an offset really begins, by its policy for offsets that are not there."""
    tp = TopicPartition(prefix + "aio-times", 0)

    async def first(offset, policy):
        c = consumer(name=None, auto_offset_reset=policy)
        c.assign([tp])
        await c.start()
        try:
            c.seek(tp, offset)

            async def begun():
                got = [m.offset for batch in (await c.getmany(timeout_ms=500)).values() for m in batch]
                if got:
                    return got[:1]
                at = await c.position(tp)
                return [at] if at != offset else None
            return await until(begun)
        except Exception as e:  # the name is the outcome
            return type(e).__name__
        finally:
            await c.stop()
    out = {"inside": await first(7, "earliest"), "beyond, earliest": await first(1000, "earliest"), "beyond, latest": await first(1000, "latest"),
           "beyond, none": await first(1000, "none")}
    await admin.delete_records({tp: RecordsToDelete(4)})
    out.update({"deleted, earliest": await first(1, "earliest"), "deleted, latest": await first(1, "latest"), "deleted, none": await first(1, "none")})
    return out


async def cluster(admin):
    d = await admin.describe_cluster()
    return {"brokers": len(d["brokers"]), "controller": d["controller_id"]}


async def fill(n=100):
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as p:
        for i in range(n):
            await p.send(topic, value=b"%d" % i, partition=i % 2)
        await p.flush()


async def consume_group(admin):
    await fill()
    async with consumer(topic) as c:
        got = await read(c, 100)
        await c.commit()
        committed = [await c.committed(TopicPartition(topic, p)) for p in (0, 1)]
    return {"read": digest(sorted((m.partition, m.offset, m.value) for m in got)), "committed": committed}


async def rebalance(admin):
    a, b = consumer(topic), consumer(topic)

    async def shares(*want):
        async def ask():
            for c in (a, b)[:len(want)]:
                await c.getmany(timeout_ms=50)
            return [len(c.assignment()) for c in (a, b)[:len(want)]] == list(want)
        return bool(await until(ask))
    await a.start()
    out = {"alone": await shares(2)}
    await b.start()
    out["two"] = await shares(1, 1)
    await b.stop()
    out["left"] = await shares(2)
    await a.stop()
    return out


async def resume(admin):
    await fill(20)
    async with consumer(topic, max_poll_records=5) as first:
        got = await read(first, 10)
        offsets = {}
        for m in got:
            offsets[TopicPartition(topic, m.partition)] = max(offsets.get(TopicPartition(topic, m.partition), 0), m.offset + 1)
        await first.commit(offsets)
    async with consumer(topic) as second:
        rest = await read(second, 20 - len(got))
    seen = [(m.partition, m.offset) for m in got + rest]
    return {"records": len(seen), "different": len(set(seen))}


async def describe_groups(admin):
    async with consumer(topic, name=prefix + "aio-seen", client_id="watched") as c:
        await until(lambda: len(c.assignment()) == 2)
        described = plain(await admin.describe_consumer_groups([prefix + "aio-seen"]))
        listed = sorted(plain(g) for g in await admin.list_consumer_groups() if prefix + "aio-" in str(g))
    offsets = sorted((tp.partition, o.offset >= 50) for tp, o in (await admin.list_consumer_group_offsets(group)).items())
    return {"described": described, "listed": listed, "offsets": offsets}


async def add_partitions(admin):
    answer = plain(await admin.create_partitions({topic: NewPartitions(4)}))

    async def four():
        return await partitions(admin) == 4
    return {"answer": answer, "four": bool(await until(four))}


async def configs(admin):
    async def shown():
        answer = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], include_synonyms=True)
        return sorted(plain(entry) for entry in answer[0].resources[0][-1])
    before = await shown()
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "55555555"})])

    async def changed():
        return "55555555" in str(await shown())
    await until(changed)
    bad = plain(await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "abc"})]))
    return {"before": before, "after": await shown(), "bad value is refused": "error_code=40" in bad}


async def delete_records(admin):
    answer = await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(15)})
    async with consumer(name=None) as c:
        begin = await c.beginning_offsets([TopicPartition(topic, 0)])
    return {"answer": plain(answer), "begin": plain(begin)}


async def delete_topic(admin):
    await admin.delete_topics([topic])

    async def gone():
        return topic not in await admin.list_topics()
    return {"gone": bool(await until(gone))}


async def told(fn, *args):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return await asyncio.wait_for(fn(admin, *args), 300)
    finally:
        await admin.close()


def tell(name, fn, *args):
    scenario(name, lambda: asyncio.run(told(fn, *args)))


tell("create topic", create_topic)
for codec in (None, "gzip", "snappy", "lz4", "zstd"):
    tell("produce and read %s" % (codec or "none"), produce, codec)
tell("list offsets", list_offsets)
tell("seek, offset out of range", seek)
tell("consume in a group, commit", consume_group)
tell("second member joins and leaves", rebalance)
tell("commit and resume", resume)
tell("list and describe groups", describe_groups)
tell("add partitions", add_partitions)
tell("alter and describe configs", configs)
tell("delete records", delete_records)
tell("cluster", cluster)
tell("delete topic", delete_topic)
