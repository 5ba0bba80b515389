"""messages.py: Kafka's messages as Python dicts, driven by proto/kafka/*.kp; a raw connection that speaks them.

A field that a dict leaves out takes its default. Null where the schema has none can be encoded too (a test wants to send it); decoding is strict:
a body that does not end where the schema ends is an error.
"""
import os
import struct

import wire

SCHEMAS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto", "kafka")
FIXED = {"bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}
ZERO = {"bool": False, "string": "", "bytes": b"", "records": b"", "uuid": bytes(16), "float64": 0.0}


def versions(text):
    out = set()
    for part in text.split(",") if text != "none" else ():
        first, _, last = part.partition("-")
        out.update(range(int(first), int(last or first) + 1))
    return out


class Field:
    def __init__(self, words):
        self.name, self.versions, self.array, self.type = words[0], versions(words[1]), words[2].startswith("[]"), words[2].replace("[]", "")
        self.null, self.tag, self.has_default, self.default, self.fields = set(), None, False, None, []
        more = words[3:]
        while more:
            word = more.pop(0)
            if word == "null":
                self.null = versions(more.pop(0))
            elif word == "tag":
                self.tag = int(more.pop(0))
            elif word == "default":
                text, self.has_default = more.pop(0), True
                self.default = {"null": None, "true": True, "false": False}[text] if text in ("null", "true", "false") else int(text)

    def implied(self, version):
        if self.has_default and (self.default is not None or version in self.null):
            return self.default
        if self.array:
            return []
        if self.type == "struct":
            return {f.name: f.implied(version) for f in self.fields if version in f.versions}
        return ZERO.get(self.type, 0)


class Message:
    def __init__(self, words):
        pairs = dict(zip(words[1::2], words[2::2]))
        self.versions, self.flexible, self.kafka39 = versions(pairs["versions"]), versions(pairs["flexible"]), versions(pairs["kafka-3.9"])
        self.header, self.fields = {}, []
        for part in words[words.index("header") + 1:] if "header" in words else ():
            number, _, vs = part.partition(":")
            self.header.update({v: int(number) for v in versions(vs)})


class Api:
    def __init__(self, name):
        self.name, self.key = name, None
        stack = []
        with open(os.path.join(SCHEMAS, name + ".kp"), encoding="ascii") as f:
            for line in f:
                words = line.split()
                if not words or (words[0] == "note" and not line.startswith(" ")):
                    continue
                if line.startswith(" "):
                    field = Field(words)
                    del stack[(len(line) - len(line.lstrip())) // 2:]
                    stack[-1].fields.append(field)
                    stack.append(field)
                elif words[0] == "api":
                    self.key = int(words[3])
                elif words[1] == "versions":
                    stack = [Message(words)]
                    setattr(self, words[0], stack[0])


def load_apis():
    """name -> Api of all that have a key."""
    out = {}
    for name in sorted(os.listdir(SCHEMAS)):
        if name.endswith(".kp"):
            api = Api(name[:-3])
            if api.key is not None:
                out[api.name] = api
    return out


# ---- encoding ----

def uvarint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def length(n, fmt, flexible):
    return uvarint(n + 1) if flexible else struct.pack(fmt, n)


def encode_one(f, version, value, flexible):
    if f.type == "struct":
        head = b""
        if f.null and not f.array:
            if value is None:
                return b"\xff"
            head = b"\x01"
        return head + encode_fields(f.fields, version, value, flexible)
    if f.type == "string":
        data = None if value is None else value.encode("utf-8", "surrogateescape")
        return length(-1, ">h", flexible) if data is None else length(len(data), ">h", flexible) + data
    if f.type in ("bytes", "records"):
        return length(-1, ">i", flexible) if value is None else length(len(value), ">i", flexible) + value
    if f.type == "uuid":
        return value
    return struct.pack(FIXED[f.type], value)


def encode_value(f, version, value, flexible):
    if not f.array:
        return encode_one(f, version, value, flexible)
    if value is None:
        return length(-1, ">i", flexible)
    return length(len(value), ">i", flexible) + b"".join(encode_one(f, version, v, flexible) for v in value)


def encode_fields(fields, version, values, flexible):
    out, tags = b"", []
    for f in fields:
        if version not in f.versions:
            continue
        value = values.get(f.name, f.implied(version))
        if f.tag is None:
            out += encode_value(f, version, value, flexible)
        elif value != f.implied(version):
            tags.append((f.tag, encode_value(f, version, value, flexible)))
    if flexible:
        out += uvarint(len(tags)) + b"".join(uvarint(t) + uvarint(len(b)) + b for t, b in sorted(tags))
    return out


def encode(message, version, values):
    return encode_fields(message.fields, version, values, version in message.flexible)


# ---- decoding ----

class Reader:
    def __init__(self, data):
        self.data, self.pos = data, 0

    def take(self, n):
        if n < 0 or self.pos + n > len(self.data):
            raise ValueError("short: %d bytes at %d of %d" % (n, self.pos, len(self.data)))
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def fixed(self, fmt):
        return struct.unpack(fmt, self.take(struct.calcsize(fmt)))[0]

    def uvarint(self):
        out = shift = 0
        while True:
            b = self.take(1)[0]
            out |= (b & 0x7F) << shift
            if b < 0x80:
                return out
            shift += 7

    def length(self, fmt, flexible):
        return self.uvarint() - 1 if flexible else self.fixed(fmt)


def decode_one(f, version, r, flexible):
    if f.type == "struct":
        if version in f.null and not f.array and r.fixed(">b") < 0:
            return None
        return decode_fields(f.fields, version, r, flexible)
    if f.type in ("string", "bytes", "records"):
        n = r.length(">h" if f.type == "string" else ">i", flexible)
        if n < 0:
            if version not in f.null:
                raise ValueError("%s is null" % f.name)
            return None
        data = r.take(n)
        return data.decode("utf-8", "surrogateescape") if f.type == "string" else data
    if f.type == "uuid":
        return r.take(16)
    return r.fixed(FIXED[f.type])


def decode_value(f, version, r, flexible):
    if not f.array:
        return decode_one(f, version, r, flexible)
    n = r.length(">i", flexible)
    if n < 0:
        if version not in f.null:
            raise ValueError("%s is null" % f.name)
        return None
    return [decode_one(f, version, r, flexible) for _ in range(n)]


def decode_fields(fields, version, r, flexible):
    out, tagged = {}, {}
    for f in fields:
        if version not in f.versions:
            continue
        if f.tag is None:
            out[f.name] = decode_value(f, version, r, flexible)
        else:
            tagged[f.tag] = f
            out[f.name] = f.implied(version)
    for _ in range(r.uvarint() if flexible else 0):
        tag, size = r.uvarint(), r.uvarint()
        inner = Reader(r.take(size))
        if tag not in tagged:
            out["tag %d" % tag] = inner.data
            continue
        out[tagged[tag].name] = decode_value(tagged[tag], version, inner, flexible)
        if inner.pos != size:
            raise ValueError("tag %d: %d bytes left over" % (tag, size - inner.pos))
    return out


def decode(message, version, data):
    r = Reader(data)
    out = decode_fields(message.fields, version, r, version in message.flexible)
    if r.pos != len(data):
        raise ValueError("%d bytes left over" % (len(data) - r.pos))
    return out


# ---- talking ----

class Client(wire.Conn):
    """One connection; requests and answers as dicts."""

    def __init__(self, port, apis, timeout=20.0, client_id="test"):
        super().__init__(port, timeout)
        self.apis, self.client_id = apis, client_id

    def request(self, name, version, values, extra=b""):
        """The bytes of a request, size in front; counts the correlation id."""
        api = self.apis[name]
        self.corr += 1
        flexible = api.request.header[version] == 2
        out = struct.pack(">hhi", api.key, version, self.corr)
        if api.request.header[version] > 0:
            out += wire.string(self.client_id)
        if flexible:
            out += b"\0"
        out += (values if isinstance(values, bytes) else encode(api.request, version, values)) + extra
        return struct.pack(">i", len(out)) + out

    def receive(self, name, version):
        api = self.apis[name]
        corr, body = self.answer()
        if corr != self.corr:
            raise AssertionError("answer %d to request %d" % (corr, self.corr))
        if api.response.header[version] == 1:
            if body[:1] != b"\0":
                raise ValueError("tags in the response header")
            body = body[1:]
        return decode(api.response, version, body)

    def ask(self, name, version, values, extra=b""):
        self.raw(self.request(name, version, values, extra))
        return self.receive(name, version)
