#!/usr/bin/env python3
"""cases_behaviour.py: what clients depend on and new brokers get wrong, one case a pitfall; the comment above each names the fact.

    tests/cluster/run behaviour_...                                        as part of the cluster tests
    tests/cluster/cases_behaviour.py --bootstrap HOST:PORT [CASE...]        one broker that runs, a Kafka too: what is asked for here is what Kafka 3.9.1 does

Cases of one broker share it, each with topics of its own. [Q n] = facts/client-quirks.md section n, [U n] = background/users.md section 4 item n.
"""
import gzip
import os
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
sys.dont_write_bytecode = True

import messages  # noqa: E402
import records  # noqa: E402
from asking import ANY_TAG, APIS, NO_ID, Broker, batch, creates, messages_in, offsets_in, refused, zstd_of  # noqa: E402
from cluster import check  # noqa: E402

CASES = {}


def one_broker(c):
    """The cluster that these cases share."""
    c.start(brokers=1, controllers=1, default__replication__factor=1, min__insync__replicas=1, num__partitions=1, offsets__topic__replication__factor=1)


def case(fn):
    def on_cluster(c):
        b = Broker(c.port(1), fn.__name__)
        try:
            fn(b)
        finally:
            b.close()
    on_cluster.world = one_broker
    on_cluster.on_broker = fn
    CASES["behaviour_" + fn.__name__] = on_cluster
    return fn


# ---- frames, headers, versions ----

@case
def client_id_null(b):
    """[Q 1, U 3] A null client id is an empty one."""
    for client_id in (None, "", "x"):
        c = b.conn(client_id=client_id)
        for version in (0, 3):
            check(c.ask("ApiVersions", version, {"client_software_name": "a", "client_software_version": "1"})["error_code"] == 0, "ApiVersions %d", version)
        c.ask("Metadata", 12, {"topics": []})


@case
def unknown_tags(b):
    """[Q 1] Tags that we do not know are skipped, in the header and in every struct."""
    topic = b.topic()
    c = b.conn()
    whole = APIS["Metadata"].request
    body = messages.encode(whole, 12, {"topics": [{"name": topic}], "allow_auto_topic_creation": False})
    inner = messages.encode_fields(whole.fields[0].fields, 12, {"name": topic}, True)
    check(body.count(inner) == 1 and inner[-1:] == body[-1:] == b"\0", "the body is as expected")
    tagged = body[:-1].replace(inner, inner[:-1] + ANY_TAG) + ANY_TAG
    head = struct.pack(">hhi", 3, 12, 77) + struct.pack(">h", -1) + ANY_TAG
    c.raw(struct.pack(">i", len(head + tagged)) + head + tagged)
    corr, answer = c.answer()
    r = messages.decode(APIS["Metadata"].response, 12, answer[1:])
    check(corr == 77 and r["topics"][0]["error_code"] == 0 and r["topics"][0]["name"] == topic, "answered: %s", r["topics"])


@case
def bytes_behind_the_body(b):
    """librdkafka 2.16 asks for all topics with three bytes too many; what it got for it from Kafka it gets here."""
    topic = b.topic()
    c = b.conn(client_id="rdkafka")
    c.raw(c.request("Metadata", 12, bytes.fromhex("00000000010000")))
    r = c.receive("Metadata", 12)
    check(topic in [t["name"] for t in r["topics"]], "all topics: %s", r)
    check(c.ask("Metadata", 12, {"topics": [{"name": topic}]})["topics"][0]["error_code"] == 0, "the connection goes on")


@case
def null_where_none_is_allowed(b):
    """[Q 1] A null that the schema does not allow does not parse: the connection closes without an answer."""
    c = b.conn()
    c.raw(c.request("Metadata", 1, struct.pack(">ih", 1, -1)))
    check(c.is_closed(5), "Metadata 1 with a null topic name is closed")
    check(b.conn().ask("Metadata", 12, {"topics": None})["brokers"], "nobody else notices")


@case
def unknown_api_or_version(b):
    """[Q 1, U 4] An unknown API, an unknown version, a body that does not parse: closed without an answer."""
    for api, version, body in ((999, 0, b""), (-1, 0, b""), (3, 13, b"\0" * 9), (1, -1, b""), (0, 12, b"\0" * 30), (3, 1, b"\0\0\0\5")):
        c = b.conn()
        head = struct.pack(">hhi", api, version, 1) + struct.pack(">h", -1)
        c.raw(struct.pack(">i", len(head + body)) + head + body)
        check(c.is_closed(5), "API %d version %d is closed", api, version)


@case
def api_versions_newer(b):
    """[Q 2, U 1] A newer ApiVersions is answered in form 0 with UNSUPPORTED_VERSION and one entry, its own range; the connection goes on with that."""
    c = b.conn()
    for version in (5, 99, 32767):
        head = struct.pack(">hhi", 18, version, version) + struct.pack(">h", 1) + b"x" + b"\0"
        body = b"\x02a\x02b\0"
        c.raw(struct.pack(">i", len(head + body)) + head + body)
        corr, answer = c.answer()
        check((corr, answer) == (version, struct.pack(">hihhh", 35, 1, 18, 0, 4)), "ApiVersions %d is answered %s", version, answer.hex())
    check(c.ask("ApiVersions", 4, {"client_software_name": "a", "client_software_version": "1"})["error_code"] == 0, "it steps down to 4")


@case
def api_versions_forms(b):
    """[Q 2, U 2] The same list in all versions; form 0 has no throttle time; the response header never has tags; no feature of level 0 below v4."""
    lists = []
    for version in range(5):
        r = b.conn().ask("ApiVersions", version, {"client_software_name": "a", "client_software_version": "1"})
        check(r["error_code"] == 0 and r.get("throttle_time_ms", 0) == 0, "version %d: %s", version, r["error_code"])
        check(not [f for f in r.get("supported_features", []) if version < 4 and f["min_version"] == 0], "features in version %d", version)
        lists.append([(k["api_key"], k["min_version"], k["max_version"]) for k in r["api_keys"]])
    check(all(sorted(x) == sorted(lists[0]) for x in lists), "the lists are equal")


@case
def api_versions_software_name(b):
    """[Q 2] From v3 on a client names itself in letters, digits, dots and dashes; else INVALID_REQUEST, and the connection stays."""
    c = b.conn()
    for name, version, error in (("librdkafka", "2.0.2", 0), ("a-b.c", "1-2", 0), ("", "1", 42), ("a", "", 42), ("a b", "1", 42), ("-a", "1", 42), ("a", "1.", 42), ("\u00e4", "1", 42)):
        r = c.ask("ApiVersions", 3, {"client_software_name": name, "client_software_version": version})
        check(r["error_code"] == error, "%r %r: error %d", name, version, r["error_code"])


@case
def api_versions_ranges(b):
    """[Q 2, U 5-9] What librdkafka, Sarama and kafka-python conclude from: Produce from 0, to 9 at least, Fetch to 11 and more; few entries; nothing beyond 3.9."""
    have = b.lists()
    check(0 < len(have) < 1000, "%d entries", len(have))
    for key, low, high in ((0, 0, 9), (1, 0, 13), (2, 0, 7), (3, 0, 12), (18, 0, 4), (19, 0, 7), (20, 0, 6), (22, 0, 4), (23, 0, 4)):
        check(key in have and have[key][0] <= low and have[key][1] >= high, "API %d: %s", key, have.get(key))
    names = {a.key: a for a in APIS.values()}
    beyond = [k for k, (_, high) in have.items() if k not in names or high > max(names[k].request.kafka39, default=-1)]
    check(not beyond, "beyond Kafka 3.9: %s", beyond)


