"""zk.py: just enough of ZooKeeper's protocol to look at nodes and to write them as an outside tool would. One session, one thread."""
import socket
import struct


class ZkError(Exception):
    def __init__(self, code):
        super().__init__("ZooKeeper error %d" % code)
        self.code = code


NO_NODE, NODE_EXISTS = -101, -110
CREATE, DELETE, EXISTS, GET, SET, CHILDREN, CLOSE = 1, 2, 3, 4, 5, 8, -11
ACL_ALL = struct.pack(">ii", 1, 31) + struct.pack(">i", 5) + b"world" + struct.pack(">i", 6) + b"anyone"


def text(s):
    b = s.encode()
    return struct.pack(">i", len(b)) + b


def data_of(b):
    return struct.pack(">i", -1) if b is None else struct.pack(">i", len(b)) + b


class Stat:
    def __init__(self, raw):
        (self.czxid, self.mzxid, self.ctime, self.mtime, self.version, self.cversion, self.aversion, self.owner, self.length, self.children,
            self.pzxid) = struct.unpack(">qqqqiiiqiiq", raw)


class Zk:
    def __init__(self, port, timeout=10.0):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.settimeout(timeout)
        self.xid = 0
        body = struct.pack(">iqiq", 0, 0, 30000, 0) + struct.pack(">i", 16) + b"\0" * 16
        self.sock.sendall(struct.pack(">i", len(body)) + body)
        self.frame()

    def exact(self, n):
        out = b""
        while len(out) < n:
            part = self.sock.recv(n - len(out))
            if not part:
                raise ConnectionError("ZooKeeper closed the connection")
            out += part
        return out

    def frame(self):
        return self.exact(struct.unpack(">i", self.exact(4))[0])

    def call(self, op, body):
        self.xid += 1
        body = struct.pack(">ii", self.xid, op) + body
        self.sock.sendall(struct.pack(">i", len(body)) + body)
        while True:
            answer = self.frame()
            xid, _, err = struct.unpack(">iqi", answer[:16])
            if xid == self.xid:
                if err:
                    raise ZkError(err)
                return answer[16:]

    def create(self, path, data=b"", ephemeral=False):
        self.call(CREATE, text(path) + data_of(data) + ACL_ALL + struct.pack(">i", 1 if ephemeral else 0))

    def create_all(self, path, data=None):
        """With the parents that are missing."""
        parts = path.strip("/").split("/")
        for i in range(1, len(parts) + 1):
            here = "/" + "/".join(parts[:i])
            try:
                self.create(here, data if i == len(parts) else None)
            except ZkError as e:
                if e.code != NODE_EXISTS:
                    raise

    def delete(self, path):
        self.call(DELETE, text(path) + struct.pack(">i", -1))

    def get(self, path):
        """(data, Stat), or (None, None) where there is no node."""
        try:
            answer = self.call(GET, text(path) + b"\0")
        except ZkError as e:
            if e.code == NO_NODE:
                return None, None
            raise
        n = struct.unpack(">i", answer[:4])[0]
        return (b"" if n < 0 else answer[4:4 + n]), Stat(answer[4 + max(n, 0):][:68])

    def set(self, path, data):
        self.call(SET, text(path) + data_of(data) + struct.pack(">i", -1))

    def children(self, path):
        try:
            answer = self.call(CHILDREN, text(path) + b"\0")
        except ZkError as e:
            if e.code == NO_NODE:
                return []
            raise
        out, at = [], 4
        for _ in range(struct.unpack(">i", answer[:4])[0]):
            n = struct.unpack(">i", answer[at:at + 4])[0]
            out.append(answer[at + 4:at + 4 + n].decode())
            at += 4 + n
        return sorted(out)

    def close(self):
        try:
            self.call(CLOSE, b"")
        except (OSError, ConnectionError, ZkError):
            pass
        self.sock.close()
