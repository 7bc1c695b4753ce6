"""The parity judge: random schedules on raftx and on another Raft, and what they answer compared.

    python -m interop.parity --with go --with rust --seeds 1..1000 [--jobs 2] [--interpreted]
    python -m interop.parity --replay build/parity/go-seed-17.jsonl

With etcd's Raft (go) everything is compared after every step; with raft-rs (rust) what its members have come to at
quiet points, where some differences are chosen ones (allowed.py). The other side is an oracle, a command that speaks
the session of protocol.md: ``--oracle`` names another one than the harness that is built here. The first difference
that nothing allows stops the run: the schedule is shrunk to the fewest steps that still show it, shown, and written to
a file that ``--replay`` runs again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from types import ModuleType
from typing import Any

import raftx
from raftx import _pure

from .cluster import checksums, scenarios
from .comparisons import COMPARISONS, Comparison, of_head
from .judging import QuietJudge, first_difference, show, write_scenario
from .oracle import Head, Oracle, OracleDied, Steps
from .toolchains import ROOT, BuildFailed, build_go

FOUND = ROOT / "build" / "parity"

REPORT_EVERY = 10  # schedules between two words of a worker to its parent
PROGRESS_S = 5.0
# The sums of a scenario must fit in a pipe while the next scenario is written.
PIPELINED_STEPS = 4000
# No more of the schedules than this may end by a chosen difference; of fewer schedules chance decides.
ALLOWED_SHARE = 0.05
ENOUGH_TO_TELL = 2000

# Hears of progress and differences; returns whether to go on.
Tell = Callable[[str, Any], bool]


class Comparer:
    """Compares schedules as they are made; one is answered by the oracle while raftx runs the next."""

    def __init__(self, comparison: Comparison, oracle: Oracle, package: ModuleType, tell: Tell) -> None:
        self.comparison = comparison
        self.oracle = oracle
        self.package = package
        self.tell = tell
        self.count = self.total = 0
        self.waiting: tuple[int, Head, Steps, list[str]] | None = None
        self.doubtful: list[tuple[int, Head, Steps, list[str]]] = []

    def run(self, seeds: Iterable[int], steps: int, keep_going: bool = False) -> None:
        """All of it, or up to the first difference."""
        seed = 0
        try:
            for seed in seeds:
                case = (seed, *self.comparison.schedule(seed, steps, self.package))
                if steps > PIPELINED_STEPS and not self.settle(keep_going):
                    return
                self.oracle.send(case[1], case[2])
                if not self.settle(keep_going):
                    return
                self.waiting = case
                if self.doubtful and not self.look(keep_going):
                    return
            if self.settle(keep_going):
                self.look(keep_going)
        except OracleDied as error:
            self.tell("died", (seed if self.waiting is None else self.waiting[0], str(error)))
        finally:
            self.tell("done", (self.count, self.total))

    def settle(self, keep_going: bool) -> bool:
        """Take the oracle's answer to the schedule that has none yet."""
        if self.waiting is None:
            return True
        case, self.waiting = self.waiting, None
        seed, _, taken, answers = case
        line = self.oracle.receive()
        self.count += 1
        self.total += len(taken)
        expected = checksums(answers)
        if line == expected:
            if self.count >= REPORT_EVERY:
                done, self.count, self.total = (self.count, self.total), 0, 0
                return self.tell("done", done)
            return True
        if self.comparison.quiet:  # counted, and to be looked at
            self.doubtful.append(case)
            return True
        pairs = [[text[at : at + 8] for at in range(0, len(text), 8)] for text in (expected, line)]
        return self.tell("difference", (seed, first_difference(*pairs))) and keep_going

    def look(self, keep_going: bool) -> bool:
        """Ask in full about the schedules whose sums differ: the difference may be a chosen one."""
        if not self.settle(keep_going):
            return False
        cases, self.doubtful = self.doubtful, []
        for seed, head, taken, answers in cases:
            judge = self.comparison.judge(self.oracle.ask, self.package)
            assert isinstance(judge, QuietJudge)
            theirs = self.oracle.ask(head, taken)
            rule = judge.rule(head, taken, answers, theirs)
            if rule is not None:
                if not self.tell("allowed", (seed, rule.number, rule.name)):
                    return False
            elif not (self.tell("difference", (seed, first_difference(answers, theirs))) and keep_going):
                return False
        return True


# --- several cores -------------------------------------------------------------------------------


