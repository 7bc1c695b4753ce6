"""Changes of membership that others overtake, and addresses that two members would have: what was removed stays so."""

from __future__ import annotations

import contextlib

import pytest

from tests.helpers.implementations import module
from tests.helpers.member_groups import Group, voters
from tests.helpers.waiting import eventually

WAIT = 20


@pytest.fixture
def group(impl, tmp_path):
    made = Group(impl, tmp_path)
    yield made
    made.close()


def alone(group):
    group.found(1)
    first = group.start(1)
    first.wait_leader(WAIT)
    return first


def settled(node) -> None:
    """Every request that was open before has had its turn: one behind them is done."""
    for _ in range(3):
        node.remove(99).result(WAIT)


@pytest.mark.parametrize("request_of", ["add_voter", "promote", "change_configuration"])
def test_what_waits_for_a_learner_ends_when_that_is_removed(group, request_of):
    first = alone(group)
    if request_of == "promote":
        first.add_learner(7, "mem:7").result(WAIT)
    waits = asked(group, first, request_of)
    eventually(lambda: waits.progress is not None and "caught up" in waits.progress.waits_for)
    assert first.remove(7).result(WAIT).conf_state.learners == ()
    with pytest.raises(group.raftx.NotDone, match=r"member 7 was removed meanwhile: ask again"):
        waits.result(WAIT)
    settled(first)
    assert first.configuration == group.raftx.ConfState(voters=(1,))


def three(group):
    """Of three members the leader, and the two others."""
    group.found(1, 2, 3)
    group.start(1, 2, 3)
    leader = group.leader()
    return leader, *[group.nodes[id] for id in (1, 2, 3) if id != leader.id]


def asked(group, node, what):
    if what == "add_voter":
        return node.add_voter(7, "mem:7", timeout=60)
    if what == "promote":
        return node.promote(7, timeout=60)
    part = group.raftx.ConfChangeSingle(group.raftx.ConfChangeKind.ADD_VOTER, 7)
    return node.change_configuration([part], {7: "mem:7"}, timeout=60)


def test_who_was_removed_through_another_member_is_not_added_again(group):
    leader, one, other = three(group)
    waits = one.add_voter(7, "mem:7")
    eventually(lambda: 7 in other.configuration.learners)
    other.remove(7).result(WAIT)
    with pytest.raises(group.raftx.NotDone, match="member 7 was removed meanwhile"):
        waits.result(WAIT)
    settled(one)
    for node in (one, other, leader):
        node.barrier().result(WAIT)
        assert node.configuration.learners == ()


def test_a_new_leader_does_not_take_what_was_overtaken(group):
    leader, one, other = three(group)
    waits = leader.add_voter(7, "mem:7")
    eventually(lambda: 7 in leader.configuration.learners)
    while not one.is_leader:  # on a busy machine a transfer may be given up
        with contextlib.suppress(group.raftx.ProposalError):
            one.transfer_leadership(one.id).result(WAIT)
    other.remove(7).result(WAIT)
    with pytest.raises(group.raftx.NotDone, match="member 7 was removed meanwhile"):
        waits.result(WAIT)
    settled(leader)
    assert leader.configuration.learners == ()


def test_what_was_asked_for_a_member_does_not_touch_the_one_that_came_after_it(group):
    first = alone(group)
    first.add_learner(7, "mem:7").result(WAIT)
    waits = first.promote(7)
    eventually(lambda: waits.progress is not None and "caught up" in waits.progress.waits_for)
    first.remove(7).result(WAIT)
    group.join(7)
    group.start(7)
    first.add_learner(7, "mem:seven").result(WAIT)
    with pytest.raises(group.raftx.NotDone, match=r"member 7 was removed"):
        waits.result(WAIT)
    settled(first)
    assert first.configuration == group.raftx.ConfState(voters=(1,), learners=(7,))


def test_a_removal_that_waits_is_done_when_another_was_and_spares_who_comes_after(impl):
    """Seen through the requests' own eyes: a member was removed by somebody, and its id is another one's by now."""
    changer, members = module(impl, "node.changer"), module(impl, "node.members")

    def seen(goal, *steps):
        op = changer.Operation(1, goal, impl.Future(), 0)
        op.unanswered = 1
        for number, (ids, joined, jumped) in enumerate(steps):
            present = members.Membership(number, impl.ConfState(voters=(1,), learners=ids), {}, joined)
            op.see(present, jumped) if number else op.begin(present)
        return op

    there, anew, gone = ((7,), {7: 3}), ((7,), {7: 9}), ((), {})
    assert seen(changer.remove(7, True), (*there, False), (*gone, False), (*anew, False)).reached.index == 1
    assert seen(changer.remove(7, True), (*there, False), (*anew, True)).reached.index == 1
    for goal in (changer.add_voter(7, ""), changer.promote(7), changer.move(7, "mem:8")):
        assert "was removed meanwhile" in seen(goal, (*there, False), (*gone, False)).lost
        # A snapshot may have skipped that it was done before.
        assert "perhaps after it was done" in seen(goal, (*there, False), (*gone, True)).unsure
    assert "whether member 7 was added" in seen(changer.add_voter(7, ""), (*gone, False), (*gone, True)).unsure
    part = (changer.REMOVE, 7), (changer.ADD_LEARNER, 8)
    op = seen(changer.change_configuration(part, {}), (*there, False), (*gone, False), (*anew, False))
    assert "member 7 was removed, and added again, meanwhile" in op.lost
    # It was done, and what came after that changes nothing of it.
    op = seen(changer.add_learner(7, ""), (*gone, False), (*there, False), (*gone, False))
    assert op.reached.index == 1 and not op.lost


# --- addresses -------------------------------------------------------------------------------------------


def test_an_address_that_another_member_has_is_refused_and_named(group):
    first = alone(group)
    first.add_learner(7, "mem:7").result(WAIT)
    first.add_learner(8, "tcp://Host-8:5608").result(WAIT)
    kinds, single = group.raftx.ConfChangeKind, group.raftx.ConfChangeSingle
    for asked, id in (
        (lambda: first.add_voter(2, "mem:1"), 1),
        (lambda: first.add_learner(2, "mem:7"), 7),
        (lambda: first.add_learner(2, "tls+tcp://host-8:5608"), 8),
        (lambda: first.move(1, "mem:7"), 7),
        (lambda: first.change_configuration([single(kinds.ADD_LEARNER, 2)], {2: "mem:7"}), 7),
    ):
        with pytest.raises(group.raftx.NotDone, match=rf"member {id} is at '.*needs an address of its own"):
            asked().result(WAIT)
    with pytest.raises(group.raftx.UsageError, match="addresses must be different ones"):
        parts = [single(kinds.ADD_LEARNER, id) for id in (2, 3)]
        first.change_configuration(parts, {2: "mem:2", 3: "mem:2"})
    # Two may change places, in one step; and who has left has none.
    parts = [single(kinds.UPDATE, id) for id in (7, 8)]
    first.change_configuration(parts, {7: "tcp://host-8:5608", 8: "mem:7"}).result(WAIT)
    first.remove(8).result(WAIT)
    assert first.add_learner(9, "mem:7").result(WAIT).addresses[9] == "mem:7"
    assert first.move(9, "mem:7").result(WAIT)


def test_no_time_is_told_as_that(group):
    first = alone(group)
    for timeout in (-1, 0):
        with pytest.raises(group.raftx.NotDone, match=r"add_voter\(7\): no time was given .* above 0 s"):
            first.add_voter(7, "mem:7", timeout=timeout).result(WAIT)
    assert voters(first) == (1,)
