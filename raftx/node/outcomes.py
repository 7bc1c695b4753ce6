"""Every request of a node that has not ended, by its number, and how each of them ends: exactly once.

| kind     | number                  | done                    | not done                | ended by       |
|----------|-------------------------|-------------------------|-------------------------|----------------|
| proposal | its queue's, from 1 on  | applied here            | not appended, replaced  | apply thread   |
| others   | kind and a count        | see leadership.py       | with the reason         | apply thread   |
| all      |                         |                         |                         | watch: overdue |

What is neither done nor known not to be is unknown: overdue, or open when the node ends. The thread that
takes a request ends it, whichever it is: so none of them waits for another. There is no lock, because a user's thread
may be interrupted here by a signal whose handler closes the node. A batch is entered by its range, not by its members.
"""

from __future__ import annotations

import collections
import itertools
import threading
from collections.abc import Callable
from typing import Any

from ..errors import ApplyError, NotDone, ProposalError, Unknown
from .futures import Done, Future

REPLACED = "its leader lost leadership before it was committed"
OVERDUE = "no outcome within its time: the timeout that was given, or proposal_timeout_ms"
STOPPED = "the node was stopped"
IN_SNAPSHOT = "this member was behind and took a snapshot, which may have the entry"
STOPPING = "the node is being stopped"
REFUSED_AT_ONCE = 1000  # of them may not be registered yet
BLOCK = 64  # numbers after which a batch is entered again

# Kinds of requests beside proposals: what their numbers begin with, which no proposal's does.
KIND_UNIT = 2**56
FIRST_OTHER = KIND_UNIT
KIND_CAMPAIGN = 1
KIND_TRANSFER = 2
KIND_READ = 3
KIND_CHANGE = 4
KIND_SNAPSHOT = 5
KIND_COMPACTION = 6
KIND_BACKUP = 7
KIND_STEP_DOWN = 8
KIND_APPLIED = 9  # somebody waits for an entry to be applied here
#: these have their own time, or take as long as they take
OWN_TIME = frozenset((KIND_SNAPSHOT, KIND_BACKUP, KIND_CHANGE, KIND_APPLIED))


