"""The durable cluster beside other libraries, in rounds that take turns: python -m bench.peers.run (make bench-peers).

Three processes each, on loopback and one disk. In a round every system has its turn, in an order that rotates, and so
have the bare limits; a cluster is made anew for each turn and size of entries. Medians over the rounds, with lowest and
highest.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.cluster import ROOT
from bench.peers import limits, plots, tables
from bench.peers.systems import Failed, Missing, System, everything
from raftx.measure.host import cores, file_system, interpreter

LEVELS = (1, 16, 64, 256, 1024)
SIZES = (16, 256, 4096, 65536)
MOST_BYTES = 8 << 20  # under way at once: beyond it the disk alone is measured, and this machine's memory
WARM_S = 0.5


def numbers(text: str) -> tuple[int, ...]:
    return tuple([int(each) for each in text.split(",")])


def names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def wanted(system: System, only: tuple[str, ...]) -> bool:
    return not only or any([system.key == each or system.name == each for each in only])


def turn(system: System, root: Path, arguments: argparse.Namespace, number: int, rows: list[dict[str, Any]]) -> None:
    """One system's turn in a round; what it has shown is in ``rows`` also when it fails."""
    for size in arguments.sizes:
        directory = Path(tempfile.mkdtemp(prefix=f"{system.key}-", dir=root)) / "members"
        try:
            system.start(directory)
            for role, mode in system.loads:
                if arguments.roles and role not in arguments.roles:
                    continue
                levels = [each for each in arguments.levels if each * size <= MOST_BYTES]
                system.load(role, mode, min(64, *levels) if levels else 1, WARM_S, size)
                for level in levels:
                    got = system.load(role, mode, level, arguments.seconds, size)
                    row = {
                        "system": system.name,
                        "transport": system.transport,
                        "role": role,
                        "mode": mode,
                        "outstanding": level,
                        "bytes": size,
                        "durable": system.durable,
                        "entries_per_s": round(got["entries"] / got["seconds"]),
                        "p50_us": round(got["p50_us"], 1),
                        "p99_us": round(got["p99_us"], 1),
                        "failed": got["failed"],
                        "round": number,
                    }
                    row.update({name: got[name] for name in ("why", "frames_dropped", "elections") if got.get(name)})
                    rows.append(row)
        finally:
            system.stop()
            shutil.rmtree(directory.parent, ignore_errors=True)


def machine(root: Path) -> str:
    processor = platform.processor() or platform.machine()
    told = Path("/proc/cpuinfo")
    for line in told.read_text(encoding="utf-8").splitlines() if told.exists() else ():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    kind = file_system(root).kind or "unknown file system"
    return f"{cores()} cores, {processor}; {kind}; {platform.system()} {platform.release()}; {interpreter()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each load")
    parser.add_argument("--levels", type=numbers, default=LEVELS, help="proposals under way, with commas between")
    parser.add_argument("--sizes", type=numbers, default=SIZES, help="bytes of an entry, with commas between")
    parser.add_argument("--roles", type=names, default=(), help="leader, follower, or both")
    parser.add_argument("--only", type=names, default=(), help=f"of {', '.join([each.key for each in everything()])}")
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--plots", metavar="DIRECTORY", help="SVG files; needs matplotlib")
    arguments = parser.parse_args()
    known = {name for each in everything() for name in (each.key, each.name)}
    if unknown := sorted(set(arguments.only) - known):
        parser.error(f"--only: {', '.join(unknown)} is none of {', '.join(sorted(known))}")
    root = Path(ROOT)
    root.mkdir(parents=True, exist_ok=True)
    here: list[System] = []
    print(machine(root))
    for system in everything():
        if not wanted(system, arguments.only):
            continue
        try:
            system.get()
        except Missing as error:
            print(f"not measured: {system.heading}: {error}", flush=True)
            continue
        here.append(system)
        print(f"{system.heading} {system.version}: {'durable' if system.durable else 'NOT durable'}", flush=True)
    rows: list[dict[str, Any]] = []
    for number in range(1, arguments.rounds + 1):
        started = time.monotonic()
        rows += [{**row, "round": number} for row in limits.measured(str(root), min(2.0, arguments.seconds))]
        at = (number - 1) % max(1, len(here))
        for system in here[at:] + here[:at]:
            try:
                turn(system, root, arguments, number, rows)
            except Failed as error:
                print(f"round {number}: {system.heading} failed: {error}", flush=True)
        print(f"round {number} of {arguments.rounds}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        if arguments.json:  # what has been measured stands, whatever comes
            Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    tables.show(rows, here)
    if arguments.plots:
        print(plots.draw(rows, here, Path(arguments.plots)))


if __name__ == "__main__":
    main()
