"""Numbers and small values that every layer shares.

Values only: this module imports nothing of raftx but its errors. Kinds of messages have etcd's numbers; the
kinds from 32 on are raftx's own and travel beside Raft's messages.
"""

from __future__ import annotations

import contextlib
import math
import struct
from dataclasses import dataclass, field
from enum import IntEnum

from .errors import ConfChangeError, UsageError

MSG_HUP = 0
MSG_BEAT = 1
MSG_PROP = 2
MSG_APP = 3
MSG_APP_RESP = 4
MSG_VOTE = 5
MSG_VOTE_RESP = 6
MSG_SNAP = 7
MSG_HEARTBEAT = 8
MSG_HEARTBEAT_RESP = 9
MSG_UNREACHABLE = 10
MSG_SNAP_STATUS = 11
MSG_CHECK_QUORUM = 12
MSG_TRANSFER_LEADER = 13
MSG_TIMEOUT_NOW = 14
MSG_READ_INDEX = 15
MSG_READ_INDEX_RESP = 16
MSG_PRE_VOTE = 17
MSG_PRE_VOTE_RESP = 18
MSG_STORAGE_APPEND = 19
MSG_STORAGE_APPEND_RESP = 20
MSG_STORAGE_APPLY = 21
MSG_STORAGE_APPLY_RESP = 22
MSG_FORGET_LEADER = 23
# Engine to engine, never given to the core: proposals that were passed on were not appended.
MSG_REFUSED = 32
# A member in doubt and its leader: see consensus/doubt.py.
MSG_DOUBT = 33
MSG_DOUBT_RESP = 34
# Engine to engine, likewise: settings of the sender.
MSG_HELLO = 35
# Engine to engine, likewise: chunks of a snapshot's file are asked for, and one of them.
MSG_CHUNKS = 36
MSG_CHUNK = 37
# Engine to engine, likewise: the sender introduces its present life, and an answer to that. See node/meetings.py.
MSG_MEET = 38
MSG_KNOWN = 39
# Engine to engine, likewise: a change of membership is passed on, and was not taken. See node/changes.py.
MSG_CHANGE = 40
MSG_CHANGED = 41
# Engine to engine, likewise: a member asks how another one is, and is told. See node/looks.py.
MSG_LOOK = 42
MSG_SEEN = 43

MESSAGE_NAMES = {
    value: name[4:].title().replace("_", "") for name, value in list(globals().items()) if name.startswith("MSG_")
}

# Kinds that only a node itself produces: never accepted from the wire.
LOCAL_KINDS = frozenset(
    (MSG_HUP, MSG_BEAT, MSG_UNREACHABLE, MSG_SNAP_STATUS, MSG_CHECK_QUORUM)
    + (MSG_STORAGE_APPEND, MSG_STORAGE_APPEND_RESP, MSG_STORAGE_APPLY, MSG_STORAGE_APPLY_RESP, MSG_FORGET_LEADER)
)
RESPONSE_KINDS = frozenset(
    (MSG_APP_RESP, MSG_VOTE_RESP, MSG_HEARTBEAT_RESP, MSG_UNREACHABLE, MSG_READ_INDEX_RESP, MSG_PRE_VOTE_RESP)
    + (MSG_STORAGE_APPEND_RESP, MSG_STORAGE_APPLY_RESP)
)

# Bits of Message.flags
FLAG_REJECT = 1
FLAG_TRANSFER = 2  # a vote request that a leadership transfer asked for: it overrides the leader lease
FLAG_REQUEST_SNAPSHOT = 4  # a refused append whose sender wants a snapshot; ``context`` has the least index
FLAG_NEW_CONNECTION = 8  # a Hello that is the first message on a new connection

# Kinds of entries, with etcd's numbers
ENTRY_NORMAL = 0
ENTRY_CONF_CHANGE = 1
ENTRY_CONF_CHANGE_V2 = 2
# A snapshot as a record: never in a log, only as the body of MSG_SNAP.
ENTRY_SNAPSHOT = 3
# raftx's own: to the core a command like a normal one; a session's header stands in front of it.
ENTRY_SESSION = 4

# States of a peer's progress, with etcd's numbers
PROBE = 0
REPLICATE = 1
SNAPSHOT = 2

# Roles, with etcd's numbers
FOLLOWER = 0
CANDIDATE = 1
LEADER = 2
PRE_CANDIDATE = 3

# Addresses of the storage threads, with etcd's values
LOCAL_APPEND_THREAD = 2**64 - 1
LOCAL_APPLY_THREAD = 2**64 - 2

# An id, index, term or commit above this is refused at the wire and by Config: the core may add
# small numbers to any of them without wrapping.
NUMBER_MAX = 2**63 - 1
DEFAULT_CLUSTER = b"raftx".ljust(16, b"\0")
MEMBERS_MAX = 64

