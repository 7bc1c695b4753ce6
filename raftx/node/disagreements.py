"""Sentences about settings of two members that do harm together, and addresses, each with its remedy.

Reads published values only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from .. import _core
from .._native.layout import FRAME_OVERHEAD
from .._native.threads import Clock
from ..config import Config
from ..report import report
from ..types import ConfState
from .channels import Gauges
from .clocks import Clocks
from .hello import OPTION_NAMES, Hellos, settings_of
from .planned import Planned

WHY = {
    "pre_vote": "a member without it makes the others elect again when it comes back from a partition",
    "check_quorum": "a member without it votes against a leader that others still hear, and leads on unheard",
}

Said = tuple[int, int, int, int, int]

#: kinds of what refused frames tell: their senders may be anybody
FOREIGN = ("cluster", "version", "recipient", "identity", "seal", "replay")
#: reasons why frames are refused that tell nothing more than that
OTHERS = tuple([name for name in _core.REASONS if name not in ("ok", *FOREIGN)])
QUIET_NS = 60_000_000_000  # between two lines of one of these kinds


def between(own: Said, said: Said) -> dict[str, str]:
    """How the settings of a member disagree with this node's: a sentence for each kind."""
    found = {}
    election, heartbeat, max_entry, max_frame, options = own
    its_election, its_heartbeat, its_max_entry, its_max_frame, its_options = said
    if its_max_frame < max_entry + FRAME_OVERHEAD:
        found["max_frame_bytes there"] = (
            f"it takes frames of at most {its_max_frame} bytes, and an entry that is proposed here may need one of "
            f"{max_entry + FRAME_OVERHEAD}: raise max_frame_bytes of its transport, or lower max_entry_bytes here"
        )
    if max_frame < its_max_entry + FRAME_OVERHEAD:
        found["max_frame_bytes here"] = (
            f"an entry that is proposed there may need a frame of {its_max_entry + FRAME_OVERHEAD} bytes, and this "
            f"node takes at most {max_frame}: raise max_frame_bytes of its transport, or lower max_entry_bytes there"
        )
    if its_election != election:
        found["election timeout"] = (
            f"its election timeout is {its_election} ms, here it is {election} ms: the one with the shorter one "
            "campaigns first each time, and a lease is only as long as the shortest: give both the same tick_ms "
            "and election_ticks"
        )
    if its_heartbeat >= election or heartbeat >= its_election:
        found["heartbeats"] = (
            f"it sends heartbeats every {its_heartbeat} ms with an election timeout of {its_election} ms, this node "
            f"every {heartbeat} ms with one of {election} ms: a leader is deposed before its next heartbeat: give "
            "both the same tick_ms, heartbeat_ticks and election_ticks"
        )
    for bit, name in OPTION_NAMES.items():
        if name in WHY and (options ^ its_options) & bit:
            on, off = ("there", "here") if its_options & bit else ("here", "there")
            found[name] = f"{name} is on {on} and off {off}: {WHY[name]}: set it alike"
    return found


def of_clock(ahead: int) -> str:
    """A member's clock is ahead of what a majority has reached by so many nanoseconds, or behind it."""
    which = "ahead of" if ahead > 0 else "behind"
    return (
        f"its clock is {abs(ahead) / 1e9:,.1f} s {which} what the clocks of a majority of the voters have reached: the "
        "time of entries does not follow it, but whatever else reads it does: let something set it, such as NTP"
    )


#: what is said of frames whose sender was not proven, behind how many they were
UNPROVEN = {
    "identity": "have come over the connection of another member than the one that they name as their sender, and were "
    "dropped: a member's certificate is used by another one, or its host is not in good hands",
    "seal": "have come without a seal by this cluster's key, and were dropped: give all members the same cluster_key; "
    "or they are not from members",
    "replay": "that had come before have come again, and were dropped: somebody repeats what members have sent",
}


