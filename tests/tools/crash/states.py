"""What a power cut may leave, built from the journal of a simulated disk. Knows files and names, and nothing of a log.

A disk keeps what was synced. Of what was not, each write, each length and each name by itself is lost or kept, so in
any order; a write is torn between sectors, any of which may be missing, or at a byte. Where a write has made a file
longer and is lost, the length may stay, and behind it are zeros or bytes that were somebody else's. A name is what it
was at the last sync or anything that it has been since.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

SECTOR = 512
#: everything pending is lost or kept in all combinations, up to so many pieces
EXHAUSTIVE = 6
GARBAGE = random.Random("garbage").randbytes(1 << 20)

LOST = "lost write"
REORDERED = "reordered"
SECTORS = "torn at sector"
BYTES = "torn at byte"
LENGTH = "lost length"
ZEROS = "zero tail"
TAIL = "garbage tail"
NAMES = {"make": "lost name", "make directory": "lost name", "rename": "lost rename", "link": "lost link"}
UNLINK = "undone unlink"
HALF = "half a rename"
WHOLE = "all kept"
NOTHING = "all lost"
KINDS = (
    *(WHOLE, NOTHING, LOST, REORDERED, SECTORS, BYTES, LENGTH, ZEROS, TAIL),
    *("lost name", "lost rename", HALF, "lost link", UNLINK),
)

#: part of a write that reaches the disk: from and to, counted from its beginning
Piece = tuple[int, int]


class Image(NamedTuple):
    """A disk after a power cut: contents by number, and names of each directory with the numbers they lead to."""

    files: dict[int, bytes]
    names: dict[int, dict[str, int]]

    def key(self) -> int:
        """The same for the same image."""
        names = frozenset([(folder, frozenset(each.items())) for folder, each in self.names.items()])
        used = {number for each in self.names.values() for number in each.values()}
        return hash((names, frozenset([(number, data) for number, data in self.files.items() if number in used])))


class State(NamedTuple):
    """One image, which kinds of loss are in it, and the files with a write that was torn within a sector."""

    image: Image
    kinds: frozenset[str]
    within: frozenset[int]


class _File:
    """One file: what is durable, and what was done since."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = durable
        #: (position, bytes, number of the step); the bytes are None for a reservation up to the position
        self.steps: list[tuple[int, bytes | None, int]] = []

    def lengths(self) -> list[int]:
        """What its length was since the last sync, the durable one first."""
        found = [len(self.durable)]
        for position, data, _ in self.steps:
            length = position + (0 if data is None else len(data))
            if length > found[-1]:
                found.append(length)
        return found

    def image(self, fates: dict[int, tuple[Piece, ...]], length: int, garbage: bool) -> bytes:
        """With these pieces of the writes, so long."""
        reserved = max([len(self.durable), *[position for position, data, _ in self.steps if data is None]])
        data = bytearray(self.durable[:length].ljust(length, b"\0"))
        if garbage and length > reserved:
            data[reserved:] = GARBAGE[: length - reserved].ljust(length - reserved, b"\xa5")
        for position, written, step in self.steps:
            for begin, end in fates.get(step, ()) if written is not None else ():
                end = min(end, length - position)
                if begin < end:
                    assert written is not None
                    data[position + begin : position + end] = written[begin:end]
        return bytes(data)


class _Folder:
    """One directory: its durable names, its names, and what each name led to since the last sync."""

    def __init__(self, durable: dict[str, int] | None = None) -> None:
        self.durable: dict[str, int] = dict(durable or {})
        self.now = dict(self.durable)
        #: (number, kind, step) of each change of a name; number 0: the name went
        self.changes: dict[str, list[tuple[int, str, int]]] = {}