@case
def throttle_time(b):
    """[Q 4] throttle_time_ms is there from the right versions on (the schema says which) and 0 while there are no quotas."""
    topic = b.topic()
    asks = {"Produce": {"acks": 1, "timeout_ms": 1000, "topic_data": [{"name": topic, "partition_data": [{"index": 0, "records": batch()}]}]},
        "Fetch": {"topics": [{"topic": topic, "topic_id": b.topic_id(topic), "partitions": [{"partition": 0, "fetch_offset": 1 << 40, "partition_max_bytes": 100}]}]},
        "ListOffsets": {"replica_id": -1, "topics": [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -1, "max_num_offsets": 1}]}]},
        "Metadata": {"topics": [{"name": topic}]}, "CreateTopics": {"topics": [], "timeout_ms": 1000}, "DeleteTopics": {"topics": [], "topic_names": [], "timeout_ms": 1000},
        "InitProducerId": {"transactional_id": None, "transaction_timeout_ms": 1000}, "ApiVersions": {"client_software_name": "a", "client_software_version": "1"},
        "OffsetForLeaderEpoch": {"topics": [{"topic": topic, "partitions": [{"partition": 0, "leader_epoch": 0}]}]},
        "DescribeConfigs": {"resources": [{"resource_type": 2, "resource_name": topic, "configuration_keys": None}]}, "DescribeCluster": {}}
    have, tried = b.lists(), 0
    for name, values in asks.items():
        for version in range(have[APIS[name].key][0], have[APIS[name].key][1] + 1):
            if name == "Produce" and version < 3:
                continue  # its batches are of magic 0 and 1
            r = b.conn(5).ask(name, version, values)  # decodes to the last byte, or fails
            there = any(f.name == "throttle_time_ms" and version in f.versions for f in APIS[name].response.fields)
            check(r.get("throttle_time_ms", 0) == 0 and ("throttle_time_ms" in r) == there, "%s %d: throttled for %s ms", name, version, r.get("throttle_time_ms"))
            tried += 1
    check(tried > 60, "%d versions", tried)


# ---- Produce ----

@case
def produce_no_answer(b):
    """[Q 5, U 35] acks=0 is never answered."""
    topic = b.topic()
    c = b.conn()
    c.raw(c.request("Produce", 9, {"acks": 0, "timeout_ms": 1000, "topic_data": [{"name": topic, "partition_data": [{"index": 0, "records": batch()}]}]}))
    check(c.ask("ListOffsets", 1, {"replica_id": -1, "topics": [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -1}]}]})
        ["topics"][0]["partitions"][0]["offset"] == 1, "the request behind it is answered next, and sees the record")


@case
def produce_no_answer_but_close(b):
    """[Q 5] An error with acks=0 closes the connection, so that the client looks for the leader."""
    topic = b.topic()
    for name, partition, records_ in ((topic, 7, batch()), ("b-no-such-topic", 0, batch()), (topic, 0, batch(crc_xor=1))):
        c = b.conn()
        c.raw(c.request("Produce", 9, {"acks": 0, "timeout_ms": 1000, "topic_data": [{"name": name, "partition_data": [{"index": partition, "records": records_}]}]}))
        check(c.is_closed(5), "%s-%d: not closed", name, partition)


@case
def produce_acks(b):
    """[Q 5] acks other than -1, 0, 1: INVALID_REQUIRED_ACKS for every partition that is there, nothing written."""
    topic = b.topic(2)
    for acks in (2, -2, 32767):
        r = b.conn().ask("Produce", 9, {"acks": acks, "timeout_ms": 1000, "topic_data": [{"name": topic, "partition_data": [{"index": p, "records": batch()} for p in (0, 1, 9)]}]})
        check({p["index"]: p["error_code"] for p in r["responses"][0]["partition_responses"]} == {0: 21, 1: 21, 9: 3}, "acks %d: %s", acks, r)
    check(b.list_offsets(topic)["offset"] == 0, "nothing was written")


@case
def produce_one_bad_partition(b):
    """[Q 5] A partition that is refused harms no other; what it answers is -1 all over."""
    topic = b.topic(3)
    parts = [{"index": 0, "records": batch()}, {"index": 1, "records": batch(crc_xor=1)}, {"index": 2, "records": batch()}, {"index": 3, "records": batch()}]
    got = b.conn().ask("Produce", 9, {"acks": -1, "timeout_ms": 9000, "topic_data": [{"name": topic, "partition_data": parts}, {"name": "b-no-such-topic",
        "partition_data": parts[:1]}]})["responses"]
    errors = {(t["name"], p["index"]): p for t in got for p in t["partition_responses"]}
    for key, code in (((topic, 0), 0), ((topic, 1), 2), ((topic, 2), 0), ((topic, 3), 3), (("b-no-such-topic", 0), 3)):
        p = errors[key]
        check(p["error_code"] == code, "%s: error %d", key, p["error_code"])
        check(p["base_offset"] == (0 if code == 0 else -1) and p["log_append_time_ms"] == -1, "%s: %s", key, p)
        check(p["log_start_offset"] == (-1 if code else 0), "%s: log start offset %d", key, p["log_start_offset"])


@case
def produce_nothing(b):
    """[Q 5] No topics is legal, and answered with none."""
    for version in (3, 8, 9, 11):
        check(b.conn().ask("Produce", version, {"acks": -1, "timeout_ms": 1000, "topic_data": []})["responses"] == [], "version %d", version)


@case
def produce_batch_rules(b):
    """[Q 5, U 40] From v3 on one batch of magic 2, base offset 0; zstd from v7; contents as they say; each refusal has its code."""
    topic = b.topic()
    for what, records_, version, code in (
            ("two batches", batch() + batch(), 9, 87), ("no batch", b"", 9, 87), ("base offset 5", batch(base=5), 9, 87),
            ("zstd in v6", batch(inside=b"(\xb5/\xfd\x20\x00\x01\x00\x00", attributes=4), 6, 76),
            ("a control batch", batch(attributes=0x20), 9, 87), ("count too high", batch(1, 2, count=3), 9, 87), ("count 0", batch(count=0), 9, 87),
            ("a producer id without a sequence", batch(producer=(5, 0, -1)), 9, 87), ("a wrong CRC", batch(crc_xor=1), 9, 2)):
        r = b.produce(topic, records_, version=version)
        check(r["error_code"] == code, "%s: error %d, not %d", what, r["error_code"], code)
    check(b.list_offsets(topic)["offset"] == 0, "nothing was written")


@case
def produce_sizes(b):
    """[Q 5, U 38] max.message.bytes is the size of a batch, and enforced: MESSAGE_TOO_LARGE; larger than a segment: RECORD_LIST_TOO_LARGE."""
    topic = b.topic(max__message__bytes=1000)
    fits = batch(b"x" * 900)
    check(len(fits) <= 1000 < len(batch(b"x" * 1000)), "sizes of the test")
    check(b.produce(topic, fits)["error_code"] == 0, "fits")
    check(b.produce(topic, batch(b"x" * 1000))["error_code"] == 10, "MESSAGE_TOO_LARGE")
    small = b.topic(segment__bytes=2000)
    check(b.produce(small, batch(b"x" * 3000))["error_code"] == 18, "RECORD_LIST_TOO_LARGE")
    check(b.produce(small, fits)["error_code"] == 0, "fits")