NO_LIMIT = 2**63 - 1


def is_id(value: object, least: int = 1) -> bool:
    """Whether it can be a member's id: an integer in 1..2^63-1, and neither True nor 1.0, which are equal to 1."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= NUMBER_MAX


def check_id(value: object) -> None:
    """Raise TypeError for what can be no id whatever the members are: what is no integer, and True."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"an id must be an integer, not {value!r}")


def check_timeout(value: object, none: bool = True) -> None:
    """Raise UsageError for what is no time to wait in seconds; ``none``: None, for ever, is one."""
    if value is None and none:
        return
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # An integer may be larger than any float.
        with contextlib.suppress(OverflowError):
            if not math.isnan(value):
                return
    allowed = ", or None for no limit" if none else ""
    raise UsageError(f"timeout must be a number of seconds{allowed}, not {value!r}")


class Role(IntEnum):
    """What a node is at the moment. NONE: it does not run, so it is nothing to the others."""

    NONE = -1
    FOLLOWER = FOLLOWER
    CANDIDATE = CANDIDATE
    LEADER = LEADER
    PRE_CANDIDATE = PRE_CANDIDATE


@dataclass(frozen=True)
class Timing:
    """How long a proposal took, in microseconds, on the node that led when it was appended; None: not known there.

    queue: until the engine appended it, of the oldest proposal that it took in the same round; quorum: from there until
    it was committed; apply: from there until the state machine had it. While the quorum is waited for: wal, until it
    was durable here, and network, until another voter had acknowledged it.
    """

    queue: float | None = None
    wal: float | None = None
    network: float | None = None
    quorum: float | None = None
    apply: float | None = None


@dataclass(frozen=True)
class HardState:
    """What must be on disk before anything that depends on it is sent (paper, figure 2)."""

    term: int = 0
    vote: int = 0
    commit: int = 0
    in_doubt: bool = False  # what was promised may have been lost: see consensus/doubt.py


_CONF_STATE = struct.Struct("<BBBBB3x")
_SINGLE = struct.Struct("<BQ")


@dataclass(frozen=True)
class ConfState:
    """A membership; ``voters_outgoing`` is not empty while a joint change is under way (thesis, section 4.3)."""

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False

    def encode(self) -> bytes:
        """Its bytes: four counts and the mark, then the ids of each set, ascending.

        Raises ConfChangeError for ids out of 1..2^63-1 and for more than 64 in a set: nobody would take them.
        """
        for ids in (self.voters, self.learners, self.voters_outgoing, self.learners_next):
            if len(set(ids)) > MEMBERS_MAX or not all([is_id(id) for id in ids]):
                raise ConfChangeError(f"a membership has at most {MEMBERS_MAX} ids in 1..2^63-1, not {ids}")
        sets = [sorted(set(ids)) for ids in (self.voters, self.learners, self.voters_outgoing, self.learners_next)]
        head = _CONF_STATE.pack(*[len(ids) for ids in sets], self.auto_leave)
        return head + b"".join([id.to_bytes(8, "little") for ids in sets for id in ids])

    @staticmethod
    def decode(data: bytes) -> tuple[ConfState, bytes]:
        """What ``encode`` made, and the bytes behind it. Raises ConfChangeError when they are no membership."""
        if len(data) < _CONF_STATE.size:
            raise ConfChangeError("a membership is cut short")
        *counts, auto_leave = _CONF_STATE.unpack_from(data)
        end = _CONF_STATE.size + 8 * sum(counts)
        if len(data) < end or auto_leave > 1:
            raise ConfChangeError("a membership is cut short or damaged")
        sets: list[tuple[int, ...]] = []
        at = _CONF_STATE.size
        for count in counts:
            ids = struct.unpack_from(f"<{count}Q", data, at)
            if list(ids) != sorted(set(ids)) or not all([1 <= id <= NUMBER_MAX for id in ids]):
                raise ConfChangeError("ids of a membership must be ascending, unique and in 1..2^63-1")
            sets.append(ids)
            at += 8 * count
        return ConfState(sets[0], sets[1], sets[2], sets[3], bool(auto_leave)), data[end:]


class ConfChangeKind(IntEnum):
    """What a single change does to one member; etcd's numbers."""

    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2
    ADD_LEARNER = 3


ADD_VOTER = 0
REMOVE = 1
UPDATE = 2
ADD_LEARNER = 3

# How a change with several parts goes through its joint configuration
TRANSITION_AUTO = 0  # joint only if necessary, and left automatically
TRANSITION_IMPLICIT = 1  # joint, and left automatically
TRANSITION_EXPLICIT = 2  # joint, and left by a proposed empty change

