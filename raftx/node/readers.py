"""Reads of one node that are open: each waits for an index, then until that is applied here, and is done then.

Any thread opens one. The apply thread does the rest, between two entries, so that a function that is to see the state
machine sees it at rest. It also knows how new what is applied here is: when the newest question was asked whose answer
is applied. A stale read is served from that; and threads that wait for an entry to be applied are served here.
"""

from __future__ import annotations

import collections
import heapq
import itertools
from collections.abc import Callable
from typing import Any, NoReturn

from .._native.threads import Clock, Event
from ..errors import Busy, UsageError
from .channels import ApplyGauges, Gauges
from .futures import Future
from .outcomes import KIND_APPLIED, KIND_READ, Outcomes
from .reads import Reads
from .unfinished import UNFINISHED, is_async, is_generator, name_and_close

READS_MAX = 65_536  # that may wait: for an index, and for what is to be applied
LEFT = 1000  # waits for entries that may stay here after they were given up
DIVERGED = "what is committed here contradicts the leader's log: status() has more"
NO_LEADER = "nothing so new is here, and no leader is known that could be asked"


class Readers:
    """machine: what the functions of queries are called with; applies: wakes the apply thread. See ``attach``."""

    def __init__(self, outcomes: Outcomes, machine: Any, gauges: ApplyGauges, applies: Event) -> None:
        self.outcomes = outcomes
        self.machine = machine
        self.apply_gauges = gauges
        self.applies = applies
        #: tickets, in the order in which reads were asked for
        self.tickets = itertools.count(1)
        #: (ticket, number of the request, function or None) of those without an index, in order of their tickets but
        #: for what two threads have added at the same moment; and of those by lease
        self.waiting: collections.deque[tuple[int, int, Callable[[Any], Any] | None]] = collections.deque()
        self.leased: collections.deque[tuple[int, int, Callable[[Any], Any] | None]] = collections.deque()
        #: (index, number, function) of those with one. Invariant: indexes do not fall
        self.indexed: collections.deque[tuple[int, int, Callable[[Any], Any] | None]] = collections.deque()
        #: the highest index that was given to any: what is in ``indexed``, and was, is not above it
        self.newest_index = 0
        #: requests that were added by any thread and not looked at: (index that is to be applied, number, function)
        self.added: collections.deque[tuple[int, int, Callable[[Any], Any] | None]] = collections.deque()
        #: (index, number) of waits for an entry; the smallest index first
        self.awaited: list[tuple[int, int]] = []
        #: (ticket, number) of those that end when no leader is known: stale reads
        self.impatient: collections.deque[tuple[int, int]] = collections.deque()
        #: (index, when it was asked for) of answers that are not applied, and when that of the newest applied one was,
        #: in nanoseconds of Clock.boot; 0: there is none. Any thread reads the latter
        self.answers: collections.deque[tuple[int, int]] = collections.deque()
        self.fresh_at = 0

    def attach(self, reads: Reads, gauges: Gauges, clock: Clock, event: Event) -> None:
        """The engine that is asked; event: wakes it. Before the first read."""
        self.reads = reads
        self.gauges = gauges
        self.clock = clock
        self.event = event

    # --- any thread ----------------------------------------------------------------------------------

    def read(self, function: Callable[[Any], Any] | None, by_lease: bool) -> Future[Any]:
        """A read, or the function behind one; see Node.read and Node.query. Any thread."""
        future: Future[Any] = Future()
        future._owner = self.outcomes
        number = self.outcomes.open(KIND_READ, future)
        if self.gauges.diverged:
            self.outcomes.reject(number, DIVERGED)
        else:
            self.ask(number, function, by_lease)
        return future

    def ask(self, number: int, function: Callable[[Any], Any] | None, by_lease: bool) -> int:
        """Let the engine ask for the index of a read. The ticket that it is wanted by; 0 when too many wait.

        That is a later one than the read's own: the answer for the latter may have come before the read was here.
        """
        if self.count() >= READS_MAX // 2 and not self.added:
            # Those that were given up count as well: the apply thread looks for some, whatever else it has to do.
            self.added.append((0, 0, None))
            self.applies.wake()
        if self.count() >= READS_MAX:
            self.outcomes.reject(number, full(), Busy)
            return 0
        (self.leased if by_lease else self.waiting).append((next(self.tickets), number, function))
        ticket: int = next(self.tickets)
        self.reads.want(ticket, by_lease)
        self.event.wake()
        return ticket

    def count(self) -> int:
        """Reads that wait, and those that were given up meanwhile and not looked at. Any thread."""
        return len(self.waiting) + len(self.leased) + len(self.indexed)

    def read_stale(self, function: Callable[[Any], Any] | None, most_ns: int) -> Future[Any]:
        """A read of what may be older by so much. Any thread."""
        since = self.fresh_at
        age = self.clock.boot() - since
        future: Future[Any] = Future()
        future._owner = self.outcomes
        number = self.outcomes.open(KIND_READ, future)
        if self.gauges.diverged:
            self.outcomes.reject(number, DIVERGED)
        elif since != 0 and age <= most_ns:
            if 2 * age > most_ns:
                # Ahead of time, so that the next ones need not wait.
                self.reads.want(next(self.tickets), False)
                self.event.wake()
            if function is None:
                self.outcomes.settle(number, self.apply_gauges.index)
            elif self.add_indexed(0, number, function):
                self.applies.wake()
            else:
                self.outcomes.reject(number, full(), Busy)
        elif self.gauges.leader == 0:
            self.outcomes.reject(number, NO_LEADER)
        else:
            ticket = self.ask(number, function, False)
            if ticket != 0:
                self.impatient.append((ticket, number))
                if self.gauges.leader == 0:
                    self.outcomes.reject(number, NO_LEADER)
        return future

    def wait_applied(self, index: int) -> tuple[Future[None], int] | None:
        """Ends once that entry is applied: a Future, and the number of the request; None when too many wait."""
        future: Future[None] = Future()
        future._owner = self.outcomes
        number = self.outcomes.open(KIND_APPLIED, future)
        if not self.add_indexed(index, number, None):
            self.outcomes.drop(number)
            return None
        self.applies.wake()
        return future, number

    def add_indexed(self, index: int, number: int, function: Callable[[Any], Any] | None) -> bool:
        """Something that may be done once ``index`` is applied: False when too many wait. Any thread.

        The apply thread is to be woken.
        """
        if len(self.added) >= READS_MAX:
            return False
        self.added.append((index, number, function))
        return True

    # --- the apply thread ----------------------------------------------------------------------------

    def answered(self, newest: int, index: int, since: int) -> int:
        """Reads up to this ticket may be done once ``index`` is applied; the question was asked at ``since``.

        One that was added behind a later one may stay: the engine is asked for it, too, and its answer comes.
        """
        self.give_index(self.waiting, newest, index)
        self.give_index(self.leased, newest, index)
        self.answers.append((index, since))
        while self.impatient and self.impatient[0][0] <= newest:
            self.impatient.popleft()
        return 0

    def lease_answered(self, newest: int, index: int) -> int:
        """The same of reads by lease alone."""
        self.give_index(self.leased, newest, index)
        return 0

    def give_index(
        self, queue: collections.deque[tuple[int, int, Callable[[Any], Any] | None]], newest: int, index: int
    ) -> int:
        self.newest_index = max(self.newest_index, index)
        while queue and queue[0][0] <= newest:
            _, number, function = queue.popleft()
            self.indexed.append((self.newest_index, number, function))
        return 0

    def applied(self, index: int) -> int:
        """Everything up to ``index`` is applied. Wakes nobody; runs the functions of queries."""
        self.forget(self.waiting)
        self.forget(self.leased)
        self.forget(self.indexed)
        while self.answers and self.answers[0][0] <= index:
            self.fresh_at = max(self.fresh_at, self.answers.popleft()[1])
        while self.indexed and self.indexed[0][0] <= index:
            _, number, function = self.indexed.popleft()
            self.end(number, function, index)
        while self.added:
            least, number, function = self.added.popleft()
            if least <= index:
                self.end(number, function, index)
            else:
                heapq.heappush(self.awaited, (least, number))
                if len(self.awaited) > 2 * len(self.outcomes.asked) + LEFT:
                    self.awaited = [each for each in self.awaited if self.outcomes.is_open(each[1])]
                    heapq.heapify(self.awaited)
        while self.awaited and self.awaited[0][0] <= index:
            self.end(heapq.heappop(self.awaited)[1], None, index)
        return 0

    def forget(self, queue: collections.deque[tuple[int, int, Callable[[Any], Any] | None]]) -> int:
        """Those that were given up: the oldest come first, and are so first."""
        while queue and not self.outcomes.is_open(queue[0][1]):
            queue.popleft()
        return 0

    def leaderless(self) -> None:
        """No leader is known: stale reads that wait for an answer of one end. Wakes nobody."""
        while self.impatient:
            self.outcomes.reject(self.impatient.popleft()[1], NO_LEADER)

    def end(self, number: int, function: Callable[[Any], Any] | None, index: int) -> int:
        if function is None:
            self.outcomes.settle(number, index)
        elif self.outcomes.is_open(number):
            self.query(number, function)
        return 0

    def query(self, number: int, function: Callable[[Any], Any]) -> int:
        try:
            value = function(self.machine)
            if type(value) in UNFINISHED:
                refuse_unfinished(value)
        except BaseException as error:  # the caller's code, and the caller's error: the node goes on
            self.outcomes.fail(number, error)
        else:
            self.outcomes.settle(number, value)
        return 0


def full() -> str:
    """Why a read is refused."""
    return f"{READS_MAX} reads wait already"


def check_function(function: object) -> None:
    """Raise UsageError for what cannot be called with the state machine, or would only begin to be."""
    if not callable(function):
        raise UsageError(f"function must be callable with the state machine, not {function!r}")
    if is_async(function) or is_generator(function):
        raise UsageError(
            f"function must be an ordinary function, not an `async def` and without a `yield`, as {function!r} is: "
            "it is called on a thread of the node, between two entries, and nothing of it would run there"
        )


def refuse_unfinished(value: object) -> NoReturn:
    """Raise UsageError for a result that is still to be run, beside the entries that are applied meanwhile."""
    raise UsageError(
        f"function has returned a {name_and_close(value)}, which would run beside the state machine: return what you "
        "want to know"
    )
