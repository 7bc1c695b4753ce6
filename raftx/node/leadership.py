"""What becomes of requests about who leads, as this node sees it: campaigns and transfers. On the apply thread.

Each wants one member to lead: done when it is seen to. Not done when the core did not take it up, when the leader has
given the transfer up, when another member was elected in a later term than the request was made in, and, if it is a
campaign, when any other is seen to lead: a candidate follows no other member.
"""

from __future__ import annotations

from ..types import Role, StateChange
from .outcomes import KIND_CAMPAIGN, KIND_UNIT, Outcomes
from .rows import REFUSALS, REFUSED_GIVEN_UP, REFUSED_OTHER_TRANSFER


class Leadership:
    """The open ones, and what ends them."""

    def __init__(self, outcomes: Outcomes) -> None:
        self.outcomes = outcomes
        #: by the number of a request: the member that is to lead, and the term in which it was asked for
        self.waiting: dict[int, tuple[int, int]] = {}

    def asked(self, request: int, reason: int, to: int, term: int, now: StateChange) -> None:
        """The core was asked in ``term``, or was not, with a reason; ``now`` is what it knows since."""
        if reason:
            self.outcomes.reject(request, REFUSALS[reason])
        else:
            # What has ended otherwise is no longer waited for.
            self.waiting = {number: what for number, what in self.waiting.items() if self.outcomes.is_open(number)}
            self.waiting[request] = (to, term)
            self.seen(now)

    def seen(self, change: StateChange) -> None:
        """Term, leader or role have changed."""
        for request, (to, term) in self.waiting.copy().items():
            if change.leader == to:
                del self.waiting[request]
                self.outcomes.settle(request, change)
            elif change.leader and (change.term > term or request // KIND_UNIT == KIND_CAMPAIGN):
                del self.waiting[request]
                self.outcomes.reject(request, f"member {change.leader} leads instead, in term {change.term}")

    def transfer_ended(self, to: int, next_to: int, role: int) -> None:
        """This node was transferring leadership to one member, and is to another now, or to nobody."""
        if role != Role.LEADER:
            return  # another leader is seen as a change of state
        reason = REFUSED_OTHER_TRANSFER if next_to else REFUSED_GIVEN_UP
        for request, (wanted, _) in self.waiting.copy().items():
            if wanted == to:
                del self.waiting[request]
                self.outcomes.reject(request, REFUSALS[reason])