_LETTERS = {"v": ADD_VOTER, "r": REMOVE, "u": UPDATE, "l": ADD_LEARNER}
_LETTER_OF = {kind: letter for letter, kind in _LETTERS.items()}


@dataclass(frozen=True)
class ConfChangeSingle:
    """One member's part of a change: kind (ConfChangeKind) and id, 1..2^63-1 (0: does nothing, as in etcd)."""

    kind: int
    id: int


@dataclass(frozen=True)
class ConfChange:
    """A change of membership as it is proposed; without changes it leaves a joint configuration.

    ``v1`` marks the old kind of entry, which holds exactly one change. ``context`` is the caller's own.
    Raises ConfChangeError for what cannot be one.
    """

    changes: tuple[ConfChangeSingle, ...] = ()
    transition: int = TRANSITION_AUTO
    context: bytes = b""
    v1: bool = False

    def __post_init__(self) -> None:
        if self.transition not in (TRANSITION_AUTO, TRANSITION_IMPLICIT, TRANSITION_EXPLICIT):
            raise ConfChangeError(f"transition must be 0 (auto), 1 (implicit) or 2 (explicit), not {self.transition!r}")
        if self.v1 and (len(self.changes) != 1 or self.transition != TRANSITION_AUTO):
            raise ConfChangeError("a change of the old kind has exactly one part and no transition")
        if len(self.changes) > 255:
            raise ConfChangeError(f"a change has at most 255 parts, not {len(self.changes)}")
        for single in self.changes:
            if not isinstance(single.kind, int) or single.kind not in _LETTER_OF or not is_id(single.id, least=0):
                raise ConfChangeError(f"a part of a change has a kind in 0..3 and an id in 1..2^63-1, not {single!r}")

    @property
    def entry_kind(self) -> int:
        """The kind of the entry that carries it."""
        return ENTRY_CONF_CHANGE if self.v1 else ENTRY_CONF_CHANGE_V2

    @property
    def leaves_joint(self) -> bool:
        """Whether it asks to leave a joint configuration."""
        return self.transition == TRANSITION_AUTO and not self.changes

    @property
    def enters_joint(self) -> bool:
        """Whether it goes through a joint configuration."""
        return self.transition != TRANSITION_AUTO or len(self.changes) > 1

    @property
    def auto_leave(self) -> bool:
        """Whether the joint configuration that it enters is left by itself."""
        return self.transition != TRANSITION_EXPLICIT

    def encode(self) -> bytes:
        """The data of its entry. An empty change is no bytes at all, so that no limit of bytes can refuse it."""
        if self.leaves_joint and not self.context:
            return b""
        parts = b"".join([_SINGLE.pack(single.kind, single.id) for single in self.changes])
        return bytes((self.transition, len(self.changes))) + parts + self.context

    @staticmethod
    def decode(data: bytes, v1: bool = False) -> ConfChange:
        """The change that an entry's data hold. Raises ConfChangeError when they hold none."""
        if not data and not v1:
            return ConfChange()
        if len(data) < 2 or len(data) < 2 + _SINGLE.size * data[1]:
            raise ConfChangeError("a change of membership is cut short")
        end = 2 + _SINGLE.size * data[1]
        singles = tuple([ConfChangeSingle(*part) for part in _SINGLE.iter_unpack(data[2:end])])
        return ConfChange(singles, data[0], data[end:], v1)

    @staticmethod
    def parse(text: str, transition: int = TRANSITION_AUTO, v1: bool = False) -> ConfChange:
        """From text as ``str`` gives it: "v1 l2 r3 u4" adds voter 1 and learner 2, removes 3, updates 4."""
        singles = []
        for word in text.split():
            if word[0] not in _LETTERS or not word[1:].isdecimal() or len(word) > 21:
                raise ConfChangeError(f"unknown part of a change: {word!r}")
            singles.append(ConfChangeSingle(_LETTERS[word[0]], int(word[1:])))
        return ConfChange(tuple(singles), transition, v1=v1)

    def __str__(self) -> str:
        return " ".join([f"{_LETTER_OF[single.kind]}{single.id}" for single in self.changes])


@dataclass(frozen=True)
class Snapshot:
    """The state machine's state at an applied index, with the membership there. ``data`` is the caller's."""

    index: int
    term: int
    conf_state: ConfState
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class ReadState:
    """A read index that was asked for: once ``index`` is applied here, a local read is linearizable."""

    index: int
    context: bytes


@dataclass(frozen=True)
class RefusedChange:
    """A membership change that the leader did not take: who proposed it, where the empty entry stands, and why."""

    sender: int
    index: int
    reason: str


@dataclass(frozen=True)
class StateChange:
    """One element of ``Node.state_changes``."""

    term: int
    leader: int
    role: Role


MASK64 = 2**64 - 1
