"""What a node knows of the lives of the members that send to it, and whether a frame can be of one of them.

A member counts its lives (incarnations) and, within each, its proposals. Here what a frame says of both is held against
what was met before: frames of an earlier life are stale, those of a life that was not met do not count, proposals that
were seen once are not appended again, and numbers that nobody can have come to are refused. By place. No messages are
sent from here.
"""

from __future__ import annotations

from array import array

from .._native.outbox import Message
from ..consensus import admission
from ..types import MSG_PROP
from .rows import (
    ODD_ANSWER,
    ODD_INCARNATION,
    ODD_ORIGIN,
    PLACES,
    REFUSED_LEADER_FULL,
    REFUSED_NOT_LEADER,
    REFUSED_TRANSFER,
    REFUSED_UNCOMMITTED,
    SENDER_PRESENT,
    SENDER_STALE,
    SENDER_UNMET,
)

FORWARDED = 64  # how far a network may reorder proposals without losing them
NUMBER_TOP = 2**62  # head-room, as for terms: see consensus/admission.py
# No frame moves an incarnation, or the sequence number of a proposal, by more: a member that ends and begins again once
# a second needs half a year for the one (above 32 random bits), a million proposals a second as long for the other.
INCARNATION_STEP = 2**56
SEQUENCE_STEP = 2**44

#: why a message was refused, in words: by the core's rules, and by those of a node
REASONS = (*admission.REASONS, "incarnation", "origin", "answer", "contradiction")


class Senders:
    """What was heard of each place's member."""

    def __init__(self) -> None:
        #: the life that was met of each place's member, 0 for none. Invariant: it is remembered durably, if the storage
        #: remembers; nothing of another one counts
        self.incarnations = array("Q", bytes(8 * PLACES))
        #: the newest FORWARDED first sequence numbers of proposals that each place's member passed on, 0 for none
        self.forwarded = array("Q", bytes(8 * PLACES * FORWARDED))
        #: the highest of them
        self.highest = array("Q", bytes(8 * PLACES))

    def forget(self, place: int) -> None:
        """The place belongs to another member now."""
        self.incarnations[place] = self.highest[place] = 0
        for at in range(place * FORWARDED, (place + 1) * FORWARDED):
            self.forwarded[at] = 0

    def judge(self, place: int, incarnation: int, member: bool) -> int:
        """SENDER_PRESENT, SENDER_UNMET, SENDER_STALE or ODD_INCARNATION; place -1 for a sender that has none.

        Of a member only the life that was met is present. Of others, which do not count, any is that is not over.
        """
        if incarnation == 0 or incarnation > NUMBER_TOP:
            return ODD_INCARNATION
        if place < 0 or incarnation == self.incarnations[place]:
            return SENDER_PRESENT
        if incarnation < self.incarnations[place]:
            # It may have waited in a queue while its sender was restarted, or its sender was set back.
            return SENDER_STALE
        if incarnation - self.incarnations[place] > INCARNATION_STEP and self.incarnations[place]:
            return ODD_INCARNATION
        return SENDER_UNMET if member else SENDER_PRESENT

    def begin(self, place: int, incarnation: int) -> bool:
        """This life was met, durably: earlier ones are over, its proposals begin anew. False for one that is known."""
        if incarnation <= self.incarnations[place]:
            return False
        self.incarnations[place] = incarnation
        self.highest[place] = 0
        for at in range(place * FORWARDED, (place + 1) * FORWARDED):
            self.forwarded[at] = 0
        return True

    def proposals_refusal(self, place: int, m: Message, incarnation: int) -> int:
        """Why a MSG_PROP cannot be what a member passed on of its own; ADMITTED when it can be."""
        if m.kind != MSG_PROP or m.count == 0 or m.hint != m.count or m.context == 0 or m.context > NUMBER_TOP:
            return ODD_ORIGIN
        if m.context > self.highest[place] and m.context - self.highest[place] > SEQUENCE_STEP:
            return ODD_ORIGIN
        return admission.ADMITTED if m.is_from(m.sender, incarnation, m.context) else ODD_ORIGIN

    def answer_refusal(self, m: Message, passed: int) -> int:
        """Why a MSG_REFUSED is no leader's answer to proposals that this member passed on, up to ``passed``."""
        first, count = m.context, m.hint
        if first == 0 or first > passed or count == 0 or count > passed + 1 - first:
            return ODD_ANSWER
        reason = m.index
        if reason in (REFUSED_NOT_LEADER, REFUSED_LEADER_FULL):
            return admission.ADMITTED
        return admission.ADMITTED if REFUSED_TRANSFER <= reason <= REFUSED_UNCOMMITTED else ODD_ANSWER

    def claim_sequence(self, place: int, sequence: int) -> bool:
        """Note proposals as seen; False when they were seen before, or may have been: none is ever appended twice.

        A network that repeats frames could otherwise let an entry be replaced, reported as not done, and
        then be appended again.
        """
        oldest = place * FORWARDED
        for at in range(place * FORWARDED, (place + 1) * FORWARDED):
            if self.forwarded[at] == sequence:
                return False
            if self.forwarded[at] < self.forwarded[oldest]:
                oldest = at
        if sequence < self.forwarded[oldest]:
            return False
        self.forwarded[oldest] = sequence
        self.highest[place] = max(self.highest[place], sequence)
        return True
