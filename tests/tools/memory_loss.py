"""Members as processes whose directories are wiped or set back, and that are started all the same.

    python -m tests.tools.memory_loss [--runs N] [--seed S]

Each kind of loss meets each course of the others. What must hold: nothing acknowledged is missing on any member, all
have applied the same, the member says MemoryLost and does not open again, and it comes back by a rebuild. raftx.testing
has the same with simulated nodes (raftx.testing.nodes.forgetting), in which far more can happen.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.helpers.processes import WAIT, Processes

KINDS = ("wiped", "set back", "set back by a life")
COURSES = ("leader stays", "leader changes", "all restart", "third was down")
SETTINGS = {"tick_ms": 10, "election_ticks": 10, "proposal_timeout_ms": 3000}


class Run:
    """One cluster of three, and one member that loses its memory."""

    def __init__(self, directory: Path, kind: str, course: str, seed: int) -> None:
        self.directory, self.kind, self.course = directory, kind, course
        self.draw = random.Random(f"{seed} {kind} {course}")
        self.cluster = Processes(directory, **SETTINGS)
        self.acknowledged: list[bytes] = []
        self.sent = 0

    def run(self) -> int:
        """How many were acknowledged. Raises AssertionError."""
        with self.cluster as cluster:
            cluster.start()
            leader = cluster.leader().id
            victim = self.draw.choice([id for id in cluster.urls if id != leader])
            third = next(id for id in cluster.urls if id not in (leader, victim))
            copies = []
            lives = 3
            for life in range(1, lives + 1):
                self.command(self.draw.randint(1, 30))
                if life < lives:
                    cluster.kill(victim)
                    copies.append(self.directory / f"copy-{life}")
                    shutil.copytree(self.place(victim), copies[-1])
                    if self.course == "third was down" and life == lives - 1 and self.draw.random() < 0.5:
                        cluster.kill(third)  # it never hears of the last life
                    cluster.start(victim)
            if self.course == "third was down" and third in cluster.members:
                cluster.kill(third)
            self.command(self.draw.randint(5, 30))
            cluster.kill(victim)
            shutil.rmtree(self.place(victim))
            if self.kind != "wiped":
                shutil.copytree(copies[-1 if self.kind == "set back by a life" else 0], self.place(victim))
            self.take_course(leader, victim, third)
            self.judge(victim)
        return len(self.acknowledged)

    def place(self, id: int) -> Path:
        """A member's directory."""
        return self.directory / str(id)

    def take_course(self, leader: int, victim: int, third: int) -> None:
        """The victim is started again, and the others do what they do."""
        cluster = self.cluster
        again = [victim]
        if self.course == "leader changes":
            cluster.kill(leader)
            again.append(leader)
        elif self.course == "all restart":
            cluster.kill(leader)
            cluster.kill(third)
            again += [leader, third]
        elif self.course == "third was down":
            again.append(third)
        self.draw.shuffle(again)
        for id in again:
            cluster.members[id] = cluster.make(id)
            time.sleep(self.draw.choice((0, 0, 0.05, 0.3)))
        for id in again:
            cluster.members[id].receive("ready")

    def judge(self, victim: int) -> None:
        """It is recognised, does not come back as it is, comes back by a rebuild, and nothing is lost."""
        import raftx
        from raftx.storage.rebuild import rebuild

        cluster = self.cluster
        self.until(lambda: (cluster.members[victim].ask("status")["failure"] or "").startswith("MemoryLost"))
        cluster.kill(victim)
        try:
            raftx.FileStorage(self.place(victim)).open(victim, raftx.Config(id=victim).cluster)
        except raftx.MemoryLost:
            pass
        else:
            raise AssertionError("the directory opens again")
        self.command(3)
        rebuild(self.place(victim))
        cluster.start(victim)
        self.command(3)

        def same() -> bool:
            applied = {member.ask("status")["applied"] for member in cluster.members.values()}
            return len(applied) == 1 and not cluster.members[victim].ask("status")["in_doubt"]

        self.until(same)
        journals = [member.ask("journal") for member in cluster.members.values()]
        longest = max(journals, key=len)
        missing = [each for each in self.acknowledged if each not in longest]
        assert not missing, f"{len(missing)} of {len(self.acknowledged)} acknowledged commands are lost: {missing[:3]}"
        assert all(each == longest for each in journals), "the members disagree"
        assert len(set(longest)) == len(longest), "something was applied twice"

    def command(self, count: int) -> None:
        """So many commands are acknowledged, by whoever leads."""
        done = 0
        deadline = time.monotonic() + WAIT
        while done < count:
            assert time.monotonic() < deadline, "nothing is acknowledged"
            try:
                leader = self.cluster.leader()
            except TimeoutError:
                continue
            self.sent += 1
            command = b"command %d" % self.sent
            if isinstance(leader.ask("propose", command, answer="outcome"), int):
                self.acknowledged.append(command)
                done += 1

    def until(self, condition: Any) -> None:
        """Wait for it. Raises AssertionError."""
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)


def run(kind: str, course: str, seed: int) -> int:
    """One run, in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        return Run(Path(directory), kind, course, seed).run()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.memory_loss", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="of each kind and course")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    acknowledged = runs = 0
    begin = time.monotonic()
    for seed in range(options.seed, options.seed + options.runs):
        for kind, course in itertools.product(KINDS, COURSES):
            try:
                acknowledged += run(kind, course, seed)
            except (AssertionError, RuntimeError, TimeoutError) as error:
                print(f"seed {seed}, {kind}, {course}: {error}")
                return 1
            runs += 1
    seconds = time.monotonic() - begin
    print(f"{runs} runs, each member recognised, {acknowledged:,} acknowledged, none lost, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
