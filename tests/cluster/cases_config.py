"""cases_config.py: configs that take effect: by request and by znodes, of topics and of brokers, without a restart."""
import glob
import json
import os
import struct
import time

import wire
from cluster import check
from confwire import APPEND, BROKER, DELETE, SET, SUBTRACT, TOPIC, alter, describe, incremental


def ok(results):
    check(all(e == 0 for e, _ in results), "refused: %s", results)


def segments(c, topic, partition, broker):
    return sorted(glob.glob(os.path.join(c.dir, "data", "broker-%d" % broker, "%s-%d" % (topic, partition), "*.log")))


def produce_code(c, topic, size, broker=None, acks=-1):
    """Error code of one record of this size, sent to the leader of partition 0."""
    w = wire.Conn(c.port(broker or c.state(topic, 0)["leader"]))
    try:
        return wire.produce_error(w.call(wire.PRODUCE, 3, wire.produce(topic, 0, wire.batch([b"x" * size]), acks=acks, timeout=2000)))
    finally:
        w.close()


def note_texts(c):
    return [json.loads(c.zk().get("/config/changes/" + n)[0]) for n in sorted(c.zk().children("/config/changes"))]


def topic_configs(c):
    """What a running log does changes on every replica; what cannot be is refused and leaves no trace."""
    c.start(log__retention__check__interval__ms=500)
    c.create_topic("t", 1)
    w = wire.Conn(c.port(2))
    check(produce_code(c, "t", 5000) == 0, "5000 bytes are taken at first")
    ok(incremental(w, [(TOPIC, "t", [("max.message.bytes", SET, "2000"), ("segment.bytes", SET, "3000"), ("file.delete.delay.ms", SET, "200")])]))
    check(c.zk_json("/config/topics/t") == {"version": 1, "config": {"file.delete.delay.ms": "200", "max.message.bytes": "2000", "segment.bytes": "3000"}},
        "the node is %s", c.zk_json("/config/topics/t"))
    check(note_texts(c) == [{"version": 2, "entity_path": "topics/t"}], "notifications: %s", note_texts(c))
    # the broker that was asked knows before it answers, the others within a moment
    check(describe(w, TOPIC, "t", ["segment.bytes"])[2]["segment.bytes"].value == "3000", "it is described at once")
    check(len(describe(w, TOPIC, "t", [])[2]) == len(describe(w, TOPIC, "t", None)[2]) > 20, "no keys are all keys, as with Kafka")
    c.until(lambda: produce_code(c, "t", 5000) == 10, "5000 bytes are MESSAGE_TOO_LARGE now", 2)
    for _ in range(6):
        check(produce_code(c, "t", 1500) == 0, "1500 bytes are taken")
    for b in (1, 2, 3):
        c.until(lambda b=b: len(segments(c, "t", 0, b)) >= 3, "broker %d rolls small segments" % b, 5)
    ok(incremental(w, [(TOPIC, "t", [("retention.bytes", SET, "3000")])]))
    for b in (1, 2, 3):
        c.until(lambda b=b: len(segments(c, "t", 0, b)) <= 2, "broker %d deletes by size" % b, 10)
    # refused: nothing of the request happens
    before = (c.zk().get("/config/topics/t")[0], len(note_texts(c)))
    for changes, code in (([("flush.ms", SET, "5"), ("retention.ms", SET, "abc")], 40), ([("nosuch", SET, "1")], 40), ([("flush.ms", SET, "1"), ("flush.ms", SET, "2")], 42),
            ([("flush.ms", SET, None)], 42), ([("flush.ms", APPEND, "1")], 40), ([("preallocate", SET, "true")], 40), ([("compression.type", SET, "none")], 40), ([("cleanup.policy", SET, "compact")], 40)):
        got = incremental(w, [(TOPIC, "t", changes)])
        check(got[0][0] == code and got[0][1], "%s gives %s", changes, got)
    ok(incremental(w, [(TOPIC, "t", [("flush.ms", SET, "5")])], validate_only=True))
    check(alter(w, [(TOPIC, "t", [("flush.ms", "5")]), (TOPIC, "t", [])])[1][0] == 42, "a resource twice")
    check(incremental(w, [(TOPIC, "nosuch", [("flush.ms", SET, "5")])])[0][0] == 3, "an unknown topic")
    check((c.zk().get("/config/topics/t")[0], len(note_texts(c))) == before, "nothing was written")
    # a list; the rest is taken away, one by one and as a whole
    ok(incremental(w, [(TOPIC, "t", [("cleanup.policy", SUBTRACT, "delete"), ("segment.bytes", DELETE, None)])]))
    got = describe(w, TOPIC, "t", ["cleanup.policy", "segment.bytes"])[2]
    check(got["cleanup.policy"].value == "" and got["segment.bytes"].source == "default", "after subtract and delete: %s", vars(got["cleanup.policy"]))
    ok(alter(w, [(TOPIC, "t", [("retention.ms", "77000")])]))
    check(c.zk_json("/config/topics/t")["config"] == {"retention.ms": "77000"}, "AlterConfigs replaces the whole set")
    c.until(lambda: produce_code(c, "t", 5000) == 0, "5000 bytes are taken again", 2)
    # and survives everybody's death
    for d in list(c.brokers()) + list(c.controllers()):
        d.kill()
    for d in list(c.controllers()) + list(c.brokers()):
        d.start()
    c.wait_serving()
    w = wire.Conn(c.port(1))
    entry = describe(w, TOPIC, "t", ["retention.ms"])[2]["retention.ms"]
    check((entry.value, entry.source) == ("77000", "topic"), "after a restart: %s", vars(entry))


