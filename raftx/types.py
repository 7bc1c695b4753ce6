"""Numbers and small values that every layer shares.

Values only: this module imports nothing of raftx. Kinds of messages have etcd's numbers; the
kinds from 32 on are raftx's own and travel beside Raft's messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

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

# Kinds of entries, with etcd's numbers
ENTRY_NORMAL = 0
ENTRY_CONF_CHANGE = 1
ENTRY_CONF_CHANGE_V2 = 2

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
MEMBERS_MAX = 64

NO_LIMIT = 2**63 - 1


class Role(IntEnum):
    """What a node is at the moment."""

    FOLLOWER = FOLLOWER
    CANDIDATE = CANDIDATE
    LEADER = LEADER
    PRE_CANDIDATE = PRE_CANDIDATE


@dataclass(frozen=True)
class HardState:
    """What must be on disk before anything that depends on it is sent (paper, figure 2)."""

    term: int = 0
    vote: int = 0
    commit: int = 0


@dataclass(frozen=True)
class ConfState:
    """A membership; ``voters_outgoing`` is not empty while a joint change is under way."""

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


@dataclass(frozen=True)
class StateChange:
    """One element of ``Node.state_changes``."""

    term: int
    leader: int
    role: Role


MASK64 = 2**64 - 1
