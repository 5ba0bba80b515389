"""cases_faults.py: what a cluster does when something happens to it. Limits are the contract's; --slow stretches them for sanitizer builds."""
import json
import os
import resource
import signal
import subprocess
import time

import wire
from cluster import Failure, Stream, check


def failover(c):
    """kill -9 of a leader under an idempotent stream with acks=all: nothing lost, doubled or reordered; the probe's wait stays below a second."""
    c.start()
    c.create_topic("stream", 3)
    c.create_topic("probe", 3)
    s = Stream(c, "stream", 3)
    probe = c.probe("probe", 0)
    c.until(lambda: min(s.sent) > 500, "the stream runs", 20)
    for _ in range(3):
        victim = c.state("stream", 0)["leader"]
        led = [(t, p) for t in ("stream", "probe") for p in range(3) if c.state(t, p)["leader"] == victim]
        epochs = {tp: c.state(*tp)["leader_epoch"] for tp in led}
        c.broker(victim).kill()
        def moved():
            return all(c.state(*tp)["leader"] not in (victim, -1) and c.state(*tp)["leader_epoch"] > epochs[tp] for tp in led)
        c.until(moved, "the partitions of broker %d have other leaders" % victim, 10)
        sent = min(s.sent)
        c.until(lambda n=sent: min(s.sent) > n + 200, "the stream goes on", 20)
        c.broker(victim).start()
        c.isr_is("stream", 3, 3)
        c.isr_is("probe", 3, 3)
    s.finish()
    probe.send_signal(signal.SIGTERM)
    r = c.probe_result(probe, 60)
    check(r["missing"] == 0 and r["unacked"] == 0, "the probe lost nothing: %s", r)
    check(r["wait_max_ms"] < 1000 * c.slow, "the longest wait was %s ms: %s", r["wait_max_ms"], r["partitions"])


def registration(c):
    """A broker that was killed and starts at once is registered again within a second, though its old ephemeral still exists. Another live process
    with its id ends with 75 and leaves the first alone."""
    c.start()
    c.create_topic("t", 3)
    for number in (1, 2, 1):
        old = c.zk().get("/brokers/ids/%d" % number)[1].czxid
        d = c.broker(number)
        d.kill()
        check(c.zk().get("/brokers/ids/%d" % number)[1] is not None or number == 0, "the ephemeral outlives the process")
        d.start()
        def again():
            stat = c.zk().get("/brokers/ids/%d" % number)[1]
            return stat is not None and stat.czxid != old
        c.until(again, "broker %d is registered again" % number, 5, also=d, every=0.005)
        took = time.monotonic() - d.started
        check(took < 1.0 * c.slow, "registered again after %.2f s", took)
    c.isr_is("t", 3, 3)
    before = c.zk().get("/brokers/ids/1")[1].czxid
    second = c.add_broker(1, "broker-second").start()
    check(second.wait(20 * c.slow) == 75, "the second one ends with %s: %s", second.proc.returncode, second.log_text()[-500:])
    check(c.zk().get("/brokers/ids/1")[1].czxid == before, "the first one's registration is untouched")
    check(c.broker(1).alive() and c.health("broker-1")[0] == 200, "the first one serves")
    # the same data directory: the lock decides
    third = c.add_broker(7, "broker-third", log__dirs=os.path.join(c.dir, "data", "broker-2")).start()
    check(third.wait(20 * c.slow) == 75, "a second user of a data directory ends with %s", third.proc.returncode)
    check(c.broker(2).alive(), "its owner lives")
    for name in ("broker-second", "broker-third"):
        del c.daemons[name], c.ports[name]
    c.kcat("-P", "-t", "t", "-X", "acks=all", data=b"fine\n" * 100)


