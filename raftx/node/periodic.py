"""The loop of a worker that looks round when something is due, or it is woken. Written in Python; knows no task."""

from __future__ import annotations

from .._native.threads import Event


class Periodic:
    """Rounds, with rests of ``pause`` nanoseconds at most between them (-1: until it is woken). ``stop`` ends it."""

    def __init__(self, pause: int) -> None:
        self.pause = pause
        #: wakes it
        self.event = Event()
        #: somebody wants another round
        self.wanted = False
        self.stopping = False

    def wake(self) -> None:
        """Let it have a round, behind the present one. Any thread."""
        self.wanted = True
        self.event.py_wake()

    def run(self) -> None:
        """Rounds, until it is stopped."""
        while self.round():
            pause = self.idle_for()
            if pause:
                self.event.py_wait(pause)

    def round(self) -> bool:
        """Do what is due; False when it was to stop before it began, so that the last round is a whole one."""
        stopping = self.stopping
        self.wanted = False
        self.work()
        return not stopping

    def work(self) -> None:
        """What is due. Waits for nothing of the node."""
        raise NotImplementedError

    def has_more(self) -> bool:
        """Whether something is due already."""
        return False

    def longest(self) -> int:
        """How long it may sleep unless it is woken, in nanoseconds; -1: for ever."""
        return self.pause

    def idle_for(self) -> int:
        """The same, once its sleep is announced; 0: something is due."""
        self.event.py_prepare()
        pause = 0 if self.stopping or self.wanted or self.has_more() else self.longest()
        if pause == 0:
            self.event.py_cancel()
        return pause

    def stop(self) -> None:
        """End it, after a last round. Any thread."""
        self.stopping = True
        self.event.py_wake()
