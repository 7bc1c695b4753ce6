"""Flow control in plain Python: the definition of what ``_core/flow.pxi`` does faster.

Windows of unacknowledged appends, and the columns of what is known about each member. Same names and
results as the compiled module; both change in one commit. No rules of Raft here, no I/O, no clock, no
threads. Sets of slots are masks in an int. Every object belongs to one thread at a time.
"""

from __future__ import annotations

import operator
from array import array
from collections import deque
from collections.abc import Sequence
from typing import final

from .._native.checks import check_index
from .._native.memory import _int, _number
from ..errors import Corruption
from ..types import NUMBER_MAX

SLOTS = 64
COLUMN_NAMES = (
    "ids", "match", "next", "sent_commit", "pending_snapshot", "requested_snapshot", "commit_group",
)  # fmt: skip


def _slot(value: object) -> int:
    slot = _int(value)
    if not 0 <= slot < SLOTS:
        raise IndexError("slot must be in 0..63")
    return slot


def bit(slot: int) -> int:
    """A slot's bit in a mask. Masks are made with it and nothing else: in compiled code ``1 << slot`` is too narrow."""
    check_index(slot, SLOTS)
    return 1 << slot


def popcount(mask: int) -> int:
    """How many slots are in ``mask``."""
    return mask.bit_count()


@final
class Inflights:
    """Windows of unacknowledged appends, one a slot (etcd's tracker.Inflights).

    Invariant: count[slot] <= capacity. The bytes may pass max_bytes (0: no limit) by the one message
    that fills the window, the count a capacity that was lowered.
    """

    __slots__ = ("_windows", "capacity", "count", "limit", "max_bytes", "total")

    def __init__(self, capacity: int, max_bytes: int = 0) -> None:
        capacity = _number(capacity, 2**32)
        if not 1 <= capacity < 2**31:
            raise ValueError("capacity must be in 1..2^31-1")
        self.capacity = capacity
        self.max_bytes = _number(max_bytes)
        self.count = array("I", [0] * SLOTS)
        self.limit = array("I", [capacity] * SLOTS)  # capacity of each window
        self.total = array("Q", [0] * SLOTS)
        self._windows: list[deque[tuple[int, int]]] = [deque() for _ in range(SLOTS)]

    def __repr__(self) -> str:
        used = {slot: count for slot, count in enumerate(self.count) if count}
        return f"<Inflights capacity={self.capacity} max_bytes={self.max_bytes} by slot: {used}>"

    def add(self, slot: int, index: int, size: int) -> int:
        """Record a sent append; raises Corruption when the window is full."""
        if self.full(slot):
            raise Corruption("cannot add into a full inflights window")
        self._windows[slot].append((index, size))
        self.count[slot] += 1
        self.total[slot] += size
        return 0

    def free_to(self, slot: int, index: int) -> None:
        """Forget all up to and including ``index``."""
        check_index(slot, SLOTS)
        window = self._windows[slot]
        while window and window[0][0] <= index:
            self.total[slot] -= window.popleft()[1]
            self.count[slot] -= 1

    def full(self, slot: int) -> bool:
        """Whether nothing may be added."""
        check_index(slot, SLOTS)
        return self.count[slot] >= self.limit[slot] or 0 < self.max_bytes <= self.total[slot]

    def reset(self, slot: int) -> None:
        """Empty the window."""
        check_index(slot, SLOTS)
        self._windows[slot].clear()
        self.count[slot] = self.total[slot] = 0

    def py_add(self, slot: int, index: int, size: int) -> None:
        """Record a sent append; raises Corruption when the window is full."""
        self.add(_slot(slot), _number(index), _number(size))

    def py_free_to(self, slot: int, index: int) -> None:
        """Forget all up to and including ``index``."""
        self.free_to(_slot(slot), _number(index))

    def py_full(self, slot: int) -> bool:
        """Whether nothing may be added."""
        return self.full(_slot(slot))

    def py_reset(self, slot: int) -> None:
        """Empty the window."""
        self.reset(_slot(slot))

    def set_capacity(self, slot: int, capacity: int) -> None:
        """Another capacity for one window, 0..2^31-1 (0: nothing may be sent); what is in flight stays."""
        slot, capacity = _slot(slot), _number(capacity, 2**32)
        if capacity >= 2**31:
            raise ValueError("capacity must be in 0..2^31-1")
        self.limit[slot] = capacity

    def reorder(self, places: Sequence[int]) -> None:
        """Window i becomes what window places[i] was; -1, and all behind the last: a new, empty one."""
        chosen = [_slot(value) if operator.index(value) >= 0 else -1 for value in places]
        if len(chosen) > SLOTS or len([1 for value in chosen if value >= 0]) != len(set(chosen) - {-1}):
            raise ValueError("at most 64 places, each once")
        self.move(array("b", chosen + [-1] * (SLOTS - len(chosen))))

    def move(self, places: array[int]) -> None:
        """The same without the GIL, for 64 places that are right."""
        self._windows = [self._windows[place] if place >= 0 else deque() for place in places]
        self.count = array("I", [self.count[place] if place >= 0 else 0 for place in places])
        self.limit = array("I", [self.limit[place] if place >= 0 else self.capacity for place in places])
        self.total = array("Q", [self.total[place] if place >= 0 else 0 for place in places])

    def count_of(self, slot: int) -> int:
        """Messages in flight."""
        return self.count[_slot(slot)]

    def bytes_of(self, slot: int) -> int:
        """Bytes in flight."""
        return self.total[_slot(slot)]

    def contents(self, slot: int) -> list[tuple[int, int]]:
        """(index, bytes) of each, oldest first."""
        return list(self._windows[_slot(slot)])


