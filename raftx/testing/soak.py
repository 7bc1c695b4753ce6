"""Schedules without end: python -m raftx.testing.soak [--seconds N | --schedules N] [--seed S] [--steps N] [--jobs N]

Runs one seed after the other until the time is up or so many are done, tells what happened, and ends with
status 1 and the line that replays it at the first violation. With --modes every seed runs compiled and
interpreted, and the two must have taken the same steps. Every twentieth is of a large group.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from .. import _core, _pure
from . import large, schedule
from .invariants import Violation
from .totals import Totals

TELL_S = 10.0
SECONDS = 600.0
CHUNK = 20  # seeds that a job is given at once

Task = tuple[int, int, int, bool]  # first seed, how many, steps, modes
Outcome = tuple[int, Totals, str]  # how many were run, what they came to, and what is wrong


def run(task: Task) -> Outcome:
    """Some seeds, one after the other, up to the first violation."""
    first, count, steps, modes = task
    totals = Totals()
    for done, seed in enumerate(large.with_large(first, count)):
        try:
            simulation = schedule.schedule(seed, steps)
        except Violation as violation:
            return done, totals, f"{violation}; python -m raftx.testing.soak --seed {seed} --steps {steps}"
        totals.add(simulation.totals)
        if modes:
            wrong = compare(seed, steps, simulation.trace)
            if wrong:
                return done, totals, wrong
    return count, totals, ""


def compare(seed: int, steps: int, trace: int) -> str:
    """What is wrong when the interpreted package runs a seed that came to ``trace`` here."""
    other = importlib.import_module(f"{_pure.load().__name__}.testing.schedule")
    interpreted: int = other.schedule(seed, steps).trace
    if interpreted != trace:
        return (
            f"seed {seed}, {steps} steps: the modes differ, {trace:#010x} and {interpreted:#010x}; "
            f"python -m raftx.testing.soak --modes --seed {seed} --steps {steps} --schedules 1"
        )
    return ""


def tasks(seed: int, schedules: int | None, chunk: int, *rest: Any) -> Iterator[Any]:
    """(first seed, how many, rest) for each job: ``chunk`` seeds, ``schedules`` in all; None: without end."""
    done = 0
    while schedules is None or done < schedules:
        count = chunk if schedules is None else min(chunk, schedules - done)
        yield seed + done, count, *rest
        done += count


def outcomes(run: Callable[[Any], Any], tasks: Iterator[Any], jobs: int) -> Iterator[Any]:
    """Outcomes in the order of the tasks; no more tasks are begun than the jobs can keep up with."""
    if jobs == 1:
        yield from map(run, tasks)
        return
    # A worker that dies ends the run with BrokenProcessPool; a Pool would wait for it.
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    waiting: deque[Future[Any]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(run, task))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def soak(outcomes: Iterator[Any], seconds: float | None, totals: Any, tell: Callable[[str], None]) -> int:
    """Sum outcomes up, in ``totals``, until one is wrong or the time is up. 0 when all held, 1 otherwise."""
    begin = told = time.monotonic()
    for _, some, wrong in outcomes:
        totals.add(some)
        if wrong:
            tell(f"{totals}\nVIOLATION: {wrong}")
            return 1
        now = time.monotonic()
        if seconds is not None and now - begin >= seconds:
            break
        if now - told >= TELL_S:
            told = now
            tell(f"{now - begin:,.0f} s: {totals}")
    spent = time.monotonic() - begin
    tell(f"no violation in {spent:,.1f} s ({totals.steps / max(spent, 0.001):,.0f} steps/s): {totals}")
    return 0


def at_least_one(text: str) -> int:
    """A number of things of which there has to be one at least. For argparse: raises ArgumentTypeError."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return number


def above_zero(text: str) -> float:
    """Seconds, more than none. Likewise."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return seconds


def seed_number(text: str) -> int:
    """The number of a schedule. Likewise."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, not {text!r}")
    return int(text)


def in_words(number: int) -> str:
    """How many jobs, in words."""
    return f"{number:,} job{'s' * (number != 1)}"


def options_of(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """What was asked of a soak. Beside the parser's own: seconds, schedules, seed, jobs, modes; ``mode`` in words."""
    parser.add_argument("--seconds", type=above_zero, help=f"default {SECONDS:.0f}, without --schedules")
    parser.add_argument("--schedules", type=at_least_one, help="how many")
    parser.add_argument("--seed", type=seed_number, help="the first one; default: drawn")
    parser.add_argument("--jobs", type=at_least_one, default=1, help="processes")
    parser.add_argument("--modes", action="store_true", help="run both implementations and compare")
    options = parser.parse_args(arguments)
    if options.seconds is None and options.schedules is None:
        options.seconds = SECONDS
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 40)
    options.mode = "interpreted" if _core.__file__.endswith(".py") else "compiled"
    if options.modes:
        if options.mode == "interpreted":
            parser.error("--modes needs a compiled build")
        options.mode = "compiled and interpreted"
    return options


def main(arguments: list[str] | None = None) -> int:
    """0 when all held, 1 at a violation, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="raftx.testing.soak", description="Random schedules under the checker.")
    parser.add_argument("--steps", type=at_least_one, default=2000, help="of each schedule")
    options = options_of(parser, arguments)
    seed, steps, jobs = options.seed, options.steps, options.jobs
    print(f"{options.mode}, from seed {seed}, {steps:,} steps each, {in_words(jobs)}", flush=True)
    given = tasks(seed, options.schedules, 1 if jobs == 1 else CHUNK, steps, options.modes)
    return soak(outcomes(run, given, jobs), options.seconds, Totals(), lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(main())
