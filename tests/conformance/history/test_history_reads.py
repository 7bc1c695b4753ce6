"""Regression tests for what went wrong in other Raft implementations, 55 to 60: linearizable reads. See HISTORY.md."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
)
from tests.helpers.core_net import FullMember, Member, Network, leader, only


def ask(member: Member, context: bytes = b"r") -> int:
    """Ask for a read index at a leader; the position that its heartbeats carry for it."""
    member.node.read_index(context)
    return position(member)


def position(member: Member) -> int:
    """What heartbeats carry at present: the number of the newest read that waits, 0 for none."""
    reads = member.node.core.reads
    return int(reads.confirmed + len(reads.unconfirmed)) if len(reads.unconfirmed) else 0


def answers(member: Member) -> list[tuple[int, bytes]]:
    """The reads that may be done now: (index, context)."""
    found = []
    while member.node.has_ready():
        ready = member.node.ready()
        found += [(r.index, r.context) for r in ready.read_states]
        member.store(ready)
        member.apply(ready.committed_entries)
        member.node.advance()
    return found


def confirm(member: Member, id: int, at: int) -> list[tuple[int, bytes]]:
    """A heartbeat that carried this position is answered."""
    member.node.step(member.impl.Message(MSG_HEARTBEAT_RESP, sender=id, term=member.term, context=at))
    return answers(member)


def asked_by(impl: ModuleType, id: int, context: bytes) -> Any:
    """A read that member ``id`` passes on."""
    return impl.Message(MSG_READ_INDEX, sender=id, hint=id, entries=[impl.Entry(0, 0, context)])


def test_a_read_waits_for_the_first_commit_of_its_leader(impl: ModuleType) -> None:
    """History 55: a new leader answered with a commit index that was behind what the old one had committed."""
    member = Member(impl, terms=[1, 1, 1], hard=(1, 0, 1))
    member.lead_with(2)
    # Entries 2 and 3 were committed by the leader before, which 1 does not know.
    assert ask(member, b"early") == 0
    assert confirm(member, 2, 0) == confirm(member, 3, 0) == []
    member.acknowledge(2)
    assert member.committed == 4
    assert position(member) == 1
    assert confirm(member, 2, 1) == [(4, b"early")]


def test_a_read_that_outlives_its_leadership_gets_an_index_of_the_next(impl: ModuleType) -> None:
    """History 55: ... also when the leader lost office before, and leads again."""
    member = Member(impl, terms=[1], hard=(1, 0, 0))
    member.lead_with(2)
    ask(member, b"early")
    # Another leader commits something.
    member.step(MSG_APP, 3, term=9, index=1, log_term=1, entries=[impl.Entry(2, 9, b"x")])
    assert member.role == FOLLOWER and answers(member) == []
    member.lead_with(2)
    assert position(member) == 0
    member.acknowledge(2)
    assert member.committed == 3
    found = confirm(member, 2, position(member))
    assert found in ([], [(3, b"early")])


def test_a_context_that_repeats_is_not_confirmed_by_an_earlier_answer(impl: ModuleType) -> None:
    """History 56: a read was confirmed by answers to heartbeats of an earlier read with the same context."""
    member = leader(impl, 2, 3)
    assert ask(member, b"same") == 1
    (beat, _) = only(member.take(), MSG_HEARTBEAT)
    assert beat.context == 1
    assert confirm(member, 2, 1) == [(1, b"same")]
    # The leader is cut off from here on; the answer of 3 is late, and answers the first read.
    assert ask(member, b"same") == 2
    assert confirm(member, 3, 1) == []
    assert confirm(member, 2, 1) == []
    assert confirm(member, 2, 0) == []
    # One answer that is really about the second.
    assert confirm(member, 3, 2) == [(1, b"same")]


def test_answers_of_another_leadership_confirm_nothing(impl: ModuleType) -> None:
    """History 56: ... or by answers to what it had sent when it led before."""
    member = Member(impl, 1, (1, 2, 3, 4, 5))

    def lead() -> None:
        member.lead_with(2, 3)
        for id in (2, 3):
            member.acknowledge(id)

    lead()
    ask(member, b"first")
    term = member.term
    assert confirm(member, 2, 1) == []
    member.step(MSG_HEARTBEAT, 3, term=term + 1)
    lead()
    assert ask(member, b"second") == 1
    # 2 has answered in the term before only, and 4 late.
    assert confirm(member, 3, 1) == []
    member.node.step(impl.Message(MSG_HEARTBEAT_RESP, sender=4, term=term, context=1))
    assert answers(member) == []
    assert confirm(member, 5, 1) == [(2, b"second")]


def test_a_number_that_no_heartbeat_carried_confirms_nothing(impl: ModuleType) -> None:
    """History 56: ... or in advance."""
    member = leader(impl, 2, 3)
    assert confirm(member, 2, 7) == []
    ask(member)
    assert confirm(member, 3, 2) == []
    assert confirm(member, 3, 1) == [(1, b"r")]


def read_while_shrinking(impl: ModuleType, left: str) -> FullMember:
    """A read waits at this leader while a member is removed; ``left`` voters stay."""
    member = FullMember(impl, 1, (1, 2, 3) if left == "two" else (1, 2))
    member.lead_with(2)
    member.acknowledge(2)
    if left == "two":
        member.acknowledge(3)
    ask(member, b"waits")
    member.take()
    member.node.propose_conf_change(impl.ConfChange.parse("r3" if left == "two" else "r2"))
    member.take()
    member.node.step(impl.Message(MSG_APP_RESP, sender=2, term=1, index=member.log.last))
    return member


def test_reads_go_on_when_the_quorum_shrinks(impl: ModuleType) -> None:
    """History 57: a read that waited while members were removed was never answered."""
    member = read_while_shrinking(impl, "two")
    assert answers(member) == []
    assert member.node.core.tracker.conf_state().voters == (1, 2)
    # At the latest with the next heartbeat.
    (beat,) = only(member.tick(), MSG_HEARTBEAT)
    assert beat.context == 1
    assert confirm(member, 2, beat.context) == [(1, b"waits")]


def test_reads_are_answered_when_only_the_leader_is_left(impl: ModuleType) -> None:
    """History 57: ... when one voter is left, nobody is there to confirm it any more."""
    member = read_while_shrinking(impl, "one")
    found = answers(member)
    assert member.node.core.tracker.conf_state().voters == (1,)
    for _ in range(20):
        member.node.tick()
        found += answers(member)
    assert found == [(1, b"waits")]


def test_one_voter_with_learners_answers_reads(impl: ModuleType) -> None:
    """History 58: with a single voter and a learner, reads waited for a heartbeat that was never sent or counted."""
    network = Network(impl, 1, learners=(2,))
    network.campaign(1)
    network.propose(1, b"a")
    one, two = network[1], network[2]
    ask(one, b"here")
    assert answers(one) == [(2, b"here")]
    # The learner asks by way of the leader.
    two.node.read_index(b"there")
    (request,) = only(two.take(), MSG_READ_INDEX)
    one.node.step(request)
    (response,) = only(one.take(), MSG_READ_INDEX_RESP)
    assert (response.to, response.index) == (2, 2)
    two.node.step(response)
    assert answers(two) == [(2, b"there")]


def test_each_read_has_the_commit_index_of_its_own_time(impl: ModuleType) -> None:
    """History 59: reads that were confirmed together got the index of the first: older than what was done meanwhile."""
    member = leader(impl, 2, 3)
    ask(member, b"before")
    member.propose(b"x")
    member.step(MSG_APP_RESP, 2, index=2)
    assert member.committed == 2
    assert ask(member, b"after") == 2
    # One answer confirms both.
    member.take()
    assert confirm(member, 2, 2) == [(1, b"before"), (2, b"after")]


def test_reads_of_followers_keep_their_own_index_too(impl: ModuleType) -> None:
    """History 59: ... also when they come from others."""
    member = leader(impl, 2, 3)
    member.node.step(asked_by(impl, 2, b"two"))
    member.propose(b"x")
    member.step(MSG_APP_RESP, 2, index=2)
    member.node.step(asked_by(impl, 3, b"three"))
    member.take()
    sent = member.step(MSG_HEARTBEAT_RESP, 3, context=2)
    found = [(m.to, m.index, m.entries[0].data) for m in only(sent, MSG_READ_INDEX_RESP)]
    assert found == [(2, 1, b"two"), (3, 2, b"three")]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_voter_after_a_restart_does_not_answer_with_an_old_commit_index(
    impl: ModuleType, asynchronous: bool
) -> None:
    """History 60: a single node that was started again answered with the commit index from its disk.

    Commit indexes need not be synced: here 4 entries were acknowledged, and the disk says that 2 are committed.
    """
    log = impl._core.EntryLog()
    log.py_extend([impl.Entry(index, 1, b"%d" % index) for index in range(1, 5)])
    node = impl.RawNode(
        impl.Config(id=1, seed=1, pre_vote=False),
        log=log,
        hard_state=impl.HardState(1, 1, 2),
        conf_state=impl.ConfState(voters=(1,)),
        async_storage_writes=asynchronous,
    )
    node.campaign()
    found, asked = [], False
    for _ in range(10):
        if not asked and node.core.role == LEADER:
            node.read_index(b"r")
            asked = True
        if not node.has_ready():
            break
        ready = node.ready()
        found += [(r.index, r.context) for r in ready.read_states]
        if not asynchronous:
            node.advance()
        for message in ready.messages:
            for response in message.responses or []:
                node.step(response)
    assert asked and node.core.committed == 5
    assert [context for _, context in found] == [b"r"]
    assert found[0][0] >= 4
