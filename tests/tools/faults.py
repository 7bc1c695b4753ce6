"""Every operation of scripted runs of the storage fails once, and what comes of it: ``make faults``.

    python -m tests.tools.faults [--only NAME] [--every 1] [--jobs 2] [-v]

The scripts are those of ``make crash``. In each case one operation fails: a write, a sync, an opening, a read, a
creation, a reservation, a new name, a name less. It fails with EIO or with ENOSPC, and a write also half done. What a
failed sync was to make durable is lost with the next power cut, though reads still see it until then. Then:

* the error is StorageFailed or StorageError, and names its cause; or the storage goes on, as it may without room;
* a log that has failed stays so: nothing is written any more;
* the process starts again on a disk that works: all that was acknowledged is there. It writes, the power is cut, and
  all is there once more; or the power is cut at once.

Outcomes: "ended" with an error, "went on" to the end of the script, "wrong". Fails when anything was wrong.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import errno
import logging
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import ModuleType
from typing import Any

from tests.helpers.implementations import module
from tests.tools.crash import judge, runs
from tests.tools.crash.judge import Wrong
from tests.tools.crash.runs import SCRIPTS, Run

MARK = "wal.mark"
# What comes after the fault: the power is cut; the process starts again; the same, and then the power is cut
WAYS = (THE_POWER, A_START, AND_THEN_THE_POWER) = range(3)
CODES = ((errno.EIO, False), (errno.ENOSPC, False), (errno.EIO, True), (errno.ENOSPC, True))


@dataclass
class Result:
    """What a script came to."""

    name: str
    positions: int = 0
    #: by kind of operation
    operations: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class _Disks:
    """Makes disks that note which kind of operation comes when, and let one fail."""

    def __init__(self, impl: ModuleType) -> None:
        kind = module(impl, "testing.disk").SimDisk

        class Noted(kind):  # type: ignore[misc, valid-type]
            """Each operation is noted."""

            def begin(self, operation: str, name: str) -> int:
                self.kinds.append(operation)
                return super().begin(operation, name)  # type: ignore[no-any-return]

        self.kind = Noted

    def __call__(self, draw: random.Random) -> Any:
        made = self.kind(draw)
        made.kinds = []
        made.forgets = True
        return made


def start(impl: ModuleType, name: str, fault: tuple[int, int, bool] | None) -> tuple[Run, BaseException | None]:
    """Run a script, and say how it ended. fault: the number of the operation that fails, errno, short or not."""
    script, rounds = SCRIPTS[name]
    run = Run(impl, rounds, name, disk=_Disks(impl)(random.Random(name)))
    if fault is not None:
        number, code, short = fault
        run.disk.fail("any", code, after=number, times=1, short=short)
    try:
        script(run)
    except (runs.LogFailed, OSError, impl.RaftError) as error:
        return run, error
    if run.disk.error is not None:
        raise run.disk.error
    return run, None


def one(impl: ModuleType, name: str, fault: tuple[int, int, bool], then: int) -> str:
    """One case: "ended" or "went on". Raises Wrong."""
    run, error = start(impl, name, fault)
    if error is not None:
        check_error(impl, run, error)
        check_poisoned(impl, run, error)
    promise = run.promises[-1]
    disk = run.disk
    disk.repair()
    if then == THE_POWER:
        disk.crash()
    else:
        disk.kill()
    # Where the mark could not be read, nobody has said since that nothing is missing.
    doubtful = disk.counts["failed read"] > 0
    storage, loaded, log = judge.opened(impl, disk, promise, doubtful=doubtful)
    if log is not None and then == AND_THEN_THE_POWER:
        # What is counted on from now on must be on the platter, whatever has failed before.
        last = max([loaded.base_index, *log.rows])
        received = [each for each in sorted(promise.snapshots) if each[0] > last]
        for index, term in received:
            judge.resume(impl, storage, index, term)
        storage.close()
        disk.crash()
        again = promise._replace(logs=(log,), founded=True, incarnation=loaded.incarnation, least=loaded.base_index)
        storage, loaded, log = judge.opened(impl, disk, again, doubtful=doubtful)
        assert log is not None
        for index, term in received[-1:]:
            judge.resume(impl, storage, index, term, whole=True)
    if log is not None:
        judge.go_on(impl, disk, loaded, log, promise, doubtful)
    storage.close()
    return "ended" if error is not None else "went on"


def check_error(impl: ModuleType, run: Run, error: BaseException) -> None:
    """Whether it is one that the storage promises, and says what has failed. Raises Wrong."""
    text = str(error)
    cause = "[Errno" in text or isinstance(error.__cause__, OSError)
    if isinstance(error, runs.LogFailed):
        return  # named by its number: see check_poisoned
    if isinstance(error, impl.WalDamaged) and f"of {MARK} cannot be read" in text:
        return  # a sector that cannot be read says nothing, whatever the reason
    if type(error) not in (impl.StorageError, impl.StorageFailed) or not cause:
        raise Wrong(f"it ended with {type(error).__name__}: {error}")


def check_poisoned(impl: ModuleType, run: Run, error: BaseException) -> None:
    """A log that has failed writes nothing more. Raises Wrong."""
    storage = run.storage
    wal = None if storage is None else storage.wal
    if isinstance(error, runs.LogFailed):
        describe = module(impl, "storage.wal_format").describe
        if not run.gauges.error or "[Errno" not in describe(run.gauges.error):
            raise Wrong(f"the log failed and does not say why: {run.gauges.error}")
    if wal is None or not wal.failed:
        return
    before = len(run.journal)
    log = run.log
    if run.rounds:
        if wal.py_round():
            raise Wrong("the log goes on after it has failed")
    else:
        for _ in range(2):
            try:
                storage.append(impl.HardState(log.term + 100, 1, log.commit), [])
                storage.sync()
            except impl.StorageFailed:
                continue
            raise Wrong("a write was acknowledged after the log has failed")
    if len(run.journal) != before:
        raise Wrong(f"something was written after the log has failed: {run.journal[before:]}")


def sweep(impl: ModuleType, name: str, every: int = 1, first: int = 0, ways: int | None = None) -> Result:
    """All operations of a script, or every n-th, with all errors, and what may come after each; ways: one of these."""
    result = Result(name)
    whole, error = start(impl, name, None)
    assert error is None
    kinds = whole.disk.kinds
    for position in range(first, len(kinds), every):
        for number, (code, short) in enumerate(CODES):
            if short and kinds[position] != "write":
                continue
            result.positions += 1
            result.operations[kinds[position]] += 1
            what = f"{name}, operation {position + 1} ({kinds[position]}), {errno.errorcode[code]}{' short' * short}"
            for then in WAYS if ways is None else [WAYS[(position // every + number) % ways]]:
                try:
                    result.outcomes[one(impl, name, (position, code, short), then)] += 1
                except Wrong as wrong:
                    result.outcomes["wrong"] += 1
                    result.wrong.append(f"{what}, way {then}: {wrong}")
                except Exception as broken:
                    result.outcomes["wrong"] += 1
                    result.wrong.append(f"{what}, way {then}: {type(broken).__name__}: {broken}")
    return result


def sweep_raftx(name: str, every: int, first: int) -> Result:
    """The same of the package as it is installed, without its log lines. For a process of its own."""
    import raftx

    logging.getLogger("raftx").setLevel(logging.CRITICAL)
    return sweep(raftx, name, every, first)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    from tests.tools import faults

    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=list(SCRIPTS), metavar="NAME")
    parser.add_argument("--every", type=int, default=1, help="every n-th operation (default: 1, all)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-v", "--verbose", action="store_true", help="name all cases that are wrong")
    given = parser.parse_args(arguments)
    begin = time.monotonic()
    kinds = module(sys.modules["raftx"], "testing.disk").OPERATIONS
    heads = ["positions", *kinds, "ended", "went on", "wrong"]
    print(f"{'':30}" + "".join([f"{each:>11}" for each in heads]))
    total = Result("total")
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        # In three parts each, so that the long scripts do not come last.
        rows = [
            (name, [pool.submit(faults.sweep_raftx, name, 3 * given.every, first * given.every) for first in range(3)])
            for name in given.only or SCRIPTS
        ]
        for name, futures in rows:
            row = Result(name)
            for future in futures:
                for into in (row, total):
                    found = future.result()
                    into.positions += found.positions
                    into.operations.update(found.operations)
                    into.outcomes.update(found.outcomes)
                    into.wrong += found.wrong
            print(_line(row, kinds), flush=True)
    print(_line(total, kinds))
    for text in total.wrong[: None if given.verbose else 10]:
        print(text)
    cases = f"{sum(total.outcomes.values()):,} cases, {len(total.wrong)} wrong"
    print(f"{total.positions:,} positions, {cases}; {time.monotonic() - begin:.0f} s")
    return 1 if total.wrong else 0


def _line(row: Result, kinds: tuple[str, ...]) -> str:
    cells = [row.positions, *[row.operations[kind] for kind in kinds]]
    cells += [row.outcomes[each] for each in ("ended", "went on", "wrong")]
    return f"{row.name:30}" + "".join([f"{each:>11,}" for each in cells])


if __name__ == "__main__":
    sys.exit(main())
