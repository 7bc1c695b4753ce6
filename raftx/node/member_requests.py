"""What may be asked of a node about its members: each is a Future that ends in done, not done (why) or unknown.

The part of Node that checks and hands over. A request is a goal, which changer.py works at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..errors import Busy, UsageError
from ..types import (
    ADD_LEARNER,
    ADD_VOTER,
    MEMBERS_MAX,
    NUMBER_MAX,
    REMOVE,
    UPDATE,
    ConfChangeSingle,
    check_timeout,
    is_id,
)
from .events import Consumer
from .futures import Future
from .outcomes import KIND_CHANGE
from .patience import NO_TIME
from .requests import SECONDS_MAX, R, Requests

if TYPE_CHECKING:
    from .changer import Goal
    from .members import Membership
    from .status import Member

TIMEOUT = 60.0
KINDS = (ADD_VOTER, REMOVE, UPDATE, ADD_LEARNER)
TOO_MANY = "too many changes of membership are open on this node"


class MemberRequests(Requests[R]):
    """The requests of a Node about members. Any thread; on any member, which asks the leader."""

    def add_learner(self, id: int, url: str = "", *, timeout: float = TIMEOUT) -> Future[Membership]:
        """Let ``id`` take part without a vote: it gets the log, or a snapshot. Returns a Future of the Membership.

        url: where it is reached, as its transport listens; "": every transport knows. It need not run yet. Done, too,
        when it is there already, at that address. An id that was removed may be added again for a member that was
        founded anew.

        Like all changes of membership: changes are made one at a time, in the order in which they were asked for on
        this node; those of other nodes in between. One that waits for a learner to catch up, or for a majority, lets
        others go first. It ends as NotDone when its member is removed meanwhile, so what was removed stays so.
        ``future.progress`` tells what is waited for. It ends as NotDone with the reason when it cannot be (another
        member has that address, say), and after ``timeout`` seconds, if it was certainly not done; as Unknown if it may
        have been. Cancelling the future ends the work at it. Raises Stopped, UsageError; ConfigError for a url
        that the transport of this node cannot dial. The leader refuses one that its own cannot.
        """
        from . import changer

        return self._change(changer.add_learner(_id(id), self._url(url)), timeout)

    def add_voter(self, id: int, url: str = "", *, timeout: float = TIMEOUT) -> Future[Membership]:
        """Let ``id`` take part with a vote: as a learner first, until it has caught up. Otherwise as ``add_learner``.

        A member that never starts stays a learner, which nobody waits for. So a group of one stays usable.
        """
        from . import changer

        return self._change(changer.add_voter(_id(id), self._url(url)), timeout)

    def promote(self, id: int, *, timeout: float = TIMEOUT) -> Future[Membership]:
        """Let the learner ``id`` vote, once it has caught up. Done, too, for a voter. Otherwise as ``add_learner``."""
        from . import changer

        return self._change(changer.promote(_id(id)), timeout)

    def demote(self, id: int, *, timeout: float = TIMEOUT) -> Future[Membership]:
        """Make the voter ``id`` a learner; a leader hands over first. Otherwise as ``add_learner``."""
        from . import changer

        return self._change(changer.demote(_id(id)), timeout)

    def remove(self, id: int, *, missing_ok: bool = True, timeout: float = TIMEOUT) -> Future[Membership]:
        """Let ``id`` take part no more; a leader hands over first. Done, too, when it is no member.

        With ``missing_ok=False`` it ends as NotDone then, and names the members: who was removed is not remembered, so
        nobody can tell an id that was a member from one that never was.

        Its node ends with Removed, as soon as it hears of it. It waits while too few of the voters that would be left
        are there. Otherwise as ``add_learner``.
        """
        from . import changer

        if not isinstance(missing_ok, bool):
            raise UsageError(f"missing_ok must be True or False, not {missing_ok!r}")
        return self._change(changer.remove(_id(id), missing_ok), timeout)

    def move(self, id: int, url: str, *, timeout: float = TIMEOUT) -> Future[Membership]:
        """From now on ``id`` is reached at ``url``. Every member's transport follows. Otherwise as ``add_learner``."""
        if not url:
            raise UsageError("url must be an address, not ''")
        from . import changer

        return self._change(changer.move(_id(id), self._url(url)), timeout)

    def change_configuration(
        self,
        changes: Iterable[ConfChangeSingle],
        addresses: Mapping[int, str] | None = None,
        *,
        timeout: float = TIMEOUT,
    ) -> Future[Membership]:
        """Make several changes at once, through a joint configuration: ``ConfChangeSingle(ConfChangeKind.REMOVE, 3)``.

        addresses: of members that are added or moved. Who is to vote and is no member yet is added as a learner before,
        and the change is made when all of these have caught up. Otherwise as ``add_learner``.
        """
        if isinstance(changes, (str, bytes)) or not isinstance(changes, Iterable):
            raise UsageError(f"changes must be several ConfChangeSingle, not {changes!r}")
        parts = list(changes)
        for part in parts:
            if not isinstance(part, ConfChangeSingle) or part.kind not in KINDS or not is_id(part.id):
                raise UsageError(f"changes must be ConfChangeSingle(kind, id) with an id in 1..2^63-1, not {part!r}")
        if not 0 < len(parts) <= MEMBERS_MAX or len({part.id for part in parts}) != len(parts):
            raise UsageError(f"changes must be 1..{MEMBERS_MAX}, and name each member once, not {len(parts)}")
        if addresses is not None and not isinstance(addresses, Mapping):
            raise UsageError(f"addresses must be a mapping of ids to addresses, not {addresses!r}")
        if addresses and not {*addresses} <= {part.id for part in parts}:
            raise UsageError("addresses must be of members that changes name")
        urls = {_id(id): self._url(url, f"addresses: {id}") for id, url in (addresses or {}).items()}
        from . import changer

        places = [changer.place(url) for url in urls.values() if url]
        if len(set(places)) != len(places):
            raise UsageError(f"addresses must be different ones, as each member needs its own, not {urls!r}")
        goal = changer.change_configuration(tuple([(int(part.kind), part.id) for part in parts]), urls)
        return self._change(goal, timeout)

    def _url(self, url: str, field: str = "url") -> str:
        from ..storage.snapshot_format import URL_MAX

        if not isinstance(url, str) or len(url.encode(errors="replace")) > URL_MAX or not url.isprintable():
            raise UsageError(
                f"{field} must be an address of at most {URL_MAX} bytes, such as 'tcp://10.0.0.4:5604', not {url!r}"
            )
        check = getattr(self._outside.transport, "check_address", None)
        if url and check is not None:
            check(url, field)
        return url

    def _change(self, goal: Goal, timeout: float) -> Future[Membership]:
        self._check_running()
        check_timeout(timeout, none=False)
        future, request = self._open(KIND_CHANGE)
        nanoseconds = int(min(max(timeout, 0.0), SECONDS_MAX) * 1e9)
        if not nanoseconds:
            self._outcomes.reject(request, f"{goal.text}: {NO_TIME}")
        elif not self._made().changer.ask(request, goal, future, nanoseconds):
            self._outcomes.reject(request, TOO_MANY, Busy)
        return future

    # --- what they are -----------------------------------------------------------------------------

    @property
    def configurations(self) -> Consumer[Membership]:
        """A new stream of memberships: the one that this node began with, and each that a change has led to here.

        As ``state_changes``: each stream gets every element; the newest 1,024 are kept.
        """
        self._life.check_process()
        return self._outside.configurations.consumer()

    @property
    def members(self) -> list[Member]:
        """The members, by id, as this node sees them. Empty before the start."""
        from .status import Member  # here: see Node.__init__

        self._life.check_process()
        parts = self._parts
        if parts is None:
            return []
        present, gauges, config = parts.members.now, parts.engine.gauges, parts.peers.rows()
        seconds = self._outside.config.tick_ms / 1000
        conf, found = present.conf_state, []
        for id in present.ids():
            role = "voter" if id in conf.voters else "learner" if id in conf.learners else "outgoing"
            match, quiet = config.get(id, (0, -1))
            leads = self.is_leader
            found.append(
                Member(
                    id,
                    present.addresses.get(id, "") or getattr(self._outside.transport, "peers", {}).get(id, ""),
                    role,
                    id == self.leader_id,
                    match if leads else None,
                    max(0, int(gauges.last) - match) if leads else None,
                    0.0 if id == self._outside.config.id else None if quiet < 0 else quiet * seconds,
                )
            )
        return found


def _id(id: int) -> int:
    if not is_id(id):
        raise UsageError(f"id must be an integer in 1..{NUMBER_MAX}, not {id!r}")
    return id
