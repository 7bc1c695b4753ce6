"""The wall clocks of simulated members: most are right, the others are off by an hour, and jump.

What a clock shows is drawn from the seed, apart from all else. Decides nothing about the course of a schedule but the
times of its entries.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

EPOCH = 1_700_000_000  # seconds, at the beginning
HOUR = 3600.0
SKEW = 0.05  # of a clock that is right, in seconds
JUMPS = 0.01  # how often a clock that is wrong jumps, in each slice


class Walls:
    """Of the members of a world. ``clocks``: their ManualClocks, by id."""

    def __init__(self, seed: int, ids: Iterable[int]) -> None:
        self.rng = rng = random.Random(f"walls {seed}")
        ids = list(ids)
        #: those whose clocks are not right: never half of them
        self.wrong = set(rng.sample(ids, rng.randint(0, (len(ids) - 1) // 2)))
        self.ahead = {id: self._wrong() if id in self.wrong else rng.uniform(-SKEW, SKEW) for id in ids}

    def add(self, id: int) -> None:
        """Another member, whose clock is right."""
        self.ahead[id] = self.rng.uniform(-SKEW, SKEW)

    def set_right(self) -> None:
        """All clocks are right: where members come and go, those that are wrong could become the majority."""
        for id in self.wrong:
            self.add(id)
        self.wrong.clear()

    def _wrong(self) -> float:
        return self.rng.choice((-HOUR, HOUR, 2 * HOUR, 1.5))

    def true(self, now: int) -> int:
        """The time that it is, in nanoseconds since the epoch, so many after the beginning."""
        return EPOCH * 1_000_000_000 + now

    def pass_on(self, now: int, clocks: Mapping[int, Any]) -> None:
        """Let the wall clocks show what they show now."""
        for id, clock in clocks.items():
            if id in self.wrong and self.rng.random() < JUMPS:
                self.ahead[id] = self._wrong()
            clock.set_wall(EPOCH + now / 1e9 + self.ahead[id])
