#!/usr/bin/env python3
"""differential.py: every API and version that Klamm lists, sent to Kafka 3.9.1 and to Klamm alike; the answers are compared field by field.

    tests/interop/differential.py --build DIR [--ports A..B] [--only API[,API]] [--verbose]
    tests/interop/differential.py --kafka-twice [...]     Kafka against itself: whatever differs is the test's own fault
    tests/interop/differential.py --write                 puts the list of differences into docs/COMPATIBILITY.md

Two kinds of cases (differential_cases.py): a good request of each API of which every field in turn is bent (null, empty, repeated, unknown,
oversize, -1, 0, largest, smallest; one byte less, one more), and stories of several requests (sessions, sequences, groups).
What must differ (ids, ports, times, message texts) is normalised below. Every other difference has to stand, with its reason, in
differences.tsv, and every line there has to be met. Ends with `N passed, N failed`: one case an API, version and variant.
"""
import argparse
import collections
import fnmatch
import os
import re
import shutil
import sys
import tempfile
import time

from pair import Failure, Kafka, Pair, cell, document_section, endable

import differential_cases as cases
import differential_bounds  # noqa: F401  (fills cases.STORIES)
import differential_stories  # noqa: F401
import messages
import records

HERE = os.path.dirname(os.path.abspath(__file__))
ACCEPTED = os.path.join(HERE, "differences.tsv")
UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NOT_ORDERED = ("topics", "responses", "results", "brokers", "groups", "configs", "partitions", "partition_responses", "members", "synonyms", "api_keys", "node_endpoints",
               "active_producers", "replica_election_results", "partition_result", "coordinators", "filtered")


class Side:
    """One of the two brokers, and what it answered in this case."""

    def __init__(self, name, port, apis):
        self.name, self.port, self.apis = name, port, apis
        self.answers, self.conn, self.topic_ids, self.uuids, self.extra = [], None, {}, {}, []
        self.ranges = {}
        self.places = [("127.0.0.1:%d" % port, "own address")]  # (text of this side alone, what both have)

    def begin(self):
        self.close()
        self.answers, self.uuids = [], {}

    def close(self):
        for c in [self.conn] + self.extra:
            if c:
                c.close()
        self.conn, self.extra = None, []

    def open(self, client_id="test"):
        """A connection of its own, closed at the end of the case."""
        self.extra.append(messages.Client(self.port, self.apis, 6.0, client_id))
        return self.extra[-1]

    def exchange(self, api, version, values, cut=0, conn=None):
        c = conn or self.conn
        if not c:
            c = self.conn = messages.Client(self.port, self.apis, 6.0)
        try:
            frame = c.request(api, version, values)
            if cut:
                frame = frame[4:len(frame) - cut]
                frame = len(frame).to_bytes(4, "big") + frame
            c.raw(frame)
            return c.receive(api, version)
        except TimeoutError:
            outcome = "no answer"
        except (ConnectionError, OSError):
            outcome = "closed"
        except ValueError as e:
            outcome = "undecodable: %s" % e
        if c is self.conn:
            c.close()
            self.conn = None
        return outcome

    def ask(self, api, version, values, label="", **more):
        """Sends, records the answer for the comparison, returns it as it came."""
        answer = self.exchange(api, version, values, **more)
        self.answers.append((label or api, api, answer))
        return answer

    def top(self, api):
        """The highest version that both brokers offer."""
        return self.ranges[api][1]

    def quietly(self, api, values, version=None, **more):
        """An answer that is not compared: a step on the way. It must come."""
        answer = self.exchange(api, self.top(api) if version is None else version, values, **more)
        if isinstance(answer, str):
            raise Failure("%s: %s: %s" % (self.name, api, answer))
        return answer

    def note(self, label, value):
        self.answers.append((label, "", value))

    def until(self, what, condition, timeout=60.0):
        end = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise Failure("%s: not within %.0f s: %s" % (self.name, timeout, what))
            time.sleep(0.01)

    def create(self, name, partitions=1, **configs):
        """A topic whose leaders answer; on both brokers under the same name."""
        topic = {"name": name, "num_partitions": partitions, "replication_factor": 1,
                 "configs": [{"name": k.replace("__", "."), "value": str(v)} for k, v in configs.items()]}
        answer = self.quietly("CreateTopics", {"topics": [topic], "timeout_ms": 10000})
        if answer["topics"][0]["error_code"] not in (0, 36):
            raise Failure("%s: topic %s: error %d" % (self.name, name, answer["topics"][0]["error_code"]))
        self.until("leaders of " + name, lambda: self.leaders(name) == partitions)
        return self.id_of(name)

    def leaders(self, name):
        meta = self.quietly("Metadata", {"topics": [{"name": name}]})["topics"][0]
        self.topic_ids[meta["topic_id"]] = name
        for p in meta["partitions"]:
            q = {"topics": [{"name": name, "partitions": [{"partition_index": p["partition_index"], "timestamp": -1}]}], "replica_id": -1}
            if self.quietly("ListOffsets", q)["topics"][0]["partitions"][0]["error_code"]:
                return -1
        return len(meta["partitions"]) if not meta["error_code"] else -1

    def id_of(self, name):
        return next((i for i, n in self.topic_ids.items() if n == name), bytes(16))

    # ---- what must differ ----

    def text(self, value):
        """UUIDs by the order in which they appeared; without the folder, port and chroot of this side."""
        for there, name in self.places:
            value = value.replace(there, name)
        return UUID_TEXT.sub(lambda m: "uuid%d" % self.uuids.setdefault(m[0], len(self.uuids) + 1), value)

    def normal(self, api, name, value):
        if name in ("throttle_time_ms", "documentation"):
            return None if name == "throttle_time_ms" else bool(value)
        if name in ("error_message", "topic_error_message", "batch_index_error_message"):
            return "text" if value else None
        if isinstance(value, dict):
            return {k: self.normal(api, k, v) for k, v in value.items()}
        if isinstance(value, list):
            out = [self.normal(api, "", v) for v in value]
            if api == "ListGroups" and name == "groups":  # other cases leave groups behind
                out = [v for v in out if v["group_id"].startswith("g-listed")]
            if name in NOT_ORDERED and api != "Fetch" and all(isinstance(v, dict) for v in out):
                out = sorted(cases.keep(self, name, out), key=lambda v: repr(sorted(v.items())))
            return out
        if name == "port" and value == self.port:
            return "own port"
        if name in ("producer_id", "session_id") and value > 0:
            return "an id"
        if name == "log_append_time_ms" and value > 0:
            return "now"
        if name == "cluster_id" and value:
            return "a cluster"
        if name in ("log_dir",):
            return "a folder"
        if name in ("total_bytes", "usable_bytes", "last_timestamp") and value > 0:
            return "some"
        if name == "records" and value is not None:
            return "; ".join(records.describe(value)) or "nothing"
        if isinstance(value, bytes) and len(value) == 16 and name == "topic_id":
            return "zero" if value == bytes(16) else "id of " + self.topic_ids[value] if value in self.topic_ids else "an id" if value != cases.UNKNOWN_ID else "that id"
        return self.text(value) if isinstance(value, str) else value


