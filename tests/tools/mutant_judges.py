"""The two judges of mutants.py that run schedules; a program that is run inside of a changed copy of the source.

    python -m tests.tools.mutant_judges simulator [--seeds 600] [--steps 800] [--without 3,17]
    python -m tests.tools.mutant_judges go FILE [--without 3,17]

Prints one line of JSON: {"kills": [[schedule, what was seen], ...], "schedules": how many were run, "sure": whether
the kills are enough}. Stops when they are, or with ``--all`` goes on and names them all.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import json
import resource
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

# What one schedule may take, seconds of computing. Where nothing is wrong it takes some hundredths.
SCHEDULE_S = 20
# Mistakes that send without end must not take the memory of the machine.
MEMORY = 2 << 30
# A mistake makes the same seed take another way, which may end in one of the rare places where a cluster of the
# source as it is does not come to rest either. So that alone must be seen this often; all else is seen at once.
LIVENESS_KILLS = 3
# After so many seeds of small groups there is one of a large group.
LARGE_ONE_IN = 50

# What is added to a seed, for the number of a schedule of raftx/testing/damage.py, or of whole nodes.
DAMAGED = 1_000_000
NODES = 2_000_000

Case = tuple[int, Callable[[], str]]


class Endless(Exception):
    """A schedule does not come to its end."""


def _ends(signum: int, frame: object) -> None:
    raise Endless("the schedule does not end")


def simulator(seeds: Iterable[int], steps: int, package: ModuleType) -> Iterator[Case]:
    """Random schedules of a simulated cluster: each says "" or what was violated."""
    violation = package.testing.invariants.Violation

    def run(schedule: Callable[[int, int], object], seed: int) -> str:
        try:
            schedule(seed, steps)
        except violation as found:
            return str(found)
        return ""

    for seed in seeds:
        if seed < package.testing.large.LARGE:
            # Whole nodes.
            yield NODES + seed, lambda seed=seed: run(lambda seed, _: package.testing.nodes.schedule.run(seed), seed)  # type: ignore[misc]
        yield seed, lambda seed=seed: run(package.testing.schedule.schedule, seed)  # type: ignore[misc]
        if seed % 2 and seed < package.testing.large.LARGE:
            # Others, in which disks lose what was durable.
            yield DAMAGED + seed, lambda seed=seed: run(package.testing.damage.schedule, seed)  # type: ignore[misc]


def golden_traces(path: Path, package: ModuleType) -> Iterator[Case]:
    """Schedules that etcd's Raft has answered: each says "" or where raftx answers else."""
    from interop import golden, judging
    from interop.cluster import run
    from interop.oracle import Head, Steps

    def differs(head: Head, steps: Steps, expected: list[str]) -> str:
        answers = run(head, steps, package)
        at = judging.first_difference(answers, expected)
        if at is None:
            return ""
        ours, theirs = (each[at] if at < len(each) else "" for each in (answers, expected))
        return f"step {at} {json.dumps(steps[at])}: " + "; ".join(judging.explain(ours, theirs))

    for number, (head, steps, expected) in enumerate(golden.read(path), 1):
        yield number, lambda trace=(head, steps, expected): differs(*trace)  # type: ignore[misc]


def judge(
    cases: Iterable[Case], without: Sequence[int] = (), go_on: bool = False
) -> tuple[list[tuple[int, str]], int, bool]:
    """(kills as (schedule, what was seen), schedules run, whether the kills are enough).

    A schedule that breaks down or does not end is a kill. The last kill is the one that decided.
    """
    kills: list[tuple[int, str]] = []
    count = 0
    sure = False
    before = signal.signal(signal.SIGVTALRM, _ends)
    try:
        for number, run in cases:
            if number in without:
                continue
            count += 1
            signal.setitimer(signal.ITIMER_VIRTUAL, SCHEDULE_S)
            try:
                seen = run()
            except Exception as error:
                # No program should ever see this of a Raft; the Checker's own words are no exceptions here.
                seen = f"{type(error).__name__}: {error}"
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            if seen:
                kills.append((number, seen))
                sure = sure or " liveness: " not in seen or len(kills) >= LIVENESS_KILLS
                if sure and not go_on:
                    break
    finally:
        signal.signal(signal.SIGVTALRM, before)
    return kills, count, sure


def main(arguments: Sequence[str] | None = None) -> None:
    """The program. Refuses to judge anything but the copy that it was started in."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutant_judges", description=__doc__.splitlines()[0])
    parser.add_argument("judge", choices=("simulator", "go"))
    parser.add_argument("file", type=Path, nargs="?", help="golden traces, for go")
    parser.add_argument("--seeds", type=int, default=600)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--without", default="", help="schedules that are left out")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    import raftx
    import raftx.testing.damage
    import raftx.testing.large
    import raftx.testing.nodes.schedule
    import raftx.testing.schedule

    if Path(raftx.__file__).resolve().parent.parent != Path.cwd().resolve() or raftx.COMPILED:
        raise SystemExit(f"raftx is {raftx.__file__}, not the source in {Path.cwd()}: set RAFTX_PURE=1")
    if options.judge == "simulator":
        # Large groups last: each takes the time of many small ones.
        first = raftx.testing.large.LARGE
        large = range(first, first + options.seeds // LARGE_ONE_IN)
        cases = simulator([*range(options.seeds), *large], options.steps, raftx)
    else:
        cases = golden_traces(options.file, raftx)
    without = [int(each) for each in options.without.split(",") if each]
    kills, count, sure = judge(cases, without, options.all)
    print(json.dumps({"kills": kills, "schedules": count, "sure": sure}))


if __name__ == "__main__":
    main()