class Disagreements:
    """Of one node. ``of_all`` on any thread, ``tell`` on one."""

    def __init__(
        self,
        config: Config,
        max_frame_bytes: int,
        hellos: Hellos,
        clocks: Clocks,
        gauges: Gauges,
        members: Callable[[], ConfState],
        peers: Mapping[int, str],
        clock: Clock,
        planned: Planned,
    ) -> None:
        self.id = config.id
        self.own = settings_of(config, max_frame_bytes)
        self.hellos = hellos
        self.clocks = clocks
        self.gauges = gauges
        self.members = members
        self.peers = peers
        self.clock = clock
        self.planned = planned
        self.seen: object = None
        #: (member, kind) of what has been told. Invariant: of present members only
        self.told: set[tuple[int, str]] = set()
        #: by kind of FOREIGN: of whom it was told last, and when
        self.told_foreign: dict[str, tuple[int, int]] = {}
        #: when and how many frames were told to be dropped for other reasons
        self.told_dropped: tuple[int, dict[str, int]] = (0, dict.fromkeys(OTHERS, 0))

    def of_all(self) -> dict[int, list[str]]:
        """Sentences by the member that they are about; 0: it is not known which."""
        return {id: list(sentences.values()) for id, sentences in self.by_kind().items()}

    def by_kind(self) -> dict[int, dict[str, str]]:
        """The same with the kind of each."""
        members = self.ids()
        found = {}
        for id, said in sorted(self.hellos.heard().items()):
            sentences = between(self.own, said) if id in members else {}
            if sentences:
                found[id] = sentences
        for id, ahead in sorted(self.clocks.off().items()):
            if id in members:
                found.setdefault(id, {})["clock"] = of_clock(ahead)
        for id, sentence in self.planned.off().items():
            if id in members:
                found.setdefault(id, {})["address"] = sentence
        self.add_strangers(found)
        return found

    def ids(self) -> set[int]:
        """All present members."""
        there = self.members()
        return {*there.voters, *there.learners, *there.voters_outgoing, *there.learners_next}

    def counts(self, names: tuple[str, ...] = FOREIGN) -> dict[str, int]:
        """Frames that were refused, by these reasons."""
        return {name: self.gauges.rejected[_core.REASONS.index(name)] for name in names}

    def add_strangers(self, found: dict[int, dict[str, str]]) -> None:
        """What frames tell that were refused."""
        counts = self.counts()
        cluster, version, recipient = [counts[name] for name in ("cluster", "version", "recipient")]
        if cluster:
            sender = self.gauges.foreign
            who = f"the last one says that it is from member {sender}" if sender else "they do not name their sender"
            address = f" (here that is {self.peers[sender]})" if sender in self.peers else ""
            found.setdefault(sender, {})["cluster"] = (
                f"{cluster} frames of another cluster have come and were dropped; {who}{address}: give all members of "
                "a group the same Config.cluster, and no others the addresses of this one"
            )
        if version:
            found.setdefault(0, {})["version"] = (
                f"{version} frames of another version of the wire format have come and were dropped: run a raftx on "
                "all members that speaks the same one"
            )
        if recipient:
            found.setdefault(0, {})["recipient"] = (
                f"{recipient} frames for another member have come here and were dropped: some member has this "
                "node's address as that of another one: look at the peers of its transport"
            )

        for reason, what in UNPROVEN.items():
            if counts[reason]:
                found.setdefault(0, {})[reason] = f"{counts[reason]} frames {what}"

    def tell_dropped(self) -> None:
        """Say how many frames were refused for other reasons, once a minute at most."""
        now, counts = self.clock.py_now(), self.counts(OTHERS)
        if counts == self.told_dropped[1] or (self.told_dropped[0] and now - self.told_dropped[0] < QUIET_NS):
            return
        text = ", ".join([f"{count} {name}" for name, count in counts.items() if count])
        self.told_dropped = (max(now, 1), counts)
        said = "node %d: frames that are none of a member's, as they are, were dropped so far: %s"
        fields: dict[str, Any] = {"node": self.id, **counts}
        report(logging.INFO, said, self.id, text, event="frames_dropped", **fields)

    def tell(self) -> None:
        """Log what has not been told yet: once for each member and kind, of refused frames once a minute at most."""
        self.tell_dropped()
        now = (self.hellos.changes(), self.clocks.changes(), self.counts(), self.members(), len(self.planned.off()))
        if now == self.seen:
            return
        self.seen = now
        members = self.ids()
        self.told = {(id, kind) for id, kind in self.told if id in members}
        for id, sentences in self.by_kind().items():
            for kind, sentence in sentences.items():
                if not (self.is_new_foreign(id, kind) if kind in FOREIGN else self.is_new(id, kind)):
                    continue
                whom = f"member {id} and this one disagree" if id else "members disagree"
                what = f"settings of {whom}" if kind not in ("clock", "address") else f"member {id}"
                event = "peer_refused" if kind in FOREIGN else "peer_disagrees"
                fields: dict[str, Any] = {"node": self.id, "peer": id, "reason": kind}
                report(logging.WARNING, "node %d: %s: %s", self.id, what, sentence, event=event, **fields)

    def is_new(self, id: int, kind: str) -> bool:
        """Whether this was not told of that member; it is from now on."""
        if (id, kind) in self.told:
            return False
        self.told.add((id, kind))
        return True

    def is_new_foreign(self, id: int, kind: str) -> bool:
        """The same for a kind of FOREIGN: whether it is another sender than last time, and a minute later."""
        now = self.clock.py_now()
        last = self.told_foreign.get(kind)
        if last is not None and (last[0] == id or now - last[1] < QUIET_NS):
            return False
        self.told_foreign[kind] = (id, now)
        return True
