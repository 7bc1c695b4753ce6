"""A mixed cluster: raftx compiled, raftx interpreted and etcd's Raft as the three members of one group.

    python -m interop.mixed --seeds 1..500 [--jobs 2]
    python -m interop.mixed --replay 17

Each seed is one schedule (mixed_schedule.py); etcd's member lives in the harness around it, and messages cross in the
neutral form of protocol.md. The exit status is 0 only when the members of every schedule agreed, at every moment and in
the end, and when the schedules together exercised everything in REQUIRED: a run that never sent a snapshot from one
library to the other proves nothing about it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shlex
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from queue import Empty
from types import ModuleType
from typing import Any

import raftx
from raftx import _pure

from .mixed_hosts import Local, Remote, Session
from .mixed_schedule import KINDS, NAMES, Home, Schedule, Stalemate
from .mixed_watch import Disagreement
from .oracle import OracleDied
from .outside import Json
from .parity import seeds_of
from .toolchains import BuildFailed, build_go

PROGRESS_S = 10.0
# How often a schedule is drawn anew that ends in a stalemate; how many of all may, beyond the first few.
ATTEMPTS = 5
STALEMATE_SHARE = 0.05

_WAYS = ("from raftx to etcd", "from etcd to raftx")
#: what must have happened in a run, each at least once
REQUIRED = (
    *[f"elections won by {name}" for name in NAMES],
    *[f"restarts of {name}" for name in NAMES],
    *[f"schedules with {way} writes of {name}" for way in ("synchronous", "asynchronous") for name in NAMES],
    *[f"reads answered to {name}" for name in NAMES],
    *[f"{kind} {way}" for kind in KINDS.values() for way in _WAYS],
    *[f"snapshots {way}" for way in _WAYS],
    "proposals applied",
    "changes applied",
    "joint configurations",
    "members removed",
    "members that came back",
    "voters demoted",
    "learners promoted",
    "transfers that succeeded",
    "crashes",
    "messages lost",
    "messages doubled",
    "messages reordered",
    "messages delayed",
)


class Failed(Exception):
    """A schedule in which something that must hold did not; the text has the steps."""


def homes(etcd: Callable[[Json], Any], compiled: ModuleType = raftx) -> dict[str, Home]:
    """Where the three members live."""
    pure = _pure.load()
    return {
        "compiled": lambda head: Local(head, compiled),
        "interpreted": lambda head: Local(head, pure),
        "etcd": etcd,
    }


def run(seed: int, of: dict[str, Home], counts: Counter[str]) -> list[str]:
    """Run the schedule of a seed, drawn anew after a stalemate; returns its steps. Raises Failed."""
    for attempt in range(ATTEMPTS):
        found: Counter[str] = Counter()
        try:
            steps = _run(seed, of, found, attempt)
        except Stalemate:
            counts["stalemates, drawn anew"] += 1
        else:
            counts.update(found)
            return steps
    raise Failed(f"seed {seed}: every one of {ATTEMPTS} schedules ends in a stalemate")


def _run(seed: int, of: dict[str, Home], counts: Counter[str], attempt: int) -> list[str]:
    schedule = Schedule(seed, of, counts, attempt)
    try:
        schedule.run()
    except (Disagreement, OracleDied) as error:
        members = ", ".join([str(seat) for seat in schedule.seats.values()])
        raise Failed(_report(seed, members, schedule, str(error))) from error
    except Stalemate:
        raise
    except Exception as error:
        members = ", ".join([str(seat) for seat in schedule.seats.values()])
        raise Failed(_report(seed, members, schedule, traceback.format_exc())) from error
    finally:
        schedule.end()
    return schedule.steps


def _report(seed: int, members: str, schedule: Schedule, what: str) -> str:
    steps = "\n".join([f"{number:5} {step}" for number, step in enumerate(schedule.steps)])
    states = "\n".join([f"{seat}: {' '.join(seat.words)}" for seat in schedule.seats.values()])
    return f"seed {seed} ({members}): {schedule.head}\n{steps}\n{states}\nseed {seed}: {what}"


def missing(counts: Counter[str]) -> list[str]:
    """What a run should have exercised, and did not."""
    return [name for name in REQUIRED if not counts[name]]


def run_all(seeds: Iterable[int], command: Sequence[str], tell: Callable[[str, Any], bool]) -> None:
    """Run schedules one after the other, as long as ``tell`` agrees."""
    session = Session(command)
    try:
        of = homes(lambda head: Remote(head, session))
        for seed in seeds:
            counts: Counter[str] = Counter()
            run(seed, of, counts)
            if not tell("done", counts):
                return
    except Failed as failed:
        tell("failed", str(failed))
    finally:
        session.close()


def _worker(seeds: range, command: list[str], queue: Any, stop: Any) -> None:
    def tell(kind: str, value: Any) -> bool:
        queue.put((kind, value))
        return not stop.is_set()

    try:
        run_all(seeds, command, tell)
    except BaseException:
        tell("failed", traceback.format_exc())
    tell("over", None)


def run_parallel(seeds: range, command: list[str], jobs: int) -> tuple[Counter[str], list[str]]:
    """(what happened in all schedules, what failed) on several cores."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    stop = context.Event()
    workers = [
        context.Process(target=_worker, args=(seeds[job::jobs], command, queue, stop), daemon=True)
        for job in range(jobs)
    ]
    for worker in workers:
        worker.start()
    counts: Counter[str] = Counter()
    failures: list[str] = []
    running = len(workers)
    shown = time.perf_counter()
    while running:
        try:
            kind, value = queue.get(timeout=1.0)
        except Empty:
            if not any([worker.is_alive() for worker in workers]) and queue.empty():
                failures.append("a worker ended without a word")
                break
            continue
        if kind == "done":
            counts.update(value)
        elif kind == "failed":
            failures.append(value)
            stop.set()
        else:
            running -= 1
        if time.perf_counter() - shown > PROGRESS_S:
            shown = time.perf_counter()
            print(f"mixed: {counts['schedules']} schedules", flush=True)
    for worker in workers:
        worker.join(timeout=10)
    return counts, failures


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. 0: all agree; 1: they do not, or not everything was exercised; 2: it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m interop.mixed", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=seeds_of, default=range(1, 501), metavar="A..B", help="default: 1..500")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--go", metavar="PATH", help="the go command that builds etcd's harness")
    parser.add_argument("--with", dest="command", type=shlex.split, metavar="COMMAND", help="another harness")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one schedule and show its steps")
    options = parser.parse_args(arguments)
    try:
        command = options.command or [str(build_go(options.go))]
        if options.replay is not None:
            return replay(options.replay, command)
    except (BuildFailed, OSError) as error:
        print(f"mixed: {error}", file=sys.stderr)
        return 2
    begin = time.perf_counter()
    counts, failures = run_parallel(options.seeds, command, max(1, min(options.jobs, len(options.seeds))))
    for name in sorted(counts):
        print(f"{counts[name]:>9,} {name}")
    seconds = time.perf_counter() - begin
    if failures:
        print("\n".join(failures), file=sys.stderr)
        return 1
    lacking = missing(counts)
    if lacking:
        print(f"mixed: in {counts['schedules']} schedules there was no: {', '.join(lacking)}", file=sys.stderr)
        return 1
    if counts["stalemates, drawn anew"] > 2 + STALEMATE_SHARE * counts["schedules"]:
        print("mixed: too many schedules end in a stalemate", file=sys.stderr)
        return 1
    mode = "compiled, interpreted" if raftx.COMPILED else "interpreted twice"
    print(f"mixed: {counts['schedules']} schedules of raftx ({mode}) and etcd agree, {seconds:.0f} s")
    return 0


def replay(seed: int, command: Sequence[str]) -> int:
    """Run one schedule and show its steps."""
    session = Session(command)
    try:
        steps = run(seed, homes(lambda head: Remote(head, session)), Counter())
    except Failed as failed:
        print(failed)
        return 1
    finally:
        session.close()
    print("\n".join([f"{number:5} {step}" for number, step in enumerate(steps)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
