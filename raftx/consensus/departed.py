"""The votes and acknowledgements of removed members, in case one comes back within the same term.

A vote was given for a term and an acknowledgement for a leadership; neither ends when its member leaves the
configuration. A bounded table and nothing else: no messages are sent from here, and nothing is allocated.
"""

from __future__ import annotations

from array import array

DEPARTED_MAX = 256


class Departed:
    """One number for each of the members that were removed last, by id.

    Invariants: ids[0 .. count - 1] differ from each other, none of them is in the configuration, and they stand in the
    order in which they left. A full table forgets the one that left first: then that member has said nothing,
    which costs at most another round, because it may say it again.
    """

    def __init__(self) -> None:
        self.ids = array("Q", bytes(8 * DEPARTED_MAX))
        self.values = array("Q", bytes(8 * DEPARTED_MAX))
        self.count = 0

    def clear(self) -> None:
        """Another term or leadership: nothing that was said counts."""
        self.count = 0

    def put(self, id: int, value: int) -> None:
        """A member leaves; ``value`` is not 0."""
        if self.count == DEPARTED_MAX:
            self._drop(0)
        self.ids[self.count] = id
        self.values[self.count] = value
        self.count += 1

    def take(self, id: int) -> int:
        """A member comes: what it had said; 0 if nothing."""
        for place in range(self.count):
            if self.ids[place] == id:
                value = self.values[place]
                self._drop(place)
                return value
        return 0

    def _drop(self, place: int) -> None:
        self.count -= 1
        for behind in range(place, self.count):
            self.ids[behind] = self.ids[behind + 1]
            self.values[behind] = self.values[behind + 1]
