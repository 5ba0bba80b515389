"""cases_id.py: brokers whose file has no broker.id: generated ids, as Kafka's, and those that a directory holds."""
import json
import os
import re
import urllib.request

import wire
from cases_basic import golden_start
from cluster import check
from confwire import BROKER, SET, describe, incremental

SEQID = "/brokers/seqid"


def add(c, number, dirs=2, **more):
    """broker-N of the test, with directories of its own and no id."""
    at = [os.path.join(c.dir, "data", "broker-%d-%s" % (number, d)) for d in "ab"[:dirs]]
    return c.add_broker(number, broker__id=None, log__dirs=",".join(at), **more)


def stored(c, number):
    """Ids in the meta.properties of that broker's directories, None where there is no file."""
    out = []
    for d in "ab":
        path = os.path.join(c.dir, "data", "broker-%d-%s" % (number, d), "meta.properties")
        try:
            with open(path, encoding="ascii") as f:
                out.append(int(re.search(r"^broker\.id=(\d+)$", f.read(), re.M).group(1)))
        except OSError:
            out.append(None)
    return out


def write_meta(c, number, d, text):
    at = os.path.join(c.dir, "data", "broker-%d-%s" % (number, d))
    os.makedirs(at, exist_ok=True)
    with open(os.path.join(at, "meta.properties"), "w", encoding="ascii") as f:
        f.write(text)


def id_of(c, number):
    return c.health("broker-%d" % number)[1].get("broker")


def generated_ids(c):
    """Two fresh brokers wait for ZooKeeper, then for a controller, become 1001 and 1002 at the same time, and are that for good."""
    both = [add(c, n, min__insync__replicas=1, default__replication__factor=2).start() for n in (1, 2)]
    for d in both:
        c.until(lambda d=d: "ZooKeeper to give this broker an id" in d.log_text(), "%s says that it waits for ZooKeeper" % d.name, 10, also=d)
    c.until(lambda: "ZooKeeper to give" in c.health("broker-1")[1].get("reason", ""), "and /health", 5)
    check(c.health("broker-1")[0] == 503 and id_of(c, 1) == -1, "/health: %s", c.health("broker-1"))
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % c.admin["broker-1"], timeout=5 * c.slow) as r:
        check(b"klamm_" in r.read(), "/metrics answers meanwhile")
    check(c.broker(2).term(10 * c.slow) == 0, "SIGTERM ends with 0 meanwhile")
    c.broker(2).start()
    c.zk_start()
    for d in both:
        c.until(lambda d=d: "a controller to create /cluster/id" in d.log_text(), "%s says that it waits for a controller" % d.name, 60, also=d)
    check(stored(c, 1) == [None, None] and c.zk().get(SEQID) == (None, None), "nothing is written before")
    c.add_controller(101).start()
    c.wait_serving()
    ids = {n: id_of(c, n) for n in (1, 2)}
    c.generated = {ids[n]: "broker-%d" % n for n in ids}
    check(sorted(ids.values()) == [1001, 1002], "they are %s", ids)
    check(c.zk().children("/brokers/ids") == ["1001", "1002"] and c.zk().get(SEQID)[1].version == 2, "registered: %s", c.zk().children("/brokers/ids"))
    for n in ids:
        check(stored(c, n) == [ids[n]] * 2, "stored: %s", stored(c, n))
    c.create_topic("t", 4, 2)
    for p in range(4):
        c.kcat("-P", "-t", "t", "-p", p, "-X", "acks=all", data=b"before\n")
    brokers = json.loads(c.kcat("-L", "-J").stdout)
    check(sorted(b["id"] for b in brokers["brokers"]) == [1001, 1002] and brokers["controllerid"] == 1001, "clients see %s", brokers)
    w = wire.Conn(c.port(1001))
    got = describe(w, BROKER, "1001", ["broker.id", "node.id", "reserved.broker.max.id"])[2]
    # Kafka shows what the file says, which is nothing
    got = {k: (e.value, e.source) for k, e in got.items()}
    check(got == {"broker.id": ("-1", "default"), "node.id": ("-1", "default"), "reserved.broker.max.id": ("1000", "default")}, "described: %s", got)
    check(incremental(w, [(BROKER, "1001", [("log.retention.ms", SET, "12345678")])])[0][0] == 0, "its dynamic configs are set")
    check(c.zk_json("/config/brokers/1001")["config"] == {"log.retention.ms": "12345678"}, "below its id")
    check(describe(w, BROKER, "1001", ["log.retention.ms"])[2]["log.retention.ms"].value == "12345678", "and in force")
    w.close()
    # one killed, one stopped: the same ids, no further number
    c.broker(1).kill()
    check(c.broker(2).term(20 * c.slow) == 0, "SIGTERM ends with 0")
    for d in both:
        d.start()
    c.wait_serving()
    check({n: id_of(c, n) for n in (1, 2)} == ids and c.zk().get(SEQID)[1].version == 2, "the same after a restart: %s", [id_of(c, n) for n in (1, 2)])
    c.isr_is("t", 4, 2)
    check(c.read_all("t", "%s\n") == ["before"] * 4, "what was written is there")
    # a configured one beside them, and the next generated one
    c.add_broker(7, min__insync__replicas=1).start()
    add(c, 3).start()
    c.wait_serving()
    check(c.zk().children("/brokers/ids") == ["1001", "1002", "1003", "7"], "registered: %s", c.zk().children("/brokers/ids"))