def _worker(
    name: str,
    seeds: Sequence[int],
    steps: int,
    command: list[str],
    interpreted: bool,
    queue: Any,
    stop: Any,
    keep_going: bool,
) -> None:
    package = _pure.load() if interpreted else raftx

    def tell(kind: str, value: Any) -> bool:
        queue.put((kind, value))
        return not stop.is_set()

    oracle = Oracle(command)
    try:
        Comparer(COMPARISONS[name], oracle, package, tell).run(seeds, steps, keep_going)
    except BaseException as error:
        queue.put(("failed", f"{type(error).__name__}: {error}"))
        raise
    finally:
        oracle.close()
        queue.put(("end", None))


@dataclass
class Outcome:
    """What came of many schedules."""

    schedules: int = 0
    steps: int = 0
    seconds: float = 0.0
    allowed: Counter[tuple[int, str]] = field(default_factory=Counter)
    #: (seed, first step that differs)
    differing: list[tuple[int, int]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Schedules that a chosen difference has ended."""
        return self.allowed.total()

    @property
    def too_many(self) -> bool:
        """Whether chosen differences end more of them than they may."""
        return self.schedules >= ENOUGH_TO_TELL and self.ended > ALLOWED_SHARE * self.schedules

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        return not (self.differing or self.failures or self.too_many)

    def lines(self, title: str, mode: str) -> list[str]:
        """What there is to say of it."""
        agreed = self.schedules - self.ended - len(self.differing)
        rate = self.schedules / self.seconds if self.seconds else 0.0
        text = f"{title}: {self.schedules:,} schedules, {self.steps:,} steps: {agreed:,} agreed, "
        if self.allowed:
            text += f"{self.ended:,} ended by a chosen difference ({self.ended / self.schedules:.1%}), "
        lines = [f"{text}{len(self.differing)} different, {rate:.1f} schedules/s ({mode})"]
        for (number, name), count in sorted(self.allowed.items()):
            lines.append(f"    {count:6,}  difference {number}: {name}")
        if self.too_many:
            lines.append(f"    more than {ALLOWED_SHARE:.0%} of the schedules ended by a chosen difference")
        return lines


def judge_many(
    comparison: Comparison,
    seeds: Sequence[int],
    steps: int,
    jobs: int,
    command: list[str],
    interpreted: bool,
    keep_going: bool,
) -> Outcome:
    """Many seeds on several cores."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    stop = context.Event()
    workers = [
        context.Process(
            target=_worker,
            args=(comparison.name, seeds[job::jobs], steps, command, interpreted, queue, stop, keep_going),
            daemon=True,
        )
        for job in range(jobs)
    ]
    for worker in workers:
        worker.start()
    begin = shown = time.perf_counter()
    running = len(workers)
    outcome = Outcome()
    while running:
        try:
            kind, value = queue.get(timeout=1.0)
        except Empty:
            if not any([worker.is_alive() for worker in workers]) and queue.empty():
                outcome.failures.append("a worker ended without a word")
                break
            continue
        if kind == "done":
            outcome.schedules += value[0]
            outcome.steps += value[1]
        elif kind == "allowed":
            outcome.allowed[value[1:]] += 1
        elif kind == "difference":
            outcome.differing.append(value)
            if keep_going:
                print(f"seed {value[0]} differs at step {value[1]}", flush=True)
            else:
                stop.set()
        elif kind == "died":
            outcome.failures.append(f"seed {value[0]}: {value[1]}")
            stop.set()
        elif kind == "failed":
            outcome.failures.append(value)
            stop.set()
        else:
            running -= 1
        now = time.perf_counter()
        if now - shown > PROGRESS_S:
            shown = now
            rate = outcome.schedules / (now - begin)
            print(f"{comparison.title}: {outcome.schedules:,} schedules, {rate:.1f} schedules/s", flush=True)
    for worker in workers:
        worker.join(timeout=10)
    outcome.seconds = time.perf_counter() - begin
    outcome.differing.sort()
    return outcome


# --- one -----------------------------------------------------------------------------------------


def replay(path: Path, command: Sequence[str] | None, package: ModuleType) -> int:
    """Run a file on both sides and print every step. 0: they agree, but for a chosen difference."""
    status = 0
    with path.open() as lines:
        for head, steps, _ in scenarios(lines):
            comparison = of_head(head)
            oracle = Oracle(command or [str(comparison.build())])
            try:
                judge = comparison.judge(oracle.ask, package)
                ours, theirs = judge.both(head, steps)
                print(f"{head.get('name', path.name)}: {json.dumps(head)}")
                print(show(steps[: max(len(ours), len(theirs))], ours, theirs, all_steps=True))
                if first_difference(ours, theirs) is not None:
                    rule = judge.rule(head, steps, ours, theirs) if isinstance(judge, QuietJudge) else None
                    if rule is None:
                        status = 1
                    else:
                        print(f"the difference is a chosen one, {rule.number}: {rule.name}")
            finally:
                oracle.close()
    return status


def report(comparison: Comparison, seed: int, steps: int, command: Sequence[str], package: ModuleType) -> None:
    """Shrink the schedule of a seed that differs, print it and write it to a file."""
    head, taken, _ = comparison.schedule(seed, steps, package)
    oracle = Oracle(command)

    def ask(head: Head, steps: Steps) -> list[str]:
        nonlocal oracle
        try:
            return oracle.ask(head, steps)
        except OracleDied:
            oracle.close()
            oracle = Oracle(command)
            raise

    judge = comparison.judge(ask, package)
    path = FOUND / f"{comparison.name}-seed-{seed}.jsonl"
    try:
        if judge.difference(head, taken) is None:
            judge.both(head, taken)  # raises when the oracle dies of it
            print(f"seed {seed}: no difference when it is run alone")
            return
        small, fewer = judge.shrink(head, taken)
        ours, theirs = judge.both(small, fewer)
    except OracleDied as error:
        write_scenario(path, head, taken)
        print(f"seed {seed}: {error}\n{path} has the schedule")
        return
    finally:
        oracle.close()
    write_scenario(path, small, fewer)
    print(f"seed {seed}: shrunk from {len(taken)} to {len(fewer)} steps ({judge.asked} runs)")
    print(json.dumps(small))
    print(show(fewer, ours, theirs, all_steps=False))
    print(f"replay it: python -m interop.parity --replay {os.path.relpath(path)}")


def seeds_of(text: str) -> range:
    """``"3..9"``: 3 to 9, both included; ``"7"``: that one. Raises ValueError for anything else."""
    first, dots, last = text.partition("..")
    seeds = range(int(first), int(last if dots else first) + 1)
    if not seeds:
        raise ValueError("no seeds")
    return seeds


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. 0: all agree but for chosen differences; 1: a difference; 2: it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m interop.parity", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--with", dest="names", action="append", choices=COMPARISONS, metavar="NAME", help="go or rust; may be repeated"
    )
    parser.add_argument("--seeds", type=seeds_of, default=range(1, 1001), metavar="A..B", help="default: 1..1000")
    parser.add_argument("--steps", type=int, help="steps of a schedule (default: 200 with go, 40 with rust)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--go", metavar="PATH", help="the go command that builds etcd's harness")
    parser.add_argument("--oracle", type=shlex.split, metavar="COMMAND", help="another harness to compare with")
    parser.add_argument("--interpreted", action="store_true", help="run raftx interpreted")
    parser.add_argument("--keep-going", action="store_true", help="name all seeds that differ, shrink the first one")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run a file instead, and show all of it")
    options = parser.parse_args(arguments)
    if options.steps is not None and options.steps < 1:
        parser.error("--steps must be at least 1")
    package = _pure.load() if options.interpreted else raftx
    status = 0
    try:
        if options.go:
            build_go(options.go)
        if options.replay is not None:
            return replay(options.replay, options.oracle, package)
        for name in options.names or ["go"]:
            comparison = COMPARISONS[name]
            command = options.oracle or [str(comparison.build())]
            steps = options.steps or comparison.steps
            seeds = comparison.seeds(options.seeds)
            jobs = max(1, min(options.jobs, len(seeds)))
            outcome = judge_many(comparison, seeds, steps, jobs, command, options.interpreted, options.keep_going)
            mode = f"{'compiled' if package.COMPILED else 'interpreted'}, {jobs} jobs"
            print("\n".join(outcome.lines(comparison.title, mode)), flush=True)
            for failure in outcome.failures:
                print(f"parity: {failure}", file=sys.stderr)
            if outcome.differing:
                report(comparison, outcome.differing[0][0], steps, command, package)
            if outcome.differing or outcome.too_many:
                status = 1
            elif outcome.failures:
                status = status or 2
    except (BuildFailed, OSError) as error:
        print(f"parity: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
