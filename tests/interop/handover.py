#!/usr/bin/env python3
"""handover.py: one broker id, one ZooKeeper, one log directory, in turn served by Kafka 3.9.1 and by Klamm, there and back again.

    tests/interop/handover.py --build DIR [--ports A..B] [--records N] [--only A,B]

Each turn starts the other program on what the last one left, reads every topic (offsets, timestamps, keys, values, headers) and the committed
offsets, compares with what all turns before had written, writes more in every codec, commits, and stops. Ends with `N passed, N failed`.
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

from pair import ALIKE, HERE, Cluster, Failure, Kafka, Options, endable

from cluster import check

import golden
import messages

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
FORMAT = "%p|%o|%T|%k|%S|%s|%h\n"
# The last broker of a cluster leaves its partitions without a leader; the next controller tells it so before it elects. Kafka's brokers say this to each other, too.
NO_COMPLAINT = "cannot become follower since the new leader -1 is unavailable"
COMPLAINT = re.compile(r"\b(ERROR|FATAL)\b|[Cc]orrupt|stray|Rebuilding|recovering segment|IllegalState|NoSuchElement", re.I)


class Handover:
    def __init__(self, tmp, build, ports, name, records):
        self.c = Cluster(Options(tmp, build, ports), name)
        self.records, self.turn, self.told = records, 0, {}
        self.port = self.c.opt.ports.take()
        self.kafka_dir = os.path.join(self.c.dir, "kafka")
        self.data = os.path.join(self.kafka_dir, "data")
        self.c.zk_start()
        conf = dict({k.replace(".", "__"): v for k, v in ALIKE.items()}, log__initial__task__delay__ms="500")
        self.kafka = Kafka(self.kafka_dir, self.port, "127.0.0.1:%d" % self.c.zk_port, **conf)
        self.c.add_controller(101)
        self.c.add_broker(1, port=self.port, log__dirs=self.data, **conf)
        self.topics, self.groups, self.mark = {}, [], 0

    # ---- turns ----

    def zk(self):
        """A session that need not live long."""
        self.c.zk_sessions.clear()
        return self.c.zk()

    def start_kafka(self):
        log = os.path.join(self.kafka_dir, "kafka.log")
        self.mark = os.path.getsize(log) if os.path.exists(log) else 0
        self.kafka.start()
        self.ready()

    def stop_kafka(self, quiet=True):
        self.kafka.stop()
        with open(os.path.join(self.kafka_dir, "kafka.log"), encoding="utf-8", errors="replace") as f:
            f.seek(self.mark)
            said = [line for line in f if COMPLAINT.search(line) and NO_COMPLAINT not in line]
        check(not (quiet and said), "Kafka said: %s", "".join(said[:5]))
        self.free()

    def start_klamm(self):
        for d in (self.c.daemons["controller-101"], self.c.broker(1)):
            d.start()
        self.c.wait_serving()
        self.ready()

    def stop_klamm(self):
        check(self.c.broker(1).term(60) == 0, "brokerd ends with 0 after SIGTERM")
        check(self.c.daemons["controller-101"].term(60) == 0, "controllerd ends with 0 after SIGTERM")
        said = self.c.reports()
        check(not said, "%s", said)
        self.free()

    def free(self):
        """Nothing is left that would keep the other from starting."""
        z = self.zk()
        self.c.until(lambda: z.get("/controller")[0] is None and not z.children("/brokers/ids"), "/controller and the broker's node are gone", 60)
        for name in os.listdir(self.data):
            path = os.path.join(self.data, name)
            check(not os.path.isdir(path) or re.fullmatch(r".*-\d+", name), "a folder that Kafka does not know: %s", name)
        self.epochs()

    def epochs(self):
        """Epochs only grow, and the log's own are not ahead of ZooKeeper's."""
        z = self.zk()
        now = {"controller": int(z.get("/controller_epoch")[0])}
        for topic in z.children("/brokers/topics"):
            for p in z.children("/brokers/topics/%s/partitions" % topic):
                state = json.loads(z.get("/brokers/topics/%s/partitions/%s/state" % (topic, p))[0])
                now[topic, p] = state["leader_epoch"]
                folder = os.path.join(self.data, "%s-%s" % (topic, p))
                rows = golden.read_text(folder, "leader-epoch-checkpoint").split("\n")[2:]
                last = max([int(r.split()[0]) for r in rows if r.strip()] or [-1])
                check(last <= state["leader_epoch"], "%s-%s: epoch %d in the log, %d in ZooKeeper", topic, p, last, state["leader_epoch"])
                topic_id = json.loads(z.get("/brokers/topics/" + topic)[0])["topic_id"]
                check("topic_id: %s" % topic_id in golden.read_text(folder, "partition.metadata"), "partition.metadata of %s-%s names another topic than %s", topic, p, topic_id)
        for key, epoch in self.told.items():
            check(now.get(key, epoch) >= epoch, "epoch of %s was %d, is %d", key, epoch, now.get(key, -1))
        self.told = now

    # ---- clients ----

    def client(self):
        return messages.Client(self.port, messages.load_apis())

    def ready(self):
        """Every partition has a leader that serves."""
        def serves():
            try:
                c = self.client()
                for topic, partitions in self.topics.items():
                    q = {"replica_id": -1, "topics": [{"name": topic, "partitions": [{"partition_index": p, "timestamp": -1} for p in range(partitions)]}]}
                    if any(p["error_code"] for p in c.ask("ListOffsets", 5, q)["topics"][0]["partitions"]):
                        return False
                c.close()
                return True
            except OSError:
                return False
        self.c.until(serves, "all partitions serve", 60)

    def create(self, name, partitions, **configs):
        c = self.client()
        answer = c.ask("CreateTopics", 5, {"topics": [{"name": name, "num_partitions": partitions, "replication_factor": 1, "configs": [
            {"name": k.replace("__", "."), "value": str(v)} for k, v in configs.items()]}], "timeout_ms": 10000})
        c.close()
        check(answer["topics"][0]["error_code"] == 0, "%s: %s", name, answer)
        self.topics[name] = partitions
        self.ready()

    def kcat(self, *args, data=None):
        done = subprocess.run(["kcat", "-b", "127.0.0.1:%d" % self.port, *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, check=False)
        check(done.returncode == 0, "kcat %s: %s", " ".join(args), done.stderr[-600:].decode(errors="replace"))
        return done.stdout.decode()

    def write(self):
        """More records into each codec's topic; keys, values null and empty, headers, an idempotent producer."""
        self.turn += 1
        for codec in CODECS:
            text = "".join("key%d\t%s\n" % (i % 97, "" if i % 10 == 3 else "turn %d record %d %s" % (self.turn, i, "x" * (i % 90))) for i in range(self.records))
            self.kcat("-P", "-t", "codec-" + codec, "-K", "\t", "-Z", "-z", codec, "-H", "turn=%d" % self.turn, "-H", "b=", "-X", "acks=all", "-X", "batch.size=16000", "-X",
                "enable.idempotence=true", data=text.encode())

    def read(self):
        return {t: self.kcat("-C", "-t", t, "-o", "beginning", "-e", "-q", "-X", "check.crcs=true", "-f", FORMAT).splitlines() for t in self.topics}

    def ends(self):
        c, out = self.client(), {}
        for topic, partitions in self.topics.items():
            for when in (-1, -2, -3):
                q = {"replica_id": -1, "topics": [{"name": topic, "partitions": [{"partition_index": p, "timestamp": when} for p in range(partitions)]}]}
                out[topic, when] = sorted((p["partition_index"], p["error_code"], p["offset"], p["timestamp"]) for p in c.ask("ListOffsets", 7, q)["topics"][0]["partitions"])
        c.close()
        return out

    def same(self, before, before_ends):
        now = self.read()
        for topic, lines in before.items():
            bad = [(a, b) for a, b in zip(sorted(lines), sorted(now[topic])) if a != b][:1]
            check(len(lines) == len(now[topic]) and not bad, "%s: %d records were there, %d are; first difference %s", topic, len(lines), len(now[topic]), bad)
        ends = self.ends()
        check(ends == before_ends, "ends: %s", [(k, before_ends[k], ends[k]) for k in ends if ends[k] != before_ends[k]][:3])

    # ---- groups ----

    def commit(self, group):
        c = self.client()
        for topic, partitions in self.topics.items():
            q = {"group_id": group, "generation_id_or_member_epoch": -1, "member_id": "", "topics": [{"name": topic, "partitions": [
                {"partition_index": p, "committed_offset": 10 * self.turn + p, "committed_leader_epoch": -1, "committed_metadata": "turn %d" % self.turn} for p in range(partitions)]}]}
            answer = c.ask("OffsetCommit", 7, q)
            check(not any(p["error_code"] for p in answer["topics"][0]["partitions"]), "commit: %s", answer)
        c.close()
        if group not in self.groups:
            self.groups.append(group)

    def committed(self):
        """What kafka-consumer-groups shows, and the metadata that it does not."""
        out = {}
        c = self.client()
        for group in self.groups:
            def fetched(group=group):
                answer = c.ask("OffsetFetch", 7, {"group_id": group, "topics": None})
                return None if answer["error_code"] in (14, 15, 16) else answer
            answer = self.c.until(fetched, "the coordinator of %s" % group, 60)
            check(answer["error_code"] == 0, "%s: %s", group, answer)
            out[group] = sorted((t["name"], p["partition_index"], p["committed_offset"], p["metadata"]) for t in answer["topics"] for p in t["partitions"])
            # its own limit of 5 s ends it with an empty answer and status 0
            text = self.java("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--timeout", "60000", "--describe", "--group", group)
            rows = [line.split()[:6] for line in text.splitlines() if line.split()[:1] == [group]]
            out[group, "tool"] = sorted(rows)
            check(rows or not out[group], "kafka-consumer-groups shows nothing of %s: %s", group, text)
        c.close()
        return out

    def java(self, cls, *args):
        libs = subprocess.run([os.path.join(HERE, "kafka-start"), "--fetch"], stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout.strip()
        done = subprocess.run(["java", "-Xmx256m", "-cp", "%s:%s/*" % (libs, libs), cls, "--bootstrap-server", "127.0.0.1:%d" % self.port, *args], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", timeout=300, check=False)
        check(done.returncode == 0, "%s: %s", cls, done.stdout[-800:])
        return done.stdout

    def offers(self, key):
        c = self.client()
        answer = c.ask("ApiVersions", 0, {})
        c.close()
        return any(r["api_key"] == key for r in answer["api_keys"])

    def finish(self):
        self.kafka.stop()
        self.c.stop()


# ---- cases ----

def furnish(h):
    for codec in CODECS:
        h.create("codec-" + codec, 2, segment__bytes=30000, index__interval__bytes=1000)
    h.create("append-time", 1, message__timestamp__type="LogAppendTime")
    h.create("empty", 3)
    h.kcat("-P", "-t", "append-time", data=b"a\nb\n")
    h.write()


def there_and_back(h):
    """Kafka, Klamm, Kafka, Klamm, Kafka: each stopped in good order."""
    h.start_kafka()
    furnish(h)
    before, ends = h.read(), h.ends()
    h.stop_kafka()
    for who in ("klamm", "kafka", "klamm", "kafka"):
        getattr(h, "start_" + who)()
        h.same(before, ends)
        h.write()
        if who == "klamm":
            h.create("made-by-klamm-%d" % h.turn, 2)
            h.kcat("-P", "-t", "made-by-klamm-%d" % h.turn, "-z", "lz4", data=b"1\n2\n3\n")
        before, ends = h.read(), h.ends()
        getattr(h, "stop_" + who)()


def killed(h):
    """Klamm dies by kill -9, controller and all; Kafka recovers what it left. Then Kafka dies so, and Klamm recovers."""
    h.start_kafka()
    furnish(h)
    h.stop_kafka()
    h.start_klamm()
    h.write()
    before, ends = h.read(), h.ends()
    h.c.broker(1).kill()
    h.c.daemons["controller-101"].kill()
    z = h.zk()
    h.c.until(lambda: z.get("/controller")[0] is None and not z.children("/brokers/ids"), "the sessions of the dead expire", 60)
    h.start_kafka()
    h.same(before, ends)
    h.write()
    before, ends = h.read(), h.ends()
    with open(os.path.join(h.kafka_dir, "kafka.pid"), encoding="ascii") as f:
        os.kill(int(f.read().split()[0]), 9)
    z = h.zk()
    h.c.until(lambda: z.get("/controller")[0] is None and not z.children("/brokers/ids"), "the session of the dead expires", 60)
    h.start_klamm()
    h.same(before, ends)
    h.write()
    before, ends = h.read(), h.ends()
    h.stop_klamm()
    h.start_kafka()
    h.same(before, ends)
    h.stop_kafka()


def groups(h):
    """Committed offsets go on, whoever coordinates."""
    h.start_kafka()
    furnish(h)
    c = h.client()
    h.c.until(lambda: c.ask("FindCoordinator", 2, {"key": "by-kafka", "key_type": 0})["error_code"] == 0, "Kafka's coordinator", 60)
    c.close()
    h.commit("by-kafka")
    before = h.committed()
    h.stop_kafka()
    for who in ("klamm", "kafka", "klamm", "kafka"):
        getattr(h, "start_" + who)()
        now = h.committed()
        check(now == before, "committed offsets: were %s, are %s", before, now)
        h.write()
        h.commit("by-kafka")
        h.commit("by-%s-%d" % (who, h.turn))
        before = h.committed()
        getattr(h, "stop_" + who)()


CASES = {f.__name__: f for f in (there_and_back, killed, groups)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--ports", default="20000..32000", metavar="A..B")
    parser.add_argument("--records", type=int, default=2000, help="in each codec and turn")
    parser.add_argument("--only", help="of " + ", ".join(CASES))
    args = parser.parse_args()
    endable()
    tmp = tempfile.mkdtemp(prefix="klamm-handover-")
    passed = failed = 0
    for name, case in CASES.items():
        if args.only and name not in args.only.split(","):
            continue
        began, h = time.monotonic(), None
        try:
            h = Handover(tmp, args.build, args.ports, name, args.records)
            case(h)
            passed += 1
            print("ok handover.%s (%.0f s)" % (name, time.monotonic() - began), flush=True)
        except (Failure, OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as e:
            failed += 1
            print("FAILED handover.%s\n    turn %d: %s: %s" % (name, h.turn if h else 0, type(e).__name__, str(e)[:2000]), flush=True)
        finally:
            if h:
                h.finish()
    if failed:
        print("(folder: %s)" % tmp, file=sys.stderr)
    else:
        shutil.rmtree(tmp, ignore_errors=True)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