def fenced(c):
    """A broker that was taken for dead and cannot register again, because a foreign node stands under its id, says so in /health; it serves again by itself once
    that is gone."""
    c.start()
    c.create_topic("t", 3)
    c.isr_is("t", 3, 3)
    d = c.broker(2)
    d.pause()
    c.until(lambda: all(2 not in c.state("t", p)["isr"] for p in range(3)), "broker 2 is taken for dead", 20)
    z = c.zk()
    z.delete("/brokers/ids/2")
    nowhere = "PLAINTEXT://127.0.0.1:%d" % c.opt.ports.take()
    z.create("/brokers/ids/2", json.dumps({"version": 5, "host": None, "port": -1, "jmx_port": -1, "timestamp": "1", "endpoints": [nowhere], "features": {},
        "listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT"}}).encode())
    d.signal(signal.SIGCONT)
    status, health = c.until(lambda: (lambda h: h if h[1].get("state") == "fenced" else None)(c.health("broker-2")), "it says that it is fenced", 10, also=d)
    check(status == 503 and "dead" in health["reason"], "/health is %s: %s", status, health)
    z.delete("/brokers/ids/2")
    c.until(lambda: c.health("broker-2")[0] == 200, "it serves again", 20, also=d)
    c.isr_is("t", 3, 3)


def zookeeper_stopped(c):
    """ZooKeeper gone for 20 s (60 with --long; session timeout 6 s) under load: no gap above a second; leader epochs as before when it is back."""
    away = 60 if c.opt.long else 20
    c.start()
    c.create_topic("on", 3)
    c.isr_is("on", 3, 3)
    probe = c.probe("on", 0)
    epochs = c.leader_epochs("on", 3)
    controller_epoch = int(c.zk().get("/controller_epoch")[0])
    w = wire.Conn(c.port(1))
    c.until(lambda: wire.offset_of(w.call(wire.LIST_OFFSETS, 1, wire.list_offsets("on", 0)))[0] in (0, 6), "the probe runs", 10)
    c.zk_stop()
    gone = time.monotonic()
    c.until(lambda: time.monotonic() - gone > away or not all(d.alive() for d in c.daemons.values()), "%d s are over" % away, away + 10, every=0.5)
    check(all(d.alive() for d in c.daemons.values()), "nobody ended: %s", [d.name for d in c.daemons.values() if not d.alive()])
    c.zk_start()
    c.until(lambda: all(c.zk().get("/brokers/ids/%d" % b)[1] for b in (1, 2, 3)), "the brokers are registered again", 20)
    c.until(c.active_controller, "there is a controller again", 20)
    # a topic made now proves that the whole control path is back
    c.until(lambda: c.klamm("topic", "create", "after", "--partitions", "3", "--replication-factor", "3", check_status=False).returncode == 0 or
        c.zk().get("/brokers/topics/after")[1], "a topic can be created again", 20, every=0.2)
    c.isr_is("after", 3, 3)
    check(c.leader_epochs("on", 3) == epochs, "leader epochs moved from %s to %s", epochs, c.leader_epochs("on", 3))
    check(int(c.zk().get("/controller_epoch")[0]) <= controller_epoch + 2, "at most one takeover or two")
    probe.send_signal(signal.SIGTERM)
    r = c.probe_result(probe, 60)
    check(r["missing"] == 0 and r["unacked"] == 0, "the probe lost nothing: %s", r)
    check(r["wait_max_ms"] < 1000 * c.slow, "the longest wait was %s ms", r["wait_max_ms"])


def controller_killed(c):
    """Active controllerd killed: a topic can be created in under 2 s; no leader epoch moves; clients notice nothing."""
    c.start()
    c.create_topic("still", 6)
    c.isr_is("still", 6, 3)
    probe = c.probe("still", 0)
    epochs = c.leader_epochs("still", 6)
    for turn in range(3):
        number, d = c.until(c.active_controller, "there is a controller", 10)
        d.kill()
        killed = time.monotonic()
        name = "made-%d" % turn
        c.until(lambda: c.klamm("topic", "create", name, "--partitions", "1", "--replication-factor", "3", check_status=False).returncode == 0 or
            c.zk().get("/brokers/topics/" + name)[1], "a topic can be created again", 20, every=0.02)
        c.until(lambda: (c.state(name, 0) or {}).get("leader", -1) >= 0, "it has a leader", 10)
        took = time.monotonic() - killed
        check(took < 2.0 * c.slow, "it took %.2f s (turn %d)", took, turn)
        check(c.active_controller()[0] != number, "the other one is active")
        d.start()
        c.until(lambda d=d: c.health(d.name)[0] in (200, 503), "the killed one is back", 15, also=d)
    check(c.leader_epochs("still", 6) == epochs, "leader epochs moved from %s to %s", epochs, c.leader_epochs("still", 6))
    probe.send_signal(signal.SIGTERM)
    r = c.probe_result(probe, 60)
    check(r["missing"] == 0 and r["unacked"] == 0 and r["wait_max_ms"] < 1000 * c.slow, "the probe noticed nothing: %s", r)


