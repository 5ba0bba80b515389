#!/usr/bin/env python3
"""Klamm in one command: build it, start a cluster, prove on a real stream that a killed leader loses nothing.

Called by deploy/quickstart, which has installed the packages. Everything lives in one folder D:
  conf/ data/ pids/ logs/    of the cluster (pids/NAME.pid holds one process id)
  build/ inst/               the programs
  work/                      the text that was sent, what kcat said

Only processes whose pid file stands in D and whose command line names D's configuration are ever stopped.
The stream is checked with bounded memory: 4 bytes and a bit per record.
"""

import argparse
import array
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = ("brokerd", "controllerd", "klamm", "klamm-load")
BROKERS = (1, 2, 3)
CONTROLLERS = (101, 102)
PARTITIONS = 6
PROBE_KEY = b"KLAMM-PROBE"
MARK = ".klamm-quickstart"
OURS = ("conf", "data", "pids", "logs", "build", "inst", "work", MARK, ".lock")
LINE_MAX = 64 * 1024
TEXT_ROOTS = ("/usr/share/doc", "/usr/include", "/usr/share/common-licenses", "/usr/lib/python3", "/usr/lib/python3.11",
              "/usr/share/perl", "/usr/share/aclocal", "/usr/share/automake-1.16", "/usr/share/autoconf", "/usr/share/vim",
              "/usr/share/zoneinfo", "/var/log", SOURCE)  # no place where secrets are kept


class Failed(Exception):
    """The run cannot go on; the text says why and what to do."""


def say(text):
    print(text, flush=True)


class Bar:
    """A progress bar on a terminal, a line for each quarter otherwise."""

    def __init__(self, what, total):
        self.what, self.total, self.shown, self.quarter = what, max(total, 1), 0.0, 0
        self.tty = sys.stdout.isatty()

    def at(self, done, note=""):
        share = min(done / self.total, 1.0)
        if self.tty:
            if time.monotonic() - self.shown < 0.1 and share < 1:
                return
            self.shown = time.monotonic()
            full = int(share * 30)
            print(f"\r  {self.what} [{'#' * full}{'.' * (30 - full)}] {share * 100:3.0f} %  {note}\033[K", end="", flush=True)
        elif int(share * 4) > self.quarter:
            self.quarter = int(share * 4)
            say(f"  {self.what} {self.quarter * 25} %  {note}")

    def end(self):
        if self.tty:
            print(flush=True)


# --- processes ---------------------------------------------------------------------------------------------------------

