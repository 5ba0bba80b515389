#!/usr/bin/env python3
"""card.py: the report card: the same scenarios by stock clients against Kafka 3.9.1 and against Klamm; the difference is the verdict.

    tests/interop/card.py --build DIR [--ports A..B] [--only CLIENT,...] [--results FILE [--resume]] [--write]

Each client is a program of its own language (tests/interop/clients) that prints one JSON line a scenario: {"scenario": .., "outcome": ..}, and
"missed" with it where a condition did not come true in time. It runs against both brokers. The verdicts:
    green      the outcomes are equal (with a reason: Kafka refuses, too)
    known      they differ, and KNOWN says why and what Klamm does
    red        anything else; also when the scenario did not work against Kafka
    not run    the client cannot be had on this machine, with the reason
Rows go to FILE (one JSON object a line) client by client as they come; --resume keeps the clients that were done there with these programs. What
is installed goes to $KLAMM_INTEROP_CACHE, default $TMPDIR/klamm-interop-cache. --write puts the table between its marks in
docs/COMPATIBILITY.md. Ends with `N passed, N failed`.
"""
import argparse
import fnmatch
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from pair import HERE, Failure, NotHere, Pair, cell, document_section, endable

import javatools

CLIENTS = os.path.join(HERE, "clients")
CACHE = os.environ.get("KLAMM_INTEROP_CACHE") or os.path.join(os.environ.get("TMPDIR") or "/tmp", "klamm-interop-cache")

PYTHON = {"confluent-kafka": "2.16.1", "kafka-python": "3.0.12", "aiokafka": "0.14.0"}
CODECS = {"kafka-python": "[lz4,snappy,zstd]", "aiokafka": "[lz4,snappy,zstd]"}  # what they need for them
JAVA = ("2.8.2", "3.9.1", "4.1.0", "4.4.0")
NODE = {"kafkajs": "2.2.4"}
GO = {"franz-go": ("franz", "v1.22.2"), "sarama": ("sarama", "v1.61.1"), "kafka-go": ("kafkago", "v0.4.51")}
# client, scenario (patterns), what Klamm's outcome has in it, why
KNOWN = (
    ("Kafka's tools *", "kafka-configs, clients and users (quotas)", "UnsupportedVersionException: The node does not support DESCRIBE_CLIENT_QUOTAS",
     "no quotas yet, so their requests are not offered: the tool says UnsupportedVersionException, where Kafka sets, shows and deletes them"),
    ("Kafka's tools *", "kafka-configs, broker loggers", '"describe": 1', "levels of Java loggers: there are none; the tool ends with an error, where Kafka shows and sets them"),
)


def call(argv, cwd=None, timeout=900, env=None):
    try:
        done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, env=env, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise NotHere("%s: %s" % (argv[0], e)) from None
    if done.returncode:
        lines = [line for line in done.stdout.decode(errors="replace").strip().splitlines() if line.strip()]
        raise NotHere("%s: %s" % (" ".join(os.path.basename(a) for a in argv[:3]), lines[-1][:160] if lines else "exit %d" % done.returncode))
    return done.stdout.decode()


def once(name, make):
    """A folder of the cache, filled once."""
    folder = os.path.join(CACHE, name)
    if not os.path.exists(os.path.join(folder, ".complete")):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        make(folder)
        with open(os.path.join(folder, ".complete"), "w", encoding="ascii"):
            pass
    return folder


def need(program, hint):
    found = shutil.which(program)
    if not found:
        raise NotHere("no %s on the PATH (%s)" % (program, hint))
    return found


def python(package, script):
    def prepare():
        def make(folder):
            call([sys.executable, "-m", "venv", folder])
            call([os.path.join(folder, "bin", "python3"), "-m", "pip", "install", "-q", "%s%s==%s" % (package, CODECS.get(package, ""), PYTHON[package])])
        return [os.path.join(once("%s%s-%s" % (package, CODECS.get(package, ""), PYTHON[package]), make), "bin", "python3"), os.path.join(CLIENTS, script)]
    return package + " (Python)", PYTHON[package], prepare


