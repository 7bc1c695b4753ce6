"""Three processes, durable, 256 bytes an entry: throughput and latency beside what disk and network do alone.

    python bench/bench_cluster.py [--seconds S] [--json PATH]

Closed loop: so many proposals are under way at any time, with a future each, and with propose_many in
four batches. Everything is measured in one run on one machine and told as a ratio.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.cluster import ROOT
from raftx.measure.cluster import Cluster, measured
from raftx.measure.disk import syncs_beside
from raftx.measure.figures import percentile
from raftx.measure.loads import SIZE
from raftx.measure.network import TRANSPORTS, round_trips

OUTSTANDING = (1, 16, 64, 256, 1024)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="for each load")
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--transport", choices=TRANSPORTS, default="nng", help="of the members")
    arguments = parser.parse_args()
    alone = syncs_beside(ROOT, 2.0)
    beside = syncs_beside(ROOT, 2.0, processes=3)
    trips = round_trips(arguments.transport)
    single = len(alone) / 2.0
    floor = percentile(trips, 0.5) + percentile(beside, 0.5)
    print(f"disk alone:            {single:,.0f} one-block syncs/s, p50 {percentile(alone, 0.5):,.0f} us")
    print(f"disk, two others sync: p50 {percentile(beside, 0.5):,.0f} us, p99 {percentile(beside, 0.99):,.0f} us")
    name = f"{arguments.transport} round trip:"
    print(f"{name:<22} p50 {percentile(trips, 0.5):,.0f} us, p99 {percentile(trips, 0.99):,.0f} us")
    rows = []
    with Cluster(ROOT, transport=arguments.transport) as cluster:
        leader = cluster.leader()
        print(f"three processes, {'compiled' if cluster.compiled else 'interpreted'}, {SIZE} bytes an entry")
        print(f"{'':<14}{'outstanding':>11}{'entries/s':>11}{'per sync alone':>15}{'p50 us':>9}{'p99 us':>9}", end="")
        print(f"{'syncs/s':>9}{'batch':>9}")
        for many in (False, True):
            cluster.ask(leader, "load", 64, 1.0, many)  # warm up
            for outstanding in OUTSTANDING:
                row, _ = measured(cluster, leader, outstanding, arguments.seconds, many)
                row["per_sync_alone"] = round(row["entries_per_s"] / single, 2)
                rows.append(row)
                print(
                    f"{row['mode']:<14}{outstanding:>11}{row['entries_per_s']:>11,}{row['per_sync_alone']:>14.1f}x"
                    f"{row['p50_us']:>9,}{row['p99_us']:>9,}{row['syncs_per_s']:>9,}{row['mean_batch']:>9,}"
                )
    ratio = rows[0]["p50_us"] / floor
    print(f"one outstanding, p50: {rows[0]['p50_us']:,} us, {ratio:.2f}x of one round trip and one sync beside others")
    if arguments.json:
        report = {"rows": rows, "syncs_alone_per_s": single, "floor_us": floor, "one_outstanding_ratio": ratio}
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