def short(value):
    """One line for a value of any size."""
    if isinstance(value, dict) and "error_code" in value and value["error_code"]:
        return "error %d" % value["error_code"]
    if isinstance(value, dict):
        return "{%s}" % " ".join("%s=%s" % (k, short(v)) for k, v in value.items() if v not in (None, [], {}))
    if isinstance(value, list):
        return "[%s]" % " ".join(short(v) for v in value)
    return value if isinstance(value, str) else repr(value)


def differ(a, b, path=""):
    """(field, Kafka's, Klamm's): where one is an error, or a list is longer, what is inside is not compared."""
    if isinstance(a, dict) and isinstance(b, dict):
        if a.get("error_code") != b.get("error_code"):
            yield path + ".error_code" if path else "error_code", short(a.get("error_code")), short(b.get("error_code"))
            return
        for k in a.keys() | b.keys():
            yield from differ(a.get(k, "absent"), b.get(k, "absent"), "%s.%s" % (path, k) if path else k)
    elif isinstance(a, list) and isinstance(b, list) and path.endswith("configs") and all(isinstance(v, dict) for v in a + b):
        x, y = {v["name"]: v for v in a}, {v["name"]: v for v in b}
        for k in x.keys() | y.keys():
            yield from differ(x.get(k, "absent"), y.get(k, "absent"), "%s[%s]" % (path, k))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            yield from differ(x, y, "%s[%d]" % (path, i) if len(a) > 1 else path)
    elif a != b:
        yield path or "answer", short(a) if path or isinstance(a, str) else "an answer", short(b) if path or isinstance(b, str) else "an answer"


Difference = collections.namedtuple("Difference", "api case version field kafka klamm")


