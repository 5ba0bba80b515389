#!/usr/bin/env python3
"""suite.py: make check-interop: everything that runs beside a real Kafka 3.9.1, one part after the other, with one summary.

    tests/interop/suite.py --build DIR [--results DIR] [--only PART[:WORD],...] [--resume] [--write] [--ports A..B]

The parts, each a program of its own that can also be run alone:
    cli           klamm-cli against Klamm and against Kafka, compared with Kafka's tools (words: its cases)
    run           kcat, console tools, confluent-kafka and franz-go in every codec, DumpLogSegments, a data directory of Kafka's (kcat, console, ...)
    handover      Kafka and Klamm in turn on one log directory (there_and_back, killed, groups)
    differential  every API and version of both, with every field bent (names of APIs)
    card          the scenarios of the report card by thirteen clients (names of clients)

What a part says goes to RESULTS/PART.log, its result to RESULTS/PART.json as soon as it ended, the rows of the card to RESULTS/card.jsonl client by
client; RESULTS is interop-results in the build directory. --resume goes on with the run that was interrupted: what passed there with the same
programs is kept, and said to be. --write puts the report card of this run into docs/COMPATIBILITY.md. A part that cannot be run here is `not run`,
never passed. Ends with `N passed, N failed`; exit 1 if anything failed, or if nothing passed.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from pair import HERE, NotHere, endable

import card
import javatools

PARTS = {"cli": "cli.py", "run": "run", "handover": "handover.py", "differential": "differential.py", "card": "card.py"}
SAID = re.compile(r"(ok|known|FAILED|not run:) ([\w.]+\..*)")


class Interrupted(Exception):
    pass


def chosen(only):
    """part -> words for its own --only; the parts in their order."""
    if not only:
        return {part: [] for part in PARTS}
    out = {}
    for one in only.split(","):
        part, _, word = one.partition(":")
        if part not in PARTS:
            sys.exit("suite.py: no part is called %s; there are %s" % (part, ", ".join(PARTS)))
        out.setdefault(part, []).extend([word] if word else [])
    return {part: out[part] for part in PARTS if part in out}


def prerequisites():
    """Raises NotHere when no Kafka can be had: then nothing can be compared."""
    for program, package in (("java", "default-jre-headless"), ("kcat", "kcat")):
        if not shutil.which(program):
            raise NotHere("no %s on the PATH (apt-get install %s)" % (program, package))
    try:
        javatools.libs()
    except OSError as e:
        raise NotHere("Kafka's jars: %s" % e) from None


def follow(p, log, found):
    """Shows and keeps what a part says, sorted by its first word."""
    last = None
    for line in p.stdout:
        log.write(line)
        log.flush()
        print(line, end="", flush=True)
        said = SAID.match(line)
        if said:
            found[said[1]].append(said[2].strip())
            last = said[1]
        elif last in ("FAILED", "known") and line.startswith("    "):
            found[last][-1] += ("\n" if last == "FAILED" else ": ") + (line.rstrip() if last == "FAILED" else line.strip())
            last = None


def end(p):
    """SIGTERM to a part, which then stops what it started; what is left of its group (a tool of a client that was killed) dies."""
    if p.poll() is None:
        p.send_signal(signal.SIGTERM)
        try:
            p.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(p.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    p.wait()


def run_part(args, part, words):
    """The result of a part, as it is kept."""
    argv = [sys.executable, "-u", os.path.join(HERE, PARTS[part]), "--build", args.build, "--ports", args.ports] + (["--only", ",".join(words)] if words else [])
    if part == "card":
        argv += ["--results", os.path.join(args.results, "card.jsonl")] + (["--resume"] if args.resume else []) + (["--write"] if args.write else [])
    began, found = time.monotonic(), {"ok": [], "known": [], "FAILED": [], "not run:": []}
    with open(os.path.join(args.results, part + ".log"), "w", encoding="utf-8") as log:
        # a session of its own: an interrupt of the terminal comes through us alone, once
        p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", start_new_session=True)
        try:
            follow(p, log, found)
            status = p.wait()
        except KeyboardInterrupt:
            print("\nsuite.py: stopping %s" % part, flush=True)
            raise Interrupted(part) from None
        finally:
            end(p)
    if status and not found["FAILED"]:
        found["FAILED"].append("%s: it ended with status %d: see %s" % (part, status, log.name))
    return {"part": part, "words": words, "key": card.fingerprint(args.build), "passed": len(found["ok"]), "known": found["known"], "failed": found["FAILED"],
            "not run": found["not run:"], "seconds": round(time.monotonic() - began)}


def kept(args, part, words):
    """What an earlier run says of a part that passed with the same programs, else None."""
    try:
        with open(os.path.join(args.results, part + ".json"), encoding="utf-8") as f:
            result = json.load(f)
    except (OSError, ValueError):
        return None
    good = result["key"] == card.fingerprint(args.build) and result["words"] == words and result["passed"] and not result["failed"] and not result["not run"]
    return dict(result, kept=True) if good else None


def save(args, result):
    path = os.path.join(args.results, result["part"] + ".json")
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    os.replace(path + ".new", path)


def everything(args, results):
    for part, words in chosen(args.only).items():
        print("== %s" % part, flush=True)
        result = kept(args, part, words) if args.resume and part != "card" else None
        if not result:
            if os.path.exists(os.path.join(args.results, part + ".json")):
                os.unlink(os.path.join(args.results, part + ".json"))
            result = run_part(args, part, words)
            save(args, result)
        else:
            print("    (kept from the run before)", flush=True)
        results.append(result)


def summary(args, results, interrupted):
    print("\n== summary")
    for r in results:
        for title, rows in (("FAILED", r["failed"]), ("known difference:", r["known"]), ("not run:", r["not run"])):
            for row in rows:
                print("%s %s" % (title, row))
    for r in results:
        print("%-12s %4d passed, %d failed, %d known differences, %d not run, %d s%s" % (r["part"], r["passed"], len(r["failed"]), len(r["known"]), len(r["not run"]), r["seconds"],
                                                                                   " (kept from the run before)" if r.get("kept") else ""))
    for part in chosen(args.only):
        if part not in [r["part"] for r in results]:
            print("%-12s not run to the end: %s" % (part, interrupted))
    passed, failed = sum(r["passed"] for r in results), sum(len(r["failed"]) for r in results)
    print("%d passed, %d failed" % (passed, failed), flush=True)
    return 1 if failed or interrupted or not passed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", required=True, help="build directory of Klamm")
    parser.add_argument("--results", help="folder for logs and results (DIR/interop-results)")
    parser.add_argument("--ports", default="20000..32000", metavar="A..B")
    parser.add_argument("--only", help="parts, or PART:WORD, separated by commas: " + ", ".join(PARTS))
    parser.add_argument("--resume", action="store_true", help="keep what passed in the run before, with the same programs")
    parser.add_argument("--write", action="store_true", help="put the report card into docs/COMPATIBILITY.md")
    args = parser.parse_args()
    endable()
    args.build = os.path.abspath(args.build)
    args.results = os.path.abspath(args.results or os.path.join(args.build, "interop-results"))
    os.makedirs(args.results, exist_ok=True)
    results, interrupted = [], ""
    try:
        prerequisites()
        everything(args, results)
    except NotHere as e:
        interrupted = "not run: %s" % e
    except (Interrupted, KeyboardInterrupt):
        interrupted = "interrupted; --resume goes on"
    return summary(args, results, interrupted)


if __name__ == "__main__":
    sys.exit(main())
