"""cases_basic.py: what a cluster does while nothing happens to it: stock clients, the tool, hostile bytes, Kafka's files."""
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
import urllib.request

import wire
from cluster import TOP, check

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
GOLDEN = os.path.join(TOP, "tests", "golden")


def topic_codecs(c):
    """compression.type: stock clients read what the broker packed in another codec than it was sent in, large batches too; the replicas hold that codec."""
    values = ["%d %s" % (i, "abc " * (i % 50)) for i in range(20000)]
    for number, name in enumerate(CODECS):
        topic = "in-" + name
        c.create_topic(topic, 1, 3, "compression.type=" + ("uncompressed" if name == "none" else name))
        c.kcat("-P", "-t", topic, "-z", CODECS[(number + 2) % 5], "-X", "linger.ms=200", "-X", "batch.size=900000", data=("\n".join(values) + "\n").encode())
        check(c.read_all(topic, "%s\n") == values, "%s is read back", topic)
        for b in (1, 2, 3):
            with open(os.path.join(c.dir, "data", "broker-%d" % b, topic + "-0", "%020d.log" % 0), "rb") as f:
                log = f.read()
            at, found = 0, set()
            while at < len(log):
                found.add(log[at + 22] & 7)
                at += 12 + struct.unpack(">i", log[at + 8:at + 12])[0]
            check(found == {number}, "codecs of %s on broker %d: %s", topic, b, found)


def codecs(c):
    """Keys, empty and null values, headers, in every codec, plain and idempotent: read back with equal content."""
    c.start()
    c.create_topic("codecs", 3)
    want = {}
    for codec in CODECS:
        for idempotent in ("false", "true"):
            tag = "%s-%s" % (codec, idempotent)
            lines = []
            for i in range(700):
                key = "%s-k%d" % (tag, i)
                value = "" if i % 10 == 0 else ("value %d " % i) * (i % 40 + 1)  # kcat -Z: empty = null
                lines.append("%s\t%s" % (key, value))
                want[key] = (value, i)
            c.kcat("-P", "-t", "codecs", "-K", "\t", "-Z", "-z", codec, "-H", "codec=" + codec, "-H", "empty=", "-X", "enable.idempotence=" + idempotent,
                "-X", "acks=all", "-X", "linger.ms=20", data=("\n".join(lines) + "\n").encode())
    got, order = {}, {}
    for line in c.read_all("codecs", "%p\t%o\t%k\t%S\t%h\t%s\n"):
        p, offset, key, length, headers, value = line.split("\t")
        check(key not in got, "%s was read twice", key)
        check(int(offset) == order.get(p, -1) + 1, "offset %s follows %s in partition %s", offset, order.get(p), p)
        order[p] = int(offset)
        got[key] = (value, int(length), headers)
    check(set(got) == set(want), "read %d records, wrote %d", len(got), len(want))
    for key, (value, _) in want.items():
        check(got[key][0] == value, "value of %s is %r", key, got[key][0])
        check(got[key][1] == (len(value) if value else -1), "length of %s is %d", key, got[key][1])
        check(got[key][2] == "codec=%s,empty=" % key.split("-")[0], "headers of %s are %s", key, got[key][2])
    # all replicas hold the same bytes
    c.isr_is("codecs", 3, 3)
    for p in range(3):
        def same(p=p):
            logs = []
            for b in (1, 2, 3):
                with open(os.path.join(c.dir, "data", "broker-%d" % b, "codecs-%d" % p, "%020d.log" % 0), "rb") as f:
                    logs.append(f.read())
            return logs[0] and logs[0] == logs[1] == logs[2]
        c.until(same, "the logs of codecs-%d are equal on all replicas" % p, 10)
    topic_codecs(c)


