"""SIGKILL: members as real processes that write, snapshot and compact, and are killed at random moments.

    python -m tests.tools.kill [--writer 300] [--cluster 100] [--seed 1]

A writer alone, which is killed and started again; and three members, of which one, two or all are killed at once.
After each kill what was acknowledged has to be there, at its index, with its content, on every member, and nothing
twice; what was said not to be done must not. Prints a table; exits with 1 when something was wrong.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import json
import pathlib
import random
import sys
import tempfile
import time
from collections import Counter

import raftx
from tests.helpers.ports import ports
from tests.helpers.programs import Program, look, settled
from tests.helpers.writer import Judge

SEGMENT = 256 << 10


def kill_writer(directory: pathlib.Path, cycles: int, draw: random.Random) -> Counter[str]:
    """One member alone. Raises AssertionError."""
    path = str(directory / "alone")
    raftx.FileStorage.create(path, id=1, members=[1], segment_bytes=SEGMENT)
    judge = Judge()
    for _ in range(cycles):
        program = Program(judge, path, "--go", "--size", draw.choice((40, 400, 3000)))
        begun = draw.random() < 0.85
        if begun:
            program.hear("done")
            time.sleep(draw.random() ** 2 * 0.8)
        else:
            time.sleep(draw.random())  # while it starts, perhaps
        program.kill()
        state = look(raftx, path)
        assert state["doubt"] == "", state["doubt"]
        judge.judge([state])
        judge.counts["kills"] += 1
        judge.counts["kills before it had begun"] += not begun
    judge.counts["snapshot at entry"] = state["snapshot"]["index"]
    judge.counts["segments"] = len(list((directory / "alone").glob("wal-*.log")))
    return judge.counts


class Cluster:
    """Three members."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(3), 1)}
        self.paths = {id: str(directory / str(id)) for id in self.urls}
        self.judge = Judge()
        self.programs: dict[int, Program] = {}
        for id, path in self.paths.items():
            raftx.FileStorage.create(path, id=id, members=self.urls, segment_bytes=SEGMENT)

    def start(self, *ids: int) -> None:
        settings = json.dumps({"proposal_timeout_ms": 4000})
        for id in ids:
            self.programs[id] = Program(
                self.judge, self.paths[id], "--id", id, "--urls", json.dumps(self.urls), "--settings", settings
            )
        for id in ids:
            self.programs[id].hear("begun")

    def kill(self, *ids: int) -> None:
        programs = [self.programs.pop(id) for id in ids]
        for program in programs:
            program.process.kill()
        for program in programs:
            program.kill()

    def settled(self) -> list[dict]:
        """Nobody proposes; the states, once all have applied the same."""
        return settled(list(self.programs.values()), set(self.urls))


def kill_cluster(directory: pathlib.Path, cycles: int, draw: random.Random) -> Counter[str]:
    """Three members. Raises AssertionError."""
    cluster = Cluster(directory)
    judge = cluster.judge
    cluster.start(*cluster.urls)
    try:
        for _ in range(cycles):
            for program in cluster.programs.values():
                program.tell("go")
            time.sleep(0.1 + draw.random() * 0.8)
            victims = draw.sample(sorted(cluster.urls), draw.choice((1, 1, 2, 3)))
            cluster.kill(*victims)
            judge.counts[f"{len(victims)} killed at once"] += 1
            if draw.random() < 0.5:
                time.sleep(draw.random() * 0.5)
            cluster.start(*victims)
            judge.judge(cluster.settled())
        states = cluster.settled()
        judge.counts["snapshot at entry"] = min(state["snapshot"]["index"] for state in states)
        judge.counts["segments"] = max(
            len(list(pathlib.Path(path).glob("wal-*.log"))) for path in cluster.paths.values()
        )
    finally:
        for program in cluster.programs.values():
            program.kill()
    return judge.counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--writer", type=int, default=300, help="cycles of one member alone")
    parser.add_argument("--cluster", type=int, default=100, help="cycles of three members")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    names = ("cycles", "done", "checked", "not", "unknown", "snapshot at entry", "segments", "seconds")
    print(f"{'':<10}" + "".join([f"{name:>18}" for name in names]), flush=True)
    wrong = 0
    for what, run, cycles in (("writer", kill_writer, options.writer), ("cluster", kill_cluster, options.cluster)):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            try:
                counts = run(pathlib.Path(directory), cycles, random.Random(options.seed))
            except AssertionError as error:
                print(f"{what:<10} {error}", flush=True)
                wrong += 1
                continue
        counts["cycles"], counts["seconds"] = cycles, round(time.monotonic() - began)
        rest = ", ".join([f"{counts[name]} {name}" for name in sorted(counts) if "kill" in name])
        print(f"{what:<10}" + "".join([f"{counts[name]:>18,}" for name in names]) + f"  ({rest})", flush=True)
    print("nothing acknowledged is missing" if not wrong else f"{wrong} of 2 failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
