"""The time that a leader gives its entries: what the clocks of a majority of the voters have reached. No Python object.

Members tell each other their wall clocks (the message Hello), and each keeps how far another one's is from its own
monotonic clock. A time that a majority has reached is no later than the clock of one that is right, if a majority is:
so no single clock that runs ahead moves it, the leader's own neither. Clocks that are not known count as if they had
reached nothing: until a majority is known, time stands still.

While a member leads in a term, its time moves with its monotonic clock, and what the wall clocks say instead is made up
for little by little: it neither jumps nor stands. On the engine's thread, without the GIL; ``off`` on any.
"""

from __future__ import annotations

from array import array

from .. import _core
from .._native.threads import Cells, Clock
from ..consensus.raft import Raft
from ..types import LEADER, MEMBERS_MAX
from .peers import PeerTable

OFF_NS = 1_000_000_000  # a clock that is off by more is told of
SLEW = 2  # an error is made up for in this many times as long as it is, at least
WALL_MAX = 2**62  # of a clock that counts: the year 2116. So sums of what members say stay in 64 bits
LEADER_MS = 1_000  # how often a member tells its leader its clock again,
ALL_MS = 10_000  # and everybody

# Of what is published, in cells: how often it was written (odd while it is), how many are off, and of each its id and
# by how much its clock is ahead, in nanoseconds
VERSION = 0
COUNT = 1
FIRST = 2


class Clocks:
    """Those of one node. ``tick_ms``: of the configuration."""

    def __init__(self, core: Raft, peers: PeerTable, clock: Clock, tick_ms: int) -> None:
        self.core = core
        self.peers = peers
        self.clock = clock
        self.step = tick_ms * 1_000_000 // SLEW
        #: what is added to the monotonic clock to give the time; 0: it is not known
        self.offset = 0
        #: the term in which this member leads, as of the last tick; 0: it does not
        self.term = 0
        #: the same offset by each member's own clock, by slot; 0: not known
        self.column = array("q", bytes(8 * MEMBERS_MAX))
        self.leader_ticks = max(1, LEADER_MS // tick_ms)
        self.all_ticks = max(1, ALL_MS // tick_ms)
        self.ticks = 0
        #: those whose clocks are off
        self.cells = Cells(FIRST + 2 * MEMBERS_MAX)

    def heard(self, place: int, wall: int) -> int:
        """A member has told its wall clock, in nanoseconds; 0: it has not."""
        if 0 < wall <= WALL_MAX:
            offset = wall - self.clock.now()
            self.peers.clocks[place] = offset if offset != 0 else 1
        return 0

    def time(self) -> int:
        """What an entry gets that is appended now: nanoseconds since the epoch; 0: it is not known."""
        now = self.offset + self.clock.now() if self.offset != 0 else 0
        return now if now > 0 else 0

    def tick(self) -> int:
        """A tick of time has passed: look at all clocks again."""
        self.ticks += 1
        term = self.core.term if self.core.role == LEADER else 0
        self.fill()
        to = self.reached(self.core.tracker.voters)
        if self.core.tracker.outgoing != 0:
            other = self.reached(self.core.tracker.outgoing)
            to = min(to, other) if to != 0 and other != 0 else 0
        if to == 0:
            if term == 0 or term != self.term:
                self.offset = 0
        elif self.offset == 0 or term == 0 or term != self.term:
            self.offset = to
        elif to > self.offset:
            self.offset = min(to, self.offset + self.step)
        else:
            self.offset = max(to, self.offset - self.step)
        self.term = term
        if self.ticks % self.leader_ticks == 0:
            self.publish(to)
        return 0

    def fill(self) -> None:
        """The column, as it is now."""
        for slot in range(self.core.tracker.peers.count):
            if slot == self.core.self_slot:
                own = self.clock.wall() - self.clock.now()
                self.column[slot] = own if own != 0 else 1
            else:
                self.column[slot] = self.peers.clocks[self.peers.of_slot(self.core.tracker.peers, slot)]

    def reached(self, voters: int) -> int:
        """The largest offset that the clocks of a majority of ``voters`` have reached; 0: no majority's is known."""
        need = _core.popcount(voters) // 2 + 1
        best = 0
        for slot in range(self.core.tracker.peers.count):
            candidate = self.column[slot]
            if (voters >> slot) & 1 == 0 or candidate == 0 or (best != 0 and candidate <= best):
                continue
            have = 0
            for other in range(self.core.tracker.peers.count):
                if (voters >> other) & 1 and self.column[other] != 0 and self.column[other] >= candidate:
                    have += 1
            if have >= need:
                best = candidate
        return best

    def tells_all(self) -> bool:
        """Whether it is time to tell every member the clock again."""
        return self.ticks % self.all_ticks == 0

    def tells_leader(self) -> bool:
        """Whether it is time to tell the leader."""
        return self.ticks % self.leader_ticks == 0

    def publish(self, to: int) -> int:
        """Show whose clock is off from ``to``."""
        before = self.cells.get(COUNT)
        count = 0
        for slot in range(self.core.tracker.peers.count):
            if self.is_off(slot, to):
                count += 1
        if count == 0 and before == 0:
            return 0
        self.cells.set(VERSION, self.cells.get(VERSION) + 1)
        self.cells.set(COUNT, count)
        at = FIRST
        for slot in range(self.core.tracker.peers.count):
            if self.is_off(slot, to):
                self.cells.set(at, self.core.tracker.peers.ids[slot])
                self.cells.set(at + 1, self.column[slot] - to)
                at += 2
        self.cells.set(VERSION, self.cells.get(VERSION) + 1)
        return 0

    def is_off(self, slot: int, to: int) -> bool:
        """Whether a member's clock is known and off."""
        if to == 0 or self.column[slot] == 0:
            return False
        return self.column[slot] - to > OFF_NS or to - self.column[slot] > OFF_NS

    def off(self) -> dict[int, int]:
        """By how many nanoseconds the clocks are ahead that are off, by member. For Python, any thread."""
        while True:
            version = self.cells[VERSION]
            pairs = [(self.cells[at], self.cells[at + 1]) for at in range(FIRST, FIRST + 2 * self.cells[COUNT], 2)]
            if version % 2 == 0 and self.cells[VERSION] == version:
                return dict(pairs)

    def changes(self) -> int:
        """A number that grows with everything that is published. Any thread."""
        return self.cells[VERSION]

    # For Python: tests.

    def py_heard(self, place: int, wall: int) -> None:
        """``heard``."""
        self.heard(place, wall)

    def py_tick(self) -> None:
        """``tick``."""
        self.tick()

    def py_time(self) -> int:
        """``time``."""
        return self.time()