@case
def produce_codec(b):
    """compression.type: a batch of another codec is stored in the topic's; offsets, times and sequences stay, sizes are looked at before and after."""
    values = [b"%d" % i * 40 for i in range(4)]
    inside = b"".join(records.record(i, v, b"k", (), i) for i, v in enumerate(values))
    sent = {"plain": records.batch(values, step=1), "gzip": records.batch(values, step=1, attributes=1),
            "zstd": records.batch(values, step=1, inside=zstd_of(inside), attributes=4)}
    own = {"plain": 0, "gzip": 1, "zstd": 4}
    for kind, codec in (("producer", None), ("uncompressed", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)):
        topic = b.topic(compression__type=kind)
        for how, (name, data) in enumerate(sent.items()):
            check(b.produced(topic, data) == 4 * how, "%s to %s", name, kind)
            got = b.fetch(topic, 4 * how)["records"]
            base, _, attributes, first, highest, count = struct.unpack(">q9xIh4xqq14xi", got[:61])
            check((base, first, highest, count) == (4 * how, records.NOW, records.NOW + 3, 4), "%s in %s: %s", name, kind, (base, first, highest, count))
            check(attributes == (own[name] if codec is None else codec), "%s in %s: attributes %d", name, kind, attributes)
            check(len(got) == len(data) if attributes == own[name] else attributes == 0 or len(got) < len(sent["plain"]), "%s in %s: %d bytes", name, kind, len(got))
            if attributes in (0, 1):
                check((gzip.decompress(got[61:]) if attributes else got[61:]) == inside, "%s in %s: other records", name, kind)
    r = b.conn().ask("InitProducerId", 4, {"transactional_id": None, "transaction_timeout_ms": 1000})
    check(r["error_code"] == 0, "a producer id: error %d", r["error_code"])
    ours = (r["producer_id"], r["producer_epoch"])
    check([b.produced(topic, records.batch(values, producer=ours + (s,))) for s in (0, 4, 0)] == [12, 16, 12], "a batch that is sent again is known again")
    small = b.topic(compression__type="uncompressed", max__message__bytes=len(sent["plain"]) - 1)
    check(b.produce(small, sent["gzip"])["error_code"] == 10, "too large when it is not compressed")
    check(b.list_offsets(small)["offset"] == 0, "nothing was written")


@case
def produce_no_key_compacted(b):
    """[Q 5, U 37] A record without a key on a compacted topic: INVALID_RECORD, which record in record_errors from v8 on, nothing of the batch written."""
    if refused(b, cleanup__policy="compact"):
        return
    topic = b.topic(cleanup__policy="compact")
    inside = records.record(0, b"v", b"k") + records.record(1, b"v", None) + records.record(2, b"v", b"k") + records.record(3, b"v", None)
    bad = records.batch([b""] * 4, inside=inside)
    r = b.produce(topic, bad, version=8)
    check(r["error_code"] == 87 and [e["batch_index"] for e in r["record_errors"]] == [1, 3], "version 8: %s", r)
    check(r["error_message"] and all(e["batch_index_error_message"] for e in r["record_errors"]), "messages: %s", r)
    check(r["base_offset"] == -1, "base offset %d", r["base_offset"])
    check(b.produce(topic, bad, version=7)["error_code"] == 87, "version 7")
    check(b.produced(topic, records.batch([b"v"], key=b"k")) == 0, "nothing was written")


@case
def produce_timestamps(b):
    """[Q 5] A timestamp out of message.timestamp.before/after.max.ms: INVALID_TIMESTAMP, with record_errors; log append time is answered and stored."""
    topic = b.topic(message__timestamp__after__max__ms=3600000)
    late = records.batch([b"v"], key=b"k", timestamp=int(time.time() * 1000) + 7200000)
    r = b.produce(topic, late)
    check(r["error_code"] == 32 and [e["batch_index"] for e in r["record_errors"]] == [0], "too late: %s", r)
    check(b.produce(topic, batch())["log_append_time_ms"] == -1, "create time answers -1")
    stamped = b.topic(message__timestamp__type="LogAppendTime")
    before = int(time.time() * 1000)
    t = b.produce(stamped, batch(1, 2))["log_append_time_ms"]
    check(before - 1000 <= t <= before + 60000, "log append time %d", t)
    data = b.fetch(stamped)["records"]
    check(struct.unpack(">h", data[21:23])[0] & 8 and struct.unpack(">q", data[35:43])[0] == t, "the batch is marked, its highest timestamp is that time")
    check(records.crc32c(data[21:]) == struct.unpack(">I", data[17:21])[0], "its CRC is right")


@case
def produce_internal(b):
    """[Q 5] Internal topics are not for clients: INVALID_TOPIC_EXCEPTION, or not there at all."""
    r = b.produce("__consumer_offsets", batch())
    check(r["error_code"] in (3, 17) and r["base_offset"] == -1, "error %d", r["error_code"])


@case
def produce_idempotent(b):
    """[Q 5] The last five batches of a producer are known again, with their offsets; older ones and gaps are out of order; a sequence wraps."""
    topic = b.topic()
    pid = b.conn().ask("InitProducerId", 4, {"transactional_id": None, "transaction_timeout_ms": 1000})["producer_id"]
    c = b.conn()
    def send(sequence, *values, epoch=0, producer=pid):
        r = b.produce(topic, batch(*values, producer=(producer, epoch, sequence)), conn=c)
        return r["error_code"], r["base_offset"]
    check(send(0, 1, 2) == (0, 0), "first")
    for i in range(1, 6):
        check(send(1 + i, i) == (0, 1 + i), "batch %d", i)
    check(send(6, 5) == (0, 6) and send(2, 1) == (0, 2), "each of the last five again: its offset")
    check(send(0, 1, 2)[0] == 45, "the sixth from the end is out of order")
    check(send(8, 9)[0] == 45, "a gap is out of order")
    check(send(7, 6) == (0, 7), "the next one is taken")
    check(send(1, 1, epoch=1)[0] == 45, "a new epoch begins with 0")
    check(send(0, 1, epoch=1) == (0, 8), "so it does")
    check(send(8, 1, epoch=0)[0] == 47, "the old epoch is fenced")
    check(send(77, 1, producer=pid + 1000000) == (0, 9), "an unknown producer may begin anywhere")
    check(send(2147483647, 1, 2, producer=pid + 2000000) == (0, 10), "the last sequence, and 0")
    check(send(1, 1, producer=pid + 2000000) == (0, 12), "goes on with 1")


@case
def producer_ids(b):
    """[Q 10, U 48] InitProducerId without a transactional id: any broker, a fresh id each time, epoch 0."""
    have = b.lists()[22]
    ids = [b.conn().ask("InitProducerId", v, {"transactional_id": None, "transaction_timeout_ms": 1000}) for v in range(have[0], have[1] + 1) for _ in range(5)]
    check(all(r["error_code"] == 0 and r["producer_epoch"] == 0 and r["producer_id"] >= 0 for r in ids), "%s", ids[0])
    check(len({r["producer_id"] for r in ids}) == len(ids), "each id is given once")
    for pid, epoch in ((7, -1), (-1, 0)):
        r = b.conn().ask("InitProducerId", 3, {"transactional_id": None, "transaction_timeout_ms": 1000, "producer_id": pid, "producer_epoch": epoch})
        check(r["error_code"] == 42, "an id without an epoch, or an epoch without an id: %s", r)


# ---- Fetch ----

@case
def fetch_no_null_records(b):
    """[Q 6, U 30] Records are empty, never null: nothing new, an error, a topic that is not there."""
    topic = b.topic()
    for version in range(4, b.lists()[1][1] + 1):
        for name, offset in ((topic, 0), (topic, 99), ("b-none" if version < 13 else b"\1" * 16, 0)):
            p = b.fetch(name, offset, version)
            check(p["records"] == b"", "version %d, %s at %d: records are %s", version, name, offset, p["records"])