def auto_create(c):
    c.start()
    c.kcat("-P", "-t", "made-by-itself", data=b"one\ntwo\nthree\n")
    check(sorted(c.read_all("made-by-itself", "%s\n")) == ["one", "three", "two"], "three records come back")
    check(len(c.zk().children("/brokers/topics/made-by-itself/partitions")) == 3, "it has num.partitions partitions")
    # While a topic is being made its asker hears the same each time: LEADER_NOT_AVAILABLE from the broker that clients see as controller,
    # UNKNOWN_TOPIC_OR_PARTITION from others. There are clients that wait for the one code only.
    conns = {b: wire.Conn(c.port(b)) for b in (1, 2, 3)}

    def asked(broker, topic):
        r = wire.Reader(conns[broker].call(wire.METADATA, 1, wire.metadata([topic])))
        r.array(lambda r: (r.take("i"), r.string(), r.take("i"), r.string()))
        controller, topics, code = r.take("iih")
        check(topics == 1, "one topic was asked for")
        return controller, code
    first = asked(1, "made-by-itself")[0]
    for d in c.controllers():
        d.pause()
    for b in (1, 2, 3):
        got = [asked(b, "made-from-%d" % b) for _ in range(3)]
        check(got == [(first, 5 if b == first else 3)] * 3, "broker %d says %s", b, got)
    for d in c.controllers():
        d.signal(signal.SIGCONT)
    for b in (1, 2, 3):
        c.until(lambda b=b: asked(b, "made-from-%d" % b)[1] == 0, "made-from-%d is there" % b, 60, every=0.1)
        conns[b].close()


def chroot(c):
    """zookeeper.connect with a chroot: everything is below it, two clusters share a ZooKeeper."""
    c.zk_start()
    connect = "127.0.0.1:%d/some/where" % c.zk_port
    c.add_controller(101, zookeeper__connect=connect).start()
    c.add_broker(1, zookeeper__connect=connect, default__replication__factor=1, min__insync__replicas=1).start()
    c.wait_serving()
    c.klamm("topic", "create", "below", "--partitions", "1", "--replication-factor", "1")
    c.kcat("-P", "-t", "below", "-X", "acks=all", data=b"x\n")
    z = c.zk()
    check(z.get("/some/where/brokers/topics/below/partitions/0/state")[1] is not None, "the topic is below the chroot")
    check([n for n in z.children("/") if n != "zookeeper"] == ["some"], "nothing is beside it: %s", z.children("/"))
    c.add_controller(102).start()
    c.add_broker(1, "broker-other", default__replication__factor=1, min__insync__replicas=1).start()
    c.until(lambda: c.health("broker-other")[0] == 200, "another cluster at the root serves", 20)
    check(z.get("/cluster/id")[0] != z.get("/some/where/cluster/id")[0], "it is another cluster")


