"""What runs the workers of a node: a thread for each, or for several. Knows neither their tasks nor the node.

``Executor`` is the seam: ``raftx.testing.stepped`` has one that starts no threads and runs single rounds when it is
told to.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import Protocol

from .crew import SharedWorker
from .lifecycle import Life, Task, Worker

BEGIN_SECONDS = 1.0  # until a thread whose start was interrupted shows, if it exists
POLL_SECONDS = 0.002


class Executor(Protocol):
    """Makes and runs the workers of one node, and waits for what they bring about."""

    def adopt(self, life: Life) -> None:
        """A node that will be run by this one. Called once, when it is made."""

    def worker(self, what: str, life: Life, task: Task) -> Worker:
        """A worker for the task, not started."""

    def now(self) -> float:
        """Seconds, in the time that deadlines of ``start`` and ``close`` are told in."""

    def wait_for(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Until the condition holds; False at the deadline. The workers go on meanwhile."""

    def at_exit(self, close: Callable[[], None]) -> None:
        """The node runs: call this at the end of the process, unless ``not_at_exit`` is called before."""

    def not_at_exit(self, close: Callable[[], None]) -> None:
        """The node has ended."""


class ThreadWorker(Worker):
    """A worker with a thread of its own.

    The gate and not Thread.join is waited for: two joins of one thread, one in a signal handler that interrupted
    the other, wait for each other.
    """

    def __init__(self, what: str, life: Life, task: Task) -> None:
        super().__init__(what, life, task)
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Start the thread. Raises RuntimeError when the system has none left; nothing has begun then."""
        try:
            self.thread.start()
        except Exception:
            self.ended.open()
            raise

    def _run(self) -> None:
        self.attempt(_to_the_end)

    def is_me(self) -> bool:
        """Whether this is the calling thread."""
        return self.thread is threading.current_thread()

    def wait(self, deadline: float) -> bool:
        """Until it has ended; False at the deadline."""
        begin = min(deadline, time.monotonic() + BEGIN_SECONDS)
        while not self.begun and not self.ended.is_open():
            # A signal came while it was being started, or it is only just there.
            now = time.monotonic()
            if now >= deadline:
                return False
            if now >= begin and self.thread.ident is None:
                return True
            time.sleep(POLL_SECONDS)
        if not self.ended.wait(max(0.0, deadline - time.monotonic())):
            return False
        # It has nothing left to do but to go; only the thread that has the right comes here, so it is joined once.
        if self.begun:
            self.thread.join(max(0.0, deadline - time.monotonic()))
        return True


def _to_the_end(task: Task) -> bool:
    task.run()
    return False


class Threads:
    """A thread for each worker that needs one, the process's crew for the others, and the system's time.

    One object serves any number of nodes.
    """

    def adopt(self, life: Life) -> None:
        """There is nothing to remember."""

    def worker(self, what: str, life: Life, task: Task) -> Worker:
        """A worker, not started."""
        return SharedWorker(what, life, task) if task.shared else ThreadWorker(what, life, task)

    def now(self) -> float:
        """Seconds of the system's monotonic clock, whatever clock the node has."""
        return time.monotonic()

    def wait_for(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Until the condition holds; False at the deadline."""
        while not condition():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def at_exit(self, close: Callable[[], None]) -> None:
        """A process that ends without closing its nodes stops them before NNG and the interpreter go."""
        atexit.register(close)

    def not_at_exit(self, close: Callable[[], None]) -> None:
        """Forget about it."""
        atexit.unregister(close)
