"""What the members of etcd's interaction scripts consist of, and what the commands print into.

Each member is a RawNode with a storage in memory, a state machine and the work that is under way. Nothing here knows
the commands: ``interaction.py`` does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from raftx.types import ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, NO_LIMIT

from . import describe
from .datadriven import ScriptError

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE")

# etcd's errors, which the scripts have as output
COMPACTED = "requested index is unavailable due to compaction"
OUT_OF_DATE = "requested index is older than the existing snapshot"


class CommandError(Exception):
    """A command failed in a way that is output, and that ``log-level none`` does not hide."""


class Output:
    """What the commands print; nothing while the level is NONE."""

    def __init__(self) -> None:
        self.level = 0
        self._parts: list[str] = []

    @property
    def quiet(self) -> bool:
        """Whether output is hidden."""
        return LEVELS[self.level] == "NONE"

    def write(self, text: str) -> None:
        """Print."""
        if not self.quiet:
            self._parts.append(text)

    def take(self) -> str:
        """All that was printed since the last call."""
        text = "".join(self._parts)
        self._parts.clear()
        return text

    @contextlib.contextmanager
    def indented(self) -> Iterator[None]:
        """What is printed within stands two blanks further in."""
        outer, self._parts = self._parts, []
        try:
            yield
        finally:
            inner = self.take()
            self._parts = outer
            self._parts.append(describe.indented(inner))

    def set_level(self, name: str) -> None:
        """Raises CommandError when there is no such level."""
        if name.upper() not in LEVELS:
            raise CommandError(f"log levels must be either of [{' '.join(LEVELS)}]")
        self.level = LEVELS.index(name.upper())


class MemoryStorage:
    """What a member has made durable, with the limits of etcd's storage in memory."""

    def __init__(self) -> None:
        #: the entry before the first one
        self.base = 0
        self.entries: list[Any] = []
        self.snapshot_index = 0

    @property
    def last(self) -> int:
        """Index of the last entry, which may be the one before the first."""
        return self.base + len(self.entries)

    def append(self, entries: Sequence[Any]) -> None:
        """Entries replace what is there from their first index on; what is compacted is left out."""
        entries = [entry for entry in entries if entry.index > self.base]
        if not entries:
            return
        if entries[0].index > self.last + 1:
            raise ScriptError(f"missing log entry [last: {self.last}, append at: {entries[0].index}]")
        self.entries[entries[0].index - self.base - 1 :] = entries

    def apply_snapshot(self, snapshot: Any) -> None:
        """The log begins behind the snapshot."""
        if self.snapshot_index and self.snapshot_index >= snapshot.index:
            raise CommandError(OUT_OF_DATE)
        self.snapshot_index = self.base = snapshot.index
        self.entries = []

    def compact(self, index: int) -> None:
        """Forget the entries up to ``index``."""
        if index <= self.base:
            raise CommandError(COMPACTED)
        if index > self.last:
            raise ScriptError(f"compact {index} is out of bound lastindex({self.last})")
        del self.entries[: index - self.base]
        self.base = index


def _varint(value: int) -> int:
    """Bytes of a number in protobuf."""
    return max(1, (value.bit_length() + 6) // 7)


def protobuf_size(entry: Any, change: Any = None, from_change: bool = True) -> int:
    """Bytes of an entry as etcd encodes it; ``change`` is what it holds when it is a membership change.

    ``from_change``: it came of a change that was proposed. What a leader appends of its own accord looks the same
    in raftx, and is shorter in etcd: its first entry, unlike the empty one in the place of a refused change, has no
    kind, and its change that leaves a joint configuration, unlike a proposed one, has no data.
    """
    size = 1 + _varint(entry.term) + 1 + _varint(entry.index)
    data = len(entry.data)
    if change is not None:
        parts = [1 + _varint(single.kind) + 1 + _varint(single.id) for single in change.changes]
        # The old kind is a part itself; the new one has its transition and a list of parts.
        data = sum(parts) if change.v1 else 2 + sum([2 + part for part in parts])
        if not from_change:
            data = 0
    if change is not None or (data == 0 and from_change):
        size += 2  # the kind, which proposed data do not have
    return size + (1 + _varint(data) + data if data else 0)


class ApplyBudget:
    """Limits what is on its way to the state machine as etcd does, which counts bytes of its own encoding.

    raftx counts bytes of its records. Before everything that raftx decides by its count, its limit is set so that it
    decides as etcd would.
    """

    #: bytes of a record besides the entry's data
    RECORD = 32

    def __init__(
        self, node: Any, limit: int, from_changes: set[tuple[int, int]], decode_change: describe.DecodeChange
    ) -> None:
        self._node = node
        self._limit = limit
        self._from_changes = from_changes
        self._decode = decode_change
        self._outstanding = 0
        self._paused = False

    def _size(self, entry: Any) -> int:
        change = None
        if entry.kind in (ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2):
            change = self._decode(entry.data, entry.kind == ENTRY_CONF_CHANGE)
        return protobuf_size(entry, change, (entry.term, entry.index) in self._from_changes)

    def before_ready(self) -> None:
        """Let the next Ready hand out what etcd's would."""
        core = self._node.core
        high = min(core.committed, core.stable) if self._node.async_storage_writes else core.committed
        if self._paused or core.pending_snapshot or high <= core.applying:
            return
        entries = core.log.entries(core.applying + 1, high)
        total = self._size(entries[0])
        count = 1
        while count < len(entries) and self._outstanding + total + self._size(entries[count]) <= self._limit:
            total += self._size(entries[count])
            count += 1
        self._outstanding += total
        self._paused = self._outstanding >= self._limit or count < len(entries)
        records = sum([self.RECORD + len(entry.data) for entry in entries[:count]])
        self._node.set_max_apply_bytes(core.applying_bytes + records if self._paused else NO_LIMIT)

    def before_applied(self, entries: Sequence[Any]) -> None:
        """The member is about to be told that these are applied."""
        self._outstanding = max(0, self._outstanding - sum([self._size(entry) for entry in entries]))
        self._paused = self._outstanding >= self._limit
        self._node.set_max_apply_bytes(1 if self._paused else NO_LIMIT)


class Member:
    """A RawNode with its storage, its work in progress and its state machine."""

    def __init__(self, node: Any, inflight: int, snapshot: Any, budget: ApplyBudget | None) -> None:
        self.node = node
        #: None: there is no limit
        self.budget = budget
        self.id = node.core.id
        self.inflight = inflight
        self.storage = MemoryStorage()
        if snapshot.index:
            self.storage.apply_snapshot(snapshot)
        self.append_work: list[Any] = []
        self.apply_work: list[Any] = []
        #: a snapshot of the state machine after every entry; its state is the data that were applied, end to end
        self.history = [snapshot]
