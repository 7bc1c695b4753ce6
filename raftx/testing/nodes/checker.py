"""What must hold of simulated nodes after every round, and at the end of a schedule. Reads nodes, changes nothing.

The invariants of the algorithm are those of ``invariants.Checker``. Here they are fed with what a round has changed,
and what users are promised is added: every future ends once, *done* means applied everywhere at that index,
*not done* means applied nowhere, and no proposal is applied twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..._native.layout import ENVELOPE
from ...errors import NotDone, Unknown
from ...types import FLAG_REJECT, MSG_VOTE_RESP, HardState
from ..invariants import Beginning, Checker, Violation

if TYPE_CHECKING:
    from ..._native.memory import Entry


@dataclass
class Request:
    """A proposal, or several behind one future, as its proposer sees it."""

    datas: list[bytes]
    future: Any
    #: which life of which member
    member: int
    life: int
    #: how often the future has ended
    ended: int = 0


@dataclass
class Machine:
    """The state machine of one life: what it was given. ``items`` are (index, data)."""

    items: list[tuple[int, bytes]] = field(default_factory=list)
    #: raise at this index: a user's code fails
    fails_at: int = 0

    def apply(self, entry: Entry) -> int:
        """Take an entry; the result is how many there have been."""
        if self.items and entry.index <= self.items[-1][0]:
            raise Violation(f"entry {entry.index} is applied after entry {self.items[-1][0]}")
        if entry.index == self.fails_at:
            raise RuntimeError("the application fails")
        self.items.append((entry.index, entry.data))
        return len(self.items)


class NodeChecker(Checker):
    """Everything that was seen of a cluster of nodes, over all their lives."""

    def __init__(self) -> None:
        super().__init__()
        #: per member, the terms of its log from index 1 on, as after its last round
        self.terms: dict[int, list[int]] = {}
        self.requests: list[Request] = []
        #: requests that have ended since they were last judged
        self.ending: list[Request] = []
        #: (index, data) of the entries that state machines are given, in order
        self.commands: list[tuple[int, bytes]] = []
        #: per member, what its disk held for sure when it crashed: the terms of its log up to there
        self.promised: dict[int, list[int]] = {}

    # --- rounds --------------------------------------------------------------------------------------

    def begins(self, id: int, engine: Any) -> None:
        """A node has opened its storage and runs."""
        core = engine.core
        entries = core.log.entries(1, core.log.last) if core.log.last else []
        terms = self.terms[id] = [0, *[entry.term for entry in entries]]
        promised = self.promised.pop(id, [])
        if terms[: len(promised)] != promised and not core.in_doubt:
            raise Violation(f"node {id} comes back without what was durable: {len(promised) - 1} entries")
        if core.in_doubt:
            # Something may be missing, and it knows: it does not vote, and acknowledges nothing from before.
            self.durable.pop(id, None)
        self.kept(id, HardState(core.term, core.vote, core.committed))
        self.began(id, Beginning(0, 0, entries, core.committed, 0))

    def crashes(self, id: int, engine: Any) -> None:
        """A node is gone, and what it knew to be durable is to come back."""
        self.promised[id] = self.terms[id][: engine.core.stable + 1]

    def after_round(self, id: int, engine: Any) -> None:
        """The engine of a node has had a round."""
        core = engine.core
        log, terms = core.log, self.terms[id]
        last = log.last
        if last + 1 != len(terms) or log.py_term(last) != terms[-1]:
            # Entries with the same index and term are the same: what differs lies at the end.
            same = min(last, len(terms) - 1)
            while log.py_term(same) != terms[same]:
                same -= 1
            del terms[same + 1 :]
            entries = log.entries(same + 1, last) if last > same else []
            terms += [entry.term for entry in entries]
            if same < len(self.chains[id]) - 1 and not entries:
                raise Violation(f"the log of node {id} ends at {last}, it went on to {len(self.chains[id]) - 1}")
            self.appended(id, entries)
        self.stepped(id, engine)

    def after_apply(self, id: int, engine: Any, applied: int) -> None:
        """The apply thread of a node has had a round."""
        done = self.applied_to[id]
        if applied <= done:
            return
        if applied > engine.core.committed:
            raise Violation(f"node {id} has applied {applied}, and knows {engine.core.committed} to be committed")
        known = len(self.applied)
        entries = engine.core.log.entries(done + 1, applied)
        self.apply(id, entries)
        self.commands += [
            (entry.index, entry.data[ENVELOPE:])
            for entry in entries
            if entry.index >= known and not entry.kind and entry.data
        ]

    def sends(self, sender: int, messages: list[Any]) -> None:
        """Messages leave a member: a vote is given once a term."""
        for m in messages:
            if m.kind == MSG_VOTE_RESP and not m.flags & FLAG_REJECT:
                self.voted(sender, m.term, m.to)

    # --- requests ------------------------------------------------------------------------------------

    def proposed(self, request: Request) -> None:
        """A proposal was taken; its future is watched."""

        def ended(_: Any) -> None:
            request.ended += 1
            self.ending.append(request)

        self.requests.append(request)
        request.future.add_done_callback(ended)

    def judge_ended(self) -> None:
        """What has ended since the last time."""
        for request in self.ending:
            if request.ended > 1:
                raise Violation(f"the future of {request.datas} has ended {request.ended} times")
            self._judge(request, final=False)
        self.ending.clear()

    def _judge(self, request: Request, final: bool) -> None:
        """What an outcome says, against what has been applied so far, or for good."""
        for data, outcome in zip(request.datas, outcomes_of(request), strict=True):
            if isinstance(outcome, NotDone):
                if final and any(each == data for _, each in self.commands):
                    raise Violation(f"{data!r} was reported as not done ({outcome}), and is applied")
            elif not isinstance(outcome, BaseException):
                at = outcome.index
                if (
                    at >= len(self.applied)
                    or self.applied[at][1][ENVELOPE:] != data
                    or self.applied[at][0] != outcome.term
                ):
                    raise Violation(f"{data!r} was reported as done at {at}, where something else was applied")
            elif not isinstance(outcome, Unknown):
                raise Violation(f"the future of {data!r} ended with {outcome!r}")

    def at_end(self, machines: dict[int, Machine], lives: dict[int, int]) -> None:
        """Everybody is alive and has applied everything: what was said and done must agree. ``lives``: present ones."""
        datas = [data for _, data in self.commands]
        if len(set(datas)) != len(datas):
            twice = next(data for data in datas if datas.count(data) > 1)
            raise Violation(f"{twice!r} was proposed once and is applied {datas.count(twice)} times")
        for id, machine in machines.items():
            if machine.items != self.commands:
                raise Violation(f"state machine safety: that of node {id} was given something else than the log has")
        for request in self.requests:
            if request.ended == 0 and lives.get(request.member) == request.life:
                raise Violation(f"the future of {request.datas} on node {request.member} has not ended")
            if request.ended:
                self._judge(request, final=True)


def outcomes_of(request: Request) -> list[Any]:
    """A Done or an exception for each proposal of a request whose future has ended."""
    error = request.future.exception(timeout=0)
    if error is None:
        result = request.future.result(timeout=0)
        return result if isinstance(result, list) else [result]
    outcomes = getattr(error, "outcomes", None)
    return list(outcomes) if outcomes else [error] * len(request.datas)
