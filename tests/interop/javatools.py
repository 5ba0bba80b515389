"""javatools.py: Kafka's command line tools, 3.9.1, as a client of the report card (see card.py).

    javatools.py LIBS BOOTSTRAP PREFIX      LIBS = folder of the jars (kafka-start --fetch)

What a tool prints is the outcome, without times, ids, ports and folders.
"""
import os
import re
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = "org.apache.kafka.tools."
GROUPS = TOOLS + "consumer.group.ConsumerGroupCommand"
CONSUMER = TOOLS + "consumer.ConsoleConsumer"


def libs():
    """The folder of the jars; fetched when it is not there."""
    done = subprocess.run([os.path.join(HERE, "kafka-start"), "--fetch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())
    return done.stdout.strip()


class Tools:
    def __init__(self, jars, bootstrap, prefix):
        self.jars, self.bootstrap, self.topic, self.group = jars, bootstrap, prefix + "tools-topic", prefix + "tools-group"
        self.tmp = tempfile.mkdtemp(prefix="klamm-tools-")

    def file(self, name, text):
        path = os.path.join(self.tmp, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def start(self, cls, *args, server="--bootstrap-server", **more):
        argv = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", "%s:%s/*" % (self.jars, self.jars), cls] + ([server, self.bootstrap] if server else []) + list(args)
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)

    def run(self, cls, *args, data=None, server="--bootstrap-server"):
        for _ in range(3):  # on a busy machine a tool may not even connect within its own limit
            p = self.start(cls, *args, server=server, stdin=subprocess.PIPE)
            out, _ = p.communicate(data, timeout=120)
            if b"Timed out waiting for a node assignment" not in out:
                break
        return {"exit": p.returncode, "out": self.plain(out.decode(errors="replace"))}

    def plain(self, text):
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", text)
        text = re.sub(r"TopicId: \S+", "TopicId: ID", text)
        text = text.replace(self.bootstrap.split(":")[1], "PORT")
        lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not re.match(r"^(\d{4}-\d\d-\d\d|\[\d{4}|at |OpenJDK|Picked up)", line)]
        return [re.sub(r"^Caused by: ", "", line) for line in lines]

    # ---- scenarios ----

    def create_topic(self):
        tool = TOOLS + "TopicCommand"
        return {"create": self.run(tool, "--create", "--topic", self.topic, "--partitions", "2", "--replication-factor", "1", "--config", "retention.ms=123456789"),
                "again": self.run(tool, "--create", "--topic", self.topic)["exit"], "describe": self.run(tool, "--describe", "--topic", self.topic),
                "listed": self.topic in self.run(tool, "--list")["out"], "exclude": self.run(tool, "--describe", "--unavailable-partitions")}

    def console(self):
        text = "".join("h:1\tkey%d\t%s\n" % (i % 7, "<null>" if i % 10 == 3 else "value %d" % i) for i in range(100)).encode()
        out = {}
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            name = "%s-%s" % (self.topic, codec)
            self.run(TOOLS + "TopicCommand", "--create", "--topic", name, "--partitions", "1", "--replication-factor", "1")
            sent = self.run("kafka.tools.ConsoleProducer", "--topic", name, "--compression-codec", codec, "--property", "parse.key=true", "--property", "parse.headers=true", "--property",
                            "null.marker=<null>", data=text)
            read = self.run(CONSUMER, "--topic", name, "--from-beginning", "--max-messages", "100", "--timeout-ms", "20000", "--property", "print.key=true", "--property", "print.headers=true",
                            "--property", "print.offset=true", "--property", "print.partition=true", "--property", "null.literal=<null>")
            out[codec] = {"sent": sent["exit"], "lines": len(read["out"]), "read": read["out"][-3:]}
        return out

    def fill(self, n=50):
        self.run("kafka.tools.ConsoleProducer", "--topic", self.topic, "--property", "parse.key=true", data="".join("k%d\tv%d\n" % (i, i) for i in range(n)).encode())

    def group_reads(self):
        self.fill()
        read = self.run(CONSUMER, "--topic", self.topic, "--group", self.group, "--from-beginning", "--max-messages", "50", "--timeout-ms", "20000")
        again = self.run(CONSUMER, "--topic", self.topic, "--group", self.group, "--timeout-ms", "5000")
        return {"first": sorted(read["out"]), "again": again["out"]}

    def groups(self):
        live = self.start(CONSUMER, "--topic", self.topic, "--group", self.group + "-live", "--from-beginning", "--consumer-property", "client.id=watched")
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(live.stdout.readline, b"")))
        reader.start()
        try:
            for _ in range(40):
                members = self.run(GROUPS, "--describe", "--members", "--verbose", "--group", self.group + "-live")
                if any("watched" in line for line in members["out"]) and not any("rebalancing" in line for line in members["out"]):
                    break
            return {"list": sorted(line for line in self.run(GROUPS, "--list")["out"] if self.group in line), "states": sorted(line for line in self.run(GROUPS, "--list", "--state")["out"] if self.group in line),
                    "offsets": sorted(self.run(GROUPS, "--describe", "--group", self.group)["out"]), "members": members, "state": self.run(GROUPS, "--describe", "--state", "--group", self.group + "-live"),
                    "unknown": self.run(GROUPS, "--describe", "--group", "no-such")}
        finally:
            live.terminate()
            live.wait(30)
            reader.join(10)

    def reset(self):
        out = {}
        for label, how in (("earliest", ["--to-earliest"]), ("latest", ["--to-latest"]), ("offset", ["--to-offset", "7"]), ("shift", ["--shift-by", "-2"]), ("time", ["--to-datetime", "2020-01-01T00:00:00.000"]),
                           ("duration", ["--by-duration", "PT0S"])):
            out["dry " + label] = sorted(self.run(GROUPS, "--reset-offsets", "--group", self.group, "--topic", self.topic, *how)["out"])
        out["execute"] = sorted(self.run(GROUPS, "--reset-offsets", "--group", self.group, "--topic", self.topic + ":0", "--to-offset", "3", "--execute")["out"])
        out["afterwards"] = sorted(self.run(GROUPS, "--describe", "--group", self.group)["out"])
        out["delete offsets"] = self.run(GROUPS, "--delete-offsets", "--group", self.group, "--topic", self.topic + ":0")
        out["delete"] = self.run(GROUPS, "--delete", "--group", self.group)
        out["deleted again"] = self.run(GROUPS, "--delete", "--group", self.group)
        return out

    def configs(self):
        tool, topic, broker = "kafka.admin.ConfigCommand", ("--entity-type", "topics", "--entity-name", self.topic), ("--entity-type", "brokers", "--entity-name", "1")
        out = {"add": self.run(tool, "--alter", *topic, "--add-config", "segment.bytes=5000000,max.message.bytes=20000"), "describe": self.run(tool, "--describe", *topic),
               "delete": self.run(tool, "--alter", *topic, "--delete-config", "segment.bytes"), "afterwards": self.run(tool, "--describe", *topic), "bad": self.run(tool, "--alter", *topic, "--add-config", "segment.bytes=x")["exit"],
               "all": [line for line in self.run(tool, "--describe", "--all", *topic)["out"] if re.match(r"(retention|segment|max\.message|cleanup|min\.insync)", line)]}
        out["broker"] = self.run(tool, "--alter", *broker, "--add-config", "log.retention.ms=77777777")
        out["broker, described"] = self.run(tool, "--describe", *broker)
        out["default"] = self.run(tool, "--alter", "--entity-type", "brokers", "--entity-default", "--add-config", "log.segment.bytes=88888888")
        out["default, described"] = self.run(tool, "--describe", "--entity-type", "brokers", "--entity-default")
        self.run(tool, "--alter", *broker, "--delete-config", "log.retention.ms")
        self.run(tool, "--alter", "--entity-type", "brokers", "--entity-default", "--delete-config", "log.segment.bytes")
        out["broker, deleted"] = self.run(tool, "--describe", *broker)
        return out

    def alter(self):
        tool = TOOLS + "TopicCommand"
        return {"four": self.run(tool, "--alter", "--topic", self.topic, "--partitions", "4"), "fewer": self.run(tool, "--alter", "--topic", self.topic, "--partitions", "3")["exit"],
                "describe": self.run(tool, "--describe", "--topic", self.topic)}

    def delete_records(self):
        path = self.file("delete.json", '{"version": 1, "partitions": [{"topic": "%s", "partition": 0, "offset": 4}, {"topic": "%s", "partition": 1, "offset": -1}]}' % (self.topic, self.topic))
        return {"delete": sorted(self.run(TOOLS + "DeleteRecordsCommand", "--offset-json-file", path)["out"]),
                "begin": sorted(self.run(TOOLS + "GetOffsetShell", "--topic", self.topic, "--time", "-2")["out"]), "end": sorted(self.run(TOOLS + "GetOffsetShell", "--topic", self.topic, "--time", "-1")["out"])}

    def offsets(self):
        return {when: sorted(self.run(TOOLS + "GetOffsetShell", "--topic", self.topic, "--time", when)["out"]) for when in ("earliest", "latest", "1000")}

    def log_dirs(self):
        out = self.run(TOOLS + "LogDirsCommand", "--describe", "--topic-list", self.topic)
        shown = [re.sub(r'"size":[1-9]\d*', '"size":"some"', re.sub(r'"logDir":"[^"]*"', '"logDir":"D"', line)) for line in out["out"]]
        return {"exit": out["exit"], "out": shown}

    def election(self):
        path = self.file("election.json", '{"partitions": [{"topic": "%s", "partition": 0}]}' % self.topic)
        return {"one": self.run(TOOLS + "LeaderElectionCommand", "--election-type", "preferred", "--path-to-json-file", path), "by name": self.run(TOOLS + "LeaderElectionCommand", "--election-type",
                "preferred", "--topic", self.topic, "--partition", "0"), "unknown": self.run(TOOLS + "LeaderElectionCommand", "--election-type", "preferred", "--topic", "no-such", "--partition", "0")["exit"]}

    def verifiable(self):
        name = self.topic + "-verifiable"
        self.run(TOOLS + "TopicCommand", "--create", "--topic", name, "--partitions", "1", "--replication-factor", "1")
        sent = self.run(TOOLS + "VerifiableProducer", "--topic", name, "--max-messages", "200", "--acks", "-1")
        read = self.run(TOOLS + "VerifiableConsumer", "--topic", name, "--group-id", self.group + "-v", "--max-messages", "200", "--reset-policy", "earliest")
        kinds = [re.findall(r'"name":"(\w+)"', line) for line in read["out"]]
        return {"sent": sum('"producer_send_success"' in line for line in sent["out"]), "read": sum(int(n) for line in read["out"] if '"records_consumed"' in line for n in re.findall(r'^.*?"count":(\d+)', line)[:1]),
                "events": sorted({k[0] for k in kinds if k}), "exits": [sent["exit"], read["exit"]]}

    def perf(self):
        name = self.topic + "-perf"
        self.run(TOOLS + "TopicCommand", "--create", "--topic", name, "--partitions", "2", "--replication-factor", "1")
        sent = self.run(TOOLS + "ProducerPerformance", "--topic", name, "--num-records", "5000", "--record-size", "200", "--throughput", "-1", "--producer-props", "bootstrap.servers=" + self.bootstrap,
                        "compression.type=lz4", server=None)
        read = self.run(TOOLS + "ConsumerPerformance", "--topic", name, "--messages", "5000", "--timeout", "20000", "--hide-header", "--group", self.group + "-perf")
        e2e = self.run(TOOLS + "EndToEndLatency", self.bootstrap, name + "-e2e", "200", "all", "50", server=None)
        return {"sent": [line.split(" records sent")[0] for line in sent["out"] if "records sent" in line][-1:], "read": [line.split(", ")[4] for line in read["out"] if line.count(", ") > 6],
                "exits": [sent["exit"], read["exit"], e2e["exit"]]}

    def versions(self):
        cluster = self.run(TOOLS + "ClusterTool", "cluster-id")
        text = self.run("kafka.admin.BrokerApiVersionsCommand")["out"]
        return {"cluster": [re.sub(r"ID: \S+", "ID: X", line) for line in cluster["out"]], "produce": [line for line in text if line.startswith("Produce(0)")]}

    def delete_topic(self):
        tool = TOOLS + "TopicCommand"
        return {"delete": self.run(tool, "--delete", "--topic", self.topic), "listed": self.topic in self.run(tool, "--list")["out"], "unknown": self.run(tool, "--delete", "--topic", "no-such")["exit"]}


SCENARIOS = (("kafka-topics --create --describe --list", Tools.create_topic), ("console producer and consumer, five codecs", Tools.console), ("console consumer with a group", Tools.group_reads),
             ("kafka-consumer-groups --list --describe", Tools.groups), ("kafka-get-offsets", Tools.offsets), ("kafka-consumer-groups --reset-offsets --delete", Tools.reset), ("kafka-configs", Tools.configs), ("kafka-topics --alter", Tools.alter),
             ("kafka-delete-records", Tools.delete_records), ("kafka-log-dirs", Tools.log_dirs), ("kafka-leader-election", Tools.election), ("verifiable producer and consumer", Tools.verifiable),
             ("perf tests", Tools.perf), ("kafka-cluster, kafka-broker-api-versions", Tools.versions), ("kafka-topics --delete", Tools.delete_topic))


def main():
    tools = Tools(*sys.argv[1:4])
    sys.argv[1:3] = sys.argv[2:4]
    sys.path.insert(0, os.path.join(HERE, "clients"))
    from scenarios import scenario
    for name, fn in SCENARIOS:
        scenario(name, fn, tools)


if __name__ == "__main__":
    main()