@case
def fetch_error_form(b):
    """[Q 6] With an error the offsets are -1; aborted_transactions is null for read_uncommitted, a list for read_committed."""
    topic = b.topic()
    b.produced(topic, batch())
    p = b.fetch(topic, 2, 11)
    check((p["error_code"], p["high_watermark"], p["last_stable_offset"], p["log_start_offset"]) == (1, -1, -1, -1), "out of range: %s", p)
    check(p["preferred_read_replica"] == -1, "preferred replica %d", p["preferred_read_replica"])
    p = b.fetch("b-none", 0, 11)
    check((p["error_code"], p["high_watermark"], p["last_stable_offset"], p["log_start_offset"]) == (3, -1, -1, -1), "unknown: %s", p)
    check(b.fetch(topic, 0, 11)["aborted_transactions"] is None, "null for read_uncommitted")
    p = b.fetch(topic, 0, 11, isolation_level=1)
    check(p["aborted_transactions"] == [] and p["last_stable_offset"] == 1, "a list for read_committed: %s", p)


@case
def fetch_order(b):
    """[Q 6] Without a session every partition is answered, in the order of the request."""
    t1, t2 = b.topic(3), b.topic(3)
    part = lambda p: {"partition": p, "fetch_offset": 0, "partition_max_bytes": 1000}  # noqa: E731
    want = [(t2, 2), (t2, 0), (t1, 1), (t1, 2), (t2, 1)]
    r = b.conn().ask("Fetch", 11, {"topics": [{"topic": t, "partitions": [part(p)]} for t, p in want], "max_wait_ms": 0})
    got = [(t["topic"], p["partition_index"]) for t in r["responses"] for p in t["partitions"]]
    check(got == want, "answered in the order %s", got)


@case
def fetch_inside_a_batch(b):
    """[Q 6, U 29] An offset within a batch: the whole batch comes, from its first record on."""
    topic = b.topic()
    b.produced(topic, batch(*range(10)))
    b.produced(topic, batch(*range(5)))
    check(offsets_in(b.fetch(topic, 4)["records"]) == [(0, 9), (10, 14)], "from 4: %s", offsets_in(b.fetch(topic, 4)["records"]))
    check(offsets_in(b.fetch(topic, 14)["records"]) == [(10, 14)], "from 14")


@case
def fetch_first_batch_whole(b):
    """[Q 6, U 38] Limits of bytes: the first batch of the first partition with data comes whole (v3+); what else does not fit stays away."""
    topic = b.topic(3)
    for p in range(3):
        b.produced(topic, batch(b"x" * 5000), partition=p)
        b.produced(topic, batch(b"y" * 5000), partition=p)
    for limit in (1, 0):
        p = b.fetch(topic, 0, 12, p_partition_max_bytes=limit)
        check(offsets_in(p["records"]) == [(0, 0)], "partition_max_bytes %d: %d bytes", limit, len(p["records"]))
    parts = [{"partition": p, "fetch_offset": 0, "partition_max_bytes": 1 << 20} for p in range(3)]
    for max_bytes in (0, 1, 5500):
        r = b.conn().ask("Fetch", 12, {"max_bytes": max_bytes, "topics": [{"topic": topic, "partitions": parts}]})["responses"][0]["partitions"]
        sizes = [len(p["records"]) for p in r]
        whole = [offsets_in(p["records"]) for p in r]
        check(whole[0][:1] == [(0, 0)] and sizes[0] < 6000 and whole[1:] == [[], []], "max_bytes %d: %s bytes", max_bytes, sizes)
        check(all(p["error_code"] == 0 and p["high_watermark"] == 2 for p in r), "max_bytes %d: %s", max_bytes, [p["error_code"] for p in r])


@case
def fetch_waits(b):
    """[Q 6] min_bytes is waited for as long as max_wait_ms says; min_bytes 0, max_wait_ms 0 or an error answer at once; min_bytes counts to max_bytes at most."""
    topic = b.topic(2)
    c = b.conn()
    def took(**more):
        began = time.monotonic()
        p = b.fetch(topic, more.pop("offset", 0), 12, conn=c, **more)
        return time.monotonic() - began, p
    t, p = took(max_wait_ms=700, min_bytes=1)
    check(t >= 0.65 and p["error_code"] == 0, "nothing there: waits %.3f s", t)
    check(took(max_wait_ms=30000, min_bytes=0)[0] < 10 and took(max_wait_ms=0)[0] < 10 and took(max_wait_ms=30000, offset=5)[0] < 10, "at once")
    b.produced(topic, batch(b"x" * 2000))
    t, p = took(max_wait_ms=30000, min_bytes=1 << 30, max_bytes=1000)
    check(t < 10 and offsets_in(p["records"]) == [(0, 0)], "min_bytes above max_bytes: %.3f s", t)
    # what arrives meanwhile ends the wait
    c.raw(c.request("Fetch", 12, b.fetch_request(topic, 1, max_wait_ms=30000)))
    b.produced(topic, batch(b"news"))
    began = time.monotonic()
    r = c.receive("Fetch", 12)["responses"][0]["partitions"][0]
    check(time.monotonic() - began < 10 and offsets_in(r["records"]) == [(1, 1)], "a record ends the wait")


@case
def fetch_sessions(b):
    """[Q 6, U 39] Sessions: a full fetch opens one, later ones name and get only what changed; wrong ids and epochs are told on top; (0, -1) has none."""
    topic = b.topic(3)
    tid = b.topic_id(topic)
    c = b.conn()
    def ask(session, epoch, parts=(), version=13, forget=(), **more):
        name = {"topic_id": tid} if version >= 13 else {"topic": topic}
        r = c.ask("Fetch", version, dict({"max_wait_ms": 0, "min_bytes": 0, "session_id": session, "session_epoch": epoch,
            "topics": [dict(name, partitions=[{"partition": p, "fetch_offset": o, "partition_max_bytes": 9999} for p, o in parts])] if parts else [],
            "forgotten_topics_data": [dict(name, partitions=list(forget))] if forget else []}, **more))
        return r["error_code"], r["session_id"], [(p["partition_index"], p["error_code"], len(p["records"]) > 0) for t in r["responses"] for p in t["partitions"]]
    error, sid, got = ask(0, 0, [(0, 0), (1, 0), (2, 0)])
    check(error == 0 and sid > 0 and got == [(0, 0, False), (1, 0, False), (2, 0, False)], "a new session: %s %s", sid, got)
    check(ask(sid, 1) == (0, sid, []), "nothing changed")
    b.produced(topic, batch(), partition=1)
    check(ask(sid, 2) == (0, sid, [(1, 0, True)]), "one changed")
    check(ask(sid, 3, [(1, 1)]) == (0, sid, []), "read on")
    check(ask(sid, 3)[:2] == (71, 0), "a wrong epoch")
    check(ask(sid + 1, 4)[:2] == (70, 0), "an unknown session")
    check(ask(sid, 4, version=12)[:2] == (106, 0), "names in a session of ids")
    b.produced(topic, batch(), partition=0)
    check(ask(sid, 4, forget=[0]) == (0, sid, []), "what is forgotten is not told")
    check(ask(sid, 5, [(2, 5)])[2] == [(2, 1, False)], "an error is news")
    check(ask(sid, -1, [(1, 0)])[:2] == (0, 0), "epoch -1 closes it")
    check(ask(sid, 6)[:2] == (70, 0), "it is closed")
    check(ask(0, -1, [(1, 0)])[:2] == (0, 0), "no session wanted, none made")


