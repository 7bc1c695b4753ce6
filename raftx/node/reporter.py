"""The report thread: what people should hear of a node. It writes the log lines that the node's threads have left.

It runs foreign code, logging handlers above all, and does nothing else: one that does not return holds up no future, no
callback and no end of the node.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..report import Lines, report
from .periodic import Periodic

ROUND_NS = 250_000_000  # longest time between two rounds while there is something to say;
QUIET_NS = 2_000_000_000  # it doubles up to this while there is not


class Reporter(Periodic):
    """One per node.

    tell: called once a round, to report what the transport and the other members gave reason to. Foreign code.
    often: it has to be called some times a second.
    """

    def __init__(self, lines: Lines, tell: Callable[[], None], often: bool = False) -> None:
        super().__init__(ROUND_NS)
        self.most = ROUND_NS if often else QUIET_NS
        self.lines = lines
        self.tell = tell
        lines.on_line = self.wake

    def work(self) -> None:
        """Write what was left, and what there is to tell."""
        self.pause = ROUND_NS if self.lines.waiting() else min(2 * self.pause, self.most)
        self.lines.write()
        try:
            self.tell()
        except BaseException as error:
            report(logging.ERROR, "the transport failed to report", error=error)
        if self.lines.waiting():
            self.pause = ROUND_NS
        self.lines.write()