def generated_id_killed(c):
    """kill -9 at each stage of the first start costs a number at most; an id that stands in a directory stays."""
    c.zk_start()
    c.add_controller(101).start()
    c.until(lambda: c.zk().get("/cluster/id")[0], "the base paths are there", 30)
    d = add(c, 1)
    version = lambda: c.zk().get(SEQID)[1].version
    stages = [lambda: True, lambda: "zk.connected" in text() or " connected " in text(), lambda: version() > 0, lambda: "id.generated" in text() or "id.stored" in text(),
        lambda: None not in stored(c, 1), lambda: c.zk().children("/brokers/ids") != [], lambda: c.health("broker-1")[0] == 200]
    text = lambda: d.log_text()[before:]
    before, first = 0, None
    for life, stage in enumerate(stages, 1):
        before = len(d.log_text()) if os.path.exists(d.log) else 0
        d.start()
        c.until(stage, "stage %d" % life, 30, also=d, every=0.001)
        d.kill()
        known = [i for i in stored(c, 1) if i is not None]
        first = first or (known[0] if known else None)
        check(all(i == first for i in known), "life %d: stored %s after %s", life, stored(c, 1), first)
        check(version() <= life and (first is None or first <= 1000 + version()), "life %d: version %d, id %s", life, version(), first)
    d.start()
    c.wait_serving()
    check(id_of(c, 1) == first and stored(c, 1) == [first, first] and c.zk().children("/brokers/ids") == [str(first)], "it is %s, was %s", id_of(c, 1), first)


def id_contradictions(c):
    """Ids that contradict each other, or that the file may not have, end the start with 78 and one line that names the place."""
    write_meta(c, 1, "a", "version=0\nbroker.id=1001\n")
    write_meta(c, 2, "a", "version=0\nbroker.id=1001\n")
    write_meta(c, 2, "b", "version=0\nbroker.id=1002\n")
    c.zk_start()
    cases = [(1, {"broker__id": 7}, r"/broker-1-a/meta\.properties says broker\.id=1001, but 7 is configured: .*log\.dirs"),
        (2, {}, r"/broker-2-b/meta\.properties says broker\.id=1002, \S*/broker-2-a/meta\.properties says broker\.id=1001: .*log\.dirs"),
        (3, {"broker__id": 1001}, r"^\S*:\d+: broker\.id: .*reserved\.broker\.max\.id \(1000\)"),
        (4, {"broker__id": -2}, r"^\S*:\d+: broker\.id: "),
        (5, {"broker__id__generation__enable": "false"}, r"^\S*: broker\.id: must be set"),
        (6, {"broker__id": 4, "node__id": 5}, r"^\S*:\d+: node\.id: ")]
    for number, keys, line in cases:
        more = dict({"log__dirs": ",".join(os.path.join(c.dir, "data", "broker-%d-%s" % (number, x)) for x in "ab"), "broker__id": None}, **keys)
        d = c.add_broker(number, **more).start()
        check(d.wait(20 * c.slow) == 78, "%s: status %s", keys, d.proc.returncode)
        said = [t for t in d.log_text().split("\n") if "meta.properties" in t or "broker.id" in t or "node.id" in t]
        check(len(said) == 1 and re.search(line, said[0]), "%s: it says %s", keys, d.log_text())
    # and with the number that is stored all is well, configured (where that is allowed) or not
    d = c.add_broker(1, broker__id=1001, broker__id__generation__enable="false", log__dirs=os.path.join(c.dir, "data", "broker-1-a")).start()
    c.add_controller(101).start()
    c.until(lambda: c.health("broker-1")[0] == 200 and id_of(c, 1) == 1001, "1001 serves", 30, also=d)
    check(c.zk().get(SEQID)[1].version == 0, "no number was taken")


def kafka_generated_id(c):
    """A directory of Kafka 3.9 whose broker had a generated id goes on under it, with what is in it; the next one is counted on."""
    c.generated = {1001: "broker-1"}
    golden_start(c, 1001, before=lambda: (c.zk().create_all(SEQID, b""), c.zk().set(SEQID, b"")))
    check(id_of(c, 1) == 1001 and c.zk().get(SEQID)[1].version == 1, "it is %s", id_of(c, 1))
    c.until(lambda: c.serves("codec-zstd", 0), "codec-zstd-0 has a leader", 15)
    c.kcat("-P", "-t", "codec-zstd", "-p", "0", data=b"new\n")
    got = c.read_all("codec-zstd", "%o %s\n")
    check(len(got) == 201 and got[-1] == "200 new", "200 records and the new one: %d, %s", len(got), got[-1])
    add(c, 2).start()
    c.wait_serving()
    check(c.zk().children("/brokers/ids") == ["1001", "1002"], "the next is 1002: %s", c.zk().children("/brokers/ids"))


CASES = {f.__name__: f for f in (generated_ids, generated_id_killed, id_contradictions, kafka_generated_id)}