@case
def fetch_topic_ids(b):
    """[Q 6, Q 8, U 10, U 11] From v13 on topics are ids: never zero for a topic of ours; unknown or zero ones are UNKNOWN_TOPIC_ID for their partitions."""
    topic = b.topic()
    made = b.conn(40).ask("CreateTopics", 7, {"timeout_ms": 30000, "topics": [{"name": topic + "x", "num_partitions": 1, "replication_factor": 1}]})["topics"][0]
    check(made["error_code"] == 0 and made["topic_id"] != NO_ID and made["topic_id"] == b.topic_id(topic + "x"), "CreateTopics names the id")
    check(b.topic_id(topic) not in (NO_ID, made["topic_id"]), "each its own")
    for tid in (NO_ID, b"\x11" * 16):
        r = b.conn().ask("Fetch", 13, b.fetch_request(tid, 0, 13))
        check(r["error_code"] == 0 and r["responses"][0]["topic_id"] == tid, "told by partition: %s", r)
        check(r["responses"][0]["partitions"][0]["error_code"] == 100, "error %d", r["responses"][0]["partitions"][0]["error_code"])
    check(b.fetch(topic, 0, 13)["error_code"] == 0, "the right one is served")


@case
def fetch_zstd(b):
    """[Q 6, U 5] Below v10 a topic with compression.type=zstd is UNSUPPORTED_COMPRESSION_TYPE, by the configuration alone."""
    plain = b.topic()
    topic = b.topic(compression__type="zstd")
    check(b.fetch(topic, 0, 9)["error_code"] == 76 and not b.fetch(topic, 0, 9)["records"], "v9: error %d", b.fetch(topic, 0, 9)["error_code"])
    check(b.fetch(topic, 0, 10)["error_code"] == 0, "v10: error %d", b.fetch(topic, 0, 10)["error_code"])
    b.produced(plain, records.batch([b""], inside=zstd_of(records.record(0, b"v", b"k")), attributes=4))
    check(b.fetch(plain, 0, 9)["error_code"] == 0, "codec of the batches does not matter")


@case
def fetch_converts(b):
    """[Q 6] Fetch 0 and 1 get message sets of magic 0, 2 and 3 of magic 1: offsets, times, keys, values, nulls as they are, headers left out; from within a batch."""
    topic = b.topic()
    inside = records.record(0, b"one", b"k") + records.record(1, None, None, ((b"h", b"x"),), 5) + records.record(2, b"", b"", (), 7)
    for codec in (0, 1):
        packed = gzip.compress(inside, mtime=0) if codec else inside
        b.produced(topic, records.batch([b""] * 3, inside=packed, attributes=codec, step=5))
    want = [(b"k", b"one", 0), (None, None, 5), (b"", b"", 7)] * 2
    for version in range(4):
        magic = 0 if version < 2 else 1
        p = b.fetch(topic, 0, version)
        got = []
        while len(got) < 6:
            before = len(got)
            for m in messages_in(b.fetch(topic, before, version)["records"]):
                if m[1] & 7:  # Kafka compresses again what was compressed: the messages are in the value
                    inner = [(x[0], x[1], x[2] if magic == 0 else m[2] - 2 + x[2], x[3], x[4], x[5]) for x in messages_in(gzip.decompress(m[5]))]
                else:
                    inner = [m]
                got += [x for x in inner if x[2] >= len(got)]
            check(len(got) > before, "version %d stands still at %d", version, before)
        check(p["error_code"] == 0 and p["high_watermark"] == 6, "version %d: %s", version, p["error_code"])
        check(got == [(magic, 0, i, records.NOW + t if magic else None, k, v) for i, (k, v, t) in enumerate(want)], "version %d: %s", version, got)
        first = messages_in(b.fetch(topic, 1, version)["records"])
        check(first[0][2] in (0, 1) and len(first) >= 3, "version %d from within: %s", version, first)
    check(b.fetch(topic, 6, 3)["records"] == b"", "nothing new")
    check(b.fetch(topic, 7, 3)["error_code"] == 1, "out of range")


@case
def fetch_converts_no_zstd(b):
    """[Q 6] zstd cannot be said in the old formats: UNSUPPORTED_COMPRESSION_TYPE; what stands before it comes."""
    topic = b.topic()
    b.produced(topic, batch(b"plain"))
    b.produced(topic, records.batch([b""], inside=zstd_of(records.record(0, b"v", b"k")), attributes=4))
    check([m[2] for m in messages_in(b.fetch(topic, 0, 3)["records"])] == [0], "the one before: %s", b.fetch(topic, 0, 3))
    p = b.fetch(topic, 1, 3)
    check(p["error_code"] == 76 and not p["records"], "zstd: %s", p)


@case
def fetch_old_versions(b):
    """[Q 6] With message.downconversion.enable=false Fetch 0-3 is UNSUPPORTED_VERSION for the partition."""
    topic = b.topic(message__downconversion__enable="false")
    b.produced(topic, batch())
    for version in range(4):
        p = b.fetch(topic, 0, version)
        check(p["error_code"] == 35 and not p["records"], "version %d: error %d, %s", version, p["error_code"], p["records"])
    check(b.fetch(topic, 0, 4)["error_code"] == 0, "version 4")


@case
def epochs(b):
    """[Q 6, Q 8] current_leader_epoch older than ours: FENCED_LEADER_EPOCH, newer: UNKNOWN_LEADER_EPOCH; in Fetch, ListOffsets, OffsetForLeaderEpoch."""
    topic = b.topic()
    b.produced(topic, batch())
    epoch = b.metadata([topic])["topics"][0]["partitions"][0]["leader_epoch"]
    check(epoch >= 0, "the epoch is known: %d", epoch)
    def answers(e):
        f = b.fetch(topic, 0, 12, p_current_leader_epoch=e)["error_code"]
        o = b.list_offsets(topic, current_leader_epoch=e)["error_code"]
        r = b.conn().ask("OffsetForLeaderEpoch", 4, {"replica_id": -1, "topics": [{"topic": topic, "partitions": [{"partition": 0, "current_leader_epoch": e, "leader_epoch": epoch}]}]})
        return f, o, r["topics"][0]["partitions"][0]["error_code"]
    check(answers(epoch) == (0, 0, 0) and answers(-1) == (0, 0, 0), "ours: %s, none: %s", answers(epoch), answers(-1))
    check(answers(epoch + 1) == (75, 75, 75), "a newer one: %s", answers(epoch + 1))
    p = b.fetch(topic, 0, 12, p_current_leader_epoch=epoch + 1)
    check((p["high_watermark"], p["last_stable_offset"], p["log_start_offset"]) == (-1, -1, -1), "the form of an error: %s", p)


@case
def epoch_ends(b):
    """[U 32] OffsetForLeaderEpoch: our epoch ends at the end, a future one is (-1, -1); -1 asked is -1 answered; a divergence is told by Fetch 12."""
    topic = b.topic()
    b.produced(topic, batch(1, 2, 3))
    epoch = b.metadata([topic])["topics"][0]["partitions"][0]["leader_epoch"]
    def end(e):
        r = b.conn().ask("OffsetForLeaderEpoch", 4, {"replica_id": -1, "topics": [{"topic": topic, "partitions": [{"partition": 0, "leader_epoch": e}]}]})
        p = r["topics"][0]["partitions"][0]
        return p["error_code"], p["leader_epoch"], p["end_offset"]
    check(end(epoch) == (0, epoch, 3), "ours: %s", end(epoch))
    check(end(epoch + 5) == (0, -1, -1), "a future one: %s", end(epoch + 5))
    check(end(-1) == (0, -1, -1), "none: %s", end(-1))
    p = b.fetch(topic, 3, 12, p_last_fetched_epoch=epoch)
    check(p["error_code"] == 0 and p["diverging_epoch"]["epoch"] == -1, "no divergence: %s", p)
    p = b.fetch(topic, 2, 12, p_last_fetched_epoch=epoch + 3)
    check(p["error_code"] == 1 and p["records"] == b"", "an epoch that never was: error %d", p["error_code"])


