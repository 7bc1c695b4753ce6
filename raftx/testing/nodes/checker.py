"""What must hold of simulated nodes after every round, and at the end of a schedule. Reads nodes, changes nothing.

The invariants of the algorithm are those of ``invariants.Checker``. Here they are fed with what a round has changed,
and what users are promised is added: every future ends once, and what it says is true (``requests.py``); no proposal
is applied twice; every state machine is given what the log has, in every life, with the same results.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

from ...errors import ConfChangeError
from ...node.members import Membership, after
from ...types import ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, FLAG_REJECT, MSG_VOTE_RESP, ConfState, HardState
from ..invariants import Beginning, Checker, Violation
from .machines import NO_RESULT, Given
from .requests import Request, is_barrier
from .sessions import Model

if TYPE_CHECKING:
    from ...node.outcomes import Outcomes


# What a right clock may be off by, and what clocks that run at different speeds come apart in a schedule; wrong ones
# are off by an hour.
AHEAD_NS = 5_000_000_000


class NodeChecker(Checker):
    """Everything that was seen of a cluster of nodes, over all their lives."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.members = members
        #: per member, the terms of its log from index 1 on, as after its last round
        self.terms: dict[int, list[int]] = {}
        #: what each of them gave, by index, and the states by how many there have been
        self.results: dict[int, Any] = {}
        self.digests: dict[int, Any] = {}
        #: when each entry was appended, as state machines were told, and how late it is
        self.times: dict[int, int] = {}
        self.now = 0
        #: what becomes of entries of sessions
        self.model = Model()
        self.requests: list[Request] = []
        #: the membership as of the last entry that anybody has applied, and those before
        self.membership = Membership()
        self.memberships: dict[int, Membership] = {}
        self.removed: set[int] = set()
        #: the last entry that any user was told of: acknowledged, or seen by a read
        self.told = 0
        #: requests that have ended since they were last judged
        self.ending: list[Request] = []
        #: (index, data) of the entries that state machines are given, in order
        self.commands: list[tuple[int, bytes]] = []
        #: per member, what its disk held for sure when it crashed: where its log began, and the terms from there on
        self.promised: dict[int, tuple[int, list[int]]] = {}
        #: per member, the index that the first of its ``terms`` is of; how many snapshots its machine was given
        self.bases_of: dict[int, int] = {}
        self.restores_of: dict[int, int] = {}
        #: members that were in doubt when their last life ended: no leader had brought them up to date
        self.doubts: set[int] = set()

    # --- rounds --------------------------------------------------------------------------------------

    def begins(self, id: int, engine: Any) -> None:
        """A node has opened its storage and runs."""
        core = engine.core
        log = core.log
        base = log.first - 1
        entries = log.entries(log.first, log.last) if log.last > base else []
        self.bases_of[id], self.restores_of[id] = base, 0
        terms = self.terms[id] = [log.py_term(base), *[entry.term for entry in entries]]
        promised_base, promised = self.promised.pop(id, (0, [0]))
        # What lies before where its log begins now is in a snapshot.
        promised_last = promised_base + len(promised) - 1
        kept = promised[max(base - promised_base, 0) :]
        found = terms[max(promised_base - base, 0) :][: len(kept)]
        if not core.in_doubt and (promised_last > log.last or found != kept):
            raise Violation(f"node {id} comes back without what was durable, up to entry {promised_last}")
        if id in self.doubts and not core.in_doubt:
            raise Violation(f"node {id} was in doubt when it ended, and comes back without it")
        self.doubts.discard(id)
        if core.in_doubt:
            # Something may be missing, and it knows: it does not vote, and acknowledges nothing from before.
            self.durable.pop(id, None)
        self.kept(id, HardState(core.term, core.vote, core.committed))
        self.began(id, Beginning(base, log.py_term(base), entries, core.committed, core.applied))

    def crashes(self, id: int, engine: Any) -> None:
        """A node is gone, and what it knew to be durable is to come back."""
        base = self.bases_of[id]
        core = engine.core
        if core.pending_snapshot and (engine.transfers.write or not core.snapshot_writing):
            # The log begins anew behind a snapshot, which is not known to be durable yet: it may be the old one.
            self.promised.pop(id, None)
        else:
            self.promised[id] = (base, self.terms[id][: engine.core.stable - base + 1])
        if engine.core.in_doubt and not engine.meetings.doubted:
            self.doubts.add(id)
        else:
            self.doubts.discard(id)

    def forgets(self, id: int) -> None:
        """A member's directory is not what it was: nobody may rely on what it held."""
        self.promised.pop(id, None)
        self.durable.pop(id, None)
        self.doubts.discard(id)

    def after_round(self, id: int, engine: Any) -> None:
        """The engine of a node has had a round."""
        core = engine.core
        log, terms, base = core.log, self.terms[id], self.bases_of[id]
        last, first = log.last, log.first
        if first - 1 > base + len(terms) - 1 or (
            first - 1 > base and log.py_term(first - 1) != terms[first - 1 - base]
        ):
            # The log is gone: it begins anew behind a snapshot.
            self.replaced(id, first - 1, log.py_term(first - 1))
            self.bases_of[id] = base = first - 1
            terms[:] = [log.py_term(base)]
        elif first - 1 > base:
            # What others need no more is dropped.
            del terms[: first - 1 - base]
            self.bases_of[id] = base = first - 1
        if last - base + 1 != len(terms) or log.py_term(last) != terms[-1]:
            # Entries with the same index and term are the same: what differs lies at the end.
            same = min(last, base + len(terms) - 1)
            while log.py_term(same) != terms[same - base]:
                same -= 1
            del terms[same - base + 1 :]
            entries = log.entries(same + 1, last) if last > same else []
            terms += [entry.term for entry in entries]
            end = self.bases[id] + len(self.chains[id]) - 1
            if same < end and not entries:
                raise Violation(f"the log of node {id} ends at {last}, it went on to {end}")
            self.appended(id, entries)
        self.stepped(id, engine)

    def after_apply(self, id: int, engine: Any, given: Given) -> None:
        """The apply thread of a node has had a round, or the life of the node is over."""
        done, applied = self.applied_to[id], engine.apply_gauges.index
        if given.restores != self.restores_of[id]:
            self.restores_of[id] = given.restores
            self.given_snapshot(id, given.restored_at)
            done = self.applied_to[id]
        if applied > done:
            self._applied(id, engine, done, applied)
        if applied > done or len(given.items) != given.judged:
            self.judge_given(id, given, applied)

    def given_snapshot(self, id: int, index: int) -> None:
        """The state machine of a member has been given a snapshot."""
        if index >= len(self.applied):
            raise Violation(f"node {id} restores a snapshot of entry {index}, which nobody has applied")
        if index < self.applied_to[id]:
            raise Violation(f"node {id} restores a snapshot of entry {index}, and has applied {self.applied_to[id]}")
        self.applied_to[id] = index

    def _applied(self, id: int, engine: Any, done: int, applied: int) -> None:
        if applied > engine.core.committed:
            raise Violation(f"node {id} has applied {applied}, and knows {engine.core.committed} to be committed")
        known = len(self.applied)
        gone = min(engine.core.log.first - 1, applied)
        if done < gone:
            # Handed over before a snapshot took the place of the log: others have applied it before that was made.
            if gone >= known:
                raise Violation(f"node {id} has applied {gone}, which is in a snapshot and was applied by nobody")
            self.applied_to[id] = done = gone
        entries = engine.core.log.entries(done + 1, applied) if applied > done else []
        self.apply(id, entries)
        for entry in entries:
            if entry.index >= known and entry.kind in (ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2):
                self._changes(entry)
            fresh = entry.index >= known and not (not entry.kind and is_barrier(entry.data))
            command = self.model.command_of(entry) if fresh else None
            if command is not None:
                self.commands.append((entry.index, command))

    def begins_with(self, ids: tuple[int, ...]) -> None:
        """The first members."""
        self.membership = self.memberships[0] = Membership(0, ConfState(voters=ids))

    def _changes(self, entry: Any) -> None:
        """A change of membership is applied, by the first one."""
        before = self.membership
        try:
            self.membership, _ = after(self.membership, entry.index, entry.kind, entry.data)
        except ConfChangeError as error:
            raise Violation(f"the change in entry {entry.index} does not fit: {error}") from error
        self.removed |= {*before.ids()} - {*self.membership.ids()}
        self.memberships[entry.index] = self.membership

    def was_removed(self, id: int) -> bool:
        """Whether it was a member, and was removed: no directory of this world comes back after that."""
        return id in self.removed

    def judge_given(self, id: int, given: Given, applied: int) -> None:
        """What a state machine was given since the last time is what the log has up to ``applied``.

        And what came of it is what came of it elsewhere.
        """
        offset = bisect.bisect_right(self.commands, given.restored_at, key=_index_of)
        start = offset + given.judged - given.begun_at
        end = bisect.bisect_right(self.commands, applied, start, key=_index_of)
        new = given.items[given.judged :]
        if new != self.commands[start:end]:
            raise Violation(
                f"state machine safety: that of node {id} was given something else than the log has: "
                f"{new}, not {self.commands[start:end]}"
            )
        for index, data in new:
            result = given.results[index]
            first = self.results.setdefault(index, result)
            if first != result:
                raise Violation(
                    f"state machine safety: {data!r} at {index} gives {result!r} on node {id}, it gave {first!r} before"
                )
        for index, _ in new:
            self.judge_time(id, index, given.times.get(index, 0))
        given.judged = end - offset + given.begun_at
        digest = given.digest()
        if digest is not NO_RESULT and self.digests.setdefault(end, digest) != digest:
            raise Violation(
                f"state machine safety: after {end} entries the state of node {id} is {digest!r}, "
                f"another one's was {self.digests[end]!r}"
            )

    def judge_time(self, id: int, index: int, time: int) -> None:
        """The time of an entry is the same for everybody, and not ahead of clocks that are right."""
        first = self.times.setdefault(index, time)
        if first != time:
            raise Violation(f"entry {index} is of {time} on node {id}, it was of {first} before")
        if time > self.now + AHEAD_NS:
            raise Violation(f"entry {index} on node {id} is {(time - self.now) / 1e9} s ahead of time")

    def sends(self, sender: int, messages: list[Any]) -> None:
        """Messages leave a member: a vote is given once a term."""
        for m in messages:
            if m.kind == MSG_VOTE_RESP and not m.flags & FLAG_REJECT:
                self.voted(sender, m.term, m.to)

    def led(self, id: int, term: int, says: str) -> None:
        """Somebody says that a member led a term; ``says``: who."""
        leader = self.leaders.get(term)
        if leader is None:
            # One that leads for less than a round was never looked at as a leader. But it was elected.
            votes = sum([1 for (voter, t), to in self.votes.items() if t == term and to == id and voter != id])
            if votes + 1 > self.members // 2:
                return
        if leader != id:
            raise Violation(f"{says}: node {id} led term {term}, which {leader or 'nobody'} did")

    # --- requests ------------------------------------------------------------------------------------

    def last_command(self, index: int) -> int:
        """The last entry up to that one with a command that state machines are given; 0 for none."""
        count = bisect.bisect_right(self.commands, index, key=_index_of)
        return self.commands[count - 1][0] if count else 0

    def asked_for(self, request: Request) -> None:
        """A request was made; its future is watched."""
        self.requests.append(request)
        request.watch(self.ending)

    def judge_ended(self) -> None:
        """What has ended since the last time."""
        for request in self.ending:
            if request.ended > 1:
                raise Violation(f"the future of {request} has ended {request.ended} times")
            request.judge(self, final=False)
        self.ending.clear()

    def judge_once(self, id: int, outcomes: Outcomes) -> None:
        """No request of a node was to end twice. Its future does not show it: the first end counts."""
        if outcomes.ended_again:
            raise Violation(f"{outcomes.ended_again} requests of node {id} were to end twice")

    def at_end(self, machines: dict[int, Given], lives: dict[int, int]) -> None:
        """Everybody is alive and has applied everything: what was said and done must agree. ``lives``: present ones."""
        datas = [data for _, data in self.commands]
        if len(set(datas)) != len(datas):
            twice = next(data for data in datas if datas.count(data) > 1)
            raise Violation(f"{twice!r} was proposed once and is applied {datas.count(twice)} times")
        for id, given in machines.items():
            self.judge_given(id, given, len(self.applied))
        for request in self.requests:
            if request.ended == 0 and lives.get(request.member) == request.life:
                raise Violation(f"the future of {request} on node {request.member} has not ended")
            if request.ended:
                request.judge(self, final=True)


def _index_of(command: tuple[int, bytes]) -> int:
    return command[0]
