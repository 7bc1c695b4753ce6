"""The loop of a worker that looks round now and then, and whenever it is woken. Written in Python; knows no task."""

from __future__ import annotations

from .._native.threads import Event


class Periodic:
    """``run`` is the body of a thread: a round, then a rest of ``pause`` nanoseconds at most. ``stop`` ends it."""

    def __init__(self, pause: int) -> None:
        self.pause = pause
        #: wakes it
        self.event = Event()
        self.stopping = False

    def run(self) -> None:
        """Rounds, until it is stopped."""
        while True:
            # Before the round: what comes during it wakes.
            self.event.py_prepare()
            if not self.round():
                return
            self.rest()

    def round(self) -> bool:
        """Do what is due; False when it was to stop before it began, so that the last round is a whole one."""
        stopping = self.stopping
        self.work()
        return not stopping

    def work(self) -> None:
        """What is due. Waits for nothing of the node."""
        raise NotImplementedError

    def has_more(self) -> bool:
        """Whether something is due already."""
        return False

    def rest(self) -> None:
        """Sleep until something is due."""
        if self.stopping or self.has_more():
            self.event.py_cancel()
        else:
            self.event.py_wait(self.pause)

    def stop(self) -> None:
        """End it, after a last round. Any thread."""
        self.stopping = True
        self.event.py_wake()
