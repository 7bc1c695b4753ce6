"""When a leader's proposals passed each stage: times of the last entry of each round of proposals.

A ring of the newest rounds, written by the engine alone; ``rows`` and ``timing`` copy from it for Python. Stages end
at: appended by the engine (queue), durable here (wal), acknowledged by another voter (network), committed (quorum),
applied (apply).
"""

from __future__ import annotations

from array import array

from .._native.threads import Clock
from ..types import Timing
from .rows import APPLY, BUCKETS, LEAST_BITS, NETWORK, QUEUE, QUORUM, STAGES, TOTAL, WAL

ROUNDS = 4096


class StageTimes:
    """Monotonic nanoseconds per round, in columns."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = Clock() if clock is None else clock
        #: the last entry of each round, its first one, and the term of both
        self.index = array("Q", bytes(8 * ROUNDS))
        self.first = array("Q", bytes(8 * ROUNDS))
        self.term = array("Q", bytes(8 * ROUNDS))
        self.since = array("q", bytes(8 * ROUNDS))
        self.at_append = array("q", bytes(8 * ROUNDS))
        self.at_stable = array("q", bytes(8 * ROUNDS))
        self.at_reply = array("q", bytes(8 * ROUNDS))
        self.at_commit = array("q", bytes(8 * ROUNDS))
        self.at_apply = array("q", bytes(8 * ROUNDS))
        #: rounds by stage and bucket, and nanoseconds by stage
        self.counts = array("Q", bytes(8 * len(STAGES) * BUCKETS))
        self.sums = array("Q", bytes(8 * len(STAGES)))
        self.head = self.stable_cursor = self.reply_cursor = self.commit_cursor = self.apply_cursor = 0

    def accepted(self, index: int, count: int, term: int, since: int, now: int) -> None:
        """A round of ``count`` entries that ends at ``index`` was appended; its oldest proposal came at ``since``."""
        place = self.head % ROUNDS
        self.index[place] = index
        self.first[place] = index + 1 - count
        self.term[place] = term
        self.since[place] = since
        self.at_append[place] = now
        self.at_stable[place] = self.at_reply[place] = self.at_commit[place] = self.at_apply[place] = 0
        self.head += 1
        self.count(QUEUE, now - since)
        # A cursor that was left behind (the leader has stepped down) skips what was overwritten.
        if self.head > ROUNDS:
            self.stable_cursor = max(self.stable_cursor, self.head - ROUNDS)
            self.reply_cursor = max(self.reply_cursor, self.head - ROUNDS)
            self.commit_cursor = max(self.commit_cursor, self.head - ROUNDS)
            self.apply_cursor = max(self.apply_cursor, self.head - ROUNDS)

    def stable(self, index: int, now: int) -> None:
        while self.stable_cursor < self.head and self.index[self.stable_cursor % ROUNDS] <= index:
            self.at_stable[self.stable_cursor % ROUNDS] = now
            self.count(WAL, now - self.at_append[self.stable_cursor % ROUNDS])
            self.stable_cursor += 1

    def awaits_reply(self) -> bool:
        """Whether there is a round that no other voter is known to have acknowledged."""
        return self.reply_cursor < self.head

    def replied(self, index: int, clock: Clock) -> None:
        """Another voter has everything up to ``index``."""
        if self.index[self.reply_cursor % ROUNDS] > index:
            return
        now = clock.now()
        while self.reply_cursor < self.head and self.index[self.reply_cursor % ROUNDS] <= index:
            self.at_reply[self.reply_cursor % ROUNDS] = now
            self.count(NETWORK, now - self.at_append[self.reply_cursor % ROUNDS])
            self.reply_cursor += 1

    def committed(self, index: int, clock: Clock) -> None:
        if self.commit_cursor == self.head or self.index[self.commit_cursor % ROUNDS] > index:
            return
        now = clock.now()
        while self.commit_cursor < self.head and self.index[self.commit_cursor % ROUNDS] <= index:
            self.at_commit[self.commit_cursor % ROUNDS] = now
            self.count(QUORUM, now - self.at_append[self.commit_cursor % ROUNDS])
            self.commit_cursor += 1

    def applied(self, index: int, now: int) -> None:
        while self.apply_cursor < self.head and self.index[self.apply_cursor % ROUNDS] <= index:
            self.at_apply[self.apply_cursor % ROUNDS] = now
            if self.at_commit[self.apply_cursor % ROUNDS]:
                self.count(APPLY, now - self.at_commit[self.apply_cursor % ROUNDS])
            self.count(TOTAL, now - self.since[self.apply_cursor % ROUNDS])
            self.apply_cursor += 1

    def count(self, stage: int, nanoseconds: int) -> None:
        """A round has been through a stage in so much time."""
        if nanoseconds < 0:
            nanoseconds = 0
        rest = (nanoseconds // 1000) >> LEAST_BITS
        bucket = 0
        while rest > 0 and bucket < BUCKETS - 1:
            rest >>= 1
            bucket += 1
        self.counts[stage * BUCKETS + bucket] += 1
        self.sums[stage] += nanoseconds

    def histogram(self, stage: int) -> tuple[tuple[int, ...], int]:
        """Rounds by bucket, and the nanoseconds of all of them. Any thread: a look."""
        at = stage
        counts = [int(self.counts[at * BUCKETS + bucket]) for bucket in range(BUCKETS)]
        return tuple(counts), int(self.sums[at])

    def py_count(self, stage: int, nanoseconds: int) -> None:
        """``count`` for Python."""
        self.count(stage, nanoseconds)

    def timing(self, index: int, term: int) -> Timing:
        """Of an entry of that term that has been applied here. All None when it was not appended here, or long ago."""
        for i in range(self.head - 1, self.head - 1 - min(self.head, ROUNDS - 64), -1):
            at = i % ROUNDS
            if self.term[at] != term or not self.first[at] <= index <= self.index[at]:
                continue
            since, append, stable, reply = self.since[at], self.at_append[at], self.at_stable[at], self.at_reply[at]
            commit = self.at_commit[at]
            # Where the engine has not noticed yet that it was applied, that was just now.
            apply = self.at_apply[at] or self.clock.py_now()
            if i + ROUNDS <= self.head:
                break  # overwritten meanwhile
            return Timing(
                (append - since) / 1000,
                (stable - append) / 1000 if stable else None,
                (reply - append) / 1000 if reply else None,
                (commit - append) / 1000 if commit else None,
                (apply - commit) / 1000 if commit else None,
            )
        return Timing()

    def rows(self) -> list[tuple[int, int, int, int, int, int]]:
        """(index, since, append, stable, commit, apply) of the rounds in the ring that are complete, oldest first.

        The engine goes on meanwhile: what it has overwritten, or may be overwriting, is left out.
        """
        out = []
        for i in range(self.head - min(self.head, ROUNDS - 64), self.head):
            at = i % ROUNDS
            row = (
                self.index[at],
                self.since[at],
                self.at_append[at],
                self.at_stable[at],
                self.at_commit[at],
                self.at_apply[at],
            )
            if row[5]:
                out.append((i, row))
        return [row for i, row in out if i + ROUNDS > self.head]
