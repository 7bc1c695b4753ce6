"""The watch thread: what has to happen in time although user code does not return.

It ends overdue requests, and runs the callbacks of what ended when the apply thread could not. These are foreign
code, so no other thread of the node waits for it, but for the one that closes the node.
"""

from __future__ import annotations

from .._native.threads import Clock, Event
from .outcomes import Outcomes

ROUND_NS = 250_000_000  # longest time between two rounds
ROUND_MIN_NS = 5_000_000


class Watch:
    """One per node. ``run`` is the body of its thread; ``stop`` ends it, after a last round."""

    def __init__(self, outcomes: Outcomes, clock: Clock, timeout_ns: int) -> None:
        self.outcomes = outcomes
        self.clock = clock
        #: how late an overdue request may end
        self.pause = min(ROUND_NS, max(ROUND_MIN_NS, timeout_ns // 8))
        self.event = Event()
        self.stopping = False

    def run(self) -> None:
        """Rounds, until it is stopped."""
        while True:
            # Before the round: what comes during it wakes.
            self.event.py_prepare()
            if not self.round():
                return
            self.rest()

    def rest(self) -> None:
        """Sleep until something is due."""
        if self.stopping or self.outcomes.late:
            self.event.py_cancel()
        else:
            self.event.py_wait(self.pause)

    def round(self) -> bool:
        """What is due; False when it was to stop before it began."""
        stopping = self.stopping
        self.outcomes.expire(self.clock.py_now())
        return not stopping

    def stop(self) -> None:
        """End it. Any thread."""
        self.stopping = True
        self.event.py_wake()
