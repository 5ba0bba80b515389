"""records.py: record batches and message sets, right and wrong, written and taken apart by hand."""
import gzip
import struct
import zlib

from wire import crc32c, zigzag

NOW = 1700000000000


def record(delta, value, key=None, headers=(), timestamp_delta=0):
    def blob(b):
        return zigzag(-1) if b is None else zigzag(len(b)) + b
    body = b"\0" + zigzag(timestamp_delta) + zigzag(delta) + blob(key) + blob(value) + zigzag(len(headers))
    body += b"".join(zigzag(len(k)) + k + blob(v) for k, v in headers)
    return zigzag(len(body)) + body


def batch(values=(b"a", b"b"), key=b"k", producer=(-1, -1, -1), attributes=0, magic=2, base=0, count=None, last_delta=None, crc_xor=0, timestamp=NOW, step=0, epoch=-1,
          inside=None, length_add=0):
    """A batch of format 2; every field can be set wrong."""
    if inside is None:
        inside = b"".join(record(i, v, key, (), i * step) for i, v in enumerate(values))
        if attributes & 7 == 1:
            inside = gzip.compress(inside, mtime=0)
    n = len(values)
    body = struct.pack(">hiqqqhii", attributes, n - 1 if last_delta is None else last_delta, timestamp, timestamp + step * max(0, n - 1), *producer,
                       n if count is None else count) + inside
    return struct.pack(">qiibI", base, 9 + len(body) + length_add, epoch, magic, crc32c(body) ^ crc_xor) + body


def message_set(magic, values=(b"a", b"b"), key=b"k", timestamp=NOW, crc_xor=0):
    """Messages of format 0 or 1, not compressed."""
    out = b""
    for i, v in enumerate(values):
        body = struct.pack(">bb", magic, 0) + (struct.pack(">q", timestamp) if magic else b"")
        for b in (key, v):
            body += struct.pack(">i", -1) if b is None else struct.pack(">i", len(b)) + b
        body = struct.pack(">I", zlib.crc32(body) ^ crc_xor) + body
        out += struct.pack(">qi", i, len(body)) + body
    return out


def describe(data):
    """What is in a records field, as values that can be compared: producer ids are named by whether there is one."""
    out, pos = [], 0
    while pos + 17 <= len(data):
        base, size = struct.unpack(">qi", data[pos:pos + 12])
        magic = data[pos + 16]
        whole = data[pos:pos + 12 + size]
        if magic < 2 or len(whole) < 61:
            if base >= 0:  # else what Kafka fills up a converted answer with
                out.append("magic %d at %d: %s" % (magic, base, whole[12:].hex()))
        else:
            epoch, _, crc, attributes, last, first, highest, producer, producer_epoch, sequence, count = struct.unpack(">ibIhiqqqhii", whole[12:61])
            crc_ok = len(whole) == 12 + size and crc == crc32c(whole[21:])
            out.append("batch %d+%d epoch %d attributes %d times %s producer %s/%d/%d count %d crc %s: %s" % (base, last, epoch, attributes,
                "now" if attributes & 8 else "%d..%d" % (first, highest), "none" if producer < 0 else "some", producer_epoch, sequence, count,
                "cut" if len(whole) < 12 + size else "right" if crc_ok else "wrong", whole[61:].hex()))
        pos += 12 + size
    if pos < len(data):
        out.append("tail of %d bytes" % (len(data) - pos))
    return out
