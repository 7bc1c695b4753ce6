"""Proposals with a deadline of their own: what was certainly not done is proposed again until then.

One, or several behind one future, of which none was done then. Each has a future for its owner, and one for each
attempt. An attempt that ends as done, as unknown or in an exception of the state machine is the outcome; one that was
not done is followed by another. What a session proposes may be repeated in any case, since it is applied once: so what
is unknown is followed by another attempt, too. The watch thread makes these and ends what is overdue, so a hanging
``apply`` holds up no deadline. There is no lock: the owner's future ends once, whoever ends it.
"""

from __future__ import annotations

import collections
import heapq
import itertools
from collections.abc import Callable
from typing import Any

from .._native.threads import Clock
from ..errors import Busy, NotDone, SessionEnded, Stopped, Unknown, UsageError
from ..types import ENTRY_NORMAL, ENTRY_SESSION
from .events import FORKED, NO_THREAD
from .futures import Done, Future
from .outcomes import OVERDUE, Outcomes, reason_of, unknown
from .proposer import NEVER, Data, Proposer

PAUSE_NS = 5_000_000  # before the second attempt; twice as long before each further one,
PAUSE_MAX_NS = 100_000_000  # up to this
SOON_NS = 500_000_000  # the watch thread looks round by itself in half of this time, while anything is open
NOT_YET = "the session is not open yet"
NO_TIME = "no time was given for it, so that it was not tried: timeout must be above 0 s"
LEFT = 1000  # entries that may wait for what has ended already


#: what a session proposes next. Raises NotDone when it cannot say yet; SessionEnded when it never will
Payload = Callable[[], bytes]


class Patient:
    """One such proposal; ``data`` is a list where there are several.

    payload: it is a session's, ``owner``, and may be repeated whatever has become of it. count, size: of the proposals
    of a user's in it, and their bytes.
    """

    def __init__(
        self,
        data: Any,
        future: Future[Any],
        deadline: int,
        payload: Payload | None = None,
        owner: object = None,
        count: int = 0,
        size: int = 0,
    ) -> None:
        self.data = data
        self.payload = payload
        self.owner = owner
        self.future = future
        self.deadline = deadline
        self.count, self.size = count, size
        self.pause = PAUSE_NS
        #: why the last attempt was not done; None: there was none, or one is under way, and may be done
        self.reason: BaseException | None = None
        self.under_way = False
        #: an attempt ended as unknown
        self.maybe = False


