"""Groups of 33, 48 and 64 members that do not all vote alike: two candidates in one term, and a leader left behind.

What a whole group does; test_slots.py has every slot by itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import pytest

from raftx.types import CANDIDATE, FOLLOWER, LEADER, MSG_HEARTBEAT, MSG_HEARTBEAT_RESP, MSG_VOTE, MSG_VOTE_RESP
from tests.helpers.core_net import Member, only

SIZES = [33, 48, 64]


class Group:
    """Members and the votes that they have given. Messages of an election arrive in any order, or never."""

    def __init__(self, impl: ModuleType, size: int, draw: random.Random, longer: Iterable[int] = ()) -> None:
        self.draw = draw
        ids = range(1, size + 1)
        #: whose log is longer refuses the others
        self.members = {id: Member(impl, id, ids, terms=(1, 1) if id in longer else (1,)) for id in ids}
        #: (term, candidate) to those who voted for it, itself included
        self.votes: dict[tuple[int, int], set[int]] = {}
        self.network: list[Any] = []

    def campaign(self, id: int) -> None:
        self.network += self.members[id].campaign()
        self.votes[self.members[id].term, id] = {id}

    def run(self, silent: Sequence[int] = (), messages: int = 100_000) -> None:
        """Until no vote and no request for one is under way; from and to the silent nothing arrives."""
        for _ in range(messages):
            if not self.network:
                return
            message = self.network.pop(self.draw.randrange(len(self.network)))
            if message.to in silent or message.sender in silent:
                continue
            if message.kind == MSG_VOTE_RESP and not message.reject:
                self.votes[message.term, message.to].add(message.sender)
            member = self.members[message.to]
            before = member.role
            member.receive(message)
            sent = member.take()
            if before == CANDIDATE and member.role == LEADER:
                # Its appends would end the election.
                assert len(self.votes[member.term, member.id]) > len(self.members) // 2
            self.network += [m for m in sent if m.kind in (MSG_VOTE, MSG_VOTE_RESP)]

    def leaders(self) -> list[int]:
        return [id for id, member in self.members.items() if member.role == LEADER]


@pytest.mark.parametrize("size", SIZES)
def test_two_candidates_of_one_term_never_both_lead(impl: ModuleType, size: int) -> None:
    """Each gets some of the votes; whoever has more than half leads, if anybody has."""
    led = 0
    for seed in range(12):
        draw = random.Random(size * 1000 + seed)
        ids = range(1, size + 1)
        one, two = draw.sample(ids, 2)
        longer = {id for id in ids if id not in (one, two) and draw.random() < draw.choice((0.0, 0.2))}
        silent = [id for id in ids if id not in (one, two) and draw.random() < draw.choice((0.0, 0.2))]
        group = Group(impl, size, draw, longer)
        group.campaign(one)
        first, group.network = group.network, []
        group.campaign(two)
        second, group.network = group.network, first
        group.run(silent, draw.randrange(size))  # one of them may be ahead
        group.network += second
        group.run(silent)
        term = group.members[one].term
        assert term == group.members[two].term == 2
        votes = [group.votes[term, id] for id in (one, two)]
        assert not votes[0] & votes[1]
        assert group.leaders() == [id for id, given in zip((one, two), votes) if len(given) > size // 2]
        assert all(group.members[id].vote == 0 for id in longer)
        led += len(group.leaders())
    assert led


def test_sixteen_and_seventeen_votes_of_thirty_three(impl: ModuleType) -> None:
    """Every voter has one of two candidates; the smaller part never makes a leader, whoever is in it."""
    for seed in range(16):
        draw = random.Random(seed)
        ids = draw.sample(range(1, 34), 33)
        less, more = ids[:16], ids[16:]
        candidates = [Member(impl, part[0], range(1, 34)) for part in (less, more)]
        for member, part in zip(candidates, (less, more)):
            member.campaign()
            for id in part[1:]:
                member.step(MSG_VOTE_RESP, id)
        assert [member.term for member in candidates] == [1, 1]
        assert [member.role for member in candidates] == [CANDIDATE, LEADER]
        for id in more:
            assert candidates[0].role == CANDIDATE
            candidates[0].step(MSG_VOTE_RESP, id, reject=True)
        assert candidates[0].role == FOLLOWER


@pytest.mark.parametrize("size", SIZES)
def test_a_leader_with_less_than_half_confirms_no_read(impl: ModuleType, size: int) -> None:
    """The others have elected somebody else by then: a read that it answered would be an old one."""
    draw = random.Random(size)
    for _ in range(6):
        ids = draw.sample(range(1, size + 1), size)
        kept, others = ids[: (size - 1) // 2], ids[(size - 1) // 2 :]
        group = Group(impl, size, draw)
        leader = group.members[kept[0]]
        group.campaign(leader.id)
        group.run()
        assert group.leaders() == [leader.id]
        for id in ids[1:]:
            leader.acknowledge(id)
        assert leader.committed == leader.log.last == 2
        # The two parts lose sight of each other.
        group.campaign(others[0])
        group.run(silent=kept)
        assert group.leaders() == sorted([leader.id, others[0]])
        leader.node.read_index(b"read")
        context = only(leader.take(), MSG_HEARTBEAT)[0].context
        for id in kept[1:]:
            for _ in range(2):
                leader.step(MSG_HEARTBEAT_RESP, id, context=context)
        leader.propose()
        for id in kept[1:]:
            leader.acknowledge(id)
        assert (leader.node.core.reads.confirmed, leader.node.status()["unconfirmed_reads"]) == (0, 1)
        assert leader.committed == 2 < leader.log.last