def min_isr(c):
    """min.insync.replicas of a topic and of the cluster while they run: the controller tells the leader (protocol.md E2)."""
    c.start(min__insync__replicas=1)
    c.create_topic("m", 1)
    c.isr_is("m", 1, 3)
    leader = c.state("m", 0)["leader"]
    other = [b for b in (1, 2, 3) if b != leader]
    w = wire.Conn(c.port(leader))
    ok(incremental(w, [(TOPIC, "m", [("min.insync.replicas", SET, "3")])]))
    check(produce_code(c, "m", 10) == 0, "three of three are in sync")
    c.broker(other[0]).kill()
    c.until(lambda: produce_code(c, "m", 10, leader) in (19, 20), "two are not enough", 20)
    ok(incremental(w, [(TOPIC, "m", [("min.insync.replicas", DELETE, None)])]))
    c.until(lambda: produce_code(c, "m", 10, leader) == 0, "the broker's own minimum is 1", 2)
    ok(incremental(w, [(BROKER, "", [("min.insync.replicas", SET, "3")])]))
    c.until(lambda: produce_code(c, "m", 10, leader) in (19, 20), "the cluster's is 3 now", 2)
    check(describe(w, TOPIC, "m", ["min.insync.replicas"])[2]["min.insync.replicas"].synonyms ==
        [("min.insync.replicas", "3", "dynamic-default"), ("min.insync.replicas", "1", "static"), ("min.insync.replicas", "1", "default")], "synonyms in order")


GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "broker-configs.tsv")


def all_keys(c, w, broker):
    """What Kafka lists for a broker is listed, with its type, default and whether it may change; a password's value never is."""
    kinds = ("UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD")
    with open(GOLDEN, encoding="utf-8") as f:
        recorded = {row[0]: row[1:] for row in (line.rstrip("\n").split("\t") for line in f if line[0] != "#")}
    got = describe(w, BROKER, str(broker), None, docs=True)[2]
    own = {"admin.listener", "data.loops", "log.dir.reserved.bytes", "log.scrub.bytes.per.second"}
    check(set(got) == set(recorded) | own | {"some.plugin.key"}, "listed: %s", set(got) ^ set(recorded))
    for key, (kind, default, when) in recorded.items():
        e = got[key]
        check((kinds[e.type], e.read_only) == (kind, when == "static"), "%s: %s", key, vars(e))
        check([v for n, v, s in e.synonyms if (n, s) == (key, "default")] == ([] if default == "null" else [default]), "%s: %s", key, vars(e))
        check(e.sensitive == (kind == "PASSWORD") and e.doc and (e.value is None or not e.sensitive), "%s: %s", key, vars(e))
        check(e.source != "default" or e.value == (None if default == "null" else default), "%s: %s", key, vars(e))
    e = got["some.plugin.key"]  # of the file; it might be a plugin's password
    check(e.sensitive and e.read_only and e.value is None and e.type == 0 and e.synonyms == [("some.plugin.key", None, "static")], "unknown: %s", vars(e))


