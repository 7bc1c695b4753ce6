"""What a node keeps of each other member beside the core: its life, what it passed on, its connection, its settings.

Kept by member id, each in a place of its own, because slots are the configuration's: they move when members come and
go, and a removed member may come back with the life and the proposals it had. There is a place for every member and
for many that were removed lately; the one that was removed longest ago makes room for a new member. A sender that is
no member, and was none lately, has no place: so it cannot drive out another by sending. The engine's thread,
without the GIL.
"""

from __future__ import annotations

from array import array

from .. import _core
from ..types import MEMBERS_MAX
from .contact import Contact
from .rows import JOINED_UNKNOWN, PLACES
from .senders import Senders

NEVER = 1 << 40  # ticks: nothing has come yet


class PeerTable:
    """Columns by place; ``senders`` and ``contact`` have some of their own."""

    def __init__(self, election_ticks: int, tick_ms: int) -> None:
        #: the id that has the place, 0 for none. Invariant: every id stands once
        self.ids = array("Q", bytes(8 * PLACES))
        #: the last tick in which it was a member
        self.seen = array("q", bytes(8 * PLACES))
        self.ticks = 0
        #: ticks since a frame of its present life has come
        self.silence = array("q", [NEVER]) * PLACES
        #: where the member in each slot has its place. A hint: the id in that place decides
        self.hints = array("q", bytes(8 * MEMBERS_MAX))
        self.election_ticks = election_ticks
        self.senders = Senders()
        self.contact = Contact(election_ticks, tick_ms)
        #: the largest frame that it takes, as it has said; 0: it has not
        self.frame_limits = array("Q", bytes(8 * PLACES))
        #: ticks for which frames to it tell it that something did not fit
        self.marks = array("q", bytes(8 * PLACES))
        #: ticks for which nothing is said about that
        self.said_too_large = array("q", bytes(8 * PLACES))
        #: 1 for one that is in doubt, as its last frame said, or whose disk says so
        self.in_doubt = array("q", bytes(8 * PLACES))
        #: 1 for one that has said that it knows this life; ticks until it is introduced again, and between the last two
        self.knows = array("q", bytes(8 * PLACES))
        self.pausing = array("q", bytes(8 * PLACES))
        self.pauses = array("q", bytes(8 * PLACES))
        #: a life of it that cannot be, and of which people were told
        self.told_lost = array("Q", bytes(8 * PLACES))
        #: the entry that added the member; 0 for one of the first members. JOINED_UNKNOWN until it is said: the core
        #: may have a member from a snapshot before the apply thread has looked at that
        self.joined = array("Q", bytes(8 * PLACES))
        #: the incarnation that was heard last, and whether it has been told our settings since
        self.met = array("Q", bytes(8 * PLACES))
        self.introduced = array("q", bytes(8 * PLACES))
        #: how far its wall clock is ahead of our monotonic one, in nanoseconds; 0: it has not told
        self.clocks = array("q", bytes(8 * PLACES))

    def of_slot(self, members: _core.Peers, slot: int) -> int:
        """The place of the member in that slot."""
        id = members.ids[slot]
        place = self.hints[slot]
        if self.ids[place] != id:
            place = self.find(id)
            if place < 0:
                place = self.add(id, members)
            self.hints[slot] = place
        return place

    def of_id(self, members: _core.Peers, id: int) -> int:
        """The place of a member, or of a former one; -1 for an id that is not known."""
        slot = members.slot_of(id)
        return self.of_slot(members, slot) if slot >= 0 else self.find(id)

    def is_alive(self, members: _core.Peers, slot: int) -> bool:
        """Whether the member in that slot has answered within an election timeout, as one that is sent heartbeats does.

        What the core knows of it begins anew with each election timeout, and then nobody would be alive for a moment.
        """
        place = self.of_slot(members, slot)
        return self.silence[place] <= self.election_ticks

    def find(self, id: int) -> int:
        """The place of an id, -1 for none."""
        for place in range(PLACES):
            if self.ids[place] == id:
                return place
        return -1

    def add(self, id: int, members: _core.Peers) -> int:
        """A place for a new member: a free one, or that of the member that was removed longest ago."""
        best = -1
        for place in range(PLACES):
            if self.ids[place] == 0:
                best = place
                break
            # There are more places than members: at least one belongs to a former member.
            if members.slot_of(self.ids[place]) < 0 and (best < 0 or self.seen[place] < self.seen[best]):
                best = place
        self.ids[best] = id
        self.seen[best] = self.ticks
        self.silence[best] = NEVER
        self.senders.forget(best)
        self.contact.forget(best)
        self.frame_limits[best] = self.met[best] = 0
        self.joined[best] = JOINED_UNKNOWN
        self.told_lost[best] = 0
        self.clocks[best] = 0
        self.knows[best] = self.pausing[best] = self.pauses[best] = self.in_doubt[best] = 0
        self.marks[best] = self.said_too_large[best] = self.introduced[best] = 0
        return best

    def begin(self, place: int, joined: int) -> None:
        """The entry ``joined`` has added a member with this id: nothing that was known of another one is of it."""
        self.joined[place] = joined
        self.senders.forget(place)
        self.contact.forget(place)
        self.frame_limits[place] = self.met[place] = self.told_lost[place] = 0
        self.knows[place] = self.pausing[place] = self.pauses[place] = 0
        self.introduced[place] = self.in_doubt[place] = self.clocks[place] = 0

    def tick(self) -> None:
        """Time passes. Before ``tick_place`` of each member."""
        self.ticks += 1
        self.contact.ticks += 1

    def tick_place(self, place: int) -> bool:
        """Time passes for a member: whether the connection to it is to be made again."""
        self.seen[place] = self.ticks
        self.silence[place] += 1
        if self.marks[place] > 0:
            self.marks[place] -= 1
        if self.said_too_large[place] > 0:
            self.said_too_large[place] -= 1
        return self.contact.tick(place)

    # For Python: tests, and looks at an engine that does not run.

    def py_place(self, members: _core.Peers, id: int) -> int:
        """``of_id``."""
        return self.of_id(members, id)

    def py_joined(self, members: _core.Peers, id: int, joined: int) -> None:
        """Which entry has added a member. Before the first round."""
        self.joined[self.of_id(members, id)] = joined

    def py_tick(self, members: _core.Peers) -> None:
        """A tick of every member."""
        self.tick()
        for slot in range(members.count):
            self.tick_place(self.of_slot(members, slot))

    def py_incarnation(self, id: int) -> int:
        """The highest incarnation that was heard of; 0 for an id that is not known."""
        place = self.find(id)
        return self.senders.incarnations[place] if place >= 0 else 0
