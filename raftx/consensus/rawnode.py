"""RawNode: the core for programs that drive it themselves, a Ready at a time.

RawNode has etcd's contract (rawnode.go): feed it messages and ticks, take a Ready, persist, send,
apply, and tell it so, either with ``advance`` or, with asynchronous storage writes, by delivering
the responses that its storage messages carry. A Ready is a view of what the driver has found (driver.py);
``split`` (release.py) says which of its messages may leave before the write is durable.
"""

from __future__ import annotations

from typing import Any

from .._core import EntryLog
from .._native.memory import Entry
from .._native.outbox import Message, snapshot_from, snapshot_record
from ..config import Config
from ..errors import (
    ConfChangeError,
    ConfChangeRefused,
    ConfigError,
    ReadDropped,
    StepLocalMessage,
    UnknownPeer,
    UsageError,
)
from ..types import (
    ENTRY_CONF_CHANGE,
    FLAG_REJECT,
    LEADER,
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    LOCAL_KINDS,
    MSG_FORGET_LEADER,
    MSG_HUP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_SNAP_STATUS,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY,
    MSG_STORAGE_APPLY_RESP,
    MSG_TRANSFER_LEADER,
    MSG_UNREACHABLE,
    NUMBER_MAX,
    RESPONSE_KINDS,
    SNAPSHOT,
    ConfChange,
    ConfState,
    HardState,
    ReadState,
    RefusedChange,
    Role,
    Snapshot,
    check_id,
    is_id,
)
from . import admission, release
from .confchange import check_conf_state, configuration_after
from .driver import Driver
from .raft import Raft


class Ready:
    """The work that a RawNode hands out. Entries and messages are copies."""

    __slots__ = (
        "committed_entries",
        "entries",
        "hard_state",
        "messages",
        "must_sync",
        "number",
        "read_states",
        "refused",
        "snapshot",
        "soft_state",
    )

    def __init__(self) -> None:
        self.number = 0
        #: (leader, role) when it changed, else None; need not be stored
        self.soft_state: tuple[int, Role] | None = None
        #: to be durable before the messages that wait for it are sent; None when unchanged
        self.hard_state: HardState | None = None
        #: reads that may be done locally once their index is applied
        self.read_states: list[ReadState] = []
        #: to be durable, in this order, replacing whatever stood from the first index on
        self.entries: list[Entry] = []
        #: to be durable, and the state machine's from then on, before the entries; it replaces everything
        self.snapshot: Snapshot | None = None
        #: to be applied
        self.committed_entries: list[Entry] = []
        self.messages: list[Message] = []
        #: whether hard_state and entries must be synced, not only written
        self.must_sync = False
        #: membership changes of other members that this leader did not take: for their proposers
        self.refused: list[RefusedChange] = []

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name in ("soft_state", "hard_state") if (value := getattr(self, name))]
        if self.snapshot is not None:
            parts.append(f"snapshot={self.snapshot.index}/{self.snapshot.term}")
        for name in ("entries", "committed_entries"):
            if entries := getattr(self, name):
                parts.append(f"{name}={entries[0].index}..{entries[0].index + len(entries) - 1}")
        for name in ("messages", "read_states", "refused"):
            if items := getattr(self, name):
                parts.append(f"{len(items)} {name}")
        return f"<Ready {self.number}: {', '.join(parts) or 'nothing'}>"


def _check_arguments(
    config: object, log: object, hard_state: object, conf_state: object, applied: object, snapshot: object
) -> None:
    if not isinstance(config, Config):
        raise ConfigError(f"config must be a raftx.Config, not {config!r}")
    kinds = {"hard_state": (hard_state, HardState), "conf_state": (conf_state, ConfState)}
    kinds |= {"log": (log, EntryLog), "snapshot": (snapshot, Snapshot)}
    for name, (value, kind) in kinds.items():
        if value is not None and not isinstance(value, kind):
            raise ConfigError(f"{name} must be an object of the class {kind.__name__}, or None, not {value!r}")
    if applied is not None and not is_id(applied, least=0):
        raise ConfigError(f"applied must be an integer in 0..2^63-1, or None, not {applied!r}")


def _check_flag(on: object) -> None:
    if not isinstance(on, bool):
        raise UsageError(f"on must be True or False, not {on!r}")