def broker_configs(c):
    """Per broker over the cluster's default over the file, in force at once and after a restart."""
    c.start(message__max__bytes=4000, some__plugin__key="secret")
    c.create_topic("b", 1, 3, "max.message.bytes=1000000")
    leads = {}
    while len(leads) < 2:  # the first replica is drawn
        t = "b%d" % len(c.zk().children("/brokers/topics"))
        c.create_topic(t, 1)
        leads.setdefault(c.state(t, 0)["leader"], t)
    one, two = sorted(leads)[:2]
    w1, w2 = wire.Conn(c.port(one)), wire.Conn(c.port(two))
    all_keys(c, w1, one)
    takes = lambda b, size: produce_code(c, leads[b], size, b) == 0  # noqa: E731
    check(takes(one, 3000) and not takes(one, 5000), "the file's limit holds")
    ok(incremental(w1, [(BROKER, "", [("message.max.bytes", SET, "9000")])]))
    c.until(lambda: takes(one, 8000) and takes(two, 8000), "the cluster's default is over the file", 2)
    ok(incremental(w2, [(BROKER, str(two), [("message.max.bytes", SET, "2000")])]))
    c.until(lambda: takes(one, 8000) and not takes(two, 3000), "a broker's own is over that", 2)
    check(produce_code(c, "b", 500000) == 0, "the topic's is over all of them")
    check(c.zk_json("/config/brokers/%d" % two) == {"version": 1, "config": {"message.max.bytes": "2000"}}, "the node of the broker")
    check([n["entity_path"] for n in note_texts(c)] == ["brokers/<default>", "brokers/%d" % two], "notifications: %s", note_texts(c))
    error, _, got = describe(w2, BROKER, str(two), ["message.max.bytes", "broker.id", "log.dirs"])
    check(error == 0 and got["message.max.bytes"].synonyms == [("message.max.bytes", "2000", "dynamic-broker"), ("message.max.bytes", "9000", "dynamic-default"),
        ("message.max.bytes", "4000", "static"), ("message.max.bytes", "1048588", "default")], "synonyms in order: %s", got["message.max.bytes"].synonyms)
    check(got["broker.id"].read_only and not got["message.max.bytes"].read_only, "what can change is not read only")
    error, _, got = describe(w1, BROKER, "")
    check(error == 0 and list(got) == ["message.max.bytes"] and got["message.max.bytes"].source == "dynamic-default", "the cluster's default: %s", list(got))
    for kind, name, changes, code in ((BROKER, str(two), [("message.max.bytes", SET, "1")], 42), (BROKER, str(one), [("broker.rack", SET, "r")], 42),
            (BROKER, "", [("listeners", SET, "PLAINTEXT://:1")], 42), (BROKER, str(one), [("num.io.threads", SET, "9")], 40), (BROKER, str(one), [("nosuch", SET, "9")], 40),
            (BROKER, "x", [("message.max.bytes", SET, "1")], 42), (99, "x", [("message.max.bytes", SET, "1")], 42), (8, str(one), [("kafka", SET, "INFO")], 42)):
        got = incremental(w1, [(kind, name, changes)])
        check(got[0][0] == code and got[0][1], "%s %s %s gives %s", kind, name, changes, got)
    check(describe(w1, BROKER, str(two))[0] == 42, "another broker's is asked there")
    c.broker(two).kill()
    c.broker(two).start()
    c.wait_serving()
    w2 = wire.Conn(c.port(two))
    check(describe(w2, BROKER, str(two), ["message.max.bytes"])[2]["message.max.bytes"].value == "2000", "it survives a restart")
    ok(incremental(w2, [(BROKER, str(two), [("message.max.bytes", DELETE, None)])]))
    check(describe(w2, BROKER, str(two), ["message.max.bytes"])[2]["message.max.bytes"].value == "9000", "the default is in force again")
    ok(alter(w2, [(BROKER, "", [])]))
    check(describe(w2, BROKER, str(two), ["message.max.bytes"])[2]["message.max.bytes"].value == "4000", "and the file")


