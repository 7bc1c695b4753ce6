"""How the durable cluster behaves as it grows: python -m bench.growth.run (make bench-growth).

Members, client threads, the cost of apply, the length of the log, failover, catching up, disks that stand still, and
what idle members cost. Each member is a process on loopback, and all are on one disk. Rounds are repeated whole; the
table has the median, the lowest and the highest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bench.cluster import ROOT
from bench.growth.parts import PARTS, Missing
from bench.peers.run import machine, names
from raftx.measure.network import TRANSPORTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each load")
    parser.add_argument("--transport", choices=TRANSPORTS, default="tcp")
    parser.add_argument("--only", type=names, default=(), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--json", metavar="PATH")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.only) - set(PARTS)):
        parser.error(f"--only: {', '.join(unknown)} is none of {', '.join(PARTS)}")
    root = Path(ROOT)
    root.mkdir(parents=True, exist_ok=True)
    print(f"{machine(root)}; {arguments.transport}", flush=True)
    rows: list[dict[str, Any]] = []
    for number in range(1, arguments.rounds + 1):
        for name, part in PARTS.items():
            if arguments.only and name not in arguments.only:
                continue
            began = time.monotonic()
            try:
                for what, value, unit in part(root, arguments.transport, arguments.seconds):
                    rows.append({"part": name, "what": what, "unit": unit, "value": value, "round": number})
            except Missing as error:
                print(f"not measured: {name}: {error}", flush=True)
            print(f"round {number}, {name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            if arguments.json:
                Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    show(rows)


def show(rows: list[dict[str, Any]]) -> None:
    """A table in Markdown."""
    print("\n| | | median | lowest to highest |\n|---|---|---|---|")
    for what, unit in dict.fromkeys([(row["what"], row["unit"]) for row in rows]):
        values = [row["value"] for row in rows if (row["what"], row["unit"]) == (what, unit)]
        print(f"| {what} | {unit} | {text(statistics.median(values))} | {text(min(values))} to {text(max(values))} |")


def text(value: float) -> str:
    """With about three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
