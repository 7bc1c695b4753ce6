"""How a cluster is, as one member sees and hears it: every member, and how it is, or why that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..config import cluster_name
from ..types import ConfState
from .lookout import Lookout
from .plain import to_plain
from .status import Member, Status

NEVER_ASKED = "this node does not run, and asks nobody"


@dataclass(frozen=True)
class MemberView:
    """One member, and what it says of itself: an element of ``ClusterStatus.members``."""

    id: int
    #: where it is reached; "": not known here
    url: str
    #: "leader", "follower", "candidate", "pre_candidate" or "none", as it says; "" where that is not known
    role: str
    voter: bool
    learner: bool
    #: whether it has answered
    reachable: bool
    #: why its status is missing, as a sentence; "": it is not
    error: str
    #: milliseconds since it was heard of; None: it was not in this life of the node that tells
    seen_ms: int | None
    status: Status | None


@dataclass(frozen=True)
class ClusterStatus:
    """What ``Node.cluster_status`` returns. leader, term and members are as the node ``id`` knows them."""

    #: the name of the cluster: as text where it is some, else in hexadecimal
    cluster: str
    #: who tells this, and which leader and term it knows; leader 0: none
    id: int
    leader: int
    term: int
    members: tuple[MemberView, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as dicts, lists, strings, numbers, booleans and None: ``json.dumps`` takes it."""
        found: dict[str, Any] = to_plain(self)
        return found


def view_of(
    own: Status,
    cluster: bytes,
    members: Iterable[Member],
    there: ConfState,
    lookout: Lookout | None,
    since: int,
    waited: float,
) -> ClusterStatus:
    """What is known. lookout: has the answers that came since then; None: nobody was asked. waited: seconds."""
    found = []
    for member in members:
        status, error, heard = None, "", member.last_heard
        if member.id == own.id:
            status = own
        elif lookout is None:
            error = NEVER_ASKED
        elif lookout.is_fresh(member.id, since):
            seen = lookout.seen[member.id]
            status, error = seen.status, seen.error
            heard = max(0, lookout.clock.py_now() - seen.at) / 1e9
        else:
            error = _silent(member, waited)
        found.append(
            MemberView(
                member.id,
                member.url,
                status.role if status is not None else "",
                member.id in there.voters or member.id in there.voters_outgoing,
                member.id in there.learners or member.id in there.learners_next,
                status is not None,
                error,
                None if heard is None else round(heard * 1000),
                status,
            )
        )
    return ClusterStatus(cluster_name(cluster), own.id, own.leader, own.term, tuple(found))


def _silent(member: Member, waited: float) -> str:
    if member.last_heard is None:
        return f"no answer within {waited:g} s, and nothing has come of it in this life of the node that asked"
    if member.last_heard < waited:
        return f"no answer within {waited:g} s, although it is heard of: it may be of a version that gives none"
    return f"no answer within {waited:g} s; it was last heard of {member.last_heard:.0f} s ago"
