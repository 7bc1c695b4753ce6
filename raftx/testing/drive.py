"""Compiled loops that drive the core as an engine does, for measurements: no threads, disk or network.

Drive is what one voter costs: propose, hand over the write, take its completion, commit, apply. Steps is
one message alone, Quorums the counting alone.
"""

from __future__ import annotations

from .._core import EntryLog, Message, Outbox
from .._memory import Buffer, Spans
from .._sys import Runner
from ..config import Config
from ..consensus import rawnode
from ..consensus.raft import Raft
from ..consensus.tracker import Tracker
from ..types import LEADER, MSG_APP_RESP, MSG_HEARTBEAT, MSG_HUP, MSG_PROP, ConfState, HardState

KEEP = 4096  # entries kept behind the applied index, so that memory does not grow with the run


class Drive(Runner):
    """One voter, ``batch`` entries a Ready, ``rounds`` times."""

    def __init__(self, batch: int, size: int, rounds: int) -> None:
        config = Config(id=1, seed=1, pre_vote=False)
        self.core = Raft(config, EntryLog(), HardState(), ConfState(voters=(1,)))
        self.out = Outbox()
        self.held = Outbox()
        self.scratch = Message()
        self.message = Message()
        self.spans = Spans()
        self.body = Buffer()
        for _ in range(batch):
            self.body.put_proposal(0, 1, 1, 1, bytes(size), size)
        self.batch = batch
        self.rounds = rounds
        self.number = 0
        self.core.step_local(MSG_HUP)
        while self.core.role != LEADER:
            self.round()
        self.round()

    def loop(self) -> int:
        done = 0
        while done < self.rounds:
            self.message.reset(MSG_PROP)
            self.message.sender = 1
            self.message.body_from(self.body, 0, self.body.size, self.batch)
            self.core.step(self.message)
            self.round()
            done += 1
        return 0

    def round(self) -> int:
        """What an engine does between two inputs, with a disk and a state machine that are done at once."""
        self.number += 1
        rawnode.collect(self.core, self.out, self.held, self.number)
        rawnode.hold_storage_response(self.core, self.held, self.number)
        self.core.log.spans(self.core.writing + 1, self.core.log.last, self.spans)
        self.core.accept_writing()
        self.spans.clear()
        rawnode.release(self.core, self.held, self.number, self.out, self.scratch)
        self.out.clear()
        high = self.core.applicable(False)
        if high > self.core.applying:
            self.core.log.spans(self.core.applying + 1, high, self.spans)
            self.core.accept_applying(high)
            self.spans.clear()
            self.core.applied_to(high)
            if self.core.log.first + KEEP * 2 < high:
                self.core.log.compact(high - KEEP)
        return 0

    def committed(self) -> int:
        """How far it came."""
        return self.core.committed


class Steps(Runner):
    """One message stepped ``rounds`` times: a follower's heartbeat, or (``leading``) a leader's acknowledgement."""

    def __init__(self, voters: int, rounds: int, leading: bool) -> None:
        config = Config(id=1, seed=1, pre_vote=False, check_quorum=False)
        conf = ConfState(voters=tuple(range(1, voters + 1)))
        self.core = Raft(config, EntryLog(), HardState(1, 0, 0), conf)
        self.message = Message()
        self.leading = leading
        self.rounds = rounds
        if leading:
            # Its own log is all that a leader needs to count: the others acknowledge what they have.
            self.core.step_local(MSG_HUP)
            self.core.become_leader()
            self.core.messages.clear()
            self.core.after_append.clear()

    def loop(self) -> int:
        done = 0
        while done < self.rounds:
            self.message.reset(MSG_APP_RESP if self.leading else MSG_HEARTBEAT)
            self.message.sender = 2
            self.message.to = 1
            self.message.term = self.core.term
            self.message.index = self.core.log.last if self.leading else 0
            self.core.step(self.message)
            self.core.messages.clear()
            self.core.after_append.clear()
            done += 1
        return 0


class Quorums(Runner):
    """The committed index and the result of a vote of ``voters`` members, counted ``rounds`` times."""

    def __init__(self, voters: int, rounds: int) -> None:
        self.tracker = Tracker(ConfState(voters=tuple(range(1, voters + 1))), 1, 0)
        for slot in range(voters):
            self.tracker.peers.set_match(slot, 1000 + 7 * (slot * 5 % voters))
        self.rounds = rounds
        self.sum = 0

    def loop(self) -> int:
        done = 0
        while done < self.rounds:
            self.tracker.reset_votes()
            self.tracker.record_vote(done % 3, True)
            self.sum += self.tracker.committed() + self.tracker.tally()
            done += 1
        return 0
