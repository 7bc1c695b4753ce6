"""A membership as the running core uses it: members by slot, sets as masks. It is used without the GIL.

A change is decoded, and the next membership computed (confchange.py), where Python is at hand: by the caller of a
RawNode, or on the thread that applies entries. The result is put into a Configuration. As bytes (``encode``, ``load``)
it passes to the thread that owns the core, which installs it without the GIL (Raft.install). The membership of a
snapshot is read from the snapshot's record in the same way.

A value and its bytes: what becomes of votes, progress and reads when it is installed stands in tracker.py, reads.py
and raft.py.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence

from .. import _core
from .._native.layout import MEMBERSHIP_AUTO_LEAVE, MEMBERSHIP_HEAD
from ..types import MASK64, MEMBERS_MAX, NUMBER_MAX, ConfState
from . import records

HEAD = 24  # index 8 | base 8 | anew 8; then the membership as ConfState.encode has it

MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that no difference is lost

# What is wrong with a membership
FITS = 0
DAMAGED = 1
TOO_MANY = 2
NO_VOTERS = 3
LEARNER_VOTES = 4
NEXT_NO_VOTER = 5
NEXT_LEARNS = 6
NEXT_NOT_JOINT = 7
LEAVES_NOT_JOINT = 8

#: the same in words
FAULTS = (
    "",
    "the bytes are no membership",
    f"a configuration has at most {MEMBERS_MAX} members",
    "a configuration with members has voters",
    "a member is a learner and a voter",
    "a member is to become a learner, but is no outgoing voter",
    "a member is to become a learner, but is one already",
    "learners_next must be empty unless the configuration is joint",
    "auto_leave must be False unless the configuration is joint",
)


def mixed(before: int, value: int) -> int:
    """One more number of a digest: each bit of it shows in the higher and in the lower half of the result."""
    product = ((before ^ value) * MULTIPLIER) & MASK64
    return product ^ (product >> 29)


class Configuration:
    """The membership after a change: Raft.install takes it.

    Slots are in the order of ids: slot i is member ids[i]. Invariant: ids[0 .. count - 1] ascend, and the masks have no
    bit from ``count`` on. Without a membership nobody is a member.

    ``anew``: the members whose progress begins anew although they may have been members before, as ids. ``index``: of
    the entry that it comes of, 0 when that is not known. ``base``: the configuration that it was computed from; without
    one it replaces any.
    """

    def __init__(
        self,
        conf_state: ConfState | None = None,
        anew: Iterable[int] = (),
        index: int = 0,
        base: Configuration | None = None,
    ) -> None:
        self.ids = array("Q", bytes(8 * MEMBERS_MAX))
        self.index = index
        #: digest of the configuration that it was computed from, 0: it replaces any
        self.base = 0 if base is None else base.py_digest()
        #: mask of the members whose progress begins anew
        self.anew = 0
        self.end = 0
        self.clear()
        if conf_state is None:
            return
        sets = (conf_state.voters, conf_state.voters_outgoing, conf_state.learners, conf_state.learners_next)
        everybody = sorted({id for ids in sets for id in ids})
        if len(everybody) > MEMBERS_MAX:
            raise ValueError(f"a configuration has at most {MEMBERS_MAX} members, not {len(everybody)}")
        for slot in range(len(everybody)):
            self.ids[slot] = everybody[slot]
        self.count = len(everybody)
        self.voters, self.outgoing, self.learners, self.learners_next = [self.mask(ids) for ids in sets]
        self.auto_leave = conf_state.auto_leave
        self.anew = self.mask(anew)

    def mask(self, ids: Iterable[int]) -> int:
        """The slots of some members. Raises KeyError for an id that is not a member's."""
        slots = {int(self.ids[slot]): slot for slot in range(self.count)}
        return sum([_core.bit(slots[id]) for id in set(ids)])

    def clear(self) -> None:
        """Nobody."""
        self.count = 0
        self.voters = self.outgoing = self.learners = self.learners_next = 0
        self.auto_leave = False

    def slot_of(self, id: int) -> int:
        """Slot of a member, -1 for anybody else."""
        for slot in range(self.count):
            if self.ids[slot] == id:
                return slot
        return -1

    def add(self, id: int) -> bool:
        """Put an id in its place, where it is not there yet; False when there is no room for it."""
        slot = 0
        while slot < self.count and self.ids[slot] < id:
            slot += 1
        if slot < self.count and self.ids[slot] == id:
            return True
        if self.count == MEMBERS_MAX:
            return False
        for behind in range(self.count, slot, -1):
            self.ids[behind] = self.ids[behind - 1]
        self.ids[slot] = id
        self.count += 1
        return True

    # --- bytes -------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """Its bytes, for ``load`` on another thread. They are of this process only: no version, no checksum."""
        return struct.pack("<QQQ", self.index, self.base, self.anew) + self.conf_state().encode()

    def load(self, body: Sequence[int], size: int) -> int:
        """Take what ``encode`` made; FITS, or what is wrong with it."""
        at = HEAD
        if size < at:
            return DAMAGED
        self.index = records.u64(body, 0)
        self.base = records.u64(body, 8)
        self.anew = records.u64(body, 16)
        found = self.read(body, at, size)
        return DAMAGED if found == FITS and self.end != size else found

    def read(self, body: Sequence[int], at: int, size: int) -> int:
        """Take the membership that begins at ``at``, as ConfState.encode makes it; FITS, or what is wrong with it.

        ``size`` is where the bytes end, ``end`` then where the membership does. What is none (DAMAGED), or has too many
        members, leaves this one without members.
        """
        self.clear()
        if size < at or size - at < MEMBERSHIP_HEAD or body[at + MEMBERSHIP_AUTO_LEAVE] > 1:
            return DAMAGED
        place = at + MEMBERSHIP_HEAD
        crowd = False
        for group in range(4):
            previous = 0
            for _ in range(body[at + group]):
                if size - place < 8:
                    self.clear()
                    return DAMAGED
                id = records.u64(body, place)
                if id <= previous or id > NUMBER_MAX:
                    self.clear()
                    return DAMAGED
                crowd = not self.add(id) or crowd
                previous = id
                place += 8
        self.end = place
        if crowd:
            self.clear()
            return TOO_MANY
        place = at + MEMBERSHIP_HEAD
        self.voters = self._read_set(body, place, body[at])
        place += 8 * body[at]
        self.learners = self._read_set(body, place, body[at + 1])
        place += 8 * body[at + 1]
        self.outgoing = self._read_set(body, place, body[at + 2])
        place += 8 * body[at + 2]
        self.learners_next = self._read_set(body, place, body[at + 3])
        self.auto_leave = body[at + MEMBERSHIP_AUTO_LEAVE] != 0
        return self.fault()

    def _read_set(self, body: Sequence[int], at: int, count: int) -> int:
        mask = 0
        for place in range(count):
            mask |= _core.bit(self.slot_of(records.u64(body, at + 8 * place)))
        return mask

    # --- what it is --------------------------------------------------------------------------------

    def fault(self) -> int:
        """FITS when changes can lead to this membership, else the first rule that it breaks.

        The rules are those of confchange.check.
        """
        if self.learners_next & ~self.outgoing:
            return NEXT_NO_VOTER if self.outgoing else NEXT_NOT_JOINT
        if self.learners_next & self.learners:
            return NEXT_LEARNS
        if self.learners & (self.voters | self.outgoing):
            return LEARNER_VOTES
        if self.auto_leave and self.outgoing == 0:
            return LEAVES_NOT_JOINT
        return NO_VOTERS if self.count and self.voters == 0 else FITS

    def digest(self) -> int:
        """What tells this membership from another one, whatever entry it comes of; never 0."""
        value = mixed(MASK64, self.count)
        for slot in range(self.count):
            value = mixed(value, self.ids[slot])
        value = mixed(mixed(value, self.voters), self.outgoing)
        value = mixed(mixed(value, self.learners), self.learners_next)
        value = mixed(value, 1 if self.auto_leave else 0)
        return value if value else 1

    def py_digest(self) -> int:
        """``digest`` for Python."""
        return self.digest()

    def py_load(self, data: bytes) -> int:
        """``load`` for Python."""
        return self.load(data, len(data))

    def py_read(self, data: bytes, at: int = 0) -> int:
        """``read`` for Python."""
        return self.read(data, at, len(data))

    def members(self, mask: int) -> tuple[int, ...]:
        """The ids in a mask, ascending."""
        return tuple([int(self.ids[slot]) for slot in range(self.count) if (mask >> slot) & 1])

    def conf_state(self) -> ConfState:
        """The membership as a value, ids ascending."""
        return ConfState(
            voters=self.members(self.voters),
            learners=self.members(self.learners),
            voters_outgoing=self.members(self.outgoing),
            learners_next=self.members(self.learners_next),
            auto_leave=bool(self.auto_leave),
        )

    def __repr__(self) -> str:
        return f"<Configuration {self.conf_state()!r} index={self.index}>"
