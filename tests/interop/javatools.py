"""javatools.py: Kafka's command line tools, 3.9.1, as a client of the report card (see card.py).

    javatools.py CLASSES LIBS BOOTSTRAP PREFIX      CLASSES = folder of clients/Tools.java compiled, LIBS = folder of the jars (kafka-start --fetch)

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
TOPICS = TOOLS + "TopicCommand"
OFFSETS = TOOLS + "GetOffsetShell"
CONFIGS = "kafka.admin.ConfigCommand"
RECORDS = TOOLS + "DeleteRecordsCommand"
DIRS = TOOLS + "LogDirsCommand"
ELECTION = TOOLS + "LeaderElectionCommand"
ADMIN = {GROUPS, TOPICS, OFFSETS, CONFIGS, RECORDS, DIRS, ELECTION}  # those that ask once and end
CONSUMER = TOOLS + "consumer.ConsoleConsumer"


def libs():
    """The folder of the jars; fetched when it is not there."""
    done = subprocess.run([os.path.join(HERE, "kafka-start"), "--fetch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())
    return done.stdout.strip()


class Shared:
    """One JVM that runs tools one after the other (clients/Tools.java); another one after a tool that did not end."""

    def __init__(self, classpath):
        self.argv, self.p = ["java", "-Xmx256m", "-cp", classpath, "Tools"], None

    def run(self, words):
        if not self.p:
            self.p = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        watch = threading.Timer(300, self.p.kill)
        watch.start()
        try:
            self.p.stdin.write("\t".join(words).encode() + b"\n")
            self.p.stdin.flush()
            status, length = self.p.stdout.readline().split()
            return int(status), self.p.stdout.read(int(length))
        except (OSError, ValueError):
            self.p.kill()
            self.p.wait()
            self.p = None
            raise OSError("%s did not end within 300 s" % words[0]) from None
        finally:
            watch.cancel()


class Tools:
    def __init__(self, classes, jars, bootstrap, prefix):
        self.jars, self.bootstrap, self.topic, self.group = jars, bootstrap, prefix + "tools-topic", prefix + "tools-group"
        self.shared = Shared("%s:%s:%s/*" % (classes, jars, jars))
        self.tmp = tempfile.mkdtemp(prefix="klamm-tools-")

    def file(self, name, text):
        path = os.path.join(self.tmp, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def start(self, cls, *args, server="--bootstrap-server", **more):
        argv = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", "%s:%s/*" % (self.jars, self.jars), cls] + ([server, self.bootstrap] if server else [])
        return subprocess.Popen(argv + list(args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)

    def once(self, cls, *args, data=None, server="--bootstrap-server"):
        if cls in ADMIN:
            return self.shared.run([cls, server, self.bootstrap, *args])
        p = self.start(cls, *args, server=server, stdin=subprocess.PIPE)
        try:
            out, _ = p.communicate(data, timeout=300)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            raise
        return p.returncode, out

    def run(self, *args, **more):
        for _ in range(3):  # on a busy machine a tool may not even connect within its own limit
            status, out = self.once(*args, **more)
            if b"Timed out waiting for a node assignment" not in out:
                break
        return {"exit": status, "out": self.plain(out.decode(errors="replace"))}

    def groups(self, *args, only=None):
        """kafka-consumer-groups; its own limit of 5 s would end it with an empty answer and status 0. Of the lines those with `only`."""
        done = self.run(GROUPS, "--timeout", "60000", *args)
        return {"exit": done["exit"], "out": sorted(line for line in done["out"] if not only or only in line)}

    def create(self, name, partitions=1):
        return self.run(TOPICS, "--create", "--topic", name, "--partitions", str(partitions), "--replication-factor", "1")["exit"]

    def plain(self, text):
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", text)
        text = re.sub(r"TopicId: \S+", "TopicId: ID", text)
        text = re.sub(r"\b%s\b" % self.bootstrap.split(":")[1], "PORT", text)
        lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.splitlines()]
        lines = [line for line in lines if line and "(ended)" not in line and not re.match(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]|\[\d{4}|at |\.\.\. \d+ more|OpenJDK|Picked up)", line)]
        return [re.sub(r"^Caused by: ", "", line) for line in lines]

    # ---- scenarios ----

    def create_topic(self):
        config = ("--config", "retention.ms=123456789")
        return {"create": self.run(TOPICS, "--create", "--topic", self.topic, "--partitions", "2", "--replication-factor", "1", *config),
                "again": self.run(TOPICS, "--create", "--topic", self.topic)["exit"], "describe": self.run(TOPICS, "--describe", "--topic", self.topic),
                "if not exists": self.run(TOPICS, "--create", "--if-not-exists", "--topic", self.topic),
                "listed": self.topic in self.run(TOPICS, "--list")["out"], "exclude": self.run(TOPICS, "--describe", "--unavailable-partitions"),
                "unknown": self.run(TOPICS, "--describe", "--topic", "no-such")}

    def console(self):
        text = "".join("h:1\tkey%d\t%s\n" % (i % 7, "<null>" if i % 10 == 3 else "value %d" % i) for i in range(100)).encode()
        out = {}
        parse = ("--property", "parse.key=true", "--property", "parse.headers=true", "--property", "null.marker=<null>")
        show = [x for p in ("key", "headers", "offset", "partition") for x in ("--property", "print.%s=true" % p)] + ["--property", "null.literal=<null>"]
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            name = "%s-%s" % (self.topic, codec)
            self.create(name)
            sent = self.run("kafka.tools.ConsoleProducer", "--topic", name, "--compression-codec", codec, *parse, data=text)
            read = self.run(CONSUMER, "--topic", name, "--from-beginning", "--max-messages", "100", "--timeout-ms", "60000", *show)
            out[codec] = {"sent": sent["exit"], "lines": len(read["out"]), "read": read["out"][-3:]}
        at = self.run(CONSUMER, "--topic", name, "--partition", "0", "--offset", "95", "--max-messages", "3", "--timeout-ms", "60000", *show)
        return dict(out, at=at)

    def group_reads(self):
        self.run("kafka.tools.ConsoleProducer", "--topic", self.topic, "--property", "parse.key=true", data="".join("k%d\tv%d\n" % (i, i) for i in range(50)).encode())
        read = self.run(CONSUMER, "--topic", self.topic, "--group", self.group, "--from-beginning", "--max-messages", "50", "--timeout-ms", "60000")
        again = self.run(CONSUMER, "--topic", self.topic, "--group", self.group, "--timeout-ms", "10000")
        return {"first": sorted(read["out"]), "again": again["out"]}

    def with_member(self, fn):
        """While a console consumer is the member of a group of its own, whose name is given."""
        name = self.group + "-live"
        live = self.start(CONSUMER, "--topic", self.topic, "--group", name, "--from-beginning", "--consumer-property", "client.id=watched")
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(live.stdout.readline, b"")))
        reader.start()
        try:
            if not until(lambda: any("watched" in line and line.endswith(" 2") for line in self.groups("--describe", "--members", "--group", name)["out"])):
                return {}
            return fn(name)
        finally:
            live.terminate()
            live.wait(60)
            reader.join(10)

    def list_groups(self):
        def listed(*how):
            return self.groups("--list", *how, only=self.group)
        return self.with_member(lambda _: {" ".join(how): listed(*how) for how in ((), ("--state",), ("--state", "Stable"), ("--state", "empty,dead"), ("--type",), ("--type", "classic"))})

    def describe_groups(self):
        def described(live):
            forms = {"offsets": ("--group", self.group), "offsets, named": ("--offsets", "--group", self.group), "state": ("--state", "--group", live), "of an empty one": ("--state", "--group", self.group),
                     "members": ("--members", "--group", live), "members, verbose": ("--members", "--verbose", "--group", live), "no members": ("--members", "--group", self.group),
                     "two": ("--state", "--group", live, "--group", self.group), "unknown": ("--group", "no-such")}
            out = {label: self.groups("--describe", *how) for label, how in forms.items()}
            out["all"] = self.groups("--describe", "--all-groups", "--offsets", only=self.group + " ")
            return out
        return self.with_member(described)

    def reset(self):
        """Every form, as a dry run and carried out."""
        out, one = {}, ("--group", self.group, "--topic", self.topic)

        def dry(label, *how):
            out[label] = self.groups("--reset-offsets", *how)
        for label, how in (("earliest", ["--to-earliest"]), ("latest", ["--to-latest"]), ("current", ["--to-current"]), ("offset", ["--to-offset", "7"]), ("beyond", ["--to-offset", "1000"]),
                           ("shift", ["--shift-by", "-2"]), ("shift, far", ["--shift-by", "999"]), ("time", ["--to-datetime", "2020-01-01T00:00:00.000"]),
                           ("time to come", ["--to-datetime", "2050-01-01T00:00:00.000"]), ("duration", ["--by-duration", "PT0S"]), ("long duration", ["--by-duration", "P1000D"])):
            dry(label, *one, *how, "--dry-run")
        dry("all topics", "--group", self.group, "--all-topics", "--to-earliest")
        dry("two partitions", "--group", self.group, "--topic", self.topic + ":0,1", "--to-latest")
        dry("a new group", "--group", self.group + "-new", "--topic", self.topic, "--to-earliest")
        dry("unknown topic", "--group", self.group, "--topic", "no-such", "--to-earliest")
        out["execute"] = self.groups("--reset-offsets", "--group", self.group, "--topic", self.topic + ":0", "--to-offset", "3", "--execute")
        out["export"] = self.groups("--reset-offsets", "--group", self.group, "--all-topics", "--to-current", "--export", "--dry-run")
        path = self.file("offsets.csv", "%s,1,5\n" % self.topic)
        out["from file"] = self.groups("--reset-offsets", "--group", self.group, "--from-file", path, "--execute")
        out["afterwards"] = self.groups("--describe", "--group", self.group)
        out["with a member"] = self.with_member(lambda live: self.groups("--reset-offsets", "--group", live, "--topic", self.topic, "--to-earliest", "--execute"))
        return out

    def delete_offsets(self):
        def of(group, *topics):
            return self.groups("--delete-offsets", "--group", group, *[x for t in topics for x in ("--topic", t)])
        return {"one": of(self.group, self.topic + ":0"), "afterwards": self.groups("--describe", "--group", self.group), "unknown topic": of(self.group, "no-such"),
                "unknown group": of("no-such", self.topic), "with a member": self.with_member(lambda live: of(live, self.topic))}

    def delete_group(self):
        def delete(*names):
            return self.groups("--delete", *[x for n in names for x in ("--group", n)])
        return {"with a member": self.with_member(delete), "two": delete(self.group, self.group + "-live"), "again": delete(self.group), "listed": self.group in self.groups("--list")["out"]}

    def configs(self):
        topic = ("--entity-type", "topics", "--entity-name", self.topic)

        def alter(*how):
            return self.run(CONFIGS, "--alter", *topic, *how)
        return {"add": alter("--add-config", "segment.bytes=5000000,max.message.bytes=20000"), "describe": self.run(CONFIGS, "--describe", *topic),
                "delete": alter("--delete-config", "segment.bytes"), "afterwards": self.run(CONFIGS, "--describe", *topic), "bad": alter("--add-config", "segment.bytes=x"),
                "unknown key": alter("--add-config", "no.such=1"), "delete what is not there": alter("--delete-config", "segment.ms"),
                "from a file": alter("--add-config-file", self.file("add.properties", "segment.ms=7654321\n")), "every topic": self.mine(self.run(CONFIGS, "--describe", "--entity-type", "topics")),
                "unknown topic": self.run(CONFIGS, "--describe", "--entity-type", "topics", "--entity-name", "no-such"),
                "all": [line for line in self.run(CONFIGS, "--describe", "--all", *topic)["out"] if re.match(r"(retention|segment|max\.message|cleanup|min\.insync)", line)]}

    def mine(self, said):
        at = [i for i, line in enumerate(said["out"]) if line.startswith("Dynamic configs for topic %s are" % self.topic)]
        return [said["exit"], said["out"][at[0]:at[0] + 3] if at else said["out"]]

    def broker_configs(self):
        broker = ("--entity-type", "brokers", "--entity-name", "1")
        out = {"add": self.run(CONFIGS, "--alter", *broker, "--add-config", "log.retention.ms=77777777"), "described": self.run(CONFIGS, "--describe", *broker),
               "read-only": self.run(CONFIGS, "--alter", *broker, "--add-config", "broker.id=7"), "bad": self.run(CONFIGS, "--alter", *broker, "--add-config", "log.retention.ms=x"),
               "all": [line for line in self.run(CONFIGS, "--describe", "--all", *broker)["out"] if re.match(r"(log\.retention\.ms|log\.segment\.bytes|num\.partitions|broker\.id|min\.insync)", line)]}
        out["delete"] = self.run(CONFIGS, "--alter", *broker, "--delete-config", "log.retention.ms")
        out["deleted"] = self.run(CONFIGS, "--describe", *broker)
        out["unknown broker"] = self.run(CONFIGS, "--alter", "--entity-type", "brokers", "--entity-name", "99", "--add-config", "log.retention.ms=1")["exit"]
        return out

    def broker_defaults(self):
        every = ("--entity-type", "brokers", "--entity-default")
        out = {"add": self.run(CONFIGS, "--alter", *every, "--add-config", "log.segment.bytes=88888888,log.retention.ms=66666666"), "described": self.run(CONFIGS, "--describe", *every),
               "as a broker shows it": self.run(CONFIGS, "--describe", "--entity-type", "brokers", "--entity-name", "1")}
        out["delete"] = self.run(CONFIGS, "--alter", *every, "--delete-config", "log.segment.bytes,log.retention.ms")
        out["deleted"] = self.run(CONFIGS, "--describe", *every)
        return out

    def quotas(self):
        out = {}
        for kind in ("clients", "users"):
            entity = ("--entity-type", kind, "--entity-name", self.topic)
            out["add for " + kind] = self.run(CONFIGS, "--alter", *entity, "--add-config", "producer_byte_rate=1048576")
            out["describe " + kind] = self.run(CONFIGS, "--describe", *entity)
            out["delete for " + kind] = self.run(CONFIGS, "--alter", *entity, "--delete-config", "producer_byte_rate")
        return out

    def loggers(self):
        logger = ("--entity-type", "broker-loggers", "--entity-name", "1")
        return {"describe": self.run(CONFIGS, "--describe", *logger)["exit"], "alter": self.run(CONFIGS, "--alter", *logger, "--add-config", "kafka.server.KafkaServer=WARN")["exit"]}

    def alter(self):
        def grow(name, count, *more):
            return self.run(TOPICS, "--alter", "--topic", name, "--partitions", str(count), *more)
        return {"four": grow(self.topic, 4), "fewer": grow(self.topic, 3)["exit"], "as many": grow(self.topic, 4)["exit"], "unknown": grow("no-such", 4)["exit"],
                "if it exists": grow("no-such", 4, "--if-exists"), "where": grow(self.topic, 5, "--replica-assignment", "1,1,1,1,1"), "describe": self.run(TOPICS, "--describe", "--topic", self.topic)}

    def delete_records(self):
        def remove(*rows):
            text = ", ".join('{"topic": "%s", "partition": %d, "offset": %d}' % row for row in rows)
            done = self.run(RECORDS, "--offset-json-file", self.file("delete.json", '{"version": 1, "partitions": [%s]}' % text))
            return {"exit": done["exit"], "out": sorted(done["out"])}

        def at(when):
            return sorted(self.run(OFFSETS, "--topic", self.topic, "--time", when)["out"])
        return {"delete": remove((self.topic, 0, 4), (self.topic, 1, -1)), "begin": at("-2"), "end": at("-1"), "too far": remove((self.topic, 0, 1000)), "unknown": remove(("no-such", 0, 1))["exit"]}

    def offsets(self):
        def shown(*how):
            done = self.run(OFFSETS, *how)
            return [done["exit"], sorted(done["out"])]
        out = {when: shown("--topic", self.topic, "--time", when) for when in ("earliest", "latest", "-1", "-2", "1000", "4102444800000")}
        out["max timestamp"] = len(shown("--topic", self.topic, "--time", "max-timestamp")[1])
        out["one partition"] = shown("--topic", self.topic, "--partitions", "1")
        out["pattern"] = shown("--topic-partitions", self.topic + ":0-1", "--exclude-internal-topics")
        out["unknown"] = shown("--topic", "no-such")
        return out

    def log_dirs(self):
        def shown(*how):
            out = self.run(DIRS, "--describe", *how)
            return {"exit": out["exit"], "out": [re.sub(r'"size":[1-9]\d*', '"size":"some"', re.sub(r'"logDir":"[^"]*"', '"logDir":"D"', line)) for line in out["out"]]}
        return {"topic": shown("--topic-list", self.topic), "broker": shown("--topic-list", self.topic, "--broker-list", "1"), "unknown broker": shown("--broker-list", "99")["exit"]}

    def election(self):
        path = self.file("election.json", '{"partitions": [{"topic": "%s", "partition": 0}]}' % self.topic)

        def elect(*how, kind="preferred"):
            return self.run(ELECTION, "--election-type", kind, *how)
        return {"from a file": elect("--path-to-json-file", path), "by name": elect("--topic", self.topic, "--partition", "0"), "all": elect("--all-topic-partitions")["exit"],
                "unknown": elect("--topic", "no-such", "--partition", "0")["exit"], "unclean, not needed": elect("--topic", self.topic, "--partition", "0", kind="unclean")}

    def verifiable(self):
        name = self.topic + "-verifiable"
        self.create(name)
        sent = self.run(TOOLS + "VerifiableProducer", "--topic", name, "--max-messages", "200", "--acks", "-1")
        read = self.run(TOOLS + "VerifiableConsumer", "--topic", name, "--group-id", self.group + "-v", "--max-messages", "200", "--reset-policy", "earliest")
        kinds = [re.findall(r'"name":"(\w+)"', line) for line in read["out"]]
        counts = [int(n) for line in read["out"] if '"records_consumed"' in line for n in re.findall(r'^.*?"count":(\d+)', line)[:1]]
        return {"sent": sum('"producer_send_success"' in line for line in sent["out"]), "read": sum(counts), "events": sorted({k[0] for k in kinds if k}), "exits": [sent["exit"], read["exit"]]}

    def perf(self):
        name = self.topic + "-perf"
        self.create(name, 2)
        sent = self.run(TOOLS + "ProducerPerformance", "--topic", name, "--num-records", "5000", "--record-size", "200", "--throughput", "-1", "--producer-props",
                        "bootstrap.servers=" + self.bootstrap, "compression.type=lz4", server=None)
        read = self.run(TOOLS + "ConsumerPerformance", "--topic", name, "--messages", "5000", "--timeout", "60000", "--hide-header", "--group", self.group + "-perf")
        e2e = self.run(TOOLS + "EndToEndLatency", self.bootstrap, name + "-e2e", "200", "all", "50", server=None)
        return {"sent": [line.split(" records sent")[0] for line in sent["out"] if "records sent" in line][-1:], "read": [line.split(", ")[4] for line in read["out"] if line.count(", ") > 6],
                "exits": [sent["exit"], read["exit"], e2e["exit"]]}

    def versions(self):
        cluster = self.run(TOOLS + "ClusterTool", "cluster-id", "--bootstrap-server", self.bootstrap, server=None)
        text = self.run("kafka.admin.BrokerApiVersionsCommand")["out"]
        return {"cluster": [re.sub(r"ID: \S+", "ID: X", line) for line in cluster["out"]], "produce": [line for line in text if line.startswith("Produce(0)")]}

    def delete_topic(self):
        gone = self.run(TOPICS, "--delete", "--topic", self.topic)
        return {"delete": gone, "listed": not until(lambda: self.topic not in self.run(TOPICS, "--list")["out"]), "unknown": self.run(TOPICS, "--delete", "--topic", "no-such")["exit"],
                "if it exists": self.run(TOPICS, "--delete", "--if-exists", "--topic", "no-such")}


SCENARIOS = (
    ("kafka-topics --create --describe --list", Tools.create_topic),
    ("console producer and consumer, five codecs", Tools.console),
    ("console consumer with a group", Tools.group_reads),
    ("kafka-consumer-groups --list, by state and type", Tools.list_groups),
    ("kafka-consumer-groups --describe: offsets, members, state", Tools.describe_groups),
    ("kafka-get-offsets", Tools.offsets),
    ("kafka-consumer-groups --reset-offsets, every form", Tools.reset),
    ("kafka-consumer-groups --delete-offsets", Tools.delete_offsets),
    ("kafka-consumer-groups --delete", Tools.delete_group),
    ("kafka-configs, topics", Tools.configs),
    ("kafka-configs, brokers", Tools.broker_configs),
    ("kafka-configs, broker defaults", Tools.broker_defaults),
    ("kafka-configs, clients and users (quotas)", Tools.quotas),
    ("kafka-configs, broker loggers", Tools.loggers),
    ("kafka-topics --alter", Tools.alter),
    ("kafka-delete-records", Tools.delete_records),
    ("kafka-log-dirs", Tools.log_dirs),
    ("kafka-leader-election", Tools.election),
    ("verifiable producer and consumer", Tools.verifiable),
    ("producer, consumer and end to end perf tests", Tools.perf),
    ("kafka-cluster, kafka-broker-api-versions", Tools.versions),
    ("kafka-topics --delete", Tools.delete_topic),
)


def until(condition):
    from scenarios import until as wait
    return wait(condition, 240)


def main():
    tools = Tools(*sys.argv[1:5])
    sys.argv[1:3] = sys.argv[3:5]
    sys.path.insert(0, os.path.join(HERE, "clients"))
    from scenarios import scenario
    for name, fn in SCENARIOS:
        scenario(name, fn, tools)


if __name__ == "__main__":
    main()