class Disk:
    """A disk as far as a journal was followed."""

    def __init__(self, image: Image | None = None) -> None:
        files, names = image or Image({}, {0: {}})
        self.files = {number: _File(data) for number, data in files.items()}
        self.folders = {number: _Folder(each) for number, each in names.items()}
        self.count = 0

    def follow(self, step: Any) -> None:
        """Do what the disk did next."""
        self.count += 1
        kind, node = step.kind, step.node
        if kind in ("write", "stretch"):
            self.files[node].steps.append((step.position, step.data if kind == "write" else None, self.count))
        elif kind == "sync":
            file = self.files[node]
            count = step.position
            writes = [each[2] for each in file.steps if each[1] is not None]
            wanted = {*writes[:count]}
            everything = {each[2]: ((0, len(each[1])),) for each in file.steps if each[1] is not None}
            durable = file.image(
                {at: each for at, each in everything.items() if at in wanted}, file.lengths()[-1], False
            )
            file.durable = durable
            file.steps = [each for each in file.steps if each[1] is not None and each[2] not in wanted]
        elif kind == "sync names":
            folder = self.folders[node]
            folder.durable = dict(folder.now)
            folder.changes.clear()
        else:
            folder = self.folders[node]
            if kind == "make directory":
                self.folders[step.child] = _Folder()
            elif kind == "make":
                self.files[step.child] = _File()
            if step.child:
                folder.now[step.name] = step.child
            else:
                del folder.now[step.name]
            folder.changes.setdefault(step.name, []).append((step.child, kind, self.count))

    def image(self) -> Image:
        """Everything as reads see it."""
        return next(iter(_Choices(self).states([{}]))).image


#: what becomes of something that is pending; without one it is kept
Fate = Any


