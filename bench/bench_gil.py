"""GIL-proof: the latency of consensus while a Python thread is busy in every process.

    python bench/bench_gil.py [--seconds S] [--long S] [--json PATH]

The same cluster idle, with a busy thread in each process that holds no GIL (what two busy cores cost
anybody), and with a busy Python thread in each. The engine's own stamps tell how long a round of
proposals took: until the engine appended it (queue), until it was durable here (wal), until a quorum
had it (quorum, counted from the append), until the state machine had it (apply, from the commit); one
proposal every 5 ms, made by a thread without the GIL. "End to end" is what Python code sees that keeps
16 proposals under way and competes for the GIL like everybody. The last block is the same through
pynng's Python calls.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.cluster import ROOT
from raftx.measure.cluster import Cluster
from raftx.measure.figures import percentile
from raftx.measure.network import TRANSPORTS

PERIOD_S = 0.005
OUTSTANDING = 16
STAGES = ("queue", "wal", "quorum", "apply", "consensus", "end to end")


def figures(latencies, rows):
    """(p50, p99) in us of each stage; consensus is from the intake to the commit."""
    times = {
        "queue": [(r[2] - r[1]) / 1000 for r in rows],
        "wal": [(r[3] - r[2]) / 1000 for r in rows if r[3]],
        "quorum": [(r[4] - r[2]) / 1000 for r in rows],
        "apply": [(r[5] - r[4]) / 1000 for r in rows],
        "consensus": [(r[4] - r[1]) / 1000 for r in rows],
        "end to end": latencies,
    }
    return {name: (round(percentile(values, 0.5)), round(percentile(values, 0.99))) for name, values in times.items()}


def measure(cluster, busy, seconds):
    """One condition; its figures and what happened to the term meanwhile."""
    if busy:
        cluster.everybody("burn", busy)
    leader = cluster.leader()
    cluster.ask(leader, "load", OUTSTANDING, 1.0, False)
    before = cluster.ask(leader, "status")
    rows = cluster.ask(leader, "paced", PERIOD_S, seconds)
    _, _, latencies = cluster.ask(leader, "load", OUTSTANDING, min(5.0, seconds), False)
    after = cluster.ask(leader, "status")
    if busy:
        cluster.everybody("cool")
    return {
        "stages": figures(latencies, rows),
        "rounds": len(rows),
        "elections": after["term"] - before["term"],
        "seconds": seconds,
    }


def show(name, result):
    cells = "".join([f"{p50:>9,}{p99:>10,}" for p50, p99 in (result["stages"][stage] for stage in STAGES)])
    print(f"{name:<22}{cells}{result['elections']:>6} in {result['seconds']:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each condition")
    parser.add_argument("--long", type=float, default=60.0, help="for the busy Python threads")
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--transport", choices=TRANSPORTS, default="nng", help="of the members")
    arguments = parser.parse_args()
    print("us, p50 and p99")
    print(" " * 22 + "".join([f"{stage:>19}" for stage in STAGES]) + "  elections")
    report = {}
    ways = [("without the GIL", {"transport": arguments.transport})]
    if arguments.transport == "nng":
        ways.append(("pynng's Python calls", {"use_gil": True}))
    for way, options in ways:
        print(way)
        with Cluster(ROOT, **options) as cluster:
            for busy, seconds in ((None, arguments.seconds), ("c", arguments.seconds), ("python", arguments.long)):
                name = {None: "idle", "c": "busy, no GIL", "python": "busy, Python"}[busy]
                if options.get("use_gil") and busy == "python":
                    seconds = arguments.seconds
                try:
                    result = measure(cluster, busy, seconds)
                except (RuntimeError, TimeoutError) as error:
                    print(f"  {name:<20}failed: {str(error).strip().splitlines()[-1]}")
                    break
                report[f"{way}, {name}"] = result
                show("  " + name, result)
    base, busy = (
        report[f"without the GIL, {name}"]["stages"]["consensus"] for name in ("busy, no GIL", "busy, Python")
    )
    print(f"busy Python against busy C, consensus: p50 {busy[0] / base[0]:.2f}x, p99 {busy[1] / base[1]:.2f}x")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
