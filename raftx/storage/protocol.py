"""What a node asks of its storage. A sink: nothing is read back while the node runs.

A user's own storage needs the methods of Storage and no base class. It may have more, in three groups: those of
RememberingStorage, AddressStorage and SnapshotStorage, each of them whole or not at all. What a node cannot do without
a group it says when it starts.

Calls may block, and may raise; the first exception ends the node, because after a failed write or sync nobody knows
what is on disk. They come from several threads: ``open`` and ``close`` from those that start and close the node,
``append``, ``sync`` and ``begin_behind`` from one, ``keep_addresses`` and ``compact`` from another, ``remember`` and
``forgotten`` from a third, the rest of a SnapshotStorage from any. Those of different threads may come at the same
time.

From ``open`` to ``close`` the storage is the node's alone. An owner who calls it meanwhile would write beside the node,
and the next start would find what never was on disk together: FileStorage and MemoryStorage raise UsageError then, for
all but what only reads (``open_snapshot``). A storage of your own sees no difference between the two callers, unless it
keeps what it has in one of these.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .._native.memory import Entry
from ..config import CLUSTER_BYTES
from ..errors import ConfChangeError, ConfigError, FrameError, UsageError
from ..types import ENTRY_SESSION, ENTRY_SNAPSHOT, MEMBERS_MAX, NUMBER_MAX, ConfState, HardState, Snapshot, is_id

if TYPE_CHECKING:
    from .snapshot_format import Descriptor
    from .snapshot_receiver import SnapshotReceiver
    from .snapshots import SnapshotReader, SnapshotWriter

# Cells between the writer and the thread that makes segments ahead (reserve.py)
RESERVE_STATE = 0  # one of the next six
RESERVE_NONE = 0  # nothing is there
RESERVE_WANTED = 1  # the writer asks for a segment
RESERVE_MAKING = 2
RESERVE_READY = 3
RESERVE_FAILED = 4  # for good: nothing may be written any more
RESERVE_TAKEN = 5  # the writer has it, or makes one itself
RESERVE_CODE = 1  # 0, or the -errno of that
RESERVE_TROUBLE = 2  # 0, or the errno of what is short at present
RESERVE_STOP = 3
RESERVE_DROP = 4  # segments before this one are not needed any more
RESERVE_FILL = 5  # the segment that zeros are to be written into ahead
RESERVE_MARK = 6  # one of the next four: what is to be done about the mark
MARK_NOTHING = 0
MARK_WANTED = 1  # it is to be synced, and then the segments before RESERVE_KEEP may go
MARK_SYNCING = 2
MARK_FAILED = 3  # for good, as RESERVE_FAILED
RESERVE_KEEP = 7  # segments before this one may go when the mark that names a batch of the newest one is durable
RESERVE_UNTRIED = 8  # whether the next segment can be had is to be found out yet

ROOM_UNKNOWN = errno.EAGAIN  # whether there is room for the next segment is not known yet


@dataclass(frozen=True)
class Met:
    """A member that was met: the newest life of it that is known, and the store that it lives on."""

    life: int
    #: 16 bytes, drawn when the store was founded
    store: bytes
    #: the entry that added the member; 0 for one of the first members
    joined: int = 0


@dataclass
class Loaded:
    """What a storage held when it was opened."""

    #: As it was written; its commit index may be below the base, up to which everything is committed in any case.
    hard_state: HardState
    #: The membership with all changes up to the base: what the changes in ``records`` are applied to.
    conf_state: ConfState
    #: How often this storage has been opened, this time included. Invariant: on disk before open() returns.
    incarnation: int
    #: Entry records, back to back in pieces of any length, in the order they were appended: a record
    #: whose index is not above the last one replaces it and everything after it. None is at or below the base.
    records: Iterable[bytes | memoryview] = field(default_factory=tuple)
    #: Where the log begins: entries up to this index are gone, and the last of them had this term. 0 and 0: none is.
    base_index: int = 0
    base_term: int = 0
    #: The membership with all committed changes in the records; None: the storage does not look into them.
    current_conf_state: ConfState | None = None
    #: The newest snapshot that the storage keeps within its log, or None. Its index may be beyond the commit index,
    #: which may lag behind on disk; its ``data`` are the header of its file (snapshot_format.decode). See below.
    snapshot: Snapshot | None = None
    #: The present life: ``incarnation`` << 32, and 32 bits below that no other opening has drawn. 0: without them.
    life: int = 0
    #: What this store was founded as, 16 bytes that no other one has; b"": it does not say.
    store: bytes = b""
    #: Its member had another store before, and what that one held is not in here.
    rebuilt: bool = False
    #: What ``remember`` was told last of each other member.
    met: Mapping[int, Met] = field(default_factory=dict)
    #: Where the members at the base are reached, and the entry that added each of them, as ``keep_addresses`` was told
    #: (under 0, which is nobody's id, another entry).
    addresses: Mapping[int, str] = field(default_factory=dict)
    joined: Mapping[int, int] = field(default_factory=dict)
    #: Where the first members were reached when it was founded; None: it does not say.
    founded: Mapping[int, str] | None = None
    #: Its member was founded to be added to a cluster that is there.
    joining: bool = False
    #: A number in 0..2^32-1 that is the same for all first members of a cluster, and another one for those who were
    #: founded with other members or another state; 0: the storage does not say. And the entry that its log began behind
    #: at that time.
    origin: int = 0
    origin_index: int = 0
    #: Entries that the owner has agreed not to give to the state machine: terms by index. None is before the log.
    skips: Mapping[int, int] = field(default_factory=dict)


@runtime_checkable
class Storage(Protocol):
    """Where a node keeps its hard state and its log."""

    def open(self, id: int, cluster: bytes) -> Loaded:
        """Take the storage for node ``id`` of ``cluster`` (16 bytes) and return what it holds.

        Whatever is returned is on disk: an open after a crash syncs what it found before it trusts it.
        Where something acknowledged may be missing, ``hard_state.in_doubt`` says so, in every open until a hard state
        without it was written.
        Raises ``WrongDirectory``, ``WalDamaged``, ``MemoryLost`` or ``StorageError``; ``UsageError`` for what is no id
        or no cluster.
        """

    def append(self, hard_state: HardState, records: Sequence[bytes | memoryview]) -> None:
        """Take the hard state and then the records (same rule of replacement as ``Loaded.records``).

        Raises ``UsageError``, and takes nothing, for what could not be opened again: no whole records, an index that
        leaves a gap, a term that goes back, a commit index beyond the log. ``check_append`` below tells.
        """

    def sync(self) -> None:
        """Return when everything appended so far is on disk."""

    def compact(self, index: int, term: int, conf_state: ConfState) -> None:
        """Entries up to ``index`` are not needed any more: they are committed, and what they did is kept elsewhere.

        ``term`` is that of entry ``index``, ``conf_state`` the membership with all changes up to there. A permission:
        the storage may forget them at once, later or in part, and says at ``open`` where the log begins now
        (``Loaded.base_index``, an index that was asked for); it never forgets more than that, whenever the power
        fails, and its base never goes back. Raises ``UsageError`` for what cannot be an index, its term and its
        membership, or is not on disk. A storage that knows the term of the entry refuses another one; every storage
        refuses a term below that of its base.
        """

    def close(self) -> None:
        """Release files and locks. May be called twice."""


@runtime_checkable
class RememberingStorage(Storage, Protocol):
    """A storage that knows which lives of other members were met, and that its own member has lost its memory.

    Both methods or none; called from one thread at a time, also while a node uses the storage. With a storage that has
    none, a node knows the others as long as it runs, and cannot recognise later that a member's storage was wiped or
    set back.
    """

    def remember(self, id: int, met: Met) -> bool:
        """Another member was met; durable when it returns True, and in ``Loaded.met`` from then on.

        False: something is short that may come back, as room; the member introduces itself again.

        Something is kept of the last 400 that were met, at least.
        """

    def forgotten(self, life: int) -> None:
        """Others have met this life of the storage's own member, which it does not know: it was set back, or copied.

        Durable when it returns. Every ``open`` raises ``MemoryLost`` from then on.
        """


@runtime_checkable
class AddressStorage(Storage, Protocol):
    """A storage that keeps what the entries say of the members, beside the membership itself, when they are forgotten.

    With a storage that does not, a node whose log was compacted without a snapshot reaches others as its transport was
    told when it was made, and has to take each member's word for which entry has added it: so it cannot tell one that
    was removed, and lives on, from one that was added again in its place.
    """

    def keep_addresses(self, index: int, addresses: Mapping[int, str], joined: Mapping[int, int]) -> None:
        """The log is about to begin behind entry ``index``: what ``open`` is to give once it does.

        As ``Loaded.addresses`` and ``Loaded.joined``, both of which may be empty. Durable when it returns, and what is
        given here takes the place of all that was given before. ``compact`` follows, on the same thread. Until the log
        begins there ``open`` may give this or what it gave before: the entries in between, which are there still, say
        the rest. Raises ``StorageError`` when it is closed.
        """


@runtime_checkable
class SnapshotStorage(Storage, Protocol):
    """A storage that also keeps snapshots: what a node needs to make its log shorter, and to take a leader's snapshot.

    All four methods or none. The first three may be called from any thread, also while a node uses the storage.
    """

    def begin_snapshot(self, descriptor: Descriptor) -> SnapshotWriter:
        """A snapshot to be written: ``write(data)`` as often as needed, then ``finish()``, or ``discard()``.

        ``descriptor``: index, term, membership there, addresses, cluster, incarnation and version; sizes and digest
        come from what is written. After ``finish`` it is durable; the newest two are kept, and the log may begin behind
        the older one. Raises ``UsageError`` for one of another cluster, not above the newest one, or behind the log.
        """

    def open_snapshot(self, index: int = 0) -> SnapshotReader:
        """The snapshot of entry ``index`` within the log, to be read; 0: the newest.

        The one before the newest is asked for when another member has fetched a part of it. Raises ``UsageError`` when
        there is none.
        """

    def receive_snapshot(self, descriptor: Descriptor) -> SnapshotReceiver:
        """A snapshot of another member, to be taken in chunks: ``missing()``, ``put(number, chunk)``, ``finish()``;
        or ``close()``, which keeps what is there for later, or ``discard()``, which does not.

        Chunks are as ``SnapshotReader.chunk`` gives them, in any order. ``put`` may be given a memoryview: its bytes
        stay as they are for as long as it is held. What was received of the same (that is, of one with this digest)
        before a restart may be there already. After ``finish`` it is durable, and changes nothing yet: the log begins
        behind it with ``begin_behind``, or never. Raises ``UsageError`` for one of another cluster or before the log.
        """

    def begin_behind(self, index: int, term: int, conf_state: ConfState) -> None:
        """The log begins anew behind the snapshot of that place, which was received and finished.

        Every entry that was appended before is void, also those above ``index``. It is durable with the next ``sync``,
        in one step with what is appended meanwhile: entries behind ``index`` and the hard state. After a crash ``open``
        finds the log as before or as after it; after it ``Loaded.base_index`` is ``index`` and ``Loaded.snapshot`` is
        the snapshot. Called like ``append``. Raises ``UsageError`` without that snapshot, or for an index before the
        base or the commit index.
        """


def keeps_snapshots(storage: object) -> bool:
    """Whether it has the methods of a SnapshotStorage."""
    return isinstance(storage, SnapshotStorage)


def first_membership(voters: Iterable[int], learners: Iterable[int], name: str = "voters") -> ConfState:
    """The membership that a storage is made with. Raises ConfigError for what cannot be one; it may have no voters.

    name: what the caller's voters are called.
    """
    made = ConfState(voters=_ids(name, voters), learners=_ids("learners", learners))
    members = made.voters + made.learners
    twice = sorted({id for id in members if members.count(id) > 1})
    if twice:
        raise ConfigError(f"{name} and learners must be different ids, and {twice[0]} is there more than once")
    if len(members) > MEMBERS_MAX:
        raise ConfigError(f"{name} and learners must be at most {MEMBERS_MAX} members, not {len(members)}")
    return made


def _ids(name: str, given: Iterable[int]) -> tuple[int, ...]:
    if isinstance(given, (str, bytes, bytearray)) or not isinstance(given, Iterable):
        raise ConfigError(f"{name} must be the ids of members, such as [1, 2, 3], not {given!r}")
    ids = list(given)
    for id in ids:
        if not is_id(id):
            raise ConfigError(f"{name} must be ids, which are integers in 1..{NUMBER_MAX}, not {id!r}")
    return tuple(sorted(ids))


def check_owner(id: int, cluster: bytes) -> None:
    """Raise UsageError for what is no member's id, or no cluster's name: a storage would belong to nobody."""
    if not is_id(id):
        raise UsageError(f"id must be an integer in 1..{NUMBER_MAX}, as Config.id, not {id!r}")
    if not isinstance(cluster, bytes) or len(cluster) != CLUSTER_BYTES:
        raise UsageError(f"cluster must be {CLUSTER_BYTES} bytes, as Config.cluster, not {cluster!r}")


def check_base(index: int, term: int, conf_state: ConfState, last: int) -> None:
    """Raise UsageError for what cannot be the base of a log that ends with entry ``last``, with its membership."""
    for name, value in (("index", index), ("term", term)):
        if not is_id(value):
            raise UsageError(f"{name} must be an integer in 1..2^63-1, not {value!r}")
    if index > last:
        raise UsageError(
            f"index must be at most {last}, the last entry on disk, not {index}: compact what is applied and durable"
        )
    check_membership(conf_state)


def check_append(before: HardState, last: int, hard_state: HardState, pieces: Sequence[bytes], base: int) -> int:
    """Raise UsageError for what cannot follow a hard state, entry ``last`` and the base; the last entry after it."""
    if not isinstance(hard_state, HardState):
        raise UsageError(f"hard_state must be a raftx.HardState, not {type(hard_state).__name__}")
    for name in ("term", "vote", "commit"):
        if not is_id(getattr(hard_state, name), least=0):
            raise UsageError(f"hard_state.{name} must be an integer in 0..2^63-1, not {getattr(hard_state, name)!r}")
    if hard_state.term < before.term:
        raise UsageError(f"hard_state.term must be at least {before.term}, the one before, not {hard_state.term}")
    for piece in pieces:
        try:
            entries = Entry.decode_all(piece)
        except FrameError as error:
            raise UsageError(
                f"records must be whole entry records, as Entry.encode makes them: a piece of {len(piece)} bytes is "
                f"not: {error}"
            ) from error
        for entry in entries:
            if not 1 <= entry.index <= last + 1:
                raise UsageError(f"the index of an entry must be in 1..{last + 1}, not {entry.index}: a gap is left")
            if entry.index <= base:
                raise UsageError(f"the index of an entry must be above {base}, where the log begins, not {entry.index}")
            if entry.kind >= ENTRY_SNAPSHOT and entry.kind != ENTRY_SESSION:
                raise UsageError(f"records must be of entries, not of kind {entry.kind}; a snapshot is received")
            last = entry.index
    if hard_state.commit > last:
        raise UsageError(f"hard_state.commit must be at most {last}, the last entry, not {hard_state.commit}")
    return last


def check_membership(conf_state: ConfState) -> None:
    """Raise UsageError for what is no membership with voters."""
    if not isinstance(conf_state, ConfState) or not conf_state.voters:
        raise UsageError(f"conf_state must be a ConfState with at least one voter, not {conf_state!r}")
    try:
        conf_state.encode()
    except (ConfChangeError, TypeError) as error:
        raise UsageError(f"conf_state must be a membership: {error}") from error