# ---- ListOffsets ----

@case
def offsets_special(b):
    """[Q 7, U 27, U 31] -1 latest, -2 earliest, -3 largest timestamp from v7, -4 from v8, -5 from v9; what a version does not know is UNSUPPORTED_VERSION."""
    topic = b.topic()
    check(b.list_offsets(topic)["offset"] == 0, "an empty partition begins at 0")
    check((b.list_offsets(topic, -3)["error_code"], b.list_offsets(topic, -3)["offset"]) == (0, -1), "no largest timestamp: %s", b.list_offsets(topic, -3))
    b.produced(topic, batch(1, 2, timestamp=5000, step=1000))
    b.produced(topic, batch(1, timestamp=4000))
    for version in range(1, b.lists()[2][1] + 1):
        r = b.list_offsets(topic, -1, version)
        check((r["error_code"], r["offset"], r["timestamp"]) == (0, 3, -1), "latest in version %d: %s", version, r)
        check(r.get("leader_epoch", 0) == 0, "its epoch in version %d: %s", version, r)
        r = b.list_offsets(topic, -2, version)
        check((r["error_code"], r["offset"], r["timestamp"]) == (0, 0, -1), "earliest in version %d: %s", version, r)
        for special, since in ((-3, 7), (-4, 8), (-5, 9), (-6, 99)):
            r = b.list_offsets(topic, special, version)
            check((r["error_code"] == 35) == (version < since), "%d in version %d: error %d", special, version, r["error_code"])
    r = b.list_offsets(topic, -3)
    check((r["offset"], r["timestamp"]) == (1, 6000), "the largest timestamp: %s", r)


@case
def offsets_by_time(b):
    """[Q 7, U 31] The first record at or after a time, its own timestamp; none is -1 and no error; a partition named twice is INVALID_REQUEST; v0 is a list."""
    topic = b.topic()
    b.produced(topic, batch(1, 2, 3, timestamp=10000, step=1000))
    b.produced(topic, batch(1, 2, timestamp=20000, step=1000))
    for t, want in ((0, (0, 0, 10000)), (10001, (0, 1, 11000)), (12000, (0, 2, 12000)), (12001, (0, 3, 20000)), (21000, (0, 4, 21000)), (21001, (0, -1, -1))):
        r = b.list_offsets(topic, t)
        check((r["error_code"], r["offset"], r["timestamp"]) == want, "%d: %s", t, r)
    check(b.list_offsets(topic, 21001)["leader_epoch"] == -1, "no epoch for none")
    part = {"partition_index": 0, "timestamp": -1}
    r = b.conn().ask("ListOffsets", 5, {"replica_id": -1, "topics": [{"name": topic, "partitions": [part, part]}]})["topics"]
    check({p["error_code"] for t in r for p in t["partitions"]} == {42}, "twice: %s", r)
    r = b.conn().ask("ListOffsets", 0, {"replica_id": -1, "topics": [{"name": topic, "partitions": [dict(part, max_num_offsets=1)] * 2}]})["topics"]
    check({p["error_code"] for t in r for p in t["partitions"]} == {0}, "twice in version 0: %s", r)
    part["current_leader_epoch"] = -2
    r = b.conn().ask("ListOffsets", 5, {"replica_id": -1, "topics": [{"name": topic, "partitions": [part]}]})["topics"]
    check(r[0]["partitions"][0]["error_code"] == 74, "leader epoch -2 is an old one: %s", r)
    check(b.list_offsets(topic, -1, 0)["old_style_offsets"] == [5], "version 0: %s", b.list_offsets(topic, -1, 0))
    check(b.list_offsets(topic, -2, 0)["old_style_offsets"] == [0], "version 0: %s", b.list_offsets(topic, -2, 0))
    check(b.list_offsets("b-none")["error_code"] == 3 and b.list_offsets("b-none")["offset"] == -1, "unknown")


