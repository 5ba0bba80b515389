#!/usr/bin/env python3
"""measure_groups.py: what groups cost: figures for docs/reports/groups.md.

    tests/cluster/measure_groups.py --build DIR [--ports A..B] [groups] [members] [loading]

groups    100,000 groups with one committed offset each on one broker: growth of resident memory
members   5,000 members in one group, one connection each: time of a full rebalance (first JoinGroup to last SyncGroup answer)
loading   1,000,000 commits in one partition of __consumer_offsets: time from the start of the broker to the first answer, and of loading alone
"""
import argparse
import importlib.machinery
import os
import re
import resource
import shutil
import struct
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import wire  # noqa: E402
from cluster import Cluster, Ports  # noqa: E402
from kclient import Kafka, Writer, fields_of, schema  # noqa: E402

run = importlib.machinery.SourceFileLoader("run", os.path.join(HERE, "run")).load_module()

ONE = dict(default__replication__factor=1, min__insync__replicas=1, offsets__topic__replication__factor=1)


def frame(api, version, corr, **values):
    s, h = schema(api)
    body = Writer(version, h.flexible["request"] >> version & 1).fields(fields_of(s.messages["request"]), values)
    out = struct.pack(">hhi", s.key, version, corr) + wire.string("measure") + (b"\0" if h.header["request"][version] == 2 else b"") + body
    return struct.pack(">i", len(out)) + out


def commits(k, frames, window=200):
    """Sends frames with `window` of them under way; none may be refused."""
    sent = got = 0
    while got < len(frames):
        while sent < len(frames) and sent - got < window:
            k.sock.sendall(frames[sent])
            sent += 1
        _, body = k.answer()
        assert body[-2:] == b"\0\0", body  # OffsetCommit 7: the last partition's error
        got += 1


def ready(k, group):
    while k.call("Heartbeat", 3, group_id=group, generation_id=1, member_id="x")["error_code"] != 25:
        time.sleep(0.01)


def groups(c):
    c.start(1, 1, **ONE)
    c.create_topic("t", 1, 1)
    k = Kafka(c.port(1), 60)
    while k.call("FindCoordinator", 1, key="g", key_type=0)["error_code"]:
        time.sleep(0.1)
    while k.call("ListGroups", 0)["error_code"]:
        time.sleep(0.1)
    before = c.broker(1).rss_kb()
    topics = [{"name": "t", "partitions": [{"partition_index": 0, "committed_offset": 12345}]}]
    began = time.monotonic()
    for at in range(0, 100000, 5000):
        commits(k, [frame("OffsetCommit", 7, i, group_id="consumer-group-%06d" % i, topics=topics) for i in range(at, at + 5000)])
    took = time.monotonic() - began
    count = len(k.call("ListGroups", 4)["groups"])
    t0 = time.monotonic()
    k.call("ListGroups", 4)
    listed = time.monotonic() - t0
    after = c.broker(1).rss_kb()
    time.sleep(4)
    text = urllib.request.urlopen("http://127.0.0.1:%d/metrics" % c.admin["broker-1"]).read().decode()
    own = float(re.search(r"^klamm_group_bytes (\S+)", text, re.M).group(1))
    print("groups: %d listed in %.0f ms, RSS %d -> %d KiB: %.0f bytes a group; the core counts %.0f bytes a group; %.0f commits/s (one connection, python)" % (count, listed * 1000, before, after,
        (after - before) * 1024 / count, own / count, 100000 / took))


