"""Sessions under schedules: what their entries come to, by rules of its own, and whether users were told the truth.

The model reads the log as it is applied and says of each entry of a session whether its command counts. It has none of
the code that nodes have for this: it knows the header, and the rule that is in the documents.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..._native.layout import ENVELOPE
from ...errors import NotDone
from ...types import ENTRY_SESSION
from ..invariants import Violation
from .requests import Request

if TYPE_CHECKING:
    from ..._native.memory import Entry
    from .checker import NodeChecker

HEADER = 48  # id 16, opening 8, sequence 8, acknowledged 8, what it is 1, zeros
NAMES = ("one", "two", None)
TTLS = (0.2, 1.0, 3600.0, 3600.0)
TIMEOUTS = (0.1, 0.5, 3.0, 10.0)


@dataclass
class Seen:
    """A session, as the log has it."""

    opening: int
    token: bytes
    ttl: int
    used: int
    last: int = 0
    floor: int = 1


class Model:
    """All sessions."""

    def __init__(self) -> None:
        self.seen: dict[bytes, Seen] = {}
        self.time = 0
        #: by entry that opened one: the last sequence before
        self.openings: dict[int, int] = {}
        #: how many commands were applied, and how many entries came to nothing
        self.applied = self.refused = self.expired = 0

    def command_of(self, entry: Entry) -> bytes | None:
        """The command that state machines are given of an entry, the next one; None: none."""
        self.time = max(self.time, entry.time)
        if entry.kind != ENTRY_SESSION:
            return entry.data[ENVELOPE:] if not entry.kind and entry.data else None
        data = entry.data[ENVELOPE:]
        id, rest = data[:16], data[16:HEADER]
        opening, sequence, acknowledged = [int.from_bytes(rest[at : at + 8], "little") for at in (0, 8, 16)]
        for key, each in list(self.seen.items()):
            if each.used == 0 and each.ttl < self.time:
                each.used = self.time
            if each.used + each.ttl < self.time:
                del self.seen[key]
                self.expired += 1
        if rest[24] == 1:
            self._open(entry.index, id, opening, data[HEADER:])
            return None
        session = self.seen.get(id)
        if rest[24] == 2:
            if session is not None and session.opening == opening:
                del self.seen[id]
            return None
        if session is not None and session.opening == opening:
            session.used = self.time
            session.floor = max(session.floor, acknowledged)
            session.last = max(session.last, session.floor - 1)
            if sequence == session.last + 1:
                session.last = sequence
                self.applied += 1
                return data[HEADER:]
        self.refused += 1
        return None

    def _open(self, index: int, id: bytes, expected: int, data: bytes) -> None:
        token, ttl = data[:16], int.from_bytes(data[16:24], "little") * 1_000_000
        session = self.seen.get(id)
        if session is None and expected == 0:
            self.seen[id] = Seen(index, token, ttl, self.time)
            self.openings[index] = 0
        elif session is not None and session.token == token:
            session.used = self.time
        elif session is not None and session.opening == expected:
            session.opening, session.token, session.ttl, session.used = index, token, ttl, self.time
            session.floor = session.last + 1
            self.openings[index] = session.last


@dataclass
class Opening(Request):
    """Somebody opens a session."""

    session: Any = None

    def __str__(self) -> str:
        return f"the opening of {self.session!r} on node {self.member}"

    def judge(self, checker: NodeChecker, final: bool) -> None:
        for outcome in self.outcomes():
            if isinstance(outcome, BaseException):
                continue
            known = checker.model.openings.get(self.session._opening)
            if known != outcome:
                raise Violation(f"{self} tells {outcome} as the last sequence, it was {known}")


@dataclass
class SessionProposal(Request):
    """A proposal of a session."""

    data: bytes = b""

    def __str__(self) -> str:
        return f"{self.data!r}, of a session on node {self.member}"

    def judge(self, checker: NodeChecker, final: bool) -> None:
        for outcome in self.outcomes():
            if isinstance(outcome, NotDone):
                if final and any(each == self.data for _, each in checker.commands):
                    raise Violation(f"{self} was reported as not done ({outcome}), and is applied")
            elif isinstance(outcome, BaseException):
                self.judge_unknown(outcome)
            else:
                self._judge_done(checker, outcome)

    def _judge_done(self, checker: NodeChecker, outcome: Any) -> None:
        at = outcome.index
        checker.told = max(checker.told, at)
        if at >= len(checker.applied) or checker.applied[at][0] != outcome.term:
            raise Violation(f"{self} was reported as done at {at} of term {outcome.term}, which nobody has applied")
        if (at, self.data) not in checker.commands[-2000:]:
            raise Violation(f"{self} was reported as done at {at}, where something else was applied")
        if checker.results.get(at, outcome.result) != outcome.result:
            raise Violation(
                f"{self} was reported as done with {outcome.result!r}, the state machine returned "
                f"{checker.results[at]!r}"
            )


class Users:
    """Those who use sessions of simulated nodes. What they do is drawn apart from all else."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"sessions {seed}")
        #: by node: the sessions that it has open, by name
        self.of: dict[Any, dict[Any, Any]] = {}
        self.often = self.rng.choice((0.0, 0.2, 0.6))

    def act(self, world: Any) -> None:
        """Perhaps somebody proposes something through a session of a member that runs, or opens one."""
        rng, alive = self.rng, world.alive()
        if not alive or rng.random() >= self.often:
            return
        id = rng.choice(alive)
        node = world.members[id].life.node
        if node.failure is not None:
            return
        self.of = {each: sessions for each, sessions in self.of.items() if each.failure is None}
        sessions = self.of.setdefault(node, {})
        name = rng.choice(NAMES)
        if name not in sessions or rng.random() < 0.05:
            # Whether one that was dropped is renewed once more is the garbage collector's choice, and no schedule's.
            sessions[name] = session = node.session(name, ttl=rng.choice(TTLS), keep_alive=False)
            timeout = rng.choice(TIMEOUTS)
            world.asked(
                id, opening := Opening(session.open(timeout=timeout), id, world.members[id].lives, session=session)
            )
            opening.timeout_ns = int(timeout * 1e9)
            world.totals["sessions"] += 1
        for _ in range(rng.choice((1, 1, 3))):
            world.proposals += 1
            data = world.application.new_command(rng, f"{world.proposals}.{id}".encode(), rng.choice((10, 100)))
            timeout = rng.choice(TIMEOUTS)
            future = sessions[name].propose(data, timeout=timeout)
            request = SessionProposal(future, id, world.members[id].lives, data=data)
            world.asked(id, request)
            request.timeout_ns = int(timeout * 1e9)
            world.totals["proposals of sessions"] += 1
        if rng.random() < 0.02:
            sessions.pop(name).close()
