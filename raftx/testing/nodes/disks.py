"""What simulated nodes keep their logs on: the log's own code on a simulated disk, or a storage written in Python.

Both lose in a power cut what was not synced. Only the simulated disk tears, reorders, stalls, fills up and fails.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from ...errors import StorageError, StorageFailed, WalDamaged
from ...storage.file import FileStorage
from ...storage.memory import MemoryStorage
from ...storage.rebuild import rebuild
from ...storage.wal_format import (
    BLOCK,
    KEPT_MOST,
    KEPT_PART,
    MARK_NAME,
    MARK_SLOTS,
    SECTOR,
    Mark,
    decode_mark,
    segment_name,
)
from ..chances import Chances
from ..disk import SimDisk

CLUSTER = b"simulated nodes!"
SEGMENT_BYTES = 64 << 10
# Openings for which a segment has room when there is none elsewhere.
OPENINGS = min(KEPT_MOST, SEGMENT_BYTES // KEPT_PART) // (2 * BLOCK)
NEWEST_BYTES = 40  # that surely belong to the newest batch
# What a simulated disk counts, and under which name a schedule does.
COUNTS = {
    "writes lost": "writes lost",
    "writes torn": "torn writes",
    "names lost": "names lost",
    "stalls": "stalls",
    "full": "full disks",
    "shortages": "shortages",
    "failures": "disk failures",
    "cuts": "power cuts within a round",
}


class Disk(Protocol):
    """The disk of one member over its lives."""

    #: what was durable is damaged: its member may lack something, or not come back at all
    damaged: bool

    def storage(self) -> Any:
        """A storage for the next life."""

    def power_cut(self, totals: Counter[str]) -> None:
        """What was not synced may be lost."""

    def kill(self) -> None:
        """The process is gone: what was written stays."""

    def closed(self) -> None:
        """The node was closed."""

    def slice(self) -> None:
        """Some time passes."""

    def stands(self) -> bool:
        """Whether no sync comes to an end."""

    def broken(self) -> bool:
        """Whether the power has gone, in the middle of what the node was doing."""

    def may_fail(self, error: BaseException | None) -> bool:
        """Whether a node that runs may end with this, after what was done to the disk."""

    def may_refuse(self, error: BaseException) -> bool:
        """Whether a node may not start because of this, after what was done to the disk."""

    def fault(self, rng: random.Random, totals: Counter[str]) -> None:
        """Something goes wrong from now on, for a while or once."""

    def damage(self, rng: random.Random, totals: Counter[str]) -> bool:
        """While no node runs: what was durable is damaged. False where that cannot be."""

    def rebuild(self, rng: random.Random, totals: Counter[str]) -> bool:
        """While no node runs: the member begins again without what it held, in doubt. False when that has not ended."""

    def heal(self) -> None:
        """No further faults; those that nodes can live with are over."""

    def count(self, totals: Counter[str]) -> None:
        """Add what has happened to this disk."""


class PlainDisk:
    """A storage written in Python: written and synced in one go, and never wrong but for a sync that raises."""

    def __init__(self, voters: Iterable[int], rng: random.Random) -> None:
        self._storage = MemoryStorage(voters, random=random.Random(rng.getrandbits(64)).randbytes)
        self._failing = False
        self.damaged = False

    def storage(self) -> MemoryStorage:
        self._failing = False
        return self._storage

    def power_cut(self, totals: Counter[str]) -> None:
        self.heal()
        self._storage.crash()

    def kill(self) -> None:
        self.heal()
        self._storage.crash()

    def closed(self) -> None:
        self.heal()

    def slice(self) -> None:
        pass

    def stands(self) -> bool:
        return False

    def broken(self) -> bool:
        return False

    def may_fail(self, error: BaseException | None) -> bool:
        return self._failing and isinstance(error, StorageFailed)

    def may_refuse(self, error: BaseException) -> bool:
        return False

    def fault(self, rng: random.Random, totals: Counter[str]) -> None:
        self._failing = True
        self._storage.fail_next_sync = OSError(5, "the disk fails")
        totals["disk failures"] += 1

    def damage(self, rng: random.Random, totals: Counter[str]) -> bool:
        return False

    def rebuild(self, rng: random.Random, totals: Counter[str]) -> bool:
        return False

    def heal(self) -> None:
        self._storage.fail_next_sync = None

    def count(self, totals: Counter[str]) -> None:
        pass


class WalDisk:
    """The log's own code, on a simulated disk. voters: None for a member that waits to be added."""

    def __init__(self, id: int, voters: Iterable[int] | None, rng: random.Random) -> None:
        self.disk = SimDisk(random.Random(rng.getrandbits(64)))
        self._path = f"/node-{id}"
        join = ["sim:1"] if voters is None else None
        FileStorage.create(
            self._path, id=id, members=voters, join=join, cluster=CLUSTER, segment_bytes=SEGMENT_BYTES, disk=self.disk
        )
        self._frozen_for = 0
        #: slices until there is room again; how often the log was opened meanwhile, which takes a block each time
        self._full_for = self._opened_full = 0
        #: the segment in which these were
        self._filled = ""
        #: nothing was ordered that a node cannot live with, in this life
        self._harmless = True
        self.damaged = False
        #: what is damaged is what the member would start with
        self._refuses = False

    def storage(self) -> FileStorage:
        self._harmless = True
        self._opened_full += 1
        return FileStorage(self._path, disk=self.disk)

    def power_cut(self, totals: Counter[str]) -> None:
        before = self.disk.counts.copy()
        self.disk.crash()
        lost = sum((self.disk.counts - before)[name] for name in ("writes lost", "writes torn"))
        totals["crashes with lost writes"] += lost > 0
        self.closed()

    def kill(self) -> None:
        self.disk.kill()
        self.closed()

    def closed(self) -> None:
        capacity, full_for = self.disk.capacity, self._full_for
        self.heal()
        # Room does not come back because a process has ended.
        self.disk.capacity, self._full_for = capacity, full_for

    def slice(self) -> None:
        if self._frozen_for:
            self._frozen_for -= 1
            if not self._frozen_for:
                self.disk.thaw()
        if self._full_for:
            self._full_for -= 1
            if not self._full_for:
                self.disk.capacity = None

    def stands(self) -> bool:
        return self._frozen_for > 0

    def broken(self) -> bool:
        return self.disk.off

    def may_fail(self, error: BaseException | None) -> bool:
        return not self._harmless and isinstance(error, StorageFailed)

    def may_refuse(self, error: BaseException) -> bool:
        if isinstance(error, WalDamaged):
            return self._refuses
        # A segment has room for a few openings; who has lost the mark needs room for another one.
        room = self._full_for and (self._opened_full > OPENINGS or self.damaged)
        return isinstance(error, StorageError) and bool(self.disk.off or not self._harmless or room)

    def fault(self, rng: random.Random, totals: Counter[str]) -> None:
        what = rng.random()
        if what < 0.2:
            self.disk.freeze()
            self._frozen_for = rng.randint(1, 60)
        elif what < 0.35:
            self.disk.chances = Chances(stall=0.5, stall_asks=rng.choice((2, 20)))
        elif what < 0.45:
            self.disk.chances = Chances(short=0.3)
        elif what < 0.7:
            self.disk.cut_after(rng.randint(1, 30))
        elif what < 0.9:
            self.fill(rng.choice((20, 100, 500)), rng.choice((0, SEGMENT_BYTES // 2)))
        else:
            self._harmless = False
            self.disk.chances = Chances(broken=0.3)

    def fill(self, slices: int, left: int = 0) -> None:
        """So many bytes are left for new files for a while: less than a segment."""
        self._full_for = slices
        newest = max([name for name in self.disk.files(self._path) if name.endswith(".log")], default="")
        if newest != self._filled:
            # What openings have taken of a segment stays taken when there is room for a while.
            self._filled, self._opened_full = newest, 0
        self.disk.capacity = self.disk.platter.used() + left

    def damage(self, rng: random.Random, totals: Counter[str]) -> bool:
        try:
            files = self.disk.files(self._path)
        except OSError:
            return False
        mark = self._mark(files)
        if mark is None:
            return False
        newest = segment_name(mark.segment)
        # One that the power went from before anything was in it has nothing to be damaged. What is behind the mark,
        # which is synced seldom, can pass for torn after a power cut: that is a limit of the log.
        logs = [name for name in files if name.endswith(".log") and self._size(name)]
        what = rng.random()
        if what < 0.3:
            self.disk.delete(f"{self._path}/{MARK_NAME}")
        elif what < 0.5 and logs and self._end(max(logs)) < self._size(max(logs)):
            # Behind all that was ever written to the last segment.
            last = max(logs)
            totals["damaged nothing"] += 1
            self.disk.flip(f"{self._path}/{last}", rng.randrange(8 * self._end(last), 8 * self._size(last)))
        elif not (logs := [name for name in logs if name <= newest]):
            return False
        elif newest in logs and rng.random() < 0.5:
            # The end of the newest batch that is known to be durable: an acknowledged one passes for torn most easily.
            totals["damaged newest batches"] += 1
            end = self._end(newest, mark.position)
            self.disk.flip(f"{self._path}/{newest}", rng.randrange(8 * (end - NEWEST_BYTES), 8 * end))
        else:
            name = rng.choice(logs)
            end = mark.position if name == newest else min(self._size(name), 40_000)
            self.disk.flip(f"{self._path}/{name}", rng.randrange(8 * end))
        self.damaged = self._refuses = True
        totals["damaged disks"] += 1
        return True

    def rebuild(self, rng: random.Random, totals: Counter[str]) -> bool:
        if rng.random() < 0.4:
            self.disk.cut_after(rng.randint(1, 50))
        try:
            rebuild(self._path, disk=self.disk)
        except StorageError:
            if not self.disk.off:
                if not self._full_for:
                    raise
                # A rebuilt member needs new files: it is tried again.
                totals["rebuilding without room"] += 1
                self.disk.repair()
                return False
            totals["power cuts in rebuilding"] += 1
            self.power_cut(totals)
            return False
        self.disk.repair()
        self._refuses = False
        return True

    @property
    def path(self) -> str:
        """Where its member's directory is."""
        return self._path

    def copy(self) -> dict[str, bytes]:
        """What is in the directory, while no node runs."""
        return {name: self.disk.read(f"{self._path}/{name}") for name in self.disk.files(self._path)}

    def put_back(self, files: dict[str, bytes]) -> None:
        """Let the directory hold these files and no others, while no node runs."""
        for name in self.disk.files(self._path):
            self.disk.delete(f"{self._path}/{name}")
        for name, data in files.items():
            self.disk.put(f"{self._path}/{name}", data)

    def _size(self, name: str) -> int:
        return len(self.disk.read(f"{self._path}/{name}"))

    def _end(self, name: str, before: int | None = None) -> int:
        """Where what is written ends, in a file or before a position of it: zeros follow."""
        return len(self.disk.read(f"{self._path}/{name}")[:before].rstrip(b"\0"))

    def _mark(self, files: Sequence[str]) -> Mark | None:
        """What the log itself knows to be durable; None before there is anything."""
        if MARK_NAME not in files:
            return None
        data = self.disk.read(f"{self._path}/{MARK_NAME}")
        slots = [decode_mark(data[slot * BLOCK : slot * BLOCK + SECTOR], slot) for slot in range(MARK_SLOTS)]
        marks = [found[0] for found in slots if found is not None]
        newest = max(marks, key=lambda mark: mark.number, default=None)
        return newest if newest is not None and newest.position > BLOCK else None

    def heal(self) -> None:
        self._frozen_for = self._full_for = 0
        self.disk.thaw()
        self.disk.repair()

    def count(self, totals: Counter[str]) -> None:
        """Add what has happened to this disk."""
        for name, told in COUNTS.items():
            totals[told] += self.disk.counts[name]
