"""cases_change.py: what clients see while leaders move and topics come and go: three brokers, stock clients beside raw requests.

[Q n] = facts/client-quirks.md section n, [U n] = background/users.md section 4 item n, [R n] = facts/replication.md section n.
"""
import os
import signal
import subprocess
import threading
import time

from asking import Broker, batch, values_in
from cluster import Stream, check


def at(c, number, name):
    """Requests to one broker of the cluster."""
    return Broker(c.port(number), name)


def others(c, topic):
    """(leader, those that follow)"""
    s = c.state(topic, 0)
    return s["leader"], [b for b in (1, 2, 3) if b != s["leader"] and b in s["isr"]]


def fetch_answer(b, topic, version, **more):
    """(partition, whole answer)"""
    r = b.conn().ask("Fetch", version, b.fetch_request(topic, 0, version, **more))
    return r["responses"][0]["partitions"][0], r


def change_hints(c):
    """[Q 5, Q 6; KIP-951] Produce 10 and Fetch 16 say who leads, and where, with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH; older versions do not."""
    c.start()
    c.create_topic("hints", 1, 2)
    leader = c.state("hints", 0)["leader"]
    epoch = c.state("hints", 0)["leader_epoch"]
    replicas = c.zk_json("/brokers/topics/hints")["partitions"]["0"]
    follower = next(r for r in replicas if r != leader)
    stranger = next(n for n in (1, 2, 3) if n not in replicas)
    endpoint = [{"node_id": leader, "host": "127.0.0.1", "port": c.port(leader), "rack": None}]
    for where in (follower, stranger):
        b = at(c, where, "hints")
        for version in (9, 10, 11):
            values = {"acks": -1, "timeout_ms": 5000, "topic_data": [{"name": "hints", "partition_data": [{"index": 0, "records": batch()}]}]}
            r = b.conn().ask("Produce", version, values)
            p = r["responses"][0]["partition_responses"][0]
            check(p["error_code"] == 6 and p["base_offset"] == -1, "Produce %d at %d: %s", version, where, p)
            hint = (p["current_leader"]["leader_id"], p["current_leader"]["leader_epoch"]) if version >= 10 else None
            check(hint == ((leader, epoch) if version >= 10 else None), "Produce %d at %d: leader %s", version, where, hint)
            check(r.get("node_endpoints", []) == (endpoint if version >= 10 else []), "Produce %d at %d: endpoints %s", version, where, r.get("node_endpoints"))
        b.close()
    b = at(c, stranger, "hints")
    for version in (11, 12, 15, 16, 17):
        p, r = fetch_answer(b, "hints", version)
        check(p["error_code"] == 6 and p["records"] == b"" and p["high_watermark"] == -1, "Fetch %d: %s", version, p)
        hint = (p["current_leader"]["leader_id"], p["current_leader"]["leader_epoch"]) if version >= 12 else None
        check(hint == ((leader, epoch) if version >= 12 else None), "Fetch %d: leader %s", version, hint)
        check(r.get("node_endpoints", []) == (endpoint if version >= 16 else []), "Fetch %d: endpoints %s", version, r.get("node_endpoints"))
    # an unknown topic has no leader to name
    p = b.produce("no-such", batch(), version=11)
    check((p["error_code"], p["current_leader"]["leader_id"], p["current_leader"]["leader_epoch"]) == (3, -1, -1), "unknown: %s", p)
    b.close()


