"""Every single bit of a member's files turned over, and what the next opening makes of it: ``make bits``.

    python -m tests.tools.bits [--every 1] [--only DIRECTORY] [--jobs 2] [-v]

Directories as processes have left them: a log of one segment (64 KiB, all 524,288 bits), one whose second segment was
just begun, one that has two snapshots of its own, one whose log begins behind a snapshot of another member. In each
case one bit of one file is turned over; besides, each byte of the snapshots becomes another one in three ways.
Outcomes:

    same      everything that was acknowledged is there
    older     the same, and the snapshot before serves in place of the one that is damaged
    refused   WalDamaged, SnapshotDamaged, WrongDirectory or StorageError
    doubt     what was acknowledged or a state before it, and the member knows that (HardState.in_doubt)
    wrong     anything else: a state that was not acknowledged, other data, another exception

Fails when anything was wrong. --every n: every n-th bit or byte, beginning with the first.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import ModuleType
from typing import NamedTuple

from tests.tools.crash import judge, runs
from tests.tools.crash.judge import Wrong
from tests.tools.crash.runs import PATH, Log, Promise, Run
from tests.tools.crash.states import Disk, Image

OUTCOMES = ("same", "older", "refused", "doubt", "wrong")
PIECE = 1 << 14  # cases that a process does at a time


def one_segment(run: Run) -> None:
    """Votes, entries of all sizes, some that were replaced, and a second life."""
    run.start()
    run.vote(1, 2)
    run.write(1, [10, 0, 500, 3000], term=1, commit=2)
    run.write(3, [9000], term=2, commit=2)
    run.write(4, [1, 2, 3] * 5, term=2, commit=3)
    run.kill()
    run.open()
    run.vote(5, 3)
    run.write(19, [1500], term=5, commit=18)
    run.vote(6, 1)
    run.kill()


def begun(run: Run) -> None:
    """Another segment has a header and one batch, and everything else is in the one before."""
    run.start()
    run.vote(1, 2)
    run.more(3, 17_000)
    run.write(4, [6000], commit=3)
    run.kill()


def snapshots(run: Run) -> None:
    """Two snapshots of its own."""
    run.start()
    run.vote(1, 2)
    run.more(5, 9000)
    run.save(2)
    run.save(4)
    run.more(1, 9000)
    run.kill()


def behind(run: Run) -> None:
    """The log begins behind a snapshot of another member."""
    run.start()
    run.vote(1, 2)
    run.more(1, 9000)
    run.receive(9, 2)
    run.behind(9, 2, [400, 9000])
    run.kill()


SCRIPTS: dict[str, Callable[[Run], None]] = {
    "one segment": one_segment,
    "begun": begun,
    "snapshots": snapshots,
    "behind": behind,
}


class Left(NamedTuple):
    """A directory that a process has left: its files by name, and what they are known to hold."""

    image: Image
    names: dict[str, int]
    promise: Promise
    #: the same, and every state before it
    earlier: Promise


def left(impl: ModuleType, name: str) -> Left:
    """One of the directories."""
    run = Run(impl, False, name)
    SCRIPTS[name](run)
    disk = Disk()
    for step in run.journal:
        disk.follow(step)
    image = disk.image()
    last = run.promises[-1]
    known: list[Log] = []
    for each in run.promises:
        known += [log for log in each.logs if log not in known]
    return Left(image, judge.folder_of(image), last, last._replace(logs=tuple(known), least=0))


def cases(name: str, found: Left) -> list[tuple[str, str, int]]:
    """(what is done, file, how many cases there are of it)."""
    sizes = {file: len(found.image.files[number]) for file, number in sorted(found.names.items())}
    wanted = [(file, 8 * size) for file, size in sizes.items()]
    if name != "one segment":
        # What differs from the first directory: the newest segment and the mark, or the snapshots.
        newest = max([file for file in sizes if file.endswith(".log")])
        wanted = [("wal.mark", 8 * sizes["wal.mark"]), (newest, 8 * 4 * 4096)] if name == "begun" else []
        wanted += [(file, 8 * size) for file, size in sizes.items() if file.endswith(".raftx")]
    made = [("bit", file, count) for file, count in wanted]
    return made + [("byte", file, 3 * sizes[file]) for file in sizes if file.endswith(".raftx")]


def changed(what: str, content: bytes, number: int) -> bytes | None:
    """The contents of a file in one of its cases; None where that changes nothing."""
    data = bytearray(content)
    if what == "bit":
        data[number // 8] ^= 1 << number % 8
    else:
        at, how = divmod(number, 3)
        data[at] = (0, 0xFF, random.Random(number).randrange(256))[how]
    return None if data == content else bytes(data)


def outcome(impl: ModuleType, found: Left, file: str, content: bytes) -> tuple[str, str]:
    """One of the words above, and what was wrong."""
    number = found.names[file]
    image = found.image._replace(files={**found.image.files, number: content})
    storage = impl.FileStorage(PATH, disk=judge.disk_of(impl, image))
    try:
        loaded = storage.open(1, runs.CLUSTER)
        doubtful = loaded.hard_state.in_doubt
        promise = found.earlier if doubtful else found.promise
        wanted = promise.logs[-1].snapshot
        if file.endswith(".raftx"):
            # One that is damaged may be missing, when another one reaches the log.
            promise = promise._replace(logs=tuple([log._replace(snapshot=0) for log in promise.logs]))
        names = [name for name in storage._disk.files(PATH) if name.endswith(".damaged")]
        for name in names:
            storage._disk.delete(f"{PATH}/{name}")
        judge.found(impl, storage, loaded, promise)
        if doubtful:
            return "doubt", ""
        reaches = loaded.snapshot.index if loaded.snapshot else 0
        if reaches == wanted:
            return "same", ""
        if reaches < loaded.base_index or not names:
            return "wrong", f"the newest snapshot is of {reaches}"
        return "older", ""
    except impl.StorageError:
        return "refused", ""
    except Wrong as error:
        return "wrong", str(error)
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {error}"
    finally:
        storage.close()


def count(impl: ModuleType, name: str, what: str, file: str, numbers: range) -> tuple[Counter[str], list[str]]:
    """Outcomes of these cases, and what was wrong."""
    found = left(impl, name)
    content = found.image.files[found.names[file]]
    seen: Counter[str] = Counter()
    wrong = []
    for number in numbers:
        data = changed(what, content, number)
        if data is None:
            continue
        word, text = outcome(impl, found, file, data)
        seen[word] += 1
        if text:
            wrong.append(f"{name}, {file}, {what} {number}: {text}")
    return seen, wrong


def _count(name: str, what: str, file: str, numbers: range) -> tuple[Counter[str], list[str]]:
    import raftx

    logging.getLogger("raftx").setLevel(logging.CRITICAL)
    return count(raftx, name, what, file, numbers)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    import raftx
    from tests.tools import bits

    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.bits", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="every n-th case (default: 1, all)")
    parser.add_argument("--only", action="append", choices=list(SCRIPTS), metavar="DIRECTORY")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-v", "--verbose", action="store_true", help="name all cases that are wrong")
    given = parser.parse_args(arguments)
    begin = time.monotonic()
    wrong: list[str] = []
    total: Counter[str] = Counter()
    print(f"{'directory':12} {'file':48} {'':5}" + "".join([f"{each:>10}" for each in OUTCOMES]) + f"{'s':>6}")
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        rows = []
        for name in given.only or SCRIPTS:
            for what, file, cases_of_it in cases(name, left(raftx, name)):
                step = PIECE * given.every
                ranges = [range(at, min(at + step, cases_of_it), given.every) for at in range(0, cases_of_it, step)]
                rows.append((name, what, file, [pool.submit(bits._count, name, what, file, each) for each in ranges]))
        for name, what, file, futures in rows:
            seen: Counter[str] = Counter()
            for future in futures:
                more, texts = future.result()
                seen += more
                wrong += texts
            total += seen
            words = "".join([f"{seen[each]:>10,}" for each in OUTCOMES])
            print(f"{name:12} {file:48} {what:5}{words}{time.monotonic() - begin:>6.0f}", flush=True)
    print(f"{'total':67}" + "".join([f"{total[each]:>10,}" for each in OUTCOMES]))
    for text in wrong[: None if given.verbose else 10]:
        print(text)
    print(f"{len(wrong)} of {sum(total.values()):,} cases are wrong; {time.monotonic() - begin:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
