"""Every state that a power cut may leave of a member's directory, as many as are wanted: ``make crash``.

    python -m tests.tools.crash_states [--states 100000] [--only NAME] [--seed 1] [--jobs 2] [-v]

Scripts (first boot, appends, rotations, compaction, snapshots made and received, restarts) run on a simulated disk that
keeps a journal. After every step the states are built that the power may leave: the small combinations of what was not
synced all, others by chance; writes lost, kept in any order, torn at sectors and bytes, lengths and names lost. Each
is opened, and must have all that was acknowledged, nothing else, and no doubt; from some the log goes on, and of some
the opening is cut as well.

The log's format takes a sector of 512 bytes for something that a disk writes whole or not at all. A state in which one
of the log's sectors is half written may be refused, or be in doubt ("refused"); all else holds for it, too.

Fails when a promise was broken, or a kind of state was not reached.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.tools.crash import runs
from tests.tools.crash.sweep import WANTED, Result, missing, shared_out, sweep_raftx

HEADS = {
    "all kept": "kept",
    "all lost": "lost",
    "lost write": "write",
    "torn at sector": "sector",
    "torn at byte": "byte",
    "lost length": "length",
    "zero tail": "zeros",
    "garbage tail": "garbage",
    "reordered": "order",
    "lost name": "name",
    "lost rename": "rename",
    "half a rename": "half",
    "lost link": "link",
    "undone unlink": "unlink",
    "former life": "former",
    "repaired": "repair",
}


def _row(name: str, cells: list[object]) -> str:
    return f"{name:30}" + "".join([f"{each:>8,}" if isinstance(each, int) else f"{each:>8}" for each in cells])


def _line(name: str, each: Result) -> str:
    kinds = [each.kinds[kind] for kind in WANTED]
    return _row(name, [each.operations, each.states, *kinds, each.refused, len(each.wrong), f"{each.seconds:.0f}"])


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.crash_states",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--states", type=int, default=100_000, help="of all runs together (default: 100000)")
    parser.add_argument("--only", action="append", choices=list(runs.SCRIPTS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-v", "--verbose", action="store_true", help="name all states that break a promise")
    given = parser.parse_args(arguments)
    names = given.only or list(runs.SCRIPTS)
    begin = time.monotonic()
    shares = shared_out(given.states, names)
    print(_row("", ["steps", "states", *[HEADS.get(kind, kind) for kind in WANTED], "refused", "wrong", "s"]))
    results: list[Result] = []
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        futures = [pool.submit(sweep_raftx, name, shares[name], given.seed) for name in names]
        for name, future in zip(names, futures):
            results.append(future.result())
            print(_line(name, results[-1]), flush=True)
    total = Result("total")
    for each in results:
        total.operations += each.operations
        total.states += each.states
        total.kinds.update(each.kinds)
        total.refused += each.refused
        total.wrong += each.wrong
    total.seconds = time.monotonic() - begin
    print(_line("total", total))
    for text in total.wrong[: None if given.verbose else 10]:
        print(text)
    lacking = [] if given.only else missing(results)
    if lacking:
        print(f"not reached: {', '.join(lacking)}")
    enough = given.only or total.states >= given.states
    if not enough:
        print(f"only {total.states:,} different states")
    print(f"{len(total.wrong)} of {total.states:,} states break a promise")
    return 1 if total.wrong or lacking or not enough else 0


if __name__ == "__main__":
    sys.exit(main())
