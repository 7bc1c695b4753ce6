"""What raftx costs, one case at a time, for core_compare.py: by compiled loops and, from Python, by RawNode.

A line of JSON on stdin is a case, a line of JSON on stdout what it took. The programs around the other libraries
(interop/raft-rs/src/bin/bench.rs, interop/etcd-raft/bench) do the same and differ only in the library they drive.
A result that is not what it must be raises.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import raftx
from raftx import Entry, Message
from raftx.consensus.rawnode import RawNode
from raftx.testing import drive
from raftx.types import (
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_VOTE_RESP,
    NO_LIMIT,
    ConfState,
    Snapshot,
)

#: Operations between two readings of the clock, as in the loops.
GROUP = 256

Answer = dict[str, Any]
Chunk = Callable[[], tuple[int, float]]


class Wrong(Exception):
    """A side has not done what it was asked for."""


def equal(what: str, got: int, want: int) -> None:
    """Raise Wrong unless both are the same."""
    if got != want:
        raise Wrong(f"{what} is {got}, not {want}")


def measure(asked: dict[str, Any], chunk: Chunk) -> Answer:
    """Run ``chunk``, which does some operations and says how many and how long they took, for a while.

    Before that for a quarter of the time, and for at least ``warm`` operations: logs are as long as they become then.
    """
    seconds = asked["seconds"]
    count, spent = 0, 0.0
    while spent < seconds / 4 or count < asked.get("warm", 0):
        done, took = chunk()
        count += done
        spent += took
    count, spent = 0, 0.0
    while spent < seconds:
        done, took = chunk()
        count += done
        spent += took
    return {"ns": spent * 1e9 / count, "count": count, "seconds": spent, "work": {}}


# --- the loops ---------------------------------------------------------------------------------------


def run_loop(case: drive.Case, asked: dict[str, Any]) -> Answer:
    """Measure one of drive's cases; rounds are added until a call of the loop is long."""

    def chunk() -> tuple[int, float]:
        count, spent = case.count, case.spent
        case.run()
        took = (case.spent - spent) / 1e9
        done = case.count - count
        if took < asked["seconds"] / 16:
            case.rounds *= 2
        return done, took

    return measure(asked, chunk)


def _replicated(asked: dict[str, Any], case: Any) -> Answer:
    base = [member.applied for member in case.members()]
    answer = run_loop(case, asked)
    for member, begin in zip(case.members(), base, strict=True):
        equal("applied", member.applied, begin + case.count)
        equal("commit", member.core.committed, begin + case.count)
        equal("bytes", member.bytes, case.count * asked["size"])
    if case.sent:
        answer["work"]["messages"] = case.sent * asked["batch"] / case.count
    return answer


def _appended(asked: dict[str, Any]) -> Answer:
    case = drive.Appends(1, asked["size"], asked["batch"], asked["keep"])
    answer = run_loop(case, asked)
    (two,) = case.members()
    last = 1 + case.count * asked["batch"]
    equal("last", two.core.log.last, last)
    # The last append of a group says that all before it is committed.
    equal("commit", two.core.committed, last - asked["batch"])
    equal("applied", two.applied, last - asked["batch"])
    answer["work"]["messages"] = case.sent / case.count
    return answer


def _acknowledged(asked: dict[str, Any]) -> Answer:
    case = drive.Acknowledgements(1, asked["size"], asked["voters"], asked["keep"])
    answer = run_loop(case, asked)
    (one,) = case.members()
    equal("commit", one.core.committed, 1 + case.count)
    answer["work"]["messages"] = case.sent / case.count
    return answer


def _answered(asked: dict[str, Any], ready: bool) -> Answer:
    case = drive.Heartbeats(1, ready)
    answer = run_loop(case, asked)
    answer["work"]["messages"] = case.sent / case.count
    return answer


def _campaigned(asked: dict[str, Any]) -> Answer:
    case = drive.Campaigns(1, asked["voters"])
    answer = run_loop(case, asked)
    answer["work"]["messages"] = case.sent / case.count
    return answer


def _committed(asked: dict[str, Any]) -> Answer:
    case = drive.Commits(1, asked["voters"])
    answer = run_loop(case, asked)
    answer["work"]["index"] = case.sum // case.count
    equal("sum", case.sum, case.count * answer["work"]["index"])
    return answer


def _voted(asked: dict[str, Any]) -> Answer:
    case = drive.Votes(1, asked["voters"])
    answer = run_loop(case, asked)
    equal("won", case.won, case.count)
    return answer


