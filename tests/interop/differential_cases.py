"""differential_cases.py: what tests/interop/differential.py sends: one good request (or a few) for each API, how it is bent, and stories."""
import copy

import records

UNKNOWN_ID = bytes(range(16))
LONG, HUGE = "x" * 300, "x" * 40000
LIMITS = {"int8": 7, "int16": 15, "uint16": 16, "int32": 31, "int64": 63}

# Values that would take the machine down, or minutes, on either side; or of which the answer may come or not.
NEVER = {("CreateTopics", "name"): lambda v: v == "no-such", ("CreateTopics", "num_partitions"): lambda v: not -3 < v < 3, ("CreatePartitions", "count"): lambda v: not -3 < v < 4, ("Produce", "acks"): lambda v: v == 0, ("Produce", "transactional_id"): lambda v: True,
         ("Fetch", "max_wait_ms"): lambda v: v > 1000, ("JoinGroup", "group_id"): lambda v: v in ("no-such", "bad name!", LONG, HUGE), "timeout_ms": lambda v: v == 1}


def keep(s, name, values):
    """Drops what other cases left behind from lists of everything; which APIs are listed is compared once, elsewhere."""
    if name == "api_keys":
        both = [s.apis[n].key for n in s.ranges]
        return [v for v in values if v["api_key"] in both]
    key = {"topics": "name", "groups": "group_id"}.get(name)
    if key is None or not values or key not in values[0]:
        return values
    if len(values) < 8:
        return values
    return [v for v in values if isinstance(v[key], str) and v[key].startswith(("d-", "__consumer", "g-"))]


def complete(fields, version, values):
    out = {}
    for f in fields:
        if version not in f.versions:
            continue
        v = values.get(f.name, f.implied(version))
        if f.type == "struct" and v is not None:
            v = [complete(f.fields, version, x) for x in v] if f.array else complete(f.fields, version, v)
        out[f.name] = v
    return out


def scalars(f, version, value, flexible):
    if f.type == "bool":
        return [("flipped", not value)]
    if f.type == "string":
        out = [("empty", ""), ("unknown", "no-such"), ("bad characters", "bad name!"), ("long", LONG), ("null", None)]
        return out + ([("huge", HUGE)] if flexible else [])
    if f.type in ("bytes", "records"):
        return [("empty", b""), ("garbage", b"\x01" * 11), ("null", None)]
    if f.type == "uuid":
        return [("zero", bytes(16)), ("unknown", UNKNOWN_ID)]
    if f.type in LIMITS:
        top = (1 << LIMITS[f.type]) - 1
        signed = f.type[0] != "u"
        return [(str(v), v) for v in ((-2, -1, 0, 1, top, -top - 1) if signed else (0, 1, top))]
    return []


def bendings(api, fields, version, values, flexible, at=()):
    """(label, path, new value) of every field, of arrays also in their first element."""
    for f in fields:
        if version not in f.versions:
            continue
        value, path = values[f.name], at + (f.name,)
        label = ".".join(str(p) for p in path if p != 0)
        if f.array:
            yield label + " empty", path, []
            yield label + " null", path, None
            if value and api.name != "Produce":  # where the offsets of what follows would tell
                yield label + " repeated", path, [value[0], value[0]]
                if f.type == "struct":
                    yield from bendings(api, f.fields, version, value[0], flexible, path + (0,))
                else:
                    for what, v in scalars(f, version, value[0], flexible):
                        yield "%s %s" % (label, what), path, [v]
        elif f.type == "struct":
            if value is not None:
                yield from bendings(api, f.fields, version, value, flexible, path)
        else:
            for what, v in scalars(f, version, value, flexible):
                never = NEVER.get((api.name, f.name)) or NEVER.get(f.name)
                if v != value and not (never and v is not None and never(v)):
                    yield "%s %s" % (label, what), path, v


