"""A member of a scenario's cluster as the harness keeps it: its disk, its RawNode while it is up, its work under way.

raftx sees RawNode's contract only. What members have when a scenario does not say, and how they are shown, is in
protocol.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import Any

from .implementation import CLUSTER, Implementation, conf_text

SCENARIO = 1  # the version of the protocol
MASK64 = 2**64 - 1

# What a member of a head has when the head does not say.
DEFAULTS: dict[str, Any] = {
    "voters": [],
    "outgoing": [],
    "learners": [],
    "learners_next": [],
    "auto_leave": False,
    "start": 0,
    "election": 10,
    "heartbeat": 1,
    "pre_vote": False,
    "check_quorum": False,
    "lease_reads": False,
    "async": False,
    "forwarding": True,
    "validate": True,
    "step_down": False,
    "one_entry_messages": False,
    "one_entry_applies": False,
    "max_inflight": 256,
    "max_inflight_bytes": 0,
    "max_uncommitted": 0,
    "priority": 0,
    "commit_by_vote": False,
    "group_commit": False,
    "batch_append": False,
    "skip_bcast_commit": False,
}


def timeout(seed: int, id: int, term: int, election: int) -> int:
    """The randomized election timeout that a member has in a term."""
    x = (seed * 0x9E3779B97F4A7C15 + id * 0xBF58476D1CE4E5B9 + term * 0x94D049BB133111EB) & MASK64
    x ^= x >> 31
    x = x * 0x9E3779B97F4A7C15 & MASK64
    x ^= x >> 29
    return election + (x >> 11) % election


class Packet:
    """A message in the network, encoded. ``held`` is the generator's: not to be delivered yet."""

    __slots__ = ("frame", "held", "kind", "sender", "term", "to")

    def __init__(self, frame: bytes, sender: int, to: int, kind: int, term: int) -> None:
        self.frame = frame
        self.sender = sender
        self.to = to
        self.kind = kind
        self.term = term
        self.held = False


