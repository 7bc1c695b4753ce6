"""Reads of one node that are open: each waits for an index, then until that is applied here, and is done then.

Any thread opens one. The apply thread does the rest, between two entries, so that a function that is to see the state
machine sees it at rest.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

from .outcomes import Outcomes

READS_MAX = 65_536  # that may wait for an index


class Readers:
    """machine: what the functions of queries are called with."""

    def __init__(self, outcomes: Outcomes, machine: Any) -> None:
        self.outcomes = outcomes
        self.machine = machine
        #: (number of the request, function or None) of those without an index, in order of their numbers but for what
        #: two threads have added at the same moment
        self.waiting: collections.deque[tuple[int, Callable[[Any], Any] | None]] = collections.deque()
        #: (index, number, function) of those with one. Invariant: indexes do not fall
        self.indexed: collections.deque[tuple[int, int, Callable[[Any], Any] | None]] = collections.deque()

    def add(self, number: int, function: Callable[[Any], Any] | None) -> bool:
        """A read, before the engine is asked; False when too many wait. Any thread."""
        if len(self.waiting) >= READS_MAX:
            return False
        self.waiting.append((number, function))
        return True

    def answered(self, newest: int, index: int) -> None:
        """Reads up to ``newest`` may be done once ``index`` is applied.

        One that was added behind a later one stays: the engine is asked for it, too, and its answer comes.
        """
        while self.waiting and self.waiting[0][0] <= newest:
            number, function = self.waiting.popleft()
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