class Cluster:
    """The processes of one folder."""

    def __init__(self, folder, base, prefix):
        self.dir, self.base = folder, base
        self.children = []
        self.bin = os.path.join(prefix or os.path.join(folder, "inst"), "bin")
        self.names = ["zookeeper"] + [f"controller-{c}" for c in CONTROLLERS] + [f"broker-{b}" for b in BROKERS]
        self.bootstrap = ",".join(f"127.0.0.1:{self.broker_port(b)}" for b in BROKERS)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def program(self, name):
        return os.path.join(self.bin, name)

    def broker_port(self, broker):
        return self.base + 10 + broker

    def ports(self, name):
        """The ports that a process listens on: service first, admin second."""
        if name == "zookeeper":
            return [self.base]
        kind, number = name.split("-")
        if kind == "controller":
            at = CONTROLLERS.index(int(number)) + 1
            return [self.base + at, self.base + 2 + at]
        return [self.broker_port(int(number)), self.base + 20 + int(number)]

    def conf(self, name):
        return self.path("conf", "zoo.cfg" if name == "zookeeper" else name + ".conf")

    def pid(self, name):
        """Process id if the process named in the pid file runs and is ours, else None."""
        try:
            with open(self.path("pids", name + ".pid"), encoding="ascii") as f:
                pid = int(f.read().split()[0])
            while True:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                    if f.read().rpartition(")")[2].split()[0] in "ZX":
                        return None  # its last threads may still hold ports and locks for a moment: the next one waits for them
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    line = f.read()
                if line:
                    return pid if self.conf(name).encode() in line else None
                time.sleep(0.001)  # empty in the middle of an exec (java starts itself a second time): a moment later it is there
        except (OSError, ValueError, IndexError):
            return None

    def command(self, name):
        if name == "zookeeper":
            jars = f"{self.path('conf')}:/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"
            return ["java", "-Xmx256m", "-Dzookeeper.jmx.log4j.disable=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    "-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", jars,
                    "org.apache.zookeeper.server.ZooKeeperServerMain", self.conf(name)]
        return [self.program("controllerd" if name.startswith("controller") else "brokerd"), self.conf(name)]

    def spawn(self, name):
        with open(self.path("logs", name + ".log"), "ab") as log:
            proc = subprocess.Popen(self.command(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    cwd=self.dir, start_new_session=True)
        self.children.append(proc)
        pid_file = self.path("pids", name + ".pid")
        with open(pid_file + ".new", "w", encoding="ascii") as f:
            f.write(f"{proc.pid}\n")
        os.rename(pid_file + ".new", pid_file)
        return proc

    def reap(self):
        """Collects daemons that ended, so that they do not stay zombies (only these: kcat's status is waited for elsewhere)."""
        self.children = [c for c in self.children if c.poll() is None]

    def write_conf(self):
        self.write("zookeeper", {
            "dataDir": self.path("data", "zookeeper"), "clientPort": self.base, "clientPortAddress": "127.0.0.1",
            "tickTime": 2000, "maxClientCnxns": 0, "admin.enableServer": "false", "4lw.commands.whitelist": "ruok,srvr"})
        for c in CONTROLLERS:
            port, admin = self.ports(f"controller-{c}")
            self.write(f"controller-{c}", {
                "controller.id": c, "listeners": f"CONTROL://127.0.0.1:{port}", "admin.listener": f"127.0.0.1:{admin}",
                "zookeeper.connect": f"127.0.0.1:{self.base}"})
        for b in BROKERS:
            port, admin = self.ports(f"broker-{b}")
            self.write(f"broker-{b}", {
                "broker.id": b, "listeners": f"PLAINTEXT://127.0.0.1:{port}", "admin.listener": f"127.0.0.1:{admin}",
                "log.dirs": self.path("data", f"broker-{b}"), "zookeeper.connect": f"127.0.0.1:{self.base}",
                "default.replication.factor": 3, "min.insync.replicas": 2})

    def write(self, name, keys):
        with open(self.conf(name), "w", encoding="utf-8") as f:
            f.write(f"# Written by deploy/quickstart: {name}\n")
            f.writelines(f"{k}={v}\n" for k, v in keys.items())

    def stop(self, names, patience=10.0):
        """SIGTERM, and SIGKILL for what has not gone in time. Returns how many there were."""
        pids = {n: p for n in names if (p := self.pid(n))}
        for pid in pids.values():
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + patience
        while any(self.pid(n) for n in pids) and time.monotonic() < end:
            self.reap()
            time.sleep(0.02)
        for n in pids:
            if (pid := self.pid(n)):
                say(f"  {n} did not stop within {patience:.0f} s: killed")
                os.kill(pid, signal.SIGKILL)
        for n in names:
            if os.path.exists(self.path("pids", n + ".pid")):
                os.remove(self.path("pids", n + ".pid"))
        return len(pids)

    def stop_all(self):
        return (self.stop([n for n in self.names if n.startswith("broker")]) +
                self.stop([n for n in self.names if n.startswith("controller")]) + self.stop(["zookeeper"]))

    def tail(self, name, lines=8):
        try:
            with open(self.path("logs", name + ".log"), encoding="utf-8", errors="replace") as f:
                return "".join("    " + line for line in f.readlines()[-lines:])
        except OSError:
            return ""

    def klamm(self, *args, check=True):
        done = subprocess.run([self.program("klamm"), "--bootstrap-server", self.bootstrap, *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, encoding="utf-8", timeout=90, check=False)
        if check and done.returncode:
            raise Failed(f"klamm {' '.join(args)} failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
        return done

    def describe(self, topic):
        """Partition number -> {leader, isr, replicas}; None when the cluster cannot say just now."""
        try:
            done = self.klamm("--json", "topic", "describe", topic, check=False)
            return {p["partition"]: p for p in json.loads(done.stdout)["topics"][0]["partitions"]}
        except (ValueError, KeyError, IndexError, subprocess.TimeoutExpired):
            return None


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    except OSError:
        return False


def wait_for(what, ready, seconds, alive=None):
    end = time.monotonic() + seconds
    while not ready():
        if alive and alive():
            raise Failed(alive())
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.1)


# --- build, start ------------------------------------------------------------------------------------------------------

def run_logged(command, log, what, cwd):
    with open(log, "ab") as f:
        f.write((" ".join(command) + "\n").encode())
        f.flush()
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=f, stderr=f, cwd=cwd, check=False).returncode:
            with open(log, encoding="utf-8", errors="replace") as g:
                end = "".join("    " + line for line in g.readlines()[-15:])
            raise Failed(f"{what} failed; the end of {log}:\n{end}")


def build(cluster):
    """Builds in D/build and installs into D/inst; unchanged programs keep their file."""
    log, tree = cluster.path("logs", "build.log"), cluster.path("build")
    open(log, "wb").close()
    jobs = f"-j{os.cpu_count() or 2}"
    install = ["make", "install", "INSTALL=/usr/bin/install -C"]
    if os.path.exists(os.path.join(SOURCE, "config.status")):  # configured in the source tree: no second build beside it
        say("Building in the source tree, which is configured already ...")
        run_logged(["make", jobs], log, "make", SOURCE)
        run_logged(install + [f"prefix={cluster.path('inst')}"], log, "make install", SOURCE)
        return
    configure = os.path.join(SOURCE, "configure")
    fresh = not os.path.exists(os.path.join(tree, "config.status"))
    say("Building (the output goes to logs/build.log) ..." if fresh else "Building what changed ...")
    start = time.monotonic()
    if not os.path.exists(configure) or os.path.getmtime(configure) < os.path.getmtime(os.path.join(SOURCE, "configure.ac")):
        run_logged(["autoreconf", "-fi"], log, "autoreconf", SOURCE)
    os.makedirs(tree, exist_ok=True)
    if fresh:
        run_logged([configure, f"--prefix={cluster.path('inst')}"], log, "configure", tree)
    run_logged(["make", jobs], log, "make", tree)
    run_logged(install, log, "make install", tree)
    say(f"  built in {time.monotonic() - start:.0f} s")


def replaced(pid):
    """The program file of a running process has been replaced since it started."""
    try:
        return os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")
    except OSError:
        return False


def start(cluster):
    """Starts what does not run yet; returns once every broker serves."""
    old = [n for n in cluster.names if (pid := cluster.pid(n)) and replaced(pid)]
    if old:
        say("Stopping processes of the build before: " + ", ".join(old))
        cluster.stop(old)
    missing = [n for n in cluster.names if not cluster.pid(n)]
    if not missing:
        say("The cluster runs already.")
    for name in missing:
        for port in cluster.ports(name):
            if is_open(port):
                raise Failed(f"port {port} for {name} is taken by a process of somebody else; choose others with --port-base "
                             f"(it uses P to P+23)")
    if missing:
        cluster.write_conf()
        say("Starting " + ", ".join(missing) + " ...")
    for group in ("zookeeper", "controller", "broker"):
        names = [n for n in missing if n.startswith(group)]
        for name in names:
            cluster.spawn(name)
        for name in names:
            wait_for(f"{name} listens", lambda n=name: is_open(cluster.ports(n)[0]), 60,
                     lambda n=name: None if cluster.pid(n) else f"{n} ended; the end of its log:\n{cluster.tail(n)}")

    def all_there():
        done = cluster.klamm("--json", "status", check=False)
        try:
            return len(json.loads(done.stdout)["brokers"]) == len(BROKERS)
        except (ValueError, KeyError):
            return False

    wait_for("all brokers are in the cluster", all_there, 60)


# --- the text ----------------------------------------------------------------------------------------------------------

def text_files():
    """Readable text files of this machine, in a fixed order."""
    seen = set()
    for root in TEXT_ROOTS:
        for folder, dirs, files in os.walk(root, onerror=lambda e: None):
            dirs.sort()
            dirs[:] = [d for d in dirs if d not in (".git", "build-aux", "autom4te.cache")]
            for name in sorted(files):
                path = os.path.join(folder, name)
                real = os.path.realpath(path)
                if real in seen or not os.path.isfile(real) or "\t" in path or "\n" in path:
                    continue
                seen.add(real)
                yield real


def lines_of(path):
    """Lines of a text file without their end, cut at LINE_MAX; nothing for what is no text."""
    try:
        if os.path.getsize(path) > 64 << 20:
            return []
        with open(path, "rb") as f:
            data = f.read()
    except OSError:
        return []
    if not data or b"\0" in data:
        return []
    return [line[:LINE_MAX] for line in data.split(b"\n")]


def gather(target, want_bytes):
    """Writes key TAB number TAB line until there is enough. Returns checksum of each record, by number; files; rounds."""
    sums, number, size, files, rounds = array.array("I"), 0, 0, 0, 0
    bar = Bar("gathering", want_bytes)
    with open(target, "wb", buffering=1 << 20) as out:
        while size < want_bytes:
            rounds += 1
            before = size
            for path in text_files():
                key = os.fsencode(path if rounds == 1 else f"{path}#{rounds}")
                lines = lines_of(path)
                files += rounds == 1 and bool(lines)
                for line in lines:
                    record = b"%s\t%d\t%s" % (key, number, line)
                    sums.append(zlib.crc32(record))
                    out.write(record)
                    out.write(b"\n")
                    number += 1
                    size += len(record) + 1
                bar.at(size, f"{size / 1e6:.0f} MB from {files} files")
                if size >= want_bytes:
                    break
            if size == before:
                raise Failed("no readable text found on this machine")
    bar.end()
    return sums, size, files, rounds


# --- the stream --------------------------------------------------------------------------------------------------------

class Stream:
    """Feeds kcat at a steady pace; kills the leader of partition 0 on the way."""

    def __init__(self, cluster, topic, args):
        self.cluster, self.topic, self.args = cluster, topic, args
        self.killed, self.led, self.notes = None, [], []
        self.kcat = self.probe = None

    def spawn_probe(self):
        self.probe = subprocess.Popen(
            [self.cluster.program("klamm-load"), "probe", "--bootstrap", self.cluster.bootstrap, "--topic", self.topic, "--seconds", "0",
             "--period-ms", "10", "--key", PROBE_KEY.decode()],
            stdin=subprocess.DEVNULL, stdout=open(self.cluster.path("work", "probe.json"), "wb"),
            stderr=open(self.cluster.path("work", "probe.err"), "wb"), start_new_session=True)

    def spawn_kcat(self):
        self.kcat = subprocess.Popen(
            ["kcat", "-P", "-b", self.cluster.bootstrap, "-t", self.topic, "-K", "\t", "-X", "acks=all", "-X", "enable.idempotence=true",
             "-X", "linger.ms=5", "-X", "queue.buffering.max.messages=200000", "-X", "queue.buffering.max.kbytes=32768"],
            stdin=subprocess.PIPE, stdout=open(self.cluster.path("work", "kcat-produce.out"), "wb"),
            stderr=open(self.cluster.path("work", "kcat-produce.err"), "wb"), start_new_session=True)

    def kill_leader(self):
        parts = self.cluster.describe(self.topic)
        if not parts or parts[0]["leader"] < 0:
            return False
        leader = parts[0]["leader"]
        name = f"broker-{leader}"
        pid = self.cluster.pid(name)
        if not pid:
            raise Failed(f"{name} is not running; the end of its log:\n{self.cluster.tail(name)}")
        self.led = sorted(p for p, v in parts.items() if v["leader"] == leader)
        os.kill(pid, signal.SIGKILL)
        while self.cluster.pid(name):
            self.cluster.reap()
            time.sleep(0.001)
        self.cluster.spawn(name)
        self.killed = leader
        return True

    def feed(self, path, size):
        bar = Bar("streaming", size)
        start, sent, kill_at, next_try = time.monotonic(), 0, size * 2 // 5, 0.0
        with open(path, "rb") as f:
            while chunk := f.read(1 << 17):
                if self.killed is None and sent >= kill_at and time.monotonic() >= next_try:
                    next_try = time.monotonic() + 0.2
                    if self.kill_leader():
                        bar.end()
                        say(f"  killed broker {self.killed} (SIGKILL), leader of partitions {', '.join(map(str, self.led))}; started it again at once")
                try:
                    self.kcat.stdin.write(chunk)
                except BrokenPipeError:
                    raise Failed("kcat ended early: " + self.kcat_said()) from None
                sent += len(chunk)
                bar.at(sent, f"{sent / 1e6:.0f} MB")
                if self.args.rate_mb:
                    ahead = sent / (self.args.rate_mb * 1e6) - (time.monotonic() - start)
                    if ahead > 0:
                        time.sleep(ahead)
        self.kcat.stdin.close()
        bar.end()
        if self.killed is None and not self.kill_leader():
            raise Failed("the leader of partition 0 could not be found out")
        say("  waiting for the last acknowledgements ...")
        try:
            status = self.kcat.wait(360)
        except subprocess.TimeoutExpired:
            raise Failed("kcat did not end within 6 minutes: " + self.kcat_said()) from None
        if status:
            self.notes.append(f"kcat ended with {status}: {self.kcat_said()}")
        return time.monotonic() - start

    def kcat_said(self):
        with open(self.cluster.path("work", "kcat-produce.err"), encoding="utf-8", errors="replace") as f:
            return " | ".join(line.strip() for line in f.readlines()[-5:])

    def wait_full(self):
        def full():
            parts = self.cluster.describe(self.topic)
            return bool(parts) and len(parts) == PARTITIONS and all(
                p["leader"] >= 0 and sorted(p["isr"]) == sorted(p["replicas"]) for p in parts.values())

        began = time.monotonic()
        wait_for("every replica in sync again", full, 120)
        return time.monotonic() - began

    def waits(self):
        """Ends the probe; (longest wait over the partitions that the killed broker led, that of partition 0), ms; -1 unknown."""
        self.probe.send_signal(signal.SIGTERM)
        try:
            self.probe.wait(60)
            with open(self.cluster.path("work", "probe.json"), encoding="utf-8") as f:
                parts = {p["partition"]: p["wait_max_ms"] for p in json.loads(f.read().splitlines()[-1])["partitions"]}
            return max(parts[p] for p in self.led), parts[0]
        except (subprocess.TimeoutExpired, ValueError, KeyError, IndexError, OSError):
            with open(self.cluster.path("work", "probe.err"), encoding="utf-8", errors="replace") as f:
                self.notes.append("the probe gave no result: " + f.read().strip()[-300:])
            return -1, -1

    def end(self):
        for proc in (self.kcat, self.probe):
            if proc and proc.poll() is None:
                proc.kill()
                proc.wait()


# --- reading back ------------------------------------------------------------------------------------------------------

class Comparison:
    """Every record that was sent, once, unchanged, in order within its partition, each key in one partition."""

    def __init__(self, sums):
        self.sums, self.seen = sums, bytearray(len(sums))
        self.read = self.duplicated = self.reordered = self.changed = self.foreign = 0
        self.last = {}
        self.home = {}

    def take(self, line):
        partition, key, rest = line.split(b"\t", 2)
        if key == PROBE_KEY:
            return
        self.read += 1
        number = rest.split(b"\t", 1)[0]
        n = int(number) if number.isdigit() else -1
        if not 0 <= n < len(self.sums):
            self.foreign += 1
            return
        if zlib.crc32(key + b"\t" + rest) != self.sums[n]:
            self.changed += 1
            return
        if self.seen[n]:
            self.duplicated += 1
            return
        self.seen[n] = 1
        if n < self.last.get(partition, -1) or self.home.setdefault(key, partition) != partition:
            self.reordered += 1
        else:
            self.last[partition] = n

    def lost(self):
        return self.seen.count(0)

    def equal(self):
        return not (self.lost() or self.duplicated or self.reordered or self.changed or self.foreign)


def read_back(cluster, topic, sums):
    result, bar = Comparison(sums), Bar("reading back", len(sums))
    with open(cluster.path("work", "kcat-consume.err"), "wb") as err:
        kcat = subprocess.Popen(
            ["kcat", "-C", "-b", cluster.bootstrap, "-t", topic, "-o", "beginning", "-e", "-q", "-X", "check.crcs=true",
             "-f", "%p\t%k\t%s\n"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, start_new_session=True)
        try:
            for i, line in enumerate(kcat.stdout):
                try:
                    result.take(line[:-1])
                except ValueError:
                    result.foreign += 1
                if not i & 0xffff:
                    bar.at(result.read, f"{result.read} records")
            status = kcat.wait()
        finally:
            if kcat.poll() is None:
                kcat.kill()
                kcat.wait()
    bar.at(result.read, f"{result.read} records")
    bar.end()
    if status:
        with open(cluster.path("work", "kcat-consume.err"), encoding="utf-8", errors="replace") as f:
            say(f"  kcat ended with {status}: {f.read().strip()[-300:]}")
    return result


def memory_mb(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


# --- the run -----------------------------------------------------------------------------------------------------------

def next_topic(cluster):
    """Removes the topics of earlier runs; a fresh name for this one."""
    done = cluster.klamm("--json", "topic", "list")
    old = [t["name"] for t in json.loads(done.stdout)["topics"] if t["name"].startswith("quickstart-")]
    numbers = [int(n[11:]) for n in old if n[11:].isdigit()]
    for name in old:
        say(f"Deleting {name} of an earlier run.")
        cluster.klamm("topic", "delete", name, "--if-exists")
    return f"quickstart-{max(numbers, default=0) + 1}"


def stream_through(cluster, topic, args):
    """Returns (stream, comparison, longest waits)."""
    text = cluster.path("work", "stream.txt")
    say(f"Gathering at least {args.megabytes} MB of text on this machine, key = source file ...")
    sums, size, files, rounds = gather(text, args.megabytes * 1_000_000)
    say(f"  {len(sums)} records, {size / 1e6:.0f} MB, {files} files" + (f", in {rounds} rounds" if rounds > 1 else ""))
    stream = Stream(cluster, topic, args)
    try:
        pace = f" at {args.rate_mb} MB/s" if args.rate_mb else ""
        say(f"Streaming it through kcat (acks=all, enable.idempotence=true){pace}; a probe measures how long clients wait ...")
        stream.spawn_probe()
        stream.spawn_kcat()
        took = stream.feed(text, size)
        say(f"  all sent in {took:.1f} s ({size / 1e6 / took:.0f} MB/s)")
        say("Waiting until every replica is in sync again ...")
        say(f"  in sync {stream.wait_full():.1f} s after the end of the stream")
        waits = stream.waits()
        say("Reading everything back through kcat ...")
        return stream, read_back(cluster, topic, sums), waits
    finally:
        stream.end()
        if os.path.exists(text):
            os.remove(text)


def report(cluster, topic, stream, result, waits):
    for note in stream.notes:
        say("  NOTE: " + note)
    say(f"Compared: {len(result.sums)} sent, {result.read} read, {result.lost()} lost, {result.duplicated} duplicated, {result.reordered} reordered"
        + (f", {result.changed} CHANGED" if result.changed else "") + (f", {result.foreign} UNKNOWN" if result.foreign else ""))
    say(f"Clients waited at most {waits[0]:.0f} ms on the partitions of the killed broker ({waits[1]:.0f} ms on partition 0).")
    say("Memory: " + ", ".join(f"{n} {memory_mb(pid):.0f} MB" for n in cluster.names if (pid := cluster.pid(n))))
    tool = f"{cluster.program('klamm')} --bootstrap-server {cluster.bootstrap}"
    where = f"--dir {cluster.dir} --port-base {cluster.base}"
    say("\nThe cluster goes on running. Try next:")
    say(f"  {tool} status")
    say(f"  {tool} topic describe {topic}")
    say(f"  {tool} consume {topic} --from-beginning --count 5")
    say(f"  echo hello | {tool} produce {topic}")
    say(f"  curl http://127.0.0.1:{cluster.ports('broker-1')[1]}/health")
    say(f"  deploy/quickstart {where} --stop     (or --clean: stop and remove everything)\n")
    equal = result.equal() and not stream.kcat.returncode
    say(f"RESULT {'equal' if equal else 'DIFFERENT'} sent={len(result.sums)} read={result.read} lost={result.lost()} "
        f"duplicated={result.duplicated} reordered={result.reordered} wait_max_ms={round(waits[0])} wait_p0_ms={round(waits[1])}")
    return 0 if equal else 1


def prepare(cluster, args):
    folder = cluster.dir
    if os.path.isdir(folder) and os.listdir(folder) and not os.path.exists(cluster.path(MARK)):
        raise Failed(f"{folder} is not empty and was not made by quickstart; give another one with --dir")
    for name in ("conf", "data", "data/zookeeper", "pids", "logs", "work"):
        os.makedirs(cluster.path(name), mode=0o700, exist_ok=True)
    open(cluster.path(MARK), "w").close()
    lock = open(cluster.path(".lock"), "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Failed(f"another quickstart works in {folder} right now") from None
    free, need = shutil.disk_usage(folder).free / 1e6, args.megabytes * 5 + 1500
    if free < need:
        raise Failed(f"{folder} has {free:.0f} MB free; about {need} MB are needed; give another one with --dir")
    return lock


def clean(cluster):
    if os.path.isdir(cluster.dir) and not os.path.exists(cluster.path(MARK)):
        raise Failed(f"{cluster.dir} was not made by quickstart: nothing removed")
    stopped = cluster.stop_all()
    for name in OURS:
        path = cluster.path(name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.remove(path)
    if os.path.isdir(cluster.dir) and not os.listdir(cluster.dir):
        os.rmdir(cluster.dir)
    say(f"Stopped {stopped} processes, removed what quickstart had made in {cluster.dir}.")


def run(cluster, args):
    lock = prepare(cluster, args)
    if args.prefix:
        for name in PROGRAMS:
            if not os.access(cluster.program(name), os.X_OK):
                raise Failed(f"{cluster.program(name)} is missing; leave --prefix away and quickstart builds it")
    else:
        build(cluster)
    start(cluster)
    topic = next_topic(cluster)
    cluster.klamm("topic", "create", topic, "--partitions", str(PARTITIONS), "--replication-factor", "3")
    say(f"Created topic {topic}: {PARTITIONS} partitions, 3 replicas.")
    stream, result, waits = stream_through(cluster, topic, args)
    status = report(cluster, topic, stream, result, waits)
    lock.close()
    return status


def main():
    parser = argparse.ArgumentParser(
        prog="deploy/quickstart", description="Builds Klamm, starts a cluster of three brokers and two controllers, streams real text through "
        "it, kills a leader on the way and compares what comes back. Leaves the cluster running.",
        epilog="Exit status 0 if everything came back once and in order. Ports P to P+23: ZooKeeper P, brokers P+11 to P+13.")
    parser.add_argument("--dir", default=os.path.join(os.path.expanduser("~"), "klamm-quickstart"), help="folder for everything (%(default)s)")
    parser.add_argument("--port-base", type=int, default=19090, metavar="P", help="first port (%(default)s)")
    parser.add_argument("--stop", action="store_true", help="stop the cluster of this folder")
    parser.add_argument("--clean", action="store_true", help="stop it and remove what quickstart made there")
    parser.add_argument("--megabytes", type=int, default=200, help="at least this much text (%(default)s)")
    parser.add_argument("--rate-mb", type=float, default=20, metavar="MB/S", help="pace of the stream, 0 = as fast as it goes (%(default)s)")
    parser.add_argument("--prefix", help="use the programs in PREFIX/bin instead of building")
    args = parser.parse_args()
    if not 1024 <= args.port_base <= 65000:
        parser.error("--port-base: from 1024 to 65000")
    if args.megabytes < 1 or args.rate_mb < 0:
        parser.error("--megabytes and --rate-mb: positive numbers")
    cluster = Cluster(os.path.realpath(args.dir), args.port_base, args.prefix and os.path.realpath(args.prefix))
    try:
        if args.clean:
            clean(cluster)
            return 0
        if args.stop:
            say(f"Stopped {cluster.stop_all()} processes.")
            return 0
        return run(cluster, args)
    except Failed as e:
        print(f"quickstart: {e}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print(f"\nquickstart: interrupted; the cluster may be running: deploy/quickstart --dir {cluster.dir} --stop", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
