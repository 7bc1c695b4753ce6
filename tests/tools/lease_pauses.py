"""Leaders that are stopped (SIGSTOP) for longer than an election, while clients read from them by lease.

Used by ``histories.py``. One client writes growing numbers; others read them from whoever led at the last look, and go
on asking it while it stands still. An answer that is smaller than what was acknowledged, or read, before it was asked
for is a stale read.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.kv_cluster import Asked, Broken, KvCluster, Member

KEY = "x"
READERS = 3
EVERY = 0.004  # seconds between two reads of one reader
PAUSE_MIN = 0.25  # seconds, and until another leader has acknowledged a write
STUTTERS = 0.4  # so often a leader that goes on is stopped again, a few times
AFTER_MIN, AFTER_MAX = 0.05, 0.5  # seconds that it then lasts
MOVED = 15.0  # seconds in which that must have happened
DRAIN = 10.0  # seconds in which a member that goes on must have answered

COLUMNS = ("pauses", "new leader", "reads", "done", "asked late", "late done", "writes", "stale", "seconds")
PAUSES_HEAD = "".join([f"{name:>12}" for name in COLUMNS])


@dataclass
class Pauses:
    """What came of it. late: asked while the leader stood still, after another one had acknowledged a write."""

    pauses: int = 0
    moved: int = 0
    reads: int = 0
    done: int = 0
    late: int = 0
    late_done: int = 0
    writes: int = 0
    stale: int = 0
    seconds: float = 0.0
    first: str = ""
    broken: str = ""

    def row(self) -> str:
        numbers = (self.pauses, self.moved, self.reads, self.done, self.late, self.late_done, self.writes, self.stale)
        rest = f"  {self.broken}" if self.broken else f"  the first: {self.first}" if self.first else ""
        return "".join([f"{number:>12,}" for number in numbers]) + f"{self.seconds:>12.0f}{rest}"


class Course:
    """The clients."""

    def __init__(self, cluster: KvCluster, draw: random.Random) -> None:
        self.cluster, self.draw = cluster, draw
        self.leader: Member = cluster.members[cluster.leader()]
        self.paused: Member | None = None
        self.stop = False
        self.reads: list[Asked] = []
        self.writes: list[Asked] = []
        self.threads = [threading.Thread(target=self._write)]
        self.threads += [threading.Thread(target=self._read) for _ in range(READERS)]
        for thread in self.threads:
            thread.start()

    def _write(self) -> None:
        number = 0
        while not self.stop:
            number += 1
            member = self.draw.choice([each for each in self.cluster.members.values() if each is not self.paused])
            asked = Asked({"do": "write", "key": KEY, "value": number, "by": "plain"})
            self.writes.append(asked)
            # One after the other, so that they grow: what is open may still come.
            member.ask(asked).ended.wait(5.0)
            time.sleep(0.002)

    def _read(self) -> None:
        while not self.stop:
            asked = Asked({"do": "read", "key": KEY, "level": "lease"})
            self.reads.append(asked)
            self.leader.ask(asked)
            time.sleep(EVERY)

    def end(self) -> None:
        self.stop = True
        for thread in self.threads:
            thread.join()

    def acknowledged(self, since: int) -> bool:
        """Whether a write that was asked for after that moment is done."""
        return any([each.outcome == "done" and each.invoked > since for each in self.writes[-200:]])

    def pause(self) -> tuple[int, int]:
        """One pause: when a write was done by another leader, and when the first one went on. Raises Broken."""
        self.leader = member = self.cluster.members[self.cluster.leader()]
        time.sleep(0.05 + self.draw.random() * 0.05)
        self.paused = member
        begun = time.monotonic_ns()
        member.signal(signal.SIGSTOP)
        try:
            end = time.monotonic() + MOVED
            time.sleep(PAUSE_MIN)
            # Proposals to whoever stood still, or before another one led, take a while to end.
            while not self.acknowledged(begun + int(PAUSE_MIN * 1e9)):
                if time.monotonic() > end:
                    raise Broken(f"nobody else leads after {MOVED} s")
                time.sleep(0.005)
            moved = time.monotonic_ns()
            time.sleep(AFTER_MIN + self.draw.random() * (AFTER_MAX - AFTER_MIN))
        finally:
            ended = time.monotonic_ns()
            member.signal(signal.SIGCONT)
        if self.draw.random() < STUTTERS:
            self._stutter(member)
        until = time.monotonic() + DRAIN
        for asked in [each for each in self.reads[-5000:] if begun < each.invoked < ended]:
            asked.ended.wait(max(0.0, until - time.monotonic()))
        self.paused = None
        return moved, ended

    def _stutter(self, member: Member) -> None:
        """It goes on, but not far: in the middle of what it has to do now, it stands still again."""
        for _ in range(3):
            time.sleep(0.004 * self.draw.random())
            member.signal(signal.SIGSTOP)
            try:
                time.sleep(0.1 * self.draw.random())
            finally:
                member.signal(signal.SIGCONT)


def judge(pauses: Pauses, reads: list[Asked], writes: list[Asked]) -> None:
    """Count stale reads."""
    done = [each for each in reads if each.outcome == "done" and each.returned is not None]
    # What had been seen by a moment: events by time, returns first noted when a read began after them.
    events: list[tuple[int, int, int]] = []
    for each in writes:
        if each.outcome == "done" and each.returned is not None:
            events.append((each.returned, 1, each.request["value"]))
    for each in done:
        assert each.returned is not None
        events.append((each.returned, 1, each.answer["result"]))
        events.append((each.invoked, 0, each.answer["result"]))
    # Sorted by when a read began; at one moment beginnings come first, so what touches is concurrent.
    newest = 0
    for moment, kind, value in sorted(events):
        if kind:
            newest = max(newest, value)
        elif value < newest:
            pauses.stale += 1
            pauses.first = pauses.first or f"{value} was read at {moment} ns, when {newest} had been acknowledged"
    pauses.reads, pauses.done = len(reads), len(done)
    pauses.writes = sum([each.outcome == "done" for each in writes])


def run_pauses(directory: Path, count: int, seed: int, until: float, careless: bool = False) -> Pauses:
    """So many pauses of a cluster of three, or as many as begin before ``until`` (time.time())."""
    pauses, begun = Pauses(), time.monotonic()
    cluster = KvCluster(directory, 3, careless)
    windows = []
    try:
        course = Course(cluster, random.Random(seed))
        try:
            while pauses.pauses < count and time.time() < until:
                windows.append(course.pause())
                pauses.pauses += 1
                pauses.moved += course.cluster.leader() != course.leader.id
        except Broken as error:
            pauses.broken = str(error)
        finally:
            course.end()
    finally:
        cluster.close()
    judge(pauses, course.reads, course.writes)
    for moved, ended in windows:
        late = [each for each in course.reads if moved < each.invoked < ended]
        pauses.late += len(late)
        pauses.late_done += sum([each.outcome == "done" for each in late])
    pauses.seconds = time.monotonic() - begun
    return pauses
