"""What a simulated disk holds: contents and names, each as it is now and as a power cut would leave it.

A model, not a speed-up: everything stands twice, once as reads see it (the cache) and once as it is on the platter. A
sync of a file makes its contents and length durable, a sync of a directory its names. What was not synced survives a
power cut by chance, each write and each name by itself: so writes may be lost, torn between sectors, and kept in any
order. disk.py drives it; nothing here knows faults, time or the log.

With a ``journal`` it notes each step: so every state that a power cut could have left can be built afterwards.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias
from zlib import crc32

SECTOR = 512  # what a disk writes whole or not at all


class Step(NamedTuple):
    """What a disk did. ``node``: the number of a file (write, stretch, sync) or of a directory (the others)."""

    #: "write", "stretch", "sync", or "make", "make directory", "rename", "link", "unlink" and "sync names"
    kind: str
    node: int
    #: where a write begins; how long a file is made; how many writes a sync covers
    position: int = 0
    data: bytes = b""
    #: the name in the directory, and what has it now; 0: nothing has
    name: str = ""
    child: int = 0


class Content:
    """The bytes of one file, whatever its names are."""

    def __init__(self, number: int, platter: Platter) -> None:
        self.number = number
        self.platter = platter
        #: what reads see
        self.image = bytearray()
        #: what is on the platter
        self.durable = bytearray()
        #: (position, bytes) of each write that was not synced, oldest first
        self.writes: list[tuple[int, bytes]] = []
        #: a sync is under way that covers so many of them; -1: none is
        self.syncing = -1
        #: how often it must still be asked for
        self.asks = 0

    def write(self, position: int, data: bytes) -> None:
        """Write into the cache."""
        self._lengthen(position + len(data))
        self.image[position : position + len(data)] = data
        self.writes.append((position, data))
        self.platter.note("write", self.number, position, data)

    def stretch(self, size: int) -> None:
        """Make it at least so long, with zeros."""
        self._lengthen(size)
        self.platter.note("stretch", self.number, size)

    def _lengthen(self, size: int) -> None:
        if size > len(self.image):
            self.image.extend(bytes(size - len(self.image)))

    def sync(self, count: int) -> None:
        """The first ``count`` writes that were not synced are durable, and the length with them."""
        if len(self.durable) != len(self.image):
            self.durable.extend(bytes(len(self.image) - len(self.durable)))
        for position, data in self.writes[:count]:
            self.durable[position : position + len(data)] = data
        del self.writes[:count]
        self.syncing = -1
        self.asks = 0
        self.platter.note("sync", self.number, count)

    def lose_power(self, draw: random.Random, counts: Counter[str]) -> None:
        """What is left of it: reads see the platter from now on."""
        size = len(self.durable)
        if len(self.image) != size:
            if draw.random() < 0.5:
                size = len(self.image)
                self.durable.extend(bytes(size - len(self.durable)))
            else:
                counts["lengths lost"] += 1
        for position, data in self.writes:
            kept = _surviving(draw, position, data, counts)
            for at, piece in kept:
                piece = piece[: max(0, size - at)]
                self.durable[at : at + len(piece)] = piece
        self.image = bytearray(self.durable)
        self.writes.clear()
        self.syncing = -1
        self.asks = 0


def _surviving(draw: random.Random, position: int, data: bytes, counts: Counter[str]) -> list[tuple[int, bytes]]:
    """The pieces of one write that a power cut leaves."""
    fate = draw.randrange(4)
    if fate == 0:
        counts["writes lost"] += 1
        return []
    if fate == 1:
        counts["writes kept"] += 1
        return [(position, data)]
    # Sectors, counted from the beginning of the file.
    first = position // SECTOR * SECTOR
    starts = [max(position, at) for at in range(first, position + len(data), SECTOR)]
    ends = [*starts[1:], position + len(data)]
    if fate == 2:
        number = draw.randrange(len(starts) + 1)
        chosen = set(range(number)) if draw.random() < 0.5 else set(range(number, len(starts)))
    else:
        bits = draw.getrandbits(len(starts))
        chosen = {each for each in range(len(starts)) if bits >> each & 1}
    counts["writes torn" if 0 < len(chosen) < len(starts) else "writes kept" if chosen else "writes lost"] += 1
    return [(starts[each], data[starts[each] - position : ends[each] - position]) for each in sorted(chosen)]


class Folder:
    """A directory: names as they are, and as they are on the platter."""

    def __init__(self, number: int, platter: Platter) -> None:
        self.number = number
        self.platter = platter
        self.names: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        #: the life of the process that holds it; 0: nobody does
        self.held_by = 0
        #: directories in it that got another name since the last sync: (old, new), in order
        self.moves: list[tuple[str, str]] = []

    def move(self, old: str, new: str) -> None:
        """Give a directory another name, in one step: a power cut loses both halves of it or none."""
        self.names[new] = self.names.pop(old)
        self.moves.append((old, new))

    def put(self, name: str, node: Node, kind: str = "make") -> None:
        """Give something a name, in place of what has it."""
        self.names[name] = node
        self.platter.note(kind, self.number, name=name, child=node.number)

    def drop(self, name: str, kind: str = "unlink") -> Node:
        """Take a name away. Raises KeyError."""
        node = self.names.pop(name)
        self.platter.note(kind, self.number, name=name)
        return node

    def sync(self) -> None:
        """The names are durable."""
        self.durable = dict(self.names)
        self.moves.clear()
        self.platter.note("sync names", self.number)

    def lose_power(self, draw: random.Random, counts: Counter[str]) -> None:
        """Each name that was made, moved or removed since the last sync is as it was before, or as it is now."""
        self.held_by = 0
        if self.moves:
            # Those before some moment are kept: what a file system notes of its names it notes in order.
            kept = draw.randrange(len(self.moves) + 1)
            for old, new in reversed(self.moves[kept:]):
                self.names[old] = self.names.pop(new)
            for old, new in self.moves[:kept]:
                self.durable.pop(old, None)
                self.durable[new] = self.names[new]
            self.moves.clear()
        for name in sorted({*self.names, *self.durable}):
            now, before = self.names.get(name), self.durable.get(name)
            if now is before:
                continue
            if draw.random() < 0.5:
                counts["names lost"] += 1
                now = before
            if now is None:
                self.names.pop(name, None)
            else:
                self.names[name] = now
        self.durable = dict(self.names)


Node: TypeAlias = "Content | Folder"


class Platter:
    """A tree of folders and contents, as one file system has it."""

    def __init__(self) -> None:
        self.made = 0
        self.root = Folder(0, self)
        #: what is done, in order, once there is a list; the caches of a power cut are not in it
        self.journal: list[Step] | None = None

    def note(self, kind: str, node: int, position: int = 0, data: bytes = b"", name: str = "", child: int = 0) -> None:
        """Something was done."""
        if self.journal is not None:
            self.journal.append(Step(kind, node, position, data, name, child))

    def new_content(self) -> Content:
        """A file without a name."""
        self.made += 1
        return Content(self.made, self)

    def new_folder(self) -> Folder:
        """A directory without a name."""
        self.made += 1
        return Folder(self.made, self)

    def walk(self, folder: Folder | None = None, path: str = "") -> Iterator[tuple[str, Node]]:
        """(path, node) of everything that has a name, in order, folders before what is in them."""
        folder = self.root if folder is None else folder
        for name in sorted(folder.names):
            node = folder.names[name]
            yield f"{path}/{name}", node
            if isinstance(node, Folder):
                yield from self.walk(node, f"{path}/{name}")

    def _nodes(self) -> list[Node]:
        """Everything that has a name, or had one when it was synced last; the root first."""
        found: dict[int, Node] = {0: self.root}
        waiting: list[Node] = [self.root]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Folder):
                for each in [*node.names.values(), *node.durable.values()]:
                    if each.number not in found:
                        found[each.number] = each
                        waiting.append(each)
        return [found[number] for number in sorted(found)]

    def lose_power(self, draw: random.Random, counts: Counter[str]) -> None:
        """Power cut."""
        for node in self._nodes():
            node.lose_power(draw, counts)

    def end_process(self) -> None:
        """A process ends: the cache stays, locks go, syncs that were under way are not waited for."""
        for node in self._nodes():
            if isinstance(node, Folder):
                node.held_by = 0
            else:
                node.syncing, node.asks = -1, 0

    def used(self) -> int:
        """Bytes of all files that have a name."""
        return sum([len(node.image) for _, node in self.walk() if isinstance(node, Content)])

    def state(self) -> list[tuple[str, int, int]]:
        """(path, checksum as reads see it, checksum on the platter) of each file."""
        return [
            (path, crc32(bytes(node.image)), crc32(bytes(node.durable)))
            for path, node in self.walk()
            if isinstance(node, Content)
        ]