def broker_log_configs(c):
    """What brokers give to logs that have no settings of their own changes while they run: roll size, times, and back to the file's hours."""
    c.zk_start()
    c.add_controller(101).start()
    c.add_broker(1, default__replication__factor=1, min__insync__replicas=1, log__retention__hours=2, log__retention__check__interval__ms=200).start()
    c.wait_serving()
    c.klamm("topic", "create", "r", "--partitions", "1", "--replication-factor", "1")
    w = wire.Conn(c.port(1))

    def files():
        return len(segments(c, "r", 0, 1))

    def synonyms():
        e = describe(w, TOPIC, "r", ["retention.ms"])[2]["retention.ms"]
        return e.value, e.source, e.synonyms
    file_only = ("7200000", "default", [])  # under another name: Kafka shows no synonym then
    check(synonyms() == file_only, "the file's hours: %s", synonyms())
    for _ in range(3):
        check(produce_code(c, "r", 2000, 1) == 0, "taken")
    check(files() == 1, "one large segment: %d", files())
    ok(incremental(w, [(BROKER, "", [("log.segment.bytes", SET, "3000"), ("log.segment.delete.delay.ms", SET, "0")])]))
    c.until(lambda: produce_code(c, "r", 2000, 1) == 0 and files() >= 3, "small segments are rolled", 10)
    ok(incremental(w, [(BROKER, "", [("log.retention.ms", SET, "86400000")])]))
    want = [("log.retention.ms", "86400000", "dynamic-default"), ("log.retention.hours", "2", "static"), ("log.retention.hours", "168", "default")]
    check(synonyms() == ("86400000", "dynamic-default", want), "milliseconds of all brokers before the file's hours: %s", synonyms())
    ok(incremental(w, [(BROKER, "1", [("log.retention.ms", SET, "1")])]))
    check(synonyms() == ("1", "dynamic-broker", [("log.retention.ms", "1", "dynamic-broker")] + want), "the broker's own before that: %s", synonyms())
    c.until(lambda: files() == 1, "what is older than a millisecond goes", 20)
    ok(incremental(w, [(BROKER, "1", [("log.retention.ms", DELETE, None)]), (BROKER, "", [("log.retention.ms", DELETE, None), ("log.segment.bytes", DELETE, None)])]))
    check(synonyms() == file_only, "the file's hours again: %s", synonyms())


def connection_limits(c):
    """max.connections and max.connections.per.ip over all data loops, changed while clients are there."""
    c.zk_start()
    c.add_controller(101).start()
    c.add_broker(1, default__replication__factor=1, min__insync__replicas=1, max__connections=40).start()
    c.wait_serving()
    admin = wire.Conn(c.port(1))
    held = [admin]

    def gets_in():
        w = wire.Conn(c.port(1))
        try:
            w.call(wire.API_VERSIONS, 0, b"")
        except OSError:
            w.close()
            return False
        held.append(w)
        return True

    def limit_is(n, what):
        """n connections get in and one more does not; each loop has its limits from the answer on, but no sooner than it looks at its messages."""
        def now():
            while len(held) < n:
                if not gets_in():
                    return False
            if not gets_in():
                return True
            held.pop().close()
            return False
        c.until(now, what, 10)
    describe(admin, BROKER, "1", ["broker.id"])
    for _ in range(9):
        check(gets_in(), "ten of forty connections get in")
    ok(incremental(admin, [(BROKER, "1", [("max.connections.per.ip", SET, "12")])]))
    limit_is(12, "twelve of twelve")
    ok(incremental(admin, [(BROKER, "", [("max.connections.per.ip.overrides", SET, "10.9.9.9:1,127.0.0.1:14")])]))
    limit_is(14, "fourteen from this address")
    check(incremental(admin, [(BROKER, "", [("max.connections.per.ip.overrides", SET, "localhost:14")])])[0][0] == 42, "names are not taken")
    ok(incremental(admin, [(BROKER, "", [("max.connections.per.ip.overrides", DELETE, None)]), (BROKER, "1", [("max.connections.per.ip", DELETE, None)])]))
    limit_is(40, "the file's limit is in force again")
    ok(incremental(admin, [(BROKER, "", [("max.connections", SET, "41")])]))
    limit_is(41, "forty-one")
    held.pop().close()
    c.until(gets_in, "a place that was left is taken again", 5)


