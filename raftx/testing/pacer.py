"""Proposals at a steady rate from a thread without the GIL, for measurements; see bench/bench_gil.py."""

from __future__ import annotations

from .._native.memory import Buffer
from .._native.threads import Cells, Clock, Event, ProposalQueue, Runner


class Pacer(Runner):
    """Offers ``size`` zero bytes to a queue every ``period`` nanoseconds until ``stop``. ``run`` is a thread's body.

    The proposals have no futures.
    """

    def __init__(self, proposals: ProposalQueue, size: int, period: int) -> None:
        self.proposals = proposals
        self.period = period
        self.clock = Clock()
        self.event = Event()
        self.cells = Cells()
        self.data = Buffer()
        self.data.py_put(bytes(size))

    def loop(self) -> int:
        due = self.clock.now()
        while self.cells.get(0) == 0:
            self.proposals.offer(self.data.data, self.data.size, 0)
            due += self.period
            while self.clock.now() < due:
                self.event.prepare()
                self.event.wait(due - self.clock.now())
        return 0

    def try_offer(self, size: int) -> int:
        """One offer that claims ``size`` bytes, more than memory has: none of them is read. Raises MemoryError."""
        if size < 1 << 48:
            raise ValueError("size must be more than there can be memory for")
        return self.proposals.offer(self.data.data, size, 0)

    def stop(self) -> None:
        """End it within one period. Any thread."""
        self.cells[0] = 1