def change_epochs(c):
    """[Q 6, Q 7, Q 8, U 31, U 32, R 3, R 4] After a leader change: the old epoch is fenced, with a hint; epochs never go back; the old one ends where the new one began."""
    c.start()
    c.create_topic("epochs", 1)
    leader, _ = others(c, "epochs")
    b = at(c, leader, "epochs")
    check(b.produced("epochs", batch(1, 2, 3)) == 0, "three records")
    old = c.state("epochs", 0)["leader_epoch"]
    b.close()
    seen = [old]
    for _ in range(2):
        leader, _ = others(c, "epochs")
        check(c.broker(leader).term(10 * c.slow) == 0, "a clean stop")
        c.until(lambda gone=leader: c.state("epochs", 0)["leader"] not in (-1, gone) and c.serves("epochs", 0), "another leads", 10)
        now = c.state("epochs", 0)
        b = at(c, now["leader"], "epochs")
        epoch = b.metadata(["epochs"])["topics"][0]["partitions"][0]["leader_epoch"]
        check(epoch == now["leader_epoch"] > seen[-1], "epochs grow: %s, then %d", seen, epoch)
        p, r = fetch_answer(b, "epochs", 16, p_current_leader_epoch=seen[-1])
        check(p["error_code"] == 74 and (p["current_leader"]["leader_id"], p["current_leader"]["leader_epoch"]) == (now["leader"], epoch), "Fetch at the old epoch: %s", p)
        check([e["node_id"] for e in r["node_endpoints"]] == [now["leader"]], "its endpoint: %s", r["node_endpoints"])
        check(b.list_offsets("epochs", current_leader_epoch=seen[-1])["error_code"] == 74, "ListOffsets at the old epoch")
        r = b.conn().ask("OffsetForLeaderEpoch", 4, {"replica_id": -1, "topics": [{"topic": "epochs", "partitions": [
            {"partition": 0, "current_leader_epoch": seen[-1], "leader_epoch": 0}, {"partition": 0, "leader_epoch": old}]}]})["topics"]
        got = [(x["error_code"], x["leader_epoch"], x["end_offset"]) for t in r for x in t["partitions"]]
        check(got == [(74, -1, -1), (0, old, 3)], "OffsetForLeaderEpoch: %s", got)
        p = b.fetch("epochs", 4, 12, p_last_fetched_epoch=old)
        check(p["error_code"] == 0 and (p["diverging_epoch"]["epoch"], p["diverging_epoch"]["end_offset"]) == (old, 3) and p["records"] == b"", "a reader past it: %s", p)
        check(b.produced("epochs", batch(4)) >= 3, "it is written on")
        end = b.list_offsets("epochs")
        check(end["leader_epoch"] == epoch, "the end is of the new epoch: %s", end)
        seen.append(epoch)
        b.close()
        c.broker(leader).start()
        c.isr_is("epochs", 1, 3)
        # the one that is back says the same, and serves readers, not writers
        b = at(c, leader, "epochs")
        def caught_up(b=b, epoch=epoch):
            p = b.metadata(["epochs"])["topics"][0]["partitions"][0]
            return p["leader_epoch"] == epoch and b.fetch("epochs", 0, 12)["error_code"] == 0
        c.until(caught_up, "the old leader knows", 10)
        check(b.fetch("epochs", 0, 10)["error_code"] == 6 and b.list_offsets("epochs")["error_code"] == 6, "it does not lead")
        check(b.fetch("epochs", 0, 12, p_current_leader_epoch=seen[-2])["error_code"] == 74, "it fences the old epoch, too")
        b.close()


def change_dead_leader(c):
    """[Q 8] A partition whose only replica is away: LEADER_NOT_AVAILABLE, leader -1, offline replicas told; the dead broker is not listed; v0 leaves it out."""
    c.start()
    for i in range(6):
        c.create_topic("alone-%d" % i, 1, 1)
    leaders = {i: c.state("alone-%d" % i, 0)["leader"] for i in range(6)}
    victim = leaders[0]
    c.broker(victim).kill()
    b = at(c, victim % 3 + 1, "dead")
    def known():
        p = b.metadata(["alone-0"])["topics"][0]["partitions"][0]
        return p if p["error_code"] else None
    p = c.until(known, "the partition is told to have no leader", 10)
    check((p["error_code"], p["leader_id"], p["replica_nodes"], p["isr_nodes"], p["offline_replicas"]) == (5, -1, [victim], [victim], [victim]), "%s", p)
    r = b.conn().ask("Metadata", 0, {"topics": [{"name": "alone-0"}]})
    p = r["topics"][0]["partitions"][0]
    check((p["error_code"], p["leader_id"], p["replica_nodes"], p["isr_nodes"]) == (5, -1, [], []), "version 0: %s", p)
    check(victim not in [x["node_id"] for x in r["brokers"]], "brokers: %s", r["brokers"])
    check(b.produce("alone-0", batch())["error_code"] in (3, 6), "nobody takes it")
    c.broker(victim).start()
    c.until(lambda: b.metadata(["alone-0"])["topics"][0]["partitions"][0]["error_code"] == 0, "it is back", 20)
    b.close()