def bend(api, version, make, number):
    """(how many forms there are, label, values, bytes cut off) of the form of this number."""
    values = complete(api.request.fields, version, make())
    all_forms = [("good", (), None)] + list(bendings(api, api.request.fields, version, values, version in api.request.flexible))
    count = len(all_forms) + 1
    if number == len(all_forms):
        return count, "one byte less", values, 1
    label, path, new = all_forms[number]
    if path:
        values = copy.deepcopy(values)
        inner = values
        for p in path[:-1]:
            inner = inner[p]
        inner[path[-1]] = new
    return count, label, values, 0


# ---- what is there before ----

def furnish(s):
    s.create("d-one")
    s.create("d-many", 3)
    s.create("d-three", 3)
    s.create("d-sink")
    s.create("d-old")
    s.create("d-del")
    s.create("d-cfg", retention__ms=100000)
    s.create("d-append", message__timestamp__type="LogAppendTime")
    s.create("d-small", max__message__bytes=500, segment__bytes=1000000)
    for topic, n in (("d-one", 5), ("d-del", 100)):
        for i in range(n):
            send(s, topic, records.batch([b"v%d" % i, b"w"], timestamp=records.NOW + i * 1000, step=10))
    if "InitProducerId" in s.ranges:
        s.until("producer ids", lambda: not s.quietly("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": 60000})["error_code"])
    if "FindCoordinator" in s.ranges:
        s.until("a coordinator", lambda: not coordinator_error(s))


def coordinator_error(s):
    return s.quietly("FindCoordinator", {"key": "g-fixed", "key_type": 0}, version=2)["error_code"]


def one(topic, index, **fields):
    return [dict({"topic": topic, "name": topic, "partitions": [dict({"partition": index, "partition_index": index}, **fields)]})]


def produce(topic, data, index=0, acks=-1, timeout_ms=2000, transactional_id=None):
    return {"transactional_id": transactional_id, "acks": acks, "timeout_ms": timeout_ms,
            "topic_data": [{"name": topic, "partition_data": [{"index": index, "records": data}]}]}


def send(s, topic, data, version=9):
    answer = s.quietly("Produce", produce(topic, data), version=version)["responses"][0]["partition_responses"][0]
    assert not answer["error_code"], (s.name, topic, answer)


def fetch(s, topic, offset=0, wait=0, **fields):
    part = dict({"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20}, **{k: v for k, v in fields.items() if k in (
        "partition", "current_leader_epoch", "last_fetched_epoch", "partition_max_bytes", "log_start_offset")})
    top = {k: v for k, v in fields.items() if k not in part}
    return dict({"max_wait_ms": wait, "min_bytes": 1, "max_bytes": 1 << 20, "replica_id": -1,
                 "topics": [{"topic": topic, "topic_id": s.id_of(topic), "partitions": [part]}]}, **top)


def topic(name, partitions=1, factor=1, **configs):
    return {"name": name, "num_partitions": partitions, "replication_factor": factor, "configs": [{"name": k.replace("__", "."), "value": v} for k, v in configs.items()]}


def fresh(s, tag, partitions=1):
    s.create("t-" + tag, partitions)
    return "t-" + tag


def good_produce(s, v, tag):
    return produce("d-sink" if v >= 3 else "d-old", records.batch() if v >= 3 else records.message_set(1 if v >= 2 else 0))


def good_delete(s, v, tag):
    name = fresh(s, tag)
    return {"topics": [{"name": name}], "topic_names": [name], "timeout_ms": 5000}


def good_delete_id(s, v, tag):
    name = fresh(s, tag)
    return {"topics": [{"name": None, "topic_id": s.id_of(name)}], "topic_names": [name], "timeout_ms": 5000}


# ---- groups ----

SUBSCRIPTION = b"\0\1\0\0\0\1\0\5d-one\0\0\0\0\0\0\0\0"
ASSIGNMENT = b"\0\1\0\0\0\1\0\5d-one\0\0\0\1\0\0\0\0\0\0\0\0"


