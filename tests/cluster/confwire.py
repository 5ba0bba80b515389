"""confwire.py: DescribeConfigs, AlterConfigs and IncrementalAlterConfigs over a raw connection (wire.py)."""
import struct

import wire

TOPIC, BROKER, LOGGER = 2, 4, 8
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3
SOURCES = {1: "topic", 2: "dynamic-broker", 3: "dynamic-default", 4: "static", 5: "default", 6: "logger"}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def get(self, fmt):
        v = struct.unpack_from(">" + fmt, self.data, self.at)
        self.at += struct.calcsize(">" + fmt)
        return v[0] if len(v) == 1 else v

    def string(self):
        n = self.get("h")
        if n < 0:
            return None
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def many(self, one):
        return [one() for _ in range(self.get("i"))]


class Entry:
    """One key of a DescribeConfigs answer."""
    def __init__(self, r):
        self.name, self.value = r.string(), r.string()
        self.read_only = r.get("b") != 0
        self.source = SOURCES.get(r.get("b"))
        self.sensitive = r.get("b") != 0
        self.synonyms = r.many(lambda: (r.string(), r.string(), SOURCES.get(r.get("b"))))
        self.type = r.get("b")
        self.doc = r.string()


def describe(conn, kind, name, keys=None, synonyms=True, docs=False):
    """(error, message, {key: Entry}) of one resource, DescribeConfigs v3"""
    body = struct.pack(">ib", 1, kind) + wire.string(name)
    body += struct.pack(">i", -1) if keys is None else struct.pack(">i", len(keys)) + b"".join(wire.string(k) for k in keys)
    r = Reader(conn.call(32, 3, body + struct.pack(">bb", synonyms, docs)))
    r.get("ii")
    error, message, _, _ = r.get("h"), r.string(), r.get("b"), r.string()
    return error, message, {e.name: e for e in r.many(lambda: Entry(r))}


def results(answer):
    r = Reader(answer)
    r.get("i")
    return r.many(lambda: (r.get("h"), r.string(), r.get("b"), r.string())[:2])


def alter(conn, resources, validate_only=False, version=1):
    """[(error, message)] of AlterConfigs; resources: [(kind, name, [(key, value)])]"""
    body = struct.pack(">i", len(resources))
    for kind, name, configs in resources:
        body += struct.pack(">b", kind) + wire.string(name) + struct.pack(">i", len(configs))
        body += b"".join(wire.string(k) + wire.string(v) for k, v in configs)
    return results(conn.call(33, version, body + struct.pack(">b", validate_only)))


def incremental(conn, resources, validate_only=False):
    """[(error, message)] of IncrementalAlterConfigs; resources: [(kind, name, [(key, operation, value)])]"""
    body = struct.pack(">i", len(resources))
    for kind, name, configs in resources:
        body += struct.pack(">b", kind) + wire.string(name) + struct.pack(">i", len(configs))
        body += b"".join(wire.string(k) + struct.pack(">b", op) + wire.string(v) for k, op, v in configs)
    return results(conn.call(44, 0, body + struct.pack(">b", validate_only)))