class Raised:
    """What an ``apply`` that raised has to say to the proposer, in place of a result."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Batch:
    """Several proposals behind one future; its result is a list of Done in their order.

    Each of them is taken by one thread, which ends it.
    """

    def __init__(self, first: int, count: int, future: Future[Any]) -> None:
        self.first = first
        self.last = first + count - 1
        #: of each, whether it was taken; and how many were not
        self.taken = bytearray(count)
        self.left = count
        #: what has become of each, and of how many that is not known yet
        self.outcomes: list[Any] = [None] * count
        self.missing = count
        self.future = future

    def take(self, sequence: int) -> bool:
        """The calling thread ends that one; False when it was taken before."""
        # No call between the look and the mark: no other thread comes between them.
        if self.taken[sequence - self.first]:
            return False
        self.taken[sequence - self.first] = 1
        self.left -= 1
        return True

    def settle(self, sequence: int, outcome: Done[Any] | Exception) -> bool:
        """One of them has ended; True when it was the last."""
        self.outcomes[sequence - self.first] = outcome
        # Likewise: one thread finds that nothing is missing any more.
        missing = self.missing = self.missing - 1
        if missing:
            return False
        errors = [o for o in self.outcomes if isinstance(o, Exception)]
        if not errors:
            return self.future.settle_plain(self.outcomes)
        if len(errors) == len(self.outcomes) and all([isinstance(e, NotDone) for e in errors]):
            return self.future.settle_error(errors[0])
        if not any([isinstance(e, ProposalError) for e in errors]):
            refused = ApplyError(f"apply() raised for {len(errors)} of {len(self.outcomes)} proposals of the batch")
            refused.outcomes = self.outcomes
            refused.__cause__ = errors[0]
            return self.future.settle_error(refused)
        failure = Unknown(f"{len(errors)} of {len(self.outcomes)} proposals of the batch are not known to be done")
        failure.outcomes = self.outcomes
        causes = [error.__cause__ for error in errors if error.__cause__ is not None]
        if causes:
            failure.__cause__ = causes[0]
        return self.future.settle_error(failure)

    def give_up(self, reason: str, cause: BaseException | None) -> bool:
        """The rest will not be known; True when this ended the future."""
        if self.future.done():
            return False
        outcomes = list(self.outcomes)
        missing = 0
        for at, outcome in enumerate(outcomes):
            if outcome is None:
                missing += 1
                outcomes[at] = unknown(reason, cause)
        failure = unknown(f"{missing} of {len(outcomes)} proposals of the batch: {reason}", cause)
        failure.outcomes = outcomes
        return self.future.settle_error(failure)


def unknown(reason: str, cause: BaseException | None) -> Unknown:
    """An outcome that nobody knows, because of ``cause``."""
    error = Unknown(reason)
    error.__cause__ = cause
    return error


def reason_of(cause: BaseException | None) -> str:
    """Why nothing more is decided here."""
    return STOPPED if cause is None else f"the node failed: {type(cause).__name__}: {cause}"


class Outcomes:
    """The open requests of one node. ``threads``: the idents of those that end futures and run callbacks."""

    def __init__(self, timeout_ns: int, threads: set[int] | None = None) -> None:
        self.timeout_ns = timeout_ns
        self.threads: set[int] = set() if threads is None else threads
        #: number to the Future of a proposal that is in no batch, and of another request
        self.pending: dict[int, Any] = {}
        self.asked: dict[int, Any] = {}
        #: batches, at the first number of each and at those within it that BLOCK divides; and what the last look found
        self.batches: dict[int, Batch] = {}
        self.recent: Batch | None = None
        #: how many proposals of batches are open
        self.batched = 0
        #: what ended before its future was registered: of the last moments, see ``expire``
        self.early: dict[int, Any] = {}
        self.stale: list[int] = []
        #: futures that have ended and whose waiters are not woken yet
        self.ending: collections.deque[Future[Any]] = collections.deque()
        #: futures whose waiters are woken and whose callbacks are the watch thread's to call
        self.late: collections.deque[Future[Any]] = collections.deque()
        #: (sequence, deadline) of everything proposed up to that sequence
        self.deadlines: collections.deque[tuple[int, int]] = collections.deque()
        #: term to the last sequence that was handed to a leader in it
        self.last_sequence_by_term: dict[int, int] = {}
        #: (first, count, reason) of what the engine gave back when it stopped; ``end`` knows why it did
        self.given_back: list[tuple[int, int, str]] = []
        #: numbers of other requests, as they were opened, and (deadline, number) of those that have one
        self.opened: collections.deque[int] = collections.deque()
        self.timed: collections.deque[tuple[int, int]] = collections.deque()
        self.counts = itertools.count(1)
        #: largest sequence that has a deadline, and that was registered
        self.newest_with_deadline = self.newest_registered = 0
        #: a smaller one was registered since, by a thread that was slow to do so
        self.registered_late = False
        self.ended = False
        #: somebody closes the node: what is refused from now on is refused because of that
        self.stopping = False
        self.cause: BaseException | None = None
        #: when proposals passed each stage, for Done.timing
        self.stamps: Any = None
        #: loops that are to be told of futures, by the ident of the thread that is waking these and tells them last
        self.held: dict[int, list[Any]] = {}
        #: how often a request was to end again that had ended and was not cancelled: always 0, which simulators look at
        self.ended_again = 0
        #: the watch thread sleeps until somebody asks for something; and what wakes it
        self.unwatched = False
        self.on_request: Any = None

    # --- registration, on the proposer's thread ---------------------------------------------------

    # A proposal may be in the log before its future is here. So a thread that misses a future puts the outcome into
    # ``early`` and looks again; a thread that registers a future looks there afterwards. One of the two sees the other.

    def register(self, sequence: int, future: Future[Any]) -> None:
        """A proposal has been handed over; its future will end."""
        self.pending[sequence] = future
        if sequence > self.newest_registered:
            self.newest_registered = sequence
        else:
            self.registered_late = True
        if self.early or self.ended:
            self.look_again(sequence)
        if self.unwatched:
            self.call_watch()

    def register_many(self, first: int, count: int, future: Future[Any]) -> int:
        """Several proposals behind one future."""
        batch = Batch(first, count, future)
        end = first + count
        self.batched += count
        self.batches[first] = batch
        mark = (first | (BLOCK - 1)) + 1
        while mark < end:
            self.batches[mark] = batch
            mark += BLOCK
        if end - 1 > self.newest_registered:
            self.newest_registered = end - 1
        else:
            self.registered_late = True
        if self.early or self.ended:
            for sequence in range(first, end):
                self.look_again(sequence)
            if batch.left == 0:
                # Who took the last one may not have seen all marks.
                self.forget(batch)
        if self.unwatched:
            self.call_watch()
        return 0

    def open(self, kind: int, future: Future[Any]) -> int:
        """A request other than a proposal, before it is handed over: its number."""
        number = kind * KIND_UNIT + next(self.counts)
        self.asked[number] = future
        if kind not in OWN_TIME:
            self.opened.append(number)
        if self.ended:
            self.look_again(number)
        if self.unwatched:
            self.call_watch()
        return number

    def call_watch(self) -> int:
        """Something is open again, which may be overdue one day."""
        self.unwatched = False
        if self.on_request is not None:
            self.on_request()
        return 0

    def look_again(self, sequence: int) -> None:
        """Whether a request ended before it was registered. Nobody waits for its future yet, which its caller makes.

        Other futures may have ended meanwhile; the thread that ended them wakes who waits for them. This one belongs to
        a user, whose other callbacks must not run in the midst of what it does.
        """
        outcome = self.early.pop(sequence, None)
        if outcome is not None:
            self.end_one(sequence, outcome)
        if self.ended:
            self.end_unknown(sequence, reason_of(self.cause), self.cause)

    # --- what is open, on any thread --------------------------------------------------------------

    def count(self) -> int:
        """Requests that are open, each proposal of a batch among them."""
        return self.proposals() + len(self.asked)

    def proposals(self) -> int:
        """Those of them that are proposals."""
        return len(self.pending) + self.batched

    def drop(self, number: int) -> None:
        """A request other than a proposal: its owner waits no more, and nobody is told of its end."""
        self.asked.pop(number, None)

    def is_open(self, number: int) -> bool:
        """Whether it has not ended yet."""
        if number >= FIRST_OTHER:
            return number in self.asked
        if number in self.pending:
            return True
        batch = self.batch_of(number)
        return batch is not None and not batch.taken[number - batch.first]

    def take(self, number: int) -> Any:
        """Its Future, or the Batch that it is in, for the one caller that ends it; None when it is not open."""
        if number >= FIRST_OTHER:
            return self.asked.pop(number, None)
        batch = self.recent
        if batch is None or not batch.first <= number <= batch.last:
            item = self.pending.pop(number, None)
            if item is not None or not self.batches:
                return item
            batch = self.batch_of(number)
            if batch is None:
                return None
        if not batch.take(number):
            return None
        self.batched -= 1
        if batch.left == 0:
            self.forget(batch)
        return batch

    def batch_of(self, number: int) -> Batch | None:
        """The batch with that proposal, or None. It may have ended."""
        if not self.batches:
            return None
        # Backwards, the first mark is that of this batch, if there is one: where it begins, or the block.
        begin, at = number & ~(BLOCK - 1), number
        batch = self.batches.get(at)
        while batch is None and at > begin:
            at -= 1
            batch = self.batches.get(at)
        if batch is None or number > batch.last:
            return None
        self.recent = batch
        return batch

    def forget(self, batch: Batch) -> int:
        """None of a batch is open any more."""
        if self.recent is batch:
            self.recent = None
        self.batches.pop(batch.first, None)
        mark = (batch.first | (BLOCK - 1)) + 1
        while mark <= batch.last:
            self.batches.pop(mark, None)
            mark += BLOCK
        return 0

    def open_in(self, first: int, last: int) -> list[int]:
        """The numbers of what is open from ``first`` to ``last``."""
        numbers = [number for number in list(self.pending) if first <= number <= last]
        # A copy of the table: a list of pairs would make an object for each, which may run others' Python meanwhile.
        for mark, batch in self.batches.copy().items():
            if mark == batch.first:
                within = range(max(first, mark), min(last, batch.last) + 1)
                numbers += [number for number in within if not batch.taken[number - mark]]
        return numbers

    # --- ends, on the apply thread ----------------------------------------------------------------

    def finish(self, sequence: int, index: int, term: int, result: Any) -> int:
        """A proposal has been applied; ``result`` may be a Raised. Wakes nobody yet."""
        item = self.take(sequence)
        if type(result) is Raised:
            return self.finish_other(sequence, item, result.error)
        if type(item) is Future:
            self.settle_future(item, index, term, result)
        elif type(item) is Batch:
            self.settle_batch(item, sequence, Done(index, term, result, self))
        else:
            self.finish_other(sequence, item, Done(index, term, result, self))
        return 0

    def settle_future(self, future: Future[Any], index: int, term: int, result: Any) -> int:
        if not future.settle(index, term, result):
            self.look_twice(future)
        elif future.needs_wake():
            self.ending.append(future)
        return 0

    def look_twice(self, future: Future[Any]) -> int:
        """What was to end has ended: because its owner waits no more, or because it was ended twice."""
        if not future.cancelled():
            self.ended_again += 1
        return 0

    def finish_other(self, sequence: int, item: Any, outcome: Any) -> int:
        """One of a batch, or one that is not registered (yet)."""
        if item is None:
            if self.ended:
                return 0
            self.early[sequence] = outcome
            item = self.take(sequence)
            if item is None:
                return 0
            # The thread that registered it may have found the outcome meanwhile, but not the future, which is here.
            self.early.pop(sequence, None)
        self.settle_item(sequence, item, outcome)
        return 0

    def settle_item(self, sequence: int, item: Any, outcome: Any) -> None:
        """What was taken ends."""
        if type(item) is Batch:
            self.settle_batch(item, sequence, outcome)
        elif type(outcome) is Done:
            self.settle_future(item, outcome.index, outcome.term, outcome.result)
        else:
            self.fail_future(item, outcome)

    def settle_batch(self, batch: Batch, sequence: int, outcome: Any) -> int:
        if batch.outcomes[sequence - batch.first] is not None:
            # The first outcome counts; another one taken for it would be missing at the end.
            self.ended_again += 1
        elif batch.settle(sequence, outcome):
            self.ending.append(batch.future)
        return 0

    def fail_future(self, future: Future[Any], error: BaseException) -> int:
        if not future.settle_error(error):
            self.look_twice(future)
        elif future.needs_wake():
            self.ending.append(future)
        return 0

    def end_one(self, sequence: int, outcome: Any) -> None:
        """A proposal has ended, with a Done or an error; nothing happens when it is not open."""
        item = self.take(sequence)
        if item is not None:
            self.settle_item(sequence, item, outcome)

    def refuse(
        self, sequence: int, count: int, last: int, reason: str, error: Callable[[str], NotDone] = NotDone
    ) -> None:
        """Proposals were not appended and will not be; ``last`` is the newest that the queue has taken."""
        reason = self.why(reason)
        end = min(sequence + count, last + 1)
        first = sequence
        # A peer may say anything, but it cannot refuse more than is open.
        if end - sequence > self.proposals() + REFUSED_AT_ONCE:
            for each in self.open_in(sequence, end - 1):
                self.end_one(each, error(reason))
            first = max(sequence, self.newest_registered + 1)
        for each in range(first, end):
            self.finish_other(each, self.take(each), error(reason))
        self.wake_all()

    def settle(self, number: int, value: Any) -> None:
        """A request other than a proposal is done. Wakes nobody yet; nothing happens when it is not open."""
        future = self.asked.pop(number, None)
        if future is not None:
            self.settle_with(future, value)

    def settle_with(self, future: Future[Any], value: Any) -> int:
        if not future.settle_plain(value):
            self.look_twice(future)
        elif future.needs_wake():
            self.ending.append(future)
        return 0

    def fail(self, number: int, error: BaseException) -> None:
        """A request other than a proposal ended with an exception of the caller's own code. Likewise."""
        future = self.asked.pop(number, None)
        if future is not None:
            self.fail_future(future, error)

    def reject(self, number: int, reason: str, error: Callable[[str], NotDone] = NotDone) -> None:
        """A request other than a proposal was not done and will not be. Likewise."""
        future = self.asked.pop(number, None)
        if future is not None:
            self.fail_future(future, error(self.why(reason)))

    def why(self, reason: str) -> str:
        """A reason for NotDone, with the end of the node where that is behind it: it hands leadership over, say."""
        return f"{STOPPING}: {reason}" if self.stopping else reason

    def give_back(self, sequence: int, count: int, reason: str) -> None:
        """Proposals that the engine had not looked at when it stopped: not done, as soon as the cause is known."""
        self.given_back.append((sequence, count, reason))

    def hand_over(self, sequence: int, term: int) -> None:
        """Everything up to ``sequence`` was handed to a leader in ``term`` or earlier."""
        self.last_sequence_by_term[term] = sequence

    def replace(self, term: int) -> int:
        """The log has come to a term: what was handed over in earlier ones and is still open is not done.

        A leader appends a proposal only in the term in which it was handed to it, and terms never fall along
        a log. So behind an applied entry of a later term it can no longer follow.
        """
        last = 0
        for earlier in [t for t in self.last_sequence_by_term if t < term]:
            last = max(last, self.last_sequence_by_term.pop(earlier))
        if last:
            for sequence in self.open_in(0, last):
                self.end_one(sequence, NotDone(REPLACED))
        return 0

    def lose_handed(self) -> None:
        """Entries of this node may be in a snapshot that was taken over: whether they are will not be known."""
        last = max(self.last_sequence_by_term.values(), default=0)
        for sequence in self.open_in(0, last):
            self.end_unknown(sequence, IN_SNAPSHOT, None)

    def wake_all(self) -> None:
        """Wake the threads that wait for what has ended, and run its callbacks: they are foreign code."""
        if not self.ending:
            return
        me = threading.get_ident()
        held = self.hold(me)
        try:
            while self.ending:
                try:
                    future = self.ending.popleft()
                except IndexError:
                    return
                future.wake()
        finally:
            self.let_go(me, held)

    # A loop is told once of all that a thread wakes in one go: it would take them one by one otherwise.

    def hold(self, me: int) -> Any:
        """Until ``let_go`` this thread tells no loop; None when it does not anyhow, further out."""
        if me in self.held:
            return None
        held: list[Any] = []
        self.held[me] = held
        return held

    def holds(self, post: Any) -> bool:
        """Whether the loop of this Post will be told by the calling thread; False: the caller has to."""
        held = self.held.get(threading.get_ident())
        if held is None:
            return False
        if post not in held:
            held.append(post)
        return True

    def let_go(self, me: int, held: Any) -> None:
        """The other end of ``hold``, which gave ``held``."""
        if held is not None:
            self.held.pop(me, None)
            for post in held:
                post.ring()

    # --- ends, on the watch thread ----------------------------------------------------------------

    def expire(self, now: int, reason: str = OVERDUE) -> None:
        """End what has waited too long, and wake what the apply thread has ended and did not come to wake."""
        if self.registered_late or self.newest_registered > self.newest_with_deadline:
            self.registered_late = False  # before the look at the newest one: what comes meanwhile is seen next time
            self.newest_with_deadline = self.newest_registered
            self.deadlines.append((self.newest_with_deadline, now + self.timeout_ns))
        while self.deadlines and self.deadlines[0][1] <= now:
            end = self.deadlines.popleft()[0]
            for sequence in self.open_in(0, end):
                self.end_unknown(sequence, reason, None)
        while self.opened:
            self.timed.append((now + self.timeout_ns, self.opened.popleft()))
        while self.timed and self.timed[0][0] <= now:
            self.end_unknown(self.timed.popleft()[1], reason, None)
        # What nobody has asked for since the last time belongs to nobody.
        for sequence in self.stale:
            self.early.pop(sequence, None)
        self.stale = list(self.early)
        self.wake_threads()
        self.call_late()

    def is_quiet(self) -> bool:
        """Whether there is nothing that ``expire`` could do, now or later.

        The watch thread says ``unwatched`` before it asks: whoever registers something behind that wakes it.
        """
        if self.pending or self.asked or self.ending or self.late or self.early or self.stale:
            return False
        return not (self.deadlines or self.opened or self.timed or self.registered_late) and (
            self.newest_registered <= self.newest_with_deadline
        )

    def call_late(self) -> None:
        """Run the callbacks that are due: foreign code."""
        if not self.late:
            return
        me = threading.get_ident()
        held = self.hold(me)
        try:
            while self.late:
                try:
                    future = self.late.popleft()
                except IndexError:
                    return
                future.call()
        finally:
            self.let_go(me, held)

    # --- the end, on any thread -------------------------------------------------------------------

    def end(self, cause: BaseException | None) -> None:
        """Nothing more will be decided here: what is open is unknown. Runs no foreign code."""
        if not self.ended:
            self.cause = cause
            self.ended = True
        for first, count, reason in list(self.given_back):
            for sequence in range(first, first + count):
                if self.is_open(sequence):
                    error = NotDone(reason if cause is None else f"{reason_of(cause)}: it was not handed over")
                    error.__cause__ = cause
                    self.end_one(sequence, error)
        for table in (self.pending, self.asked):
            while table:
                try:
                    number, item = table.popitem()
                except KeyError:
                    break
                self.give_up(number, item, reason_of(cause), cause)
        for sequence in self.open_in(0, KIND_UNIT):
            self.end_unknown(sequence, reason_of(cause), cause)
        self.wake_threads()

    def end_unknown(self, number: int, reason: str, cause: BaseException | None) -> None:
        """What has become of a request will not be known here; nothing happens when it is not open."""
        item = self.take(number)
        if item is not None:
            self.give_up(number, item, reason, cause)

    def give_up(self, number: int, item: Any, reason: str, cause: BaseException | None) -> None:
        """What becomes of what was taken will not be known."""
        if type(item) is Batch:
            self.give_up_batch(item, number, reason, cause)
        elif number // KIND_UNIT in (KIND_READ, KIND_APPLIED):
            # It changes nothing, so it was not done.
            error = NotDone(reason)
            error.__cause__ = cause
            self.fail_future(item, error)
        else:
            self.fail_future(item, unknown(reason, cause))

    def give_up_batch(self, batch: Batch, sequence: int, reason: str, cause: BaseException | None) -> int:
        if batch.outcomes[sequence - batch.first] is not None:
            self.ended_again += 1
        if batch.give_up(reason, cause):
            self.ending.append(batch.future)
        return 0

    def wake_threads(self) -> None:
        """Wake the threads that wait for what has ended; its callbacks are left to the watch thread."""
        while self.ending:
            try:
                future = self.ending.popleft()
            except IndexError:
                return
            self.wake_one(future)

    def wake_one(self, future: Future[Any]) -> int:
        future.wake_waiting()
        if future.needs_calls():
            self.late.append(future)
        return 0
