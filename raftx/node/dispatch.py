"""What leaves an engine: frames to the members, from the rows of its outbox, and a greeting on each new connection.

A frame is written where the link has room for it, in one piece, and handed over; nothing here waits, and no Python
object is touched. What cannot be sent is dropped, counted and told to the core, which sends it again when the time
comes; what this node's own proposals or offers were in it is told at once.
"""

from __future__ import annotations

from .._core import Codec
from .._native.layout import FRAME_HEADER
from .._native.limits import NOTE_LIMIT
from .._native.memory import Spans
from .._native.outbox import Message, Outbox
from .._native.threads import Clock
from ..config import Config
from ..consensus.raft import Raft
from ..transport.link import Link
from ..types import LEADER, MSG_PROP, MSG_SNAP, MSG_UNREACHABLE
from .channels import ApplyQueue, Gauges
from .clocks import Clocks
from .hello import hello_of
from .passing import Passing
from .peers import PeerTable
from .rows import REFUSED_UNREACHABLE
from .transfers import Transfers

FRAME_CLOSE = 512 << 10  # a frame takes no further message above this; a larger message has one of its own
NOTE_TICKS = 200  # between two notes about frames that are too large for a member


class Dispatch:
    """Of one engine, whose parts it uses, on the engine's thread. ``out``: the rows that may leave."""

    def __init__(
        self,
        core: Raft,
        codec: Codec,
        link: Link,
        out: Outbox,
        peers: PeerTable,
        gauges: Gauges,
        applies: ApplyQueue,
        transfers: Transfers,
        passing: Passing,
        settings: Config,
        max_frame_bytes: int,
        clock: Clock,
    ) -> None:
        self.core = core
        self.clock = clock
        self.codec = codec
        self.link = link
        self.out = out
        self.peers = peers
        self.contact = peers.contact
        self.gauges = gauges
        self.applies = applies
        self.transfers = transfers
        self.passing = passing
        self.scratch = Message()
        self.empty_spans = Spans()
        self.body = Spans()  # of a message whose body is sent from where it lies
        #: a frame takes no further message above this; one message always fits what the transport takes
        self.frame_close = min(FRAME_CLOSE, max_frame_bytes)
        #: what members are told: in row 1 as the first message on a new connection
        self.greeting = Outbox()
        for new_connection in (False, True):
            self.greeting.py_push(hello_of(settings, max_frame_bytes, new_connection))

    def send(self) -> int:
        """Frames to each member, then to others: one may be a leader whose addition has not arrived here.

        With them leaves what was said before.
        """
        if self.out.length() == 0:
            return self.link.flush()
        rows = self.out.length()
        for slot in range(self.core.tracker.peers.count):
            if slot != self.core.self_slot:
                place = self.peers.of_slot(self.core.tracker.peers, slot)
                rows -= self.send_to(place, self.core.tracker.peers.ids[slot])
        row = 0
        while rows > 0 and row < self.out.length():
            to = self.out.to_at(row)
            if self.core.tracker.peers.slot_of(to) < 0 and self.is_first(row, to):
                rows -= self.send_to(self.peers.find(to), to)
            row += 1
        self.out.clear()
        return self.link.flush()

    def is_first(self, row: int, to: int) -> bool:
        """Whether no earlier row is for the same."""
        for earlier in range(row):
            if self.out.to_at(earlier) == to:
                return False
        return True

    def send_to(self, place: int, to: int) -> int:
        """Send the rows for one member, in frames that close at ``frame_close``; returns how many. place -1: none."""
        rows = self.out.length()
        limit = self.peers.frame_limits[place] if place >= 0 else 0
        close = self.frame_close
        if limit and limit < close:
            close = limit
        start = sent = 0
        while start < rows:
            size = FRAME_HEADER
            count = 0
            end = start
            while end < rows:
                if self.out.to_at(end) == to:
                    step = self.codec.measure(self.out, end)
                    if count and size + step > close:
                        break
                    size += step
                    count += 1
                end += 1
            if count == 0:
                return sent
            sent += count
            if limit and size > limit:
                # It would end the connection. What can be told is that there is something.
                self.gauges.too_large_out += 1
                self.peers.marks[place] = self.contact.limit
                self.say_too_large(NOTE_LIMIT, place, limit)
                self.frame_dropped(to, start, end)
            elif self.send_frame(place, to, size, start, end) != 0:
                self.gauges.frames_dropped += 1
                self.frame_dropped(to, start, end)
            else:
                if place >= 0:
                    self.contact.sent(place)
                self.gauges.frames_out += 1
            start = end
        return sent

    def send_frame(self, place: int, to: int, size: int, start: int, end: int) -> int:
        if place >= 0 and self.peers.introduced[place] == 0:
            self.hello(to, False)
        copied = size
        if self.link.refers():
            # What is large is not copied: it is sent from the log's own blocks.
            for row in range(start, end):
                if self.out.to_at(row) == to and self.codec.refers(self.out, row):
                    copied -= self.out.size_at(row)
        if not (self.link.prepare(to, size) if copied == size else self.link.prepare_lean(to, size, copied)):
            return 1
        self.codec.begin(self.link.place, copied, to)
        if place >= 0 and self.peers.marks[place]:
            self.codec.mark()
        for row in range(start, end):
            if self.out.to_at(row) == to:
                if copied < size and self.codec.refers(self.out, row):
                    self.out.put_body(row, self.body)
                    self.link.refer(self.codec.add_head(self.out, row), self.body)
                else:
                    self.codec.add(self.out, row)
        self.codec.finish()
        return self.link.send()

    def frame_dropped(self, to: int, start: int, end: int) -> int:
        """A frame was dropped: the peer is probed again, and proposals that were in it were never sent."""
        for row in range(start, end):
            if self.out.to_at(row) == to and self.out.kind_at(row) == MSG_PROP:
                self.out.load(row, self.scratch)
                self.passing.dropped(self.scratch.context + self.scratch.hint - 1)
                self.applies.put_refused(self.empty_spans, self.scratch.context, self.scratch.hint, REFUSED_UNREACHABLE)
            elif self.out.to_at(row) == to and self.out.kind_at(row) == MSG_SNAP:
                self.transfers.lost(to)
        self.scratch.reset(MSG_UNREACHABLE)
        self.scratch.sender = to
        return self.core.step(self.scratch)

    def tick(self, slot: int) -> bool:
        """Time passes for a member: whether it has not answered for a while, so that our connection is made again."""
        if not self.peers.tick_place(self.peers.of_slot(self.core.tracker.peers, slot)):
            return False
        self.link.renew(self.core.tracker.peers.ids[slot])
        return True

    def greet(self) -> int:
        """A new connection begins with a Hello alone: a small frame, so that the member soon knows whose it is."""
        to = self.link.fresh()
        while to != 0:
            self.hello(to, True)
            to = self.link.fresh()
        return 0

    def greet_all(self) -> int:
        """Tell every member our settings."""
        for slot in range(self.core.tracker.peers.count):
            if slot != self.core.self_slot:
                self.hello(self.core.tracker.peers.ids[slot], False)
        return 0

    def tell_clock(self, clocks: Clocks) -> int:
        """Look at the members' clocks, and tell our own when it is time."""
        clocks.tick()
        if clocks.tells_all():
            return self.greet_all()
        if clocks.tells_leader() and self.core.role != LEADER:
            if self.core.tracker.peers.slot_of(self.core.lead) >= 0:
                return self.hello(self.core.lead, False)
        return 0

    def heard(self, place: int, id: int) -> int:
        """A frame of a member's present life has come: it is there, and our connection to it should be."""
        self.contact.heard(place)
        return self.link.heard(id)

    def has_connected(self, place: int, id: int) -> int:
        """A member has made a new connection to us: ours may be of no use, and one that is missing be made now."""
        if self.contact.greeted(place):
            return self.link.renew(id)
        return self.link.reach(id)

    def hello(self, to: int, new_connection: bool) -> int:
        """Tell a member our settings and our clock, in a frame of their own."""
        place = self.peers.of_id(self.core.tracker.peers, to)
        if place >= 0 and new_connection:
            self.contact.connected(place)
        row = 1 if new_connection else 0
        self.greeting.set_term(row, max(self.clock.wall(), 0))
        if self.send_single(self.greeting, row, to) == 0 and place >= 0:
            self.peers.introduced[place] = 1
        return 0

    def send_alone(self, box: Outbox, to: int) -> int:
        """The one row of a box, in a frame of its own, if its recipient takes it; lost otherwise, and nobody hears."""
        place = self.peers.of_id(self.core.tracker.peers, to)
        if place < 0 or box.length() != 1:
            return 0
        limit = self.peers.frame_limits[place]
        if limit == 0 or FRAME_HEADER + self.codec.measure(box, 0) <= limit:
            if self.peers.introduced[place] == 0:
                self.hello(to, False)
            self.send_single(box, 0, to)
        return 0

    def send_single(self, box: Outbox, row: int, to: int) -> int:
        """A frame with one row; 1 when it could not be sent."""
        size = FRAME_HEADER + self.codec.measure(box, row)
        if not self.link.prepare(to, size):
            return 1
        self.codec.begin(self.link.place, size, to)
        self.codec.add(box, row)
        self.codec.finish()
        if self.link.send() != 0:
            return 1
        self.gauges.frames_out += 1
        return 0

    def say_too_large(self, kind: int, place: int, limit: int) -> int:
        if self.peers.said_too_large[place] == 0:
            self.peers.said_too_large[place] = NOTE_TICKS
            self.link.note(kind, self.peers.ids[place], limit)
        return 0
