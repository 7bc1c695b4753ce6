"""Majorities and joint majorities: the arithmetic exhaustively, and through elections and commits in both modes.

Functions of compiled modules that take no objects cannot be called from Python; the interpreted copy
of the same source can, and what follows from them shows in a RawNode of either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, permutations, product
from types import ModuleType

import pytest

from raftx.types import CANDIDATE, FOLLOWER, LEADER, MSG_VOTE_RESP, NUMBER_MAX
from tests.helpers.core_net import Member
from tests.helpers.implementations import IMPLEMENTATIONS, module

QUORUM = module(IMPLEMENTATIONS["pure"], "consensus.quorum")
CORE = module(IMPLEMENTATIONS["pure"], "_core")

# Incoming and outgoing voters; 1 is in one of them at least.
CONFIGURATIONS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1,), ()),
    ((1, 2), ()),
    ((1, 2, 3), ()),
    ((1, 2, 3, 4), ()),
    ((1, 2, 3, 4, 5), ()),
    ((1, 2, 3), (1, 2, 3)),
    ((1, 2, 3), (3, 4, 5)),
    ((1, 2), (1, 2, 3, 4)),
    ((1, 2, 3), (1, 4)),
    ((1,), (2,)),
    ((2, 3), (1,)),
]


def mask(members: Iterable[int]) -> int:
    """Member n in slot n - 1."""
    return sum({1 << (id - 1) for id in members})


def majorities(voters: Sequence[int]) -> list[set[int]]:
    """All sets of voters with more than half of them; for nobody, the empty set."""
    return [set(some) for n in range(len(voters) // 2 + 1, len(voters) + 1) for some in combinations(voters, n)] or [
        set()
    ]


def outcome(halves: Sequence[Sequence[int]], granted: set[int], refused: set[int]) -> int:
    """By definition: won when a majority of each half granted, lost when one of them cannot any more."""
    if any(all(some & refused for some in majorities(half)) for half in halves):
        return int(QUORUM.VOTE_LOST)
    if all(any(some <= granted for some in majorities(half)) for half in halves):
        return int(QUORUM.VOTE_WON)
    return int(QUORUM.VOTE_PENDING)


def agreed(voters: Sequence[int], match: dict[int, int]) -> int:
    """By definition: the best of what any majority has in common."""
    if not voters:
        return NUMBER_MAX
    return max(min(match[id] for id in some) for some in majorities(voters))


# --- the arithmetic ------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("size", range(7))
def test_every_vote_of_one_majority(size: int) -> None:
    voters = range(1, size + 1)
    for answers in product((None, True, False), repeat=size):
        granted = {id for id, answer in zip(voters, answers) if answer is True}
        refused = {id for id, answer in zip(voters, answers) if answer is False}
        assert QUORUM.vote_result(mask(voters), mask(granted), mask(refused)) == outcome([voters], granted, refused)


@pytest.mark.once
def test_votes_of_others_do_not_count() -> None:
    voters, others = mask((2, 3, 5)), mask((1, 4, 6, 64))
    assert QUORUM.vote_result(voters, others | mask((2,)), 0) == QUORUM.VOTE_PENDING
    assert QUORUM.vote_result(voters, mask((2, 64, 5)), others) == QUORUM.VOTE_WON
    assert QUORUM.vote_result(voters, 0, others | mask((3,))) == QUORUM.VOTE_PENDING


@pytest.mark.once
def test_the_largest_membership() -> None:
    everybody = mask(range(1, 65))
    assert QUORUM.vote_result(everybody, mask(range(1, 33)), 0) == QUORUM.VOTE_PENDING
    assert QUORUM.vote_result(everybody, mask(range(32, 65)), 0) == QUORUM.VOTE_WON
    assert QUORUM.vote_result(everybody, 0, mask(range(1, 33))) == QUORUM.VOTE_LOST


@pytest.mark.once
@pytest.mark.parametrize(("incoming", "outgoing"), CONFIGURATIONS)
def test_every_vote_of_a_joint_majority(incoming: tuple[int, ...], outgoing: tuple[int, ...]) -> None:
    everybody = sorted({*incoming, *outgoing})
    for answers in product((None, True, False), repeat=len(everybody)):
        granted = {id for id, answer in zip(everybody, answers) if answer is True}
        refused = {id for id, answer in zip(everybody, answers) if answer is False}
        result = QUORUM.joint_vote_result(mask(incoming), mask(outgoing), mask(granted), mask(refused))
        assert result == outcome([incoming, outgoing], granted, refused)


@pytest.mark.once
@pytest.mark.parametrize(("incoming", "outgoing"), CONFIGURATIONS)
def test_every_commit_index(incoming: tuple[int, ...], outgoing: tuple[int, ...]) -> None:
    everybody = sorted({*incoming, *outgoing})
    peers = CORE.Peers()
    peers.set_ids(everybody)
    slots = {id: peers.py_slot_of(id) for id in everybody}
    one = sum([1 << slots[id] for id in incoming])
    two = sum([1 << slots[id] for id in outgoing])
    for values in product((0, 1, 5, NUMBER_MAX), repeat=len(everybody)):
        match = dict(zip(everybody, values))
        for id in everybody:
            peers.match[slots[id]] = match[id]
        assert QUORUM.committed_index(one, peers) == agreed(incoming, match)
        assert QUORUM.joint_committed_index(one, two, peers) == min(agreed(incoming, match), agreed(outgoing, match))


@pytest.mark.once
def test_nobody_agrees_with_everything() -> None:
    assert QUORUM.vote_result(0, 0, 0) == QUORUM.VOTE_WON
    assert QUORUM.committed_index(0, CORE.Peers()) == NUMBER_MAX


# --- what follows from it ------------------------------------------------------------------------


@pytest.mark.parametrize(("incoming", "outgoing"), CONFIGURATIONS)
def test_every_election(impl: ModuleType, incoming: tuple[int, ...], outgoing: tuple[int, ...]) -> None:
    others = sorted({*incoming, *outgoing} - {1})
    for answers in product((None, True, False), repeat=len(others)):
        member = Member(impl, 1, incoming, outgoing=outgoing)
        member.campaign()
        granted, refused = {1}, set()
        for id, answer in zip(others, answers):
            # Once it is decided, further answers change nothing.
            if answer is not None and member.role == CANDIDATE:
                (granted if answer else refused).add(id)
                member.step(MSG_VOTE_RESP, id, reject=not answer)
        expected = {
            QUORUM.VOTE_WON: LEADER,
            QUORUM.VOTE_LOST: FOLLOWER,
            QUORUM.VOTE_PENDING: CANDIDATE,
        }[outcome([incoming, outgoing], granted, refused)]
        assert member.role == expected, (granted, refused)


@pytest.mark.parametrize(("incoming", "outgoing"), CONFIGURATIONS)
def test_every_commit(impl: ModuleType, incoming: tuple[int, ...], outgoing: tuple[int, ...]) -> None:
    others = sorted({*incoming, *outgoing} - {1})
    for values in product((0, 1, 3), repeat=len(others)):
        member = Member(impl, 1, incoming, outgoing=outgoing)
        member.lead_with(*others)
        member.propose()
        member.propose()
        for id, index in zip(others, values):
            member.acknowledge(id, index)
        match = {1: 3, **dict(zip(others, values))}
        assert member.committed == min(agreed(incoming, match), agreed(outgoing, match)), match


@pytest.mark.parametrize("order", list(permutations((2, 3, 4))))
def test_the_order_of_the_votes_does_not_matter(impl: ModuleType, order: tuple[int, ...]) -> None:
    member = Member(impl, 1, (1, 2, 3, 4, 5))
    member.campaign()
    for id in order:
        member.step(MSG_VOTE_RESP, id, reject=id == 3)
    assert member.role == LEADER


def test_commits_need_no_order(impl: ModuleType) -> None:
    for order in ((2, 3, 4, 5), (5, 4, 3, 2), (4, 2, 5, 3)):
        member = Member(impl, 1, (1, 2, 3, 4, 5))
        member.lead_with(2, 3)
        for _ in range(4):
            member.propose()
        seen = []
        for id in order:
            member.acknowledge(id, id)
            seen.append(member.committed)
        # The third best of 5 (the leader's own), 5, 4, 3 and 2.
        assert seen[-1] == 4 and seen == sorted(seen)


@pytest.mark.parametrize(
    ("values", "own_term_from", "committed"),
    [
        ((2, 1), 3, 0),
        ((3, 0), 3, 3),
        ((2, 2), 3, 0),
        ((4, 3), 3, 4),
        ((5, 4), 5, 5),
        ((4, 4), 5, 0),
    ],
)
def test_the_table_counts_only_entries_of_the_present_term(
    impl: ModuleType, values: tuple[int, int], own_term_from: int, committed: int
) -> None:
    member = Member(impl, terms=[1] * (own_term_from - 1))
    member.lead_with(2)
    while member.log.last < 5:
        member.propose()
    member.acknowledge(2, values[0])
    member.acknowledge(3, values[1])
    assert member.committed == committed