def change_timeout(c):
    """[Q 5] acks=all and followers that stand still: REQUEST_TIMED_OUT after timeout_ms, the record is in the log all the same; acks=1 does not wait."""
    c.start(replica__lag__time__max__ms=60000)
    c.create_topic("slow", 1)
    leader, followers = others(c, "slow")
    b = at(c, leader, "slow")
    check(b.produced("slow", batch(0)) == 0, "the first")
    for f in followers:
        c.broker(f).pause()
    began = time.monotonic()
    p = b.produce("slow", batch(1), timeout_ms=300)
    check(p["error_code"] == 7 and p["base_offset"] == -1 and time.monotonic() - began >= 0.28, "acks=all: %s after %.3f s", p, time.monotonic() - began)
    check(b.produce("slow", batch(2), acks=1)["error_code"] == 0, "acks=1")
    check(b.list_offsets("slow")["offset"] == 1, "readers see what is committed: %s", b.list_offsets("slow"))
    for f in followers:
        c.broker(f).signal(signal.SIGCONT)
    c.until(lambda: b.list_offsets("slow")["offset"] == 3, "both are committed in the end", 20)
    b.close()


def change_auto_creation(c):
    """[Q 8, U 24, U 25] The broker that is called controller answers LEADER_NOT_AVAILABLE first, others UNKNOWN_TOPIC_OR_PARTITION; then it is there for all."""
    c.start()
    controller = c.zk_json("/controller")["brokerid"]
    for i, number in enumerate((controller, controller % 3 + 1)):
        b = at(c, number, "auto")
        name = "auto-%d" % i
        ask = {"topics": [{"name": name}], "allow_auto_topic_creation": True}
        r = b.conn().ask("Metadata", 9, ask)["topics"][0]
        check((r["error_code"], r["partitions"]) == (5 if number == controller else 3, []), "broker %d, controller %d: %s", number, controller, r)
        c.until(lambda b=b, ask=ask: b.conn().ask("Metadata", 9, ask)["topics"][0]["error_code"] == 0, "it is made", 10)
        c.kcat("-P", "-t", name, data=b"x\n")
        check(len(c.read_all(name)) == 1, "and used")
        b.close()


class Reader:
    """kcat that reads a topic from its beginning, for as long as it is let; its lines so far."""

    def __init__(self, c, topic, *more):
        self.path = os.path.join(c.dir, "logs", "reader-%s.out" % topic)
        self.errors = os.path.join(c.dir, "logs", "reader-%s.err" % topic)
        with open(self.path, "wb") as out, open(self.errors, "wb") as err:
            self.proc = c.background(["kcat", "-b", c.bootstrap(), "-C", "-E", "-u", "-t", topic, "-o", "beginning", "-f", "%p %o %s\n", "-X", "topic.metadata.refresh.interval.ms=200",
                "-X", "auto.offset.reset=earliest", "-X", "reconnect.backoff.max.ms=200", *more], stdout=out, stderr=err)

    def lines(self):
        with open(self.path, encoding="ascii") as f:
            return f.read().split("\n")[:-1]

    def stop(self):
        self.proc.kill()
        self.proc.wait()


