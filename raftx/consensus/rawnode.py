"""RawNode: the core for those who drive it themselves, and the rule when a message may leave.

RawNode has etcd's contract (rawnode.go): feed it messages and ticks, take a Ready, persist, send,
apply, and tell it so, either with ``advance`` or, with asynchronous storage writes, by delivering
the responses that its storage messages carry. The engine uses the functions below on the same Raft.

The release rule. What promises something about this node's disk may leave only when the write it
depends on is durable: every acknowledgement and every vote, the node's own included (etcd's list),
and besides them the *request* for votes: a candidate that is elected by the others, loses power
before its term reaches its disk and is elected in the same term again would create two different
entries with one index and term.
"""

from __future__ import annotations

from typing import Any

from .._core import Entry, EntryLog, Message, Outbox
from ..config import Config
from ..errors import StepLocalMessage, UnknownPeer, UsageError
from ..types import (
    LEADER,
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    LOCAL_KINDS,
    MSG_APP_RESP,
    MSG_HUP,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY,
    MSG_STORAGE_APPLY_RESP,
    MSG_TRANSFER_LEADER,
    MSG_UNREACHABLE,
    MSG_VOTE,
    MSG_VOTE_RESP,
    RESPONSE_KINDS,
    ConfState,
    HardState,
    Role,
)
from .raft import Raft


def waits_for_disk(kind: int) -> bool:
    """The release rule: whether a message of this kind waits for the write handed over with it."""
    return kind in (MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP, MSG_VOTE)


def collect(core: Raft, out: Outbox, held: Outbox, tag: int) -> int:
    """Move what the core wants sent: to ``out`` what may leave now, to ``held`` what waits for write ``tag``."""
    for row in range(core.messages.length()):
        if waits_for_disk(core.messages.kind_at(row)):
            held.take(core.messages, row, tag)
        else:
            out.take(core.messages, row, 0)
    core.messages.clear()
    for row in range(core.after_append.length()):
        held.take(core.after_append, row, tag)
    core.after_append.clear()
    return 0


def hold_storage_response(core: Raft, held: Outbox, tag: int) -> int:
    """What the core is to be told when write ``tag`` is durable: how far its log is stable then.

    The term goes with it: the answer to a write of an earlier term says nothing about a log that
    was rewritten since (the append ABA race).
    """
    if core.stable < core.log.last:
        held.push(MSG_STORAGE_APPEND_RESP, core.id, core.id, core.term)
        held.set_log(core.log.last, core.log.last_term(), 0)
        held.tag_last(tag)
    return 0


def release(core: Raft, held: Outbox, tag: int, out: Outbox, scratch: Message) -> int:
    """Write ``tag`` is durable: step what the core sent itself, move the rest to ``out``. Returns how many rows."""
    count = 0
    while count < held.length() and held.tag_at(count) <= tag:
        if held.to_at(count) == core.id:
            held.load(count, scratch)
            core.step(scratch)
        else:
            out.take(held, count, 0)
        count += 1
    held.discard(count)
    return count


class Ready:
    """What a RawNode wants done. Entries and messages are copies."""

    __slots__ = (
        "committed_entries",
        "entries",
        "hard_state",
        "messages",
        "must_sync",
        "number",
        "read_states",
        "snapshot",
        "soft_state",
    )

    def __init__(self) -> None:
        self.number = 0
        #: (leader, role) when it changed, else None; need not be stored
        self.soft_state: tuple[int, Role] | None = None
        #: to be durable before the messages that wait for it are sent; None when unchanged
        self.hard_state: HardState | None = None
        self.read_states: list[Any] = []
        #: to be durable, in this order, replacing whatever stood from the first index on
        self.entries: list[Entry] = []
        self.snapshot: Any = None
        #: to be applied
        self.committed_entries: list[Entry] = []
        self.messages: list[Message] = []
        #: whether hard_state and entries must be synced, not only written
        self.must_sync = False