@case
def offsets_contiguous(b):
    """[U 27, U 28] The first record has offset 0, each record one more, the end is their number."""
    topic = b.topic()
    for i in range(20):
        check(b.produced(topic, batch(*range(i + 1))) == i * (i + 1) // 2, "batch %d", i)
    got = offsets_in(b.fetch(topic)["records"])
    check(got[0][0] == 0 and all(x[1] + 1 == y[0] for x, y in zip(got, got[1:])) and got[-1][1] + 1 == b.list_offsets(topic)["offset"] == 210, "%s", got)


# ---- Metadata ----

@case
def metadata_null_and_empty(b):
    """[Q 8] All topics: an empty list in v0, null from v1 on; an empty list from v1 on is none, brokers only."""
    topic = b.topic()
    def names(r):
        return [t["name"] for t in r["topics"]]
    check(topic in names(b.conn().ask("Metadata", 0, {"topics": []})), "version 0, empty")
    for version in range(1, 13):
        r = b.conn().ask("Metadata", version, {"topics": None})
        check(topic in names(r), "version %d, null", version)
        r = b.conn().ask("Metadata", version, {"topics": []})
        check(r["topics"] == [] and r["brokers"], "version %d, empty: %s", version, names(r))


@case
def metadata_unknown(b):
    """[Q 8] Topics that are asked for and not there stand in the answer with their error and no partitions; names that cannot be: INVALID_TOPIC_EXCEPTION."""
    for version in (1, 4, 9, 12):
        want = {"b-none": 3, "": 17, ".": 17, "..": 17, "a b": 17, "x" * 250: 17, "\u00e4": 17}
        r = b.metadata(list(want), version) if version >= 4 else b.conn().ask("Metadata", version, {"topics": [{"name": n} for n in want if n != "b-none"]})
        got = {t["name"]: (t["error_code"], t["partitions"]) for t in r["topics"]}
        check(got == {n: (e, []) for n, e in want.items() if version >= 4 or n != "b-none"}, "version %d: %s", version, got)
    check("b-none" not in [t["name"] for t in b.metadata(None)["topics"]], "nothing was created")


@case
def metadata_auto_creation(b):
    """[Q 8, U 24] A topic that is asked for by name is created where allowed: LEADER_NOT_AVAILABLE from the controller, then there, with its own id; never by null."""
    name = "b-auto-%d" % os.getpid()
    r = b.conn().ask("Metadata", 9, {"topics": [{"name": name}], "allow_auto_topic_creation": True})["topics"][0]
    check(r["error_code"] == 5 and r["partitions"] == [] and r["name"] == name, "the first answer: %s", r)
    end = time.monotonic() + 15
    while True:
        r = b.conn().ask("Metadata", 12, {"topics": [{"name": name}], "allow_auto_topic_creation": True})["topics"][0]
        if r["error_code"] == 0 and r["partitions"][0]["error_code"] == 0:
            break
        check(r["error_code"] in (3, 5, 0) and time.monotonic() < end, "on its way: %s", r)
        time.sleep(0.02)
    check(r["topic_id"] != NO_ID, "it has an id")
    check(b.produced(name, batch()) == 0, "and is written to")
    check(b.metadata(["b-never"])["topics"][0]["error_code"] == 3, "not allowed, not created")


@case
def metadata_by_id(b):
    """[Q 8] By id from v12 on; an unknown one: UNKNOWN_TOPIC_ID, no name; in v10 and v11 an id is INVALID_REQUEST."""
    topic = b.topic()
    tid = b.topic_id(topic)
    r = b.conn().ask("Metadata", 12, {"topics": [{"topic_id": tid, "name": None}]})["topics"][0]
    check((r["error_code"], r["name"], r["topic_id"]) == (0, topic, tid), "by id: %s", r)
    r = b.conn().ask("Metadata", 12, {"topics": [{"topic_id": b"\x13" * 16, "name": None}]})["topics"][0]
    check((r["error_code"], r["name"], r["topic_id"], r["partitions"]) == (100, None, b"\x13" * 16, []), "unknown: %s", r)


@case
def metadata_by_nothing(b):
    """[Q 8] v12 with neither name nor id: the whole request fails, and nothing else is told."""
    topic = b.topic()
    r = b.conn().ask("Metadata", 12, {"topics": [{"name": topic}, {"name": None}]})
    check([(t["error_code"], t["name"], t["partitions"]) for t in r["topics"]] == [(-1, topic, []), (-1, "", [])], "topics: %s", r["topics"])
    check((r["brokers"], r["cluster_id"], r["controller_id"]) == ([], None, -1), "the rest: %s", r)
    r = b.conn().ask("Metadata", 12, {"topics": [{"topic_id": b.topic_id(topic), "name": None}, {"name": None}]})
    check([t["error_code"] for t in r["topics"]] == [0] and r["brokers"], "beside an id it is not looked at: %s", r)


@case
def elect_unknown_type(b):
    """Types of election that nobody knows fail as a whole, in the form of the request."""
    topic = b.topic()

    def ask(parts):
        r = b.conn().ask("ElectLeaders", 2, {"election_type": 2, "topic_partitions": parts, "timeout_ms": 5000})
        return r["error_code"], [(t["topic"], [(p["partition_id"], p["error_code"]) for p in t["partition_result"]]) for t in r["replica_election_results"]]
    check(ask([{"topic": topic, "partitions": [0, 0]}]) == (-1, [(topic, [(0, -1), (0, -1)])]), "twice: %s", ask([{"topic": topic, "partitions": [0, 0]}]))
    check(ask([{"topic": topic, "partitions": []}]) == (-1, [(topic, [])]), "no partition")
    check(ask(None) == (-1, []), "all")


@case
def metadata_cluster(b):
    """[Q 8, U 13] cluster_id is never null and never changes; the controller is a broker of the list; no rights are told unless asked for."""
    seen = set()
    for version in range(13):
        r = b.conn().ask("Metadata", version, {"topics": []})
        check(r["brokers"] and all(x["host"] and x["port"] > 0 and x["node_id"] >= 0 for x in r["brokers"]), "brokers: %s", r["brokers"])
        if version >= 1:
            check(r["controller_id"] in [x["node_id"] for x in r["brokers"]], "controller %s", r["controller_id"])
        if version >= 2:
            seen.add(r["cluster_id"])
        if 8 <= version <= 10:
            check(r["cluster_authorized_operations"] == -2147483648, "not asked")
    r = b.conn().ask("DescribeCluster", 0, {})
    seen.add(r["cluster_id"])
    check(len(seen) == 1 and all(seen), "cluster ids: %s", seen)
    for kind, error in ((2, 114), (0, 115), (9, 115)):
        r = b.conn().ask("DescribeCluster", 1, {"endpoint_type": kind})
        check(r["error_code"] == error and r["endpoint_type"] == 1 and r["error_message"], "endpoint type %d: %s", kind, r)
    topic = b.topic()
    r = b.conn().ask("Metadata", 9, {"topics": [{"name": topic}], "include_topic_authorized_operations": True, "include_cluster_authorized_operations": True})
    check(r["cluster_authorized_operations"] > 0 and r["topics"][0]["topic_authorized_operations"] > 0, "asked: %s", r)
    check(b.metadata([topic])["topics"][0]["topic_authorized_operations"] == -2147483648, "not asked")


# ---- CreateTopics, DeleteTopics ----

@case
def create_defaults(b):
    """[Q 11, U 20] -1 partitions and -1 replicas are the broker's defaults (v4+); v5 tells what they became, and the configuration."""
    r = creates(b, 5, name="b-def-%d" % os.getpid(), num_partitions=-1, replication_factor=-1)
    check(r["error_code"] == 0 and r["num_partitions"] >= 1 and r["replication_factor"] >= 1, "%s", r)
    check(r["topic_config_error_code"] == 0 and len(r["configs"]) > 20 and all(x["config_source"] > 0 for x in r["configs"]), "configs: %s", r["configs"])


@case
def create_refused(b):
    """[Q 11, U 21, U 26] Each mistake its code, for its topic alone; nothing is made of it."""
    tag = "b-ref-%d" % os.getpid()
    b.create(tag + ".x")
    for what, code, values in (
            ("existing", 36, {"name": tag + ".x"}), ("collides", 17, {"name": tag + "_x"}), ("a bad name", 17, {"name": "a b"}), ("no name", 17, {"name": ""}),
            ("an unknown config", 40, {"name": tag + "a", "configs": [{"name": "no.such", "value": "1"}]}),
            ("a null value", 40, {"name": tag + "b", "configs": [{"name": "segment.bytes", "value": None}]}),
            ("a bad value", 40, {"name": tag + "c", "configs": [{"name": "segment.bytes", "value": "lots"}]}),
            ("no partitions", 37, {"name": tag + "d", "num_partitions": 0}), ("too many replicas", 38, {"name": tag + "e", "replication_factor": 99}),
            ("counts and assignments", 42, {"name": tag + "f", "assignments": [{"partition_index": 0, "broker_ids": [1]}]}),
            ("a gap in the assignment", 39, {"name": tag + "g", "num_partitions": -1, "replication_factor": -1, "assignments": [{"partition_index": 1, "broker_ids": [1]}]})):
        r = creates(b, **values)
        check(r["error_code"] == code, "%s: error %d (%s), not %d", what, r["error_code"], r["error_message"], code)
        check((r["num_partitions"], r["replication_factor"], r["configs"]) == (-1, -1, []), "%s: the rest of the answer: %s", what, r)
    both = b.conn(40).ask("CreateTopics", 5, {"timeout_ms": 30000, "topics": [{"name": tag + "ok", "num_partitions": 1, "replication_factor": 1},
        {"name": tag + "bad", "num_partitions": 1, "replication_factor": 1, "configs": [{"name": "no.such", "value": "1"}]},
        {"name": tag + "twice", "num_partitions": 1, "replication_factor": 1}, {"name": tag + "twice", "num_partitions": 2, "replication_factor": 1}]})["topics"]
    got = {t["name"]: t["error_code"] for t in both}
    check(got == {tag + "ok": 0, tag + "bad": 40, tag + "twice": 42}, "together: %s", got)
    have = [t["name"] for t in b.metadata(None)["topics"] if t["name"].startswith(tag)]
    check(sorted(have) == [tag + ".x", tag + "ok"], "made: %s", have)


@case
def create_validate_only(b):
    """[Q 11] validate_only answers as if, and makes nothing."""
    name = "b-val-%d" % os.getpid()
    check(creates(b, 5, validate=True, name=name)["error_code"] == 0, "valid")
    check(creates(b, 5, validate=True, name="a b")["error_code"] == 17, "not valid")
    check(b.metadata([name])["topics"][0]["error_code"] == 3, "not made")


@case
def create_then_use(b):
    """[U 25] When CreateTopics succeeds the leaders are ready: what is pipelined behind it works, and what is behind DeleteTopics finds nothing."""
    c = b.conn(40)
    for i in range(5):
        name = "b-use-%d-%d" % (os.getpid(), i)
        new = {"name": name, "num_partitions": 6, "replication_factor": 1}
        asks = [("CreateTopics", 5, {"timeout_ms": 30000, "topics": [new]}), ("Metadata", 9, {"topics": [{"name": name}], "allow_auto_topic_creation": False}),
            ("Produce", 9, {"acks": -1, "timeout_ms": 9000, "topic_data": [{"name": name, "partition_data": [{"index": p, "records": batch()} for p in range(6)]}]}),
            ("ListOffsets", 5, {"replica_id": -1, "topics": [{"name": name, "partitions": [{"partition_index": p, "timestamp": -1} for p in range(6)]}]}),
            ("DeleteTopics", 3, {"topic_names": [name], "timeout_ms": 30000}), ("Metadata", 9, {"topics": [{"name": name}], "allow_auto_topic_creation": False})]
        first = c.corr + 1
        c.raw(b"".join(c.request(*a) for a in asks))
        got = []
        for k, (api, version, _) in enumerate(asks):
            corr, body = c.answer()
            check(corr == first + k, "answer %d to request %d", corr, first + k)
            got.append(messages.decode(APIS[api].response, version, body[1:] if APIS[api].response.header[version] else body))
        made, described, produced, listed, gone, missing = got
        check(made["topics"][0]["error_code"] == 0, "made: %s", made)
        check([p["error_code"] for p in described["topics"][0]["partitions"]] == [0] * 6, "described: %s", described["topics"])
        check([p["error_code"] for p in produced["responses"][0]["partition_responses"]] == [0] * 6, "produced: %s", produced)
        check([p["offset"] for p in listed["topics"][0]["partitions"]] == [1] * 6, "listed: %s", listed)
        check(gone["responses"][0]["error_code"] == 0 and missing["topics"][0]["error_code"] == 3, "gone: %s %s", gone, missing["topics"])


@case
def create_timeout(b):
    """[Q 11] timeout_ms 0: REQUEST_TIMED_OUT without waiting for leaders, but the topic is there: it has an id, and can be grown in the next request (librdkafka's 0081)."""
    name = "b-now-%d" % os.getpid()
    r = creates(b, 7, timeout=0, name=name)
    check((r["error_code"], r["num_partitions"], r["replication_factor"], r["configs"]) == (7, -1, -1, []), "at once: %s", r)
    check(r["topic_id"] != NO_ID, "its id is told")
    grown = b.conn(40).ask("CreatePartitions", 1, {"topics": [{"name": name, "count": 3, "assignments": None}], "timeout_ms": 0, "validate_only": False})["results"][0]
    check(grown["error_code"] == 7, "grown at once: %s", grown)
    end = time.monotonic() + 15
    while [p["error_code"] for p in b.metadata([name])["topics"][0]["partitions"]] != [0] * 3:
        check(time.monotonic() < end, "it is made, and grown")
        time.sleep(0.02)
    r = b.conn(40).ask("DeleteTopics", 4, {"topic_names": [name], "timeout_ms": 0})["responses"][0]
    check(r["error_code"] == 7, "deletion: error %d", r["error_code"])
    while b.metadata([name])["topics"][0]["error_code"] != 3:
        check(time.monotonic() < end, "it is deleted")
        time.sleep(0.02)


@case
def delete_forms(b):
    """[Q 11] By name, or by id from v6 on; unknown ones are told apart; name and id together are INVALID_REQUEST."""
    topic = b.topic()
    tid = b.topic_id(topic)
    def ask(**t):
        r = b.conn(40).ask("DeleteTopics", 6, {"topics": [dict({"name": None}, **t)], "timeout_ms": 30000})["responses"][0]
        return r["error_code"], r["name"], r["topic_id"]
    check(ask(name="b-none")[:2] == (3, "b-none"), "an unknown name: %s", ask(name="b-none"))
    check(ask(topic_id=b"\x14" * 16) == (100, None, b"\x14" * 16), "an unknown id: %s", ask(topic_id=b"\x14" * 16))
    check(ask(topic_id=tid) == (0, topic, tid), "by id")
    check(b.metadata([topic])["topics"][0]["error_code"] == 3, "it is gone")


# ---- a topic deleted and created again ----

@case
def made_again(b):
    """[Q 6, Q 8] The new topic is another one: its id and its offsets; the old id is unknown; sessions and producers go on with it."""
    topic = b.topic()
    old = b.topic_id(topic)
    pid = b.conn().ask("InitProducerId", 4, {"transactional_id": None, "transaction_timeout_ms": 1000})["producer_id"]
    for i in range(3):
        b.produced(topic, batch(1, 2, producer=(pid, 0, 2 * i)))
    by_id, by_name = b.conn(), b.conn()
    part = [{"partition": 0, "fetch_offset": 6, "partition_max_bytes": 9999}]
    first = by_id.ask("Fetch", 13, {"max_wait_ms": 0, "session_id": 0, "session_epoch": 0, "topics": [{"topic_id": old, "partitions": part}]})
    named = by_name.ask("Fetch", 12, {"max_wait_ms": 0, "session_id": 0, "session_epoch": 0, "topics": [{"topic": topic, "partitions": part}]})
    check(first["session_id"] > 0 and named["session_id"] > 0, "sessions")
    # a fetch that waits hears of it at once, not after its 30 s
    waiting = b.conn(25)
    waiting.raw(waiting.request("Fetch", 13, {"max_wait_ms": 60000, "min_bytes": 1, "topics": [{"topic_id": old, "partitions": part}]}))
    b.delete(topic)
    b.gone(topic)
    r = waiting.receive("Fetch", 13)["responses"][0]["partitions"][0]
    check(r["error_code"] in (3, 100), "the one that waited: error %d", r["error_code"])
    b.create(topic)
    new = b.topic_id(topic)
    check(new not in (old, NO_ID), "another id")
    check(b.fetch(old, 0, 13)["error_code"] == 100 and b.fetch(new, 0, 13)["error_code"] == 0, "the old id is unknown: %d", b.fetch(old, 0, 13)["error_code"])
    r = b.conn().ask("Metadata", 12, {"topics": [{"topic_id": old, "name": None}]})["topics"][0]
    check(r["error_code"] == 100, "metadata by the old id: %d", r["error_code"])
    r = by_id.ask("Fetch", 13, {"max_wait_ms": 0, "session_id": first["session_id"], "session_epoch": 1, "topics": []})
    check(r["error_code"] in (0, 106) and [p["error_code"] for t in r["responses"] for p in t["partitions"]] in ([], [100], [103]), "the session of ids: %s", r)
    r = by_name.ask("Fetch", 12, {"max_wait_ms": 0, "session_id": named["session_id"], "session_epoch": 1, "topics": []})
    check([p["error_code"] for t in r["responses"] for p in t["partitions"]] == [1], "the session of names is past the end of the new one: %s", r)
    # a producer whose sequence goes on is new to the new topic
    r = b.produce(topic, batch(1, producer=(pid, 0, 6)))
    check((r["error_code"], r["base_offset"]) == (0, 0), "the producer goes on: %s", r)
    r = by_name.ask("Fetch", 12, {"max_wait_ms": 5000, "min_bytes": 1, "session_id": named["session_id"], "session_epoch": 2,
        "topics": [{"topic": topic, "partitions": [dict(part[0], fetch_offset=0)]}]})
    check([offsets_in(p["records"]) for t in r["responses"] for p in t["partitions"]] == [[(0, 0)]], "and the session reads it: %s", r)


def main():
    import argparse
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("--bootstrap", required=True, help="HOST:PORT of a broker on this machine")
    ap.add_argument("cases", nargs="*")
    o = ap.parse_args()
    failed = 0
    for name, on_cluster in CASES.items():
        fn = getattr(on_cluster, "on_broker", None)
        if not fn or o.cases and name not in o.cases and name[len("behaviour_"):] not in o.cases:
            continue
        b = Broker(int(o.bootstrap.rpartition(":")[2]), fn.__name__)
        try:
            fn(b)
            print("ok " + name)
        except Exception as e:  # whatever it is, it is the finding
            failed += 1
            print("FAILED %s %s: %s" % (name, type(e).__name__, str(e)[:900]))
        b.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