def compare(api, version, kafka, klamm):
    out = []
    if len(kafka.answers) != len(klamm.answers):
        out.append(Difference(api, "(steps)", version, "answers", str(len(kafka.answers)), str(len(klamm.answers))))
    for (label, name, a), (_, _, b) in zip(kafka.answers, klamm.answers):
        out += [Difference(api, label, version, *d) for d in sorted(differ(kafka.normal(name, "", a), klamm.normal(name, "", b)))]
    return out


class Accepted:
    """differences.tsv: api, case, field (patterns), what Kafka answers, what Klamm answers, why."""

    def __init__(self, path):
        self.rows, self.met = [], set()
        with open(path, encoding="utf-8") as f:
            for line in f:
                if line.strip() and not line.startswith("#"):
                    row = line.rstrip("\n").split("\t")
                    if len(row) != 6:
                        raise SystemExit("%s: %d columns, not 6: %s" % (path, len(row), line))
                    self.rows.append(row)

    def takes(self, d):
        taken = False
        for i, (api, case, field, kafka, klamm, _) in enumerate(self.rows):
            if all(fnmatch.fnmatchcase(str(v), pattern) for v, pattern in
                   ((d.api, api), (d.case, case), (d.field, field), (d.kafka, kafka), (d.klamm, klamm))):
                self.met.add(i)
                taken = True
        return taken

    def unmet(self, apis):
        return [row for i, row in enumerate(self.rows) if i not in self.met and (apis is None or row[0] in apis)]


class Run:
    def __init__(self, args, kafka, klamm, apis):
        self.args, self.sides, self.apis = args, (kafka, klamm), apis
        self.accepted = Accepted(ACCEPTED)
        self.passed, self.failed, self.sent = 0, 0, 0
        self.found = collections.OrderedDict()
        self.timed_out = 0

    def ranges(self):
        listed = []
        for side in self.sides:
            answer = side.exchange("ApiVersions", 3, {"client_software_name": "test", "client_software_version": "1"})
            listed.append({r["api_key"]: (r["min_version"], r["max_version"]) for r in answer["api_keys"]})
        both = {}
        for name, api in self.apis.items():
            if all(api.key in one for one in listed):
                both[name] = tuple(f(one[api.key][i] for one in listed) for i, f in enumerate((max, min)))
        for side in self.sides:
            side.ranges = both
        return both, listed

    def settle(self, name, what, api, version, differences):
        fresh = [] if self.args.kafka_twice else [d for d in differences if not self.accepted.takes(d)]
        if self.args.kafka_twice:
            fresh = differences
        for d in fresh:
            key = (d.api, d.case, d.field, d.kafka, d.klamm)
            self.found.setdefault(key, []).append(version)
        if fresh:
            self.failed += 1
            print("FAILED differential.%s (%d differences)" % (name, len(fresh)), flush=True)
            if self.args.verbose:
                for d in fresh:
                    print("    %s: %s: Kafka %s, Klamm %s" % d[1:2] + d[3:], flush=True)
        else:
            self.passed += 1
            print("ok differential.%s%s" % (name, " (%s)" % what if what else ""), flush=True)

    def bent(self, api, version, variant, make):
        """The good request and every bent form of it."""
        count, number, differences = None, 0, []
        while count is None or number < count:
            for side in self.sides:
                side.begin()
                forms = cases.bend(self.apis[api], version, lambda s=side: make(s, version, "%s%d%s-%d" % (api.lower(), version, variant, number)), number)
                count, label, values, cut = forms
                began = time.monotonic()
                side.ask(api, version, values, "%s%s" % (variant + ": " if variant else "", label), cut=cut)
                side.close()
                if time.monotonic() - began > 2:
                    print("    (%s took %.1f s for %s.%d: %s)" % (side.name, time.monotonic() - began, api, version, label), flush=True)
            self.sent += 1
            differences += compare(api, version, *self.sides)
            number += 1
        self.settle("%s.%d%s" % (api, version, "." + variant if variant else ""), "%d requests" % count, api, version, differences)

    def story(self, story, version):
        for side in self.sides:
            side.begin()
            try:
                story.tell(side, version)
            except (Failure, KeyError, TypeError, IndexError) as e:
                side.note("(told to the end)", "%s: %s" % (type(e).__name__, e) if isinstance(e, Failure) else type(e).__name__ + " " + str(e))
            self.sent += len(side.answers)
            side.close()
        self.settle("%s.%d.%s" % (story.api, version, story.name), "", story.api, version, compare(story.api, version, *self.sides))

    def everything(self):
        both, listed = self.ranges()
        only = self.args.only.split(",") if self.args.only else None
        for side in self.sides:
            cases.furnish(side)
        if not only or "ApiVersions" in only:
            self.settle("listed", "", "ApiVersions", 0, [Difference("ApiVersions", "listed", 0, self.name_of(k), "%d-%d" % listed[0][k] if k in listed[0] else "absent",
                "%d-%d" % listed[1][k] if k in listed[1] else "absent") for k in sorted(set(listed[0]) | set(listed[1])) if listed[0].get(k) != listed[1].get(k)])
        missing = [name for name in both if name not in cases.GOOD and not self.args.kafka_twice]
        for name in missing:
            self.failed += 1
            print("FAILED differential.%s\n    Klamm lists it and differential_cases.py has no case" % name)
        for api, (first, last) in both.items():
            if only and api not in only:
                continue
            for version in range(first, last + 1):
                for variant, make in cases.GOOD.get(api, {}).items():
                    self.bent(api, version, variant, make)
        for story in cases.STORIES:
            if (only and story.api not in only) or any(a not in both for a in story.needs) or (self.args.story and story.name not in self.args.story.split(",")):
                continue
            first, last = both[story.api]
            for version in range(max(first, story.first), min(last, story.last) + 1):
                self.story(story, version)
        return only

    def name_of(self, key):
        return next((n for n, a in self.apis.items() if a.key == key), str(key))

    def report(self, only):
        if self.found:
            print("\ndifferences that differences.tsv does not explain:")
        for (api, case, field, kafka, klamm), vs in self.found.items():
            vs = sorted(set(vs))
            print("%s\tv%s\t%s\t%s\t%s\t%s" % (api, vs[0] if len(vs) == 1 else "%d-%d" % (vs[0], vs[-1]), case, field, kafka, klamm))
        if not self.args.kafka_twice and not self.args.story:
            for row in self.accepted.unmet(only):
                self.failed += 1
                print("FAILED differential.list\n    a line that no case meets (any more): %s" % "\t".join(row))