def controller_paused(c):
    """SIGSTOP of the active controllerd for 5 s: at most one takeover, no partition moves, and afterwards there is one controller."""
    c.start()
    c.create_topic("still", 6)
    c.isr_is("still", 6, 3)
    epochs = c.leader_epochs("still", 6)
    _, d = c.active_controller()
    reign = int(c.zk().get("/controller_epoch")[0])
    d.signal(signal.SIGSTOP)
    began = time.monotonic()
    c.until(lambda: time.monotonic() - began > 5, "5 s are over", 10, every=0.2)
    d.signal(signal.SIGCONT)
    c.until(lambda: c.klamm("topic", "create", "after", "--partitions", "3", "--replication-factor", "3", check_status=False).returncode == 0 or
        c.zk().get("/brokers/topics/after")[1], "a topic can be created", 20, every=0.2)
    c.isr_is("after", 3, 3)
    check(int(c.zk().get("/controller_epoch")[0]) <= reign + 1, "controller epoch went from %d to %s", reign, c.zk().get("/controller_epoch")[0])
    check(c.leader_epochs("still", 6) == epochs, "leader epochs moved")
    check(d.alive(), "the paused one lives")


def znodes_by_hand(c):
    """A topic made and deleted by writing Kafka's znodes appears and goes in under 2 s."""
    c.start()
    z = c.zk()
    z.create("/config/topics/by-hand", json.dumps({"version": 1, "config": {"retention.ms": "123456"}}).encode())
    began = time.monotonic()
    z.create("/brokers/topics/by-hand", json.dumps({"version": 2, "partitions": {"0": [1, 2, 3], "1": [2, 3, 1]}, "adding_replicas": {}, "removing_replicas": {}}).encode())

    def described():
        done = c.klamm("--json", "topic", "describe", "by-hand", check_status=False)
        if done.returncode:
            return None
        t = json.loads(done.stdout)["topics"][0]
        return t if len(t["partitions"]) == 2 and all(p["leader"] > 0 for p in t["partitions"]) else None
    t = c.until(described, "the topic is there", 10)
    check(time.monotonic() - began < 2.0 * c.slow, "it took %.2f s", time.monotonic() - began)
    check([p["replicas"] for p in t["partitions"]] == [[1, 2, 3], [2, 3, 1]], "replicas as written")
    check((t["configs"] or {}).get("retention.ms") == "123456", "configs as written: %s", t["configs"])
    c.kcat("-P", "-t", "by-hand", "-X", "acks=all", data=b"a\nb\nc\n")
    check(len(c.read_all("by-hand", "%s\n")) == 3, "it serves")
    began = time.monotonic()
    z.create("/admin/delete_topics/by-hand")
    c.until(lambda: c.klamm("topic", "describe", "by-hand", check_status=False).returncode == 4, "the topic is gone", 10)
    check(time.monotonic() - began < 2.0 * c.slow, "it took %.2f s", time.monotonic() - began)
    c.until(lambda: not z.get("/brokers/topics/by-hand")[1] and not z.get("/admin/delete_topics/by-hand")[1] and not z.get("/config/topics/by-hand")[1],
        "its nodes are gone", 10)
    # the same name again is another topic: nothing of the old one shows
    c.create_topic("by-hand", 1)
    check(c.read_all("by-hand", "%s\n") == [], "the new one is empty")


def kill_everything(c):
    """kill -9 of every process at once, again and again, under load: nothing lost, doubled or reordered."""
    c.start()
    c.create_topic("all", 3)
    c.isr_is("all", 3, 3)
    s = Stream(c, "all", 3, rate=200)
    for turn in range(20 if c.opt.long else 4):
        sent = min(s.sent)
        c.until(lambda n=sent: min(s.sent) > n + 150, "the stream runs", 20)
        everybody = c.brokers() + c.controllers()
        for d in everybody:
            d.signal(signal.SIGKILL)
        for d in everybody:
            d.proc.wait(20)
        for d in everybody:
            d.start()
        c.wait_serving()
        c.isr_is("all", 3, 3, timeout=45)
        check(all(d.alive() for d in everybody), "all live after round %d", turn)
    s.finish(timeout=120)
    # what lies in the data directories after so many deaths is whole: a last start reads all of it
    check(all(d.alive() for d in c.daemons.values()), "everybody lives")


