"""cases_cli.py: the command line tool against a cluster: the verbs and their JSON (tests/interop/klamm-cli, which also runs against a Kafka),
and what only shows where brokers are several and die."""
import json
import os
import re
import subprocess
import sys

from cluster import TOP, check

SCRIPT = os.path.join(TOP, "tests", "interop", "klamm-cli")
# what the tool can do and the brokers cannot yet
NOT_YET = {"sizes", "config_lists"}


def verbs(c):
    """Every verb: exit codes, JSON shapes, errors with a next step."""
    c.start(group__initial__rebalance__delay__ms=0, offsets__topic__replication__factor=3)
    with open(SCRIPT, encoding="utf-8") as f:
        names = re.findall(r"^@case\ndef (\w+)\(", f.read(), re.M)
    wanted = [n for n in names if n not in NOT_YET]
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


CASES = {"cli_verbs": verbs, "cli_through_any_broker": through_any_broker}