class Patience:
    """Those of one node. ``wake``: lets the watch thread have a round.

    lag: nanoseconds that the state machine is behind, as far as can be told. What could not be known to be done in time
    is not proposed.
    """

    def __init__(
        self,
        proposer: Proposer,
        outcomes: Outcomes,
        clock: Clock,
        wake: Callable[[], object],
        lag: Callable[[], int] = int,
    ) -> None:
        self.proposer = proposer
        self.outcomes = outcomes
        self.clock = clock
        self.wake = wake
        self.lag = lag
        self._numbers = itertools.count()
        #: the open ones, by number; how many proposals of users they are, and their bytes
        self.open: dict[int, Patient] = {}
        self.count = self.size = 0
        #: (when, number) of what the watch thread is to look at, not in order yet. Any thread adds
        self._incoming: collections.deque[tuple[int, int]] = collections.deque()
        #: the same in order. The watch thread's
        self._due: list[tuple[int, int]] = []

    # --- any thread ----------------------------------------------------------------------------------

    def propose(self, data: Data, timeout_ns: int) -> Future[Any]:
        """Propose, again and again if need be. Raises what Proposer.propose raises."""
        data = self.proposer.bytes_of(data)
        return self._begin(data, None, timeout_ns, None, 1, len(data))

    def propose_many(self, datas: list[Data], timeout_ns: int) -> Future[Any]:
        """The same of several behind one future, in a list of ours. Raises what Proposer.propose_many raises."""
        self.proposer.fix_all(datas)
        return self._begin(datas, None, timeout_ns, None, len(datas), sum([len(data) for data in datas]))

    def repeat(self, payload: Payload, timeout_ns: int, owner: object, count: int = 0, size: int = 0) -> Future[Any]:
        """The same for an entry of a session, which ``payload`` makes anew for each attempt. What is unknown, too.

        count, size: 1 and its bytes, if it is a proposal of a user's.
        """
        return self._begin(b"", payload, timeout_ns, owner, count, size)

    def check_process(self) -> None:
        """Raise UsageError in a forked child."""
        if NO_THREAD in self.outcomes.threads:
            raise UsageError(FORKED)

    def hurry(self, owner: object) -> None:
        """What a session could not say before it can now: let the watch thread make its attempts that wait."""
        now = self.clock.py_now()
        for number, patient in self.open.copy().items():
            if patient.owner is owner and not patient.under_way and patient.reason is not None:
                self._incoming.append((now, number))
        self.wake()

    def _begin(
        self, data: Any, payload: Payload | None, timeout_ns: int, owner: object, count: int, size: int
    ) -> Future[Any]:
        self.check_process()
        future: Future[Any] = Future()
        future._owner = self.outcomes
        if timeout_ns <= 0:
            future.settle_error(NotDone(NO_TIME))
            return future
        if count and self.is_full(count, size):
            future.settle_error(Busy(self.full()))
            return future
        now = self.clock.py_now()
        patient = Patient(data, future, now + timeout_ns, payload, owner, count, size)
        number = next(self._numbers)
        self.open[number] = patient
        self.count += count
        self.size += size
        try:
            self._attempt(number, patient)
        except BaseException:
            self._take(number)
            raise
        if number in self.open:
            self._look_at(patient.deadline, number)
            if self.outcomes.ended:
                self.end(self.outcomes.cause)
        return future

    def end(self, cause: BaseException | None) -> None:
        """The node has ended, and so do all. Runs no foreign code: callbacks are left to the watch thread."""
        while self.open:
            try:
                _, patient = self.open.popitem()
            except KeyError:
                return
            self._leave(patient)
            self._give_up(patient, self._outcome(patient, reason_of(cause), cause))

    def is_full(self, count: int, size: int) -> bool:
        """Whether there is no room for so many more. The first one always fits."""
        if self.count == 0:
            return False
        return self.count + count > self.proposer.max_open or self.size + size > self.proposer.max_patient_bytes

    def full(self) -> str:
        """Why a proposal is refused."""
        return (
            f"{self.count} proposals with timeouts are open, with {self.size} bytes: at most max_open_proposals="
            f"{self.proposer.max_open} may be, with max_waiting_bytes + max_uncommitted_bytes="
            f"{self.proposer.max_patient_bytes}"
        )

    # No call between the look and the change of a number: no other thread comes between them.

    def _take(self, number: int) -> int:
        """It is not open any more."""
        patient = self.open.pop(number, None)
        if patient is not None:
            self._leave(patient)
        return 0

    def _leave(self, patient: Patient) -> int:
        count, size = patient.count, patient.size
        self.count -= count
        self.size -= size
        return 0

    def next_due(self) -> int | None:
        """When the watch thread is to look again; None: it need not. That thread's."""
        while self._incoming:
            heapq.heappush(self._due, self._incoming.popleft())
        if len(self._due) > 2 * len(self.open) + LEFT:
            self._due = [each for each in self._due if each[1] in self.open]
            heapq.heapify(self._due)
        return self._due[0][0] if self._due else None

    def _look_at(self, when: int, number: int) -> None:
        self._incoming.append((when, number))
        if when - self.clock.py_now() < SOON_NS or self.outcomes.unwatched:
            self.wake()

    def _attempt(self, number: int, patient: Patient) -> None:
        lag = self.lag()
        if self.clock.py_now() + lag > patient.deadline:
            patient.under_way, patient.reason = False, Busy(self.proposer.too_far_behind())
            self._later(number, patient)
            return
        if type(patient.data) is list:
            patient.under_way = True
            attempt = self.proposer.propose_many(patient.data)
        elif patient.payload is None:
            patient.under_way = True
            attempt = self.proposer.propose(patient.data, ENTRY_NORMAL)
        else:
            try:
                data = patient.payload()
            except SessionEnded as error:
                self._fail(number, patient, error)
                return
            except NotDone as error:
                patient.reason = error
                self._later(number, patient)
                return
            patient.under_way = True
            attempt = self.proposer.propose(data, ENTRY_SESSION)
        attempt.add_done_callback(lambda ended: self._ended(number, patient, ended))

    def _ended(self, number: int, patient: Patient, attempt: Future[Any]) -> None:
        """An attempt has ended. On whatever thread ends it."""
        if number not in self.open:
            return
        error = attempt.exception(0)
        repeats = patient.payload is not None
        again = isinstance(error, NotDone) and not error.reason.endswith(NEVER)
        again = again or (repeats and isinstance(error, Unknown))
        if again and not isinstance(error, SessionEnded) and not self.outcomes.ended and not self.outcomes.stopping:
            patient.maybe = patient.maybe or isinstance(error, Unknown)
            patient.under_way, patient.reason = False, error
            self._later(number, patient)
        elif isinstance(error, NotDone) and patient.maybe:
            self._fail(number, patient, unknown(f"{error}; an earlier attempt may have been applied", error))
        elif repeats and isinstance(error, Unknown):
            self._fail(number, patient, unknown(self.outcomes.why(str(error)), error.__cause__))
        elif error is not None:
            self._fail(number, patient, error)
        else:
            self._settle(number, patient, attempt.result(0))

    def _later(self, number: int, patient: Patient) -> None:
        """The next attempt is due after a pause."""
        self._look_at(min(self.clock.py_now() + patient.pause, patient.deadline), number)
        patient.pause = min(2 * patient.pause, PAUSE_MAX_NS)

    def _settle(self, number: int, patient: Patient, outcome: Any) -> int:
        self._take(number)
        if type(outcome) is not Done:
            if patient.future.settle_plain(outcome):
                patient.future.wake()
        else:
            self._settle_done(patient, outcome)
        return 0

    def _settle_done(self, patient: Patient, done: Done[Any]) -> int:
        if patient.future.settle(done.index, done.term, done.result):
            patient.future.wake()
        return 0

    def _fail(self, number: int, patient: Patient, error: BaseException) -> int:
        self._take(number)
        if patient.future.settle_error(error):
            patient.future.wake()
        return 0

    def _give_up(self, patient: Patient, error: BaseException) -> int:
        if patient.future.settle_error(error):
            self.outcomes.wake_one(patient.future)
        return 0

    def _outcome(self, patient: Patient, reason: str, cause: BaseException | None) -> BaseException:
        """What is known of one that ends without an attempt that has ended well."""
        if patient.under_way or patient.maybe:
            failure = unknown(reason, cause)
            if type(patient.data) is list:
                failure.outcomes = [unknown(reason, cause) for _ in patient.data]
            return failure
        return patient.reason if patient.reason is not None and cause is None else NotDone(reason)

    # --- the watch thread ----------------------------------------------------------------------------

    def work(self) -> None:
        """Make the attempts that are due, and end what is overdue."""
        now = self.clock.py_now()
        while (due := self.next_due()) is not None and due <= now:
            _, number = heapq.heappop(self._due)
            patient = self.open.get(number)
            if patient is None:
                continue
            if patient.future.done():
                self._take(number)  # its owner waits no more
            elif now >= patient.deadline:
                self._fail(number, patient, self._outcome(patient, OVERDUE, None))
            elif not patient.under_way:
                try:
                    self._attempt(number, patient)
                except Stopped:
                    patient.under_way = False
                    self.end(self.outcomes.cause)
                except Exception as error:
                    # Memory is short, say. Whatever it is, it is not about the other ones, nor about the node.
                    self._fail(number, patient, unknown(f"{type(error).__name__}: {error}", error))
