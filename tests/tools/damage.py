"""Damage done to a node's directory, one piece at a time, and what the next open makes of it: ``make damage``.

    python -m tests.tools.damage [--bits 133222] [--larger 62208] [--seed 1] [-v]

Each case takes a directory that a node has left (closed, or killed), damages one place of it (a bit; bytes, sectors,
blocks, exchanges, truncations, files dropped, doubled or set back) and opens it. Outcomes:

    same      everything that was acknowledged is there
    refused   WalDamaged, WrongDirectory or StorageError
    doubt     an earlier state, or the same one, and the member knows that it may be one (HardState.in_doubt)
    earlier   an earlier state, and nothing said: what must not happen
    invented  a state that never was: what must not happen

Fails when anything came out as earlier or invented.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tests.helpers.implementations import module
from tests.helpers.storages import founded

CLUSTER = b"damage-test-clus"
SEGMENT = 64 << 10
BLOCK = 4096
SECTOR = 512

State = tuple[int, int, int, tuple[tuple[int, int, bytes], ...]]
Files = dict[str, bytes]


class Left(NamedTuple):
    """A directory that a node has left: its files, and every state that it was in, the acknowledged one last."""

    name: str
    files: Files
    states: list[State]


class Damage(NamedTuple):
    """One piece of damage. ``apply`` changes the files in place."""

    kind: str
    place: str
    apply: Callable[[Files], None]


# --- directories -----------------------------------------------------------------------------------


def _records(impl: ModuleType, first: int, items: list[tuple[int, bytes]]) -> bytes:
    log = impl._core.EntryLog()
    if first > 1:
        log.py_restore(first - 1, 1)
    for term, data in items:
        log.py_append(term, data)
    return bytes(log.records(first, log.last)) if items else b""


def _files(path: Path) -> Files:
    return {p.name: p.read_bytes() for p in sorted(path.iterdir()) if p.name != "lock"}


def left(impl: ModuleType, path: Path, name: str, batches: list[Any], killed: bool, reserve: bool) -> Left:
    """Write batches of (term, vote, commit, first index, items), two lives of them, and keep what is there then."""
    states: list[State] = [(0, 0, 0, ())]
    entries: list[tuple[int, int, bytes]] = []
    lives = [batches[: len(batches) // 2], batches[len(batches) // 2 :]]
    disk = module(impl, "storage.disk").Disk()
    disk.random = random.Random(name).randbytes  # the same directory each time, and so the same damage
    for life in lives:
        storage = founded(impl, path, members=[1, 2, 3], segment_bytes=SEGMENT, cluster=CLUSTER, disk=disk)
        storage.open(1, CLUSTER)
        for term, vote, commit, first, items in life:
            storage.append(impl.HardState(term, vote, commit), [_records(impl, first, items)] if items else [])
            storage.sync()
            entries = entries[: first - 1] + [(first + n, t, data) for n, (t, data) in enumerate(items)]
            states.append((term, vote, commit, tuple(entries)))
        if life is lives[-1] and killed:
            files = _files(path)
            storage.close()
        else:
            storage.close()
            files = _files(path)
    if reserve:
        number = max(int(each[4:20], 16) for each in files if each.startswith("wal-")) + 1
        files[f"wal-{number:016x}.log"] = bytes(SEGMENT)
    return Left(name, files, states)


def directories(impl: ModuleType, path: Path) -> list[Left]:
    """Logs of several shapes."""
    draw = random.Random(4)
    small = [
        (1, 2, 0, 1, []),
        (1, 2, 0, 1, [(1, b"one"), (1, b""), (1, b"three" * 30)]),
        (2, 3, 2, 3, [(2, b"replaced")]),
        (2, 3, 3, 4, [(2, bytes(range(256)) * 5), (2, b"\0" * 1500)]),
    ]
    vote = [*small, (5, 2, 3, 6, [])]
    zeros = [*small, (5, 2, 3, 6, [(5, b"\x80" + bytes(1500))])]
    long: list[Any] = []
    for index in range(1, 25):
        long.append((index, 0, index - 1, index, [(index, draw.randbytes(draw.randrange(9000)))]))
    long.append((30, 3, 24, 25, []))
    return [
        left(impl, path / "small", "small", small, killed=False, reserve=False),
        left(impl, path / "vote", "vote", vote, killed=True, reserve=True),
        left(impl, path / "zeros", "zeros", zeros, killed=True, reserve=False),
        left(impl, path / "long", "long", long, killed=False, reserve=True),
        left(impl, path / "long-killed", "long, killed", long, killed=True, reserve=False),
    ]


# --- damage ----------------------------------------------------------------------------------------


def _replace(name: str, at: int, data: bytes) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        content = bytearray(files[name])
        content[at : at + len(data)] = data
        files[name] = bytes(content)

    return apply


def _used(content: bytes) -> list[int]:
    """The sectors that say something."""
    return [at for at in range(0, len(content), SECTOR) if any(content[at : at + SECTOR])]


def bits(case: Left, draw: random.Random) -> Iterator[Damage]:
    """Single bits, without end: mostly where something stands, and everywhere else now and then."""
    names = list(case.files)
    used = [(name, at) for name in names for at in _used(case.files[name])]
    while True:
        name, at = draw.choice(used)
        if draw.random() < 0.1:
            name = draw.choice(names)
            at = draw.randrange(len(case.files[name])) // SECTOR * SECTOR
        at = min(at + draw.randrange(SECTOR), len(case.files[name]) - 1)
        flipped = case.files[name][at] ^ 1 << draw.randrange(8)
        yield Damage("bit", f"{name} byte {at}", _replace(name, at, bytes([flipped])))


def _bytes(case: Left, draw: random.Random, name: str) -> Damage:
    content = case.files[name]
    at = (draw.choice(_used(content) or [0]) + draw.randrange(SECTOR)) % len(content)
    length = draw.choice([1, 2, 3, 8, 64, 700])
    data = draw.choice([bytes(length), b"\xff" * length, draw.randbytes(length)])[: len(content) - at]
    return Damage("bytes", f"{name} {at}+{len(data)}", _replace(name, at, data))


def _pieces(case: Left, draw: random.Random, name: str, size: int, kind: str) -> Damage:
    """One or several neighbouring sectors or blocks, with other contents."""
    content = case.files[name]
    places = sorted({at // size * size for at in _used(content)} or {0})
    at = draw.choice(places)
    length = min(size * draw.choice([1, 1, 2, 3]), len(content) - at)
    source = draw.choice(places)
    data = draw.choice([bytes(length), bytes(length), b"\xff" * length, draw.randbytes(length)])
    if draw.random() < 0.25:
        data = content[source : source + length]
    return Damage(kind, f"{name} {at}+{length}", _replace(name, at, data))


def _swap(case: Left, draw: random.Random, name: str) -> Damage:
    size = draw.choice([SECTOR, BLOCK]) if len(case.files[name]) > SECTOR else 8
    one, other = draw.choice(_used(case.files[name]) or [0]), draw.randrange(len(case.files[name]))
    if size < SECTOR:
        one = draw.randrange(len(case.files[name]))
    one, other = one // size * size, other // size * size

    def apply(files: Files) -> None:
        content = bytearray(files[name])
        content[one : one + size], content[other : other + size] = (
            content[other : other + size],
            content[one : one + size],
        )
        files[name] = bytes(content)

    return Damage("swap", f"{name} {one} and {other}", apply)


def _cut(case: Left, draw: random.Random, name: str) -> Damage:
    length = draw.choice([0, draw.choice(_used(case.files[name]) or [0]), draw.randrange(len(case.files[name]))])

    def apply(files: Files) -> None:
        files[name] = files[name][:length]

    return Damage("truncation", f"{name} to {length}", apply)


def _cut_filled(case: Left, draw: random.Random, name: str) -> Damage:
    """The end is zeros."""
    length = draw.choice(_used(case.files[name]) or [0])
    return Damage("lost end", f"{name} from {length}", _replace(name, length, bytes(len(case.files[name]) - length)))


def _file(case: Left, draw: random.Random, name: str) -> Damage:
    """A file that is not there, or there as another one too."""
    other = draw.choice(list(case.files))
    number = len([each for each in case.files if each.endswith(".log")]) + 1
    what = draw.choice(["dropped", "doubled", "exchanged", "copied"])

    def apply(files: Files) -> None:
        if what == "dropped":
            del files[name]
        elif what == "doubled":
            files[f"wal-{number:016x}.log"] = files[name]
        elif what == "exchanged":
            files[name], files[other] = files[other], files[name]
        else:
            files[name] = files[other]

    return Damage(f"file {what}", f"{name}, {other}", apply)


def larger(case: Left, draw: random.Random) -> Iterator[Damage]:
    """Everything but single bits, without end."""
    names = list(case.files)
    while True:
        name = draw.choice(names)
        kind = draw.randrange(8)
        if kind == 0:
            yield _bytes(case, draw, name)
        elif kind in (1, 2):
            yield _pieces(case, draw, name, SECTOR, "sectors")
        elif kind == 3:
            yield _pieces(case, draw, name, BLOCK, "blocks")
        elif kind == 4:
            yield _swap(case, draw, name)
        elif kind == 5:
            yield _cut(case, draw, name)
        elif kind == 6:
            yield _cut_filled(case, draw, name)
        else:
            yield _file(case, draw, name)


# --- what comes of it --------------------------------------------------------------------------------


def put(path: Path, files: Files) -> None:
    """Make a directory hold these files."""
    path.mkdir(exist_ok=True)
    for each in path.iterdir():
        if each.name not in files:
            each.unlink()
    for name, content in files.items():
        (path / name).write_bytes(content)


def outcome(impl: ModuleType, path: Path, states: list[State]) -> str:
    """Open a directory: one of the words above."""
    storage = impl.FileStorage(path)
    try:
        loaded = storage.open(1, CLUSTER)
        log = impl._core.EntryLog()
        for piece in loaded.records:
            log.py_extend(piece)
        hard = loaded.hard_state
        entries = tuple((entry.index, entry.term, entry.data) for entry in log.entries(log.first, log.last))
        state = (hard.term, hard.vote, hard.commit, entries)
        if state not in states:
            return "invented"
        if getattr(hard, "in_doubt", False):
            return "doubt"
        return "same" if state == states[-1] else "earlier"
    except impl.StorageError:
        return "refused"
    finally:
        storage.close()


def count(
    impl: ModuleType, path: Path, bit_cases: int, larger_cases: int, seed: int
) -> tuple[dict[str, Counter[str]], list[str]]:
    """Outcomes by kind of damage, and the cases that must not be."""
    table: dict[str, Counter[str]] = {}
    wrong = []
    cases = directories(impl, path)
    for name, cases_wanted, damages in (("bits", bit_cases, bits), ("larger", larger_cases, larger)):
        for number, case in enumerate(cases):
            share = cases_wanted // len(cases) + (number < cases_wanted % len(cases))
            draw = random.Random(f"{seed} {name} {case.name}")
            source = damages(case, draw)
            for _ in range(share):
                damage = next(source)
                files = dict(case.files)
                damage.apply(files)
                put(path / "damaged", files)
                seen = outcome(impl, path / "damaged", case.states)
                table.setdefault(damage.kind, Counter())[seen] += 1
                if seen in ("earlier", "invented"):
                    wrong.append(f"{seen}: {case.name}, {damage.kind}, {damage.place}")
    return table, wrong


OUTCOMES = ("same", "refused", "doubt", "earlier", "invented")


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    import raftx

    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.damage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bits", type=int, default=133_222, help="cases of single bits (default: 133222)")
    parser.add_argument("--larger", type=int, default=62_208, help="cases of larger damage (default: 62208)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-v", "--verbose", action="store_true", help="name the cases that must not be")
    given = parser.parse_args(arguments)
    logging.getLogger("raftx").setLevel(logging.CRITICAL)
    begin = time.monotonic()
    # In memory where that is possible: so many recoveries wait for no disk.
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="raftx-damage-", dir=where) as directory:
        table, wrong = count(raftx, Path(directory), given.bits, given.larger, given.seed)
    print("{:16}".format("") + "".join([f"{each:>10}" for each in OUTCOMES]))
    for kind, seen in [*sorted(table.items()), ("total", sum(table.values(), Counter()))]:
        print(f"{kind:16}" + "".join([f"{seen[each]:>10,}" for each in OUTCOMES]))
    for text in wrong[: None if given.verbose else 10]:
        print(text)
    print(f"{len(wrong)} of {given.bits + given.larger:,} cases must not be; {time.monotonic() - begin:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
