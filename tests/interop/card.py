#!/usr/bin/env python3
"""card.py: the report card: the same scenarios by stock clients against Kafka 3.9.1 and against Klamm; the difference is the verdict.

    tests/interop/card.py --build DIR [--ports A..B] [--only CLIENT,...] [--write]

Each client is a program of its own language (tests/interop/clients) that prints one JSON line a scenario: {"scenario": .., "outcome": ..}.
It runs against both brokers; a scenario is green when the outcomes are equal. A client that cannot be had on this machine is `not run`, with
the reason. What is installed goes to $KLAMM_INTEROP_CACHE, default $TMPDIR/klamm-interop-cache. --write puts the table between its marks in
docs/COMPATIBILITY.md. Ends with `N passed, N failed`.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from pair import HERE, Pair, cell, document_section

import javatools

CLIENTS = os.path.join(HERE, "clients")
CACHE = os.environ.get("KLAMM_INTEROP_CACHE") or os.path.join(os.environ.get("TMPDIR") or "/tmp", "klamm-interop-cache")

PYTHON = {"confluent-kafka": "2.16.1", "kafka-python": "3.0.12", "aiokafka": "0.14.0"}
JAVA = ("2.8.2", "3.9.1", "4.1.0")
NODE = {"kafkajs": "2.2.4"}
GO = {"franz-go": ("franz", "v1.22.2"), "sarama": ("sarama", "v1.61.1"), "kafka-go": ("kafkago", "v0.4.51")}


class NotHere(Exception):
    """Why a client cannot be run on this machine."""


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
            call([os.path.join(folder, "bin", "python3"), "-m", "pip", "install", "-q", "%s==%s" % (package, PYTHON[package])])
        return [os.path.join(once("%s-%s" % (package, PYTHON[package]), make), "bin", "python3"), os.path.join(CLIENTS, script)]
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
        return ["java", "-Xmx256m", "-cp", "%s:%s" % (classes, java_libs(version)), "Scenarios"]
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
    def prepare():
        need("kcat", "apt-get install kcat")
        return [sys.executable, os.path.join(CLIENTS, "kcat.py")]
    return "kcat (librdkafka)", "1.7.1", prepare


def tools():
    def prepare():
        try:
            return [sys.executable, os.path.join(HERE, "javatools.py"), javatools.libs()]
        except OSError as e:
            raise NotHere(str(e)) from None
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


def run(argv, bootstrap, log):
    """scenario -> outcome of one run; what it says beside goes to a file."""
    out = {}
    with open(log, "ab") as f:
        try:
            done = subprocess.run(argv + [bootstrap, "card-"], stdout=subprocess.PIPE, stderr=f, timeout=600, cwd=os.path.dirname(log), check=False)
            text, end = done.stdout, None if done.returncode == 0 else "exit %d" % done.returncode
        except subprocess.TimeoutExpired as e:
            text, end = e.stdout or b"", "not done within 600 s"
        f.write(text)
    for line in text.decode(errors="replace").splitlines():
        if line.startswith('{"scenario"'):
            row = json.loads(line)
            out[row["scenario"]] = row["outcome"]
    if end:
        out["(to the end)"] = end
    return out


def short(value):
    text = json.dumps(value, sort_keys=True)
    return text if len(text) < 160 else text[:157] + "..."


def judge(kafka, klamm):
    """(scenario, verdict, reason) of each; green only where the outcomes are equal and no error alone."""
    for name in kafka:
        a, b = kafka[name], klamm.get(name, "nothing: the program did not come so far")
        if a != b:
            if isinstance(a, dict) and isinstance(b, dict) and "error" not in a and "error" not in b:
                a, b = ({k: v for k, v in x.items() if y.get(k) != v} for x, y in ((a, b), (b, a)))
            yield name, "red", "Kafka: %s; Klamm: %s" % (short(a), short(b))
        elif isinstance(a, dict) and "error" in a:
            yield name, "green", "Kafka says the same: %s" % a["error"]
        else:
            yield name, "green", ""
    for name in klamm:
        if name not in kafka:
            yield name, "red", "only against Klamm: %s" % short(klamm[name])


def card(args, pair):
    rows = []
    for name, version, prepare in all_clients():
        if args.only and not any(o.lower() in (name + " " + version).lower() for o in args.only.split(",")):
            continue
        began = time.monotonic()
        try:
            argv = prepare()
        except NotHere as e:
            rows.append((name, version, "all", "not run", str(e)))
            print("not run: interop.card.%s %s: %s" % (name, version, e), flush=True)
            continue
        outcomes = [run(argv, "127.0.0.1:%d" % port, os.path.join(pair.cluster.dir, "logs", "%s-%s-%s.log" % (re.sub(r"\W+", "-", name), version, who)))
                    for who, port in (("kafka", pair.kafka.port), ("klamm", pair.klamm_port()))]
        if not outcomes[0]:
            rows.append((name, version, "all", "not run", "it does not work with Kafka here either"))
            print("FAILED interop.card.%s %s: nothing came from the run against Kafka" % (name, version), flush=True)
            continue
        for scenario, verdict, reason in judge(*outcomes):
            rows.append((name, version, scenario, verdict, reason))
            print("%s interop.card.%s %s: %s%s" % ("ok" if verdict == "green" else "FAILED", name, version, scenario, "\n    " + reason if reason else ""), flush=True)
        print("    (%.0f s)" % (time.monotonic() - began), flush=True)
    return rows


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
    parser.add_argument("--write", action="store_true", help="put the table into docs/COMPATIBILITY.md")
    args = parser.parse_args()
    os.makedirs(CACHE, exist_ok=True)
    tmp = tempfile.mkdtemp(prefix="klamm-card-")
    pair, red = Pair(tmp, args.build, args.ports, "card", auto__create__topics__enable="true"), 1
    try:
        pair.start()
        rows = card(args, pair)
        red = sum(row[3] == "red" for row in rows)
        said = pair.cluster.reports()
        if said or not pair.cluster.broker(1).alive():
            red += 1
            print("FAILED interop.card.alive\n    %s" % (said or "brokerd ended"))
        if args.write:
            write(rows)
        green = sum(row[3] == "green" for row in rows)
        print("%d passed, %d failed" % (green, red))
        return 1 if red or not green else 0
    finally:
        pair.stop()
        if red:
            print("(folder: %s)" % tmp, file=sys.stderr)
        else:
            shutil.rmtree(tmp, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
