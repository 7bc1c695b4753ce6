"""The watch thread: what has to happen in time although user code does not return.

It ends overdue requests, and runs the callbacks of what ended when the apply thread could not. These are foreign
code, so no other thread of the node waits for it, but for the one that closes the node.
"""

from __future__ import annotations

from .._native.threads import Clock
from .changer import Changer
from .channels import Gauges
from .outcomes import OVERDUE, Outcomes
from .patience import Patience
from .periodic import Periodic
from .renewals import Renewals

ROUND_NS = 250_000_000  # longest time between two rounds while anything is open
ROUND_MIN_NS = 5_000_000
UNLED = f"{OVERDUE}; no leader is known here"
QUIET_ROUNDS = 2  # in which nothing was open, before it sleeps until something is


class Watch(Periodic):
    """One per node. An overdue request ends so late as ``pause`` at most."""

    def __init__(self, outcomes: Outcomes, clock: Clock, timeout_ns: int) -> None:
        super().__init__(min(ROUND_NS, max(ROUND_MIN_NS, timeout_ns // 8)))
        self.outcomes = outcomes
        self.clock = clock
        #: proposals with deadlines of their own
        self.patience: Patience | None = None
        #: changes of membership that this node was asked for
        self.changer: Changer | None = None
        #: where the engine says who leads
        self.gauges: Gauges | None = None
        #: sessions that are kept alive
        self.renewals: Renewals | None = None
        #: rounds in a row in which nothing was open
        self.quiet = 0
        outcomes.on_request = self.wake

    def work(self) -> None:
        """End what is overdue, propose again what is to be, and call who waits."""
        self.outcomes.unwatched = False
        led = self.gauges is None or self.gauges.leader != 0
        self.outcomes.expire(self.clock.py_now(), OVERDUE if led else UNLED)
        if self.patience is not None:
            self.patience.work()
        if self.changer is not None:
            self.changer.work()
        if self.renewals is not None:
            self.renewals.work()

    def longest(self) -> int:
        """Until something is due, or something is open again."""
        # Said first, looked behind it: whoever opens something, or has to be looked at one day, wakes.
        self.outcomes.unwatched = True
        self.quiet = self.quiet + 1 if self.outcomes.is_quiet() else 0
        pause = -1 if self.quiet >= QUIET_ROUNDS else self.pause
        if pause >= 0:
            self.outcomes.unwatched = False
        for part in (self.patience, self.changer, self.renewals):
            due = part.next_due() if part is not None else None
            if due is not None:
                left = max(0, due - self.clock.py_now())
                pause = left if pause < 0 else min(pause, left)
        return pause

    def has_more(self) -> bool:
        """Whether callbacks wait."""
        return bool(self.outcomes.late)