def java_libs(version):
    def make(folder):
        need("mvn", "apt-get install maven")
        deps = "".join("<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>" % d for d in (
            ("org.apache.kafka", "kafka-clients", version), ("org.slf4j", "slf4j-nop", "1.7.36")))
        with open(os.path.join(folder, "pom.xml"), "w", encoding="ascii") as f:
            f.write('<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>klamm.interop</groupId><artifactId>clients</artifactId>'
                    "<version>1</version><dependencies>%s</dependencies></project>" % deps)
        call(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"], cwd=folder)
    return os.path.join(once("java-" + version, make), "libs", "*")


def java(version):
    def prepare():
        need("javac", "apt-get install default-jdk-headless")
        oldest = java_libs(JAVA[0])  # compiled against the oldest, run on each
        classes = os.path.join(CACHE, "java-classes")
        os.makedirs(classes, exist_ok=True)
        call(["javac", "-nowarn", "-cp", oldest, "-d", classes, os.path.join(CLIENTS, "Scenarios.java")])
        return ["java", "-Xmx256m", "-Dclient.version=" + version, "-cp", "%s:%s" % (classes, java_libs(version)), "Scenarios"]
    return "Java client", version, prepare


def go(name):
    folder, version = GO[name]

    def prepare():
        need("go", "Go 1.26 or newer")
        m = re.match(r"go(\d+)\.(\d+)", call(["go", "env", "GOVERSION"]))
        if not m or (int(m[1]), int(m[2])) < (1, 26):
            raise NotHere("the Go on the PATH is older than 1.26")
        program = os.path.join(CACHE, "go", folder)
        os.makedirs(os.path.dirname(program), exist_ok=True)
        call(["go", "build", "-o", program, "./" + folder], cwd=os.path.join(CLIENTS, "go"))
        return [program]
    return name + " (Go)", version, prepare


def node(package, script):
    def prepare():
        need("npm", "apt-get install npm")

        def make(folder):
            call(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "%s@%s" % (package, NODE[package])])
        folder = once("%s-%s" % (package, NODE[package]), make)
        return ["env", "NODE_PATH=" + os.path.join(folder, "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING=1", need("node", "apt-get install nodejs"), os.path.join(CLIENTS, script)]
    return package + " (Node)", NODE[package], prepare


def kcat():
    """The one of this machine."""
    said = subprocess.run(["kcat", "-V"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False).stdout if shutil.which("kcat") else ""
    version = re.search(r"Version (\d[\d.]*)", said)

    def prepare():
        need("kcat", "apt-get install kcat")
        return [sys.executable, os.path.join(CLIENTS, "kcat.py")]
    return "kcat (librdkafka)", version[1] if version else "any", prepare


def tools():
    def prepare():
        need("javac", "apt-get install default-jdk-headless")
        try:
            jars = javatools.libs()
        except OSError as e:
            raise NotHere(str(e)) from None
        classes = os.path.join(CACHE, "java-tools")
        os.makedirs(classes, exist_ok=True)
        call(["javac", "-nowarn", "-cp", os.path.join(jars, "*"), "-d", classes, os.path.join(CLIENTS, "Tools.java")])
        return [sys.executable, os.path.join(HERE, "javatools.py"), classes, jars]
    return "Kafka's tools", "3.9.1", prepare


def all_clients():
    yield kcat()
    yield tools()
    for version in JAVA:
        yield java(version)
    yield python("confluent-kafka", "confluent.py")
    yield python("kafka-python", "kafka_python.py")
    yield python("aiokafka", "aio.py")
    for name in GO:
        yield go(name)
    yield node("kafkajs", "kafkajs.js")


LIMIT_S = 1800


class Program:
    """A client at work against one broker; its scenarios go to a file, what it says beside to another."""

    def __init__(self, argv, bootstrap, log):
        self.out = log + ".out"
        with open(self.out, "wb") as out, open(log, "ab") as err:
            self.p = subprocess.Popen(argv + [bootstrap, "card-"], stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=os.path.dirname(log), start_new_session=True)
        self.end = None

    def wait(self, deadline):
        try:
            status = self.p.wait(max(0.0, deadline - time.monotonic()))
            self.end = "exit %d" % status if status else None
        except subprocess.TimeoutExpired:
            self.end = "not done within %d s" % LIMIT_S

    def kill(self):
        """And what it has started."""
        try:
            os.killpg(self.p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.p.wait()

    def outcomes(self):
        """scenario -> (outcome, conditions that did not come true)"""
        out = {}
        with open(self.out, encoding="utf-8", errors="replace") as f:
            for line in f:
                if line.startswith('{"scenario"'):
                    try:
                        row = json.loads(line)
                    except ValueError:  # the program was killed in the middle of a line
                        continue
                    out[row["scenario"]] = row["outcome"], row.get("missed", 0)
        if self.end:
            out["(to the end)"] = self.end, 0
        return out


def short(value):
    text = json.dumps(value, sort_keys=True)
    return text if len(text) < 300 else text[:297] + "..."


def first_difference(a, b):
    """The parts of two outcomes that are not equal, as small as they are."""
    if isinstance(a, dict) and isinstance(b, dict):
        rest = [{k: v for k, v in x.items() if k not in y or y[k] != v} for x, y in ((a, b), (b, a))]
        both = sorted(set(rest[0]) & set(rest[1]))
        if both:
            inner = first_difference(a[both[0]], b[both[0]])
            return {both[0]: inner[0]}, {both[0]: inner[1]}
        return tuple(rest)
    if isinstance(a, list) and isinstance(b, list):
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        return a[at:at + 1], b[at:at + 1]
    return a, b


def verdict(client, scenario, kafka, klamm):
    """(verdict, reason) of one scenario; each side: (outcome, conditions missed)."""
    (a, missed), (b, missed_too) = kafka, klamm
    known = next((row for row in KNOWN if fnmatch.fnmatchcase(client, row[0]) and fnmatch.fnmatchcase(scenario, row[1])), None)
    error = str(a.get("error", "")) if isinstance(a, dict) else ""
    if missed or re.search(r"[Tt]imed?.?[Oo]ut|deadline", error):
        return "red", "against Kafka itself a condition did not come true: %s" % short(a)
    if a == b and not missed_too:
        if known:
            return "red", "the difference is gone: %s" % known[3]
        return "green", "Kafka says the same: %s" % error if error else ""
    difference = first_difference(a, b)
    if known and re.search(known[2], json.dumps(b)):
        return "known", known[3]
    return "red", "Kafka: %s; Klamm: %s%s" % (short(difference[0]), short(difference[1]), " (a condition did not come true)" if missed_too else "")


def judge(client, kafka, klamm):
    """(scenario, verdict, reason) of each."""
    for name in kafka:
        yield (name, *verdict(client, name, kafka[name], klamm.get(name, ("nothing: the program did not come so far", 0))))
    for name in klamm:
        if name not in kafka:
            yield name, "red", "only against Klamm: %s" % short(klamm[name][0])


class Results:
    """Rows client by client, in a file that survives the run."""

    def __init__(self, path, resume, key):
        self.path, self.key, self.rows, self.kept = path, key, [], {}
        if not path:
            return
        if resume and os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                for line in f:
                    try:
                        one = json.loads(line)
                    except ValueError:  # written when the run was killed
                        continue
                    if one["key"] == key and not any(row[3] in ("red", "not run") for row in one["rows"]):
                        self.kept[tuple(one["client"])] = [tuple(row) for row in one["rows"]]
        with open(path, "w", encoding="utf-8") as f:
            for client, rows in self.kept.items():
                f.write(self.line(client, rows))

    def line(self, client, rows):
        return json.dumps({"client": client, "key": self.key, "rows": rows}) + "\n"

    def add(self, client, rows):
        self.rows += rows
        if self.path and client not in self.kept:
            with open(self.path, "a", encoding="utf-8") as f:
                f.write(self.line(client, rows))


def fingerprint(build):
    """Of the programs under test and the programs that test them."""
    h = hashlib.sha256()
    places = [os.path.join(build, n, n) for n in ("brokerd", "controllerd")] + sorted(glob.glob(os.path.join(HERE, "**", "*.*"), recursive=True))
    for path in places:
        if os.path.isfile(path) and "__pycache__" not in path:
            with open(path, "rb") as f:
                h.update(hashlib.sha256(f.read()).digest())
    return h.hexdigest()


class Side:
    """The pair that the clients run against; another one when a broker has died."""

    def __init__(self, args, tmp):
        self.args, self.tmp, self.number, self.pair = args, tmp, 0, None

    def get(self):
        if not self.pair:
            self.number += 1
            self.pair = Pair(self.tmp, self.args.build, self.args.ports, "card%d" % self.number, auto__create__topics__enable="true")
            self.pair.start()
        return self.pair

    def complaint(self):
        """What the broker has against the client that was the last, None when all is well."""
        said = self.pair.cluster.reports()
        if said or not self.pair.cluster.broker(1).alive():
            return "%s" % (said or "brokerd ended")
        return None

    def stop(self):
        if self.pair:
            self.pair.stop()
        self.pair = None


def both_sides(client, argv, pair):
    """Against Kafka and against Klamm at the same time."""
    logs, programs, deadline = os.path.join(pair.cluster.dir, "logs"), [], time.monotonic() + LIMIT_S
    try:
        for who, port in (("kafka", pair.kafka.port), ("klamm", pair.klamm_port())):
            programs.append(Program(argv, "127.0.0.1:%d" % port, os.path.join(logs, "%s-%s.log" % (re.sub(r"\W+", "-", "-".join(client)), who))))
        for p in programs:
            p.wait(deadline)
    finally:
        for p in programs:
            p.kill()
    kafka, klamm = (p.outcomes() for p in programs)
    if not kafka:
        return [(*client, "all", "red", "nothing came from the run against Kafka")]
    return [(*client, *row) for row in judge("%s %s" % client, kafka, klamm)]


def one_client(client, prepare, side):
    """Rows of a client."""
    try:
        argv = prepare()
    except NotHere as e:
        return [(*client, "all", "not run", str(e))]
    try:
        rows = both_sides(client, argv, side.get())
        said = side.complaint()
    except (Failure, OSError, subprocess.SubprocessError) as e:
        rows, said = [(*client, "all", "red", "%s: %s" % (type(e).__name__, str(e)[:300]))], "the pair is not well"
    if said:
        rows.append((*client, "(the broker lives on)", "red", said[:300]))
        side.stop()
    return rows


def card(args, side, results):
    for name, version, prepare in all_clients():
        client = name, version
        if args.only and not any(o.lower() in (name + " " + version).lower() for o in args.only.split(",")):
            continue
        began, kept = time.monotonic(), client in results.kept
        rows = results.kept[client] if kept else one_client(client, prepare, side)
        results.add(client, rows)
        for _, _, scenario, outcome, reason in rows:
            what = "%s %s: %s%s" % (name, version, scenario, "\n    " + reason if reason and outcome != "not run" else "")
            if outcome == "not run":
                print("not run: interop.card.%s: %s" % (what, reason), flush=True)
            else:
                print("%s interop.card.%s" % ({"green": "ok", "known": "known"}.get(outcome, "FAILED"), what), flush=True)
        print("    (%s)" % ("kept from the run before" if kept else "%.0f s" % (time.monotonic() - began)), flush=True)


def write(rows):
    """The table in the document; rows of clients that did not run this time stay."""
    head, line = "| client | version | scenario | verdict | reason |\n|---|---|---|---|---|\n", "| %s |\n"
    fresh = {(row[0], row[1]): "" for row in rows}
    for row in rows:
        fresh[row[0], row[1]] += line % " | ".join(cell(c) for c in row)
    kept = {}
    for text in document_section("report card").splitlines(True)[2:]:
        client = tuple(c.strip() for c in text.split("|")[1:3])
        if client not in fresh:
            kept[client] = kept.get(client, "") + text
    both = {**kept, **fresh}
    order = [(name, version) for name, version, _ in all_clients()]
    document_section("report card", head + "".join(both[c] for c in order if c in both))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--ports", default="20000..32000", metavar="A..B")
    parser.add_argument("--only", help="clients whose name contains one of these, separated by commas")
    parser.add_argument("--results", metavar="FILE", help="write every row there as it comes")
    parser.add_argument("--resume", action="store_true", help="keep what FILE has of these programs, but for what is red or was not run")
    parser.add_argument("--write", action="store_true", help="put the table into docs/COMPATIBILITY.md")
    args = parser.parse_args()
    endable()
    os.makedirs(CACHE, exist_ok=True)
    tmp = tempfile.mkdtemp(prefix="klamm-card-")
    side, results, red = Side(args, tmp), Results(args.results, args.resume, fingerprint(args.build)), 1
    try:
        card(args, side, results)
        count = {v: sum(row[3] == v for row in results.rows) for v in ("green", "known", "red", "not run")}
        red = count["red"]
        if args.write:
            write(results.rows)
        print("%d known differences, %d not run" % (count["known"], count["not run"]))
        print("%d passed, %d failed" % (count["green"], red))
        return 1 if red or not count["green"] else 0
    finally:
        side.stop()
        if red:
            print("(folder: %s)" % tmp, file=sys.stderr)
        else:
            shutil.rmtree(tmp, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