LOOP: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "one": lambda asked: _replicated(asked, drive.Alone(1, asked["size"], asked["batch"], asked["keep"])),
    "three": lambda asked: _replicated(asked, drive.Trio(1, asked["size"], asked["batch"], asked["keep"])),
    "append": _appended,
    "ack": _acknowledged,
    "heartbeat": lambda asked: _answered(asked, False),
    "ready": lambda asked: _answered(asked, True),
    "campaign": _campaigned,
    "commit": _committed,
    "vote": _voted,
}


# --- RawNode, from Python ------------------------------------------------------------------------------


class Member:
    """One member as a Python program drives it, with a state machine that counts."""

    def __init__(self, id: int, voters: int, keep: int) -> None:
        config = raftx.Config(
            id=id,
            seed=1,
            pre_vote=False,
            check_quorum=False,
            max_inflight_messages=drive.WINDOW,
            max_inflight_bytes=NO_LIMIT,
            max_uncommitted_bytes=NO_LIMIT,
            max_apply_bytes=NO_LIMIT,
        )
        self.conf = ConfState(voters=tuple(range(1, voters + 1)))
        self.node = RawNode(config, conf_state=self.conf)
        self.id = id
        self.keep = keep
        self.first = 1
        self.hard: Any = None
        self.applied = self.bytes = self.written = 0

    def work(self) -> list[Message]:
        """One Ready: write, apply, advance. What is to be sent is returned."""
        ready = self.node.ready()
        if ready.hard_state is not None:
            self.hard = ready.hard_state
        self.written += len(ready.entries)
        for entry in ready.committed_entries:
            if entry.index != self.applied + 1:
                raise Wrong("an entry is missing")
            self.applied = entry.index
            self.bytes += len(entry.data)
        self.node.advance()
        if self.first + self.keep * 2 < self.applied:
            index = self.applied - self.keep
            term = self.node.core.log.py_term(index)
            self.node.set_snapshot(Snapshot(index, term, self.conf, b""))
            self.node.compact(index)
            self.first = index + 1
        return ready.messages

    def drain(self) -> int:
        """Work until nothing is left; what is to be sent is dropped. Returns how many messages that were."""
        sent = 0
        while self.node.has_ready():
            sent += len(self.work())
        return sent

    def message(self, kind: int, sender: int, index: int = 0) -> Message:
        """A message of the present term without entries."""
        return Message(kind, to=self.id, sender=sender, term=self.node.core.term, index=index)

    def lead(self, voters: int) -> None:
        """Be elected by all others, and have their acknowledgement."""
        self.node.campaign()
        self.drain()
        for id in range(2, voters + 1):
            self.node.step(self.message(MSG_VOTE_RESP, id))
            self.drain()
        for id in range(2, voters + 1):
            self.node.step(self.message(MSG_APP_RESP, id, self.node.core.log.last))
            self.drain()
        equal("role", self.node.core.role, LEADER)
        equal("commit", self.node.core.committed, 1)

    def follow(self) -> None:
        """Follow member 1 in term 1."""
        self.node.step(Message(MSG_HEARTBEAT, to=self.id, sender=1, term=1))
        self.drain()


def settle(members: list[Member]) -> int:
    """Let all members work and step what each has sent, until nothing is left; how many messages that were."""
    sent = 0
    idle = False
    while not idle:
        idle = True
        for member in members:
            if member.node.has_ready():
                idle = False
                out = member.work()
                sent += len(out)
                for message in out:
                    members[message.to - 1].node.step(message)
    return sent


