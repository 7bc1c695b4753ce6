"""Begin and end of a node: its state, its workers, and what ended it. Knows nothing of what the workers do.

                                 close() before start()
    new ──────────────────────────────────────────────────────────────────► ended
     │ start()                                                                ▲
     ▼              assembled               close()             all released  │
    starting ─────────────────► running ───────────────► stopping ────────────┘
     │                                                    ▲      ▲│ close() again: something did not end in time
     └────────────────────────────────────────────────────┘      └┘
          an error, or close() meanwhile: what was taken is released

One thread at a time has the right to ``move`` the node from one state to the next; it keeps it for the whole of
``start`` or ``close``. Everybody else only says what it wants (``closing``), or adds a cause (``fail``): with a cause
a node is *failed*, whatever it is beneath that, and for good. No lock is held while anybody waits, and nothing here
needs one that another thread may hold: a signal handler may close the node at any moment.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .._native.threads import Event
from ..errors import Stopped, UsageError
from ..report import Lines
from .events import FORKED, NO_THREAD, Bell, Gate

NEW = "new"
STARTING = "starting"
RUNNING = "running"
STOPPING = "stopping"
ENDED = "ended"
FAILED = "failed"  # shown in place of any of these once there is a cause
GONE = "gone"  # from any state: the process that the node belongs to is gone, or this one was forked from it

MOVES = {
    NEW: (STARTING, ENDED),
    STARTING: (RUNNING, STOPPING),
    RUNNING: (STOPPING,),
    STOPPING: (STOPPING, ENDED),
    ENDED: (),
    GONE: (),
}

_WHY = {
    NEW: "it has not been started",
    STARTING: "it is being started",
    RUNNING: "it is being stopped",  # seen between a failure and its cause, or by a caller that came too late
    STOPPING: "it is being closed",
    ENDED: "it was closed",
}


class Abandoned(BaseException):
    """A wait for something of a node is over: the node belongs to another process, or was killed."""


def _nothing() -> None:
    """What a task does before its first round if it has nothing to prepare."""


@dataclass(frozen=True)
class Task:
    """The work of one of a node's workers: rounds, which wait for nothing, with rests between them.

    run: rounds to the last one and rests between them, for a thread. round: one of them; False after the last one.
    end: called after the last one, with what ``begin``, ``run`` or ``round`` raised, or None. event, idle_for: what
    wakes it, and how long it may sleep, in nanoseconds; -1: until it is woken; 0: a round would find something.
    ``idle_for`` announces the sleep before it looks. begin: called before the first round. rest: called between two
    rounds on a thread, so that the work leaves time for others. ends_futures: whether futures end, and their callbacks
    run, in it. shared: it needs no thread of its own.
    """

    run: Callable[[], object]
    round: Callable[[], object]
    end: Callable[[BaseException | None], None]
    event: Event
    idle_for: Callable[[], int]
    begin: Callable[[], None] = _nothing
    rest: Callable[[], None] = _nothing
    ends_futures: bool = False
    shared: bool = False


class Worker:
    """A task on its way from the first round to the last, and a gate that opens at its end.

    Whatever executor runs it does each part of the task through ``attempt``.
    """

    def __init__(self, what: str, life: Life, task: Task) -> None:
        self.what = what
        self.name = f"raftx-{what}-{life.id}"
        self.begun = False
        self.ended = Gate()
        self._task: Task | None = task
        self._taken_over = life.lines.taken_over()
        self._enders = life.enders if task.ends_futures else None

    def start(self) -> None:
        """Begin. Raises RuntimeError when the system has no thread left; nothing has begun then."""
        raise NotImplementedError

    def is_me(self) -> bool:
        """Whether the caller is called by this worker."""
        raise NotImplementedError

    def wait(self, deadline: float) -> bool:
        """Until it has ended; False at the deadline, which is a time of the executor's."""
        raise NotImplementedError

    def attempt(self, part: Callable[[Task], object]) -> bool:
        """Do a part of the task, its begin before the first; False after the last part, or a failure: it has ended."""
        task = self._task
        if task is None:
            return False
        enders, entered, me = self._enders, False, 0
        if enders is not None:
            me = threading.get_ident()
            entered = me not in enders
            enders.add(me)
        more = False
        try:
            with self._taken_over:  # one for all rounds: a worker has none within another
                try:
                    if not self.begun:
                        self.begun = True
                        task.begin()
                    more = bool(part(task))
                except BaseException as error:
                    if self._task is None:
                        raise  # it was abandoned meanwhile: nothing of the node is touched any more
                    # Whatever it is, nobody else would notice that this worker is gone.
                    task.end(error)
                else:
                    if self._task is not None and not more:
                        task.end(None)
        finally:
            if entered and enders is not None:
                enders.discard(me)
            if not more:
                self.abandon()
                del task
                self.ended.open()
        return more

    def abandon(self) -> None:
        """Nothing of the task is done any more, its end included."""
        self._task = None  # which leads back to the node: no cycle


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
    """State, workers and cause of the end of one node."""

    def __init__(self, id: int) -> None:
        self.id = id
        #: one of the keys of MOVES; changed by ``move`` and ``abandon`` alone
        self.phase = NEW
        #: somebody wants it closed; never unset
        self.closing = False
        #: opens when nothing can be proposed and decided here any more
        self.ended = Gate()
        self.lines = Lines()
        #: idents of the threads that end futures at the moment; NO_THREAD: no thread does any more, in a forked child
        self.enders: set[int] = set()
        self.workers: list[Worker] = []
        #: under one key the first cause of a failure, and a token; as ``_right``
        self._cause: dict[str, tuple[BaseException, object]] = {}
        #: under one key the thread that has the right: (ident, token). Taken by setdefault, which is one step
        self._right: dict[str, tuple[int, object]] = {}
        self._given_back = Bell()
        self._pid = os.getpid()
        _lives.add(self)

    # --- states, and the right to move from one to the next ----------------------------------------

    def move(self, to: str) -> None:
        """Go to another state, with the right. Raises UsageError when the table has no such way."""
        holder = self._right.get("holder")
        if holder is None or holder[0] != threading.get_ident():
            raise UsageError(f"node {self.id} cannot become {to}: this thread has not the right to it")
        if to not in MOVES[self.phase]:
            raise UsageError(f"node {self.id} cannot become {to}: it is {self.phase}")
        self.phase = to

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
        """Let others have it."""
        self._right.pop("holder", None)
        self._given_back.ring()

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
        return self.phase in (RUNNING, STOPPING) and not self._cause and not self.ended.is_open()

    @property
    def state(self) -> str:
        """For people: a node that failed says so, whatever was done with it since."""
        return FAILED if self._cause else self.phase

    def stopped(self) -> Stopped:
        """The error for a call that needs a running node; the failure is its cause."""
        failure = self.failure
        if failure is None:
            return Stopped(f"node {self.id} does not run: {_WHY.get(self.phase, self.phase)}")
        error = Stopped(f"node {self.id} does not run: it failed: {type(failure).__name__}: {failure}")
        error.__cause__ = failure
        return error

    def check_process(self) -> None:
        """Raises UsageError in a forked child."""
        if self.is_forked():
            raise UsageError(FORKED)

    def is_forked(self) -> bool:
        """Whether the node is another process's: this one was forked from it."""
        return self.phase == GONE or os.getpid() != self._pid

    def abandon(self) -> None:
        """The process that the node belongs to is gone, or is said to be: nothing of the node is touched any more."""
        self.phase = GONE
        self.enders.add(NO_THREAD)

    # --- workers ----------------------------------------------------------------------------------

    def start(self, worker: Worker) -> None:
        """Start a worker. Raises RuntimeError when the system has no thread left."""
        self.workers.append(worker)
        try:
            worker.start()
        except Exception:
            self.workers.remove(worker)
            raise

    def is_mine(self) -> bool:
        """Whether the caller is called by one of the node's workers."""
        return any([worker.is_me() for worker in self.workers])


_lives: weakref.WeakSet[Life] = weakref.WeakSet()


def _in_child() -> None:
    """After a fork, in the child: the threads are gone, and the node is the parent's."""
    for life in list(_lives):
        life.abandon()


def quietly(errors: list[BaseException], release: Callable[[], Any]) -> None:
    """Call it; what it raises is added to ``errors``, so that the next one can be released."""
    try:
        release()
    except BaseException as error:
        errors.append(error)


os.register_at_fork(after_in_child=_in_child)