class RawNode:
    """One member without threads, clock, storage and network. Not thread-safe: one caller at a time.

    ``log`` is what the storage held (an EntryLog; a new one by default), ``applied`` how far the state
    machine is. With ``async_storage_writes`` a Ready's messages include one to LOCAL_APPEND_THREAD
    and one to LOCAL_APPLY_THREAD whose ``responses`` are delivered when the work is done; without it,
    ``advance`` says that everything in the last Ready is done.
    """

    def __init__(
        self,
        config: Config,
        *,
        log: EntryLog | None = None,
        hard_state: HardState | None = None,
        conf_state: ConfState | None = None,
        applied: int = 0,
        async_storage_writes: bool = False,
    ) -> None:
        hard_state = hard_state or HardState()
        self.core = Raft(config, log if log is not None else EntryLog(), hard_state, conf_state or ConfState(), applied)
        self.async_storage_writes = bool(async_storage_writes)
        self._previous_hard = (hard_state.term, hard_state.vote, hard_state.commit)
        self._previous_soft = (0, 0)
        self._steps_on_advance: list[Message] = []
        self._number = 0
        self._outstanding = False
        self._max_apply_bytes = config.max_apply_bytes

    # --- input -----------------------------------------------------------------------------------

    def tick(self) -> None:
        """One tick of time has passed."""
        self.core.tick()

    def campaign(self) -> None:
        """Campaign now, with a pre-vote if that is on."""
        self.core.step_local(MSG_HUP)

    def propose(self, data: bytes) -> None:
        """Propose one entry. Raises ProposalDropped when it went nowhere: it may be repeated."""
        self._step(Message(MSG_PROP, sender=self.core.id, entries=[Entry(0, 0, data)]))

    def step(self, message: Message) -> None:
        """Take a message from a peer or a response of the storage.

        Raises StepLocalMessage, UnknownPeer, ProposalDropped.
        """
        local = message.sender in (LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD)
        if message.kind in LOCAL_KINDS and not local:
            raise StepLocalMessage(f"message of kind {message.kind} can only be produced by the node itself")
        if message.kind in RESPONSE_KINDS and not local and message.sender != self.core.id:
            if self.core.tracker.peers.py_slot_of(message.sender) < 0:
                raise UnknownPeer(f"response from {message.sender}, which is not a member")
        self._step(message)

    def _step(self, m: Message) -> None:
        self.core.step(m)

    def transfer_leader(self, id: int) -> None:
        """Ask the leader, which may be this node, to hand over to ``id``."""
        self._step(Message(MSG_TRANSFER_LEADER, sender=self.core.id, hint=id))

    def report_unreachable(self, id: int) -> None:
        """The last message to ``id`` could not be sent."""
        self._step(Message(MSG_UNREACHABLE, sender=id))

    # --- output ----------------------------------------------------------------------------------

    def has_ready(self) -> bool:
        """Whether ``ready`` would hold anything."""
        core = self.core
        return (
            (core.lead, core.role) != self._previous_soft
            or (core.term, core.vote, core.committed) != self._previous_hard
            or len(core.messages) > 0
            or len(core.after_append) > 0
            or core.writing < core.log.last
            or core.applicable(self._allow_unstable()) > core.applying
        )

    def _allow_unstable(self) -> bool:
        return not self.async_storage_writes

    def ready(self) -> Ready:
        """What is to be done now. Raises UsageError when the last Ready has not been advanced."""
        core = self.core
        if self._outstanding:
            raise UsageError("ready() again before advance()")
        ready = Ready()
        self._number += 1
        ready.number = self._number
        soft = (core.lead, core.role)
        if soft != self._previous_soft:
            ready.soft_state = (core.lead, Role(core.role))
            self._previous_soft = soft
        hard = (core.term, core.vote, core.committed)
        if hard != self._previous_hard:
            ready.hard_state = HardState(*hard)
        ready.entries = core.log.entries(core.writing + 1, core.log.last)
        ready.must_sync = bool(ready.entries) or hard[:2] != self._previous_hard[:2]
        self._previous_hard = hard
        apply_to = core.applicable(self._allow_unstable())
        if apply_to > core.applying:
            # What is left comes with the next Ready (etcd's MaxCommittedSizePerReady).
            apply_to = core.log.py_limit(core.applying + 1, apply_to, self._max_apply_bytes)
        ready.committed_entries = core.log.entries(core.applying + 1, apply_to)
        ready.messages = core.messages.messages()
        after_append = core.after_append.messages()
        response = None
        if core.stable < core.log.last:
            response = Message(
                MSG_STORAGE_APPEND_RESP,
                to=core.id,
                sender=LOCAL_APPEND_THREAD,
                term=core.term,
                index=core.log.last,
                log_term=core.log.last_term(),
            )
        if self.async_storage_writes:
            self._storage_messages(ready, after_append, response, apply_to)
        else:
            ready.messages += [m for m in after_append if m.to != core.id]
            self._steps_on_advance = [m for m in after_append if m.to == core.id]
            if response is not None:
                self._steps_on_advance.append(response)
            if ready.committed_entries:
                self._steps_on_advance.append(
                    Message(MSG_STORAGE_APPLY_RESP, to=core.id, sender=LOCAL_APPLY_THREAD, index=apply_to)
                )
            self._outstanding = True
        core.messages.clear()
        core.after_append.clear()
        core.accept_writing()
        if apply_to > core.applying:
            core.accept_applying(apply_to)
        return ready

    def _storage_messages(
        self, ready: Ready, after_append: list[Message], response: Message | None, apply_to: int
    ) -> None:
        core = self.core
        if ready.entries or ready.hard_state is not None or after_append:
            m = Message(MSG_STORAGE_APPEND, to=LOCAL_APPEND_THREAD, sender=core.id, entries=ready.entries)
            if ready.hard_state is not None:
                m.term, m.vote, m.commit = ready.hard_state.term, ready.hard_state.vote, ready.hard_state.commit
            m.responses = after_append + ([response] if response is not None else [])
            ready.messages.append(m)
        if ready.committed_entries:
            m = Message(MSG_STORAGE_APPLY, to=LOCAL_APPLY_THREAD, sender=core.id, entries=ready.committed_entries)
            m.responses = [Message(MSG_STORAGE_APPLY_RESP, to=core.id, sender=LOCAL_APPLY_THREAD, index=apply_to)]
            ready.messages.append(m)

    def advance(self) -> None:
        """Everything in the last Ready has been persisted, sent and applied. Not with asynchronous writes."""
        if self.async_storage_writes:
            raise UsageError("advance() is not for asynchronous storage writes: deliver the responses instead")
        if not self._outstanding:
            raise UsageError("advance() without ready()")
        self._outstanding = False
        steps, self._steps_on_advance = self._steps_on_advance, []
        for m in steps:
            self._step(m)

    # --- what it is ------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Everything about this member as a dict; ``progress`` only while it leads."""
        core = self.core
        peers = core.tracker.peers
        progress = {}
        if core.role == LEADER:
            ids = list(peers.column("ids"))
            for slot, id in enumerate(ids):
                progress[id] = {
                    "match": peers.column("match")[slot],
                    "next": peers.column("next")[slot],
                    "state": peers.column("state")[slot],
                    "sent_commit": peers.column("sent_commit")[slot],
                    "paused": bool((peers.paused >> slot) & 1),
                    "recent_active": bool((peers.recent_active >> slot) & 1),
                    "inflight": core.tracker.inflights.contents(slot),
                    "learner": bool((core.tracker.learners >> slot) & 1),
                }
        return {
            "id": core.id,
            "term": core.term,
            "vote": core.vote,
            "commit": core.committed,
            "applied": core.applied,
            "lead": core.lead,
            "role": Role(core.role),
            "transferee": core.transferee,
            "configuration": core.tracker.conf_state(),
            "progress": progress,
        }


def split(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """The release rule for a Ready's messages (asynchronous writes): (may leave now, wait for the append)."""
    now: list[Message] = []
    later: list[Message] = []
    for m in messages:
        (later if waits_for_disk(m.kind) else now).append(m)
    return now, later