def joining(group, member="", instance=None, protocols=(("range", SUBSCRIPTION),), session=30000, rebalance=30000, kind="consumer"):
    return {"group_id": group, "session_timeout_ms": session, "rebalance_timeout_ms": rebalance, "member_id": member, "group_instance_id": instance, "protocol_type": kind,
            "protocols": [{"name": n, "metadata": m} for n, m in protocols]}


def syncing(group, generation, member, assign=True):
    return {"group_id": group, "generation_id": generation, "member_id": member, "protocol_type": "consumer", "protocol_name": "range",
            "assignments": [{"member_id": member, "assignment": ASSIGNMENT}] if assign else []}


def member(s, group, stable=True):
    """The only member of a group, by old versions that need one step; generation 1."""
    who = s.quietly("JoinGroup", joining(group), version=3)
    assert who["error_code"] == 0, (s.name, who)
    if stable:
        assert s.quietly("SyncGroup", syncing(group, 1, who["member_id"]), version=2)["error_code"] == 0
    return who["member_id"]


def committing(group, name="d-one", partition=0, offset=3, generation=-1, who="", metadata="m", epoch=-1):
    return {"group_id": group, "generation_id_or_member_epoch": generation, "member_id": who, "retention_time_ms": -1,
            "topics": [{"name": name, "partitions": [{"partition_index": partition, "committed_offset": offset, "committed_leader_epoch": epoch, "committed_metadata": metadata}]}]}


def committed(s, group, **more):
    answer = s.quietly("OffsetCommit", committing(group, **more), version=7)
    assert answer["topics"][0]["partitions"][0]["error_code"] == 0, (s.name, answer)
    return group


def good_offset_fetch(s, v, tag):
    committed(s, "g-" + tag)
    topics = [{"name": "d-one", "partition_indexes": [0]}]
    return {"group_id": "g-" + tag, "topics": topics, "groups": [{"group_id": "g-" + tag, "topics": topics}], "require_stable": False}


def good_sync(s, v, tag):
    return syncing("g-" + tag, 1, member(s, "g-" + tag, stable=False))


def good_heartbeat(s, v, tag):
    return {"group_id": "g-" + tag, "generation_id": 1, "member_id": member(s, "g-" + tag)}


def good_leave(s, v, tag):
    who = member(s, "g-" + tag)
    return {"group_id": "g-" + tag, "member_id": who, "members": [{"member_id": who, "reason": "r"}]}


def good_member_commit(s, v, tag):
    return committing("g-" + tag, generation=1, who=member(s, "g-" + tag))


def resource(kind, name, *configs):
    return {"resource_type": kind, "resource_name": name, "configs": [{"name": n, "value": v, "config_operation": 0} for n, v in configs]}