class Follower(threading.Thread):
    """Reads both partitions of a topic as clients do: by topic id, in a session per partition; on an error that says so it looks for the leader and the id
    again, out of range it begins anew. (kcat's plain consumer gives up a partition that has gone, with Kafka as well.)"""

    def __init__(self, c, topic, seen):
        super().__init__(daemon=True)
        self.c, self.topic, self.seen = c, topic, seen  # seen(partition, offset, value)
        self.stopping, self.why, self.codes = threading.Event(), None, set()

    def look(self, p):
        for n in (1, 2, 3):
            b = at(self.c, n, "follower")
            t = b.metadata([self.topic])["topics"][0]
            b.close()
            if t["error_code"] == 0 and len(t["partitions"]) > p and t["partitions"][p]["error_code"] == 0:
                return at(self.c, t["partitions"][p]["leader_id"], "follower"), t["topic_id"]
        return None, None

    def run(self):
        try:
            state = {p: [None, None, 0, 0, 0] for p in (0, 1)}  # broker, id, session, epoch, offset
            while not self.stopping.is_set():
                for p, st in state.items():
                    self.step(p, st)
        except Exception as e:  # whatever it is, it is the finding
            self.why = "%s: %s" % (type(e).__name__, e)

    def step(self, p, st):
        if not st[0]:
            st[0], st[1] = self.look(p)
            st[2] = st[3] = 0
            if not st[0]:
                time.sleep(0.02)
                return
            st.append(st[0].conn())
        r = st[-1].ask("Fetch", 16, st[0].fetch_request(st[1], st[4], 16, p, max_wait_ms=20, session_id=st[2], session_epoch=st[3]))
        st[2], st[3] = r["session_id"], st[3] + 1
        code = r["error_code"]
        for part in [x for t in r["responses"] for x in t["partitions"]]:
            code = code or part["error_code"]
            for value, offset in values_in(part["records"]):
                if offset >= st[4]:
                    self.seen(p, offset, value)
                    st[4] = offset + 1
        if code == 1:
            st[4] = 0
        self.codes.add(code)
        if code:
            check(code in (1, 3, 6, 70, 71, 74, 75, 100, 103, 106), "Fetch: error %d", code)
            st[0].close()
            st[:] = [None, None, 0, 0, st[4]]

    def stop(self):
        self.stopping.set()
        self.join(10)
        check(self.why is None, "the reader: %s", self.why)


def change_leaders_under_clients(c):
    """[Q 8, Q 10, U 33] Leaders move in good order under an idempotent producer and a reader: everything comes once and in order, nobody has to start again."""
    c.start()
    c.create_topic("moving", 3)
    s = Stream(c, "moving", 3)
    reader = Reader(c, "moving")
    c.until(lambda: min(s.sent) > 300 and len(reader.lines()) > 300, "both run", 30)
    for number in (1, 2, 3):
        check(c.broker(number).term(10 * c.slow) == 0, "a clean stop")
        sent, read = min(s.sent), len(reader.lines())
        c.until(lambda n=sent, m=read: min(s.sent) > n + 150 and len(reader.lines()) > m + 300, "both go on without broker %d" % number, 20)
        c.broker(number).start()
        c.isr_is("moving", 3, 3)
    s.finish()
    total = sum(s.sent)
    c.until(lambda: len(reader.lines()) >= total, "the reader has all %d" % total, 20)
    check(reader.proc.poll() is None, "the reader still runs")
    reader.stop()
    got = {}
    for line in reader.lines():
        p, offset, text = line.split(" ", 2)
        check(int(offset) == len(got.setdefault(p, [])), "partition %s: offset %s follows %d", p, offset, len(got[p]) - 1)
        got[p].append(text)
    check(all(got[str(p)] == ["record %d of partition %d" % (i, p) for i in range(n)] for p, n in enumerate(s.sent)), "in order, each once")


