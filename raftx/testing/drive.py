"""Compiled loops that drive the core as an engine does, for measurements: no threads, disk or network.

``drive`` is what one voter costs: propose, hand over the write, take its completion, commit, apply.
"""

from __future__ import annotations

from .._core import EntryLog, Message, Outbox
from .._memory import Buffer, Spans
from .._sys import Runner
from ..config import Config
from ..consensus import rawnode
from ..consensus.raft import Raft
from ..types import LEADER, MSG_HUP, MSG_PROP, ConfState, HardState

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
