"""How far the state machine of this node is behind what is committed, in time, and what the node does about it.

The time is an estimate: entries to apply, at the pace at which the last ones were applied. It is published, and where
it is more than half of the proposal timeout, proposals are refused at once: their outcome would not be known in time.
A member that would need more than an election timeout is *far behind*. It lets others campaign first, for a while, and
every frame of it says so, so that no leader hands leadership over to it unasked. A leader that stays so hands it over
(preference.py), and its frames go on saying so for a while after that, longer from time to time: else the one that is
preferred would be asked to lead as soon as it has caught up, and be behind again. And entries are taken only while
those that are committed and not applied fit a bound of bytes: one beyond it is lost, as on the network, and comes
again. So the log of a member whose state machine is slow does not grow without bound, and nobody waits for it but those
who need it for a quorum. On the engine's thread, without the GIL; nothing is sent from here.
"""

from __future__ import annotations

from array import array

from ..config import Config
from ..consensus.raft import Raft
from ..types import MSG_APP
from .channels import ApplyGauges, Gauges
from .rows import PLACES

HOLD_TIMEOUTS = 2  # election timeouts: one that is not far behind has campaigned by then, whatever it has drawn
REST_TIMEOUTS = 10  # election timeouts for which one that has handed over is said to be behind; twice as many the next
REST_TIMEOUTS_MAX = 160  # time, up to this, unless it has been well for as long
MOST = 1 << 30  # that ticks and entries are counted up to, so that their product fits


class Lag:
    """That of one node, and what the others say of theirs."""

    def __init__(self, core: Raft, gauges: Gauges, apply_gauges: ApplyGauges, settings: Config) -> None:
        self.core = core
        self.gauges = gauges
        self.apply_gauges = apply_gauges
        self.tick_ms = settings.tick_ms
        self.most_bytes = settings.max_uncommitted_bytes
        #: where applying was when the present measurement began, and how many ticks ago
        self.marked = self.ticks = 0
        #: the pace that was measured last: so many entries in so many ticks; 0: none was
        self.pace_done = self.pace_ticks = 0
        #: ticks that it would take to apply what is committed
        self.wait = 0
        #: ticks for which this member has let others campaign first, and for which it is to do so in any case
        self.held = self.rests = 0
        #: ticks for which it has been far behind without a break
        self.far = 0
        #: ticks for which it says so although it may have caught up; election timeouts of that next time; and ticks
        #: for which neither was so
        self.tired = self.calm = 0
        self.rest_timeouts = REST_TIMEOUTS
        #: 1 for members whose frames say that they are far behind, by place
        self.others = array("q", bytes(8 * PLACES))
        #: appends that were not taken
        self.not_taken = 0

    def behind(self) -> int:
        """Entries that are committed, and that the state machine does not have."""
        applied = self.apply_gauges.index
        return self.core.committed - applied if self.core.committed > applied else 0

    def tick(self) -> None:
        """Measure: a round of it takes an election timeout, or until an entry has been applied.

        A state machine that stood still, and goes on faster than that, is measured anew at once.
        """
        applied, behind = self.apply_gauges.index, self.behind()
        self.ticks += 1
        if behind == 0:
            self.marked, self.ticks, self.wait = applied, 0, 0
        elif self.ticks >= self.core.election_timeout or (applied > self.marked and self.is_faster(applied)):
            if applied > self.marked:
                self.pace_done, self.pace_ticks = applied - self.marked, min(self.ticks, MOST)
                self.marked, self.ticks = applied, 0
            # Where nothing was applied, it is at least as long as that has lasted.
            self.wait = self.ticks
            if self.pace_done > 0:
                self.wait = max(self.wait, min(behind, MOST) * self.pace_ticks // self.pace_done)
        self.gauges.lag_ms = min(self.wait, MOST) * self.tick_ms
        self.far = self.far + 1 if self.is_far() else 0
        if self.tired > 0:
            self.tired -= 1
        self.calm = 0 if self.says_far() else self.calm + 1
        if self.calm > self.rest_timeouts * self.core.election_timeout:
            self.rest_timeouts = REST_TIMEOUTS
        self.hold()

    def is_faster(self, applied: int) -> bool:
        """Whether a pace that was measured over a standstill is not the pace any more, now that applying goes on."""
        if self.pace_ticks <= self.core.election_timeout:
            return False
        done = applied - self.marked
        return min(done, MOST) * self.pace_ticks > self.pace_done * self.ticks

    def is_far(self) -> bool:
        """Whether it would take more than an election timeout to catch up."""
        return self.wait > self.core.election_timeout

    def says_far(self) -> bool:
        """Whether others are told so."""
        return self.is_far() or self.tired > 0

    def takes(self, kind: int, count: int) -> bool:
        """Whether a message with so many entries may be taken."""
        if kind != MSG_APP or count == 0 or self.core.applied >= self.core.committed:
            return True
        low = max(self.core.applied + 1, self.core.log.first)
        if low > self.core.committed or self.core.log.payload(low, self.core.committed) <= self.most_bytes:
            return True
        self.not_taken += 1
        return False

    # --- elections ----------------------------------------------------------------------------------

    def relieved(self) -> None:
        """Another member is asked to lead because this one is far behind: it is not to be asked back at once."""
        self.tired = self.rest_timeouts * self.core.election_timeout
        self.rest_timeouts = min(2 * self.rest_timeouts, REST_TIMEOUTS_MAX)

    def step_aside(self) -> None:
        """This member has stepped down: another one is to campaign first."""
        self.held = 0
        self.rests = HOLD_TIMEOUTS * self.core.election_timeout

    def hold(self) -> int:
        """Put the next campaign off by a tick, if others are to go first. Before the core's tick; never for ever."""
        if self.rests > 0:
            self.rests -= 1
        if self.core.is_led():
            self.held = 0
            return 0
        if self.core.election_elapsed + 1 < self.core.randomized_timeout or self.core.tracker.is_singleton():
            return 0
        if (self.is_far() or self.rests > 0) and self.held < HOLD_TIMEOUTS * self.core.election_timeout:
            self.held += 1
            self.core.randomized_timeout += 1
        return 0

    # --- the others ---------------------------------------------------------------------------------

    def heard(self, place: int, behind: bool) -> None:
        """A member's frame says whether it is far behind."""
        self.others[place] = 1 if behind else 0
