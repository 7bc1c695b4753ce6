"""The threads that the helpers of all nodes in a process share. Knows neither what these do nor the nodes.

Most of a node's workers sleep most of the time: those that write log lines, end what is overdue, answer questions. They
have no thread of their own. One thread, the dispatcher, sleeps for all of them: until one is woken, or its time has
come. It hands that one to a thread of the crew, which does its rounds until it would rest again. A round may hold that
thread up, in a logging handler say. So whoever is not taken within a millisecond gets another thread: no worker waits
for one that is held up. A thread that is not needed for some seconds ends, but for one: so a system without threads
stops nobody for good. The dispatcher runs nothing foreign. A crew ends with its last worker; the next makes another.

Nothing here holds a lock: a signal handler may interrupt ``SharedWorker.start`` and ``wait`` at any line, start and
close nodes. What several threads change is changed in one step of a built-in container.
"""

from __future__ import annotations

import collections
import contextlib
import heapq
import itertools
import os
import select
import threading
import time
from collections.abc import Callable

from .._native.threads import Event, monotonic_ns
from .lifecycle import Life, Task, Worker

KEEP_NS = 20_000_000  # a worker that rests for no longer keeps its thread
IDLE_SECONDS = 5.0  # after which a thread ends that nobody needed
SOON_NS = 1_000_000  # in which a thread may be done with what it has, before another one is called
AGAIN_NS = 50_000_000  # before the system is asked for a thread again, and a worker is looked at that cannot be watched
GONE_SECONDS = 1.0  # so long the end of the last worker waits for the threads to go
FAR = 2**63 - 1
ASLEEP = select.EPOLLIN | select.EPOLLONESHOT


class SharedWorker(Worker):
    """A worker without a thread of its own. Its task says how long it may sleep, and what wakes it."""

    def __init__(self, what: str, life: Life, task: Task) -> None:
        super().__init__(what, life, task)
        self.event: Event = task.event
        #: how long it may sleep after its last turn; -1: until it is woken. Its thread's
        self.pause = 0
        #: a number while it sleeps, and 0 while a thread has it. Set by that thread, and to 0 by the dispatcher
        self.nap = 0
        #: the ident of the thread that does a round of it; 0: none does
        self._thread = 0
        #: gone once the first round is settled: it will be done, or never
        self._unbegun = [None]
        self._started = False
        self._crew: Crew | None = None

    def start(self) -> None:
        """Join the crew. Raises RuntimeError when there is none and the system has no thread left for one."""
        crew = _present.get("crew")
        if crew is None or not crew.enter(self):
            crew = Crew(self)
            try:
                crew.begin()
            except Exception:
                self.ended.open()
                raise
            _present["crew"] = crew
        self._crew = crew
        self._started = True

    def settle(self) -> bool:
        """Whether the caller is the first to say what becomes of a worker that has not begun."""
        try:
            self._unbegun.pop()
        except IndexError:
            return False
        return True

    def is_me(self) -> bool:
        """Whether a round of it is under way on the calling thread."""
        return self._thread == threading.get_ident()

    def wait(self, deadline: float) -> bool:
        """Until it has ended; False at the deadline."""
        if not self._started and self.settle():
            return True  # a signal came while it was being started: it will not begin
        if not self.ended.wait(max(0.0, deadline - time.monotonic())):
            return False
        if self._crew is not None:
            self._crew.wait_for_end(self, deadline)
        return True

    def turn(self) -> bool:
        """Rounds until it would rest; False when it has ended. On the one thread that has it."""
        self._thread = threading.get_ident()
        try:
            self.event.py_wait(0)  # what woke it is about to be looked at
            return self.attempt(self._rounds)
        finally:
            self._thread = 0

    def _rounds(self, task: Task) -> bool:
        while task.round():
            task.rest()
            self.pause = task.idle_for()
            if not 0 <= self.pause <= KEEP_NS:
                return True
            if self.pause:
                self.event.py_wait(self.pause)
        return False


