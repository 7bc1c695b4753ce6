"""What people hear of the life of a node: who leads, handovers, members, snapshots, and who is connected.

One line for each, at level INFO, with ``event`` and fields for programs (report.py); docs/logs.md has them all.
Where something happens again and again, some lines are written and the others are counted. Never what is in an entry.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._native.threads import Clock
from ..report import report
from ..types import Role, StateChange
from .timeline import Timeline
from .unled import why_unled, why_waiting

if TYPE_CHECKING:
    from ..storage.snapshot_format import Descriptor
    from .hello import Hellos
    from .members import Membership

MOST = 20  # lines of one event
WITHIN_NS = 10_000_000_000  # in this time


class Pace:
    """How many lines of one event were written lately. ``allow`` on one thread."""

    def __init__(self) -> None:
        self.since = 0
        self.written = self.left_out = 0

    def allow(self, now: int) -> bool:
        """Whether another one may be written."""
        if self.written == 0 or now - self.since >= WITHIN_NS:
            self.since, self.written = now, 0
        if self.written >= MOST:
            self.left_out += 1
            return False
        self.written += 1
        return True


class Chronicle:
    """Of one node. Each method belongs to one thread, named there; those of one event to the same."""

    def __init__(self, id: int, clock: Clock, timeline: Timeline) -> None:
        self.id = id
        self.clock = clock
        #: what is told is kept there, too
        self.timeline = timeline
        self.paces: dict[str, Pace] = {}
        #: whether it knows no members, and waits to be added
        self.waits = False
        #: the leader that was told last
        self.leader = 0
        #: members that were heard of, and how many Hellos had come then
        self.heard: set[int] = set()
        self.hellos = -1

    def _tell(self, event: str, text: str, *values: object, **fields: Any) -> None:
        pace = self.paces.setdefault(event, Pace())
        if not pace.allow(self.clock.py_now()):
            return
        self.timeline.add(event, text % values, fields)
        left_out, pace.left_out = pace.left_out, 0
        if left_out:
            text, values = f"{text} (%d lines of this kind were left out before)", (*values, left_out)
        report(logging.INFO, f"node %d: {text}", self.id, *values, event=event, node=self.id, **fields)

    # --- the apply thread ------------------------------------------------------------------------------

    def state(self, change: StateChange) -> None:
        """Term, leader or role have changed: a line for each leader that is known or is none any more."""
        term, leader, role = change.term, change.leader, change.role.name.lower()
        fields: dict[str, Any] = {"term": term, "leader": leader, "role": role}
        if leader == self.leader and change.role != Role.LEADER:
            report(
                logging.DEBUG, "node %d: term %d, leader %d, %s", self.id, term, leader, role,
                event="state", node=self.id, **fields,
            )  # fmt: skip
            return
        self.leader = leader
        if leader == self.id:
            self._tell("leader_elected", "leads in term %d", term, **fields)
        elif leader:
            self._tell("leader_elected", "follows member %d, which leads in term %d", leader, term, **fields)
        else:
            self._tell("leader_lost", "knows no leader any more, in term %d", term, **fields)

    def transfer(self, was: int, to: int, role: int) -> None:
        """To whom leadership was being transferred, and is now; 0: to nobody."""
        if role != Role.LEADER:
            return
        if to:
            self._tell("transfer_begun", "hands leadership over to member %d", to, to=to)
        elif was:
            self._tell("transfer_given_up", "goes on leading: member %d did not take over", was, to=was)

    def unled(self, lead: int, term: int, by: int, heard: int, needed: int, refused: int, ms: int) -> None:
        """No leader has been known for some time. Once a minute at most, by the engine."""
        why = why_unled(lead, term, by, heard, needed, refused, ms)
        if self.waits:
            why = why_waiting(self.id, ms)
        fields: dict[str, Any] = {"leader": lead, "term": term, "heard": heard, "needed": needed}
        self.timeline.add("no_leader", why, fields)
        report(logging.WARNING, "node %d: %s", self.id, why, event="no_leader", node=self.id, **fields)

    def members(self, now: Membership) -> None:
        """Another membership is in use."""
        self.waits = False
        conf = now.conf_state
        voters, learners, outgoing = sorted(conf.voters), sorted(conf.learners), sorted(conf.voters_outgoing)
        leaving = f", voters until then {outgoing}" if outgoing else ""
        self._tell(
            "members_changed",
            f"the members are voters %s, learners %s{leaving}, since entry %d",
            *(voters, learners, now.index),
            voters=voters,
            learners=learners,
            outgoing=outgoing,
            index=now.index,
        )

    def snapshot(self, event: str, text: str, descriptor: Descriptor) -> None:
        """A snapshot was made here, has come from another member, or was given to the state machine."""
        index, size = descriptor.index, descriptor.size
        self._tell(event, f"{text} the snapshot of entry %d (%d bytes)", index, size, index=index, size=size)

    # --- the report thread -----------------------------------------------------------------------------

    def look_at_peers(self, hellos: Hellos, members: set[int], addresses: Mapping[int, str]) -> None:
        """Members that were not heard of before in this life."""
        count = hellos.changes()
        if count == self.hellos and self.heard <= members:
            return
        self.hellos = count
        heard = {id for id in hellos.heard() if id in members}
        for id in sorted(heard - self.heard):
            at = addresses.get(id, "an unknown address")
            self._tell("peer_connected", "member %d at %s is connected", id, at, peer=id, address=at)
        self.heard = heard
