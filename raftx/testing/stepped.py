"""Stepped: runs a whole Node in the calling thread, one round of one of its workers at a time.

For simulators. Nothing here starts a thread, sleeps or reads the system's clock: what a node does is determined by
its inputs and by the order in which ``step`` is called.
"""

from __future__ import annotations

from collections.abc import Callable

from .._native.threads import Clock, ManualClock
from ..errors import UsageError
from ..node.lifecycle import Abandoned, Life, Task, Worker

FAR = 2**63 - 1
STEP_SECONDS = 0.001  # by which a manual clock moves on from one drive to the next, if nobody else drives


class SteppedWorker(Worker):
    """A worker that does a round when it is told to.

    Between two rounds it sleeps, as it would in a thread; whoever steps it may wake it too early.
    """

    def __init__(self, what: str, life: Life, task: Task, executor: Stepped) -> None:
        super().__init__(what, life, task)
        self._executor: Stepped | None = executor
        #: whether a round of it is under way: the caller was called by it
        self.stepping = False
        self.event, self._idle_for = task.event, task.idle_for
        #: until when it sleeps unless it is woken, by the node's clock; 0: it does not
        self.until = 0

    def start(self) -> None:
        """From now on it may be stepped."""
        if self._executor is not None:
            self._executor.started[self.what] = self

    def is_me(self) -> bool:
        """Whether a round of it is under way."""
        return self.stepping

    def wait(self, deadline: float) -> bool:
        """Drive the executor until it has ended."""
        executor = self._executor
        if executor is None:
            if not self.ended.is_open():
                raise Abandoned
            return True
        return executor.wait_for(self.ended.is_open, deadline)

    def step(self) -> bool:
        """One round; False after the last one."""
        if self.stepping:
            raise UsageError(f"a round of {self.name} is under way")
        self.stepping = True
        more = False
        if self.until:
            self.event.py_wait(0)  # what has woken it is about to be looked at
        self.until = 0
        try:
            more = self.attempt(_one_round)
            if more:
                self._fall_asleep(self._idle_for())
        finally:
            self.stepping = False
            if not more and self.ended.is_open():
                self.leave()
        return more

    def _fall_asleep(self, pause: int) -> None:
        executor = self._executor
        if pause and executor is not None:
            self.until = FAR if pause < 0 else executor.clock.py_now() + pause

    def is_asleep(self, now: int) -> bool:
        """Whether it sleeps: nothing has woken it, and its time has not come."""
        return now < self.until and self.event.py_sleeps()

    def leave(self) -> None:
        """It will not be stepped again."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.started.pop(self.what, None)


def _one_round(task: Task) -> object:
    return task.round()


class Stepped:
    """Runs one node: ``Node(..., clock=clock, executor=Stepped(clock))``. One object for each life of a node.

    clock: the one that the node has. drive: called whenever the node waits for something (in ``close``: for its
    workers to end, and for another member to lead): it has to step this node and whatever else there is, and to let
    time pass. The default steps each of this node's workers in turn and moves a ManualClock on by a millisecond.

    Everything belongs to one thread.
    """

    def __init__(self, clock: Clock, drive: Callable[[], None] | None = None) -> None:
        self.clock = clock
        self._drive = self.step_all if drive is None else drive
        #: workers that have been started and have not ended, by name, in the order they were started
        self.started: dict[str, SteppedWorker] = {}
        self._life: Life | None = None
        self.killed = False

    # --- for the caller that steps ----------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """The workers that can be stepped.

        They are of "report", "net", "reserve", "disk", "snapshot", "courier", "memory", "look", "watch", "apply"
        and "engine".
        """
        return tuple(self.started)

    def step(self, name: str) -> bool:
        """One round of a worker; False after its last one, and when it is not there (any more).

        What the round raises ends the node, as it would in a thread. Raises UsageError when a round of this very
        worker is under way.
        """
        worker = self.started.get(name)
        return worker is not None and worker.step()

    def awake(self) -> list[str]:
        """The workers that do not sleep, in the order they were started: their threads would have a round now."""
        now = self.clock.py_now()
        return [name for name, worker in self.started.items() if worker.until <= now or not worker.event.py_sleeps()]

    def is_asleep(self, name: str) -> bool:
        """Whether a worker sleeps, or is not there: its thread would have no round now.

        ``step`` may be called all the same: to wake up once too often is allowed.
        """
        worker = self.started.get(name)
        return worker is None or worker.is_asleep(self.clock.py_now())

    def step_all(self) -> None:
        """A round of each worker, but for those that have one under way, and a millisecond of a ManualClock."""
        for worker in list(self.started.values()):
            if not worker.stepping:
                self.step(worker.what)
        if isinstance(self.clock, ManualClock):
            self.clock.advance(STEP_SECONDS)

    def kill(self) -> None:
        """As if the process were killed: no worker does any more work, nothing is closed, no future ends.

        May be called in the middle of a round, of ``start`` or ``close`` (which returns at once then), by what these
        call: whatever that raises then, the node does nothing about it. What a storage or a transport raises in a round
        is taken by its adapter; anything else comes out of ``step`` or ``start``. The node is as one of a parent
        process afterwards: ``close`` does nothing, everything else raises UsageError. Files and connections are left
        to the simulator.
        """
        self.killed = True
        for worker in list(self.started.values()):
            worker.abandon()
            worker.leave()
        if self._life is not None:
            self._life.abandon()

    # --- for the node -----------------------------------------------------------------------------

    def adopt(self, life: Life) -> None:
        """The node that this one runs. Raises UsageError for a second one."""
        if self._life is not None:
            raise UsageError("a Stepped runs one node: make another one")
        self._life = life

    def worker(self, what: str, life: Life, task: Task) -> SteppedWorker:
        """A worker, not started."""
        return SteppedWorker(what, life, task, self)

    def now(self) -> float:
        """Seconds of the node's clock."""
        return self.clock.py_now() / 1e9

    def wait_for(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Drive until the condition holds; False at the deadline. Raises Abandoned if the node is killed meanwhile."""
        while not self.killed and not condition():
            if self.now() >= deadline:
                return False
            self._drive()
        if self.killed:
            raise Abandoned
        return True

    def at_exit(self, close: Callable[[], None]) -> None:
        """A node that nobody steps has nothing to end."""

    def not_at_exit(self, close: Callable[[], None]) -> None:
        """It has ended."""
