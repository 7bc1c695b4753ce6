"""MemoryStorage: a storage for tests, with a disk that can lose power.

Keeps what a node wrote for as long as the object lives. ``crash`` forgets what was not synced.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._native.memory import Entry
from ..errors import ConfigError, StorageError, UsageError, WrongDirectory
from ..types import ConfState, HardState
from .book import Book
from .in_use import Use, as_node
from .lives import check as check_lost
from .lives import new_life
from .membership import CHANGES, membership_after
from .memory_folder import MemoryFolder
from .protocol import Loaded, Met, check_append, check_base, check_owner, first_membership
from .snapshot_format import Descriptor
from .snapshot_receiver import SnapshotReceiver
from .snapshot_store import SnapshotStore
from .snapshots import SnapshotReader, SnapshotWriter
from .wal_format import STORE_BYTES


@dataclass(frozen=True)
class _Base:
    """Entries up to ``index`` are not needed any more; ``anew``: nor is any other, the log begins behind a snapshot."""

    index: int
    term: int
    conf_state: ConfState
    anew: bool = False


@dataclass
class _Contents:
    """What a disk holds. Invariant: entries[n] has the index base_index + 1 + n."""

    hard_state: HardState = field(default_factory=HardState)
    conf_state: ConfState = field(default_factory=ConfState)
    base_index: int = 0
    base_term: int = 0
    entries: list[Entry] = field(default_factory=list)
    #: the base is a snapshot behind which the log began anew
    restored: bool = False

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

    def take(self, each: HardState | Entry | _Base) -> None:
        """One thing that was asked for."""
        if isinstance(each, Entry):
            self.put(each)
        elif isinstance(each, HardState):
            self.hard_state = each
        else:
            self.forget(each)

    def forget(self, base: _Base) -> None:
        """Forget the entries up to the base, or all."""
        index = base.index
        if not base.anew:
            if index <= self.base_index:
                return
            self.entries = self.entries[index - self.base_index :]
        else:
            self.entries = []
        self.base_index, self.base_term, self.conf_state = index, base.term, base.conf_state
        self.restored = base.anew

    def term_at(self, index: int) -> int:
        """The term of an entry, or of the base; 0 when it is not there."""
        if index == self.base_index:
            return self.base_term
        at = index - self.base_index - 1
        return self.entries[at].term if 0 <= at < len(self.entries) else 0


class MemoryStorage:
    """Hard state and records in memory.

    voters, learners: the first membership. ``sync_delay``: seconds that each sync takes. ``random``: called with a
    number, gives so many random bytes (for simulations).
    """

    def __init__(
        self,
        voters: Iterable[int] = (),
        learners: Iterable[int] = (),
        *,
        sync_delay: float = 0.0,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
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
        #: whether a node has it: its owner may change nothing then
        self._use = Use()
        self._incarnation = 0
        self._random = random
        self._name = random(STORE_BYTES)
        #: whom it was told to remember, and a life of its own member that it was told of; 0: none
        self._met: Mapping[int, Met] = {}
        #: what it was told last to keep of the members
        self._book = Book(0)
        self._lost = 0
        self._durable = _Contents(conf_state=conf_state)
        #: what was asked for since the last sync: a hard state, entry or base each
        self._pending: list[HardState | Entry | _Base] = []
        #: the hard state and the last entry that were taken, on disk or not
        self._state = HardState()
        self._last = 0
        #: its snapshots, as files; and what counts of them while it is open
        self._folder: Any = MemoryFolder()
        self._store: SnapshotStore | None = None
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
            check_lost(self._lost, "the storage", id)
            self._owner = (id, cluster)
            self._open = True
            self._use.begin()
            self._incarnation += 1
            self._settle()
            held = self._durable
            store = SnapshotStore("the storage", self._folder, cluster)
            store.find(held.base_index, held.last(), held.term_at, held.restored)
            store.follow(lambda: held.base_index)
            self._store = store
            newest = store.newest()
            self._state, self._last = held.hard_state, held.last()
            changes = [
                (entry.kind, entry.data)
                for entry in held.entries
                if entry.kind in CHANGES and entry.index <= held.hard_state.commit
            ]
            book = self._book if self._book.index >= held.base_index else Book(0)
            return Loaded(
                held.hard_state,
                held.conf_state,
                self._incarnation,
                [entry.encode() for entry in held.entries],
                base_index=held.base_index,
                base_term=held.base_term,
                current_conf_state=membership_after(held.conf_state, changes),
                snapshot=newest.snapshot() if newest else None,
                life=new_life(self._incarnation, self._random(4)),
                store=self._name,
                met=dict(self._met),
                addresses=book.addresses,
                joined=book.joined,
            )

    def founders(self) -> tuple[ConfState, Mapping[int, str]] | None:
        """The first members, and nobody's address; None once a node has opened it."""
        with self._lock:
            return (self._durable.conf_state, {}) if not self._incarnation else None

    def append(self, hard_state: HardState, records: Sequence[bytes | memoryview]) -> None:
        """Take these; durable after ``sync``. See Storage.append; UsageError while a node uses it."""
        self._use.check("append")
        with self._lock:
            self._check_open()
            pieces = [bytes(piece) for piece in records]
            self._last = check_append(self._state, self._last, hard_state, pieces, self._least())
            self._state = hard_state
            self._pending.append(hard_state)
            for piece in pieces:
                self._pending += Entry.decode_all(piece)

    def sync(self) -> None:
        """Make everything appended durable. Raises UsageError while a node uses it."""
        self._use.check("sync")
        if self.sync_delay:
            time.sleep(self.sync_delay)
        with self._lock:
            error, self.fail_next_sync = self.fail_next_sync, None
            if error is not None:
                raise error
            self._settle()
            if not self._durable.hard_state.in_doubt:
                self.doubt = ""
            store = self._store
        if store is not None:
            store.settle()

    def compact(self, index: int, term: int, conf_state: ConfState) -> None:
        """Forget the entries up to ``index`` with the next ``sync``. See Storage.compact.

        Raises UsageError for what cannot be an index and its term, is not on disk, or has another term there, and
        while a node uses it; StorageError when closed.
        """
        self._use.check("compact")
        with self._lock:
            self._check_open()
            held = self._durable
            check_base(index, term, conf_state, held.last())
            there = held.entries[index - held.base_index - 1].term if index > held.base_index else term
            if term != there:
                raise UsageError(f"term must be {there}, that of entry {index}, not {term}")
            self._pending.append(_Base(index, term, conf_state))

    def begin_behind(self, index: int, term: int, conf_state: ConfState) -> None:
        """The log begins anew behind a snapshot that was received, with the next ``sync``. See protocol.py.

        Raises StorageError when closed; UsageError without that snapshot, or for one before the base or what is
        committed, and while a node uses it.
        """
        self._use.check("begin_behind")
        self._opened().check_behind(index, term, conf_state)
        with self._lock:
            least = max(self._least(), self._state.commit)
            if index < least:
                raise UsageError(f"index must be at least {least}, what the log is known to have, not {index}")
            self._pending.append(_Base(index, term, conf_state, anew=True))
            self._last = index

    def keep_addresses(self, index: int, addresses: Mapping[int, str], joined: Mapping[int, int]) -> None:
        """What the entries up to ``index`` say of the members. See protocol.py. Raises StorageError when closed."""
        self._use.check("keep_addresses")
        with self._lock:
            self._check_open()
            self._book = Book(index, dict(addresses), dict(joined))

    def remember(self, id: int, met: Met) -> bool:
        """Another member was met. See protocol.py. Raises StorageError when closed."""
        self._use.check("remember")
        with self._lock:
            self._check_open()
            self._met = {**self._met, id: met}
            return True

    def forgotten(self, life: int) -> None:
        """Others have met this life of its member, which began elsewhere. See protocol.py. Raises StorageError."""
        self._use.check("forgotten")
        with self._lock:
            self._check_open()
            self._lost = life

    def begin_snapshot(self, descriptor: Descriptor) -> SnapshotWriter:
        """A snapshot that is to be written and finished. See protocol.py; the log then begins behind the one before."""
        self._use.check("begin_snapshot")
        return self._opened().begin(descriptor, self._durable.last(), as_node(self.compact))

    def open_snapshot(self, index: int = 0) -> SnapshotReader:
        """The snapshot of that entry, to be read; 0: the newest. See protocol.py."""
        return self._opened().open(index)

    def receive_snapshot(self, descriptor: Descriptor) -> SnapshotReceiver:
        """A snapshot of another member, to be taken chunk by chunk. See protocol.py."""
        self._use.check("receive_snapshot")
        return self._opened().receive(descriptor)

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
            self._folder.crash()
            self._open = False
            self._use.end()
            self._store = None

    def close(self) -> None:
        """Let another node (the same one, restarted) open it. Raises UsageError while a node uses it."""
        self._use.check("close")
        with self._lock:
            self._open = False
            self._use.end()
            self._store = None

    def _opened(self) -> SnapshotStore:
        """Its snapshots. Raises StorageError when it is closed."""
        store = self._store
        if store is None:
            raise StorageError("the storage is closed")
        return store

    def _settle(self) -> None:
        """Everything that was asked for is durable."""
        pending, self._pending = self._pending, []
        for each in pending:
            self._durable.take(each)

    def _least(self) -> int:
        """Where the log begins, as far as anybody has said so."""
        return max([self._durable.base_index, *[each.index for each in self._pending if isinstance(each, _Base)]])

    def _check_open(self) -> None:
        if not self._open:
            raise StorageError("the storage is closed")
