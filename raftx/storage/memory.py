"""MemoryStorage: a storage for tests, with a disk that can lose power.

Keeps what a node wrote for as long as the object lives. ``crash`` forgets what was not synced.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from .._native.memory import Entry
from ..errors import ConfigError, StorageError, UsageError, WrongDirectory
from ..types import ConfState, HardState, Snapshot
from .membership import CHANGES, membership_after
from .protocol import Loaded, check_append, check_base, check_owner, first_membership


@dataclass(frozen=True)
class _Base:
    """Entries up to ``index`` are not needed any more."""

    index: int
    term: int
    conf_state: ConfState


@dataclass
class _Contents:
    """What a disk holds. Invariant: entries[n] has the index base_index + 1 + n."""

    hard_state: HardState = field(default_factory=HardState)
    conf_state: ConfState = field(default_factory=ConfState)
    base_index: int = 0
    base_term: int = 0
    entries: list[Entry] = field(default_factory=list)
    snapshot: Snapshot | None = None

    def last(self) -> int:
        return self.base_index + len(self.entries)

    def put(self, entry: Entry) -> None:
        """Take one more entry: it replaces what has its index, and everything after that."""
        at = entry.index - self.base_index - 1
        if at > len(self.entries):
            raise StorageError(f"entry {entry.index} cannot follow entry {self.last()}")
        del self.entries[max(at, 0) :]
        if at >= 0:
            self.entries.append(entry)

    def take(self, each: HardState | Entry | _Base | Snapshot) -> None:
        """One thing that was asked for."""
        if isinstance(each, Entry):
            self.put(each)
        elif isinstance(each, HardState):
            self.hard_state = each
        elif isinstance(each, _Base):
            self.begin_behind(each.index, each.term, each.conf_state)
        elif each.index >= self.base_index:
            self.begin_behind(each.index, each.term, each.conf_state)
            self.snapshot = each

    def begin_behind(self, index: int, term: int, conf_state: ConfState) -> None:
        """Forget the entries up to ``index``; all of them, where that one is not there with that term."""
        if index <= self.base_index:
            return
        at = index - self.base_index
        known = 0 < at <= len(self.entries) and self.entries[at - 1].term == term
        self.entries = self.entries[at:] if known else []
        self.base_index, self.base_term, self.conf_state = index, term, conf_state


class MemoryStorage:
    """Hard state and records in memory.

    voters, learners: the first membership. ``sync_delay``: seconds that each sync takes.
    """

    def __init__(self, voters: Iterable[int] = (), learners: Iterable[int] = (), *, sync_delay: float = 0.0) -> None:
        conf_state = first_membership(voters, learners)
        if not conf_state.voters:
            raise ConfigError("voters must name at least one member, not none")
        good = isinstance(sync_delay, (int, float)) and not isinstance(sync_delay, bool)
        if not good or not 0 <= sync_delay <= threading.TIMEOUT_MAX:
            raise ConfigError(f"sync_delay must be a number of seconds, at least 0, not {sync_delay!r}")
        self.sync_delay = sync_delay
        #: tests: the next sync raises this
        self.fail_next_sync: BaseException | None = None
        self._lock = threading.Lock()
        self._owner: tuple[int, bytes] | None = None
        self._open = False
        self._incarnation = 0
        self._durable = _Contents(conf_state=conf_state)
        #: what was asked for since the last sync: a hard state, entry, base or snapshot each
        self._pending: list[HardState | Entry | _Base | Snapshot] = []
        #: the hard state and the last entry that were taken, on disk or not
        self._state = HardState()
        self._last = 0
        #: why it is in doubt (HardState.in_doubt); "" when it is not, as far as ``put_in_doubt`` is concerned
        self.doubt = ""

    def __repr__(self) -> str:
        held = self._durable
        whose = f" of node {self._owner[0]}" if self._owner else ""
        state = "open" if self._open else "closed"
        waiting = f", {len(self._pending)} to be synced" if self._pending else ""
        return f"<raftx.MemoryStorage{whose}, {state}, base {held.base_index}, last {held.last()}{waiting}>"

    def open(self, id: int, cluster: bytes) -> Loaded:
        """Take it for a node. Raises WrongDirectory when it is in use or another node's, UsageError as Storage.open."""
        check_owner(id, cluster)
        with self._lock:
            if self._open:
                raise WrongDirectory("this storage is in use by another node")
            if self._owner not in (None, (id, cluster)):
                raise WrongDirectory(f"this storage belongs to node {self._owner[0] if self._owner else id}")
            self._owner = (id, cluster)
            self._open = True
            self._incarnation += 1
            self._settle()
            held = self._durable
            self._state, self._last = held.hard_state, held.last()
            changes = [
                (entry.kind, entry.data)
                for entry in held.entries
                if entry.kind in CHANGES and entry.index <= held.hard_state.commit
            ]
            return Loaded(
                held.hard_state,
                held.conf_state,
                self._incarnation,
                [entry.encode() for entry in held.entries],
                base_index=held.base_index,
                base_term=held.base_term,
                current_conf_state=membership_after(held.conf_state, changes),
                snapshot=held.snapshot,
            )

    def append(self, hard_state: HardState, records: Sequence[bytes | memoryview]) -> None:
        """Take a hard state and records; durable after ``sync``. See Storage.append."""
        with self._lock:
            self._check_open()
            pieces = [bytes(piece) for piece in records]
            self._last = check_append(self._state, self._last, hard_state, pieces)
            self._state = hard_state
            self._pending.append(hard_state)
            for piece in pieces:
                self._pending += Entry.decode_all(piece)

    def sync(self) -> None:
        """Make everything appended durable."""
        if self.sync_delay:
            time.sleep(self.sync_delay)
        with self._lock:
            error, self.fail_next_sync = self.fail_next_sync, None
            if error is not None:
                raise error
            self._settle()
            if not self._durable.hard_state.in_doubt:
                self.doubt = ""

    def compact(self, index: int, term: int, conf_state: ConfState) -> None:
        """Forget the entries up to ``index`` with the next ``sync``. See Storage.compact.

        Raises UsageError for what cannot be an index and its term, is not on disk, or has another term there;
        StorageError when closed.
        """
        with self._lock:
            self._check_open()
            held = self._durable
            check_base(index, term, conf_state, held.last())
            there = held.entries[index - held.base_index - 1].term if index > held.base_index else term
            if term != there:
                raise UsageError(f"term must be {there}, that of entry {index}, not {term}")
            self._pending.append(_Base(index, term, conf_state))

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, with the next ``sync``: the log begins behind it. See protocol.py.

        Raises UsageError for what is no snapshot with an index, a term and a membership; StorageError when closed.
        """
        if not isinstance(snapshot, Snapshot):
            raise UsageError(f"snapshot must be a raftx.Snapshot, not {type(snapshot).__name__}")
        with self._lock:
            self._check_open()
            # It may lie behind the log, which it then replaces.
            check_base(snapshot.index, snapshot.term, snapshot.conf_state, snapshot.index)
            self._pending.append(snapshot)
            self._last = self._taken().last()

    def put_in_doubt(self, reason: str = "a test put it in doubt") -> None:
        """As if something acknowledged might be missing: what opens it next starts in doubt. Not while it is open."""
        with self._lock:
            if self._open:
                raise StorageError("the storage is open")
            self.doubt = reason
            self._settle()
            self._durable.hard_state = replace(self._durable.hard_state, in_doubt=True)

    def crash(self) -> None:
        """Power cut: what was not synced is gone."""
        with self._lock:
            self._pending = []
            self._open = False

    def close(self) -> None:
        """Let another node (the same one, restarted) open it."""
        with self._lock:
            self._open = False

    def _settle(self) -> None:
        """Everything that was asked for is durable."""
        pending, self._pending = self._pending, []
        for each in pending:
            self._durable.take(each)

    def _taken(self) -> _Contents:
        """What the disk will hold after the next sync."""
        made = replace(self._durable, entries=list(self._durable.entries))
        for each in self._pending:
            made.take(each)
        return made

    def _check_open(self) -> None:
        if not self._open:
            raise StorageError("the storage is closed")
