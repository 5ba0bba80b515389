"""pair.py: one Kafka 3.9.1 and one Klamm broker, each on its own ZooKeeper chroot, configured alike: what the interop tests compare."""
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "cluster"))
sys.dont_write_bytecode = True

from cluster import Cluster, Failure, Ports  # noqa: E402


class NotHere(Exception):
    """Why a client cannot be run on this machine."""


def endable():
    """SIGTERM ends a script as Ctrl-C does: what it started is stopped."""
    def end(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, end)


DOCUMENT = os.path.join(HERE, "..", "..", "docs", "COMPATIBILITY.md")
ALIKE = {"num.partitions": "1", "default.replication.factor": "1", "min.insync.replicas": "1", "offsets.topic.num.partitions": "5",
         "offsets.topic.replication.factor": "1", "group.initial.rebalance.delay.ms": "0", "auto.create.topics.enable": "false", "log.retention.ms": "-1"}
SESSION_MS = "18000"  # Kafka's default: no session ends because the machine is busy


class Options:
    """What tests/cluster/cluster.py wants to know."""

    def __init__(self, tmp, build, ports):
        self.tmp, self.slow, self.build, self.keep = tmp, 1.0, build, False
        self.ports = Ports(*[int(p) for p in ports.split("..")])
        self.programs = {"kcat": "kcat"}
        for name in ("brokerd", "controllerd", "klamm", "klamm-load"):
            places = [os.path.join(build, name, name), os.path.join(build, name)]
            self.programs[name] = next((p for p in places if os.path.isfile(p)), places[0])


class Kafka:
    """One broker of Kafka 3.9.1 (tests/interop/kafka-start) in a folder."""

    def __init__(self, folder, port, zk, number=1, **conf):
        self.folder, self.port, self.zk, self.number, self.conf = folder, port, zk, number, conf

    def start(self):
        argv = [os.path.join(HERE, "kafka-start"), "--dir", self.folder, "--port", str(self.port), "--zk", self.zk, "--id", str(self.number), "--heap", "512M"]
        for key, value in self.conf.items():
            argv += ["--conf", "%s=%s" % (key.replace("__", "."), value)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False)
        if done.returncode:
            raise Failure("Kafka does not start: %s" % done.stdout.decode(errors="replace"))
        return self

    def stop(self):
        subprocess.run([os.path.join(HERE, "kafka-start"), "--dir", self.folder, "--stop"], timeout=60, check=False)

    def bootstrap(self):
        return "127.0.0.1:%d" % self.port


class Pair:
    """kafka and klamm: two brokers with id 1, run side by side; conf on top of ALIKE, None takes a key away."""

    def __init__(self, tmp, build, ports, name="pair", **conf):
        self.cluster = Cluster(Options(tmp, build, ports), name)
        alike = dict({k.replace(".", "__"): v for k, v in ALIKE.items()}, zookeeper__session__timeout__ms=SESSION_MS, transaction__state__log__min__isr="1",
            transaction__state__log__replication__factor="1")
        alike.update(conf)
        self.conf = {k: v for k, v in alike.items() if v is not None}
        self.kafka = None

    def start(self):
        c = self.cluster
        c.zk_start()
        c.zk().create_all("/klamm-side", b"")
        c.zk().create_all("/kafka-side", b"")
        zk = "127.0.0.1:%d" % c.zk_port
        self.kafka = Kafka(os.path.join(c.dir, "kafka"), c.opt.ports.take(), zk + "/kafka-side", **self.conf).start()
        c.add_controller(101, zookeeper__connect=zk + "/klamm-side", zookeeper__session__timeout__ms=SESSION_MS).start()
        port = c.opt.ports.take()
        c.add_broker(1, port=port, zookeeper__connect=zk + "/klamm-side", advertised__listeners="PLAINTEXT://127.0.0.1:%d" % port, **self.conf).start()
        c.zk_sessions.clear()  # nobody pings it
        c.wait_serving()
        return self

    def klamm_port(self):
        return self.cluster.port(1)

    def stop(self):
        if self.kafka:
            self.kafka.stop()
        self.cluster.stop()


def document_section(mark, text=None):
    """What stands between two marks of docs/COMPATIBILITY.md; with a text, puts that there."""
    with open(DOCUMENT, encoding="utf-8") as f:
        doc = f.read()
    begin, end = "<!-- %s: generated, do not edit -->\n" % mark, "<!-- end of %s -->\n" % mark
    if begin not in doc or end not in doc:
        raise Failure("%s has no marks for %s" % (DOCUMENT, mark))
    first, last = doc.index(begin) + len(begin), doc.index(end)
    if text is not None:
        with open(DOCUMENT, "w", encoding="utf-8") as f:
            f.write(doc[:first] + text + doc[last:])
    return doc[first:last]


def cell(text):
    """For a table of Markdown."""
    return text.replace("|", "\\|").replace("\n", " ")
