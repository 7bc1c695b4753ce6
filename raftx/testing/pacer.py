"""Proposals at a steady rate from a thread without the GIL, for measurements; see bench/bench_gil.py."""

from __future__ import annotations

from .._native.memory import Buffer
from .._native.threads import Cells, Clock, Event, Intake, Runner


class Pacer(Runner):
    """Offers ``size`` zero bytes to an intake every ``period`` nanoseconds until ``stop``. ``run`` is a thread's body.

    The proposals have no futures.
    """

    def __init__(self, intake: Intake, size: int, period: int) -> None:
        self.intake = intake
        self.period = period
        self.clock = Clock()
        self.event = Event()
        self.cells = Cells()
        self.data = Buffer()
        self.data.py_put(bytes(size))

    def loop(self) -> int:
        due = self.clock.now()
        while self.cells.get(0) == 0:
            self.intake.offer(self.data.data, self.data.size, 0)
            due += self.period
            while self.clock.now() < due:
                self.event.prepare()
                self.event.wait(due - self.clock.now())
        return 0

    def stop(self) -> None:
        """End it within one period. Any thread."""
        self.cells[0] = 1
