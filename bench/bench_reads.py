"""A thousand reads at once on each kind of member, beside writes: rates, latencies, and frames that they cost.

    python bench/bench_reads.py [--seconds S] [--json PATH]

Three processes, durable. A lot of 1,000 reads is asked for in one thread and awaited, then the next one; proposals are
a closed loop with 256 outstanding, of 256 bytes each, in the same run. A round of heartbeats is two frames.
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
from raftx.measure.loads import SIZE
from raftx.measure.network import TRANSPORTS

AT_ONCE = 1000
OUTSTANDING = 256
GOAL = 3  # times as many reads as writes


def measure(cluster, member, whose, level, seconds):
    """One load; a row of the table."""
    reads, elapsed, latencies, frames = cluster.ask(member, "reads", AT_ONCE, seconds, level)
    return {
        "level": level,
        "on": whose,
        "reads_per_s": round(reads / elapsed),
        "p50_us": round(percentile(latencies, 0.5)),
        "p99_us": round(percentile(latencies, 0.99)),
        "frames_a_lot": round(max(0.0, frames) / len(latencies), 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="for each load")
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--transport", choices=TRANSPORTS, default="nng", help="of the members")
    arguments = parser.parse_args()
    rows = []
    with Cluster(ROOT, transport=arguments.transport) as cluster:
        leader = cluster.leader()
        follower = next(id for id in cluster.pipes if id != leader)
        print(f"three processes, {'compiled' if cluster.compiled else 'interpreted'}, {AT_ONCE:,} reads at once")
        cluster.ask(leader, "load", 64, 1.0, False)  # warm up
        writes = []
        for _ in range(2):  # before and after: what a disk does varies
            entries, elapsed, _ = cluster.ask(leader, "load", OUTSTANDING, arguments.seconds, False)
            writes.append(entries / elapsed)
            if rows:
                break
            for level in ("linearizable", "lease", "stale"):
                for whose, member in (("leader", leader), ("follower", follower)):
                    rows.append(measure(cluster, member, whose, level, arguments.seconds))
        if cluster.leader() != leader:
            raise SystemExit("another member leads by now: measure again")
    rate = sum(writes) / len(writes)
    print(f"writes, {OUTSTANDING} outstanding, {SIZE} bytes: {rate:,.0f}/s ({writes[0]:,.0f} and {writes[1]:,.0f})")
    print(f"{'':<14}{'on':>10}{'reads/s':>11}{'of writes':>11}{'p50 us':>9}{'p99 us':>9}{'frames a lot':>14}")
    for row in rows:
        row["of_writes"] = round(row["reads_per_s"] / rate, 2)
        print(
            f"{row['level']:<14}{row['on']:>10}{row['reads_per_s']:>11,}{row['of_writes']:>10.1f}x"
            f"{row['p50_us']:>9,}{row['p99_us']:>9,}{row['frames_a_lot']:>14.1f}"
        )
    print(f"linearizable on the leader: {rows[0]['of_writes']:.1f}x the writes; the goal is {GOAL}x")
    if arguments.json:
        report = {"rows": rows, "writes_per_s": writes}
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