class Member:
    """One member: what it has on disk, its RawNode while it is up, and the work that is under way."""

    def __init__(self, impl: Implementation, spec: dict[str, Any], seed: int) -> None:
        spec = {**DEFAULTS, **spec}
        self.impl = impl
        self.id: int = spec["id"]
        self.seed = seed
        self.spec = spec
        self.asynchronous: bool = spec["async"]
        self.election: int = spec["election"]
        self.config = impl.Config(
            id=self.id,
            cluster=CLUSTER,
            election_ticks=self.election,
            heartbeat_ticks=spec["heartbeat"],
            pre_vote=spec["pre_vote"],
            check_quorum=spec["check_quorum"],
            lease_reads=spec["lease_reads"],
            forward_proposals=spec["forwarding"],
            validate_conf_changes=spec["validate"],
            step_down_on_removal=spec["step_down"],
            max_inflight_messages=spec["max_inflight"],
            max_inflight_bytes=spec["max_inflight_bytes"] or impl.NO_LIMIT,
            max_uncommitted_bytes=spec["max_uncommitted"] or impl.NO_LIMIT,
            max_message_bytes=0 if spec["one_entry_messages"] else impl.NO_LIMIT,
            max_apply_bytes=1 if spec["one_entry_applies"] else impl.NO_LIMIT,
            priority=spec["priority"],
            commit_by_vote=spec["commit_by_vote"],
            group_commit=spec["group_commit"],
            batch_append=spec["batch_append"],
            skip_bcast_commit=spec["skip_bcast_commit"],
            seed=0,
        )
        # Bytes are shown where they are limited: only there do implementations agree about the size of an entry.
        self.shows_uncommitted: bool = spec["max_uncommitted"] > 0
        self.shows_inflight: bool = spec["max_inflight_bytes"] > 0
        self.encoder = impl.Codec(CLUSTER, self.id)
        # The disk. Entries begin at base + 1; a snapshot of index 0 is none.
        start = spec["start"]
        conf = impl.ConfState()
        if start:
            conf = impl.ConfState(
                voters=tuple(sorted(spec["voters"])),
                learners=tuple(sorted(spec["learners"])),
                voters_outgoing=tuple(sorted(spec["outgoing"])),
                learners_next=tuple(sorted(spec["learners_next"])),
                auto_leave=spec["auto_leave"],
            )
        term = 1 if start else 0
        self.entries: list[Any] = []
        self.base = start
        self.base_term = term
        self.hard = impl.HardState(term, 0, start)
        self.snapshot = impl.Snapshot(start, term, conf)
        # The state machine: how far it is, and every configuration with the index that made it.
        self.applied = start
        self.changed_at: list[int] = [start]
        self.confs: list[Any] = [conf]
        # While it is up
        self.raw: Any = None
        self.core: Any = None
        self.has_ready = False
        self.work: Any = None  # the Ready that is being worked on, without async
        self.persisted = False
        self.appends: deque[tuple[Any, list[Any]]] = deque()  # with the vote requests that joined each
        self.applies: deque[Any] = deque()
        self._timeouts: dict[int, int] = {}
        self._conf_key: Any = None
        self._conf_text = "///0"
        self._ids: list[int] = []
        self._disk_text = ""  # "" when something there has changed
        self.start(start)

    # --- the disk and the state machine ----------------------------------------------------------

    def conf_at(self, index: int) -> Any:
        """The configuration that holds after the entry at ``index``, which is not below the snapshot."""
        at = bisect_right(self.changed_at, index) - 1
        # A snapshot that is on disk may not have reached the state machine.
        if index > self.snapshot.index and at >= 0 and self.changed_at[at] >= self.snapshot.index:
            return self.confs[at]
        return self.snapshot.conf_state

    def set_conf(self, index: int, conf: Any) -> None:
        """``conf`` holds from ``index`` on."""
        keep = bisect_right(self.changed_at, index - 1)
        del self.changed_at[keep:], self.confs[keep:]
        self.changed_at.append(index)
        self.confs.append(conf)

    def last(self) -> int:
        """Index of the last entry on disk."""
        return self.base + len(self.entries)

    def term_of(self, index: int) -> int:
        """Term of an entry on disk, or of the one before the first."""
        term: int = self.entries[index - self.base - 1].term if index > self.base else self.base_term
        return term

    def store(self, snapshot: Any, entries: list[Any], hard: Any) -> None:
        """A snapshot, entries and a hard state reach the disk; each may be absent."""
        self._disk_text = ""
        if snapshot is not None:
            self.snapshot = snapshot
            self.entries = []
            self.base = snapshot.index
            self.base_term = snapshot.term
        if entries:
            skip = self.base + 1 - entries[0].index
            if skip > 0:
                entries = entries[skip:]
            if entries:
                keep = entries[0].index - self.base - 1
                if keep > len(self.entries):
                    raise self.impl.gives_up[0](f"entries from {entries[0].index} on behind {self.last()}")
                self.entries[keep:] = entries
        if hard is not None:
            self.hard = hard

    def make_snapshot(self, index: int) -> None:
        """A snapshot of what is applied, on disk; the log stays."""
        self._disk_text = ""
        conf = self.conf_at(index)
        self.snapshot = self.impl.Snapshot(index, self.term_of(index), conf, str(index).encode())
        self.raw.set_snapshot(self.snapshot)

    def compact(self, index: int) -> None:
        """Drop entries up to and including ``index``."""
        self._disk_text = ""
        self.base_term = self.term_of(index)
        del self.entries[: index - self.base]
        self.base = index
        self.raw.compact(index)

    def take_snapshot(self, snapshot: Any) -> None:
        """The state machine becomes what a snapshot holds."""
        self._disk_text = ""
        self.applied = snapshot.index
        self.set_conf(snapshot.index, snapshot.conf_state)

    def apply(self, entries: list[Any]) -> None:
        """The state machine takes entries, but those that a snapshot brought; changes go to the library."""
        self._disk_text = ""
        for entry in entries:
            if entry.index <= self.applied:
                continue
            self.applied = entry.index
            self.applying(entry)
            if entry.kind:
                change = self.impl.ConfChange.decode(entry.data, entry.kind == 1)
                self.set_conf(entry.index, self.raw.apply_conf_change(change))

    def applying(self, entry: Any) -> None:
        """What else the state machine does with an entry."""

    # --- its lives -------------------------------------------------------------------------------

    def start(self, applied: int) -> None:
        """Begin from the disk."""
        impl = self.impl
        log = impl.EntryLog(self.base + 1, self.base_term)
        if self.entries:
            log.py_extend(self.entries)
        conf = self.conf_at(applied)
        self._disk_text = ""
        self.applied = applied
        self.set_conf(applied, conf)
        self.raw = impl.RawNode(
            self.config,
            log=log,
            hard_state=self.hard,
            conf_state=conf,
            applied=applied,
            snapshot=self.snapshot if self.snapshot.index else None,
            async_storage_writes=self.asynchronous,
        )
        self.core = self.raw.core
        self.core.randomized_timeout = self.timeout()

    def restart(self, from_state_machine: bool) -> None:
        """Begin again, with what the state machine has kept or from the snapshot."""
        applied = self.snapshot.index
        if from_state_machine:
            applied = max(applied, min(self.applied, self.hard.commit))
        self.start(applied)

    def crash(self) -> None:
        """Whatever is not on disk is gone."""
        self.raw = self.core = self.work = None
        self.persisted = self.has_ready = False
        self.appends.clear()
        self.applies.clear()

    def timeout(self) -> int:
        """The randomized election timeout of the present term."""
        term: int = self.core.term
        ticks = self._timeouts.get(term)
        if ticks is None:
            ticks = self._timeouts[term] = timeout(self.seed, self.id, term, self.election)
        return ticks

    def todo(self) -> str:
        """The next step that has something to do for this member, "" without one."""
        if self.asynchronous:
            if self.appends:
                return "persist"
            if self.applies:
                return "apply"
        elif self.work is not None:
            return "apply" if self.persisted else "persist"
        return "ready" if self.has_ready else ""

    # --- what is seen of it ----------------------------------------------------------------------

    def conf_shown(self) -> str:
        """The library's configuration; built anew when it has changed."""
        tracker = self.core.tracker
        ids = tracker.peers.column("ids")
        sets = (tracker.voters, tracker.outgoing, tracker.learners, tracker.learners_next, tracker.auto_leave)
        key = (sets, bytes(ids))
        if key != self._conf_key:
            self._conf_key = key
            self._conf_text = conf_text(tracker.conf_state())
            self._ids = ids.tolist()
        return self._conf_text

    def state_text(self) -> str:
        """The state part of an answer. Notes ``has_ready``."""
        core = self.core
        raw = self.raw
        tracker = core.tracker
        peers = tracker.peers
        log = core.log
        reads = core.reads
        first = log.first
        last = log.last
        count: int = peers.count
        conf = self.conf_shown()
        names = self._ids
        votes = "-"
        granted: int = tracker.votes_granted
        answered: int = granted | tracker.votes_refused
        if answered:
            votes = ",".join([f"{names[slot]}:{granted >> slot & 1}" for slot in range(count) if answered >> slot & 1])
        progress = "-"
        if count:
            inflights = tracker.inflights
            shows = self.shows_inflight
            active: int = peers.recent_active
            paused: int = peers.paused
            progress = ";".join(
                [
                    f"{id},{match},{next},{sent},{state},{pending},{active >> slot & 1},{paused >> slot & 1},"
                    f"{inflights.count_of(slot)},{inflights.bytes_of(slot) if shows else 0}"
                    for slot, (id, match, next, sent, state, pending) in enumerate(
                        zip(
                            names,
                            peers.column("match"),
                            peers.column("next"),
                            peers.column("sent_commit"),
                            peers.column("state"),
                            peers.column("pending_snapshot"),
                        )
                    )
                ]
            )
        unconfirmed = waiting = states = acknowledged = "-"
        if len(reads.unconfirmed):
            unconfirmed = ",".join([f"{m.index}.{m.entries[0].data.hex()}" for m in reads.unconfirmed.messages()])
        if len(core.early_reads):
            waiting = ",".join([m.entries[0].data.hex() for m in core.early_reads.messages()])
        if len(core.read_states):
            states = ",".join([f"{m.index}.{m.entries[0].data.hex()}" for m in core.read_states.messages()])
        acks = reads.acks
        if any(acks):
            found = [f"{names[slot]}.{acks[slot]}" for slot in range(count) if acks[slot]]
            acknowledged = ",".join(found) or "-"
        self.has_ready = has_ready = raw.has_ready()
        if not self._disk_text:
            end = self.last()
            hard = self.hard
            self._disk_text = (
                f"{hard.term},{hard.vote},{hard.commit},{self.snapshot.index},{self.snapshot.term},"
                f"{self.base + 1},{end},{self.term_of(end)},{self.applied}"
            )
        return (
            f"{core.id} {core.term} {core.vote} {core.lead} {core.role} {core.election_elapsed} "
            f"{core.heartbeat_elapsed} {core.randomized_timeout} {core.transferee} {core.pending_conf_index} "
            f"{core.uncommitted_bytes if self.shows_uncommitted else 0} {core.committed} {core.applying} "
            f"{core.applied} {first} {last} {log.py_term(last)} {core.stable} {core.writing} "
            f"{core.pending_snapshot} {1 if core.snapshot_writing else 0} {1 if core.apply_paused else 0} "
            f"{1 if has_ready else 0} {conf} {votes} {progress} "
            f"{reads.confirmed}:{unconfirmed}:{waiting}:{states}:{acknowledged} {self._disk_text}"
        )

    def ready_text(self, ready: Any) -> str:
        """The ready part of an answer."""
        parts = []
        impl = self.impl
        soft = ready.soft_state
        if soft is not None:
            parts.append(f"soft={soft[0]},{int(soft[1])} ")
        hard = ready.hard_state
        if hard is not None:
            parts.append(f"hard={hard.term},{hard.vote},{hard.commit} ")
        if ready.read_states:
            parts.append("reads=" + ";".join([f"{r.index}:{r.context.hex()}" for r in ready.read_states]) + " ")
        if ready.entries:
            parts.append(f"entries={impl.entries_text(ready.entries)} ")
        if ready.snapshot is not None:
            s = ready.snapshot
            parts.append(f"snap={s.index},{s.term},{conf_text(s.conf_state)} ")
        if ready.committed_entries:
            parts.append(f"committed={impl.entries_text(ready.committed_entries)} ")
        if ready.must_sync:
            parts.append("sync ")
        return "".join(parts)
