"""A storage of one's own: a node's log in LMDB, a memory-mapped B+ tree with transactions (``pip install lmdb``).

Written to be copied. What a storage has to do stands in ``raftx.Storage``; ``raftx.testing.storage_suite`` checks it,
and this one passes. LMDB commits a transaction as a whole and syncs it, so one transaction is what ``sync`` makes of
everything that was appended: hard state and entries are on disk together, or not at all. It keeps no snapshots: give it
to a state machine that has ``applied_index``, and tell the node with ``compact`` what is not needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lmdb

from raftx import (
    AlreadyFounded,
    ConfState,
    Entry,
    HardState,
    Loaded,
    MemoryLost,
    NotFounded,
    StorageError,
    UsageError,
    WrongDirectory,
)
from raftx.storage.protocol import Met, check_append, check_base, check_owner, first_membership

OWNER = b"owner"  # id and cluster: written last when a member is founded
FOUNDERS = b"founders"  # the first membership
LIVES = b"lives"  # how often it was opened
STORE = b"store"  # what tells it from every other one
MET = b"m"  # before an id: the life of that member that was met, the entry that added it, and its store
BOOK = b"book"  # where the members are reached, and which entries have added them, when those are forgotten
LOST = b"lost"  # a life of its own member that others have met, and that began elsewhere
STATE = b"state"  # the hard state
BASE = b"base"  # where the log begins: index, term, membership there
ENTRY = b"e"  # before an index: the record of that entry. Big-endian, so that the order of keys is that of entries
_PLACE = struct.Struct(">Q")
_OWNER = struct.Struct("<Q16s")
_STATE = struct.Struct("<QQQ?")
_BASE = struct.Struct("<QQ")
_LIVES = struct.Struct("<Q")
_MET = struct.Struct("<QQ")
AT_ONCE = 1000  # entries that are read in one transaction: an old one keeps LMDB from using its pages again


def key_of(index: int) -> bytes:
    """Where an entry is."""
    return ENTRY + _PLACE.pack(index)


class LmdbStorage:
    """Hard state and log of one member, in the directory ``path``. It is founded once, by ``create``.

    map_size: bytes that the file may grow to; when they are used up, or the disk is full, ``sync`` raises and the node
    ends. Everything else happens in ``open``.
    """

    def __init__(self, path: str | os.PathLike[str], *, map_size: int = 1 << 30) -> None:
        self.path = Path(path)
        self.map_size = map_size
        #: ``append`` and ``sync`` are called on one thread of the node, ``compact`` on another
        self._guard = threading.Lock()
        self._environment: Any = None
        self._lock = -1
        #: what was appended and is not on disk: (index, record) in order, and the hard state
        self._records: list[tuple[int, bytes]] = []
        self._state = HardState()
        #: the last entry that was appended, the last one on disk, and where the log begins
        self._last = self._durable = 0
        self._base = self._base_term = 0

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        id: int,
        members: Iterable[int] | Mapping[int, str],
        cluster: bytes,
        map_size: int = 1 << 30,
    ) -> LmdbStorage:
        """Found a member in a directory that holds none. Raises AlreadyFounded, UsageError, StorageError."""
        check_owner(id, cluster)
        founders = first_membership(members, (), "members")
        storage = cls(path, map_size=map_size)
        storage.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with storage._taken(create=True), storage._transaction(write=True) as transaction:
            if transaction.get(OWNER) is not None:
                raise AlreadyFounded(f"{path} holds a member already")
            transaction.put(FOUNDERS, founders.encode())
            transaction.put(STORE, os.urandom(16))
            transaction.put(OWNER, _OWNER.pack(id, cluster))
        for directory in (storage.path, *storage.path.absolute().parents):
            _sync_names(directory)
        return storage

    # --- the protocol of storages --------------------------------------------------------------------

    def open(self, id: int, cluster: bytes) -> Loaded:
        """Take it for a node, and count this life. See raftx.Storage.open."""
        check_owner(id, cluster)
        if self._environment is not None:
            raise WrongDirectory(f"{self.path} is open already")
        if not (self.path / "data.mdb").exists():
            # Not made here: without its disk a member must not start as one that has promised nothing.
            raise NotFounded(f"{self.path} holds no member: is its disk mounted? Found a new one with create")
        self._take(create=False)
        try:
            with self._transaction(write=True) as transaction:
                return self._open(transaction, id, cluster)
        except BaseException:
            self.close()
            raise

    def _open(self, transaction: Any, id: int, cluster: bytes) -> Loaded:
        owner = transaction.get(OWNER)
        if owner is None:
            raise NotFounded(f"{self.path} holds no member: its founding did not end")
        if _OWNER.unpack(owner) != (id, cluster):
            whose, of = _OWNER.unpack(owner)
            raise WrongDirectory(f"{self.path} belongs to node {whose} of cluster {of!r}")
        if transaction.get(LOST) is not None:
            raise MemoryLost(f"{self.path} was set back or copied: others have met a life that it does not know")
        # Durable with this transaction, before anybody hears of this life.
        lives = 1 + _number(_LIVES, transaction.get(LIVES))
        transaction.put(LIVES, _LIVES.pack(lives))
        state = transaction.get(STATE)
        self._state = HardState(*_STATE.unpack(state)) if state is not None else HardState()
        base, members = transaction.get(BASE), transaction.get(FOUNDERS)
        self._base = self._base_term = 0
        if base is not None:
            self._base, self._base_term = _BASE.unpack(base[: _BASE.size])
            members = base[_BASE.size :]
        self._last = self._durable = max(_last_entry(transaction.cursor()), self._base)
        self._records = []
        conf_state, _ = ConfState.decode(members)
        life = lives << 32 | int.from_bytes(os.urandom(4), "little")
        return Loaded(
            self._state,
            conf_state,
            lives,
            self._stored(self._base + 1),
            self._base,
            self._base_term,
            life=life,
            store=bytes(transaction.get(STORE)),
            met=_met(transaction.cursor()),
            **self._book(transaction.get(BOOK)),
        )

    def _book(self, data: bytes | None) -> dict[str, dict[int, Any]]:
        """What ``keep_addresses`` was told, if it is of the base or later."""
        kept = json.loads(data) if data is not None else {"index": 0, "addresses": {}, "joined": {}}
        if kept["index"] < self._base:
            return {}
        return {name: {int(id): value for id, value in kept[name].items()} for name in ("addresses", "joined")}

    def append(self, hard_state: HardState, records: Sequence[bytes | memoryview]) -> None:
        """Take the hard state and then the records; written by the next ``sync``. See raftx.Storage.append."""
        with self._guard:
            self._check_open()
            pieces = [bytes(piece) for piece in records]
            self._last = check_append(self._state, self._last, hard_state, pieces, self._base)
            self._state = hard_state
            for piece in pieces:
                self._records += [(entry.index, entry.encode()) for entry in Entry.decode_all(piece)]

    def sync(self) -> None:
        """One transaction: it is on disk when this returns."""
        with self._guard:
            self._check_open()
            with self._transaction(write=True) as transaction:
                end = self._durable
                for index, record in self._records:
                    # It replaces what has its index, and everything after that.
                    for old in range(index + 1, end + 1):
                        transaction.delete(key_of(old))
                    transaction.put(key_of(index), record)
                    end = index
                state = self._state
                transaction.put(STATE, _STATE.pack(state.term, state.vote, state.commit, state.in_doubt))
            self._durable = end
            self._records = []

    def compact(self, index: int, term: int, conf_state: ConfState) -> None:
        """Forget the entries up to ``index``, at once and durably. See raftx.Storage.compact; another thread."""
        with self._guard:
            self._check_open()
            check_base(index, term, conf_state, self._durable)
            if index <= self._base:
                return
            with self._transaction(write=True) as transaction:
                (there,) = Entry.decode_all(transaction.get(key_of(index)))
                if there.term != term:
                    raise UsageError(f"term must be {there.term}, that of entry {index}, not {term}")
                for old in range(self._base + 1, index + 1):
                    transaction.delete(key_of(old))
                transaction.put(BASE, _BASE.pack(index, term) + conf_state.encode())
            self._base, self._base_term = index, term

    def keep_addresses(self, index: int, addresses: Mapping[int, str], joined: Mapping[int, int]) -> None:
        """What the entries up to ``index`` say of the members. See raftx.storage.protocol.AddressStorage."""
        with self._guard, self._transaction(write=True) as transaction:
            kept = {"index": index, "addresses": dict(addresses), "joined": dict(joined)}
            transaction.put(BOOK, json.dumps(kept).encode())

    def remember(self, id: int, met: Met) -> bool:
        """Another member was met. See raftx.storage.protocol.RememberingStorage; a thread of its own."""
        with self._guard, self._transaction(write=True) as transaction:
            transaction.put(MET + _PLACE.pack(id), _MET.pack(met.life, met.joined) + met.store)
        return True

    def forgotten(self, life: int) -> None:
        """Others have met this life of its member, which began elsewhere."""
        with self._guard, self._transaction(write=True) as transaction:
            transaction.put(LOST, _PLACE.pack(life))

    def close(self) -> None:
        """Release the files. What was not synced is gone. May be called twice."""
        environment, self._environment = self._environment, None
        lock, self._lock = self._lock, -1
        self._records = []
        if environment is not None:
            environment.close()
        if lock >= 0:
            os.close(lock)

    # --- inside --------------------------------------------------------------------------------------

    def _stored(self, index: int) -> Iterator[bytes]:
        """The records from ``index`` on, as they are asked for."""
        while True:
            with self._transaction() as transaction:
                cursor = transaction.cursor()
                found = []
                if cursor.set_range(key_of(index)):
                    for key, record in cursor:
                        if not key.startswith(ENTRY) or len(key) != len(key_of(0)) or len(found) == AT_ONCE:
                            break
                        found.append(bytes(record))
            yield from found
            if len(found) < AT_ONCE:
                return
            index += AT_ONCE

    def _check_open(self) -> None:
        if self._environment is None:
            raise StorageError(f"{self.path} is closed")

    @contextlib.contextmanager
    def _taken(self, create: bool) -> Iterator[None]:
        self._take(create)
        try:
            yield
        finally:
            self.close()

    def _take(self, create: bool) -> None:
        """Lock the directory, which LMDB would let others write to as well, and open the environment."""
        try:
            lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._environment = lmdb.open(
                    os.fspath(self.path), map_size=self.map_size, create=create, mode=0o600, max_dbs=0
                )
            except BaseException:
                os.close(lock)
                raise
            self._lock = lock
        except BlockingIOError as error:
            raise WrongDirectory(f"{self.path} is in use by another process or node") from error
        except (OSError, lmdb.Error) as error:
            raise StorageError(f"cannot open {self.path}: {error}") from error

    @contextlib.contextmanager
    def _transaction(self, write: bool = False) -> Iterator[Any]:
        """Committed and synced at the end; what is raised inside leaves everything as it was."""
        self._check_open()
        try:
            with self._environment.begin(write=write) as transaction:
                yield transaction
        except lmdb.Error as error:
            # The node ends: nobody knows what is on the disk.
            raise StorageError(f"{self.path}: {error}") from error


def _number(form: struct.Struct, data: bytes | None) -> int:
    return 0 if data is None else int(form.unpack(data)[0])


def _met(cursor: Any) -> dict[int, Met]:
    """Whom it has met."""
    found = {}
    if cursor.set_range(MET):
        for key, value in cursor:
            if not key.startswith(MET):
                break
            if len(key) == len(MET) + _PLACE.size:
                life, joined = _MET.unpack(value[: _MET.size])
                found[_PLACE.unpack(key[len(MET) :])[0]] = Met(life, bytes(value[_MET.size :]), joined)
    return found


def _last_entry(cursor: Any) -> int:
    """The index of the last entry; 0 without one."""
    # The first key behind those of entries, and then one back.
    found = cursor.set_range(ENTRY + b"\xff" * (_PLACE.size + 1))
    if not (cursor.prev() if found else cursor.last()):
        return 0
    key = bytes(cursor.key())
    return int(_PLACE.unpack(key[1:])[0]) if key.startswith(ENTRY) and len(key) == 1 + _PLACE.size else 0


def _sync_names(directory: Path) -> None:
    """Make the names in a directory durable, where that is allowed."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