def by_znodes(c):
    """Nodes that stock tools write, with a notification of either form, are in force within two seconds."""
    c.start()
    c.create_topic("z", 1)
    z = c.zk()
    leader = c.state("z", 0)["leader"]
    w = wire.Conn(c.port(leader))

    def within(what, condition):
        began = time.monotonic()
        c.until(condition, what, 10)
        took = time.monotonic() - began
        check(took < 2 * c.slow, "%s took %.2f s", what, took)

    def value(kind, name, key):
        return describe(w, kind, name, [key])[2].get(key)

    def entry_is(kind, name, key, want):
        e = value(kind, name, key)
        return e is not None and e.value == want
    z.set("/config/topics/z", b'{"version":1,"config":{"max.message.bytes":"900","no.such.key":"1"}}')
    z.create("/config/changes/config_change_0000000000", b'{"version":2,"entity_path":"topics/z"}')
    within("a topic by entity_path", lambda: produce_code(c, "z", 2000) == 10)
    z.set("/config/topics/z", b'{"version":1,"config":{"max.message.bytes":"3000"}}')
    z.create("/config/changes/config_change_0000000001", b'{"version":1,"entity_type":"topics","entity_name":"z"}')
    within("a topic in the old form", lambda: produce_code(c, "z", 2000) == 0)
    # whatever version it says, or none; what is no value does not hold, and harms nothing beside it
    z.set("/config/topics/z", b'{"config":{"max.message.bytes":"900","segment.bytes":"5","retention.ms":"x"}}')
    z.create("/config/changes/config_change_0000000002", b'{"version":2,"entity_path":"topics/z"}')
    within("a node without a version", lambda: produce_code(c, "z", 2000) == 10)
    check(produce_code(c, "z", 100) == 0 and value(TOPIC, "z", "segment.bytes").value != "5", "5 is no segment size")
    z.set("/config/topics/z", b'{"version":1}')
    z.create("/config/changes/config_change_0000000003", b'{"version":2,"entity_path":"topics/z"}')
    within("a node without settings", lambda: produce_code(c, "z", 2000) == 0)
    z.create("/config/brokers/<default>", b'{"version":1,"config":{"log.retention.ms":"86400000","log.cleaner.threads":"2"}}')
    z.create("/config/changes/config_change_0000000004", b'{"version":2,"entity_path":"brokers/<default>"}')
    within("the default of brokers", lambda: entry_is(TOPIC, "z", "retention.ms", "86400000"))
    z.create("/config/brokers/%d" % leader, b'{"version":1,"config":{"log.retention.ms":"1000000"}}')
    z.create("/config/changes/config_change_0000000005", b'{"version":2,"entity_path":"brokers/%d"}' % leader)
    within("one broker", lambda: entry_is(TOPIC, "z", "retention.ms", "1000000"))
    name, active = c.active_controller()
    check("has no effect" in active.log_text() and "log.cleaner.threads" in active.log_text(), "controller %s tells what nobody will do", name)
    # while no controller runs: the next one reads what there is
    for d in c.controllers():
        d.kill()
    z.set("/config/topics/z", b'{"version":1,"config":{"max.message.bytes":"700"}}')
    z.create("/config/changes/config_change_0000000006", b'{"version":2,"entity_path":"topics/z"}')
    for d in c.controllers():
        d.start()
    c.until(lambda: produce_code(c, "z", 2000) == 10, "read by the next reign", 20)
    z.create("/config/changes/config_change_0000000007", b"garbage")
    z.create("/config/changes/config_change_0000000008", b'{"version":2,"entity_path":"clients/a"}')
    ok(incremental(wire.Conn(c.port(leader)), [(TOPIC, "z", [("max.message.bytes", DELETE, None)])]))
    check(c.zk_json("/config/topics/z") == {"version": 1, "config": {}}, "an emptied node stays, as Kafka's")
    c.until(lambda: produce_code(c, "z", 2000) == 0, "and is in force", 2)


def many_changes(c):
    """Hundreds of changes at once, of many topics and of the same ones, all are there in the end."""
    c.start()
    topics = ["many-%d" % i for i in range(40)]
    for t in topics:
        c.klamm("topic", "create", t, "--partitions", "1", "--replication-factor", "3")
    conns = [wire.Conn(c.port(b)) for b in (1, 2, 3)]
    rounds = 10
    for r in range(rounds):
        for k, w in enumerate(conns):  # three clients change different keys of the same topics
            key = ("retention.ms", "flush.ms", "segment.ms")[k]
            body = struct.pack(">i", len(topics))
            for t in topics:
                body += struct.pack(">b", TOPIC) + wire.string(t) + struct.pack(">i", 1) + wire.string(key) + struct.pack(">b", SET) + wire.string(str(100000 + r))
            w.send(44, 0, body + b"\0")
    for w in conns:
        for _ in range(rounds):
            answer = w.answer()[1]
            check(len(answer) < 4096 and struct.unpack(">i", answer[4:8])[0] == len(topics), "an answer for each topic")
    want = {k: str(100000 + rounds - 1) for k in ("retention.ms", "flush.ms", "segment.ms")}
    for t in topics:
        check(c.zk_json("/config/topics/" + t)["config"] == want, "%s has %s", t, c.zk_json("/config/topics/" + t))


