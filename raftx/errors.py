"""The exceptions of raftx, grouped by whose fault they are.

Values only: this module imports nothing of raftx. What a *peer* sends never raises into the
application; it is counted and dropped (see the frame codec).
"""

from typing import Any


class RaftError(Exception):
    """Base of every exception that raftx raises on purpose."""


# --- the caller ----------------------------------------------------------------------------------


class ConfigError(RaftError, ValueError):
    """A setting is out of its range; the text names the field and the range."""


class UsageError(RaftError, RuntimeError):
    """A call that is not allowed in the present state (ready twice, use after fork, ...)."""


class StepLocalMessage(UsageError):
    """A message that only a node itself may produce was given to ``step``."""


class UnknownPeer(UsageError):
    """A response came from an id that is not a member."""


class ConfChangeError(RaftError, ValueError):
    """A membership change that cannot be decoded or applied; the membership stays as it was."""


class SnapshotRequestDropped(RaftError):
    """A snapshot cannot be asked for now: no leader, or one is under way."""


class EntryTooLarge(RaftError, ValueError):
    """The data of one proposal exceed ``Config.max_entry_bytes``."""


class Stopped(RaftError):
    """The node does not run (not started, closed, or ended by a fault, which is the cause)."""


# --- outcomes of a proposal ----------------------------------------------------------------------


class ProposalError(RaftError):
    """A proposal that did not end as *done*."""


class NotDone(ProposalError):
    """The proposal was not and never will be applied; ``reason`` says why. Safe to repeat."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProposalDropped(NotDone):
    """The core refused a proposal before it was appended (no leader, a transfer, a full cap)."""


class ConfChangeRefused(ProposalDropped):
    """The leader did not take a membership change: another one is under way, or it does not fit the present one."""


class Busy(NotDone):
    """A request was not taken because something is full: proposals, bytes or requests that wait, or a state machine
    that is too far behind to tell in time what becomes of a proposal. Nothing of it was done; slow down, or ask another
    member.
    """


class DiskFull(NotDone):
    """A proposal was not taken because a disk is full: this node's, whose directory is named, or its leader's.

    The node takes proposals again by itself once there is room. Until then another member leads if it has room.
    """


class ReadDropped(NotDone):
    """A read index could not be asked for: no leader is known."""


class SessionEnded(NotDone):
    """A session takes no more proposals, and this one was not and never will be applied. Open another session."""


class SessionExpired(SessionEnded):
    """The cluster does not know the session: it was not used for too long, was closed, or had to give way to others."""


class SessionFenced(SessionEnded):
    """The session was opened again by somebody else with its name, who goes on with it."""


class Unknown(ProposalError):
    """The proposal may or may not be applied, now or later. Repeat it only if that is harmless.

    ``outcomes`` has, for several proposals behind one future, a Done or an exception for each.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.outcomes: list[Any] = []


class ApplyError(RaftError):
    """A state machine refuses a command: raised in ``apply``, it is the outcome of the proposal, and the node goes on.

    The command is in the log, and every member's ``apply`` is to raise alike: nothing may depend on anything but the
    entries. ``outcomes`` has, for several proposals behind one future, a Done or an exception for each.
    """

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self.outcomes: list[Any] = []


# --- disk, wire and invariants -------------------------------------------------------------------


class Corruption(RaftError):
    """An invariant that protects data is broken; the node ends rather than go on."""


class StorageError(RaftError):
    """The storage could not do what it was asked."""


class StorageFailed(StorageError):
    """A write or a sync failed. The log is poisoned for the life of the process."""


class WalDamaged(StorageError, Corruption):
    """The log holds damage that is not a torn tail; the node must not vote or lead with it."""


class SnapshotFailed(RaftError):
    """A snapshot could not be made; the cause says why. The one before stays the newest."""


class SnapshotDamaged(StorageError):
    """A snapshot file, or what came of one from another member, is not what was written."""


class WrongDirectory(StorageError):
    """The directory belongs to another node or cluster, or is in use by another process."""


#: behind the name of a directory that somebody else has locked
IN_USE = (
    "is in use by another process or node: each member runs in one process, with a directory of its own. Give a server "
    "that runs a member one worker (--workers 1), or start each worker as another member"
)


class NotFounded(WrongDirectory):
    """The directory holds no member: it was never founded, or it is not the one that was, as without its disk."""


class AlreadyFounded(WrongDirectory):
    """The directory holds a member, and a member is founded once."""


class MemoryLost(StorageError):
    """The member has forgotten what it promised: others have met a life of it that its directory does not know.

    The directory was wiped, copied, or set back to an older state. Its votes and acknowledgements have not been counted
    by those who say so. Put the right directory back, or rebuild the member.
    """


class Removed(StorageError):
    """The member was removed from its cluster: it takes part no more, and its directory is of no use to it any more."""


class LossNotAccepted(StorageError):
    """Something that was acknowledged may be lost by this. The text says what; it is done when that is accepted."""


class TransportError(RaftError):
    """The transport could not listen or dial."""


class FrameError(RaftError, ValueError):
    """Bytes that are no valid frame; ``reason`` is the name of the counter it belongs to."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)  # the arguments are what pickle makes it anew from
        self.reason = reason

    def __str__(self) -> str:
        return f"invalid frame: {self.reason}"
