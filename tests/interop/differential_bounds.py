"""differential_bounds.py: stories of differential.py: every topic key and every key that brokers change while they run, with values at and beyond its
bounds, of other types, blank, and as lists; validated only, so nothing of it stays. Keys that docs/COMPATIBILITY.md lists as without effect take
their default alone, so of them it is sent, and what no Kafka takes."""
import os
import re

from differential_cases import story

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
BITS = {"int": 31, "long": 63, "short": 15}
# set to a number that is fine in Kafka, these need a plugin, a file or another listener to be looked at at all
LEFT_OUT = ("listeners", "advertised.listeners", "listener.security.protocol.map", "principal.builder.class", "metric.reporters", "sasl.jaas.config")


def rows(name):
    with open(os.path.join(GOLDEN, name), encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f if not line.startswith("#")]


def not_built():
    """Names, read from the tables."""
    found = set()
    for name in ("keys.h", "topic_config.h"):
        with open(os.path.join(GOLDEN, "..", "..", "common", "config", name), encoding="utf-8") as f:
            found |= set(re.findall(r'^\tX\("([^"]+)",.*, (?:NO_EFFECT|SECURITY|NOT_BUILT), "', f.read(), re.M))
    return found


NOT_BUILT = not_built()


def values(key, kind, default):
    own = [] if default in ("null", "(empty)") else [default, " %s " % default]
    if key in NOT_BUILT:
        return own + (["x", ""] if kind in BITS or kind in ("boolean", "double") else [])
    if kind in BITS:
        top = 1 << BITS[kind]
        return own + ["", "x", " 5 ", "-3", "-2", "-1", "0", "1", "5", str(top - 1), str(top), str(-top)]
    return own + {"boolean": ["", " TRUE ", "false", "yes"], "double": ["", "x", "-0.1", "0", "0.50", "1", "1.1"],
                  "list": ["", " ", ",", "x", "delete", "delete,compact", "a , b", "*", "0:1", "0:1,x"]}.get(kind, ["", " ", "x", "gzip", "LogAppendTime", "2.0"])


def change(s, v, kind, name, key, op, value):
    s.ask("IncrementalAlterConfigs", v, {"resources": [{"resource_type": kind, "resource_name": name, "configs": [
        {"name": key, "config_operation": op, "value": value}]}], "validate_only": True}, "bounds of %s: %s %s" % (key, ("set", "delete", "append", "subtract")[op], value))


@story("IncrementalAlterConfigs", first=1)
def bounds_of_topics(s, v):
    for scope, key, kind, default in rows("config-keys.tsv"):
        if scope != "topic":
            continue
        for value in values(key, kind, default):
            change(s, v, 2, "d-one", key, 0, value)
        for op in (2, 3):
            for value in values(key, kind, default) if kind == "list" else ["1"]:
                change(s, v, 2, "d-one", key, op, value)


@story("CreateTopics", first=7)
def bounds_of_new_topics(s, v):
    for scope, key, kind, default in rows("config-keys.tsv"):
        for value in values(key, kind, default) if scope == "topic" else ():
            s.ask("CreateTopics", v, {"topics": [{"name": "t-bounds", "num_partitions": 1, "replication_factor": 1, "configs": [{"name": key, "value": value}]}],
                  "validate_only": True, "timeout_ms": 5000}, "bounds of %s: %s" % (key, value))


@story("IncrementalAlterConfigs", first=1)
def bounds_of_brokers(s, v):
    for key, kind, default, when in rows("broker-configs.tsv"):
        if key in LEFT_OUT:
            continue
        if when == "static":
            change(s, v, 4, "1", key, 0, "1")
            continue
        for value in values(key, kind.lower(), default):
            change(s, v, 4, "1", key, 0, value)
        change(s, v, 4, "", key, 0, default if key in NOT_BUILT else "1")
        for op in (2, 3):
            for value in () if key in NOT_BUILT else ("1", "delete", "") if kind == "LIST" else ("1",):
                change(s, v, 4, "1", key, op, value)