class Crew:
    """Dispatcher and threads, from the first worker to the last."""

    def __init__(self, first: SharedWorker) -> None:
        self._epoll = select.epoll()
        #: wakes the dispatcher
        self._event = Event()
        self._epoll.register(self._event, select.EPOLLIN)
        #: workers that are new. Any thread adds
        self._incoming: collections.deque[SharedWorker] = collections.deque([first])
        #: those that have not ended, by the descriptor of their event. The dispatcher adds, who ends one removes it
        self._members: dict[int, SharedWorker] = {}
        #: when one that has just gone to sleep is to be looked at: (when, its nap, itself). Any thread of the crew adds
        self._timed: collections.deque[tuple[int, int, SharedWorker]] = collections.deque()
        #: the same in order. The dispatcher's
        self._due: list[tuple[int, int, SharedWorker]] = []
        #: the time up to which the dispatcher sleeps if nothing comes
        self._until = FAR
        #: workers that a thread is to take, in the order in which they were woken
        self._ready: collections.deque[SharedWorker] = collections.deque()
        #: a locked lock for each thread that has nothing to do
        self._idle: list[threading.Lock] = []
        #: who takes this out stays, however long it has nothing to do
        self._staying = [None]
        #: all that were started and have perhaps not ended
        self._threads: list[threading.Thread] = []
        self._naps = itertools.count(1)
        #: no worker can join any more, unless the dispatcher finds that one has; and the threads are to end
        self._closed = self._ended = False

    # --- any thread ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the dispatcher and a thread. Raises RuntimeError, and nothing has begun, when there are not so many."""
        try:
            self._hire()
            self._start(self._dispatch, "raftx-helpers")
        except BaseException:
            self._end()
            self._incoming.clear()
            self._wait_until_gone(time.monotonic() + GONE_SECONDS)
            raise

    def enter(self, worker: SharedWorker) -> bool:
        """Take this worker; False when it is too late."""
        self._incoming.append(worker)
        # Said first, looked at behind it: the dispatcher closes first and looks for workers behind that.
        if self._closed:
            with contextlib.suppress(ValueError):  # it was seen, and taken
                self._incoming.remove(worker)
                return False
        self._event.py_wake()
        return True

    def wait_for_end(self, worker: SharedWorker, deadline: float) -> None:
        """Until its thread is done with it, and, if it was the last one, all have ended. Not on one of these."""
        limit = min(deadline, time.monotonic() + GONE_SECONDS)
        me = threading.get_ident()
        if any([each.ident == me for each in list(self._threads)]):
            return
        pause = 0.00005
        while self._members.get(worker.event.fileno()) is worker and time.monotonic() < limit:
            time.sleep(pause)
            pause = min(2 * pause, 0.002)
        self._wait_until_gone(limit)

    def _wait_until_gone(self, limit: float) -> None:
        pause = 0.00005
        while not self._members and not self._incoming and any([each.is_alive() for each in list(self._threads)]):
            if time.monotonic() >= limit:
                return
            time.sleep(pause)
            pause = min(2 * pause, 0.002)

    def abandon(self) -> None:
        """The process is a forked child: it has none of the threads, and must not change what its parent sleeps on."""
        self._closed = self._ended = True
        self._epoll.close()

    # --- the dispatcher ------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        while True:
            try:
                if not self._look():
                    break
            except Exception:  # memory is short, say; what sleeps is woken by nobody else
                time.sleep(AGAIN_NS / 1e9)
        self._end()
        self._epoll.close()
        # Nothing of those that were here is kept.
        self._timed.clear()
        self._due.clear()
        if _present.get("crew") is self:
            _present.pop("crew", None)

    def _look(self) -> bool:
        """Wake who is to be woken, after a sleep; False when there is no worker any more."""
        self._event.py_prepare()
        self._take_new()
        self._until = FAR  # before the look: what comes behind it wakes
        now = monotonic_ns()
        self._until = until = self._take_due(now)
        if not self._members:
            self._closed = True
            if not self._incoming:
                return False
            self._closed = False
            return True
        # Rounded up: too early would be once more.
        woken = self._epoll.poll(-1 if until == FAR else max(0, (until - now + 999_999) // 1_000_000) / 1000)
        self._event.py_wait(0)
        for descriptor, _ in woken:
            worker = self._members.get(descriptor)
            if worker is not None:
                self._wake(worker)
        return True

    def _take_new(self) -> None:
        while self._incoming:
            try:
                worker = self._incoming.popleft()
            except IndexError:
                return
            if not worker.settle():
                continue
            descriptor = worker.event.fileno()
            self._members[descriptor] = worker
            with contextlib.suppress(OSError):  # it is looked at now and then
                self._epoll.register(descriptor, 0)
            self._ready.append(worker)

    def _take_due(self, now: int) -> int:
        """Wake those whose time has come; when the next one's comes, or we have to look whether all were taken."""
        due = self._due
        while self._timed:
            heapq.heappush(due, self._timed.popleft())
        if len(due) > 2 * len(self._members) + 1000:  # most of them were woken before
            due = self._due = [each for each in due if each[2].nap == each[1]]
            heapq.heapify(due)
        while due and due[0][0] <= now:
            _, nap, worker = heapq.heappop(due)
            if worker.nap == nap:
                self._wake(worker)
        until = due[0][0] if due else FAR
        if self._ready:
            until = min(until, now + (SOON_NS if self._call() else AGAIN_NS))
        return until

    def _wake(self, worker: SharedWorker) -> None:
        """If it sleeps."""
        if worker.nap:
            worker.nap = 0
            self._ready.append(worker)

    def _call(self) -> bool:
        """Let another thread look for what is ready; False when there is none. Who returns does so, too."""
        try:
            self._idle.pop().release()
        except IndexError:
            try:
                self._hire()
            except (RuntimeError, MemoryError):
                return False
        return True

    def _hire(self) -> None:
        """Another thread. Raises RuntimeError when the system has none left."""
        self._threads[:] = [each for each in self._threads if each.is_alive()]
        self._start(self._body, "raftx-helper")

    def _start(self, body: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _end(self) -> None:
        """No worker is left: let the threads go."""
        self._closed = self._ended = True
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().release()

    # --- the other threads ---------------------------------------------------------------------------

    def _body(self) -> None:
        me = threading.current_thread()
        while True:
            try:
                worker = self._ready.popleft()
            except IndexError:
                if self._ended or not self._is_called():
                    return
                continue
            name, me.name = me.name, worker.name
            self._serve(worker)
            me.name = name

    def _is_called(self) -> bool:
        """Sleep until there is something to do; False when this thread is not needed any more."""
        lock = threading.Lock()
        lock.acquire()
        self._idle.append(lock)
        if self._ready or self._ended:
            # It came before anybody could call us.
            if not self._is_withdrawn(lock):
                lock.acquire()
            return True
        while True:
            try:
                staying = [self._staying.pop()]
            except IndexError:
                staying = []
            called = lock.acquire(timeout=threading.TIMEOUT_MAX if staying else IDLE_SECONDS)
            self._staying += staying
            if called:
                return True
            if self._staying:
                continue
            if self._is_withdrawn(lock):
                return False
            lock.acquire()
            return True

    def _is_withdrawn(self, lock: threading.Lock) -> bool:
        """Whether nobody has called this thread, nor will."""
        try:
            self._idle.remove(lock)
        except ValueError:
            return False
        return True

    def _serve(self, worker: SharedWorker) -> None:
        """Turns of it, until it sleeps, or has ended."""
        try:
            more = worker.turn()
        except BaseException:  # it was abandoned
            more = False
        if more:
            self._let_sleep(worker)
            return
        descriptor = worker.event.fileno()
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(descriptor)
        self._members.pop(descriptor, None)
        if not self._members:
            self._event.py_wake()

    def _let_sleep(self, worker: SharedWorker) -> None:
        """It has announced its sleep and looked again. From its nap on somebody else may have it."""
        pause, descriptor = worker.pause, worker.event.fileno()
        nap = worker.nap = next(self._naps)
        if pause >= 0:
            self._look_in(pause, nap, worker)
        try:
            # If it was woken since it looked, it is woken at once.
            self._epoll.modify(descriptor, ASLEEP)
        except Exception:
            self._look_in(AGAIN_NS, nap, worker)

    def _look_in(self, pause: int, nap: int, worker: SharedWorker) -> None:
        when = monotonic_ns() + pause
        self._timed.append((when, nap, worker))
        # Said first, looked at behind it: the dispatcher takes what is there before it says until when it sleeps.
        if when < self._until:
            self._event.py_wake()


#: under one key the crew that takes workers. Two threads may each make one at a time: both end with their last worker
_present: dict[str, Crew] = {}


def _in_child() -> None:
    """After a fork, in the child."""
    while _present:
        _present.popitem()[1].abandon()


os.register_at_fork(after_in_child=_in_child)
