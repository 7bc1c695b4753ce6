"""The next membership from the present one and a change: values in, values out.

The rules are etcd's (confchange package; thesis, section 4.3). Nothing here knows of slots or of a running member, and
nothing here is on the data path: a Raft installs what ``configuration_after`` returns.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfChangeError
from ..types import (
    ADD_LEARNER,
    ADD_VOTER,
    MEMBERS_MAX,
    REMOVE,
    UPDATE,
    ConfChange,
    ConfChangeSingle,
    ConfState,
    check_id,
)
from .configuration import Configuration


class Progress:
    """What a Changer keeps of a member."""

    __slots__ = ("added", "learner", "match", "next", "recent_active")

    def __init__(
        self, match: int, next: int, learner: bool = False, recent_active: bool = True, added: bool = False
    ) -> None:
        #: whether a change has added it: then it begins anew, also when it was a member before
        self.added = added
        self.match = match
        self.next = next
        self.learner = learner
        #: a new member counts as heard from, so that it does not take a leader's quorum away
        self.recent_active = recent_active

    def copy(self) -> Progress:
        """Another object with the same contents."""
        return Progress(self.match, self.next, self.learner, self.recent_active, self.added)


class _Sets:
    """A membership that is being changed."""

    def __init__(self, conf: ConfState) -> None:
        self.incoming = set(conf.voters)
        self.outgoing = set(conf.voters_outgoing)
        self.learners = set(conf.learners)
        self.learners_next = set(conf.learners_next)
        self.auto_leave = conf.auto_leave

    def conf_state(self) -> ConfState:
        return ConfState(
            tuple(sorted(self.incoming)),
            tuple(sorted(self.learners)),
            tuple(sorted(self.outgoing)),
            tuple(sorted(self.learners_next)),
            self.auto_leave,
        )


class Changer:
    """Changes one membership. ``last_index`` is where the log ends: a new member is probed from there.

    Every method returns the new membership and its progress; what was given is not touched. Raises
    ConfChangeError when the change does not fit.
    """

    def __init__(self, conf: ConfState, progress: dict[int, Progress], last_index: int) -> None:
        self.conf = conf
        self.progress = progress
        self.last_index = last_index

    def enter_joint(
        self, auto_leave: bool, changes: Iterable[ConfChangeSingle]
    ) -> tuple[ConfState, dict[int, Progress]]:
        """Into a joint configuration: the present voters stay as the outgoing half."""
        sets, progress = self._begin()
        if sets.outgoing:
            raise ConfChangeError("the configuration is joint already: leave it first")
        if not sets.incoming:
            raise ConfChangeError("a configuration without voters cannot become joint")
        sets.outgoing = set(sets.incoming)
        self._apply(sets, progress, changes)
        sets.auto_leave = auto_leave
        return self._finish(sets, progress)

    def leave_joint(self) -> tuple[ConfState, dict[int, Progress]]:
        """Out of a joint configuration: the incoming half decides alone, demoted voters become learners."""
        sets, progress = self._begin()
        if not sets.outgoing:
            raise ConfChangeError("the configuration is not joint: there is nothing to leave")
        for id in sets.learners_next:
            sets.learners.add(id)
            progress[id].learner = True
        sets.learners_next = set()
        for id in sets.outgoing - sets.incoming - sets.learners:
            del progress[id]
        sets.outgoing = set()
        sets.auto_leave = False
        return self._finish(sets, progress)

    def simple(self, changes: Iterable[ConfChangeSingle]) -> tuple[ConfState, dict[int, Progress]]:
        """At most one voter added or removed, without a joint configuration (thesis, section 4.1)."""
        sets, progress = self._begin()
        if sets.outgoing:
            raise ConfChangeError("the configuration is joint: leave it before a simple change")
        before = set(sets.incoming)
        self._apply(sets, progress, changes)
        if len(before ^ sets.incoming) > 1:
            raise ConfChangeError("a change of more than one voter must go through a joint configuration")
        return self._finish(sets, progress)

    def change(self, change: ConfChange) -> tuple[ConfState, dict[int, Progress]]:
        """What a proposed change asks for (etcd's applyConfChange)."""
        if change.leaves_joint:
            return self.leave_joint()
        if change.enters_joint:
            return self.enter_joint(change.auto_leave, change.changes)
        return self.simple(change.changes)

    # --- steps -------------------------------------------------------------------------------------

    def _begin(self) -> tuple[_Sets, dict[int, Progress]]:
        check(self.conf, self.progress)
        return _Sets(self.conf), {id: progress.copy() for id, progress in self.progress.items()}

    def _finish(self, sets: _Sets, progress: dict[int, Progress]) -> tuple[ConfState, dict[int, Progress]]:
        conf = sets.conf_state()
        check(conf, progress)
        if len(progress) > MEMBERS_MAX:
            raise ConfChangeError(f"a configuration has at most {MEMBERS_MAX} members, not {len(progress)}")
        return conf, progress

    def _apply(self, sets: _Sets, progress: dict[int, Progress], changes: Iterable[ConfChangeSingle]) -> None:
        for change in changes:
            # Id 0 does nothing: the application has taken the change back (etcd).
            if change.id == 0 or change.kind == UPDATE:
                continue
            if change.kind == ADD_VOTER:
                self._make_voter(sets, progress, change.id)
            elif change.kind == ADD_LEARNER:
                self._make_learner(sets, progress, change.id)
            elif change.kind == REMOVE:
                self._remove(sets, progress, change.id)
            else:
                raise ConfChangeError(f"a change cannot be of kind {change.kind}")
        if not sets.incoming:
            raise ConfChangeError("a change must leave a voter")

    def _make_voter(self, sets: _Sets, progress: dict[int, Progress], id: int) -> None:
        if id not in progress:
            self._add(progress, id, False)
        progress[id].learner = False
        sets.learners.discard(id)
        sets.learners_next.discard(id)
        sets.incoming.add(id)

    def _make_learner(self, sets: _Sets, progress: dict[int, Progress], id: int) -> None:
        if id not in progress:
            self._add(progress, id, True)
            sets.learners.add(id)
            return
        kept = progress[id]
        if kept.learner:
            return
        self._remove(sets, progress, id)
        progress[id] = kept
        # A voter of the outgoing half cannot be a learner at once: it becomes one when that half is left.
        if id in sets.outgoing:
            sets.learners_next.add(id)
        else:
            kept.learner = True
            sets.learners.add(id)

    def _remove(self, sets: _Sets, progress: dict[int, Progress], id: int) -> None:
        if id not in progress:
            return
        sets.incoming.discard(id)
        sets.learners.discard(id)
        sets.learners_next.discard(id)
        if id not in sets.outgoing:
            del progress[id]

    def _add(self, progress: dict[int, Progress], id: int, learner: bool) -> None:
        progress[id] = Progress(0, max(self.last_index, 1), learner, added=True)


def check(conf: ConfState, progress: dict[int, Progress]) -> None:
    """Raise ConfChangeError unless a membership is consistent in itself and with its progress."""
    voters, outgoing = set(conf.voters), set(conf.voters_outgoing)
    for id in [*conf.voters, *conf.voters_outgoing, *conf.learners, *conf.learners_next]:
        if id not in progress:
            raise ConfChangeError(f"member {id} has no progress")
    for id in conf.learners_next:
        if id not in outgoing:
            raise ConfChangeError(f"{id} is to become a learner, but is no outgoing voter")
        if progress[id].learner:
            raise ConfChangeError(f"{id} is to become a learner, but is one already")
    for id in conf.learners:
        if id in outgoing:
            raise ConfChangeError(f"{id} is a learner and an outgoing voter")
        if id in voters:
            raise ConfChangeError(f"{id} is a learner and a voter")
        if not progress[id].learner:
            raise ConfChangeError(f"{id} is a learner, but its progress is a voter's")
    if not outgoing:
        if conf.learners_next:
            raise ConfChangeError("learners_next must be empty unless the configuration is joint")
        if conf.auto_leave:
            raise ConfChangeError("auto_leave must be False unless the configuration is joint")


def check_conf_state(conf: ConfState) -> None:
    """Raise ConfChangeError unless a membership from a storage or a snapshot is one that changes can lead to.

    And TypeError for an id that is no integer.
    """
    everybody = {*conf.voters, *conf.voters_outgoing, *conf.learners, *conf.learners_next}
    if len(everybody) > MEMBERS_MAX:
        raise ConfChangeError(f"a configuration has at most {MEMBERS_MAX} members, not {len(everybody)}")
    for id in everybody:
        check_id(id)
    check(conf, {id: Progress(0, 1, id in conf.learners) for id in everybody})
    if everybody and not conf.voters:
        raise ConfChangeError("a configuration with members has voters")


def configuration_after(before: ConfState, change: ConfChange, index: int = 0) -> Configuration:
    """What a change leads to, to be installed where ``before`` is the present membership.

    ``index``: of the change's entry. May be called on any thread. Raises ConfChangeError when the change does not fit.
    """
    progress = {}
    for id in [*before.voters, *before.voters_outgoing, *before.learners, *before.learners_next]:
        progress[id] = Progress(0, 1, id in before.learners)
    after, members = Changer(before, progress, 0).change(change)
    anew = [id for id, member in members.items() if member.added]
    return Configuration(after, anew, index, Configuration(before))
