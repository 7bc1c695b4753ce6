"""Runs etcd's interaction scripts on raftx: ``python -m interop.interaction FILE...``; exits 0 when all agree.

A script makes members, gives them commands and prints what they want done, what they send and what they receive.
Every member is a RawNode with a storage and a state machine in memory; messages wait in one list until a command
delivers or drops them. The members have the settings of etcd's environment: an election timeout of three ticks, no
limits, neither pre-vote nor check-quorum unless the script asks for them.

raftx writes no log. Lines of a script that begin with the name of a log level are left out of the comparison, and a
block of which nothing is left is the same as ``ok``.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import raftx
from raftx.types import (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    LEADER,
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MSG_PROP,
    MSG_SNAP,
    MSG_STORAGE_APPLY_RESP,
    NO_LIMIT,
    PROBE,
    REPLICATE,
    RESPONSE_KINDS,
    SNAPSHOT,
)

from . import describe
from .confchange_scripts import ChangeError, parse_changes
from .datadriven import Block, Handler, NumberError, ScriptError, main, parse_bool, parse_int, parse_uint
from .interaction_members import LEVELS, ApplyBudget, CommandError, Member, Output

_LOG_LINE = re.compile(rf"\s*({'|'.join(LEVELS[:-1])})\b")

KINDS = {name: kind for kind, name in describe.KIND_NAMES.items()}

ELECTION_TICKS = 3
HEARTBEAT_TICKS = 1
MAX_INFLIGHT = 2**31 - 1
TRANSITIONS = {"auto": 0, "implicit": 1, "explicit": 2}

# etcd's errors, which the scripts have as output
PROPOSAL_DROPPED = "raft proposal dropped"
STEP_LOCAL = "raft: cannot step raft local message"
STEP_UNKNOWN = "raft: cannot step as peer not found"

#: Rounds of one ``stabilize``: more than any script needs, so that one that never settles ends.
ROUNDS_MAX = 1_000


class Environment:
    """The commands, on the implementation ``impl``, and all that they work on."""

    def __init__(self, impl: ModuleType = raftx) -> None:
        self._impl = impl
        self._types = importlib.import_module(f"{impl.__name__}.types")
        self._core = importlib.import_module(f"{impl.__name__}._core")
        self._errors = importlib.import_module(f"{impl.__name__}.errors")
        self.members: list[Member] = []
        self.messages: list[Any] = []
        #: (term, index) of the entries that came of proposed changes, refused ones included
        self._from_changes: set[tuple[int, int]] = set()
        self.out = Output()
        self._commands = {
            "_breakpoint": self._breakpoint,
            "add-nodes": self._add_nodes,
            "campaign": self._campaign,
            "compact": self._compact,
            "deliver-msgs": self._deliver,
            "forget-leader": self._forget_leader,
            "log-level": self._log_level,
            "process-append-thread": self._process_append_threads,
            "process-apply-thread": self._process_apply_threads,
            "process-ready": self._process_readys,
            "propose": self._propose,
            "propose-conf-change": self._propose_conf_change,
            "raft-log": self._raft_log,
            "raft-state": self._raft_state,
            "report-unreachable": self._report_unreachable,
            "send-snapshot": self._send_snapshot,
            "set-randomized-election-timeout": self._set_randomized_timeout,
            "stabilize": self._stabilize,
            "status": self._status,
            "tick-election": self._tick_election,
            "tick-heartbeat": self._tick_heartbeat,
            "transfer-leadership": self._transfer_leadership,
        }

    def handle(self, block: Block) -> str:
        """What a command prints, ``ok`` when that is nothing. Raises ScriptError when it cannot be carried out."""
        self.out.take()
        try:
            command = self._commands.get(block.command)
            if command is None:
                raise CommandError("unknown command")
            command(block)
        except CommandError as error:
            if self.out.quiet:
                return str(error)
            self.out.write(str(error))
        return self.out.take() or "ok"

    # --- arguments ---------------------------------------------------------------------------------

    def _member(self, id: int) -> Member:
        if not 1 <= id <= len(self.members):
            raise ScriptError(f"there is no member {id}")
        return self.members[id - 1]

    def _first(self, block: Block) -> Member:
        return self._member(parse_int(block.first(), "Atoi"))

    def _ids(self, block: Block) -> list[int]:
        return [parse_int(a.key, "Atoi") for a in block.arguments if not a.values]

    def _decode(self, data: bytes, v1: bool) -> Any:
        return self._types.ConfChange.decode(data, v1)

    def _message(self, m: Any, *, responses: bool = True) -> str:
        return describe.message(m, self._decode, responses=responses)

    # --- members -----------------------------------------------------------------------------------

    def _breakpoint(self, block: Block) -> None:
        pass

    def _add_nodes(self, block: Block) -> None:
        count = parse_int(block.first(), "Atoi")
        voters: list[int] = []
        learners: list[int] = []
        index = inflight = max_apply = 0
        content = b""
        settings: dict[str, Any] = {}
        is_async = False
        for argument in block.arguments[1:]:
            for value in argument.values:
                if argument.key == "voters":
                    voters.append(parse_uint(value))
                elif argument.key == "learners":
                    learners.append(parse_uint(value))
                elif argument.key == "inflight":
                    inflight = parse_int(value)
                elif argument.key == "index":
                    index = parse_uint(value)
                elif argument.key == "content":
                    content = value.encode("utf-8", "surrogateescape")
                elif argument.key == "async-storage-writes":
                    is_async = parse_bool(value)
                elif argument.key == "prevote":
                    settings["pre_vote"] = parse_bool(value)
                elif argument.key == "checkquorum":
                    settings["check_quorum"] = parse_bool(value)
                elif argument.key == "max-committed-size-per-ready":
                    max_apply = parse_uint(value)
                elif argument.key == "disable-conf-change-validation":
                    settings["validate_conf_changes"] = not parse_bool(value)
                elif argument.key == "read-only":
                    if value not in ("safe", "lease-based"):
                        raise CommandError(
                            f"invalid read-only option {describe.quote(value.encode('utf-8', 'surrogateescape'))}"
                        )
                    settings["lease_reads"] = value == "lease-based"
                elif argument.key == "step-down-on-removal":
                    settings["step_down_on_removal"] = parse_bool(value)
        conf = self._types.ConfState(voters=tuple(voters), learners=tuple(learners))
        if (voters or learners or content or index) and index <= 1:
            raise CommandError("index must be specified as > 1 due to bootstrap")
        snapshot = self._types.Snapshot(index, 1 if index else 0, conf, content)
        for _ in range(count):
            self.members.append(self._make_member(snapshot, inflight or MAX_INFLIGHT, max_apply, settings, is_async))

    def _make_member(
        self, snapshot: Any, inflight: int, max_apply: int, settings: dict[str, Any], is_async: bool
    ) -> Member:
        defaults: dict[str, Any] = {
            "election_ticks": ELECTION_TICKS,
            "heartbeat_ticks": HEARTBEAT_TICKS,
            "pre_vote": False,
            "check_quorum": False,
            "step_down_on_removal": False,
            "max_inflight_messages": inflight,
            "max_inflight_bytes": NO_LIMIT,
            "max_message_bytes": NO_LIMIT,
            "max_entry_bytes": 1 << 30,
            "max_uncommitted_bytes": NO_LIMIT,
            "max_waiting_bytes": NO_LIMIT,
            "max_apply_bytes": NO_LIMIT,
        }
        config = self._impl.Config(id=len(self.members) + 1, **{**defaults, **settings})
        begins: dict[str, Any] = {}
        if snapshot.index:
            begins = {
                "log": self._core.EntryLog(snapshot.index + 1, snapshot.term),
                "hard_state": self._types.HardState(0, 0, snapshot.index),
                "conf_state": snapshot.conf_state,
                "applied": snapshot.index,
                "snapshot": snapshot,
            }
        node = self._impl.RawNode(config, async_storage_writes=is_async, **begins)
        budget = ApplyBudget(node, max_apply, self._from_changes, self._decode) if max_apply else None
        return Member(node, inflight, snapshot, budget)

    def _campaign(self, block: Block) -> None:
        self._first(block).node.campaign()

    def _forget_leader(self, block: Block) -> None:
        self._first(block).node.forget_leader()

    def _tick_election(self, block: Block) -> None:
        for _ in range(ELECTION_TICKS):
            self._first(block).node.tick()

    def _tick_heartbeat(self, block: Block) -> None:
        for _ in range(HEARTBEAT_TICKS):
            self._first(block).node.tick()

    def _set_randomized_timeout(self, block: Block) -> None:
        timeout = parse_int(block.value("timeout"))
        if timeout == 0:
            raise ScriptError("timeout must not be 0")
        self._first(block).node.set_randomized_timeout(timeout)

    def _transfer_leadership(self, block: Block) -> None:
        source, to = self._member(parse_uint(block.value("from"))), self._member(parse_uint(block.value("to")))
        with contextlib.suppress(self._errors.ProposalDropped):
            source.node.transfer_leader(to.id)

    def _report_unreachable(self, block: Block) -> None:
        ids = self._ids(block)
        if len(ids) != 2:
            raise CommandError("must specify exactly two node indexes: node on which to report, and reported node")
        with contextlib.suppress(self._errors.UnknownPeer):
            self._member(ids[0]).node.report_unreachable(self._member(ids[1]).id)

    # --- proposals ---------------------------------------------------------------------------------

    def _propose(self, block: Block) -> None:
        if len(block.arguments) != 2 or block.arguments[1].values:
            raise ScriptError("propose takes a member and a word")
        data = block.arguments[1].key.encode("utf-8", "surrogateescape")
        try:
            self._first(block).node.propose(data)
        except self._errors.ProposalDropped:
            raise CommandError(PROPOSAL_DROPPED) from None

    def _propose_conf_change(self, block: Block) -> None:
        member = self._first(block)
        v1 = False
        transition = "auto"
        try:
            for argument in block.arguments[1:]:
                for value in argument.values:
                    if argument.key == "v1":
                        v1 = parse_bool(value)
                    elif argument.key == "transition":
                        if value not in TRANSITIONS:
                            raise CommandError(f"unknown transition {value}")
                        transition = value
                    else:
                        raise CommandError(f"unknown command {argument.key}")
            changes = parse_changes(block.input)
        except (NumberError, ChangeError) as error:
            raise CommandError(str(error)) from None
        if v1:
            if len(changes) > 1 or transition != "auto":
                raise CommandError("v1 conf change can only have one operation and no transition")
            if not changes:
                raise ScriptError("a v1 conf change has one operation")
        singles = tuple([self._types.ConfChangeSingle(kind, id) for kind, id in changes])
        change = self._types.ConfChange(singles, TRANSITIONS[transition], v1=v1)
        last = member.node.core.log.last
        try:
            member.node.propose_conf_change(change)
        except self._errors.ConfChangeRefused:
            pass  # an empty entry went in its place, which etcd only logs
        except self._errors.ProposalDropped:
            raise CommandError(PROPOSAL_DROPPED) from None
        self._note_change(member, last)

    def _note_change(self, member: Member, last: int) -> None:
        """What stands behind ``last`` is a change that was proposed, or in the place of one."""
        core = member.node.core
        self._from_changes |= {(core.term, index) for index in range(last + 1, core.log.last + 1)}

    # --- work --------------------------------------------------------------------------------------

    def _process_readys(self, block: Block) -> None:
        self._for_each(block, "handling Ready", self._process_ready)

    def _process_append_threads(self, block: Block) -> None:
        self._for_each(block, "processing append thread", self._process_append_thread)

    def _process_apply_threads(self, block: Block) -> None:
        self._for_each(block, "processing apply thread", self._process_apply_thread)

    def _for_each(self, block: Block, title: str, work: Any) -> None:
        ids = self._ids(block)
        for id in ids:
            if len(ids) > 1:
                self.out.write(f"> {id} {title}\n")
                with self.out.indented():
                    work(self._member(id))
            else:
                work(self._member(id))

    def _process_ready(self, member: Member) -> None:
        node = member.node
        if member.budget is not None:
            member.budget.before_ready()
        ready = node.ready()
        self.out.write(describe.ready(ready, self._decode))
        if not node.async_storage_writes:
            self._append(member, ready.entries, ready.snapshot)
            self._apply(member, ready.committed_entries)
        for m in ready.messages:
            if m.to == LOCAL_APPEND_THREAD:
                member.append_work.append(m)
            elif m.to == LOCAL_APPLY_THREAD:
                member.apply_work.append(m)
            else:
                self.messages.append(m)
        if not node.async_storage_writes:
            if member.budget is not None and ready.committed_entries:
                member.budget.before_applied(ready.committed_entries)
            node.advance()

    def _process_append_thread(self, member: Member) -> None:
        if not member.append_work:
            self.out.write("no append work to perform")
            return
        m = member.append_work.pop(0)
        self.out.write(f"Processing:\n{self._message(m, responses=False)}\n")
        self._append(member, m.entries, m.snapshot)
        self._respond(m)

    def _process_apply_thread(self, member: Member) -> None:
        if not member.apply_work:
            self.out.write("no apply work to perform")
            return
        m = member.apply_work.pop(0)
        self.out.write(f"Processing:\n{self._message(m, responses=False)}\n")
        self._apply(member, m.entries)
        self._respond(m)

    def _respond(self, m: Any) -> None:
        responses = m.responses or []
        self.out.write("Responses:\n" + "".join([f"{self._message(response)}\n" for response in responses]))
        self.messages += responses

    def _append(self, member: Member, entries: Sequence[Any], snapshot: Any) -> None:
        if snapshot is not None and snapshot.index:
            if entries:
                raise CommandError("can't apply snapshot and entries at the same time")
            member.storage.apply_snapshot(snapshot)
        else:
            member.storage.append(entries)

    def _apply(self, member: Member, entries: Iterable[Any]) -> None:
        for entry in entries:
            before = member.history[-1]
            conf, update = before.conf_state, entry.data
            if entry.kind in (ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2):
                change = self._decode(entry.data, entry.kind == ENTRY_CONF_CHANGE)
                update = change.context
                conf = member.node.apply_conf_change(change)
            snapshot = self._types.Snapshot(entry.index, entry.term, conf, before.data + update)
            member.history.append(snapshot)
            member.node.set_snapshot(snapshot)

    # --- the network -------------------------------------------------------------------------------

    def _deliver(self, block: Block) -> None:
        kind = -1
        recipients: list[tuple[int, bool]] = []
        for argument in block.arguments:
            if not argument.values:
                recipients.append((parse_uint(argument.key), False))
            for value in argument.values:
                if argument.key == "drop":
                    id = parse_uint(value)
                    if id in [other for other, _ in recipients]:
                        raise ScriptError(f"can't both deliver and drop msgs to {id}")
                    recipients.append((id, True))
                elif argument.key == "type":
                    if value not in KINDS:
                        raise ScriptError(f"unknown message type {value}")
                    kind = KINDS[value]
        if sum([self._deliver_to(id, kind, drop) for id, drop in recipients]) == 0:
            self.out.write("no messages\n")

    def _addressed(self, m: Any, id: int, kind: int, drop: bool) -> bool:
        """Whether a command is about this message. What is between a member and its threads cannot be lost."""
        threads = (LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD)
        local = m.to == describe.sender(m) or m.to in threads or m.sender in threads
        return m.to == id and not (drop and local) and kind in (-1, m.kind)

    def _deliver_to(self, id: int, kind: int = -1, drop: bool = False) -> int:
        taken = [m for m in self.messages if self._addressed(m, id, kind, drop)]
        self.messages = [m for m in self.messages if not self._addressed(m, id, kind, drop)]
        for m in taken:
            self.out.write(f"{'dropped: ' if drop else ''}{self._message(m)}\n")
            if not drop:
                error = self._step(self._member(id), m)
                if error:
                    self.out.write(f"{error}\n")
        return len(taken)

    def _step(self, member: Member, m: Any) -> str:
        if m.kind in RESPONSE_KINDS and m.sender == member.id and not self._is_tracked(member):
            # A member that removed itself does not know itself either.
            return STEP_UNKNOWN
        if member.budget is not None and m.kind == MSG_STORAGE_APPLY_RESP:
            member.budget.before_applied(m.entries)
        last = member.node.core.log.last
        # Asked before: a refused change is no change any more.
        proposes_change = m.kind == MSG_PROP and m.entries[0].kind in (ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2)
        try:
            member.node.step(m)
        except self._errors.UnknownPeer:
            return STEP_UNKNOWN
        except self._errors.StepLocalMessage:
            return STEP_LOCAL
        except self._errors.ProposalDropped:
            return PROPOSAL_DROPPED
        if proposes_change:
            self._note_change(member, last)
        return ""

    def _is_tracked(self, member: Member) -> bool:
        conf = member.node.core.tracker.conf_state()
        return member.id in {*conf.voters, *conf.voters_outgoing, *conf.learners, *conf.learners_next}

    def _send_snapshot(self, block: Block) -> None:
        ids = self._ids(block)
        if len(ids) != 2:
            raise ScriptError("send-snapshot takes two members")
        source = self._member(ids[0])
        m = self._impl.Message(
            MSG_SNAP, to=ids[1], sender=ids[0], term=source.node.core.term, snapshot=source.history[-1]
        )
        self.messages.append(m)
        self.out.write(self._message(m))

    def _stabilize(self, block: Block) -> None:
        members = [self._member(id) for id in self._ids(block)] or list(self.members)
        level = self.out.level
        try:
            for argument in block.arguments:
                for value in argument.values:
                    if argument.key == "log-level":
                        self.out.set_level(value)
            for _ in range(ROUNDS_MAX):
                if not self._round(members):
                    return
            raise ScriptError(f"not stable after {ROUNDS_MAX} rounds")
        finally:
            self.out.level = level

    def _round(self, members: Sequence[Member]) -> bool:
        """Each kind of work once for all members. Whether there was any."""
        worked = False
        for member in members:
            if member.node.has_ready():
                self.out.write(f"> {member.id} handling Ready\n")
                with self.out.indented():
                    self._process_ready(member)
                worked = True
        for member in members:
            if any(self._addressed(m, member.id, -1, False) for m in self.messages):
                self.out.write(f"> {member.id} receiving messages\n")
                with self.out.indented():
                    self._deliver_to(member.id)
                worked = True
        for queue, title, work in (
            ("append_work", "processing append thread", self._process_append_thread),
            ("apply_work", "processing apply thread", self._process_apply_thread),
        ):
            for member in members:
                if getattr(member, queue):
                    self.out.write(f"> {member.id} {title}\n")
                    while getattr(member, queue):
                        with self.out.indented():
                            work(member)
                    worked = True
        return worked

    # --- what it is --------------------------------------------------------------------------------

    def _log_level(self, block: Block) -> None:
        self.out.set_level(block.first())

    def _compact(self, block: Block) -> None:
        member = self._first(block)
        if len(block.arguments) < 2:
            raise ScriptError("compact takes a member and an index")
        try:
            index = parse_uint(block.arguments[1].key)
        except NumberError as error:
            raise CommandError(str(error)) from None
        member.storage.compact(index)
        # The storage may be ahead of what its member knows to be durable, or has applied.
        core = member.node.core
        known = min(core.applied, core.stable, max(core.snapshot_index, core.log.first - 1))
        member.node.compact(min(index, known))
        self._print_log(member)

    def _raft_log(self, block: Block) -> None:
        self._print_log(self._first(block))

    def _print_log(self, member: Member) -> None:
        storage = member.storage
        if not storage.entries:
            self.out.write(f"log is empty: first index={storage.base + 1}, last index={storage.last}")
        else:
            self.out.write(describe.entries(storage.entries, self._decode))

    def _raft_state(self, block: Block) -> None:
        for member in self.members:
            core = member.node.core
            conf = core.tracker.conf_state()
            voter = "Voter" if member.id in {*conf.voters, *conf.voters_outgoing} else "Non-Voter"
            self.out.write(
                f"{member.id}: {describe.ROLE_NAMES[core.role]} ({voter}) Term:{core.term} Lead:{core.lead}\n"
            )

    def _status(self, block: Block) -> None:
        member = self._first(block)
        core = member.node.core
        if core.role != LEADER:
            return
        peers, inflights = core.tracker.peers, core.tracker.inflights
        columns = {name: peers.column(name) for name in ("ids", "match", "next", "state", "pending_snapshot")}
        lines = {}
        for slot in range(peers.count):
            state = columns["state"][slot]
            inflight = inflights.count_of(slot)
            lines[columns["ids"][slot]] = describe.progress(
                columns["match"][slot],
                columns["next"][slot],
                state,
                learner=bool(core.tracker.learners >> slot & 1),
                paused=state == SNAPSHOT or (state in (PROBE, REPLICATE) and bool(peers.paused >> slot & 1)),
                pending_snapshot=columns["pending_snapshot"][slot],
                recent_active=bool(peers.recent_active >> slot & 1),
                inflight=inflight,
                full=inflight >= member.inflight,
            )
        for id, line in sorted(lines.items()):
            self.out.write(f"{id}: {line}\n")


def normal(output: str) -> str:
    """Output without lines of a log; ``ok`` when nothing is left."""
    lines = [line for line in output.splitlines() if not _LOG_LINE.match(line)]
    return "".join([f"{line}\n" for line in lines]) or "ok\n"


def make(impl: ModuleType = raftx) -> Handler:
    """A handler for one file."""
    return Environment(impl).handle


if __name__ == "__main__":
    sys.exit(main(make, "Run etcd's interaction scripts on raftx.", normal))