def change_topic_made_again(c):
    """[Q 5, Q 6, Q 8, U 11] A topic is deleted and made again while clients use it: idempotent and plain producers go on with the new one, so does a reader; its
    offsets begin at 0; the old id is refused."""
    c.start(auto__create__topics__enable="false")
    c.create_topic("again", 2)
    streams = {}
    for p, idempotent in enumerate(("true", "false")):
        with open(os.path.join(c.dir, "logs", "again-%d.err" % p), "wb") as err:
            streams[p] = c.background(["kcat", "-b", c.bootstrap(), "-P", "-E", "-d", "topic", "-t", "again", "-p", p, "-X", "enable.idempotence=" + idempotent, "-X", "acks=all", "-X", "linger.ms=2",
                "-X", "topic.metadata.refresh.interval.ms=200", "-X", "retry.backoff.ms=50", "-X", "message.timeout.ms=60000", "-X", "topic.metadata.propagation.max.ms=60000"],
                stdin=subprocess.PIPE, stderr=err)
    sent, fresh = [0], {}
    reader = Follower(c, "again", lambda p, offset, value: fresh.update({p: int(value)}))
    reader.start()
    def producer_knows(p):
        """It has learned that the topic is there: while it believes the opposite, librdkafka takes no record for it."""
        with open(os.path.join(c.dir, "logs", "again-%d.err" % p), encoding="utf-8", errors="replace") as f:
            text = f.read()
        return text.rfind("-> exists") > text.rfind("-> notexists")
    def goes_on():
        """What is sent from now on arrives, in both partitions."""
        first = sent[0]
        def seen():
            for p, proc in streams.items():
                check(proc.poll() is None, "producer %d ended with %s", p, proc.returncode)
                proc.stdin.write(b"%-1100d\n" % sent[0])  # kcat reads a KB at a time
                proc.stdin.flush()
            check(reader.why is None, "the reader: %s", reader.why)
            sent[0] += 1
            return min(fresh.get(0, -1), fresh.get(1, -1)) >= first
        return seen
    c.until(goes_on(), "all run", 30)
    def topic_id():
        """As all brokers say."""
        got = set()
        for n in (1, 2, 3):
            b = at(c, n, "again")
            got.add(b.topic_id("again"))
            b.close()
        return got.pop() if len(got) == 1 and bytes(16) not in got else None
    ids = [c.until(topic_id, "all brokers know the topic", 10)]
    for _ in range(2):
        c.klamm("topic", "delete", "again")
        c.create_topic("again", 2)
        ids.append(c.until(topic_id, "all brokers know the new topic", 10))
        c.until(lambda: all(producer_knows(p) for p in streams), "the producers know it", 20)
        c.until(goes_on(), "all go on with the new one", 30)
        for n in (1, 2, 3):
            b = at(c, n, "again")
            c.until(lambda b=b: b.fetch(ids[-2], 0, 13)["error_code"] == 100, "broker %d refuses the old id" % n, 5)
            check(b.fetch("again", 0, 13)["error_code"] in (0, 1), "and serves the new one: %d", b.fetch("again", 0, 13)["error_code"])
            b.close()
    check(len(set(ids)) == 3, "three ids: %s", ids)
    for proc in streams.values():
        proc.stdin.close()
        check(proc.wait(60 * c.slow) == 0, "a producer ended with %d", proc.returncode)
    reader.stop()
    print("  change_topic_made_again: the reader was told %s" % sorted(reader.codes))
    for p in ("0", "1"):
        offsets = [line.split(" ")[1] for line in c.read_all("again") if line.startswith(p + " ")]
        check(offsets == [str(i) for i in range(len(offsets))] and offsets, "offsets of partition %s: %s ...", p, offsets[:5])