def _replicate(asked: dict[str, Any], members: list[Member], settle: Callable[[], int]) -> Answer:
    leader = members[0]
    payload = b"Z" * asked["size"]
    batch = [payload] * asked["batch"]
    rounds = max(GROUP // asked["batch"], 1)
    before = leader.node.core.committed
    proposed = sent = 0
    for member in members:
        member.bytes = 0

    def chunk() -> tuple[int, float]:
        nonlocal proposed, sent
        started = time.perf_counter()
        for _ in range(rounds):
            leader.node.propose(*batch)
            sent += settle()
        took = time.perf_counter() - started
        proposed += rounds * asked["batch"]
        return rounds * asked["batch"], took

    answer = measure(asked, chunk)
    for member in members:
        equal("commit", member.node.core.committed, before + proposed)
        equal("applied", member.applied, before + proposed)
        equal("bytes", member.bytes, proposed * asked["size"])
    if sent:
        answer["work"]["messages"] = sent * asked["batch"] / proposed
    return answer


def one(asked: dict[str, Any]) -> Answer:
    """Propose to commit on one voter."""
    member = Member(1, 1, asked["keep"])
    member.lead(1)
    return _replicate(asked, [member], member.drain)


def three(asked: dict[str, Any]) -> Answer:
    """Propose to commit on three voters."""
    members = [Member(id, 3, asked["keep"]) for id in (1, 2, 3)]
    members[0].node.campaign()
    settle(members)
    equal("role", members[0].node.core.role, LEADER)
    return _replicate(asked, members, lambda: settle(members))


def append(asked: dict[str, Any]) -> Answer:
    """A follower steps appends."""
    member = Member(2, 3, asked["keep"])
    member.follow()
    batch, payload = asked["batch"], b"Z" * asked["size"]
    last = answers = 0

    def chunk() -> tuple[int, float]:
        nonlocal last, answers
        messages = []
        for _ in range(max(GROUP // batch, 16)):
            entries = [Entry(last + at + 1, 1, payload) for at in range(batch)]
            message = Message(MSG_APP, to=2, sender=1, term=1, log_term=min(last, 1), index=last, entries=entries)
            message.commit = last
            messages.append(message)
            last += batch
        started = time.perf_counter()
        for message in messages:
            member.node.step(message)
        took = time.perf_counter() - started
        equal("commit", member.node.core.committed, last - batch)
        answers += member.drain()
        equal("last", member.node.core.log.last, last)
        return len(messages), took

    answer = measure(asked, chunk)
    equal("answers", answers, last // batch)
    answer["work"]["messages"] = 1
    return answer


def ack(asked: dict[str, Any]) -> Answer:
    """A leader steps acknowledgements that commit."""
    member = Member(1, asked["voters"], asked["keep"])
    member.lead(asked["voters"])
    payload = b"Z" * asked["size"]
    sent = total = 0

    def chunk() -> tuple[int, float]:
        nonlocal sent, total
        begin = member.node.core.committed
        for _ in range(GROUP):
            member.node.propose(payload)
        member.drain()
        equal("commit", member.node.core.committed, begin)
        messages = [member.message(MSG_APP_RESP, 2, begin + 1 + at) for at in range(GROUP)]
        started = time.perf_counter()
        for message in messages:
            member.node.step(message)
        took = time.perf_counter() - started
        equal("commit", member.node.core.committed, begin + GROUP)
        sent += member.drain()
        total += GROUP
        for id in range(3, asked["voters"] + 1):
            member.node.step(member.message(MSG_APP_RESP, id, begin + GROUP))
        member.drain()
        return GROUP, took

    answer = measure(asked, chunk)
    answer["work"]["messages"] = sent / total
    return answer


def _heartbeats(asked: dict[str, Any], ready: bool) -> Answer:
    member = Member(2, 3, asked["keep"])
    member.follow()

    def chunk() -> tuple[int, float]:
        messages = [member.message(MSG_HEARTBEAT, 1) for _ in range(GROUP)]
        answers = 0
        started = time.perf_counter()
        for message in messages:
            member.node.step(message)
            if ready:
                answers += member.drain()
        took = time.perf_counter() - started
        equal("answers", answers + member.drain(), GROUP)
        return GROUP, took

    answer = measure(asked, chunk)
    answer["work"]["messages"] = 1
    return answer


def campaign(asked: dict[str, Any]) -> Answer:
    """A candidate campaigns again."""
    member = Member(1, asked["voters"], asked["keep"])

    def chunk() -> tuple[int, float]:
        term = member.node.core.term
        started = time.perf_counter()
        for _ in range(GROUP):
            member.node.campaign()
        took = time.perf_counter() - started
        equal("term", member.node.core.term, term + GROUP)
        equal("requests", member.drain(), GROUP * (asked["voters"] - 1))
        return GROUP, took

    answer = measure(asked, chunk)
    answer["work"]["messages"] = asked["voters"] - 1
    return answer


# A committed index and a vote's result are not to be had from Python but by way of everything else.
PYTHON: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "one": one,
    "three": three,
    "append": append,
    "ack": ack,
    "heartbeat": lambda asked: _heartbeats(asked, False),
    "ready": lambda asked: _heartbeats(asked, True),
    "campaign": campaign,
}

SIDES = {"loop": LOOP, "python": PYTHON}


def serve(side: str, compiled: bool) -> None:
    """Answer cases until stdin ends; raises Wrong when raftx is not compiled, or is, against what is asked for."""
    if compiled != raftx.COMPILED:
        raise Wrong(f"raftx is {'compiled' if raftx.COMPILED else 'interpreted'} here")
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(SIDES[side][asked["case"]](asked)), flush=True)
