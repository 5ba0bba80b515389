#!/usr/bin/env python3
"""hostile.py: what a broker must withstand from the wire, while a client beside it must notice nothing.

    tests/cluster/hostile.py --build DIR [--ports A..B] [--no-memory]   one broker and one controller of its own
    tests/cluster/hostile.py --bootstrap H:P [--also P,...] [--pids N,...]   a broker that runs; other ports to throw garbage at; memory of these

Garbage on every port; frames that promise too much; batches with a wrong CRC, a lying record count, lying lengths, or a bomb inside; unknown APIs and
versions; requests cut short, of every API and version that is advertised; 500 mixed requests pipelined; clients that do not read. Meanwhile a
victim writes a record each 10 ms with acks=all and must see each acknowledged within a second, and find all of them afterwards; the memory
of the processes may not grow. Prints `ok NAME` or `FAILED NAME why`; the last line is `N passed, N failed`.
"""
import argparse
import gzip
import os
import random
import re
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import wire  # noqa: E402
from cluster import Cluster, Failure, Ports, check  # noqa: E402

MB = 1 << 20
CREATE_TOPICS, DELETE_TOPICS = 19, 20
CLOSE_S = 5.0       # a connection that deserves it is closed within this time
FLAT_MB = 24        # memory may end this much higher
PEAK_MB = 160       # and be this much higher at any moment


def rss_kb(pid):
    with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def sealed(inside, attributes=0, count=1, last_delta=None, length_add=0, crc_xor=0, magic=2, producer=(-1, -1, -1), base=0):
    """A batch around `inside` with any field a lie; its CRC is right unless crc_xor."""
    last = count - 1 if last_delta is None else last_delta
    body = struct.pack(">hiqqqhii", attributes, last, 1700000000000, 1700000000000, *producer, count) + inside
    return struct.pack(">qiibI", base, 9 + len(body) + length_add, -1, magic, wire.crc32c(body) ^ crc_xor) + body


class Victim(threading.Thread):
    """A record each 10 ms; the longest time that one waited for its acknowledgement."""

    def __init__(self, target, topic):
        super().__init__(daemon=True)
        self.target, self.topic = target, topic
        self.stopping = threading.Event()
        self.sent, self.worst, self.why = 0, 0.0, None

    def run(self):
        try:
            w = wire.Conn(self.target.port)
            while not self.stopping.wait(0.01):
                began = time.monotonic()
                err = wire.produce_error(w.call(wire.PRODUCE, 3, wire.produce(self.topic, 0, wire.batch([b"victim %d" % self.sent]))))
                check(err == 0, "record %d was answered with error %d", self.sent, err)
                self.sent += 1
                self.worst = max(self.worst, time.monotonic() - began)
            w.close()
        except Exception as e:  # whatever it is, it is the finding
            self.why = "%s: %s" % (type(e).__name__, e)


