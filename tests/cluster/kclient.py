"""kclient.py: every Kafka API in every version, from the schemas of proto/kafka: requests and answers as dictionaries.

    k = Kafka(port)
    k.call("OffsetFetch", 7, group_id="g", topics=None)["topics"]

Fields that a request does not name have their schema's default. Slow and simple; gen.py reads the schemas.
"""
import functools
import os
import struct
import sys

import wire

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "proto", "kafka"))
import gen  # noqa: E402

FORMATS = {"bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}
CLOSED = "closed"


@functools.lru_cache(None)
def schema(name):
    s = gen.Schema(os.path.join(TOP, "proto", "kafka", name + ".kp"))
    return s, Headers(os.path.join(TOP, "proto", "kafka", name + ".kp"))


class Headers:
    """Header and flexible versions, from the headlines."""

    def __init__(self, path):
        self.header, self.flexible = {}, {}
        with open(path, encoding="ascii") as f:
            for line in f:
                words = line.split()
                if words and words[0] in ("request", "response", "record") and not line.startswith(" "):
                    self.flexible[words[0]] = gen.mask(words[words.index("flexible") + 1])
                    self.header[words[0]] = {}
                    for w in words[words.index("header") + 1:] if "header" in words else []:
                        version, _, which = w.partition(":")
                        for v in gen.versions_of(gen.mask(which)):
                            self.header[words[0]][v] = int(version)


def fields_of(message):
    return message.fields if hasattr(message, "fields") else message


def uvarint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


class Writer:
    def __init__(self, version, flexible):
        self.v, self.flexible = version, flexible

    def length(self, n, small):
        if self.flexible:
            return uvarint(n + 1)
        return struct.pack(">h" if small else ">i", n)

    def one(self, f, value):
        if f.type in FORMATS:
            return struct.pack(FORMATS[f.type], value)
        if f.type == "uuid":
            return value or bytes(16)
        if f.type == "struct":
            if f.pointer():
                return b"\xff" if value is None else b"\x01" + self.fields(f.fields, value)
            return self.fields(f.fields, value or {})
        if value is None:
            return self.length(-1, f.type == "string")
        data = value.encode() if isinstance(value, str) else value
        return self.length(len(data), f.type == "string") + data

    def default(self, f):
        if f.default == "null" and f.null >> self.v & 1:
            return None
        if f.default not in (None, "null"):
            return f.default
        return [] if f.array else {"string": "", "bytes": b"", "records": b"", "uuid": bytes(16), "struct": {}}.get(f.type, 0)

    def field(self, f, value):
        if not f.array:
            return self.one(f, value)
        if value is None:
            return self.length(-1, False)
        return self.length(len(value), False) + b"".join(self.one(f, x) for x in value)

    def fields(self, fields, values):
        known = {f.name for f in fields}
        assert set(values) <= known, "no such field: %s" % (set(values) - known)
        out, tagged = b"", []
        for f in fields:
            if not f.versions >> self.v & 1:
                continue
            value = values.get(f.name, self.default(f))
            if f.tag < 0:
                out += self.field(f, value)
            elif value != self.default(f):
                tagged.append((f.tag, self.field(f, value)))
        if self.flexible:
            out += uvarint(len(tagged))
            for tag, data in sorted(tagged):
                out += uvarint(tag) + uvarint(len(data)) + data
        return out


class Reader:
    def __init__(self, data, version, flexible):
        self.data, self.at, self.v, self.flexible = data, 0, version, flexible

    def take(self, n):
        out = self.data[self.at:self.at + n]
        assert n >= 0 and len(out) == n, "answer is cut"
        self.at += n
        return out

    def num(self, fmt):
        return struct.unpack(fmt, self.take(struct.calcsize(fmt)))[0]

    def uvarint(self):
        n = shift = 0
        while True:
            b = self.take(1)[0]
            n |= (b & 0x7F) << shift
            shift += 7
            if b < 0x80:
                return n

    def length(self, small):
        return self.uvarint() - 1 if self.flexible else self.num(">h" if small else ">i")

    def one(self, f):
        if f.type in FORMATS:
            return self.num(FORMATS[f.type])
        if f.type == "uuid":
            return self.take(16)
        if f.type == "struct":
            return None if f.pointer() and self.num(">b") < 0 else self.fields(f.fields)
        n = self.length(f.type == "string")
        if n < 0:
            return None
        data = self.take(n)
        return data.decode() if f.type == "string" else data

    def field(self, f):
        if not f.array:
            return self.one(f)
        n = self.length(False)
        return None if n < 0 else [self.one(f) for _ in range(n)]

    def fields(self, fields):
        out = {}
        for f in fields:
            if f.versions >> self.v & 1 and f.tag < 0:
                out[f.name] = self.field(f)
        if self.flexible:
            for _ in range(self.uvarint()):
                tag, size = self.uvarint(), self.uvarint()
                end = self.at + size
                for f in fields:
                    if f.tag == tag and f.versions >> self.v & 1:
                        out[f.name] = self.field(f)
                self.at = end
        return out


class Kafka(wire.Conn):
    """One connection. send() and answer_to() apart pipeline requests."""

    def __init__(self, port, timeout=20.0, client="test"):
        super().__init__(port, timeout)
        self.client = client
        self.waiting = []

    def post(self, api, version, **values):
        s, h = schema(api)
        flexible = h.flexible["request"] >> version & 1
        body = Writer(version, flexible).fields(fields_of(s.messages["request"]), values)
        self.corr += 1
        out = struct.pack(">hhi", s.key, version, self.corr) + wire.string(self.client)
        if h.header["request"][version] == 2:
            out += b"\0"
        out += body
        self.sock.sendall(struct.pack(">i", len(out)) + out)
        self.waiting.append((self.corr, api, version))

    def next(self):
        """The answer to the oldest request that has none."""
        corr, api, version = self.waiting.pop(0)
        s, h = schema(api)
        got, body = self.answer()
        assert got == corr, "answer %d to request %d" % (got, corr)
        r = Reader(body, version, h.flexible["response"] >> version & 1)
        if h.header["response"][version] == 1:
            r.take(1)
        out = r.fields(fields_of(s.messages["response"]))
        assert r.at == len(body), "%s v%d: %d bytes are left over" % (api, version, len(body) - r.at)
        return out

    def call(self, api, version, **values):
        self.post(api, version, **values)
        return self.next()
