"""Schedules of whole nodes.

    python -m raftx.testing.nodes.soak [--schedules N | --seconds N] [--seed S] [--jobs N] [--modes] [--log]

Runs one seed after the other, tells what happened, and ends with status 1 and the line that replays it at the first
violation. With --modes every seed runs compiled and interpreted, and the two must have taken the same steps.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator

from ... import _core, _pure
from ..invariants import Violation
from ..soak import above_zero, at_least_one, in_words, outcomes, seed_number, soak
from . import schedule

CHUNK = 50  # seeds that a job is given at once
SECONDS = 600.0

Task = tuple[int, int, bool, bool]  # first seed, how many, modes, whether what the nodes log is shown


class Sums:
    """What schedules came to, counted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, other: Sums) -> None:
        """Add what others came to."""
        self.counts.update(other.counts)

    @property
    def steps(self) -> int:
        """Rounds of workers."""
        return self.counts["rounds"]

    def __str__(self) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in sorted(self.counts.items()))


def run(task: Task) -> tuple[int, Sums, str]:
    """Some seeds, up to the first violation: how many, what they came to, and what is wrong."""
    first, count, modes, log = task
    if log:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    sums = Sums()
    for seed in range(first, first + count):
        again = f"python -m raftx.testing.nodes.soak --seed {seed} --schedules 1"
        try:
            result = schedule.run(seed, log=log)
        except Violation as violation:
            return seed - first, sums, f"{violation}; {again}"
        sums.counts.update(result.totals)
        sums.counts["schedules"] += 1
        if modes:
            other = importlib.import_module(f"{_pure.load().__name__}.testing.nodes.schedule")
            trace: int = other.run(seed, log=log).trace
            if trace != result.trace:
                return seed - first, sums, f"seed {seed}: the modes differ; {again} --modes"
    return count, sums, ""


def _tasks(seed: int, schedules: int | None, modes: bool, log: bool, chunk: int) -> Iterator[Task]:
    done = 0
    while schedules is None or done < schedules:
        count = chunk if schedules is None else min(chunk, schedules - done)
        yield seed + done, count, modes, log
        done += count


def main(arguments: list[str] | None = None) -> int:
    """0 when all held, 1 at a violation, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="raftx.testing.nodes.soak", description="Schedules of whole nodes.")
    parser.add_argument("--seconds", type=above_zero, help=f"default {SECONDS:.0f}, without --schedules")
    parser.add_argument("--schedules", type=at_least_one, help="how many")
    parser.add_argument("--seed", type=seed_number, help="the first one; default: drawn")
    parser.add_argument("--jobs", type=at_least_one, default=1, help="processes")
    parser.add_argument("--modes", action="store_true", help="run both implementations and compare")
    parser.add_argument("--log", action="store_true", help="show what the nodes log")
    options = parser.parse_args(arguments)
    seconds = SECONDS if options.seconds is None and options.schedules is None else options.seconds
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 40)
    mode = "interpreted" if _core.__file__.endswith(".py") else "compiled"
    if options.modes:
        if mode == "interpreted":
            parser.error("--modes needs a compiled build")
        mode = "compiled and interpreted"
    print(f"{mode}, whole nodes from seed {seed}, {in_words(options.jobs)}", flush=True)
    tasks = _tasks(seed, options.schedules, options.modes, options.log, 1 if options.jobs == 1 else CHUNK)
    return soak(outcomes(run, tasks, options.jobs), seconds, Sums(), lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(main())
