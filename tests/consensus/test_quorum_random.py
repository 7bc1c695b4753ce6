"""Quorums against definitions that are slow and obvious, at random with fixed seeds, in both modes.

Joint configurations, members that are no voters, and commit groups (raft-rs). Everything goes through the functions
that take ids; test_quorum.py has the masks, exhaustively where they are small.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from types import ModuleType

import pytest

from raftx.types import NUMBER_MAX
from tests.helpers.implementations import module

PENDING, LOST, WON = 1, 2, 3
ROUNDS = 400


def majority(voters: Sequence[int], agree: Iterable[int]) -> bool:
    """Whether more than half of the voters agree; nobody is asked, then everybody agrees."""
    return not voters or 2 * len(set(voters) & set(agree)) > len(set(voters))


def committed(voters: Sequence[int], matches: Mapping[int, int], groups: Mapping[int, int] | None) -> tuple[int, bool]:
    """One half: the highest index that a majority has and, with groups, members of two groups have."""
    if not voters:
        return NUMBER_MAX, groups is not None
    indexes = {0, *[matches.get(id, 0) for id in voters]}

    def holders(index: int) -> list[int]:
        return [id for id in voters if matches.get(id, 0) >= index]

    by_majority = max([index for index in indexes if majority(voters, holders(index))])
    if groups is None:
        return by_majority, False
    known = {groups.get(id, 0) for id in voters} - {0}
    if len(known) > 1:
        return max(
            [
                index
                for index in indexes
                if index <= by_majority and len({groups.get(id, 0) for id in holders(index)} - {0}) > 1
            ]
        ), True
    if any([not groups.get(id, 0) for id in voters]):
        return min([matches.get(id, 0) for id in voters]), False
    return by_majority, False


def outcome(voters: Sequence[int], outgoing: Sequence[int], votes: Mapping[int, bool]) -> int:
    """Won or lost when that is so however the others vote."""
    silent = sorted({*voters, *outgoing} - set(votes))
    results = set()
    for answers in product((True, False), repeat=len(silent)):
        granted = [id for id, vote in {**votes, **dict(zip(silent, answers))}.items() if vote]
        results.add(majority(voters, granted) and majority(outgoing, granted))
    return PENDING if len(results) > 1 else WON if True in results else LOST


def some(rng: random.Random, most: int, least: int = 0) -> list[int]:
    """Ids of members, small and large, in any order."""
    return rng.sample([*range(1, 12), 2**40, 2**62, NUMBER_MAX], rng.randint(least, most))


@pytest.fixture(scope="module")
def quorum(impl: ModuleType) -> ModuleType:
    return module(impl, "consensus.quorum")


@pytest.mark.parametrize("seed", range(4))
def test_committed_index(quorum: ModuleType, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        voters, outgoing = some(rng, 7), some(rng, rng.choice((0, 7)))
        high = rng.choice((2, 5, 1000, NUMBER_MAX))
        matches = {id: rng.randrange(high) for id in [*some(rng, 9), *voters, *outgoing] if rng.random() < 0.9}
        one, two = committed(voters, matches, None), committed(outgoing, matches, None)
        expected = min(one[0], two[0])
        assert quorum.py_committed_index(voters, outgoing, matches) == (expected, False), (voters, outgoing, matches)
        assert quorum.py_committed_index(outgoing, voters, matches)[0] == expected
        assert quorum.py_committed_index(voters, voters, matches)[0] == one[0]


@pytest.mark.parametrize("seed", range(4))
def test_committed_index_of_groups(quorum: ModuleType, seed: int) -> None:
    rng = random.Random(100 + seed)
    for _ in range(ROUNDS):
        voters, outgoing = some(rng, 7), some(rng, rng.choice((0, 7)))
        high = rng.choice((3, 8, 1000))
        members = {*voters, *outgoing}
        matches = {id: rng.randrange(high) for id in members}
        most_groups = rng.choice((1, 2, 3))
        groups = {id: rng.randint(rng.choice((0, 1)), most_groups) for id in members}
        one, two = committed(voters, matches, groups), committed(outgoing, matches, groups)
        expected = (min(one[0], two[0]), one[1] and two[1])
        case = (voters, outgoing, matches, groups)
        assert quorum.py_committed_index(voters, outgoing, matches, groups) == expected, case
        assert quorum.py_committed_index(outgoing, voters, matches, groups) == expected, case
        # Groups never commit more than majorities do.
        assert expected[0] <= quorum.py_committed_index(voters, outgoing, matches)[0], case


@pytest.mark.parametrize("seed", range(4))
def test_vote_result(quorum: ModuleType, seed: int) -> None:
    rng = random.Random(200 + seed)
    for _ in range(ROUNDS):
        voters, outgoing = some(rng, 5), some(rng, rng.choice((0, 4)))
        asked = rng.choice((0.2, 0.6, 1.0))
        votes = {id: rng.random() < 0.6 for id in [*voters, *outgoing, *some(rng, 3)] if rng.random() < asked}
        expected = outcome(voters, outgoing, votes)
        assert quorum.py_vote_result(voters, outgoing, votes) == expected, (voters, outgoing, votes)
        assert quorum.py_vote_result(outgoing, voters, votes) == expected


def test_results_have_the_numbers_of_the_module(quorum: ModuleType) -> None:
    assert [quorum.py_vote_result([1], [], votes) for votes in ({}, {1: False}, {1: True})] == [PENDING, LOST, WON]


def test_as_many_voters_as_there_may_be(quorum: ModuleType) -> None:
    voters = list(range(1, 65))
    assert quorum.py_committed_index(voters, [], {id: id for id in voters}) == (32, False)
    assert quorum.py_committed_index(voters[:63], voters[1:], {id: id for id in voters})[0] == 32
    votes = dict.fromkeys(voters[:32], True)
    assert quorum.py_vote_result(voters, [], votes) == PENDING
    assert quorum.py_vote_result(voters, [], {**votes, 64: True}) == WON
    assert quorum.py_vote_result(voters, [], dict.fromkeys(voters[:32], False)) == LOST
