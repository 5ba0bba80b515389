"""wire.py: a raw Kafka connection: frames as a client in a test wants them, right or wrong."""
import socket
import struct
import time

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS = 0, 1, 2, 3, 18


def table():
    out = []
    for i in range(256):
        c = i
        for _ in range(8):
            c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
        out.append(c)
    return out


TABLE = table()


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = TABLE[(c ^ b) & 0xFF] ^ c >> 8
    return c ^ 0xFFFFFFFF


def string(s):
    return struct.pack(">h", -1) if s is None else struct.pack(">h", len(s)) + s.encode()


def zigzag(n):
    n = n << 1 ^ n >> 63
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def record(delta, value):
    body = b"\0" + zigzag(0) + zigzag(delta) + zigzag(-1) + zigzag(len(value)) + value + zigzag(0)
    return zigzag(len(body)) + body


def batch(values, producer=(-1, -1, -1), count=None, crc_xor=0, magic=2):
    inside = b"".join(record(i, v) for i, v in enumerate(values))
    n = len(values) if count is None else count
    now = int(time.time() * 1000)  # a record of long ago is gone with the next look at retention
    body = struct.pack(">hiqqqhii", 0, n - 1, now, now, *producer, n) + inside
    return struct.pack(">qiibI", 0, 9 + len(body), -1, magic, crc32c(body) ^ crc_xor) + body


def metadata(topics):
    return struct.pack(">i", len(topics)) + b"".join(string(t) for t in topics) if topics is not None else struct.pack(">i", -1)


def list_offsets(topic, partition, timestamp=-1):
    return struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">iiq", 1, partition, timestamp)


def produce(topic, partition, records, acks=-1, timeout=30000):
    return string(None) + struct.pack(">hii", acks, timeout, 1) + string(topic) + struct.pack(">ii", 1, partition) + struct.pack(">i", len(records)) + records


def fetch(topic, partition, offset, wait=0, min_bytes=1):
    return struct.pack(">iiiib", -1, wait, min_bytes, 1 << 20, 0) + struct.pack(">i", 1) + string(topic) + struct.pack(">iiqi", 1, partition, offset, 1 << 20)


class Conn:
    def __init__(self, port, timeout=20.0):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.settimeout(timeout)
        self.corr = 0

    def raw(self, data):
        self.sock.sendall(data)

    def frame(self, api, version, body, client="test"):
        self.corr += 1
        out = struct.pack(">hhi", api, version, self.corr) + string(client) + body
        return struct.pack(">i", len(out)) + out

    def send(self, api, version, body):
        self.sock.sendall(self.frame(api, version, body))
        return self.corr

    def exact(self, n):
        out = b""
        while len(out) < n:
            part = self.sock.recv(n - len(out))
            if not part:
                raise ConnectionError("closed by the broker")
            out += part
        return out

    def answer(self):
        """(correlation id, body)"""
        body = self.exact(struct.unpack(">i", self.exact(4))[0])
        return struct.unpack(">i", body[:4])[0], body[4:]

    def call(self, api, version, body):
        corr = self.send(api, version, body)
        got, answer = self.answer()
        if got != corr:
            raise AssertionError("answer %d to request %d" % (got, corr))
        return answer

    def is_closed(self, timeout):
        """True once the broker closes; what it sends before is read away."""
        self.sock.settimeout(timeout)
        try:
            while self.sock.recv(65536):
                pass
            return True
        except socket.timeout:
            return False
        except OSError:
            return True

    def close(self):
        self.sock.close()


def produce_error(answer):
    """Error code of the one partition of a Produce v3..v7 answer."""
    n = struct.unpack(">h", answer[4:6])[0]
    at = 4 + 2 + n + 4 + 4
    return struct.unpack(">h", answer[at:at + 2])[0]


def offset_of(answer):
    """(error, offset) of the one partition of a ListOffsets v1 answer."""
    n = struct.unpack(">h", answer[4:6])[0]
    at = 4 + 2 + n + 4 + 4
    err, _, offset = struct.unpack(">hqq", answer[at:at + 18])
    return err, offset


class Reader:
    """Walks over an answer of a version that is not flexible."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, fmt):
        size = struct.calcsize(">" + fmt)
        out = struct.unpack(">" + fmt, self.data[self.at:self.at + size])
        self.at += size
        return out if len(out) > 1 else out[0]

    def string(self):
        n = self.take("h")
        if n < 0:
            return None
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def array(self, one):
        n = self.take("i")
        return None if n < 0 else [one(self) for _ in range(n)]

    def end(self):
        if self.at != len(self.data):
            raise AssertionError("%d bytes of %d were read" % (self.at, len(self.data)))


def leaders(answer):
    """{partition: (error, leader)} of the one topic of a Metadata v4 answer; empty when the broker does not know it."""
    r = Reader(answer)
    r.take("i")
    r.array(lambda r: (r.take("i"), r.string(), r.take("i"), r.string()))
    r.string()
    r.take("i")
    parts = r.array(lambda r: (r.take("h"), r.string(), r.take("b"), r.array(lambda r: (r.take("hii"), r.array(lambda r: r.take("i")), r.array(lambda r: r.take("i"))))))[0][3]
    r.end()
    return {p: (error, leader) for (error, p, leader), _, _ in parts}
