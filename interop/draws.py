"""What generators of schedules draw with: few calls, and the same in every version of Python's random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Draws:
    """Choices made of one sequence of numbers, which whoever inherits sets."""

    #: the next number, 0.0 up to 1.0
    random: Callable[[], float]

    def choice(self, of: Any) -> Any:
        """One of a sequence."""
        return of[int(self.random() * len(of))]

    def chance(self, probability: float) -> bool:
        """Whether something that likely happens."""
        return self.random() < probability

    def below(self, end: int) -> int:
        """0 .. end - 1."""
        return int(self.random() * end)