def members(c, count=5000):
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 1000, max(count + 1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    c.start(1, 1, group__initial__rebalance__delay__ms=3000, **ONE)
    c.create_topic("t", 1, 1)
    k = Kafka(c.port(1), 120)
    while k.call("FindCoordinator", 1, key="big", key_type=0)["error_code"]:
        time.sleep(0.1)
    ready(k, "big")
    rss = c.broker(1).rss_kb()
    conns = [Kafka(c.port(1), 120) for _ in range(count)]
    subscription = struct.pack(">hi", 0, 1) + wire.string("t") + struct.pack(">i", -1)
    protocols = [{"name": "range", "metadata": subscription}]
    ids, generation, leader, leader_members = [""] * count, 0, None, None
    for turn in range(3):
        t0 = time.monotonic()
        order = ([leader] if turn else []) + [i for i in range(count) if not turn or i != leader]
        for n, i in enumerate(order):  # the leader first: only its rejoining makes a stable group rebalance
            x = conns[i]
            if n == 1:
                time.sleep(0.05)
            x.sock.sendall(frame("JoinGroup", 3, 1, group_id="big", session_timeout_ms=120000, rebalance_timeout_ms=120000, member_id=ids[i], protocol_type="consumer", protocols=protocols))
        sent = time.monotonic()
        joined_first = None
        for i, x in enumerate(conns):
            x.waiting = [(1, "JoinGroup", 3)]
            a = x.next()
            joined_first = joined_first or time.monotonic()
            assert a["error_code"] == 0, a
            ids[i], generation = a["member_id"], a["generation_id"]
            if a["members"]:
                leader, leader_members = i, a["members"]
        joined = time.monotonic()
        assert len(leader_members) == count, len(leader_members)
        plan = [{"member_id": m["member_id"], "assignment": struct.pack(">hii", 0, 0, -1)} for m in leader_members]
        for i, x in enumerate(conns):
            if i != leader:
                x.sock.sendall(frame("SyncGroup", 3, 2, group_id="big", generation_id=generation, member_id=ids[i], assignments=[]))
        conns[leader].sock.sendall(frame("SyncGroup", 3, 2, group_id="big", generation_id=generation, member_id=ids[leader], assignments=plan))
        for x in conns:
            x.waiting = [(2, "SyncGroup", 3)]
            a = x.next()
            assert a["error_code"] == 0, a
        done = time.monotonic()
        print("members: generation %d of %d: %.2f s in all; sending joins %.2f s, first answer %.2f s after, all answers %.2f s, syncs %.2f s (of which much is python)" % (generation, count, done - t0,
            sent - t0, joined_first - sent, joined - joined_first, done - joined))
    print("members: RSS %d -> %d KiB" % (rss, c.broker(1).rss_kb()))


def loading(c, total=1000000, rows=100):
    c.start(1, 1, offsets__topic__num__partitions=1, **ONE)
    c.create_topic("t", rows, 1)
    k = Kafka(c.port(1), 60)
    while k.call("FindCoordinator", 1, key="g", key_type=0)["error_code"]:
        time.sleep(0.1)
    ready(k, "g")
    topics = [{"name": "t", "partitions": [{"partition_index": p, "committed_offset": 12345} for p in range(rows)]}]
    began = time.monotonic()
    for at in range(0, total // rows, 1000):
        commits(k, [frame("OffsetCommit", 7, i, group_id="g%d" % (i % 1000), topics=topics) for i in range(at, at + 1000)])
    print("loading: %d commits written in %.1f s" % (total, time.monotonic() - began))
    c.broker(1).kill()
    t0 = time.monotonic()
    c.broker(1).start()
    while True:
        try:
            k = Kafka(c.port(1), 5)
            if k.call("Heartbeat", 3, group_id="g", generation_id=1, member_id="x")["error_code"] == 25:
                break
            k.close()
        except OSError:
            pass
        time.sleep(0.01)
    took = time.monotonic() - t0
    line = [x for x in c.broker(1).log_text().split("\n") if "group  loaded" in x][-1]
    print("loading: first answer %.2f s after the start of the process; %s" % (took, line.split("loaded")[1].strip()))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--build", default=".")
    ap.add_argument("--ports", default="20000..32000")
    ap.add_argument("what", nargs="*")
    o = ap.parse_args()
    opt = run.Options()
    opt.build, opt.prefix, opt.tools, opt.keep, opt.slow, opt.long = os.path.abspath(o.build), None, None, False, 4.0, False
    opt.ports = Ports(*[int(p) for p in o.ports.split("..")])
    opt.programs, missing = run.find_programs(opt)
    if missing:
        sys.exit(missing)
    opt.tmp = tempfile.mkdtemp(prefix="klamm-measure-")
    for f in (groups, members, loading):
        if o.what and f.__name__ not in o.what:
            continue
        c = Cluster(opt, f.__name__)
        try:
            f(c)
        finally:
            c.stop()
        sys.stdout.flush()
    shutil.rmtree(opt.tmp, ignore_errors=True)


if __name__ == "__main__":
    main()
