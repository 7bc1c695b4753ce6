"""A session as its user has it: its proposals are numbered, repeated until they have an outcome, and applied once.

What the cluster keeps of it is in session_table.py; who repeats is patience.py. There is no lock: numbers come from a
counter, and a dict has the proposals that are open.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import Any, Generic, TypeVar

from ..errors import EntryTooLarge, NotDone, SessionEnded, SessionExpired, SessionFenced, Stopped, UsageError
from ..types import check_timeout
from .futures import Done, Future
from .patience import NOT_YET, Patience
from .proposer import Data, size_of
from .renewals import Renewals
from .session_format import CLOSE, COMMAND, HEADER, ID_BYTES, OPEN, OPENING, id_of
from .session_table import FENCED, NOT_KNOWN, TTL_MAX_MS, WINDOW

TIMEOUT = 10.0  # seconds for an outcome, unless told otherwise
TTL = 3600.0  # seconds without use after which the cluster forgets a session
SECONDS_MAX = 1e9  # what a clock in nanoseconds can count
CLOSED = "the session was closed"
STILL_OPEN = "proposals of the session are open"
R = TypeVar("R")


def nanoseconds(timeout: float) -> int:
    """A time to wait. Raises UsageError for what is none."""
    check_timeout(timeout, none=False)
    return int(min(max(timeout, 0.0), SECONDS_MAX) * 1e9)


class Session(Generic[R]):
    """Proposals that are applied once, and in order, whatever becomes of nodes and leaders meanwhile.

    From ``Node.session``. All methods from any thread. R: what ``apply`` of the state machine returns. It guarantees:

    * What ``propose`` was given is applied once if its future ends as done (or with an ApplyError), not at all if it
      ends as NotDone, and at most once if it ends as Unknown. Retries are the session's own, and change nothing of
      that: over changes of leaders, restarts of members, and snapshots.
    * The proposals of a session are applied in the order in which ``propose`` was called. One that ended without being
      applied is left out. Up to 1,000 may be open at once.
    * The result is that of the one time it was applied, on whatever member: also when it comes of a retry.
    * A session with a name goes on when it is opened again: in the next process, say, or on another member. ``open``
      tells how many of its proposals there have been. Who opened it before is fenced: nothing of theirs is applied any
      more, and their proposals end as SessionFenced.

    The cluster forgets a session that was not used for its time-to-live; its proposals end as SessionExpired, a
    NotDone, then, unless an attempt that may have been applied went before. While this object and its node live, the
    session is renewed when it has proposed nothing for a third of that time, by an entry of some 80 bytes: so it
    expires when its process ends, stands still, or is cut off for longer. ``Node.session(keep_alive=False)`` leaves
    that to its owner, who may call ``renew``. Close what is not needed any more.
    """

    def __init__(
        self,
        patience: Patience,
        max_entry_bytes: int,
        name: str | bytes | None,
        ttl: float,
        renewals: Renewals | None = None,
    ) -> None:
        if isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not 0.001 <= ttl <= TTL_MAX_MS / 1000:
            raise UsageError(f"ttl must be a number of seconds in 0.001..{TTL_MAX_MS // 1000}, not {ttl!r}")
        #: as it was given; and what the cluster knows it by: 16 bytes, random without a name
        self.name = name
        self.id = os.urandom(ID_BYTES) if name is None else id_of(name)
        self._patience = patience
        self._limit = max_entry_bytes - HEADER.size
        self._ttl_ms = max(1, int(ttl * 1000))
        #: its time-to-live, and when the cluster last said that it knows it, by this node's clock
        self.ttl_ns = self._ttl_ms * 1_000_000
        self.used_ns = patience.clock.py_now()
        self._renewing: Future[Any] | None = None
        #: tells our opening from those of others
        self._token = os.urandom(ID_BYTES)
        #: the opening that we expect, the one that is ours (0: none yet), and the sequence before our first one
        self._expected = self._opening = self._base = 0
        #: why it takes no more; and that this is its owner's wish, so that what was begun goes on to its end
        self._ended: NotDone | None = None
        self._is_closed = False
        self._closing: Future[Any] | None = None
        self._is_opening = False
        #: who wants to know that it is open
        self._waiting: list[Future[Any]] = []
        self._counter = itertools.count(1)
        #: numbers of proposals that are open; of those that get one, the largest that was given before
        self._open: dict[int, bool] = {}
        self._entering: dict[object, int] = {}
        self._newest = 0
        if renewals is not None:
            renewals.add(self)

    def __repr__(self) -> str:
        what = self.id.hex() if self.name is None else repr(self.name)
        state = "ended" if self._ended is not None else "open" if self._opening else "opening"
        return f"<raftx.Session {what} {state}>"

    def __enter__(self) -> Session[R]:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Stopped, UsageError):  # UsageError: in a forked child the session is the parent's
            self.close()

    def open(self, *, timeout: float = TIMEOUT) -> Future[int]:
        """Wait until the cluster knows the session; returns a Future of its last sequence before our first one.

        That is 0 for a new session. The next proposal has the sequence behind it, and so on: of a session whose
        proposals all ended as done, it is how many of them there have been. ``propose`` does not need it: what it is
        given meanwhile waits. Ends as NotDone after ``timeout`` seconds, and as SessionEnded when the session has
        ended; it may be called again. Raises Stopped, UsageError.
        """
        nanosec = nanoseconds(timeout)
        self._patience.check_process()
        if self._ended is not None or self._opening:
            future: Future[int] = Future()
            self._waiting.append(future)
            self._tell()
            return future
        future = self._patience.repeat(self._not_yet, nanosec, self)
        self._waiting.append(future)
        future.add_done_callback(self._waits_no_more)
        if self._ended is not None or self._opening:
            self._tell()
        return future

    def _waits_no_more(self, ended: Future[Any]) -> None:
        with contextlib.suppress(ValueError):
            self._waiting.remove(ended)

    # --- proposals -------------------------------------------------------------------------------

    def propose(self, data: Data, *, timeout: float = TIMEOUT) -> Future[Done[R]]:
        """Propose a command; returns a Future of Done(index, term, result), of the one time it is applied.

        It is proposed again and again until it has an outcome, for ``timeout`` seconds. It ends as NotDone when it was
        certainly not applied by then: without a leader all the time, say; at once when 1,000 proposals of this session
        are open; as Busy when as many proposals with timeouts are open as ``Node.propose`` says; as SessionEnded when
        the session has ended; as Unknown when nobody answered in time. ``data`` has at most max_entry_bytes - 48 bytes.
        Raises EntryTooLarge, Stopped, TypeError, UsageError.
        """
        nanosec = nanoseconds(timeout)
        self._patience.check_process()
        size = size_of(data)
        fixed = b"" if size > self._limit else bytes(data)
        size = max(size, len(fixed))  # others may have made it longer meanwhile
        if size > self._limit:
            raise EntryTooLarge(
                f"data of {size} bytes exceed {self._limit}, which is max_entry_bytes without the header of a session: "
                "split them, or raise Config.max_entry_bytes on every member"
            )
        if self._ended is not None or len(self._open) >= WINDOW:
            future: Future[Done[R]] = Future()
            why = self._ended if self._ended is not None else NotDone(f"{WINDOW:,} proposals of the session are open")
            future.set_exception(why)
            return future
        self._ask()
        number = self._number()
        try:
            future = self._patience.repeat(lambda: self._command(number, fixed), nanosec, self, 1, size)
        except BaseException:
            self._open.pop(number, None)
            raise
        future.add_done_callback(lambda ended: self._proposal_ended(number, ended))
        return future

    def renew(self, *, timeout: float = TIMEOUT) -> Future[Any]:
        """Tell the cluster that the session is needed still; returns a Future of None.

        What ``propose`` does by itself, and the node for a session that is kept alive. It ends as SessionEnded when the
        session has ended, as SessionExpired when the cluster has forgotten it meanwhile, and otherwise as that of
        ``propose``. Raises Stopped, UsageError.
        """
        nanosec = nanoseconds(timeout)
        self._patience.check_process()
        told: Future[Any] = Future()
        if self._ended is not None:
            told.set_exception(self._ended)
            return told
        told._owner = self._patience.outcomes
        self._ask()
        attempt = self._patience.repeat(self._renewal, nanosec, self)

        def ended(attempt: Future[Any]) -> None:
            self._renewed(attempt)
            error = attempt.exception(0)
            if error is None and self._ended is not None:
                error = self._ended
            with contextlib.suppress(UsageError):  # its owner waits no more
                if error is not None:
                    told.set_exception(error)
                else:
                    told.set_result(None)

        attempt.add_done_callback(ended)
        return told

    def close(self, *, timeout: float = TIMEOUT) -> Future[Any]:
        """Let the cluster forget the session; what is open ends first, in its own time. Returns a Future of Done.

        Further proposals end as SessionEnded. It waits until the cluster knows the session, and until every proposal
        has its outcome. Its future ends as that of ``propose`` does; where that comes first, the session is closed
        nevertheless as soon as it can be, while its node runs. Raises Stopped, UsageError.
        """
        nanosec = nanoseconds(timeout)
        self._patience.check_process()
        if self._ended is None:
            self._is_closed = True
            self._ended = SessionEnded(CLOSED)
            self._tell()
        self._closing = self._patience.repeat(self._close_entry, nanosec, self)
        return self._closing

    # --- inside ----------------------------------------------------------------------------------

    def _number(self) -> int:
        """The number of the next proposal. Invariant: while it is given, ``_acknowledged`` is at most that."""
        entering = object()
        self._entering[entering] = self._newest
        number = next(self._counter)
        self._open[number] = True
        self._newest = max(self._newest, number)  # one that is too small does no harm
        del self._entering[entering]
        return number

    def _acknowledged(self, number: int) -> int:
        """The lowest number whose answer is waited for, or less; ``number`` may have been cancelled just now."""
        entering = [before + 1 for before in list(self._entering.values())]
        return min([number, *list(self._open), *entering])

    def _check_open(self) -> None:
        """Raise NotDone, and see to it that it is opened, when the cluster does not know it yet."""
        if self._opening == 0:
            self._ask()
            raise NotDone(NOT_YET)

    def _command(self, number: int, data: bytes) -> bytes:
        self._check_open()
        sequence, acknowledged = self._base + number, self._base + self._acknowledged(number)
        return HEADER.pack(self.id, self._opening, sequence, acknowledged, COMMAND) + data

    def has_ended(self) -> bool:
        """Whether it takes nothing any more. Any thread."""
        return self._ended is not None

    def renew_soon(self, within_ns: int) -> None:
        """Renew it, unless that is under way. The watch thread; raises nothing."""
        if self._renewing is not None and not self._renewing.done():
            return
        with contextlib.suppress(Stopped, UsageError):
            self._ask()
            self._renewing = self._patience.repeat(self._renewal, within_ns, self)
            self._renewing.add_done_callback(self._renewed)

    def _renewal(self) -> bytes:
        """It is opened once more by who has it: that is one use of it, and takes it from nobody."""
        if self._opening == 0:
            raise NotDone(NOT_YET)
        return HEADER.pack(self.id, self._opening, 0, 0, OPEN) + OPENING.pack(self._token, self._ttl_ms)

    def _renewed(self, asked: Future[Any]) -> None:
        """The cluster has said whether it knows it still, or has not."""
        if asked.cancelled() or asked.exception(0) is not None:
            return
        is_ours, opening, _ = asked.result(0).result
        if is_ours:
            self.used_ns = self._patience.clock.py_now()
        elif self._ended is None:
            self._ended = SessionFenced(FENCED) if opening else SessionExpired(NOT_KNOWN)
            self._tell()

    def _close_entry(self) -> bytes:
        if self._opening == 0 and self._ended is not None and not self._is_closed:
            raise self._ended  # it was never ours
        self._check_open()
        if self._open:
            raise NotDone(STILL_OPEN)
        return HEADER.pack(self.id, self._opening, 0, 0, CLOSE)

    def _go_on_closing(self) -> None:
        """What a close waits for may be there: its next attempt is due, also where nobody waits for that any more."""
        if self._closing is None or self._open:
            return
        if self._closing.done():
            self._close_again()
        else:
            self._patience.hurry(self)

    def _close_again(self) -> None:
        """A close has ended before it could be done: it is done now, if nothing is open."""
        asked = self._closing
        if asked is None or not asked.done() or self._open:
            return
        if asked.cancelled() or asked.exception(0) is not None:
            with contextlib.suppress(Stopped, UsageError):
                self._closing = self._patience.repeat(self._close_entry, nanoseconds(TIMEOUT), self)

    def _proposal_ended(self, number: int, ended: Future[Any]) -> None:
        self._open.pop(number, None)
        error = None if ended.cancelled() else ended.exception(0)
        if error is None and not ended.cancelled():
            self.used_ns = self._patience.clock.py_now()
        if error is not None and isinstance(error.__cause__, SessionEnded):
            error = error.__cause__
        if isinstance(error, (SessionExpired, SessionFenced)) and self._ended is None:
            self._ended = error
        self._go_on_closing()

    def _not_yet(self) -> bytes:
        self.begin()
        raise NotDone(NOT_YET)

    def begin(self) -> None:
        """Let the cluster know it, unless that is done or under way. ``Node.session`` has done it. Raises Stopped."""
        self._ask()

    def _ask(self) -> None:
        if self._opening or self._is_opening or (self._ended is not None and not self._is_closed):
            return
        self._is_opening = True
        try:
            future = self._patience.repeat(self._asking, nanoseconds(TIMEOUT), self)
        except BaseException:
            self._is_opening = False
            raise
        future.add_done_callback(self._answered)

    def _asking(self) -> bytes:
        return HEADER.pack(self.id, self._expected, 0, 0, OPEN) + OPENING.pack(self._token, self._ttl_ms)

    def _answered(self, asked: Future[Any]) -> None:
        """The cluster has said whether it is ours, or has not."""
        self._is_opening = False
        error = asked.exception(0)
        if error is None:
            done: Done[Any] = asked.result(0)
            is_ours, opening, last = done.result
            if is_ours:
                self._base = last
                self._opening = opening
                self._tell()
                self._patience.hurry(self)
                self._close_again()
                return
            # Somebody had it before us, or has opened it meanwhile.
            self._expected = opening
        elif isinstance(error, SessionEnded) and self._ended is None:
            self._ended = error
        # Who waits for it asks again with the next attempt.
        if self._ended is not None and not self._is_closed:
            self._tell()
        elif error is None:
            with contextlib.suppress(Stopped):
                self._ask()

    def _tell(self) -> None:
        """It is open, or has ended: whoever waits for that learns of it."""
        while self._waiting:
            try:
                future = self._waiting.pop()
            except IndexError:
                return
            with contextlib.suppress(UsageError):  # it has ended
                if self._ended is not None:
                    future.set_exception(self._ended)
                else:
                    future.set_result(self._base)