def change_old_consumers(c):
    """[Q 6, Q 12] Consumers that ask for no versions and speak as of 0.9 and 0.10 (Fetch 1 and 2) read what was written in every codec that they know."""
    c.start(brokers=1, controllers=1, default__replication__factor=1, min__insync__replicas=1)
    c.create_topic("old", 1, 1)
    want = []
    for codec in ("none", "gzip", "snappy", "lz4"):
        lines = ["%s-%d %s" % (codec, i, "x" * (i % 300)) for i in range(3000)]
        want += lines
        c.kcat("-P", "-t", "old", "-z", codec, "-X", "linger.ms=20", data=("\n".join(lines) + "\n").encode())
    for version in ("0.9.0.1", "0.10.2.0"):
        done = c.kcat("-C", "-t", "old", "-p", "0", "-o", "beginning", "-e", "-q", "-f", "%o %s\n", "-X", "api.version.request=false", "-X", "broker.version.fallback=" + version,
            "-X", "check.crcs=true", "-X", "fetch.message.max.bytes=20000")
        got = done.stdout.decode().split("\n")[:-1]
        check(got == ["%d %s" % (i, line) for i, line in enumerate(want)], "%s: %d lines of %d, first difference %s", version, len(got), len(want),
            next(((g, w) for g, w in zip(got, want) if g.split(" ", 1)[1] != w), None))


def change_failover_wide(c):
    """1,000 partitions, a probe on each; the broker that leads a third of them is killed: all have another leader at once, nothing is lost; it comes back by a
    snapshot of many turns. Prints the waits (docs/reports/failover.md); they decide nothing here."""
    partitions = 1000
    c.start()
    c.create_topic("wide", partitions)
    probe = c.probe("wide", 0, "--period-ms", "500")
    took = []
    for victim in (1, 2):
        c.isr_is("wide", partitions, 3, timeout=60)
        led = [p for p in range(partitions) if c.state("wide", p)["leader"] == victim]
        check(len(led) > 200, "broker %d leads %d partitions", victim, len(led))
        c.broker(victim).kill()
        c.until(lambda led=led, victim=victim: all(c.state("wide", p)["leader"] not in (-1, victim) for p in led[:1] + led[-1:]), "the partitions of broker %d are led by others" % victim, 15)
        def told(victim=victim):
            f = c.zk_json("/klamm/status/controller").get("last_failover") or {}
            return f if f.get("broker") == victim else None
        took.append((len(led), c.until(told, "the controller says what it did", 15)["took_ms"]))
        check(all(c.state("wide", p)["leader"] not in (-1, victim) for p in led), "every partition has another leader")
        c.broker(victim).start()
    c.isr_is("wide", partitions, 3, timeout=60)
    probe.send_signal(signal.SIGTERM)
    r = c.probe_result(probe, 120)
    print("  change_failover_wide: (partitions, controller ms) %s; the longest wait of a client %s ms" % (took, r["wait_max_ms"]))
    check(r["missing"] == 0 and r["unacked"] == 0, "the probe lost nothing: %s", {k: v for k, v in r.items() if k != "partitions"})


def change_idle(c):
    """[Q 1] connections.max.idle.ms closes who says nothing; who waits for an answer, or talks, stays."""
    c.start(brokers=1, controllers=1, default__replication__factor=1, min__insync__replicas=1, connections__max__idle__ms=1500)
    c.create_topic("idle", 1, 1)
    b = at(c, 1, "idle")
    silent, talks, waits = b.conn(), b.conn(), b.conn()
    silent.ask("ApiVersions", 0, {})
    waits.raw(waits.request("Fetch", 12, b.fetch_request("idle", max_wait_ms=5000)))
    began = time.monotonic()
    silent.sock.settimeout(0.2)
    def closed():
        talks.ask("ApiVersions", 0, {})
        try:
            return silent.sock.recv(1) == b""
        except OSError as e:
            return not isinstance(e, TimeoutError)
    c.until(closed, "the silent one is closed", 6)
    check(time.monotonic() - began > 1.2, "not before its time: %.2f s", time.monotonic() - began)
    check(waits.receive("Fetch", 12)["responses"][0]["partitions"][0]["error_code"] == 0, "the one that waits is answered")
    b.close()


CASES = {f.__name__: f for f in (change_hints, change_epochs, change_dead_leader, change_timeout, change_auto_creation, change_leaders_under_clients, change_topic_made_again,
    change_old_consumers, change_failover_wide, change_idle)}
