"""Reads of one node that are open: each waits for an index, then until that is applied here, and is done then.

Any thread opens one. The apply thread does the rest, between two entries, so that a function that is to see the state
machine sees it at rest.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable
from typing import Any

from .outcomes import Outcomes

READS_MAX = 65_536  # that may wait for an index


class Readers:
    """machine: what the functions of queries are called with."""

    def __init__(self, outcomes: Outcomes, machine: Any) -> None:
        self.outcomes = outcomes
        self.machine = machine
        #: tickets, in the order in which reads were asked for
        self.tickets = itertools.count(1)
        #: (ticket, number of the request, function or None) of those without an index, in order of their tickets but
        #: for what two threads have added at the same moment
        self.waiting: collections.deque[tuple[int, int, Callable[[Any], Any] | None]] = collections.deque()
        #: (index, number, function) of those with one. Invariant: indexes do not fall
        self.indexed: collections.deque[tuple[int, int, Callable[[Any], Any] | None]] = collections.deque()

    def add(self, number: int, function: Callable[[Any], Any] | None) -> int:
        """A read. The ticket up to which the engine is to be asked then; 0 when too many wait. Any thread.

        It is a later one than the read's own: the answer for that may have come before the read was here.
        """
        if len(self.waiting) >= READS_MAX:
            return 0
        self.waiting.append((next(self.tickets), number, function))
        return next(self.tickets)

    def answered(self, newest: int, index: int) -> None:
        """Reads up to this ticket may be done once ``index`` is applied.

        One that was added behind a later one may stay: the engine is asked for it, too, and its answer comes.
        """
        while self.waiting and self.waiting[0][0] <= newest:
            _, number, function = self.waiting.popleft()
            self.indexed.append((index, number, function))

    def applied(self, index: int) -> None:
        """Everything up to ``index`` is applied. Wakes nobody; runs the functions of queries."""
        while self.indexed and self.indexed[0][0] <= index:
            _, number, function = self.indexed.popleft()
            if function is None:
                self.outcomes.settle(number, index)
            elif self.outcomes.is_open(number):
                self._query(number, function)

    def _query(self, number: int, function: Callable[[Any], Any]) -> None:
        try:
            value = function(self.machine)
        except BaseException as error:  # the caller's code, and the caller's error: the node goes on
            self.outcomes.fail(number, error)
        else:
            self.outcomes.settle(number, value)