@final
class Peers:
    """Columns of progress; slot i belongs to the i-th id in ascending order."""

    __slots__ = ("count", "paused", "recent_active", "state", *COLUMN_NAMES)

    ids: array[int]
    match: array[int]
    next: array[int]
    sent_commit: array[int]
    pending_snapshot: array[int]
    requested_snapshot: array[int]  # least index of a snapshot that the peer asked for, 0: none
    commit_group: array[int]  # 0: in none

    def __init__(self) -> None:
        self.count = 0
        self.paused = self.recent_active = 0  # masks of slots
        for name in COLUMN_NAMES:
            setattr(self, name, array("Q", [0] * SLOTS))
        self.state = array("B", [0] * SLOTS)

    def slot_of(self, id: int) -> int:
        """Slot of an id, -1 for a stranger."""
        for slot in range(self.count):
            if self.ids[slot] == id:
                return slot
        return -1

    def set_paused(self, slot: int, value: bool) -> None:
        """Put a slot into the mask ``paused`` or take it out."""
        self.paused = self.paused | bit(slot) if value else self.paused & ~bit(slot)

    def set_recent_active(self, slot: int, value: bool) -> None:
        """Put a slot into the mask ``recent_active`` or take it out."""
        self.recent_active = self.recent_active | bit(slot) if value else self.recent_active & ~bit(slot)

    def set_match(self, slot: int, index: int) -> None:
        """Set what the member in a slot has acknowledged: for tests of quorums."""
        self.match[_slot(slot)] = _number(index)

    def set_commit_group(self, slot: int, group: int) -> None:
        """Put the member in a slot into a commit group, 0: into none."""
        self.commit_group[_slot(slot)] = _number(group)

    def set_ids(self, ids: Sequence[int]) -> None:
        """Take these ids, ascending and unique, and empty every column."""
        self.reorder(ids, [-1] * len(ids))

    def reorder(self, ids: Sequence[int], places: Sequence[int]) -> None:
        """Take these ids, ascending and unique; row i becomes what row places[i] was, -1: an empty one."""
        values = [int(operator.index(id)) for id in ids]
        chosen = [_slot(value) if operator.index(value) >= 0 else -1 for value in places]
        if len(values) > SLOTS:
            raise ValueError("at most 64 members")
        if sorted(set(values)) != values or (values and not 1 <= values[0] <= values[-1] <= NUMBER_MAX):
            raise ValueError("ids must be ascending, unique and in 1..2^63-1")
        if len(values) != len(chosen):
            raise ValueError("as many places as ids")
        self.move(array("Q", values), array("b", chosen), len(values))

    def move(self, ids: array[int], places: array[int], count: int) -> None:
        """The same without the GIL, for the first ``count`` ids and places, which are right."""
        chosen = list(places[:count])
        rest = [0] * (SLOTS - count)
        for name in COLUMN_NAMES[1:]:
            old = getattr(self, name)
            setattr(self, name, array("Q", [old[place] if place >= 0 else 0 for place in chosen] + rest))
        self.state = array("B", [self.state[place] if place >= 0 else 0 for place in chosen] + rest)
        self.ids = array("Q", list(ids[:count]) + rest)
        self.count = count
        paused, active = self.paused, self.recent_active
        self.paused = sum([bit(i) for i, place in enumerate(chosen) if place >= 0 and (paused >> place) & 1])
        self.recent_active = sum([bit(i) for i, place in enumerate(chosen) if place >= 0 and (active >> place) & 1])

    def column(self, name: str) -> memoryview:
        """A read-only copy of one column ("Q"): ids, match, next, sent_commit, pending_snapshot,
        requested_snapshot, commit_group; or state ("B")."""
        if not isinstance(name, str):
            raise TypeError(f"a str is required, not {type(name).__name__}")
        if name != "state" and name not in COLUMN_NAMES:
            raise KeyError(name)
        values: array[int] = getattr(self, name)
        return memoryview(values[: self.count]).toreadonly()

    def py_slot_of(self, id: int) -> int:
        """Slot of an id, -1 for a stranger."""
        return self.slot_of(_number(id))