def klamm_tool(c):
    """Exit codes and JSON of the tool."""
    c.start()
    check(json.loads(c.klamm("--json", "topic", "list").stdout)["topics"] == [], "no topic yet")
    c.klamm("topic", "create", "t1", "--partitions", "4", "--replication-factor", "2", "--config", "retention.ms=3600000")
    check(c.klamm("topic", "create", "t1", "--partitions", "1", "--replication-factor", "1", check_status=False).returncode == 1, "a topic that exists is refused")
    check(c.klamm("topic", "create", "t2", "--partitions", "1", "--replication-factor", "4", check_status=False).returncode == 1, "4 replicas on 3 brokers are refused")
    check(c.klamm("topic", "create", "t2", "--partitions", "1", "--replication-factor", "1", "--config", "cleanup.policy=compact",
        check_status=False).returncode == 1, "what is not built is refused")
    check(c.klamm("topic", "create", check_status=False).returncode == 2, "usage")
    check(c.klamm("topic", "describe", "nope", check_status=False).returncode == 4, "no such topic")
    t = json.loads(c.klamm("--json", "topic", "describe", "t1").stdout)["topics"][0]
    check(t["replication_factor"] == 2 and len(t["partitions"]) == 4, "described as made: %s", t)
    check(t["configs"].get("retention.ms") == "3600000", "configs are shown: %s", t["configs"])
    c.isr_is("t1", 4, 2)
    check(c.klamm("status", check_status=False).returncode == 0, "status of a sound cluster")
    down = c.zk_json("/brokers/topics/t1/partitions/0/state")["isr"][1]
    c.broker(down).kill()
    c.until(lambda: c.klamm("status", check_status=False).returncode == 5, "status exits 5 while a replica is out", 30, every=0.3)
    def told():
        s = json.loads(c.klamm("--json", "status", check_status=False).stdout)
        return (s["healthy"], s["brokers_down"], s["offline"], s["under_replicated"]) == (False, [down], 0, len(s["problems"])) and s["under_replicated"] > 0
    c.until(told, "and names the broker that is down", 10, every=0.3)
    c.broker(down).start()
    c.isr_is("t1", 4, 2)
    c.klamm("topic", "delete", "t1")
    c.until(lambda: json.loads(c.klamm("--json", "topic", "list").stdout)["topics"] == [], "t1 is gone", 10, every=0.2)
    c.until(lambda: not c.zk().get("/brokers/topics/t1")[1], "its node is gone", 10)
    gone = lambda: not any(n.startswith("t1-") and not n.endswith("-delete") for b in c.brokers() for n in os.listdir(os.path.join(c.dir, "data", b.name)))
    c.until(gone, "its folders are gone or renamed", 10)
    done = subprocess.run([c.bin("klamm"), "--bootstrap-server", "127.0.0.1:1", "topic", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    check(done.returncode == 3, "unreachable exits 3, not %d", done.returncode)


def inspection(c):
    """/health, /metrics and the status nodes."""
    c.start()
    c.create_topic("seen", 3)
    for p in range(3):
        c.kcat("-P", "-t", "seen", "-p", p, data=b"x\n" * 1000)
    status, health = c.health("broker-1")
    check(status == 200 and health.get("state") == "running" and "since_ms" in health, "/health says %s", health)
    def metrics():
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % c.admin["broker-1"]) as r:
            return r.read().decode()
    text = c.until(lambda: metrics() if "seen" in metrics() else None, "/metrics knows the topic", 6, every=0.2)
    for part in ("# TYPE", "topic=\"seen\""):
        check(part in text, "/metrics has %r", part)
    bad = [line for line in text.split("\n") if line and not line.startswith("#") and not re.match(r"^[a-zA-Z_:][\w:]*(\{.*\})? [-+0-9.eEinfNa]+$", line)]
    check(not bad, "/metrics is Prometheus text: %s", bad[:3])
    for b in (1, 2, 3):
        def told(b=b):
            s = c.zk_json("/klamm/status/brokers/%d" % b)
            return s if s and s.get("state") == "running" and s.get("bytes", 0) > 0 else None
        s = c.until(told, "status node of broker %d is true" % b, 6)
        missing = {"version", "state", "reason", "incarnation", "led", "under_replicated", "offline", "bytes", "max_lag", "updated_ms"} - set(s)
        check(not missing, "status node of broker %d lacks %s", b, missing)
    led = lambda: sum(c.zk_json("/klamm/status/brokers/%d" % b)["led"] for b in (1, 2, 3)) == 3
    c.until(led, "the three leaderships are told", 6)
    s = c.until(lambda: c.zk_json("/klamm/status/controller"), "status of the controller", 6)
    missing = {"version", "id", "epoch", "state", "last_failover", "updated_ms"} - set(s)
    check(not missing, "status node of the controller lacks %s", missing)
    controller = c.zk_json("/controller")
    check(controller["brokerid"] == 1 and controller["klamm"]["id"] in (101, 102), "/controller says %s", controller)


def configuration(c):
    """A broken configuration ends the start with 78 and one line."""
    c.zk_start()
    cases = [("a bad value", {"num__partitions": "many"}, b"num.partitions"), ("an SSL listener", {"listeners": "SSL://127.0.0.1:1"}, b"listeners"),
        ("an authorizer", {"authorizer__class__name": "x.Y"}, b"authorizer.class.name"), ("a keystore", {"ssl__keystore__location": "/k"}, b"ssl.keystore.location"),
        ("SASL", {"sasl__jaas__config": "x"}, b"sasl.jaas.config")]
    for i, (what, keys, named) in enumerate(cases):
        d = c.add_broker(1, "broker-bad%d" % i, **keys).start()
        check(d.wait(10 * c.slow) == 78, "%s: status %s", what, d.proc.returncode)
        check(named in d.log_text().encode(), "%s: the message names the key: %s", what, d.log_text())
        del c.daemons[d.name]
    d = c.add_broker(1, "broker-warned", num__io__threads=77, nun__partitions=3).start()
    c.until(lambda: "num.io.threads has no effect" in d.log_text() and "num.partitions" in d.log_text(), "warnings are told", 10, also=d)
    done = subprocess.run([c.bin("brokerd"), os.path.join(c.dir, "no-such-file")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False)
    check(done.returncode == 78 and b"no-such-file" in done.stdout, "a missing file exits 78: %s %s", done.returncode, done.stdout)
    name = os.path.join(c.dir, "conf", "bad.properties")
    for text in ("controller.id=101\nlisteners=CONTROL://127.0.0.1:0\n", "controller.id=x\nzookeeper.connect=127.0.0.1:1\n"):
        with open(name, "w", encoding="ascii") as f:
            f.write(text)
        done = subprocess.run([c.bin("controllerd"), name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False)
        check(done.returncode == 78 and b"bad.properties" in done.stdout, "controllerd exits 78: %s %s", done.returncode, done.stdout)


def pipelining(c):
    """500 mixed requests in one go come back in order, each sees what was produced before it; errors among them answer in their turn."""
    c.start(brokers=1, default__replication__factor=1, min__insync__replicas=1)
    c.create_topic("pipe", 1, 1)
    w = wire.Conn(c.port(1))
    kinds = [
        lambda i: (wire.METADATA, 1, wire.metadata(["pipe"])),
        lambda i: (wire.PRODUCE, 3, wire.produce("pipe", 0, wire.batch([b"value %d" % i]))),
        lambda i: (wire.FETCH, 4, wire.fetch("pipe", 0, 0, wait=50 if i % 50 == 2 else 0)),
        lambda i: (wire.LIST_OFFSETS, 1, wire.list_offsets("pipe", 0)),
        lambda i: (wire.API_VERSIONS, 0, b""),
        lambda i: (wire.PRODUCE, 3, wire.produce("no-such-topic", 7, wire.batch([b"x"]))),
        lambda i: (wire.FETCH, 4, wire.fetch("pipe", 0, 1 << 40)),
    ]
    out = b"".join(w.frame(*kinds[i % len(kinds)](i)) for i in range(500))
    for at in range(0, len(out), 7001):
        w.raw(out[at:at + 7001])
    answers = [w.answer() for _ in range(500)]
    check([a[0] for a in answers] == list(range(1, 501)), "answers come in order: %s", [a[0] for a in answers][:20])
    produced = [wire.produce_error(a[1]) for i, a in enumerate(answers) if i % len(kinds) == 1]
    check(produced == [0] * len(produced), "produces succeed: %s", produced[:10])
    refused = [wire.produce_error(a[1]) for i, a in enumerate(answers) if i % len(kinds) == 5]
    check(set(refused) == {3}, "an unknown topic is UNKNOWN_TOPIC_OR_PARTITION: %s", set(refused))
    seen = [wire.offset_of(a[1]) for i, a in enumerate(answers) if i % len(kinds) == 3]
    want = [(0, sum(k % len(kinds) == 1 for k in range(i))) for i in range(500) if i % len(kinds) == 3]
    check(seen == want, "ListOffsets sees what was produced before it, and no more: %s", [(s, w) for s, w in zip(seen, want) if s != w][:10])
    check(wire.offset_of(w.call(wire.LIST_OFFSETS, 1, wire.list_offsets("pipe", 0))) == (0, len(produced)), "the end offset is %d", len(produced))
    check(len(c.read_all("pipe", "%s\n")) == len(produced), "all are there")
    w.close()


def hostile(c):
    """Garbage on every port: a quiet close or an answer; memory flat, other clients unaware."""
    c.start(brokers=1, default__replication__factor=1, min__insync__replicas=1)
    c.create_topic("calm", 1, 1)
    d = c.broker(1)
    probe = c.probe("calm", 0)
    good = wire.Conn(c.port(1))
    good.call(wire.API_VERSIONS, 0, b"")
    before = {x.name: x.rss_kb() for x in c.brokers() + c.controllers()}
    ports = [c.port(1), c.admin["broker-1"]] + [c.ports[x.name] for x in c.controllers()] + [c.admin[x.name] for x in c.controllers()]
    import random
    rng = random.Random(1)
    for port in ports:
        for i in range(60):
            w = wire.Conn(port, timeout=5)
            try:
                kind = i % 6
                if kind == 0:
                    w.raw(bytes(rng.randrange(256) for _ in range(rng.randrange(1, 3000))))
                elif kind == 1:
                    w.raw(struct.pack(">i", 0x7FFFFFFF) + b"x" * 1000)
                elif kind == 2:
                    w.raw(struct.pack(">i", -1) + b"x" * 10)
                elif kind == 3:
                    w.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                elif kind == 4:
                    w.raw(struct.pack(">i", 2000) + struct.pack(">hhi", rng.randrange(-5, 90), rng.randrange(-2, 20), i) + bytes(rng.randrange(256) for _ in range(1992)))
                else:
                    w.raw(struct.pack(">i", 100 << 20) + b"y" * 5000)  # and no more comes
            except OSError:
                pass
            w.close()
    # what promises too much is closed, not waited for
    for size in (0x7FFFFFFF, -1, (100 << 20) + 1):
        w = wire.Conn(c.port(1))
        w.raw(struct.pack(">i", size & 0xFFFFFFFF if size >= 0 else size) if size < 0 else struct.pack(">I", size))
        check(w.is_closed(5 * c.slow), "a frame of %d bytes is closed", size)
        w.close()
    # an unknown API and an unknown version close; ApiVersions of a future version is answered in version 0 with UNSUPPORTED_VERSION
    for api, version in ((999, 0), (wire.METADATA, 99), (wire.PRODUCE, -1)):
        w = wire.Conn(c.port(1))
        w.send(api, version, b"")
        check(w.is_closed(5 * c.slow), "api %d version %d is closed", api, version)
        w.close()
    w = wire.Conn(c.port(1))
    w.send(wire.API_VERSIONS, 99, b"\0\0\0")
    _, body = w.answer()
    check(struct.unpack(">h", body[:2])[0] == 35, "ApiVersions 99 is UNSUPPORTED_VERSION")
    # batches that lie
    w2 = wire.Conn(c.port(1))
    lies = [("a wrong CRC", wire.batch([b"a"], crc_xor=1), {2}), ("a record count too high", wire.batch([b"a"], count=2), {87, 2}),
        ("a record count too low", wire.batch([b"a", b"b"], count=1), {87, 2}), ("magic 1", wire.batch([b"a"], magic=1), {43, 87, 2}), ("half a batch", wire.batch([b"abc" * 50])[:-20], {2, 87}),
        ("two batches", wire.batch([b"a"]) + wire.batch([b"b"]), {87}), ("nothing", b"", {0, 87, 2})]
    for what, records, allowed in lies:
        err = wire.produce_error(w2.call(wire.PRODUCE, 3, wire.produce("calm", 0, records)))
        check(err in allowed, "%s: error %d, allowed are %s", what, err, sorted(allowed))
    check(wire.produce_error(w2.call(wire.PRODUCE, 3, wire.produce("calm", 0, wire.batch([b"a sound one"])))) == 0, "a sound batch is taken on the same connection")
    good.call(wire.API_VERSIONS, 0, b"")
    check(all(x.alive() for x in c.daemons.values()), "everybody lives")
    if c.slow == 1:  # sanitizers keep freed memory
        c.until(lambda: all(x.rss_kb() < before[x.name] + 24 * 1024 for x in c.brokers() + c.controllers()), "memory is flat", 15, every=0.5)
    probe.send_signal(signal.SIGTERM)
    r = c.probe_result(probe, 60)
    check(r["missing"] == 0 and r["unacked"] == 0 and r["errors"] == 0, "the probe noticed nothing: %s", r)
    check(r["wait_max_ms"] < 1000 * c.slow, "the probe waited %s ms at most", r["wait_max_ms"])
    check(d.alive(), "the broker lives")


def golden_start(c, number=1, before=None):
    """A broker on a data directory of Kafka 3.9, with the nodes that Kafka had for it. Returns the recording and the data directory. Another number than
    that of the recording is one that Kafka generated: not in the file. before() runs when ZooKeeper is there."""
    source = os.path.join(GOLDEN, "log-3.9")
    data = os.path.join(c.dir, "data", "broker-1")
    shutil.copytree(os.path.join(source, "data"), data)
    with open(os.path.join(data, "meta.properties"), encoding="ascii") as f:
        meta = f.read()
    cluster_id = re.search(r"cluster\.id=(\S+)", meta).group(1)
    with open(os.path.join(data, "meta.properties"), "w", encoding="ascii") as f:
        f.write(meta.replace("broker.id=1\n", "broker.id=%d\n" % number))
    c.zk_start()
    if before:
        before()
    z = c.zk()
    z.create_all("/cluster/id", json.dumps({"version": "1", "id": cluster_id}).encode())
    topics = {}
    for name in sorted(os.listdir(data)):
        m = re.match(r"^(.*)-(\d+)$", name)
        if not m or not os.path.isdir(os.path.join(data, name)):
            continue
        with open(os.path.join(data, name, "partition.metadata"), encoding="ascii") as f:
            topic_id = re.search(r"topic_id: (\S+)", f.read()).group(1)
        epoch = 0
        with open(os.path.join(data, name, "leader-epoch-checkpoint"), encoding="ascii") as f:
            rows = [line.split() for line in f.read().split("\n")[2:] if line.strip()]
            epoch = int(rows[-1][0]) if rows else 0
        topics.setdefault(m.group(1), (topic_id, {}))[1][int(m.group(2))] = epoch
    check(len(topics) >= 15, "the recording is whole: %d topics", len(topics))
    configs = {"compacted": {"cleanup.policy": "compact"}, "logappend": {"message.timestamp.type": "LogAppendTime"}}
    for topic, (topic_id, parts) in topics.items():
        z.create_all("/config/topics/" + topic, json.dumps({"version": 1, "config": dict(configs.get(topic, {}), **{"min.insync.replicas": "1", "retention.ms": "-1"})}).encode())
        z.create_all("/brokers/topics/" + topic, json.dumps({"partitions": {str(p): [number] for p in parts}, "topic_id": topic_id, "adding_replicas": {},
            "removing_replicas": {}, "version": 3}).encode())
        for p, epoch in parts.items():
            z.create_all("/brokers/topics/%s/partitions/%d/state" % (topic, p), json.dumps({"controller_epoch": 1, "leader": number, "version": 1,
                "leader_epoch": epoch, "isr": [number]}).encode())
    z.create_all("/controller_epoch", b"1")
    c.add_controller(101).start()
    c.add_broker(1, broker__id=1 if number == 1 else None, default__replication__factor=1, min__insync__replicas=1, offsets__topic__replication__factor=1).start()
    c.wait_serving()
    return source, data


def golden_log(c):
    """A data directory of Kafka 3.9 opens; format v2 reads back as its manifest says, magic 0 and 1 are refused and left as they are."""
    before = {n: digest(os.path.join(GOLDEN, "log-3.9", "data", n)) for n in ("magic0-0", "magic1-0")}
    source, data = golden_start(c)
    compared = 0
    for name in sorted(os.listdir(os.path.join(source, "expected"))):
        m = re.match(r"^(.*)-(\d+)\.txt$", name)
        if not m or m.group(1) in ("magic0", "magic1"):
            continue
        topic, p = m.group(1), m.group(2)
        c.until(lambda: (c.state(topic, int(p)) or {}).get("leader") == 1, "%s-%s has a leader" % (topic, p), 15)
        with open(os.path.join(source, "expected", name), encoding="utf-8") as f:
            want = f.read().split("\n")[:-1]
        done = c.kcat("-C", "-t", topic, "-p", p, "-o", "beginning", "-e", "-q", "-f", "%o|%T|%K|%k|%S|%s|%h\n", "-X", "isolation.level=read_uncommitted", "-X", "check.crcs=true")
        got = done.stdout.decode().split("\n")[:-1]
        # kcat shows the number of bytes of a null as -1 and nothing behind it, as the recording does
        check(got == want, "%s-%s: read %d lines, want %d; first difference: %s", topic, p, len(got), len(want),
            next(((a, b) for a, b in zip(got + [""] * 999, want) if a != b), None))
        compared += 1
    check(compared >= 16, "compared %d partitions", compared)
    for topic in ("magic0", "magic1"):
        w = wire.Conn(c.port(1))
        body = w.call(wire.FETCH, 4, wire.fetch(topic, 0, 0))
        at = 4 + 4 + 2 + len(topic) + 4 + 4
        err = struct.unpack(">h", body[at:at + 2])[0]
        check(err in (43, 76), "%s is answered with error %d", topic, err)
        w.close()
        check(digest(os.path.join(data, topic + "-0")) == before[topic + "-0"], "%s-0 is left untouched", topic)
    # and it goes on from there
    c.kcat("-P", "-t", "codec-zstd", "-p", "0", data=b"new\n")
    got = c.read_all("codec-zstd", "%o %s\n")
    check(got[-1] == "200 new", "the next offset is 200: %s", got[-1])


def digest(folder):
    import hashlib
    h = hashlib.sha256()
    for name in sorted(os.listdir(folder)):
        if name.endswith((".log", ".index", ".timeindex")):
            with open(os.path.join(folder, name), "rb") as f:
                h.update(name.encode() + f.read())
    return h.hexdigest()


def retention(c):
    """Old segments go by size; the log start moves and reading goes on from there."""
    c.start(brokers=1, default__replication__factor=1, min__insync__replicas=1, log__retention__check__interval__ms=300)
    c.create_topic("short", 1, 1, "segment.bytes=20000", "retention.bytes=60000", "file.delete.delay.ms=100")
    for _ in range(20):
        c.kcat("-P", "-t", "short", "-X", "batch.num.messages=50", data=b"".join(b"%04d %s\n" % (i, b"x" * 60) for i in range(200)))
    def start():
        w = wire.Conn(c.port(1))
        err, offset = wire.offset_of(w.call(wire.LIST_OFFSETS, 1, wire.list_offsets("short", 0, -2)))
        w.close()
        return offset if err == 0 and offset > 0 else None
    first = c.until(start, "the log start moves", 15)
    lines = c.read_all("short", "%o\n")
    check(int(lines[0]) >= first and int(lines[-1]) == 3999, "reading starts at %s and ends at %s", lines[0], lines[-1])
    folder = os.path.join(c.dir, "data", "broker-1", "short-0")
    c.until(lambda: sum(os.path.getsize(os.path.join(folder, n)) for n in os.listdir(folder) if ".log" in n) < 90000, "the files are gone", 10)


def first_ack(c):
    """From fork to the first acknowledged record, with its topic there: idle memory below 16 MB, well under a second."""
    c.start(brokers=1, default__replication__factor=1, min__insync__replicas=1)
    c.create_topic("quick", 1, 1)
    d = c.broker(1)
    check(d.term(10 * c.slow) == 0, "SIGTERM ends with 0")
    took = []
    for _ in range(5):
        d.start()
        began = d.started
        def acked():
            try:
                w = wire.Conn(c.port(1), timeout=1)
                err = wire.produce_error(w.call(wire.PRODUCE, 3, wire.produce("quick", 0, wire.batch([b"x"]))))
                w.close()
                return err == 0
            except (OSError, ConnectionError, struct.error):
                return False
        c.until(acked, "a record is acknowledged", 10, also=d, every=0.002)
        took.append((time.monotonic() - began) * 1000)
        if c.slow == 1:
            check(d.rss_kb() < 16 * 1024, "idle memory is %d KB", d.rss_kb())
        check(d.term(10 * c.slow) == 0, "SIGTERM ends with 0")
    took.sort()
    check(took[2] < 250 * c.slow, "fork to first ack took %s ms", [round(t) for t in took])


CASES = {f.__name__: f for f in (codecs, auto_create, chroot, klamm_tool, inspection, configuration, pipelining, hostile, golden_log, retention, first_ack)}
