"""A member in doubt: its storage may have lost the end of what it had promised, and cannot tell.

What such a member says of its log, and whom it votes for, could contradict what it said before. So it begins as a mere
listener, and what it promised once must not count where it could matter:

1. For two election timeouts it listens only. By then every candidacy that an earlier vote of its own could still
   support has ended.
2. It tells its leader that it is in doubt. The leader forgets what this member had acknowledged, and has its leadership
   confirmed *without* this member: by as many of the others as make a majority, or by all of them. So there is no
   later leader that was elected with a forgotten vote. Then it answers where its log ended when it was asked.
3. From then on the member takes entries and acknowledges them as a new one would. Still it neither votes nor
   confirms reads nor campaigns.
4. Once it holds durably what the answer named, nothing is missing that it may have promised. The doubt ends; if it has
   voted in this term, then for its leader.

A leader that changes meanwhile is asked anew. The only voter of a group stays in doubt: no other member knows what it
promised. What members do about it stands in follower.py and leader.py; here is what a leader keeps of the others.
"""

from __future__ import annotations

from array import array

from .. import _core
from ..types import MEMBERS_MAX
from .reads import PendingReads
from .tracker import Tracker


class Doubts:
    """The members in doubt, by slot, as the leader of one term and one configuration sees them."""

    def __init__(self) -> None:
        #: what tells one life of a member in doubt from another; drawn by that member, 0: it is not in doubt
        self.nonce = array("Q", [0] * MEMBERS_MAX)
        #: place among the reads of this leadership: a member that acknowledges it confirms the leader since then
        self.position = array("Q", [0] * MEMBERS_MAX)
        #: where the leader's log ended when it was asked
        self.floor = array("Q", [0] * MEMBERS_MAX)
        #: how many of them wait for an answer
        self.waiting = 0
        #: whether there is anything in the columns
        self.known = False

    def reset(self) -> None:
        """Another leadership or configuration: a member in doubt asks again."""
        for slot in range(MEMBERS_MAX):
            self.nonce[slot] = 0
            self.position[slot] = 0
        self.waiting = 0
        self.known = False

    def begin(self, slot: int, nonce: int, position: int, floor: int) -> None:
        """A member has said that it is in doubt, for the first time in this life of its own."""
        if self.position[slot] == 0:
            self.waiting += 1
        self.nonce[slot] = nonce
        self.position[slot] = position
        self.floor[slot] = floor
        self.known = True

    def answer(self, slot: int) -> None:
        """The member in a slot has its answer."""
        if self.position[slot] != 0:
            self.waiting -= 1
        self.position[slot] = 0

    def confirmed(self, slot: int, reads: PendingReads, tracker: Tracker) -> bool:
        """Whether the leader has been confirmed since, in both halves of the configuration."""
        return self.vouched(slot, tracker.voters, reads) and self.vouched(slot, tracker.outgoing, reads)

    def vouched(self, slot: int, voters: int, reads: PendingReads) -> bool:
        """Whether enough of ``voters`` other than the member in ``slot`` have acknowledged its position."""
        if voters == 0:
            return True
        count = 0
        others = 0
        for other in range(MEMBERS_MAX):
            if (voters >> other) & 1 == 0 or other == slot:
                continue
            others += 1
            if reads.positions[other] >= self.position[slot]:
                count += 1
        return count >= _core.popcount(voters) // 2 + 1 or count == others != 0
