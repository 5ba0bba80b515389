"""scenarios.py: what the client programs in Python share: the records, and one line of JSON a scenario (see tests/interop/card.py)."""
import hashlib
import json
import re
import sys
import time
import traceback

COUNT = 200
bootstrap, prefix = sys.argv[1], sys.argv[2]
missed = []


def record(i):
    """(key, value or None) as bytes; each record has the header h=1."""
    return b"key%d" % (i % 17), None if i % 10 == 3 else b"value %d " % i + b"x" * (i % 60)


def digest(rows):
    return hashlib.sha256(repr(list(rows)).encode()).hexdigest()[:16]


def plain(value):
    """What a client returned, as text, without what is another on each broker."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", str(value))
    return re.sub(r"\b%s\b" % bootstrap.split(":")[1], "PORT", text)


def scenario(name, fn, *args):
    """Prints what fn returns; an exception is an outcome, too: its type."""
    missed.clear()
    try:
        outcome = fn(*args)
    except Exception as e:  # whatever the client throws
        traceback.print_exc()
        outcome = {"error": type(e).__name__}
    print(json.dumps({"scenario": name, "outcome": outcome, "missed": len(missed)}), flush=True)


def until(condition, seconds=90):
    """The first true value; False when the time is over, which is said with the outcome."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    missed.append(condition)
    return False
