"""One member of a simulated cluster: a RawNode over its lives, the disk it keeps, and a state machine.

The state machine is a list with one item for each applied index: the data of a normal entry, b"" for all else.
It goes into snapshots whole, so a member that restores one can be compared item by item. No faults are drawn here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .._core import EntryLog
from .._native.memory import Entry
from .._native.outbox import Message
from ..config import Config
from ..consensus.rawnode import RawNode
from ..types import ConfState, HardState, Snapshot

PAST = 8  # writes that a disk may lose


def encode(items: list[bytes]) -> bytes:
    """The state machine as the data of a snapshot; there is at least one item."""
    return b",".join(items)


def decode(data: bytes) -> list[bytes]:
    """What ``encode`` made of."""
    return data.split(b",")


def everybody(conf: ConfState) -> set[int]:
    """All ids of a membership."""
    return {*conf.voters, *conf.learners, *conf.voters_outgoing}


@dataclass
class Write:
    """What goes to a disk together, and what may leave or be stepped once it is durable."""

    hard_state: HardState | None
    entries: list[Entry]
    snapshot: Snapshot | None = None
    responses: list[Message] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    restored: bool = False


@dataclass
class Disk:
    """What survives a power cut: the log behind (``base``, ``base_term``), votes, and the newest snapshot.

    Invariant: base <= snapshot.index <= the log's end, and snapshot.index <= hard_state.commit.
    """

    hard_state: HardState = field(default_factory=HardState)
    base: int = 0
    base_term: int = 0
    entries: list[Entry] = field(default_factory=list)
    snapshot: Snapshot | None = None

    def keep(self, write: Write) -> None:
        """A write is on disk."""
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.snapshot is not None:
            self.snapshot = write.snapshot
            self.base, self.base_term = write.snapshot.index, write.snapshot.term
            self.entries = []
        if write.entries:
            del self.entries[write.entries[0].index - self.base - 1 :]
            self.entries += write.entries

    def copy(self) -> Disk:
        """What it holds now."""
        return Disk(self.hard_state, self.base, self.base_term, list(self.entries), self.snapshot)

    def compact(self, index: int) -> None:
        """The log begins behind ``index``, if it did not already."""
        if index > self.base:
            self.base_term = self.entries[index - self.base - 1].term
            del self.entries[: index - self.base]
            self.base = index

    @property
    def empty(self) -> bool:
        """Whether nothing was ever written."""
        return self.hard_state.term == 0 and not self.entries and self.snapshot is None


class Member:
    """A RawNode over its lives. ``founders`` begin the group with ``bootstrap``; None: another way, or a newcomer.

    ``conf_state`` is the membership before the first entry; a newcomer has none.
    """

    def __init__(
        self,
        id: int,
        settings: dict[str, object],
        asynchronous: bool,
        conf_state: ConfState | None = None,
        founders: list[int] | None = None,
        seed: int = 0,
    ) -> None:
        self.id = id
        self.settings = settings
        self.asynchronous = asynchronous
        self.conf_state = conf_state or ConfState()
        self.founders = founders
        self.seed = seed
        self.disk = Disk()
        #: what it held before each of the last writes, where disks may be damaged
        self.past: deque[Disk] = deque(maxlen=PAST)
        self.in_doubt = self.damaged = False
        self.writes: deque[Write] = deque()
        #: what was handed to the state machine and is not applied yet (asynchronous writes only)
        self.applies: deque[Message] = deque()
        self.apply_bytes = 0
        #: the disk, or with synchronous writes the whole member's work, stands still
        self.stalled = False
        #: the state machine works when it is told to, not at once
        self.lazy = False
        #: lazy, and does not do it when it is told to either
        self.asleep = False
        #: power fails at that place of the next Ready (synchronous writes only)
        self.doomed = 0
        #: Readys were put off: one of them holds what several steps asked for
        self.deferred = False
        self.lives = 0
        self.waiting: set[bytes] = set()  # proposals of this life that are not applied yet
        self.reads: list[tuple[int, bytes]] = []  # index, context: answered and not served yet
        self.items: list[bytes] = []
        self.confs: list[tuple[int, ConfState]] = [(0, self.conf_state)]
        self.raw: RawNode | None = None

    @property
    def applied(self) -> int:
        """How far the state machine is."""
        return len(self.items)

    def found(self, snapshot: Snapshot) -> None:
        """Before the first life: the group begins with this snapshot."""
        self.disk.keep(Write(HardState(snapshot.term, 0, snapshot.index), [], snapshot))
        self.restore(snapshot)

    def begin(self, keep_state: bool = False) -> RawNode:
        """A new life from what is durable. ``keep_state``: the state machine is durable too, as far as it may be."""
        self.lives += 1
        disk = self.disk
        self.in_doubt = disk.hard_state.in_doubt
        log = EntryLog(disk.base + 1, disk.base_term)
        if disk.entries:
            log.py_extend(disk.entries)
        covered = disk.snapshot.index if disk.snapshot else 0
        kept = min(self.applied, disk.hard_state.commit)
        if keep_state and kept > covered:
            del self.items[kept:]
            self.confs = [each for each in self.confs if each[0] <= kept]
        elif disk.snapshot:
            self.restore(disk.snapshot)
        else:
            self.items = []
            self.confs = [(0, self.conf_state)]
        self.raw = RawNode(
            Config(id=self.id, seed=self.seed + self.id * 1000 + self.lives, **self.settings),  # type: ignore[arg-type]
            log=log,
            hard_state=disk.hard_state,
            conf_state=self.confs[-1][1],
            applied=self.applied,
            snapshot=disk.snapshot,
            async_storage_writes=self.asynchronous,
        )
        if self.founders and disk.empty:
            self.raw.bootstrap(self.founders)
        return self.raw

    def end(self) -> None:
        """All that was not durable is gone. The state machine stays: ``begin`` says what becomes of it."""
        self.writes.clear()
        self.applies.clear()
        self.apply_bytes = 0
        self.waiting.clear()
        self.reads.clear()
        self.raw = None
        self.stalled = self.deferred = self.asleep = False
        self.doomed = 0

    def apply(self, entries: Iterable[Entry]) -> None:
        """The state machine takes entries; those that change the membership are nothing to it."""
        self.items += [b"" if entry.kind else entry.data for entry in entries]

    def restore(self, snapshot: Snapshot) -> None:
        """The state machine becomes that of a snapshot."""
        self.items = decode(snapshot.data)
        self.confs = [(snapshot.index, snapshot.conf_state)]

    def snapshot(self) -> Snapshot | None:
        """Take a snapshot of what is applied, or None where there is nothing that may be in one."""
        raw = self.raw
        if raw is None or raw.core.pending_snapshot:
            # The membership is that of the snapshot which is being restored already.
            return None
        index = raw.core.applied
        newest = self.disk.snapshot.index if self.disk.snapshot else 0
        # A log whose durable commit index lies before its snapshot would not be opened again.
        if not newest < index <= self.disk.hard_state.commit or index != self.applied:
            return None
        if self.founders and index < len(self.founders):
            return None
        return Snapshot(index, raw.core.log.py_term(index), raw.core.tracker.conf_state(), encode(self.items))
