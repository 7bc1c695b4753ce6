"""Commit groups and priorities, which only raft-rs has: counterparts of its tests of them. The tables are raft-rs's.

The figures that raft-rs writes into its leader are brought about here by logs, votes and acknowledgements.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import pytest

from raftx.types import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    MSG_HEARTBEAT,
    PRE_CANDIDATE,
)
from tests.helpers.core_net import Member, Network
from tests.helpers.slow_apply import Late


def in_groups(groups: Sequence[int]) -> dict[int, int]:
    """The group of each member that is in one, by id."""
    return {id: group for id, group in enumerate(groups, 1) if group}


# --- commit groups --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matches", "groups", "across", "plain"),
    [
        # One member.
        ((1,), (0,), 1, 1),
        ((1,), (1,), 1, 1),
        # An odd number.
        ((2, 2, 1), (1, 2, 1), 2, 2),
        ((2, 2, 1), (1, 1, 2), 1, 2),
        ((2, 2, 1), (1, 0, 1), 1, 2),
        ((2, 2, 1), (0, 0, 0), 1, 2),
        # An even number.
        ((4, 2, 1, 3), (0, 0, 0, 0), 1, 2),
        ((4, 2, 1, 3), (1, 0, 0, 0), 1, 2),
        ((4, 2, 1, 3), (0, 1, 0, 2), 2, 2),
        ((4, 2, 1, 3), (0, 2, 1, 0), 1, 2),
        ((4, 2, 1, 3), (1, 1, 1, 1), 2, 2),
        ((4, 2, 1, 3), (1, 1, 2, 1), 1, 2),
        ((4, 2, 1, 3), (1, 2, 1, 1), 2, 2),
        ((4, 2, 1, 3), (4, 3, 2, 1), 2, 2),
    ],
)
def test_group_commit(
    impl: ModuleType, matches: tuple[int, ...], groups: tuple[int, ...], across: int, plain: int
) -> None:
    """What two groups have is committed (``across``); what a majority has, when all are in one, or without groups."""
    ids = range(1, len(matches) + 1)
    leader = Member(impl, 1, ids)
    leader.node.enable_group_commit(True)
    leader.node.assign_commit_groups(in_groups(groups))
    # A follower commits nothing by itself.
    assert leader.committed == 0
    leader.node.clear_commit_groups()
    leader.lead_with(*ids[1:])
    for _ in range(matches[0] - 1):
        leader.propose()
    for id, match in zip(ids[1:], matches[1:]):
        leader.acknowledge(id, match)
    assert [leader.progress(id)["match"] for id in ids] == list(matches)
    # Nobody is in a group: only what all have is sure to be in two.
    assert leader.committed == min(matches)
    leader.node.assign_commit_groups(in_groups(groups))
    assert leader.committed == across
    leader.node.enable_group_commit(False)
    assert leader.committed == plain


@pytest.mark.parametrize(
    ("matches", "groups", "committed", "applied", "role", "consistent"),
    [
        # Alone there are no groups to speak of.
        ((8,), (0,), 8, 6, LEADER, False),
        ((8,), (1,), 8, 5, LEADER, None),
        ((8,), (1,), 8, 6, FOLLOWER, None),
        # Nothing of the leader's term is committed: an earlier leader may have reached more.
        ((8, 2, 0), (1, 2, 1), 2, 2, LEADER, None),
        ((8, 2, 6), (1, 1, 2), 6, 6, LEADER, True),
        # Nothing of its term is applied: there may be a change of membership.
        ((8, 2, 6), (1, 1, 2), 6, 5, LEADER, None),
        # No groups, one group, and one group that some are not in.
        ((8, 6, 6), (0, 0, 0), 6, 6, LEADER, False),
        ((8, 6, 6), (1, 1, 1), 6, 6, LEADER, False),
        ((8, 6, 6), (1, 1, 0), 6, 6, LEADER, False),
        # Only a leader knows.
        ((8, 2, 6), (1, 1, 2), 6, 6, FOLLOWER, None),
        ((8, 2, 6), (1, 1, 2), 6, 6, CANDIDATE, None),
        ((8, 2, 6), (1, 1, 2), 6, 6, PRE_CANDIDATE, None),
    ],
)
def test_group_commit_consistent(
    impl: ModuleType,
    matches: tuple[int, ...],
    groups: tuple[int, ...],
    committed: int,
    applied: int,
    role: int,
    consistent: bool | None,
) -> None:
    """Whether what is committed spans two groups: entries 1 to 5 are of term 1, 6 to 8 of the leader's term 2.

    raftx answers whether or not commits wait for groups; raft-rs says no as long as they do not.
    """
    ids = range(1, len(matches) + 1)
    member = Late(impl, 1, ids, terms=[1] * 5, pre_vote=role == PRE_CANDIDATE)
    # What was committed, and what was applied, before it led.
    member.step(MSG_HEARTBEAT, 2, commit=min(applied, 5))
    member.apply_all()
    member.lead_with(*ids[1:])
    if len(ids) == 1 and applied == 6:
        member.apply_all()
    for _ in range(2):
        member.propose()
    for id, match in zip(ids[1:], matches[1:]):
        if match:
            member.acknowledge(id, match)
    if len(ids) > 1 and applied == 6:
        member.apply_all()
    assert [member.progress(id)["match"] for id in ids] == list(matches)
    assert (member.term, member.terms) == (2, [1] * 5 + [2] * 3)
    if role != LEADER:
        member.node.step_down()
    if role in (CANDIDATE, PRE_CANDIDATE):
        member.campaign()
    assert (member.role, member.committed, member.node.core.applied) == (role, committed, applied)

    member.node.assign_commit_groups(in_groups(groups))
    for on in (False, True):
        member.node.enable_group_commit(on)
        assert member.node.group_commit_consistent() is consistent


# --- priority -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newer", "priorities", "role"),
    [
        # Which of the three have the newer log; 1 campaigns.
        ((True, False, False), (3, 1, 1), LEADER),
        ((True, False, False), (2, 2, 2), LEADER),
        ((True, False, False), (1, 3, 3), LEADER),
        ((True, True, True), (3, 1, 1), LEADER),
        ((True, True, True), (2, 2, 2), LEADER),
        ((True, True, True), (1, 3, 3), FOLLOWER),
        ((False, True, True), (3, 1, 1), FOLLOWER),
        ((False, True, True), (2, 2, 2), FOLLOWER),
        ((False, True, True), (1, 3, 3), FOLLOWER),
        ((False, False, True), (1, 3, 1), FOLLOWER),
        ((False, False, True), (1, 1, 3), LEADER),
    ],
)
def test_election_with_priority_log(
    impl: ModuleType, newer: tuple[bool, ...], priorities: tuple[int, ...], role: int
) -> None:
    """The newer log decides; between equal ones a vote goes to no lower priority than one's own."""
    network = Network(impl, 3, logs={id: [1, 1] for id, has in enumerate(newer, 1) if has})
    for id, priority in enumerate(priorities, 1):
        network[id].node.set_priority(priority)
    network.campaign(1)
    assert network[1].role == role


def test_election_after_change_priority(impl: ModuleType) -> None:
    """A member is elected once its priority is raised, and not any more once it is lowered."""
    network = Network(impl, 3, hards=dict.fromkeys((1, 2, 3), (1, 0, 0)))
    network[2].node.set_priority(2)
    network[3].node.set_priority(3)
    assert network[1].priority == 0
    network.campaign(1)
    assert network[1].role == FOLLOWER
    for priority, role in ((1, FOLLOWER), (2, LEADER), (3, LEADER), (0, FOLLOWER)):
        if network[1].role == LEADER:
            network[1].node.step_down()
        network[1].node.set_priority(priority)
        network.campaign(1)
        assert network[1].role == role, priority
