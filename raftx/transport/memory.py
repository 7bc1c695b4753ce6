"""MemoryNetwork: a network inside one process, with loss, delay, duplication and partitions on demand.

For tests of applications and of raftx itself. Faults are drawn from a seed; delays run on a thread
of the network's own.
"""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable

from ..errors import ConfigError, UsageError
from ..report import report
from .protocol import check_peer


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class MemoryNetwork:
    """Connects MemoryTransports by id. All methods may be called from any thread.

    seed: an integer; the faults are drawn from it. Every method raises ConfigError for what its arguments cannot be.
    """

    def __init__(self, seed: int = 0) -> None:
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise ConfigError(f"seed must be an integer, the same one for the same faults, not {seed!r}")
        self._random = random.Random(seed)
        self._lock = threading.Condition()
        self._nodes: dict[int, Callable[[bytes], object]] = {}
        self._cut: set[tuple[int, int]] = set()
        self._loss = 0.0
        self._duplicate = 0.0
        self._delay = (0.0, 0.0)
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._order = 0
        self._thread: threading.Thread | None = None
        #: frames handed to a receiver, frames lost on purpose
        self.delivered = 0
        self.lost = 0

    def __repr__(self) -> str:
        with self._lock:
            return f"<raftx.MemoryNetwork nodes={sorted(self._nodes)} cut={len(self._cut)}>"

    def transport(self) -> MemoryTransport:
        """An end of the network for one node."""
        return MemoryTransport(self)

    def set_faults(self, *, loss: float = 0.0, duplicate: float = 0.0, delay: tuple[float, float] = (0.0, 0.0)) -> None:
        """Lose and repeat with these probabilities (0..1); delay by a time drawn from [low, high] seconds."""
        for name, value in (("loss", loss), ("duplicate", duplicate)):
            if not _is_number(value) or not 0 <= value <= 1:
                raise ConfigError(f"{name} must be a probability, a number in 0..1, not {value!r}")
        good = isinstance(delay, (tuple, list)) and len(delay) == 2 and all([_is_number(each) for each in delay])
        if not good or not 0 <= delay[0] <= delay[1] <= threading.TIMEOUT_MAX:
            raise ConfigError(f"delay must be two numbers of seconds, 0 <= shortest <= longest, not {delay!r}")
        with self._lock:
            self._loss, self._duplicate, self._delay = loss, duplicate, (delay[0], delay[1])

    def cut(self, sender: int, recipient: int) -> None:
        """Lose everything in this one direction until ``heal``."""
        check_peer(sender)
        check_peer(recipient)
        with self._lock:
            self._cut.add((sender, recipient))

    def partition(self, *groups: Iterable[int]) -> None:
        """Only members of the same group hear each other; replaces earlier cuts."""
        for group in groups:
            if not isinstance(group, Iterable) or isinstance(group, (str, bytes)):
                raise ConfigError(f"groups must be ids of members, such as [1, 2], not {group!r}")
        sides = [list(group) for group in groups]
        for side in sides:
            for id in side:
                check_peer(id)
        with self._lock:
            known = {id for side in sides for id in side} | set(self._nodes)
            self._cut = {
                (a, b) for a in known for b in known if a != b and not any(a in side and b in side for side in sides)
            }

    def heal(self) -> None:
        """End partitions and cuts (not loss and delay)."""
        with self._lock:
            self._cut.clear()

    def _attach(self, id: int, deliver: Callable[[bytes], object]) -> None:
        with self._lock:
            if id in self._nodes:
                raise UsageError(f"node {id} is already on this network")
            self._nodes[id] = deliver

    def _detach(self, id: int) -> None:
        with self._lock:
            self._nodes.pop(id, None)
            thread = None
            if not self._nodes:
                self._waiting.clear()
                self._lock.notify_all()
                thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(2)

    def _send(self, sender: int, to: int, frame: bytes) -> bool:
        with self._lock:
            if to not in self._nodes:
                return False
            if (sender, to) in self._cut or self._random.random() < self._loss:
                self.lost += 1
                return True
            copies = 2 if self._random.random() < self._duplicate else 1
            low, high = self._delay
            if high > 0:
                if self._thread is None:
                    # First, so that nothing waits for a thread that the system did not give.
                    thread = threading.Thread(target=self._run, name="raftx-memory-network", daemon=True)
                    self._thread = thread
                    try:
                        thread.start()
                    except BaseException:
                        self._thread = None
                        raise
                for _ in range(copies):
                    self._order += 1
                    due = time.monotonic() + self._random.uniform(low, high)
                    heapq.heappush(self._waiting, (due, self._order, to, frame))
                self._lock.notify_all()
                return True
            deliver = self._nodes[to]
            self.delivered += copies
        for _ in range(copies):
            deliver(frame)
        return True

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._thread is not threading.current_thread():
                    return
                if not self._waiting:
                    self._lock.wait(1)
                    continue
                due, _, to, frame = self._waiting[0]
                pause = due - time.monotonic()
                if pause > 0:
                    self._lock.wait(pause)
                    continue
                heapq.heappop(self._waiting)
                deliver = self._nodes.get(to)
                if deliver is None:
                    continue
                self.delivered += 1
            try:
                deliver(frame)
            except BaseException as error:  # of a receiver's making; the others' frames wait behind it
                report(logging.ERROR, "node %d did not take a frame", to, error=error)


class MemoryTransport:
    """One node's end of a MemoryNetwork."""

    max_frame_bytes = 1 << 30

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._id = 0
        self._removed: set[int] = set()

    def __repr__(self) -> str:
        return f"<raftx.MemoryTransport{f' of node {self._id}' if self._id else ', not started'}>"

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        """Join the network as node ``id``."""
        self._network._attach(id, deliver)
        self._id = id

    def send(self, to: int, frame: bytes) -> bool:
        """Send a frame, subject to the network's faults; False when there is no such node, or it was removed here."""
        return to not in self._removed and self._network._send(self._id, to, frame)

    def add_peer(self, id: int, address: str) -> None:
        """Send to this node, as to every one that was not removed. The address is ignored."""
        check_peer(id)
        self._removed.discard(id)

    def remove_peer(self, id: int) -> None:
        """Send nothing more to this node; what it sends arrives as before."""
        check_peer(id)
        self._removed.add(id)

    def close(self) -> None:
        """Leave the network."""
        if self._id:
            self._network._detach(self._id)
            self._id = 0
