"""cases_cli.py: the command line tool against a cluster: the verbs and their JSON (tests/interop/klamm-cli, which also runs against a Kafka),
and what only shows where brokers are several and die."""
import json
import os
import re
import signal
import subprocess
import sys
import time

from cluster import TOP, check

SCRIPT = os.path.join(TOP, "tests", "interop", "klamm-cli")
NOT_HERE = {"as_kafkas_tools_say"}  # needs Kafka's jars


def verbs(c):
    """Every verb: exit codes, JSON shapes, errors with a next step."""
    c.start(group__initial__rebalance__delay__ms=0, offsets__topic__replication__factor=3)
    with open(SCRIPT, encoding="utf-8") as f:
        names = re.findall(r"^@case\ndef (\w+)\(", f.read(), re.M)
    wanted = [n for n in names if n not in NOT_HERE]
    done = subprocess.run([sys.executable, SCRIPT, c.bin("klamm"), c.bootstrap()] + wanted, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300 * c.slow,
        check=False)
    text = done.stdout.decode(errors="replace")
    check(done.returncode == 0, "klamm-cli: exit %d\n%s", done.returncode, text)
    check(text.endswith("%d passed, 0 failed\n" % len(wanted)), "all of them ran:\n%s", text)


def through_any_broker(c):
    """Each broker takes every order, and the tool finds its way when the first bootstrap server is dead."""
    c.start()
    for n in (1, 2, 3):
        at = "127.0.0.1:%d" % c.port(n)
        klamm = lambda *args, at=at: json.loads(c.run(["klamm", "--bootstrap-server", at, "--json"] + list(args)).stdout)
        klamm("topic", "create", "t%d" % n, "--partitions", "2", "--replication-factor", "2")
        c.until(lambda: all(c.serves("t%d" % n, p) for p in (0, 1)), "leaders", 10)
        klamm("topic", "alter", "t%d" % n, "--partitions", "4", "--config", "retention.ms=1000000")
        c.until(lambda: klamm("topic", "describe", "t%d" % n)["topics"][0]["configs"] == {"retention.ms": "1000000"}, "the configuration is there", 10)
        c.until(lambda: len(klamm("topic", "describe", "t%d" % n)["topics"][0]["partitions"]) == 4, "four partitions", 10)
    for other in (1, 2, 3):
        got = json.loads(c.run(["klamm", "--bootstrap-server", "127.0.0.1:%d" % c.port(1), "--json", "config", "get", "broker", other, "broker.id"]).stdout)
        check(got["configs"][0]["value"] == str(other), "each broker is asked about itself: %s", got)
    c.broker(1).kill()
    c.until(lambda: c.klamm("status", check_status=False).returncode == 5, "under-replicated", 30, every=0.2)
    dead_first = "127.0.0.1:%d,127.0.0.1:%d" % (c.port(1), c.port(2))
    text = c.run(["klamm", "--bootstrap-server", dead_first, "topic", "list", "--names"]).stdout
    check(text.split() == [b"t1", b"t2", b"t3"], "the second bootstrap server answers: %s", text)
    check(c.run(["klamm", "--bootstrap-server", dead_first, "config", "get", "broker", "1"], check_status=False).returncode == 4, "broker 1 is not up")


def group(c, name):
    return json.loads(c.klamm("--json", "group", "describe", name).stdout)["groups"][0]


def group_survives(c):
    """A member of klamm reads on while the group's coordinator dies; describe finds the new one; reset and reading again give everything."""
    c.start(group__initial__rebalance__delay__ms=0, offsets__topic__replication__factor=3)
    c.create_topic("read", 3)
    klamm = ["klamm", "--bootstrap-server", c.bootstrap()]
    out = os.path.join(c.dir, "read.txt")
    with open(out, "wb") as f:
        member = c.background(klamm + ["consume", "read", "--group", "g", "--from-beginning"], stdout=f)
    want = ["r%d" % i for i in range(2000)]
    c.run(klamm + ["produce", "read"], data="\n".join(want[:1000]).encode() + b"\n")

    def caught_up(n):
        g = group(c, "g")
        return g["state"] == "Stable" and g["lag"] == 0 and sum(p["committed_offset"] or 0 for p in g["partitions"]) == n
    c.until(lambda: c.klamm("group", "describe", "g", check_status=False).returncode == 0 and caught_up(1000), "1000 records are committed", 30, every=0.2)
    dead = group(c, "g")["coordinator"]["id"]
    c.broker(dead).kill()
    now = group(c, "g")  # at once: the tool itself waits for the next coordinator
    check(now["coordinator"]["id"] != dead and sum(p["committed_offset"] or 0 for p in now["partitions"]) == 1000, "another coordinator, the same offsets: %s", now)
    c.run(klamm + ["produce", "read"], data="\n".join(want[1000:]).encode() + b"\n")
    c.until(lambda: caught_up(2000), "all of them are committed", 60, every=0.2)
    member.terminate()
    check(member.wait(30) == 0, "it left in order: %s", member.returncode)
    with open(out, encoding="utf-8") as f:
        check(set(f.read().split()) == set(want), "each record was read")
    check(group(c, "g")["state"] == "Empty", "nobody is left")
    c.broker(dead).start()
    c.isr_is("read", 3, 3)
    check(sum(p["committed_offset"] for p in group(c, "g")["partitions"]) == 2000, "the offsets stay")
    check(c.klamm("group", "reset-offsets", "g", "--all-topics", "--to-earliest", "--execute").returncode == 0, "reset")
    again = c.klamm("consume", "read", "--group", "g", "--exit").stdout.decode().split()
    check(sorted(again) == sorted(want), "after the reset each record comes once: %d of %d", len(again), len(want))
    check(group(c, "g")["lag"] == 0, "and is committed")


def deaf_broker(c):
    """A broker that takes connections and answers nothing costs its time once; what others know is shown."""
    c.start()
    c.create_topic("heard", 6)
    deaf = c.broker(3)
    deaf.signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        at = "127.0.0.1:%d" % c.port(3)
        check(c.run(["klamm", "--bootstrap-server", at, "topic", "list"], check_status=False).returncode == 3, "nobody answers at %s", at)
        check(c.run(["klamm", "--bootstrap-server", at + ",127.0.0.1:%d" % c.port(1), "topic", "list"]).returncode == 0, "the second one does")
        check(time.monotonic() - start < 8 * c.slow, "both are decided soon, not after %.1f s", time.monotonic() - start)
        start = time.monotonic()
        c.klamm("--bootstrap-server", "127.0.0.1:%d" % c.port(1), "topic", "describe", "heard")
        took = time.monotonic() - start
        check(took < 8 * c.slow, "describe waits for it once: %.1f s", took)
    finally:
        deaf.signal(signal.SIGCONT)


CASES = {"cli_verbs": verbs, "cli_through_any_broker": through_any_broker, "cli_group_survives": group_survives,
    "cli_deaf_broker": deaf_broker}