class Memory(threading.Thread):
    """Highest resident size of each process."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.stopping = pids, threading.Event()
        self.before = {p: rss_kb(p) for p in pids}
        self.peak = dict(self.before)

    def run(self):
        while not self.stopping.wait(0.05):
            for p in self.pids:
                try:
                    self.peak[p] = max(self.peak[p], rss_kb(p))
                except (OSError, AttributeError):
                    pass  # it has died: said by the case that did it


class Target:
    def __init__(self, port, also, pids):
        self.port, self.also, self.pids = port, also, pids
        self.topic = "hostile-%d" % os.getpid()
        self.rng = random.Random(7)

    def conn(self, port=None, timeout=10.0):
        return wire.Conn(port or self.port, timeout)

    def noise(self, n):
        return bytes(self.rng.getrandbits(8) for _ in range(n))

    def end_offset(self, topic=None):
        w = self.conn()
        err, offset = wire.offset_of(w.call(wire.LIST_OFFSETS, 1, wire.list_offsets(topic or self.topic, 0)))
        w.close()
        check(err == 0, "ListOffsets: error %d", err)
        return offset

    def create(self, topic):
        w = self.conn(timeout=30.0)
        body = struct.pack(">i", 1) + wire.string(topic) + struct.pack(">ihii", 1, 1, 0, 0) + struct.pack(">i", 15000)
        answer = w.call(CREATE_TOPICS, 0, body)
        err = struct.unpack(">h", answer[-2:])[0]
        check(err in (0, 36), "topic %s cannot be made: error %d", topic, err)
        end = time.monotonic() + 15
        while wire.offset_of(w.call(wire.LIST_OFFSETS, 1, wire.list_offsets(topic, 0)))[0]:
            check(time.monotonic() < end, "no leader for %s", topic)
            time.sleep(0.02)
        w.close()

    def delete(self, topic):
        w = self.conn(timeout=30.0)
        w.call(DELETE_TOPICS, 0, struct.pack(">i", 1) + wire.string(topic) + struct.pack(">i", 15000))
        w.close()

    def versions(self):
        """[(api, lowest, highest)]"""
        w = self.conn()
        answer = w.call(wire.API_VERSIONS, 0, b"")
        w.close()
        n = struct.unpack(">i", answer[2:6])[0]
        return [struct.unpack(">hhh", answer[6 + 6 * i:12 + 6 * i]) for i in range(n)]

    def closes(self, data, what):
        w = self.conn()
        try:
            w.raw(data)
        except OSError:
            pass
        check(w.is_closed(CLOSE_S), "%s: not closed within %.0f s", what, CLOSE_S)
        w.close()

    def alive(self):
        for p in self.pids:
            check(os.path.exists("/proc/%d" % p) and b"Z" != open("/proc/%d/stat" % p, "rb").read().rpartition(b")")[2].split()[0],
                "process %d has died", p)
        w = self.conn()
        w.call(wire.API_VERSIONS, 0, b"")
        w.close()


def frame(api, version, body, corr=1, client="test", flexible=False):
    out = struct.pack(">hhi", api, version, corr) + wire.string(client) + (b"\0" if flexible else b"") + body
    return struct.pack(">i", len(out)) + out


# --- the cases ---------------------------------------------------------------------------------------------------------

def garbage(t):
    """Bytes of any kind on any port."""
    tls = bytes.fromhex("16030100a5010000a10303") + b"\x5a" * 160
    for port in [t.port] + t.also:
        for i in range(80):
            w = t.conn(port)
            try:
                w.raw([lambda: t.noise(t.rng.randrange(1, 4000)), lambda: b"\xff" * 5000, lambda: b"\0" * 5000, lambda: tls,
                    lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", lambda: b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                    lambda: struct.pack(">i", 1000) + t.noise(1000), lambda: struct.pack(">i", 1000) + t.noise(10)][i % 8]())
                if i % 3 == 0:
                    w.sock.shutdown(socket.SHUT_WR)
                elif i % 3 == 1:  # reset
                    w.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
            w.close()


def sizes(t):
    """A frame may not promise more than socket.request.max.bytes, nor less than a header."""
    for size in (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFF00, (100 << 20) + 1):
        t.closes(struct.pack(">I", size), "a frame of 0x%x bytes" % size)
    for size in (0, 1, 7):
        t.closes(struct.pack(">i", size) + b"\0" * size, "a frame of %d bytes" % size)
    # the most that is allowed, promised forty times, none of it sent: costs nothing
    before = {p: rss_kb(p) for p in t.pids}
    held = [t.conn() for _ in range(40)]
    for w in held:
        w.raw(struct.pack(">i", 100 << 20) + b"\0\0\0\3" + t.noise(1000))
    t.alive()
    time.sleep(0.3)
    for p, kb in before.items():
        check(rss_kb(p) < kb + 16 * 1024, "40 promises of 100 MB took %d KB of process %d", rss_kb(p) - kb, p)
    for w in held:
        w.close()


def batches(t):
    """Batches that lie are refused, each with its error, and leave no trace."""
    w = t.conn()
    sound = wire.record(0, b"a")
    two = sound + wire.record(1, b"b")
    bomb = gzip.compress(b"\0" * (256 * MB), 1)
    huge = b"\0" + wire.zigzag(0) + wire.zigzag(0) + wire.zigzag(-1) + wire.zigzag(1 << 30) + b"x"  # a value that promises 1 GB
    cases = [
        ("a wrong CRC", sealed(sound, crc_xor=1), {2}),
        ("a byte changed behind the CRC", sealed(sound)[:-2] + b"?" + sealed(sound)[-1:], {2}),
        ("count too high", sealed(sound, count=2), {2, 87}), ("count too low", sealed(two, count=1), {2, 87}),
        ("count 0", sealed(b"", count=0), {2, 87}), ("count -1", sealed(sound, count=-1), {2, 87}),
        ("count 2^31-1", sealed(sound, count=0x7FFFFFFF), {2, 87}), ("count and last delta disagree", sealed(two, count=2, last_delta=7), {2, 87}),
        ("last delta -1", sealed(sound, last_delta=-1), {2, 87}),
        ("length too long", sealed(sound, length_add=5), {2, 87}), ("length too short", sealed(sound, length_add=-5), {2, 87}),
        ("length 2 GB", sealed(sound, length_add=0x7FFFFF00), {2, 87, 10}), ("length negative", sealed(sound, length_add=-100), {2, 87}),
        ("magic 0", sealed(sound, magic=0), {2, 43, 76, 87}), ("magic 1", sealed(sound, magic=1), {2, 43, 76, 87}), ("magic 3", sealed(sound, magic=3), {2, 43, 76, 87}),
        ("a control batch", sealed(sound, attributes=0x20), {87}), ("codec 6", sealed(sound, attributes=6), {2, 76, 87}),
        ("half a batch", sealed(sound * 1)[:40], {2, 87}), ("twenty bytes", t.noise(20), {2, 43, 76, 87}),
        ("two batches", sealed(sound) + sealed(sound), {87}), ("a producer id without a sequence", sealed(sound, producer=(7, 0, -1)), {87}),
        ("a record longer than the batch", sealed(wire.zigzag(1 << 20) + b"abc"), {2, 87}), ("a value of 1 GB", sealed(wire.zigzag(len(huge)) + huge), {2, 87}),
        ("records of noise", sealed(t.noise(200), count=3), {2, 87}),
        ("compressed noise", sealed(t.noise(200), attributes=1), {2, 87}), ("noise as zstd", sealed(t.noise(200), attributes=4), {2, 76, 87}),
        ("noise as lz4", sealed(t.noise(200), attributes=3), {2, 87}), ("noise as snappy", sealed(t.noise(200), attributes=2), {2, 87}),
        ("256 MB of zeros, compressed", sealed(bomb, attributes=1), {2, 10, 87}),
    ]
    start, wrong = t.end_offset(), []
    for what, records, allowed in cases:
        err = wire.produce_error(w.call(wire.PRODUCE, 3, wire.produce(t.topic, 0, records)))
        if err not in allowed:
            wrong.append("%s: %d, not %s" % (what, err, sorted(allowed)))
    check(not wrong, "%s", "; ".join(wrong))
    check(t.end_offset() == start, "refused batches moved the end from %d to %d", start, t.end_offset())
    check(wire.produce_error(w.call(wire.PRODUCE, 3, wire.produce(t.topic, 0, wire.batch([b"sound"])))) == 0, "a sound batch is taken on the same connection")
    w.close()


def unknown(t):
    """Unknown APIs and versions close; ApiVersions of any version is answered."""
    known = {api: (lo, hi) for api, lo, hi in t.versions()}
    for api in (-1, 63, 93, 999, 0x7FFF, -0x8000):
        if api not in known:
            t.closes(frame(api, 0, b""), "api %d" % api)
    for api, (lo, hi) in known.items():
        if api == wire.API_VERSIONS:
            continue
        for version in (lo - 1, hi + 1, 0x7FFF):
            t.closes(frame(api, version, t.noise(20)), "api %d version %d" % (api, version))
    w = t.conn()
    for version in (known[wire.API_VERSIONS][1] + 1, 0x7FFF):
        w.raw(frame(wire.API_VERSIONS, version, b"\0\0\0"))
        _, body = w.answer()
        check(struct.unpack(">h", body[:2])[0] == 35, "ApiVersions %d: error %d", version, struct.unpack(">h", body[:2])[0])
    w.raw(frame(wire.API_VERSIONS, 3, b"\x03a!\x02b\0", flexible=True))  # a name that is no name
    _, body = w.answer()
    check(struct.unpack(">h", body[:2])[0] == 42, "a bad software name: error %d", struct.unpack(">h", body[:2])[0])
    w.close()


def cut_short(t):
    """Every API and version with bodies that end too early or promise what is not there: an answer or a close, never silence."""
    bodies = [b"", b"\0", b"\xff" * 4, struct.pack(">i", 0x7FFFFFFF), b"\x7f" * 12, b"\xff\xff\xff\xff\x0f" * 4, struct.pack(">hi", 5, 100), b"\0" * 17]
    tried = answered = closed = 0
    for api, lo, hi in t.versions():
        for version in range(lo, hi + 1):
            for body in bodies + [t.noise(t.rng.randrange(1, 60))]:
                w = t.conn(timeout=CLOSE_S)
                # what parses by chance may have no answer (acks=0): then the one behind it comes
                w.raw(frame(api, version, body) + frame(wire.API_VERSIONS, 0, b"", corr=2))
                try:
                    w.answer()
                    answered += 1
                except socket.timeout:
                    raise Failure("api %d version %d, body %s: neither answer nor close" % (api, version, body[:20].hex())) from None
                except OSError:
                    closed += 1
                w.close()
                tried += 1
    print("  %d requests: %d closed, %d answered" % (tried, closed, answered))
    check(tried > 300 and closed > tried // 2, "%d requests tried, %d closed", tried, closed)


def pipelined(t):
    """500 mixed requests in one go, in odd pieces: answers in order, each the right one; those with acks=0 have none; each sees what was produced before it."""
    kinds = [
        lambda i: (wire.METADATA, 1, wire.metadata([t.topic])),
        lambda i: (wire.PRODUCE, 3, wire.produce(t.topic, 0, wire.batch([b"pipe %d" % i]))),
        lambda i: (wire.FETCH, 4, wire.fetch(t.topic, 0, 0, wait=100 if i % 40 == 2 else 0, min_bytes=1 << 20 if i % 40 == 2 else 1)),
        lambda i: (wire.LIST_OFFSETS, 1, wire.list_offsets(t.topic, 0)),
        lambda i: (wire.API_VERSIONS, 0, b""),
        lambda i: (wire.PRODUCE, 3, wire.produce("no-such-topic", 7, wire.batch([b"x"]))),
        lambda i: (wire.PRODUCE, 3, wire.produce(t.topic, 0, wire.batch([b"pipe %d" % i]), acks=0)),
        lambda i: (wire.FETCH, 4, wire.fetch(t.topic, 0, 1 << 40)),
        lambda i: (wire.PRODUCE, 3, wire.produce(t.topic, 0, wire.batch([b"x"], crc_xor=9))),
    ]
    start = t.end_offset()
    w = t.conn(timeout=30.0)
    out = b"".join(w.frame(*kinds[i % len(kinds)](i)) for i in range(500))
    at = 0
    while at < len(out):
        n = t.rng.choice((1, 3, 100, 7001))
        w.raw(out[at:at + n])
        at += n
    want = [i for i in range(500) if i % len(kinds) != 6]
    answers = [w.answer() for _ in want]
    check([a[0] for a in answers] == [i + 1 for i in want], "answers come in order: %s", [a[0] for a in answers][:20])
    for i, (_, body) in zip(want, answers):
        kind = i % len(kinds)
        if kind in (1, 5, 8):
            err = wire.produce_error(body)
            check(err == {1: 0, 5: 3, 8: 2}[kind], "request %d: error %d", i, err)
        if kind == 3:
            got, before = wire.offset_of(body), sum(k % len(kinds) in (1, 6) for k in range(i))
            check(got == (0, start + before), "request %d sees the end at %d, %d records were produced before it", i, got[1] - start, before)
    taken = sum(i % len(kinds) in (1, 6) for i in range(500))
    check(t.end_offset() == start + taken, "%d records were taken, %d sent", t.end_offset() - start, taken)
    w.close()


def not_reading(t):
    """Clients that ask for megabytes and read nothing: their answers are not collected in memory."""
    w = t.conn(timeout=30.0)
    for _ in range(60):
        err = wire.produce_error(w.call(wire.PRODUCE, 3, wire.produce(t.topic, 0, big_batch())))
        check(err == 0, "error %d", err)
    before = {p: rss_kb(p) for p in t.pids}
    held = []
    for _ in range(10):
        s = t.conn()
        s.sock.settimeout(0.5)
        ask = frame(wire.FETCH, 4, struct.pack(">iiiib", -1, 0, 1, 50 * MB, 0) + struct.pack(">i", 1) + wire.string(t.topic) + struct.pack(">iiqi", 1, 0, 0, 50 * MB))
        try:
            for _ in range(200):
                s.raw(ask)
            s.raw(b"".join(frame(wire.METADATA, 1, wire.metadata(None)) for _ in range(20000)))
        except OSError:
            pass  # it has stopped reading from us, as it should
        held.append(s)
    time.sleep(1.0)
    grown = {p: rss_kb(p) - before[p] for p in t.pids}
    t.alive()
    for s in held:
        s.close()
    check(all(g < 64 * 1024 for g in grown.values()), "10 clients that do not read took (KB per process): %s", grown)
    w.close()


def describing(t):
    """A small request whose answer would be gigabytes: one resource, named again and again; and a resource with 200,000 keys."""
    before = {p: rss_kb(p) for p in t.pids}
    w = t.conn(timeout=60.0)

    def describe(resources):
        return w.call(32, 3, struct.pack(">i", len(resources)) + b"".join(resources) + b"\1\1")

    def resource(kind, name, keys=None):
        return struct.pack(">b", kind) + wire.string(name) + (struct.pack(">i", -1) if keys is None else struct.pack(">i", len(keys)) + b"".join(wire.string(k) for k in keys))
    twice = describe([resource(2, t.topic, ["retention.ms"])] * 2)
    check(twice.count(b"\0\x0cretention.ms") == 2, "what is named twice is answered twice, as by Kafka")
    own = re.search(rb"expected (\d+) or", describe([resource(4, "-7")]))[1].decode()
    for one in (resource(2, t.topic), resource(4, own)):
        answer = describe([one] * 20000)
        check(struct.unpack(">i", answer[4:8])[0] == 20000, "every place has an answer")
        check(len(answer) < 24 * MB, "%d bytes for a request of %d", len(answer), 20000 * len(one))
    began = time.monotonic()
    answer = describe([resource(2, t.topic, ["key-%d" % i for i in range(200000)] + ["retention.ms"])])
    check(b"retention.ms" in answer and len(answer) < 2000 and time.monotonic() - began < 20, "%d bytes in %.1f s", len(answer), time.monotonic() - began)
    w.close()
    grown = {p: rss_kb(p) - before[p] for p in t.pids}
    check(all(g < 96 * 1024 for g in grown.values()), "describing took (KB per process): %s", grown)


BIG = []


def big_batch():
    if not BIG:
        BIG.append(wire.batch([b"z" * 200000] * 4))
    return BIG[0]


def silent(t):
    """A thousand connections that say nothing, or half a size."""
    before = {p: rss_kb(p) for p in t.pids}
    held = []
    for i in range(1000):
        w = t.conn()
        if i % 2:
            w.raw(b"\0\0")
        held.append(w)
    t.alive()
    time.sleep(0.3)
    grown = {p: rss_kb(p) - before[p] for p in t.pids}
    for w in held:
        w.close()
    check(all(g < 8 * 1024 for g in grown.values()), "1,000 silent connections took (KB per process): %s", grown)


CASES = [garbage, sizes, batches, unknown, cut_short, pipelined, describing, not_reading, silent]


class Options:
    def __init__(self, build, ports, tmp):
        self.tmp, self.slow, self.build, self.keep = tmp, 1.0, build, False
        self.ports = Ports(*[int(p) for p in ports.split("..")])
        self.programs = {name: next((p for p in (os.path.join(build, name, name), os.path.join(build, name)) if os.path.isfile(p)), name)
            for name in ("brokerd", "controllerd", "klamm", "klamm-load")}


def run_all(t, names):
    results = []

    def case(name, fn):
        began = time.monotonic()
        why = None
        try:
            fn()
            t.alive()
        except Exception as e:  # a case that breaks in any way has failed; the others still run
            why = str(e) if isinstance(e, Failure) else "%s: %s" % (type(e).__name__, e)
        results.append(why is None)
        print("%s hostile.%s (%.1f s)%s" % ("FAILED" if why else "ok", name, time.monotonic() - began, " " + why if why else ""), flush=True)

    t.create(t.topic)
    victims = t.topic + "-victim"
    t.create(victims)
    victim = Victim(t, victims)
    memory = Memory(t.pids)
    victim.start()
    memory.start()
    for fn in CASES:
        if not names or fn.__name__ in names:
            case(fn.__name__, lambda fn=fn: fn(t))

    def unaware():
        victim.stopping.set()
        victim.join(30)
        check(victim.why is None, "%s", victim.why)
        check(victim.sent > 50 and t.end_offset(victims) == victim.sent, "%d records acknowledged, %d in the log", victim.sent, t.end_offset(victims))
        check(victim.worst < 1.0, "a record waited %.0f ms", victim.worst * 1000)
        print("  the victim: %d records, longest wait %.0f ms" % (victim.sent, victim.worst * 1000))

    def flat():
        end = time.monotonic() + 15
        while any(rss_kb(p) > memory.before[p] + FLAT_MB * 1024 for p in t.pids) and time.monotonic() < end:
            time.sleep(0.5)
        memory.stopping.set()
        for p in t.pids:
            print("  process %d: %d KB before, %d KB at most, %d KB after" % (p, memory.before[p], memory.peak[p], rss_kb(p)))
        for p in t.pids:
            check(rss_kb(p) < memory.before[p] + FLAT_MB * 1024, "process %d: %d KB before, %d KB after", p, memory.before[p], rss_kb(p))
            check(memory.peak[p] < memory.before[p] + PEAK_MB * 1024, "process %d: %d KB before, %d KB at most", p, memory.before[p], memory.peak[p])

    case("others_unaware", unaware)
    if t.pids:
        case("memory_flat", flat)
    for topic in (t.topic, victims):
        t.delete(topic)
    return results


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    ap.add_argument("--build", help="build directory; a cluster is made of its programs")
    ap.add_argument("--ports", default="20000..32000", metavar="A..B", help="for that cluster (%(default)s)")
    ap.add_argument("--bootstrap", help="HOST:PORT of a broker on this machine that runs")
    ap.add_argument("--also", default="", help="other ports on it that get garbage: admin, control")
    ap.add_argument("--pids", default="", help="processes whose memory must stay flat")
    ap.add_argument("--no-memory", action="store_true", help="do not look at memory (sanitizers keep what was freed)")
    ap.add_argument("cases", nargs="*", help=", ".join(fn.__name__ for fn in CASES))
    o = ap.parse_args()
    if bool(o.build) == bool(o.bootstrap):
        ap.error("give --build or --bootstrap")
    unknown_names = set(o.cases) - {fn.__name__ for fn in CASES}
    if unknown_names:
        ap.error("no such case: " + " ".join(sorted(unknown_names)))
    if o.bootstrap:
        results = run_all(Target(int(o.bootstrap.rpartition(":")[2]), [int(p) for p in o.also.split(",") if p], [int(p) for p in o.pids.split(",") if p]), o.cases)
    else:
        tmp = tempfile.mkdtemp(prefix="klamm-hostile-")
        c = Cluster(Options(os.path.abspath(o.build), o.ports, tmp), "hostile")
        try:
            c.start(brokers=1, controllers=1, default__replication__factor=1, min__insync__replicas=1)
            also = [c.admin["broker-1"], c.ports["controller-101"], c.admin["controller-101"]]
            results = run_all(Target(c.port(1), also, [] if o.no_memory else [d.proc.pid for d in c.daemons.values()]), o.cases)
            for d in c.daemons.values():
                if not d.alive():
                    print("FAILED hostile.survivors %s has died" % d.name)
                    results.append(False)
        finally:
            c.stop()
        for report in c.reports():
            print("FAILED hostile.reports " + report)
            results.append(False)
        if all(results):
            shutil.rmtree(tmp, ignore_errors=True)
        else:
            print("(folder: %s)" % tmp)
    print("%d passed, %d failed" % (sum(results), len(results) - sum(results)))
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
