"""kcat: the scenarios of the report card that it has: topics by auto creation, every codec, a group by -G, offsets, metadata."""
import json
import signal
import subprocess

from scenarios import COUNT, bootstrap, digest, plain, prefix, record, scenario


def kcat(*args, data=None, timeout=60):
    done = subprocess.run(["kcat", "-b", bootstrap, *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)
    return {"exit": done.returncode, "out": done.stdout.decode()}


def produce(codec):
    name = prefix + "kcat-" + codec
    text = b"".join(record(i)[0] + b"\t" + (record(i)[1] or b"") + b"\n" for i in range(COUNT))
    sent = kcat("-P", "-t", name, "-K", "\t", "-Z", "-z", codec, "-H", "h=1", "-X", "acks=all", "-X", "enable.idempotence=true", data=text)
    got = kcat("-C", "-t", name, "-o", "beginning", "-e", "-q", "-X", "check.crcs=true", "-f", "%p %o %k %S %s %h\n")
    return {"sent": sent["exit"], "read": digest(got["out"].splitlines()), "lines": got["out"].count("\n")}


def consume_group():
    name, group = prefix + "kcat-none", prefix + "kcat-group"
    read = [kcat("-G", group, "-X", "auto.offset.reset=earliest", "-X", "enable.partition.eof=true", "-X", "session.timeout.ms=6000", "-e", "-q", "-f", "%o\n", name) for _ in (1, 2)]
    return {"first": digest(read[0]["out"].splitlines()), "second": read[1]["out"], "exits": [r["exit"] for r in read]}


def rebalance():
    name, group, running = prefix + "kcat-none", prefix + "kcat-two", []

    def begin():
        running.append(subprocess.Popen(["kcat", "-b", bootstrap, "-G", group, "-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=300", name], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE))
        return running[-1]

    def owns(p, what):
        line = b""
        while what not in line:
            line = p.stderr.readline()
            if not line:
                return False
        return True
    first = begin()
    out = {"first": owns(first, b"assigned: " + name.encode())}
    second = begin()
    out["the first is asked again"] = owns(first, b"rebalanced")
    out["the second has its share"] = owns(second, b"assigned")
    for p in running:
        p.send_signal(signal.SIGINT)
    out["ends"] = [p.wait(30) for p in running]
    return out


def query():
    name = prefix + "kcat-none"
    return {w: kcat("-Q", "-t", "%s:0:%s" % (name, w))["out"].strip() for w in ("-1", "-2", "1000", "99999999999999")}


def metadata():
    rows = json.loads(kcat("-L", "-J", "-t", prefix + "kcat-none")["out"])
    return {"brokers": plain(rows["brokers"]), "topics": rows["topics"], "controller": rows["controllerid"]}


for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    scenario("create topic by use, produce and read " + codec, produce, codec)
scenario("consume in a group, commit and resume (-G)", consume_group)
scenario("second member joins and leaves (-G)", rebalance)
scenario("query offsets (-Q)", query)
scenario("list (-L)", metadata)
