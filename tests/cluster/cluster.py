"""cluster.py: one cluster of real processes on loopback for one test: ZooKeeper, controllerds, brokerds, each in a folder of its own.

Every wait is for a condition, with a deadline. At the end everything that was started is stopped, and what the daemons wrote is searched for
sanitizer reports and assertions.
"""
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import wire
from zk import Zk

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
REPORTS = re.compile(rb"(ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|ASSERT|[Aa]ssertion .*failed)")


class Failure(Exception):
    pass


def check(condition, what, *args):
    if not condition:
        raise Failure(what % args if args else what)


class Ports:
    """Free ports below the range that the kernel hands out by itself; no two tests of a run get the same one."""

    def __init__(self, first, last):
        self.first, self.last = first, last
        self.next = first + random.randrange(max(1, (last - first) // 2))

    def take(self):
        for _ in range(self.last - self.first):
            self.next = self.first if self.next >= self.last else self.next + 1
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", self.next))
                    return self.next
                except OSError:
                    continue
        raise Failure("no free port from %d to %d" % (self.first, self.last))


class Daemon:
    def __init__(self, cluster, name, argv):
        self.cluster, self.name, self.argv = cluster, name, argv
        self.log = os.path.join(cluster.dir, "logs", name + ".log")
        self.proc = None
        self.started = 0.0

    def start(self):
        check(not self.alive(), "%s runs already", self.name)
        with open(self.log, "ab") as log:
            self.started = time.monotonic()
            self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.cluster.dir, env=self.cluster.env,
                start_new_session=True)
        return self

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def signal(self, sig):
        if self.alive():
            self.proc.send_signal(sig)

    def pause(self):
        """SIGSTOP; returns once no thread runs any more, which a busy machine lets them do for a while."""
        self.signal(signal.SIGSTOP)
        tasks = "/proc/%d/task" % self.proc.pid

        def state(task):
            try:
                with open("%s/%s/stat" % (tasks, task), encoding="ascii", errors="replace") as f:
                    return f.read().rpartition(")")[2].split()[0]
            except OSError:
                return None  # it has just ended: look again
        self.cluster.until(lambda: all(state(t) == "T" for t in os.listdir(tasks)), "%s stands still" % self.name, 10, also=self)

    def kill(self):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.proc.wait(20)

    def term(self, timeout):
        """Exit status after SIGTERM."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout):
        try:
            return self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure("%s does not end within %.0f s" % (self.name, timeout)) from None

    def rss_kb(self):
        with open("/proc/%d/status" % self.proc.pid, encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()


class Cluster:
    def __init__(self, env, name):
        self.opt = env
        self.dir = os.path.join(env.tmp, name)
        self.slow = env.slow
        for d in ("logs", "conf", "data"):
            os.makedirs(os.path.join(self.dir, d))
        self.env = dict(os.environ, ASAN_OPTIONS="abort_on_error=0:detect_leaks=0", UBSAN_OPTIONS="print_stacktrace=1",
            TSAN_OPTIONS="suppressions=%s:halt_on_error=0" % os.path.join(TOP, "tests", "cluster", "tsan.supp"))
        self.zk_port = env.ports.take()
        self.zk_sessions = []
        self.daemons = {}
        self.ports, self.admin = {}, {}
        self.generated = {}  # id -> name, of brokers that are not named by their id
        self.others = []

    def bin(self, name):
        return self.opt.programs[name]

    # ---- ZooKeeper ----

    def zk_tool(self, *args):
        done = subprocess.run([os.path.join(TOP, "tests", "tools", "zk-start"), args[0], os.path.join(self.dir, "zk")] + list(args[1:]),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
        check(done.returncode == 0, "zk-start %s: %s", args[0], done.stdout.decode(errors="replace").strip())

    def zk_start(self):
        self.zk_tool("start", str(self.zk_port), "1000", "minSessionTimeout=1000", "maxSessionTimeout=60000")

    def zk_stop(self):
        for z in self.zk_sessions:
            z.sock.close()
        self.zk_sessions = []
        self.zk_tool("kill")

    def zk(self):
        if not self.zk_sessions:
            self.zk_sessions.append(Zk(self.zk_port))
        return self.zk_sessions[0]

    def zk_json(self, path):
        data, _ = self.zk().get(path)
        return None if data is None else json.loads(data)

    def state(self, topic, partition):
        return self.zk_json("/brokers/topics/%s/partitions/%d/state" % (topic, partition))

    def leader_epochs(self, topic, partitions):
        return [self.state(topic, p)["leader_epoch"] for p in range(partitions)]

    # ---- daemons ----

    def write_conf(self, name, keys):
        path = os.path.join(self.dir, "conf", name + ".properties")
        with open(path, "w", encoding="utf-8") as f:
            f.writelines("%s=%s\n" % kv for kv in keys.items() if kv[1] is not None)
        return path

    def add_broker(self, number, name=None, port=None, **more):
        name = name or "broker-%d" % number
        self.ports[name] = port or self.opt.ports.take()
        self.admin[name] = self.opt.ports.take()
        keys = {"broker.id": number, "listeners": "PLAINTEXT://127.0.0.1:%d" % self.ports[name], "admin.listener": "127.0.0.1:%d" % self.admin[name],
            "log.dirs": os.path.join(self.dir, "data", name), "zookeeper.connect": "127.0.0.1:%d" % self.zk_port,
            "zookeeper.session.timeout.ms": 6000, "default.replication.factor": 3, "min.insync.replicas": 2, "num.partitions": 3, "data.loops": 2,
            "log.dir.reserved.bytes": 1 << 20}
        keys.update({k.replace("__", "."): v for k, v in more.items()})
        self.daemons[name] = Daemon(self, name, [self.bin("brokerd"), self.write_conf(name, keys)])
        return self.daemons[name]

    def add_controller(self, number, **more):
        name = "controller-%d" % number
        self.ports[name] = self.opt.ports.take()
        self.admin[name] = self.opt.ports.take()
        keys = {"controller.id": number, "listeners": "CONTROL://127.0.0.1:%d" % self.ports[name], "admin.listener": "127.0.0.1:%d" % self.admin[name],
            "zookeeper.connect": "127.0.0.1:%d" % self.zk_port, "zookeeper.session.timeout.ms": 6000}
        keys.update({k.replace("__", "."): v for k, v in more.items()})
        self.daemons[name] = Daemon(self, name, [self.bin("controllerd"), self.write_conf(name, keys)])
        return self.daemons[name]

    def broker(self, number):
        return self.daemons["broker-%d" % number]

    def brokers(self):
        return [d for n, d in self.daemons.items() if n.startswith("broker-")]

    def controllers(self):
        return [d for n, d in self.daemons.items() if n.startswith("controller-")]

    def bootstrap(self):
        return ",".join("127.0.0.1:%d" % p for n, p in self.ports.items() if n.startswith("broker-"))

    def port(self, number):
        return self.ports[self.generated.get(number, "broker-%d" % number)]

    def start(self, brokers=3, controllers=2, **more):
        """The usual cluster, up and serving."""
        self.zk_start()
        for c in range(controllers):
            self.add_controller(101 + c).start()
        for b in range(brokers):
            self.add_broker(b + 1, **more).start()
        self.wait_serving()
        return self

    def wait_serving(self, timeout=30.0):
        for d in list(self.brokers()):
            if d.alive():
                self.until(lambda d=d: self.health(d.name)[0] == 200, "%s serves (/health is 200)" % d.name, timeout, also=d)

    def active_controller(self):
        """(controller.id, Daemon) of the one that /controller names, None while there is none."""
        c = self.zk_json("/controller")
        if not c or "klamm" not in c:
            return None
        return c["klamm"]["id"], self.daemons.get("controller-%d" % c["klamm"]["id"])

    def health(self, name):
        """(status, dict); (0, {}) when it does not answer."""
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/health" % self.admin[name], timeout=5) as r:
                return r.status, json.loads(r.read())
        except urllib.error.HTTPError as e:
            try:
                return e.code, json.loads(e.read())
            except ValueError:
                return e.code, {}
        except (OSError, ValueError):
            return 0, {}

    # ---- waiting ----

    def until(self, condition, what, timeout, also=None, every=0.02):
        """Waits for a true value and returns it. `also` must stay alive meanwhile."""
        timeout *= self.slow
        end = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if also is not None and not also.alive():
                raise Failure("%s ended (status %s) while waiting: %s\n%s" % (also.name, also.proc.returncode, what, tail(also.log)))
            if time.monotonic() > end:
                raise Failure("not within %.1f s: %s" % (timeout, what))
            time.sleep(every)

    def isr_is(self, topic, partitions, size, timeout=30.0):
        def full():
            states = [self.state(topic, p) for p in range(partitions)]
            return all(s and len(s["isr"]) == size and s["leader"] >= 0 for s in states)
        self.until(full, "ISR of %s has %d members everywhere" % (topic, size), timeout, every=0.1)

    # ---- tools ----

    def run(self, argv, data=None, timeout=60.0, check_status=True):
        done = subprocess.run([self.bin(argv[0])] + [str(a) for a in argv[1:]], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=timeout * self.slow, env=self.env, cwd=self.dir, check=False)
        if check_status and done.returncode != 0:
            raise Failure("%s ended with %d: %s" % (" ".join(str(a) for a in argv), done.returncode, (done.stderr or done.stdout)[-1500:].decode(errors="replace")))
        return done

    def klamm(self, *args, check_status=True, timeout=60.0):
        return self.run(["klamm", "--bootstrap-server", self.bootstrap()] + list(args), check_status=check_status, timeout=timeout)

    def create_topic(self, name, partitions=3, rf=3, *configs):
        args = ["topic", "create", name, "--partitions", partitions, "--replication-factor", rf]
        for c in configs:
            args += ["--config", c]
        self.klamm(*args)
        self.until(lambda: all(self.serves(name, p) for p in range(partitions)), "leaders of %s serve" % name, 10)
        for d in self.brokers():
            if d.alive() and self.health(d.name)[0] == 200:
                self.until(lambda d=d: self.knows(self.ports[d.name], name, partitions), "%s knows %s" % (d.name, name), 10)

    def knows(self, port, topic, partitions):
        """Whether the broker there has been told of each partition and its leader."""
        w = wire.Conn(port)
        told = wire.leaders(w.call(wire.METADATA, 4, wire.metadata([topic]) + b"\0"))
        w.close()
        return len(told) == partitions and all(error == 0 for error, _ in told.values())

    def serves(self, topic, partition):
        """Whether the leader that ZooKeeper names knows that it is."""
        leader = (self.state(topic, partition) or {}).get("leader", -1)
        if leader < 0:
            return False
        try:
            w = wire.Conn(self.port(leader), timeout=5)
            err, _ = wire.offset_of(w.call(wire.LIST_OFFSETS, 1, wire.list_offsets(topic, partition)))
            w.close()
            return err == 0
        except (OSError, ConnectionError):
            return False

    def kcat(self, *args, data=None, timeout=60.0, check_status=True):
        return self.run(["kcat", "-b", self.bootstrap()] + list(args), data=data, timeout=timeout, check_status=check_status)

    def read_all(self, topic, fmt="%p %o %s\n", timeout=120.0):
        """Everything in the topic, as lines: each partition in order, to its current end; partitions as they come."""
        done = self.kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", fmt, "-X", "check.crcs=true", timeout=timeout)
        return done.stdout.decode(errors="surrogateescape").split("\n")[:-1]

    def background(self, argv, **kwargs):
        p = subprocess.Popen([self.bin(argv[0])] + [str(a) for a in argv[1:]], env=self.env, cwd=self.dir, start_new_session=True, **kwargs)
        self.others.append(p)
        return p

    def probe(self, topic, seconds, *more):
        """klamm-load probe in the background; end it with probe_result."""
        log = open(os.path.join(self.dir, "logs", "probe-%s.log" % topic), "ab")
        return self.background(["klamm-load", "probe", "--bootstrap", self.bootstrap(), "--topic", topic, "--seconds", seconds, "--verify"] + list(more),
            stdout=subprocess.PIPE, stderr=log)

    def probe_result(self, p, timeout):
        out, _ = p.communicate(timeout=timeout * self.slow)
        try:
            return json.loads(out.decode().strip().split("\n")[-1])
        except ValueError:
            raise Failure("klamm-load probe ended with %d and no result: %s" % (p.returncode, out[-500:].decode(errors="replace"))) from None

    # ---- the end ----

    def stop(self):
        for p in self.others:
            if p.poll() is None:
                p.kill()
                p.wait()
        for d in self.daemons.values():
            if d.alive():
                d.kill()
        for z in self.zk_sessions:
            z.sock.close()
        self.zk_sessions = []
        try:
            self.zk_tool("kill")
        except (Failure, subprocess.TimeoutExpired):
            pass

    def reports(self):
        """What sanitizers and assertions said."""
        out = []
        for d in self.daemons.values():
            if not os.path.exists(d.log):
                continue
            with open(d.log, "rb") as f:
                text = f.read()
            m = REPORTS.search(text)
            if m:
                out.append("%s: %s" % (d.name, text[max(0, m.start() - 200):m.start() + 3000].decode(errors="replace")))
        return out


def tail(path, lines=15):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return "".join("        " + line for line in f.readlines()[-lines:])
    except OSError:
        return ""


class Stream:
    """A stream of numbered records into every partition of a topic: one idempotent kcat with acks=all per partition, fed from a thread at a
    steady rate. Whatever happens meanwhile, in the end exactly these records must be there, once and in order."""

    def __init__(self, cluster, topic, partitions, rate=300):
        self.c, self.topic, self.rate = cluster, topic, rate
        self.sent = [0] * partitions
        self.stopping = threading.Event()
        self.procs, self.errors = [], []
        for p in range(partitions):
            self.errors.append(open(os.path.join(cluster.dir, "logs", "stream-%s-%d.log" % (topic, p)), "wb+"))
            self.procs.append(cluster.background(["kcat", "-b", cluster.bootstrap(), "-P", "-E", "-t", topic, "-p", p, "-X", "enable.idempotence=true", "-X", "acks=all",
                "-X", "linger.ms=2", "-X", "message.timeout.ms=0", "-X", "message.send.max.retries=1000000", "-X", "reconnect.backoff.max.ms=200",
                "-X", "retry.backoff.ms=50", "-X", "topic.metadata.refresh.interval.ms=1000"], stdin=subprocess.PIPE, stderr=self.errors[p]))
        self.thread = threading.Thread(target=self.feed, daemon=True)
        self.thread.start()

    def feed(self):
        began = time.monotonic()
        try:
            while not self.stopping.wait(0.01):
                due = int((time.monotonic() - began) * self.rate)
                for p, proc in enumerate(self.procs):
                    if self.sent[p] < due:
                        proc.stdin.write(b"".join(b"record %d of partition %d\n" % (i, p) for i in range(self.sent[p], due)))
                        proc.stdin.flush()
                        self.sent[p] = due
        except OSError:
            pass  # kcat ended: finish() says so

    def finish(self, timeout=90.0):
        """Ends the stream, reads everything back and compares."""
        self.stopping.set()
        self.thread.join()
        for p, proc in enumerate(self.procs):
            try:
                proc.stdin.close()
            except OSError:
                pass
        end = time.monotonic() + timeout * self.c.slow
        for p, proc in enumerate(self.procs):
            try:
                status = proc.wait(max(1.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise Failure("producer of partition %d is not done %.0f s after the end: %s" % (p, timeout, self.tail(p))) from None
            check(status == 0, "producer of partition %d ended with %d: %s", p, status, self.tail(p))
        self.compare()

    def tail(self, p):
        self.errors[p].flush()
        return tail(self.errors[p].name, 6)

    def compare(self):
        got = [[] for _ in self.sent]
        for line in self.c.read_all(self.topic, "%p %s\n"):
            p, text = line.split(" ", 1)
            got[int(p)].append(text)
        for p, n in enumerate(self.sent):
            want = ["record %d of partition %d" % (i, p) for i in range(n)]
            if got[p] == want:
                continue
            have, ordered = set(got[p]), sorted(got[p], key=lambda t: int(t.split(" ")[1]))
            lost = [w for w in want if w not in have]
            raise Failure("partition %d: sent %d, read %d, lost %d (first: %s), duplicated %d, order %s" % (p, n, len(got[p]), len(lost), lost[:3],
                len(got[p]) - len(have), "kept" if ordered == got[p] else "broken"))