def clean_stop(c):
    """SIGTERM: leaderships are handed over, exit 0 within 5 s, .kafka_cleanshutdown in the data directory, and the start after it recovers nothing."""
    c.start()
    c.create_topic("soft", 6)
    c.isr_is("soft", 6, 3)
    probe = c.probe("soft", 0)
    s = Stream(c, "soft", 6, rate=100)
    c.until(lambda: min(s.sent) > 100, "the stream runs", 20)
    for number in (1, 2, 3):
        d = c.broker(number)
        began = time.monotonic()
        status = d.term(20 * c.slow)
        took = time.monotonic() - began
        check(status == 0, "broker %d ends with %d\n%s", number, status, d.log_text()[-1500:])
        check(took < 5.0 * c.slow, "broker %d took %.1f s", number, took)
        check(os.path.exists(os.path.join(c.dir, "data", d.name, ".kafka_cleanshutdown")), ".kafka_cleanshutdown of broker %d", number)
        check(c.zk().get("/brokers/ids/%d" % number)[1] is None, "its session is closed")
        check(all(c.state("soft", p)["leader"] not in (number, -1) for p in range(6)), "its leaderships are with others")
        d.start()
        c.wait_serving()
        c.isr_is("soft", 6, 3)
        check(not os.path.exists(os.path.join(c.dir, "data", d.name, ".kafka_cleanshutdown")), "the mark is taken away at the start")
    probe.send_signal(signal.SIGTERM)
    r = c.probe_result(probe, 60)
    check(r["missing"] == 0 and r["unacked"] == 0, "the probe lost nothing: %s", r)
    check(r["wait_max_ms"] < 1000 * c.slow, "the longest wait was %s ms", r["wait_max_ms"])
    s.stopping.set()
    s.thread.join()
    for proc in s.procs:
        proc.stdin.close()
    for proc in s.procs:
        check(proc.wait(60) == 0, "a producer ended with %d", proc.returncode)
    lines = [line for line in c.read_all("soft", "%p %s\n") if " record " in line]
    for p in range(6):
        mine = [line.split(" ", 1)[1] for line in lines if line.startswith("%d " % p)]
        check(mine == ["record %d of partition %d" % (i, p) for i in range(s.sent[p])], "partition %d has its %d records (read %d)", p, s.sent[p], len(mine))
    for d in c.controllers():
        check(d.term(10 * c.slow) == 0, "%s ends with %s", d.name, d.proc.returncode)
    for d in c.brokers():  # no controller answers: still no fuss
        check(d.term(30 * c.slow) == 0, "%s ends with %s", d.name, d.proc.returncode)


def leader_paused(c):
    """SIGSTOP of a leader for 6 s under an idempotent stream: the others go on without it, and when it wakes up it has nothing to say any more."""
    c.start()
    c.create_topic("zombie", 3)
    c.isr_is("zombie", 3, 3)
    s = Stream(c, "zombie", 3)
    c.until(lambda: min(s.sent) > 300, "the stream runs", 20)
    victim = c.state("zombie", 0)["leader"]
    epoch = c.state("zombie", 0)["leader_epoch"]
    c.broker(victim).signal(signal.SIGSTOP)
    began = time.monotonic()
    c.until(lambda: c.state("zombie", 0)["leader"] not in (victim, -1) and c.state("zombie", 0)["leader_epoch"] > epoch, "another one leads", 20)
    c.until(lambda: time.monotonic() - began > 6, "6 s are over", 10, every=0.2)
    c.broker(victim).signal(signal.SIGCONT)
    c.isr_is("zombie", 3, 3)
    sent = min(s.sent)
    c.until(lambda: min(s.sent) > sent + 300, "the stream goes on", 20)
    check(all(d.alive() for d in c.daemons.values()), "everybody lives")
    s.finish()


