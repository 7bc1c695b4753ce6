"""The report thread: what people should hear of a node. It writes the log lines that the node's threads have left.

It runs foreign code, logging handlers above all, and does nothing else: whoever does not return holds up no future, no
callback and no end of the node.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from .._native.threads import Event
from ..report import Lines, report

ROUND_NS = 250_000_000  # longest time between two rounds


class Reporter:
    """One per node. ``run`` is the body of its thread; ``stop`` ends it, after a last round.

    tell: called once a round, to report what the transport and the other members gave reason to. Foreign code.
    """

    def __init__(self, lines: Lines, tell: Callable[[], None]) -> None:
        self.lines = lines
        self.tell = tell
        self.event = Event()
        self.stopping = False
        lines.on_line = self.event.py_wake

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
        if self.stopping:
            self.event.py_cancel()
        else:
            self.event.py_wait(ROUND_NS)

    def round(self) -> bool:
        """What is due; False when it was to stop before it began."""
        stopping = self.stopping
        self.lines.write()
        try:
            self.tell()
        except BaseException as error:
            report(logging.ERROR, "the transport failed to report", error=error)
        self.lines.write()
        return not stopping

    def stop(self) -> None:
        """End it. Any thread."""
        self.stopping = True
        self.event.py_wake()