def _check_number(name: str, value: object, least: int, bits: int) -> None:
    if not is_id(value, least) or value >> bits:  # type: ignore[operator]  # it is an integer
        raise UsageError(f"{name} must be an integer in {least}..2^{bits}-1, not {value!r}")


class RawNode:
    """One member without threads, clock, storage and network. Not thread-safe: one caller at a time.

    ``log`` is what the storage held (an EntryLog; a new one by default), ``snapshot`` its newest snapshot,
    ``applied`` how far the state machine is (by default to where the log begins), ``conf_state`` the membership at
    ``applied``. With ``async_storage_writes`` a Ready's messages include one to LOCAL_APPEND_THREAD and one to
    LOCAL_APPLY_THREAD whose ``responses`` are delivered when the work is done; without it, ``advance`` says
    that everything in the last Ready is done. Raises ConfigError for an argument of another kind, Corruption when what
    is given does not fit together and ConfChangeError when the membership is none. (etcd: RawNode, NewRawNode.)
    """

    def __init__(
        self,
        config: Config,
        *,
        log: EntryLog | None = None,
        hard_state: HardState | None = None,
        conf_state: ConfState | None = None,
        applied: int | None = None,
        snapshot: Snapshot | None = None,
        async_storage_writes: bool = False,
    ) -> None:
        _check_arguments(config, log, hard_state, conf_state, applied, snapshot)
        hard_state = hard_state or HardState()
        if log is None:
            log = EntryLog() if snapshot is None else EntryLog(snapshot.index + 1, snapshot.term)
        if snapshot is not None and conf_state is None:
            conf_state = snapshot.conf_state
        if applied is None:
            applied = log.first - 1
        self.core = Raft(config, log, hard_state, conf_state or ConfState(), applied)
        if not isinstance(async_storage_writes, bool):
            raise ConfigError(f"async_storage_writes must be True or False, not {async_storage_writes!r}")
        self.async_storage_writes = async_storage_writes
        self.driver = Driver(self.core)
        self._previous_soft = (0, 0)
        self._steps_on_advance: list[Message] = []
        self._outstanding = False
        if snapshot is not None:
            self.set_snapshot(snapshot)

    # --- input -----------------------------------------------------------------------------------

    def tick(self) -> None:
        """One tick of time has passed (etcd: Tick)."""
        self.core.tick()

    def campaign(self) -> None:
        """Campaign now, with a pre-vote if that is on. Nothing happens where it is not allowed (etcd: Campaign)."""
        self.core.step_local(MSG_HUP)

    @property
    def time(self) -> int:
        """The time that an entry gets which this member appends as a leader, in nanoseconds since the epoch; 0: none.

        To be set by whoever has a clock, before what may append: 0..2^63-1, kept to 256 ns. An entry does not get less
        than the one before it has.
        """
        return int(self.core.log.time)

    @time.setter
    def time(self, time: int) -> None:
        _check_number("time", time, 0, 63)
        self.core.log.time = time

    def propose(self, data: bytes, *more: bytes) -> None:
        """Propose an entry, or several that stand together. Raises ProposalDropped when it went nowhere.

        It may be repeated then; without an error it may still be lost on its way (etcd: Propose).
        """
        entries = [Entry(0, 0, data)]
        for each in more:
            entries.append(Entry(0, 0, each))
        self._step(Message(MSG_PROP, sender=self.core.id, entries=entries))

    def propose_conf_change(self, change: ConfChange) -> None:
        """Propose a change of membership (etcd: ProposeConfChange).

        Raises ProposalDropped when it went nowhere, and ConfChangeRefused when this leader did not take it: an
        empty entry stands in its place, as with etcd. One that was passed on to the leader may be refused there.
        """
        entry = Entry(0, 0, change.encode(), change.entry_kind)
        before = len(self.core.refused)
        self._step(Message(MSG_PROP, sender=self.core.id, entries=[entry]))
        if len(self.core.refused) > before:
            raise ConfChangeRefused(self.core.take_last_refused())

    def apply_conf_change(self, change: ConfChange | Entry) -> ConfState:
        """The state machine has come to a membership change, or to its entry: take it. Returns the new membership.

        To be called for every such entry, in order. Raises ConfChangeError: the change does not fit and the
        membership stays as it was, on every member alike (etcd: ApplyConfChange, which panics).

        An entry changes nothing when a snapshot has overtaken it: one that was restored while the entry was on its
        way to the state machine brought a membership that has the change in it. A ConfChange does not tell where
        it stands, so give the entry.
        """
        index = 0
        if isinstance(change, Entry):
            index = change.index
            if index <= self.core.conf_index:
                return self.core.tracker.conf_state()
            change = ConfChange.decode(change.data, change.kind == ENTRY_CONF_CHANGE)
        self.core.install(configuration_after(self.core.tracker.conf_state(), change, index))
        return self.core.tracker.conf_state()

    def step(self, message: Message) -> None:
        """Take a message from a peer or a response of the storage (etcd: Step).

        Raises StepLocalMessage, UnknownPeer, ProposalDropped, and ConfChangeError for a proposed change that
        cannot be decoded; nothing has changed then.
        """
        local = message.sender in (LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD)
        if message.kind in LOCAL_KINDS and not local:
            raise StepLocalMessage(f"message of kind {message.kind} can only be produced by the node itself")
        if message.kind in RESPONSE_KINDS and not local and message.sender != self.core.id:
            if self.core.tracker.peers.py_slot_of(message.sender) < 0:
                raise UnknownPeer(f"response from {message.sender}, which is not a member")
        self._step(message)

    def refusal(self, message: Message) -> str:
        """Why no honest member can have sent this message; "" when one can have. To be asked before ``step``, of every
        message from a network that is not trusted to bring nothing else: ``step`` believes what it is given.

        The reasons are those of docs/wire-format.md.
        """
        reason: int = admission.py_refusal(self.core, message)
        return admission.REASONS[reason] if reason else ""

    def _step(self, m: Message) -> None:
        self.core.step(m)

    def read_index(self, context: bytes) -> None:
        """Ask for an index to read at; it comes with ``context`` as a Ready's read_states (etcd: ReadIndex).

        A message may be lost and the leader may change: ask again after an election timeout. Contexts may
        repeat. Raises ReadDropped when no leader is known.
        """
        if self.core.role != LEADER and self.core.lead == 0:
            raise ReadDropped("no leader")
        self._step(Message(MSG_READ_INDEX, sender=self.core.id, entries=[Entry(0, 0, context)]))

    def transfer_leader(self, id: int) -> None:
        """Ask the leader, which may be this node, to hand over to ``id`` (etcd: TransferLeader)."""
        check_id(id)
        self._step(Message(MSG_TRANSFER_LEADER, sender=self.core.id, hint=id))

    def forget_leader(self) -> None:
        """A follower forgets its leader, and may then grant votes within its lease (etcd: ForgetLeader)."""
        self._step(Message(MSG_FORGET_LEADER, sender=self.core.id))

    def step_down(self) -> None:
        """A leader gives up leading; it stays in its term and waits for another one."""
        self.core.step_down()

    def ping(self) -> None:
        """A leader sends its heartbeats now (raft-rs: ping)."""
        self.core.ping()

    def request_snapshot(self) -> None:
        """A follower asks its leader for a snapshot, and takes no entries before it has one.

        (raft-rs: request_snapshot.)

        Raises SnapshotRequestDropped without a known leader, on a leader, or when one is under way.
        """
        self.core.ask_snapshot()

    def report_unreachable(self, id: int) -> None:
        """The last message to ``id`` could not be sent (etcd: ReportUnreachable)."""
        check_id(id)
        self._step(Message(MSG_UNREACHABLE, sender=id))

    def report_snapshot(self, id: int, ok: bool) -> None:
        """What became of the snapshot for ``id``: it was sent, or it was lost (etcd: ReportSnapshot)."""
        check_id(id)
        self._step(Message(MSG_SNAP_STATUS, sender=id, flags=0 if ok else FLAG_REJECT))

    def bootstrap(self, ids: list[int]) -> None:
        """Begin a group whose first entries add these members (etcd: Bootstrap).

        Call it on every founding member, with the same ids. Raises UsageError unless the log is empty, and
        ConfChangeError for ids that make no membership.
        """
        core = self.core
        if not ids:
            raise UsageError("bootstrap() needs at least one member")
        if core.log.last != 0 or core.term != 0:
            raise UsageError("bootstrap() is for an empty storage")
        for id in ids:
            check_id(id)
        if not all([1 <= id <= NUMBER_MAX for id in ids]):
            raise ConfChangeError(f"ids must be in 1..2^63-1, not {ids}")
        check_conf_state(ConfState(voters=tuple(sorted(set(ids)))))
        changes = [ConfChange.parse(f"v{id}", v1=True) for id in ids]
        self.driver.forget_written()
        core.begin_group(
            [Entry(at, 1, change.encode(), change.entry_kind) for at, change in enumerate(changes, 1)], changes
        )

    # --- snapshots and the log ---------------------------------------------------------------------

    def set_snapshot(self, snapshot: Snapshot) -> None:
        """What a member that needs compacted entries is sent: the newest snapshot that the storage has.

        Raises UsageError for one that is not of this log: beyond what is applied here, or older than the last.
        """
        core = self.core
        if not isinstance(snapshot, Snapshot):
            raise UsageError(f"snapshot must be a raftx.Snapshot, not {snapshot!r}")
        most = max(core.applied, core.applying)
        if not core.snapshot_index <= snapshot.index <= most:
            raise UsageError(
                f"snapshot.index must be in {core.snapshot_index}..{most} (the last snapshot's .. what was handed over"
                f" to be applied), not {snapshot.index}"
            )
        if snapshot.index >= core.log.first - 1 and core.log.py_term(snapshot.index) != snapshot.term:
            term = core.log.py_term(snapshot.index)
            raise UsageError(f"snapshot.term must be {term}, that of entry {snapshot.index}, not {snapshot.term}")
        core.set_snapshot(snapshot_record(snapshot), snapshot.index, snapshot.term)

    @property
    def snapshot_wanted(self) -> int:
        """The lowest index a snapshot needs so that a waiting member can be served; 0 if none waits.

        A member that joined after the newest snapshot was taken refuses it: then one of what is applied is wanted.
        """
        core = self.core
        if core.role != LEADER:
            return 0
        if core.snapshot_wanted == 0 and core.snapshot_index != 0:
            conf = snapshot_from(core.snapshot.tobytes()).conf_state
            members = {*conf.voters, *conf.voters_outgoing, *conf.learners}
            for slot, id in enumerate(list(core.tracker.peers.column("ids"))):
                if core.tracker.peers.column("state")[slot] == SNAPSHOT and id not in members:
                    return int(core.applied)
        return int(core.snapshot_wanted)

    def compact(self, index: int) -> None:
        """Drop entries up to and including ``index``; a member that needs them is sent the snapshot.

        Raises UsageError beyond what is applied, durable and in the snapshot.
        """
        core = self.core
        most = min(core.applied, core.stable, max(core.snapshot_index, core.log.first - 1))
        if not is_id(index, 0) or index > most:
            raise UsageError(f"index must be in 0..{most} (applied, durable and in the snapshot), not {index!r}")
        core.log.py_compact(index)

    # --- settings that may change ------------------------------------------------------------------

    def set_randomized_timeout(self, ticks: int) -> None:
        """Pin the present election timeout; the next change of role or term draws another. At least 1."""
        _check_number("ticks", ticks, 1, 31)
        self.core.randomized_timeout = ticks

    def set_priority(self, priority: int) -> None:
        """Another election priority, 0..2^31-1 (raft-rs: set_priority)."""
        _check_number("priority", priority, 0, 31)
        self.core.priority = priority

    def set_check_quorum(self, on: bool) -> None:
        """Switch check-quorum; it stays on with lease reads (raft-rs: set_check_quorum)."""
        _check_flag(on)
        if self.core.lease_reads and not on:
            raise UsageError("check_quorum must stay on with lease_reads")
        self.core.check_quorum = on

    def set_batch_append(self, on: bool) -> None:
        """Switch batch_append (raft-rs: set_batch_append)."""
        _check_flag(on)
        self.core.batch_append = on

    def set_skip_bcast_commit(self, on: bool) -> None:
        """Switch skip_bcast_commit (raft-rs: skip_bcast_commit)."""
        _check_flag(on)
        self.core.skip_bcast_commit = on

    def set_max_apply_bytes(self, size: int) -> None:
        """Another budget of bytes handed to the state machine, at least 1.

        (raft-rs: set_max_committed_size_per_ready.)
        """
        _check_number("size", size, 1, 63)
        self.core.max_apply_bytes = size

    def set_max_inflight(self, id: int, messages: int) -> None:
        """Another window for one member, 0..2^31-1; 0 sends it nothing more (raft-rs: adjust_max_inflight_msgs).

        Raises UnknownPeer.
        """
        _check_number("messages", messages, 0, 31)
        self.core.tracker.inflights.set_capacity(self._member(id), messages)

    def enable_group_commit(self, on: bool) -> None:
        """Switch group commit; switched off, more may be committed at once (raft-rs: enable_group_commit)."""
        _check_flag(on)
        self.core.tracker.group_commit = on
        if not on:
            self.core.recount_commit()

    def assign_commit_groups(self, groups: dict[int, int]) -> None:
        """Put members into groups of 1..2^63-1; 0 takes one out (raft-rs: assign_commit_groups). Raises UnknownPeer."""
        if not isinstance(groups, dict):
            raise UsageError(f"groups must be a dict of ids to groups, such as {{1: 1, 2: 2}}, not {groups!r}")
        for id, group in groups.items():
            _check_number("a group", group, 0, 63)
            self._member(id)
        for id, group in groups.items():
            self.core.tracker.peers.set_commit_group(self._member(id), group)
        if self.core.tracker.group_commit:
            self.core.recount_commit()

    def clear_commit_groups(self) -> None:
        """Take every member out of its group (raft-rs: clear_commit_group)."""
        self.assign_commit_groups(dict.fromkeys(list(self.core.tracker.peers.column("ids")), 0))

    def group_commit_consistent(self) -> bool | None:
        """Whether everything committed spans two groups; None unless a leader that has applied in its term
        (raft-rs: check_group_commit_consistent)."""
        core = self.core
        if core.role != LEADER or core.log.py_term(core.applied) != core.term:
            return None
        index, used = core.group_committed()
        return bool(used and index == core.committed)

    def _member(self, id: int) -> int:
        check_id(id)
        slot = int(self.core.tracker.peers.py_slot_of(id))
        if slot < 0:
            raise UnknownPeer(f"{id} is not a member")
        return slot

    # --- output ----------------------------------------------------------------------------------

    def has_ready(self) -> bool:
        """Whether ``ready`` would hold anything."""
        core = self.core
        return (
            (core.lead, core.role) != self._previous_soft
            or self.driver.must_write()
            or self.driver.hard_state_changed()
            or len(core.messages) > 0
            or len(core.after_append) > 0
            or len(core.read_states) > 0
            or core.may_apply(not self.async_storage_writes)
            or len(core.refused) > 0
        )

    def ready(self) -> Ready:
        """What is to be done now (etcd: Ready). Raises UsageError when the last Ready has not been advanced."""
        core, driver = self.core, self.driver
        allow_unstable = not self.async_storage_writes
        if self._outstanding:
            raise UsageError("ready() again before advance()")
        ready = Ready()
        soft = (core.lead, core.role)
        if soft != self._previous_soft:
            ready.soft_state = (core.lead, Role(core.role))
            self._previous_soft = soft
        driver.plan_write()
        if driver.hard_state_changed():
            state = HardState(driver.write_term, driver.write_vote, driver.write_commit, driver.write_in_doubt)
            ready.hard_state = state
        if driver.write_low <= driver.write_high:
            ready.entries = core.log.entries(driver.write_low, driver.write_high)
        ready.must_sync = driver.write_sync
        if driver.write_snapshot:
            ready.snapshot = core.restored_snapshot()
        if len(core.read_states):
            ready.read_states = [ReadState(m.index, m.entries[0].data) for m in core.read_states.messages()]
            core.read_states.py_clear()
        if core.refused:
            ready.refused = core.refused_changes()
        applies = driver.plan_apply(allow_unstable)
        if applies:
            ready.committed_entries = core.log.entries(driver.apply_low, driver.apply_high)
        ready.messages = core.messages.messages()
        after_append = core.after_append.messages()
        response = None
        if driver.write_stable or driver.write_snapshot:
            response = self._append_response(ready.snapshot)
        if self.async_storage_writes:
            self._storage_messages(ready, after_append, response)
        else:
            for m in after_append:
                (self._steps_on_advance if m.to == core.id else ready.messages).append(m)
            if response is not None:
                self._steps_on_advance.append(response)
            if applies:
                self._steps_on_advance.append(self._apply_response())
            self._outstanding = True
        core.messages.py_clear()
        core.after_append.py_clear()
        driver.accept_write()
        if applies:
            driver.accept_apply(allow_unstable)
        ready.number = driver.number
        return ready

    def _append_response(self, snapshot: Snapshot | None) -> Message:
        """What says that everything handed over so far is durable; of entries only if the term is the same still."""
        core, driver = self.core, self.driver
        m = Message(MSG_STORAGE_APPEND_RESP, to=core.id, sender=LOCAL_APPEND_THREAD, term=core.term)
        if driver.write_stable:
            m.index, m.log_term = driver.write_stable, driver.write_stable_term
        if snapshot is not None:
            m.hint = snapshot.index
            m.snapshot = snapshot
        return m

    def _apply_response(self) -> Message:
        """What says that everything the driver has planned to apply is applied."""
        driver = self.driver
        m = Message(MSG_STORAGE_APPLY_RESP, to=self.core.id, sender=LOCAL_APPLY_THREAD, index=driver.apply_high)
        m.hint = driver.apply_bytes
        m.context = driver.apply_high + 1 - driver.apply_low
        return m

    def _storage_messages(self, ready: Ready, after_append: list[Message], response: Message | None) -> None:
        core = self.core
        if ready.entries or ready.hard_state is not None or ready.snapshot is not None or after_append:
            m = Message(MSG_STORAGE_APPEND, to=LOCAL_APPEND_THREAD, sender=core.id, entries=ready.entries)
            if ready.hard_state is not None:
                m.term, m.vote, m.commit = ready.hard_state.term, ready.hard_state.vote, ready.hard_state.commit
            m.snapshot = ready.snapshot
            m.responses = after_append + ([response] if response is not None else [])
            ready.messages.append(m)
        if ready.committed_entries:
            m = Message(MSG_STORAGE_APPLY, to=LOCAL_APPLY_THREAD, sender=core.id, entries=ready.committed_entries)
            done = self._apply_response()
            done.set_entries(m)
            m.responses = [done]
            ready.messages.append(m)

    def advance(self) -> None:
        """Everything in the last Ready has been persisted, sent and applied (etcd: Advance).

        Raises UsageError without a Ready, and with asynchronous writes.
        """
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
        """Everything about this member as a dict; ``progress`` by id only while it leads (etcd: Status)."""
        core = self.core
        return {
            "id": core.id,
            "term": core.term,
            "vote": core.vote,
            "in_doubt": bool(core.in_doubt),
            "commit": core.committed,
            "applied": core.applied,
            "applying": core.applying,
            "first": core.log.first,
            "last": core.log.last,
            "stable": core.stable,
            "lead": core.lead,
            "role": Role(core.role),
            "transferee": core.transferee,
            "uncommitted_bytes": core.uncommitted_bytes,
            "pending_conf_index": core.pending_conf_index,
            "snapshot": core.snapshot_index,
            "pending_snapshot": core.pending_snapshot,
            "pending_reads": len(core.early_reads),
            "unconfirmed_reads": len(core.reads.unconfirmed),
            "configuration": core.tracker.conf_state(),
            "progress": self._progress() if core.role == LEADER else {},
        }

    def __repr__(self) -> str:
        return f"<RawNode {repr(self.core).removeprefix('<Raft ')}"

    def _progress(self) -> dict[int, dict[str, Any]]:
        tracker = self.core.tracker
        peers = tracker.peers
        names = ("match", "next", "state", "sent_commit", "pending_snapshot", "commit_group")
        columns = {name: list(peers.column(name)) for name in names}
        return {
            id: {
                **{name: columns[name][slot] for name in names},
                "paused": bool((peers.paused >> slot) & 1),
                "recent_active": bool((peers.recent_active >> slot) & 1),
                "inflight": tracker.inflights.contents(slot),
                "inflight_bytes": tracker.inflights.bytes_of(slot),
                "inflight_full": tracker.inflights.py_full(slot),
                "learner": bool((tracker.learners >> slot) & 1),
            }
            for slot, id in enumerate(list(peers.column("ids")))
        }


def split(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """The release rule for a Ready's messages (asynchronous writes): (may leave now, wait for the append)."""
    now: list[Message] = []
    later: list[Message] = []
    for m in messages:
        (later if release.waits_for_disk(m.kind) else now).append(m)
    return now, later