def leader_and_controller(c):
    """A leader and the active controllerd killed at the same time: the standby takes over and elects; nothing lost."""
    c.start()
    c.create_topic("both", 3)
    c.isr_is("both", 3, 3)
    s = Stream(c, "both", 3)
    for _ in range(2):
        sent = min(s.sent)
        c.until(lambda n=sent: min(s.sent) > n + 300, "the stream runs", 20)
        victim = c.state("both", 0)["leader"]
        _, controller = c.until(c.active_controller, "there is a controller", 10)
        c.broker(victim).signal(signal.SIGKILL)
        controller.signal(signal.SIGKILL)
        killed = time.monotonic()
        c.broker(victim).proc.wait(10)
        controller.proc.wait(10)
        c.until(lambda v=victim: c.state("both", 0)["leader"] not in (v, -1), "another one leads", 20)
        check(time.monotonic() - killed < 5.0 * c.slow, "it took %.1f s", time.monotonic() - killed)
        c.broker(victim).start()
        controller.start()
        c.isr_is("both", 3, 3)
    s.finish()


def isr(c):
    """A follower that is gone leaves the ISR, one that is back and caught up joins it; below min.insync.replicas acks=all is refused."""
    c.start(replica__lag__time__max__ms=3000)
    c.create_topic("isr", 1, 3, "min.insync.replicas=2")
    c.isr_is("isr", 1, 3)
    leader = c.state("isr", 0)["leader"]
    others = [b for b in (1, 2, 3) if b != leader]
    epoch = c.state("isr", 0)["leader_epoch"]

    def produce():
        w = wire.Conn(c.port(leader))
        err = wire.produce_error(w.call(wire.PRODUCE, 3, wire.produce("isr", 0, wire.batch([b"x"]), timeout=5000)))
        w.close()
        return err
    check(produce() == 0, "all there")
    c.broker(others[0]).kill()
    c.until(lambda: len(c.state("isr", 0)["isr"]) == 2, "the ISR is two", 20)
    check(produce() == 0, "two are enough")
    c.broker(others[1]).kill()
    c.until(lambda: c.state("isr", 0)["isr"] == [leader], "the leader is alone", 20)
    check(produce() == 19, "NOT_ENOUGH_REPLICAS when alone: %d", produce())
    c.broker(others[0]).start()
    c.broker(others[1]).start()
    c.isr_is("isr", 1, 3)
    check(produce() == 0, "all there again")
    check(c.state("isr", 0)["leader_epoch"] == epoch and c.state("isr", 0)["leader"] == leader, "the leader stayed")
    # a paused follower: the lag bound takes it out, without a failure of anything else
    c.broker(others[0]).signal(signal.SIGSTOP)
    began = time.monotonic()
    err = 7
    while err == 7 and time.monotonic() - began < 20 * c.slow:
        err = produce()
    check(err == 0, "acks=all goes on without the paused one: %d", err)
    c.broker(others[0]).signal(signal.SIGCONT)
    c.isr_is("isr", 1, 3)


def many_connections(c):
    """10,000 silent connections cost less than 40 MB, none of them is lost, and a producer notices nothing."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # of the broker and of the one who connects, each for itself
    count = 10000 if limit == resource.RLIM_INFINITY else min(10000, limit - 500)
    if count < 10000:
        print("  many_connections: the open-file limit allows %d only" % count)
    c.start(brokers=1, default__replication__factor=1, min__insync__replicas=1)
    c.create_topic("busy", 1, 1)
    d = c.broker(1)
    probe = c.probe("busy", 0)
    before = d.rss_kb()
    p = c.background(["klamm-load", "conns", "--bootstrap", c.bootstrap(), "--connections", count, "--seconds", "3"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    most = 0
    while p.poll() is None:
        most = max(most, d.rss_kb())
        time.sleep(0.05)
    out = p.communicate()[0].decode().strip().split("\n")[-1]
    if p.returncode != 0:
        raise Failure("klamm-load conns ended with %d: %s" % (p.returncode, out[-500:]))
    if c.slow == 1:
        check(most - before < 40 * 1024, "%d silent connections added %d KB", count, most - before)
    probe.send_signal(signal.SIGTERM)
    r = c.probe_result(probe, 60)
    check(r["missing"] == 0 and r["unacked"] == 0 and r["wait_max_ms"] < 1000 * c.slow, "the probe noticed nothing: %s", r)


CASES = {f.__name__: f for f in (failover, leader_paused, leader_and_controller, registration, fenced, zookeeper_stopped, controller_killed, controller_paused, znodes_by_hand, kill_everything, clean_stop, isr,
    many_connections)}
