"""Members that come and go as real processes, while everybody proposes and members are killed.

    python -m tests.tools.churn [--cycles 200] [--seed 1]

A group of three. In each cycle a new member is founded, started and added, on a random member; then one of the others,
perhaps the leader, is removed, and its process has to end by itself, with Removed. Meanwhile members are killed with
SIGKILL and started again: the one that was asked, the new one, the one that is to go. After each cycle what was
acknowledged has to be there on every member, nothing twice, and nothing that was said not to be done. Prints a table;
exits with 1 when something was wrong.
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
from tests.helpers.programs import WAIT, Program, settled
from tests.helpers.writer import Judge

SEGMENT = 256 << 10
PORTS = 6  # a member that has gone leaves its own to another one


class Group:
    """Three members, of which one goes when another one has come."""

    def __init__(self, directory: pathlib.Path, draw: random.Random) -> None:
        self.directory, self.draw = directory, draw
        self.free = [f"tcp://127.0.0.1:{port}" for port in ports(PORTS)]
        self.judge = Judge()
        self.programs: dict[int, Program] = {}
        self.next = 4
        self.urls = {id: self.free.pop(0) for id in (1, 2, 3)}
        for id in self.urls:
            raftx.FileStorage.create(self.path(id), id=id, members=self.urls, segment_bytes=SEGMENT)
        for id in self.urls:
            self.start(id)
        for program in self.programs.values():
            program.hear("begun")

    def path(self, id: int) -> pathlib.Path:
        return self.directory / str(id)

    def start(self, id: int) -> None:
        """Begin a life; its transport is told its own address alone."""
        urls, settings = json.dumps({id: self.urls[id]}), json.dumps({"election_ticks": 20})
        self.programs[id] = Program(
            self.judge,
            str(self.path(id)),
            "--id",
            id,
            "--urls",
            urls,
            "--settings",
            settings,
            "--go",
            "--width",
            4,
            "--rest",
            3,
        )

    def kill(self, id: int) -> None:
        """SIGKILL, and another life a little later."""
        self.programs.pop(id).kill()
        self.judge.counts["kills"] += 1
        time.sleep(self.draw.random() * 0.3)
        self.start(id)
        self.programs[id].hear("begun")

    def change(self, command: str, others: list[int], victims: list[int]) -> None:
        """Ask one of the others, until it is done; meanwhile members are killed, perhaps."""
        end = time.monotonic() + 3 * WAIT
        while True:
            asked = self.programs[self.draw.choice(others)]
            asked.tell(command)
            if victims and self.draw.random() < 0.6:
                time.sleep(self.draw.random() * 1.5)
                self.kill(self.draw.choice(victims))
            try:
                answer = asked.hear("changed")
            except (EOFError, TimeoutError) as error:
                answer = f"changed unknown {error}"
            self.judge.counts[answer.split(" ")[1] + " changes"] += 1
            if answer.startswith("changed done"):
                return
            assert time.monotonic() < end, f"{command}: {answer}"

    def cycle(self) -> None:
        """One comes, and one goes."""
        id, self.next = self.next, self.next + 1
        self.urls[id] = self.free.pop(0)
        present = sorted(self.programs)
        raftx.FileStorage.create(self.path(id), id=id, join=[self.urls[present[0]]], segment_bytes=SEGMENT)
        self.start(id)
        self.programs[id].hear("begun")
        self.change(f"add {id} {self.urls[id]}", present, [*present, id])
        gone = self.draw.choice(present)
        others = [each for each in self.programs if each != gone]
        self.change(f"remove {gone}", others, others)
        program = self.programs.pop(gone)
        heard = program.hear("failed")
        assert heard.startswith("failed Removed"), heard
        program.end()
        self.free.append(self.urls.pop(gone))
        self.judge.judge(self.settled())
        for each in self.programs.values():
            each.tell("go")

    def settled(self) -> list[dict]:
        """Nobody proposes; the states, once all have applied the same."""
        return settled(list(self.programs.values()), set(self.urls))


def run(cycles: int, seed: int) -> Counter[str]:
    """So many cycles. Raises AssertionError."""
    with tempfile.TemporaryDirectory() as directory:
        group = Group(pathlib.Path(directory), random.Random(seed))
        try:
            for _ in range(cycles):
                group.cycle()
        finally:
            for program in group.programs.values():
                program.kill()
        return group.judge.counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    try:
        counts = run(options.cycles, options.seed)
    except AssertionError as error:
        print(error)
        return 1
    names = ("done", "checked", "not", "unknown", "kills", "done changes", "not changes", "unknown changes")
    print(", ".join([f"{counts[name]:,} {name}" for name in names]))
    print(
        f"{options.cycles} members came and went in {time.monotonic() - began:.0f} s: nothing acknowledged is missing"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