def unclean_election(c):
    """[replication.md 14] unclean.leader.election.enable, set while the only ISR member is dead: of a topic it elects there at once, for all brokers in every topic that does
    not say otherwise; what only the dead one had is gone."""
    c.start(min__insync__replicas=1)
    topics = {"one": 3, "two": 3, "never": 1}
    for t, partitions in topics.items():
        c.create_topic(t, partitions, 3, *(["unclean.leader.election.enable=false"] if t == "never" else []))
        c.isr_is(t, partitions, 3)
        c.kcat("-P", "-t", t, "-p", "0", "-X", "acks=all", data=b"kept\n")

    def states(t):
        return [c.state(t, p) for p in range(topics[t])]

    def offline(t):
        return all(s["leader"] == -1 and s["isr"] == [3] for s in states(t))

    def led(t):
        return all(s["leader"] in (1, 2) and 3 not in s["isr"] for s in states(t)) and all(c.serves(t, p) for p in range(topics[t]))
    for b in (1, 2):
        c.broker(b).kill()
    c.until(lambda: all(s["isr"] == [3] and s["leader"] == 3 for t in topics for s in states(t)), "3 is alone", 20)
    for t in topics:
        c.until(lambda t=t: produce_code(c, t, 7, 3) == 0, "%s takes what 3 alone has" % t, 10)
    c.broker(3).kill()
    for b in (1, 2):
        c.broker(b).start()
    c.wait_serving()
    c.until(lambda: all(offline(t) for t in topics), "nobody leads: 1 and 2 are outdated", 30)
    w = wire.Conn(c.port(1))
    ok(incremental(w, [(TOPIC, "one", [("unclean.leader.election.enable", SET, "true")])]))
    c.until(lambda: led("one"), "one of the outdated leads the topic that says so", 5)
    check(offline("two") and offline("never"), "and no other topic")
    ok(incremental(w, [(BROKER, "", [("unclean.leader.election.enable", SET, "true")])]))
    c.until(lambda: led("two"), "now where the default of all brokers holds", 5)
    check(offline("never"), "not where the topic says no")
    for t in ("one", "two"):
        c.until(lambda t=t: produce_code(c, t, 5) == 0, "%s takes records" % t, 5)
    c.broker(3).start()
    for t in topics:
        c.isr_is(t, topics[t], 3)
    for t, values in (("one", ["kept", "xxxxx"]), ("two", ["kept", "xxxxx"]), ("never", ["kept", "xxxxxxx"])):
        check(c.read_all(t, "%s\n") == values, "%s holds %s", t, c.read_all(t, "%s\n"))
        check(all("klamm" not in s for s in states(t)), "nobody is marked: %s", states(t))


def recovery_threads(c):
    """num.recovery.threads.per.data.dir: after kill -9 so many logs of each directory are scanned at a time, and nothing is missing."""
    c.zk_start()
    c.add_controller(101).start()
    dirs = [os.path.join(c.dir, "data", "disk-%d" % i) for i in (1, 2)]
    d = c.add_broker(1, default__replication__factor=1, min__insync__replicas=1, log__dirs=",".join(dirs), num__recovery__threads__per__data__dir=3)
    d.start()
    c.wait_serving()
    c.klamm("topic", "create", "many", "--partitions", "20", "--replication-factor", "1")
    c.kcat("-P", "-t", "many", "-X", "acks=all", data="".join("record %d\n" % i for i in range(5000)).encode())
    d.kill()
    d.start()
    c.wait_serving()
    check(all(os.listdir(x) for x in dirs), "both directories are used")
    check(len(c.read_all("many", "%s\n")) == 5000, "all records are there")
    names = []
    for task in os.listdir("/proc/%d/task" % d.proc.pid):
        with open("/proc/%d/task/%s/comm" % (d.proc.pid, task), encoding="utf-8") as f:
            names.append(f.read().strip())
    check(names.count("load") == 6, "threads that loaded: %d of 2 directories times 3", names.count("load"))


CASES = {f.__name__: f for f in (topic_configs, min_isr, broker_configs, broker_log_configs, by_znodes, connection_limits, many_changes, unclean_election, recovery_threads)}
