"""What a leader does about a disk that does not finish a write: it lets another lead, if another's disk is better.

It is when a majority has made durable, without this member, what this one has not. When all disks stand still together
there is nobody to hand over to: an election would only add to it. The engine's, on its thread, without the GIL.
"""

from __future__ import annotations

from ..consensus.driver import Driver
from ..consensus.raft import Raft
from ..types import LEADER, MSG_TRANSFER_LEADER
from . import elections
from .peers import PeerTable


class Stall:
    """Of one engine, whose parts it uses."""

    def __init__(self, core: Raft, driver: Driver, peers: PeerTable) -> None:
        self.core = core
        self.driver = driver
        self.peers = peers
        #: ticks in which others went on, or had nothing more to write, while this disk has not finished a write
        self.ticks = 0
        #: what was committed at the last tick
        self.committed = 0

    def finished(self) -> None:
        """The disk has finished a write."""
        self.ticks = 0

    def is_alone(self) -> bool:
        """Whether others make durable what this member's disk does not."""
        return self.core.committed > self.core.stable

    def tick(self) -> int:
        """Hand leadership over after an election timeout, and give it up when that had no effect in another one."""
        if self.driver.number == self.driver.durable or not self.is_alone():
            self.ticks = 0
            self.committed = self.core.committed
            return 0
        went_on = self.core.committed > self.committed or self.core.committed == self.core.log.last
        self.committed = self.core.committed
        if not went_on:
            # They were ahead, and stand still, too: nobody's disk is better now.
            return 0
        self.ticks += 1
        if self.ticks <= self.core.election_timeout or self.core.role != LEADER:
            return 0
        if self.ticks > 2 * self.core.election_timeout:
            self.core.become_follower(self.core.term, 0)
            return 0
        to = elections.most_complete(self.core, self.peers)
        if to == 0 or self.core.transferee != 0:
            return 0
        self.core.scratch.reset(MSG_TRANSFER_LEADER)
        self.core.scratch.sender = self.core.id
        self.core.scratch.hint = to
        return self.core.step(self.core.scratch)
