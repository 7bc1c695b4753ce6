"""Majorities and joint majorities over masks of slots: pure arithmetic.

A mask has bit ``i`` set when the member in slot ``i`` belongs to the set. An empty set agrees with
everything, so that a joint decision is the stricter of its two halves (etcd's quorum package).
"""

from __future__ import annotations

from .. import _core
from .._core import Peers
from ..types import NUMBER_MAX

VOTE_PENDING = 1
VOTE_LOST = 2
VOTE_WON = 3


def committed_index(voters: int, peers: Peers) -> int:
    """The largest index that a majority of ``voters`` has acknowledged; 2^63-1 for nobody."""
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
