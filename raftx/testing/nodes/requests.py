"""Requests that users make of simulated nodes, and whether what they were told is true.

A request ends once. *Done* means that it was applied there, with that result, or that this member led; *not done*, that
it was not and will not be; *unknown* may mean either, but not before its time. A read that is done has seen everything
that was acknowledged, or read, before it was asked for. Looks at what a checker knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..._native.layout import ENVELOPE, RECORD_INCARNATION, RECORD_ORIGIN
from ...errors import NotDone, Unknown
from ...node.futures import Done
from ...node.members import Membership
from ...node.outcomes import OVERDUE, STOPPING
from ...node.rows import REFUSALS
from ...types import LEADER, StateChange
from ..invariants import Violation
from .machines import NO_RESULT, Given

if TYPE_CHECKING:
    from .checker import NodeChecker

# Why a request for a leader is not done: refused by the engine, or never told to it, or somebody else leads.
REASONS = re.compile("|".join([re.escape(reason) for reason in REFUSALS[1:]] + [r"too many \w+ wait\b.*"]))
INSTEAD = re.compile(r"member (\d+) leads instead, in term (\d+)")


@dataclass
class Request:
    """A request as the user sees it who made it."""

    future: Any
    #: which life of which member
    member: int
    life: int
    #: the clock of the node, when it was asked, and the time that the node may take
    clock: Any = None
    asked_at: int = 0
    timeout_ns: int = 0
    #: how often the future has ended, and when by that clock
    ended: int = 0
    ended_at: int = 0

    def watch(self, ending: list[Any]) -> None:
        """Notice the end of the future, and add the request to ``ending`` then."""

        def ended(_: Any) -> None:
            self.ended += 1
            if self.clock is not None:
                self.ended_at = self.clock.py_now()
            ending.append(self)

        if self.clock is not None:
            self.asked_at = self.clock.py_now()
        self.future.add_done_callback(ended)

    def outcomes(self) -> list[Any]:
        """What the future has ended with: results or exceptions."""
        error = self.future.exception(timeout=0)
        if error is None:
            result = self.future.result(timeout=0)
            return result if isinstance(result, list) else [result]
        outcomes = getattr(error, "outcomes", None)
        return list(outcomes) if outcomes else [error]

    def judge(self, checker: NodeChecker, final: bool) -> None:
        """What the outcome says, against what has happened so far, or for good."""
        raise NotImplementedError

    def judge_unknown(self, outcome: Any) -> None:
        """An outcome that is neither done nor not done."""
        if not isinstance(outcome, Unknown):
            raise Violation(f"the future of {self} ended with {outcome!r}")
        if str(outcome) == OVERDUE and self.ended_at < self.asked_at + self.timeout_ns:
            raise Violation(f"{self} is overdue after {self.ended_at - self.asked_at} ns, and had {self.timeout_ns} ns")


@dataclass
class Proposal(Request):
    """A proposal, or several behind one future."""

    datas: tuple[bytes, ...] = ()
    #: what the state machine of that life was given
    given: Given | None = None

    def __str__(self) -> str:
        return f"{list(self.datas)} on node {self.member}"

    def outcomes(self) -> list[Any]:
        outcomes = super().outcomes()
        return outcomes * len(self.datas) if len(outcomes) == 1 else outcomes

    def judge(self, checker: NodeChecker, final: bool) -> None:
        for data, outcome in zip(self.datas, self.outcomes(), strict=True):
            if outcome is None:
                raise Violation(f"the future of {self} has ended without an outcome of {data!r}")
            if isinstance(outcome, NotDone):
                if final and any(each == data for _, each in checker.commands):
                    raise Violation(f"{data!r} was reported as not done ({outcome}), and is applied")
            elif isinstance(outcome, BaseException):
                self.judge_unknown(outcome)
            else:
                self._judge_done(checker, data, outcome)

    def _judge_done(self, checker: NodeChecker, data: bytes, outcome: Any) -> None:
        at = outcome.index
        checker.told = max(checker.told, at)
        if (
            at >= len(checker.applied)
            or checker.applied[at][1][ENVELOPE:] != data
            or checker.applied[at][0] != outcome.term
        ):
            raise Violation(f"{data!r} was reported as done at {at}, where something else was applied")
        if self.given is not None and self.given.results.get(at, NO_RESULT) != outcome.result:
            raise Violation(
                f"{data!r} was reported as done with {outcome.result!r}, the state machine returned "
                f"{self.given.results.get(at, NO_RESULT)!r}"
            )


def is_barrier(data: bytes) -> bool:
    """Whether an entry with these data, and an envelope, is a barrier."""
    return len(data) >= ENVELOPE and data[RECORD_INCARNATION - RECORD_ORIGIN - 1] >> 7 != 0


@dataclass
class Barrier(Request):
    """An entry without a command, behind everything that was committed before."""

    #: the last entry that anybody was told of before
    floor: int = 0

    def __str__(self) -> str:
        return f"a barrier behind entry {self.floor} on node {self.member}"

    def judge(self, checker: NodeChecker, final: bool) -> None:
        for outcome in self.outcomes():
            if isinstance(outcome, Done):
                at = outcome.index
                if at <= self.floor or outcome.result is not None or not is_barrier(checker.applied[at][1]):
                    raise Violation(f"{self} was reported as done with {outcome}")
                checker.told = max(checker.told, at)
            elif not isinstance(outcome, NotDone):
                self.judge_unknown(outcome)


@dataclass
class Read(Request):
    """A read, or a query that looks how far the state machine is."""

    #: the last entry that anybody was told of before; of a stale read, longer ago than its bound
    floor: int = 0
    level: str = "linearizable"
    #: what comes of it is the last command in the state machine, not the last entry
    looks: bool = False

    def __str__(self) -> str:
        return f"a {self.level} read of what was acknowledged up to entry {self.floor} on node {self.member}"

    def judge(self, checker: NodeChecker, final: bool) -> None:
        for outcome in self.outcomes():
            if isinstance(outcome, NotDone):
                if str(outcome) == OVERDUE and self.ended_at < self.asked_at + self.timeout_ns:
                    raise Violation(f"{self} is overdue too early")
            elif isinstance(outcome, int):
                floor = checker.last_command(self.floor) if self.looks else self.floor
                if outcome < floor:
                    raise Violation(f"{self} saw entry {outcome} as the last one")
                checker.told = max(checker.told, outcome)
            else:
                raise Violation(f"the future of {self} ended with {outcome!r}")


@dataclass
class Leadership(Request):
    """A campaign, a transfer of leadership, or the end of one."""

    what: str = "campaign"
    #: who is to lead; 0: the leader chooses
    to: int = 0
    #: the term that the node was in
    term: int = 0

    def __str__(self) -> str:
        return f"a {self.what} of node {self.member} for {self.to} in term {self.term}"

    def judge(self, checker: NodeChecker, final: bool) -> None:
        for outcome in self.outcomes():
            if isinstance(outcome, StateChange):
                self._judge_done(checker, outcome)
            elif isinstance(outcome, NotDone):
                self._judge_not_done(checker, str(outcome))
            else:
                self.judge_unknown(outcome)

    def _judge_done(self, checker: NodeChecker, change: StateChange) -> None:
        if self.what == "step-down":
            if change.leader or change.role == LEADER:
                raise Violation(f"{self} is reported as done, with {change}")
            return
        if not change.leader or change.leader != (self.to or change.leader) or change.term < self.term:
            raise Violation(f"{self} is reported as done, with {change}")
        if (change.role == LEADER) != (change.leader == self.member):
            raise Violation(f"{self} is reported as done, and node {self.member} is {change.role!r} in {change}")
        checker.led(change.leader, change.term, str(self))

    def _judge_not_done(self, checker: NodeChecker, reason: str) -> None:
        reason = reason.removeprefix(f"{STOPPING}: ")
        instead = INSTEAD.fullmatch(reason)
        if instead is None:
            if not REASONS.fullmatch(reason):
                raise Violation(f"{self} was not done, and nobody knows this reason: {reason}")
            return
        leader, term = int(instead[1]), int(instead[2])
        if leader == self.to or term < self.term or (self.what == "transfer" and term == self.term):
            raise Violation(f"{self} was not done because {reason}")
        checker.led(leader, term, str(self))


@dataclass
class Change(Request):
    """A change of membership."""

    what: str = "change"

    def __str__(self) -> str:
        return f"a change of membership ({self.what}) asked of node {self.member}"

    def judge(self, checker: NodeChecker, final: bool) -> None:
        for outcome in self.outcomes():
            if isinstance(outcome, Membership):
                known = checker.memberships.get(outcome.index)
                if outcome.index and known is None and outcome.index >= len(checker.applied):
                    raise Violation(f"{self} is done with entry {outcome.index}, which nobody has applied")
                if known is not None and known.conf_state != outcome.conf_state:
                    raise Violation(f"{self} is done with {outcome}, and entry {outcome.index} has led to {known}")
            elif not isinstance(outcome, (NotDone, Unknown)):
                raise Violation(f"the future of {self} ended with {outcome!r}")
