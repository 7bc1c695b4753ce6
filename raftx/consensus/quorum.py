"""Majorities and joint majorities over masks of slots: pure arithmetic.

A mask has bit ``i`` set when the member in slot ``i`` belongs to the set. An empty set agrees with
everything, so that a joint decision is the stricter of its two halves (etcd's quorum package; commit
groups are raft-rs's). The functions with ``py_`` take ids instead, for tests and tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .. import _core
from .._core import Peers
from ..types import NUMBER_MAX

VOTE_PENDING = 1
VOTE_LOST = 2
VOTE_WON = 3


def committed_index(voters: int, peers: Peers) -> int:
    """The largest index that a majority of ``voters`` has acknowledged; 2^63-1 for no voters."""
    need = _core.popcount(voters) // 2 + 1
    best = 0
    if voters == 0:
        return NUMBER_MAX
    for slot in range(peers.count):
        if (voters >> slot) & 1 == 0:
            continue
        candidate = peers.match[slot]
        if candidate <= best:
            continue
        have = 0
        for other in range(peers.count):
            if (voters >> other) & 1 and peers.match[other] >= candidate:
                have += 1
        if have >= need:
            best = candidate
    return best


def joint_committed_index(voters: int, outgoing: int, peers: Peers) -> int:
    """What both halves of a joint configuration have committed."""
    return min(committed_index(voters, peers), committed_index(outgoing, peers))


def group_committed_index(voters: int, peers: Peers) -> tuple[int, bool]:
    """What a majority that spans two commit groups has acknowledged, and whether groups decided it.

    Members without a group do not count for one. When there are not two groups among the voters: with
    all of them in one group the majority alone decides, else what all of them have (raft-rs).
    """
    if voters == 0:
        return NUMBER_MAX, True
    majority = committed_index(voters, peers)
    lowest = NUMBER_MAX
    ungrouped = False
    # The group of the member that is ahead of all others in a group; which one of several does not matter.
    group = 0
    ahead = 0
    for slot in range(peers.count):
        if (voters >> slot) & 1:
            lowest = min(lowest, peers.match[slot])
            if peers.commit_group[slot] == 0:
                ungrouped = True
            elif group == 0 or peers.match[slot] > ahead:
                group = peers.commit_group[slot]
                ahead = peers.match[slot]
    # How far any second group is.
    found = False
    best = 0
    for slot in range(peers.count):
        if (voters >> slot) & 1 and peers.commit_group[slot] != 0 and peers.commit_group[slot] != group:
            found = True
            best = max(best, peers.match[slot])
    if found:
        return min(best, majority), True
    return (lowest if ungrouped else majority), False


def joint_group_committed_index(voters: int, outgoing: int, peers: Peers) -> tuple[int, bool]:
    """The same for both halves of a joint configuration; groups decided it when they did in both."""
    one, one_used = group_committed_index(voters, peers)
    two, two_used = group_committed_index(outgoing, peers)
    return min(one, two), one_used and two_used


def vote_result(voters: int, granted: int, refused: int) -> int:
    """VOTE_WON, VOTE_LOST or VOTE_PENDING for one majority."""
    if voters == 0:
        return VOTE_WON
    need = _core.popcount(voters) // 2 + 1
    yes = _core.popcount(voters & granted)
    if yes >= need:
        return VOTE_WON
    if _core.popcount(voters) - _core.popcount(voters & refused) >= need:
        return VOTE_PENDING
    return VOTE_LOST


def joint_vote_result(voters: int, outgoing: int, granted: int, refused: int) -> int:
    """Lost when one half is lost, won when both are won."""
    one = vote_result(voters, granted, refused)
    two = vote_result(outgoing, granted, refused)
    if one == VOTE_LOST or two == VOTE_LOST:
        return VOTE_LOST
    return one if one == two else VOTE_PENDING


# --- by ids ----------------------------------------------------------------------------------------


def _columns(ids: Iterable[int], matches: Mapping[int, int], groups: Mapping[int, int]) -> Peers:
    peers = Peers()
    peers.set_ids(sorted(set(ids)))
    for slot, id in enumerate(list(peers.column("ids"))):
        peers.set_match(slot, matches.get(id, 0))
        peers.set_commit_group(slot, groups.get(id, 0))
    return peers


def _mask(ids: Iterable[int], peers: Peers) -> int:
    return sum([_core.bit(peers.py_slot_of(id)) for id in set(ids)])


def py_committed_index(
    voters: Iterable[int],
    outgoing: Iterable[int],
    matches: Mapping[int, int],
    groups: Mapping[int, int] | None = None,
) -> tuple[int, bool]:
    """The committed index of a joint configuration, and whether commit groups decided it.

    ``matches`` is what each member has acknowledged (absent: nothing); without ``groups`` only majorities count.
    """
    voters, outgoing = set(voters), set(outgoing)
    peers = _columns(voters | outgoing, matches, groups or {})
    one, two = _mask(voters, peers), _mask(outgoing, peers)
    if groups is None:
        return joint_committed_index(one, two, peers), False
    index, used = joint_group_committed_index(one, two, peers)
    return index, bool(used)


def py_vote_result(voters: Iterable[int], outgoing: Iterable[int], votes: Mapping[int, bool]) -> int:
    """VOTE_WON, VOTE_LOST or VOTE_PENDING of a joint configuration after these votes."""
    voters, outgoing = set(voters), set(outgoing)
    peers = _columns(voters | outgoing, {}, {})
    members = voters | outgoing
    granted = _mask([id for id, vote in votes.items() if vote and id in members], peers)
    refused = _mask([id for id, vote in votes.items() if not vote and id in members], peers)
    return joint_vote_result(_mask(voters, peers), _mask(outgoing, peers), granted, refused)
