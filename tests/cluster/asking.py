"""asking.py: requests to one broker as dicts, whatever their version, and what is in the bytes that come back."""
import os
import struct
import sys
import time
import zlib

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))

import messages  # noqa: E402
import records  # noqa: E402
from cluster import check  # noqa: E402

APIS = messages.load_apis()
NO_ID = bytes(16)
ANY_TAG = messages.uvarint(1) + messages.uvarint(5000) + messages.uvarint(3) + b"new"  # a tag section with one tag that nobody knows


class Broker:
    """One broker under test: requests as dicts, topics named after the case."""

    def __init__(self, port, case):
        self.port, self.case, self.serial, self.conns = port, case.replace("_", "-"), 0, []

    def conn(self, timeout=15.0, client_id="test"):
        self.conns.append(messages.Client(self.port, APIS, timeout, client_id))
        return self.conns[-1]

    def close(self):
        for c in self.conns:
            c.close()

    def topic(self, partitions=1, **configs):
        """A new topic, its leaders ready."""
        self.serial += 1
        name = "b-%s-%d-%d" % (self.case, os.getpid(), self.serial)
        self.create(name, partitions, **configs)
        return name

    def create(self, name, partitions=1, **configs):
        c = self.conn(40)
        r = c.ask("CreateTopics", 5, {"timeout_ms": 30000, "topics": [{"name": name, "num_partitions": partitions, "replication_factor": -1,
            "configs": [{"name": k.replace("__", "."), "value": str(v)} for k, v in configs.items()]}]})["topics"][0]
        check(r["error_code"] == 0, "topic %s cannot be made: error %d %s", name, r["error_code"], r["error_message"])

    def delete(self, name):
        r = self.conn(40).ask("DeleteTopics", 1, {"topic_names": [name], "timeout_ms": 30000})["responses"][0]
        check(r["error_code"] == 0, "topic %s cannot be deleted: error %d", name, r["error_code"])

    def gone(self, name):
        """The name is free again: Kafka answers before that."""
        end = time.monotonic() + 20
        while creates(self, 5, validate=True, name=name)["error_code"] != 0:
            check(time.monotonic() < end, "%s is deleted", name)
            time.sleep(0.05)

    def topic_id(self, name):
        return self.metadata([name])["topics"][0]["topic_id"]

    def metadata(self, topics, version=12, **more):
        return self.conn().ask("Metadata", version, dict({"topics": None if topics is None else [{"name": t} for t in topics], "allow_auto_topic_creation": False}, **more))

    def produce(self, topic, batch, version=9, partition=0, acks=-1, conn=None, **more):
        """The answer of one partition."""
        c = conn or self.conn()
        r = c.ask("Produce", version, dict({"acks": acks, "timeout_ms": 10000, "topic_data": [{"name": topic, "partition_data": [{"index": partition, "records": batch}]}]}, **more))
        return r["responses"][0]["partition_responses"][0]

    def produced(self, topic, batch, **more):
        r = self.produce(topic, batch, **more)
        check(r["error_code"] == 0, "produce to %s: error %d", topic, r["error_code"])
        return r["base_offset"]

    def fetch_request(self, topic, offset=0, version=12, partition=0, **more):
        """Fields of the partition are given with a leading p_."""
        part = {"partition": partition, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        part.update({k[2:]: v for k, v in more.items() if k.startswith("p_")})
        name = {"topic_id": self.topic_id(topic) if isinstance(topic, str) else topic} if version >= 13 else {"topic": topic}
        out = {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 50 << 20, "topics": [dict(name, partitions=[part])]}
        out.update({k: v for k, v in more.items() if not k.startswith("p_")})
        return out

    def fetch(self, topic, offset=0, version=12, conn=None, **more):
        """The answer of one partition."""
        r = (conn or self.conn()).ask("Fetch", version, self.fetch_request(topic, offset, version, **more))
        check(len(r["responses"]) == 1, "one topic is answered: %s", r)
        return r["responses"][0]["partitions"][0]

    def list_offsets(self, topic, timestamp=-1, version=7, **more):
        part = dict({"partition_index": 0, "timestamp": timestamp, "max_num_offsets": 1}, **more)
        return self.conn().ask("ListOffsets", version, {"replica_id": -1, "topics": [{"name": topic, "partitions": [part]}]})["topics"][0]["partitions"][0]

    def lists(self):
        """API key -> (lowest, highest version)"""
        r = self.conn().ask("ApiVersions", 0, {})
        return {k["api_key"]: (k["min_version"], k["max_version"]) for k in r["api_keys"]}


def batch(*values, **more):
    return records.batch([v if isinstance(v, bytes) else b"v%d" % v for v in values] or [b"a"], **more)


def offsets_in(data):
    """[(base offset, last offset)] of whole batches."""
    out, pos = [], 0
    while pos + 61 <= len(data):
        base, size = struct.unpack(">qi", data[pos:pos + 12])
        if pos + 12 + size > len(data):
            break
        out.append((base, base + struct.unpack(">i", data[pos + 23:pos + 27])[0]))
        pos += 12 + size
    return out


class RecordReader(messages.Reader):
    def zigzag(self):
        n = self.uvarint()
        return n >> 1 ^ -(n & 1)


def values_in(data):
    """[(value, offset)] of whole batches that are not compressed."""
    out, pos = [], 0
    for base, _ in offsets_in(data):
        size, count = struct.unpack(">i", data[pos + 8:pos + 12])[0], struct.unpack(">i", data[pos + 57:pos + 61])[0]
        r = RecordReader(data[pos + 61:pos + 12 + size])
        for i in range(count):
            r.zigzag()
            r.take(1)
            r.zigzag()
            r.zigzag()
            for _ in range(2):
                n = r.zigzag()
                value = r.take(n) if n >= 0 else None
            for _ in range(r.zigzag()):
                r.take(r.zigzag())
                r.take(max(0, r.zigzag()))
            out.append((value, base + i))
        pos += 12 + size
    return out


def messages_in(data):
    """[(magic, attributes, offset, timestamp or None, key, value)] of whole messages; their CRCs must be right."""
    out, pos = [], 0
    while pos + 12 <= len(data):
        offset, size = struct.unpack(">qi", data[pos:pos + 12])
        whole = data[pos + 12:pos + 12 + size]
        if size < 14 or len(whole) < size:
            break  # cut, or Kafka's padding
        check(struct.unpack(">I", whole[:4])[0] == zlib.crc32(whole[4:]), "the CRC of message %d", offset)
        at = 14 if whole[4] else 6
        parts = []
        for _ in range(2):
            n = struct.unpack(">i", whole[at:at + 4])[0]
            parts.append(None if n < 0 else whole[at + 4:at + 4 + n])
            at += 4 + max(0, n)
        out.append((whole[4], whole[5], offset, struct.unpack(">q", whole[6:14])[0] if whole[4] else None, *parts))
        pos += 12 + size
    return out


def zstd_of(data):
    """A frame with one raw block: no window, no checksum, content size in a byte."""
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)]) + (len(data) << 3 | 1).to_bytes(3, "little") + data


def creates(b, version=5, timeout=30000, validate=False, **topic):
    topic.setdefault("num_partitions", 1)
    topic.setdefault("replication_factor", 1)
    return b.conn(40).ask("CreateTopics", version, {"timeout_ms": timeout, "validate_only": validate, "topics": [topic]})["topics"][0]


def refused(b, **configs):
    """True if the broker does not take a configuration yet, and says so: what it would mean cannot happen then."""
    return creates(b, 5, validate=True, name="b-refused", configs=[{"name": k.replace("__", "."), "value": v} for k, v in configs.items()])["error_code"] == 40