def write():
    text = "| API | case | field | Kafka | Klamm | why |\n|---|---|---|---|---|---|\n"
    for row in Accepted(ACCEPTED).rows:
        text += "| %s | %s |\n" % (" | ".join("`%s`" % cell(c) if c.strip() else "" for c in row[:5]), cell(row[5]))
    document_section("differences", text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", help="build directory of Klamm")
    parser.add_argument("--ports", default="20000..32000", metavar="A..B")
    parser.add_argument("--only", help="these APIs, separated by commas")
    parser.add_argument("--story", help="of the stories, these")
    parser.add_argument("--kafka-twice", action="store_true", help="compare Kafka with itself")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--write", action="store_true", help="only put the list into docs/COMPATIBILITY.md")
    args = parser.parse_args()
    if args.write:
        write()
        return 0
    if not args.build:
        parser.error("give --build")
    endable()
    tmp = tempfile.mkdtemp(prefix="klamm-differential-")
    pair, second, ok = Pair(tmp, args.build, args.ports), None, False
    try:
        pair.start()
        apis = messages.load_apis()
        other = pair.klamm_port()
        if args.kafka_twice:
            pair.cluster.zk().create_all("/kafka-second", b"")
            second = Kafka(os.path.join(tmp, "second"), pair.cluster.opt.ports.take(), "127.0.0.1:%d/kafka-second" % pair.cluster.zk_port, **pair.conf).start()
            other = second.port
        run = Run(args, Side("Kafka", pair.kafka.port, apis), Side("Klamm", other, apis), apis)
        folders = (os.path.join(pair.kafka.folder, "data"), os.path.join(tmp, "second", "data") if second else os.path.join(pair.cluster.dir, "data", "broker-1"))
        for side, folder, chroot in zip(run.sides, folders, ("/kafka-side", "/kafka-second" if second else "/klamm-side")):
            side.places += [(folder, "a folder"), (chroot, "/chroot")]
        only = run.everything()
        run.report(only)
        said = pair.cluster.reports()
        if said or not pair.cluster.broker(1).alive():
            run.failed += 1
            print("FAILED differential.alive\n    %s" % (said or "brokerd ended"))
        ok = not run.failed
        print("(%d requests to each)" % run.sent)
        print("%d passed, %d failed" % (run.passed, run.failed))
        return 0 if ok and run.passed else 1
    finally:
        if second:
            second.stop()
        pair.stop()
        if ok:
            shutil.rmtree(tmp, ignore_errors=True)
        else:
            print("(folder: %s)" % tmp, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
