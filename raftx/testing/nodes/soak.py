"""Schedules of whole nodes.

    python -m raftx.testing.nodes.soak [--schedules N | --seconds N] [--seed S] [--jobs N] [--modes] [--log]

Runs one seed after the other, tells what happened, and ends with status 1 and the line that replays it at the first
violation. With --modes every seed runs compiled and interpreted, and the two must have taken the same steps.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections import Counter

from ... import _pure
from ..invariants import Violation
from ..soak import in_words, options_of, outcomes, soak, tasks
from . import schedule

CHUNK = 50  # seeds that a job is given at once

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


def main(arguments: list[str] | None = None) -> int:
    """0 when all held, 1 at a violation, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="raftx.testing.nodes.soak", description="Schedules of whole nodes.")
    parser.add_argument("--log", action="store_true", help="show what the nodes log")
    options = options_of(parser, arguments)
    print(f"{options.mode}, whole nodes from seed {options.seed}, {in_words(options.jobs)}", flush=True)
    chunk = 1 if options.jobs == 1 else CHUNK
    given = tasks(options.seed, options.schedules, chunk, options.modes, options.log)
    return soak(outcomes(run, given, options.jobs), options.seconds, Sums(), lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(main())