# API -> variant -> the request, made for each bent form anew: names that hold the tag are new on both sides.
GOOD = {
    "Produce": {"": good_produce},
    "Fetch": {"": lambda s, v, tag: fetch(s, "d-one", 2), "end": lambda s, v, tag: fetch(s, "d-one", 10, 20, current_leader_epoch=0, last_fetched_epoch=0)},
    "ListOffsets": {"": lambda s, v, tag: {"replica_id": -1, "isolation_level": 0,
        "topics": one("d-one", 0, timestamp=records.NOW + 1005, max_num_offsets=3, current_leader_epoch=-1)}},
    "Metadata": {"": lambda s, v, tag: {"topics": [{"name": "d-one"}], "allow_auto_topic_creation": False},
                 "id": lambda s, v, tag: {"topics": [{"name": None if v >= 12 else "d-one", "topic_id": s.id_of("d-one")}], "allow_auto_topic_creation": False}},
    "ApiVersions": {"": lambda s, v, tag: {"client_software_name": "test", "client_software_version": "1.0"}},
    "CreateTopics": {"": lambda s, v, tag: {"topics": [topic("t-" + tag, retention__ms="100000")], "timeout_ms": 5000, "validate_only": False},
                     "assigned": lambda s, v, tag: {"topics": [{"name": "t-" + tag, "num_partitions": -1, "replication_factor": -1, "assignments": [
                         {"partition_index": 0, "broker_ids": [1]}]}], "timeout_ms": 1000}},
    "DeleteTopics": {"": good_delete, "id": good_delete_id},
    "InitProducerId": {"": lambda s, v, tag: {"transactional_id": None, "transaction_timeout_ms": 60000}},
    "OffsetForLeaderEpoch": {"": lambda s, v, tag: {"replica_id": -2, "topics": one("d-one", 0, current_leader_epoch=-1, leader_epoch=0)}},
    "DescribeConfigs": {"": lambda s, v, tag: {"resources": [{"resource_type": 2, "resource_name": "d-cfg", "configuration_keys": ["retention.ms"]}], "include_synonyms": True},
                        "broker": lambda s, v, tag: {"resources": [{"resource_type": 4, "resource_name": "1", "configuration_keys": ["num.partitions"]}]}},
    "ListPartitionReassignments": {"": lambda s, v, tag: {"timeout_ms": 5000, "topics": [{"name": "d-one", "partition_indexes": [0]}]}},
    "DescribeCluster": {"": lambda s, v, tag: {}},
    "FindCoordinator": {"": lambda s, v, tag: {"key": "g-fixed", "key_type": 0, "coordinator_keys": ["g-fixed"]}},
    "JoinGroup": {"": lambda s, v, tag: joining("g-" + tag), "static": lambda s, v, tag: joining("g-" + tag, instance="i" if v >= 5 else None)},
    "SyncGroup": {"": good_sync},
    "Heartbeat": {"": good_heartbeat},
    "LeaveGroup": {"": good_leave},
    "OffsetCommit": {"": lambda s, v, tag: committing("g-" + tag), "member": good_member_commit},
    "OffsetFetch": {"": good_offset_fetch},
    "DescribeGroups": {"": lambda s, v, tag: {"groups": [committed(s, "g-" + tag)]},
                       "member": lambda s, v, tag: (member(s, "g-" + tag), {"groups": ["g-" + tag]})[1]},
    "ListGroups": {"": lambda s, v, tag: {"states_filter": ["Stable"], "types_filter": ["classic"]}},
    "DeleteGroups": {"": lambda s, v, tag: {"groups_names": [committed(s, "g-" + tag)]}},
    "OffsetDelete": {"": lambda s, v, tag: {"group_id": committed(s, "g-" + tag), "topics": one("d-one", 0)}},
    "CreatePartitions": {"": lambda s, v, tag: {"topics": [{"name": fresh(s, tag), "count": 2, "assignments": None}], "timeout_ms": 5000},
                         "assigned": lambda s, v, tag: {"topics": [{"name": fresh(s, tag), "count": 2, "assignments": [{"broker_ids": [1]}]}], "timeout_ms": 5000}},
    "DeleteRecords": {"": lambda s, v, tag: {"topics": [{"name": "d-del", "partitions": [{"partition_index": 0, "offset": 10}]}], "timeout_ms": 5000}},
    "DescribeLogDirs": {"": lambda s, v, tag: {"topics": [{"topic": "d-one", "partitions": [0]}]}},
    "DescribeProducers": {"": lambda s, v, tag: {"topics": [{"name": "d-one", "partition_indexes": [0]}]}},
    "ElectLeaders": {"": lambda s, v, tag: {"election_type": 0, "topic_partitions": [{"topic": "d-one", "partitions": [0]}], "timeout_ms": 5000}},
    "AlterConfigs": {"": lambda s, v, tag: {"resources": [resource(2, "d-cfg", ("retention.ms", "200000"))]}},
    "IncrementalAlterConfigs": {"": lambda s, v, tag: {"resources": [resource(2, "d-cfg", ("retention.ms", "300000"))]}},
}

STORIES = []


class Story:
    def __init__(self, api, tell, first, last, needs):
        self.api, self.tell, self.first, self.last, self.needs, self.name = api, tell, first, last, needs + (api,), tell.__name__


def story(api, first=0, last=99, needs=()):
    def add(tell):
        STORIES.append(Story(api, tell, first, last, needs))
        return tell
    return add