class _Choices:
    """What is pending on a disk, and the states that come of it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        #: (step, ("write", file) or ("length", file) or ("name", folder, name)), in the order of the steps
        self.pending: list[tuple[int, tuple[Any, ...]]] = []
        self.writes: dict[int, tuple[int, int, bytes]] = {}  # by step: file, position, bytes
        for number, file in disk.files.items():
            lengths = file.lengths()
            for position, data, step in file.steps:
                if data is not None:
                    self.writes[step] = (number, position, data)
                    self.pending.append((step, ("write", number, step)))
            if len(lengths) > 1:
                self.pending.append((file.steps[0][2], ("length", number)))
        for number, folder in disk.folders.items():
            for name, changes in folder.changes.items():
                self.pending.append((changes[-1][2], ("name", number, name)))
        self.pending.sort(key=str)
        self.pending.sort(key=lambda each: each[0])

    def options(self, what: tuple[Any, ...]) -> int:
        """How many earlier values it may have instead of the newest."""
        if what[0] == "length":
            return len(self.disk.files[what[1]].lengths()) - 1
        return len(self.disk.folders[what[1]].changes[what[2]]) if what[0] == "name" else 1

    # --- which ---------------------------------------------------------------------------------------

    def plans(self, draw: random.Random, most: int) -> Iterator[dict[Any, Fate]]:
        """Fates of what is pending: the small combinations all, ``most`` of the others by chance."""
        things = [what for _, what in self.pending]
        yield {}
        yield dict.fromkeys(things, 0)
        if len(things) <= EXHAUSTIVE:
            for chosen in itertools.product((False, True), repeat=len(things)):
                yield {what: 0 for what, lost in zip(things, chosen) if lost}
        else:
            for at, what in enumerate(things):
                yield {what: 0}
                yield dict.fromkeys(things[:at] + things[at + 1 :], 0)
                yield dict.fromkeys(things[at:], 0)
        if not things:
            return
        for number in range(most):
            others = (1.0, 0.0, 0.5, 0.8)[number % 4]
            plan: dict[Any, Fate] = {
                what: draw.randrange(self.options(what)) for what in things if draw.random() >= others
            }
            plan["garbage"] = draw.random() < 0.3
            if self.writes:
                # The newest ones are torn most.
                steps = sorted(self.writes)
                step = steps[-1] if draw.random() < 0.6 else draw.choice(steps)
                torn = [step] if number % 3 else [each for each in steps if each == step or draw.random() < 0.4]
                for each in torn:
                    file, position, data = self.writes[each]
                    plan["write", file, each] = _by_sectors(position, len(data), draw)
                if number % 3 == 1:
                    # The power goes at one moment, in which at most one sector is being written.
                    file, position, data = self.writes[step]
                    plan["write", file, step] = _by_bytes(position, data, draw)
                    plan["within"] = file
            yield plan

    # --- what comes of it ------------------------------------------------------------------------------

    def states(self, plans: Iterable[dict[Any, Fate]]) -> Iterator[State]:
        """The states of these plans, some perhaps more than once."""
        for plan in plans:
            yield self._state(plan)

    def _state(self, plan: dict[Any, Fate]) -> State:
        kinds: set[str] = set()
        kept, lost = [], []
        for step, what in self.pending:
            (lost if plan.get(what) == 0 else kept).append(step)
        if self.pending and not lost and not any([isinstance(each, tuple) for each in plan.values()]):
            kinds.add(WHOLE)
        if self.pending and not kept:
            kinds.add(NOTHING)
        if lost and kept and min(lost) < max(kept):
            kinds.add(REORDERED)
        files = {number: self._file(number, file, plan, kinds) for number, file in self.disk.files.items()}
        names = {number: self._names(number, folder, plan, kinds) for number, folder in self.disk.folders.items()}
        within = frozenset([plan["within"]] if "within" in plan else [])
        return State(Image(files, names), frozenset(kinds), within)

    def _file(self, number: int, file: _File, plan: dict[Any, Fate], kinds: set[str]) -> bytes:
        if not file.steps:
            return file.durable
        lengths = file.lengths()
        chosen = plan.get(("length", number), -1)
        length = lengths[chosen]
        if chosen != -1:
            kinds.add(LENGTH)
        fates = {}
        for position, data, step in file.steps:
            if data is None:
                continue
            fate = plan.get(("write", number, step), 1)
            pieces: tuple[Piece, ...] = fate if isinstance(fate, tuple) else ((0, len(data)),) if fate else ()
            fates[step] = pieces
            missing = len(data) - sum([end - begin for begin, end in pieces])
            if not pieces:
                kinds.add(LOST)
            elif missing:
                kinds.add(BYTES if plan.get("within") == number and _is_within(position, data, pieces) else SECTORS)
            if missing and length >= position + len(data) > lengths[0]:
                kinds.add(TAIL if plan.get("garbage") else ZEROS)
        return file.image(fates, length, bool(plan.get("garbage")))

    def _names(self, number: int, folder: _Folder, plan: dict[Any, Fate], kinds: set[str]) -> dict[str, int]:
        names = dict(folder.now)
        renames = {}
        for name, changes in folder.changes.items():
            fate = plan.get(("name", number, name))
            for at, (child, kind, step) in enumerate(changes):
                undone = fate is not None and at >= fate
                if kind == "rename":
                    renames[step, bool(child)] = undone
                elif undone:
                    kinds.add(NAMES[kind] if child else UNLINK)
            if fate is None:
                continue
            value = changes[fate - 1][0] if fate else folder.durable.get(name, 0)
            if value:
                names[name] = value
            else:
                names.pop(name, None)
        for (step, is_new), undone in renames.items():
            other = renames.get((step + 1 if is_new else step - 1, not is_new))
            if undone:
                kinds.add("lost rename" if other in (True, None) else HALF)
        return names


def _by_sectors(position: int, length: int, draw: random.Random) -> tuple[Piece, ...]:
    """Some of the sectors of a write: a beginning, an end, all but one, one, any."""
    first = position // SECTOR * SECTOR
    edges = [max(position, at) - position for at in range(first, position + length, SECTOR)] + [length]
    count = len(edges) - 1
    how, at = draw.randrange(5), draw.randrange(count)
    chosen = (
        range(at + 1) if how == 0
        else range(at, count) if how == 1
        else [each for each in range(count) if each != at] if how == 2
        else [at] if how == 3
        else [each for each in range(count) if draw.random() < 0.5]
    )  # fmt: skip
    return tuple([(edges[each], edges[each + 1]) for each in chosen])


def _by_bytes(position: int, data: bytes, draw: random.Random) -> tuple[Piece, ...]:
    """A beginning or an end of a write, up to a byte, mostly among those that say something."""
    used = len(data.rstrip(b"\0")) or len(data)
    at = draw.randrange(1, 100) if draw.random() < 0.3 else draw.randrange(1, used + 1)
    at = min(at, len(data))
    return ((0, at),) if draw.random() < 0.7 else ((at, len(data)),)


def _is_within(position: int, data: bytes, pieces: tuple[Piece, ...]) -> bool:
    """Whether a piece begins or ends within a sector and within the write."""
    edges = [each for piece in pieces for each in piece if 0 < each < len(data)]
    return any([(position + edge) % SECTOR for edge in edges])


def states(disk: Disk, draw: random.Random, most: int) -> Iterator[State]:
    """What a power cut may leave of a disk now; ``most`` bounds what is drawn by chance."""
    choices = _Choices(disk)
    return choices.states(choices.plans(draw, most))
