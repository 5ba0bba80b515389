#!/usr/bin/env python3
"""cli.py: the command line tool against Klamm and against Kafka 3.9.1: the same cases (tests/interop/klamm-cli), compared with Kafka's own tools.

    tests/interop/cli.py --build DIR [--ports A..B] [--only CASE,...]

Ends with `N passed, N failed`.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

from pair import HERE, Failure, Pair, endable

import javatools

SCRIPT = os.path.join(HERE, "klamm-cli")


def cases():
    with open(SCRIPT, encoding="utf-8") as f:
        return re.findall(r"^@case\ndef (\w+)\(", f.read(), re.M)


def against(side, port, klamm, jars, names):
    """Prints every case's line with the side in its name; returns (passed, failed)."""
    p = subprocess.Popen([sys.executable, "-u", SCRIPT, "--kafka-libs", jars, klamm, "127.0.0.1:%d" % port] + names, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    counts = {"ok": 0, "FAILED": 0}
    try:
        for line in p.stdout:
            said = re.match(r"(ok|FAILED) cli\.(\w+)$", line)
            if said:
                counts[said[1]] += 1
                line = "%s cli.%s.%s\n" % (said[1], side, said[2])
            if not re.match(r"\d+ passed, \d+ failed$", line):
                print(line, end="", flush=True)
        p.wait()
    finally:
        if p.poll() is None:
            p.kill()
            p.wait()
    ran = sum(counts.values())
    if ran != len(names):
        print("FAILED cli.%s.whole\n    %d cases ran of %d, exit %d" % (side, ran, len(names), p.returncode), flush=True)
        counts["FAILED"] += 1
    return counts["ok"], counts["FAILED"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--ports", default="20000..32000", metavar="A..B")
    parser.add_argument("--only", help="these cases, separated by commas")
    args = parser.parse_args()
    endable()
    jars = javatools.libs()
    tmp = tempfile.mkdtemp(prefix="klamm-cli-")
    pair, passed, failed = Pair(tmp, args.build, args.ports, "cli", log__retention__ms=None, log__retention__hours="-1"), 0, 1
    try:
        pair.start()
        failed = 0
        for side, port in (("klamm", pair.klamm_port()), ("kafka", pair.kafka.port)):
            wanted = [n for n in cases() if not args.only or n in args.only.split(",")]
            good, bad = against(side, port, pair.cluster.bin("klamm"), jars, wanted)
            passed, failed = passed + good, failed + bad
        said = pair.cluster.reports()
        if said or not pair.cluster.broker(1).alive():
            failed += 1
            print("FAILED cli.alive\n    %s" % (said or "brokerd ended"))
    except Failure as e:
        failed += 1
        print("FAILED cli.start\n    %s" % e)
    finally:
        pair.stop()
        if failed:
            print("(folder: %s)" % tmp, file=sys.stderr)
        else:
            shutil.rmtree(tmp, ignore_errors=True)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
