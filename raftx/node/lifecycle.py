"""Begin and end of a node: its phases, its threads, and what ended it. Knows nothing of what the threads do.

One thread at a time has the right to change the phase; it keeps it for the whole of ``start`` or ``close``.
Everybody else only says what he wants (``closing``), or adds a cause. No lock is held while anybody waits, and
nothing here needs one that another thread may hold: a signal handler may close the node at any moment.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..errors import Stopped, UsageError
from .events import Bell, Gate
from .report import Lines

NEW = "new"
STARTING = "starting"
RUNNING = "running"
CLOSING = "closing"
CLOSED = "closed"
FAILED = "failed"  # at its start; a node that failed later is RUNNING until it is closed, with a cause
FORKED = "forked"

_WHY = {
    NEW: "it has not been started",
    STARTING: "it is being started",
    RUNNING: "it is being stopped",  # seen between a failure and its cause, or by who came too late
    CLOSING: "it is being closed",
    CLOSED: "it was closed",
    FAILED: "it could not be started",
}

HARDLY_STARTED = 1.0  # seconds until a thread whose start was interrupted shows, if it exists


class Worker:
    """A thread of the node, and a gate that opens at its end.

    The gate and not Thread.join is waited for: two joins of one thread, one in a signal handler that interrupted
    the other, wait for each other.
    """

    def __init__(self, name: str, body: Callable[[], None], lines: Lines, threads: set[int] | None) -> None:
        self.ended = Gate()
        self.begun = False
        self._body: Callable[[], None] | None = body
        self._lines = lines
        self._threads = threads
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Raises RuntimeError when the system has no thread left; nothing has begun then."""
        try:
            self.thread.start()
        except Exception:
            self.ended.open()
            raise

    def _run(self) -> None:
        self.begun = True
        self._lines.take_over()
        if self._threads is not None:
            self._threads.add(threading.get_ident())
        body, self._body = self._body, None  # which leads back to the node: no cycle
        try:
            if body is not None:
                body()
        finally:
            del body
            if self._threads is not None:
                self._threads.discard(threading.get_ident())
            self.ended.open()

    def is_me(self) -> bool:
        """Whether this is the calling thread."""
        return self.thread is threading.current_thread()

    def wait(self, timeout: float) -> bool:
        """Until it has ended. False after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        hardly = min(deadline, time.monotonic() + HARDLY_STARTED)
        while not self.begun and not self.ended.is_open():
            # A signal came while it was being started, or it is only just there.
            now = time.monotonic()
            if now >= deadline:
                return False
            if now >= hardly and self.thread.ident is None:
                return True
            time.sleep(0.002)
        if not self.ended.wait(max(0.0, deadline - time.monotonic())):
            return False
        # It has nothing left to do but to go; only who has the right comes here, so nobody joins it twice.
        if self.begun:
            self.thread.join(max(0.0, deadline - time.monotonic()))
        return True


class Right:
    """What ``Life.take`` gives: to be given back, as a context."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._life.give_back()


class Life:
    """Phase, threads and cause of the end of one node."""

    def __init__(self, id: int) -> None:
        self.id = id
        #: changed by who has the right, and in a forked child
        self.phase = NEW
        #: somebody wants it closed; never unset
        self.closing = False
        #: opens when nothing can be proposed and decided here any more
        self.ended = Gate()
        self.lines = Lines()
        self.workers: list[Worker] = []
        #: under one key the first cause of a failure, and a token; as ``_right``
        self._cause: dict[str, tuple[BaseException, object]] = {}
        #: under one key who has the right: (ident, token). Taken by setdefault, which is one step
        self._right: dict[str, tuple[int, object]] = {}
        self._given_back = Bell()
        self._pid = os.getpid()
        _lives.add(self)

    # --- the right to change the phase ------------------------------------------------------------

    def take(self, timeout: float | None = None) -> Right | None:
        """Wait for the right; None when this thread has it already: we are in a signal handler, or called back.

        Raises UsageError after ``timeout`` seconds.
        """
        mine = (threading.get_ident(), object())
        holder = mine

        def got() -> bool:
            nonlocal holder
            holder = self._right.setdefault("holder", mine)
            return holder is mine or holder[0] == mine[0]

        if not self._given_back.wait_for(got, timeout):
            raise UsageError(f"node {self.id} is {self.phase} on another thread, and was not done within {timeout} s")
        return Right(self) if holder is mine else None

    def give_back(self) -> None:
        """Let others change the phase."""
        self._right.pop("holder", None)
        self._given_back.ring()

    def is_taken(self) -> bool:
        """Whether anybody has the right."""
        return "holder" in self._right

    # --- the cause --------------------------------------------------------------------------------

    @property
    def failure(self) -> BaseException | None:
        """What ended the node: the first cause."""
        found = self._cause.get("first")
        return None if found is None else found[0]

    def fail(self, error: BaseException) -> bool:
        """Something ended the node; True for the first cause. Any thread."""
        mine = (error, object())
        return self._cause.setdefault("first", mine) is mine

    def is_alive(self) -> bool:
        """Whether it takes part: it runs, or hands over what it has before it ends."""
        return self.phase in (RUNNING, CLOSING) and not self._cause and not self.ended.is_open()

    def name(self) -> str:
        """The phase, for people: a node that failed says so, whatever was done with it since."""
        return FAILED if self._cause else self.phase

    def stopped(self) -> Stopped:
        """The error for who wants something of a node that does not run; the failure is its cause."""
        failure = self.failure
        if failure is None:
            return Stopped(f"node {self.id} does not run: {_WHY.get(self.phase, self.phase)}")
        error = Stopped(f"node {self.id} does not run: it failed: {type(failure).__name__}: {failure}")
        error.__cause__ = failure
        return error

    def check_process(self) -> None:
        """Raises UsageError in a forked child."""
        if self.is_forked():
            raise UsageError("a node does not survive fork: make it in the process that uses it")

    def is_forked(self) -> bool:
        """Whether this process is a child of the node's."""
        return self.phase == FORKED or os.getpid() != self._pid

    # --- threads ----------------------------------------------------------------------------------

    def add(self, what: str, body: Callable[[], None], threads: set[int] | None = None) -> Worker:
        """A thread for ``body``, not started; its ident is in ``threads`` while it runs."""
        return Worker(f"raftx-{what}-{self.id}", body, self.lines, threads)

    def start(self, worker: Worker) -> None:
        """Start a thread. Raises RuntimeError when the system has none left."""
        self.workers.append(worker)
        try:
            worker.start()
        except Exception:
            self.workers.remove(worker)
            raise

    def is_mine(self) -> bool:
        """Whether the calling thread is one of the node's own."""
        return any([worker.is_me() for worker in self.workers])


_lives: weakref.WeakSet[Life] = weakref.WeakSet()


def _in_child() -> None:
    """After a fork, in the child: the threads are gone, and the node is the parent's."""
    for life in list(_lives):
        life.phase = FORKED


def quietly(errors: list[BaseException], release: Callable[[], Any]) -> None:
    """Call it; what it raises is added to ``errors``, so that the next one can be released."""
    try:
        release()
    except BaseException as error:
        errors.append(error)


os.register_at_fork(after_in_child=_in_child)
