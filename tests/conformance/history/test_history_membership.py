"""Regression tests for what went wrong in other Raft implementations, 34 to 42 and 53: membership. See HISTORY.md."""

from __future__ import annotations

from types import ModuleType

import pytest

from raftx.types import (
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_VOTE_RESP,
    TRANSITION_EXPLICIT,
    TRANSITION_IMPLICIT,
)
from tests.helpers.core_net import FullMember, Network, leader, only


def full(impl: ModuleType, *replicating: int, **settings: object) -> FullMember:
    """A FullMember that leads with the help of 2 and 3."""
    member = FullMember(impl, **settings)
    member.lead_with(2, *([3] if 3 in member.conf_state.voters else []))
    for id in replicating:
        member.acknowledge(id)
    return member


def changes(member: FullMember) -> list[int]:
    """Where changes of membership stand in its log."""
    return [e.index for e in member.log.entries(member.log.first, member.log.last) if e.kind != ENTRY_NORMAL]


def voters(member: FullMember) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Both halves of its configuration."""
    conf = member.node.core.tracker.conf_state()
    return conf.voters, conf.voters_outgoing


# --- leaving a joint configuration -------------------------------------------------------------------


def test_a_new_leader_leaves_the_joint_configuration_of_the_old_one(impl: ModuleType) -> None:
    """History 34: when a leader stepped down in a joint configuration that leaves itself, nobody left it."""
    network = Network(impl, 3, member=FullMember)
    network.join(4)
    network.campaign(1)
    # The change is committed and applied; the entry that leaves reaches nobody.
    network.loses = lambda m: m.kind == MSG_APP and any(e.index == 3 for e in m.entries)
    network.change(1, "v4 r3", TRANSITION_IMPLICIT)
    for id in (1, 2, 3):
        assert voters(network[id]) == ((1, 2, 4), (1, 2, 3))
    network[1].node.step_down()
    network.collect()
    network.loses = lambda m: 1 in (m.sender, m.to) and m.kind == MSG_APP
    network.campaign(2)
    network.tick(2, 3)
    assert network[2].role == LEADER
    assert [voters(network[id]) for id in (2, 4)] == [((1, 2, 4), ())] * 2


def test_one_proposal_leaves_a_joint_configuration(impl: ModuleType) -> None:
    """History 35: every batch that was applied while the first proposal to leave was on its way proposed another."""
    member = full(impl, 2, 3)
    member.change("v2 v4", TRANSITION_IMPLICIT)
    for _ in range(3):
        member.propose()
    # The change is applied, then what follows it, one by one; the entry that leaves comes behind.
    for index in (2, 3, 4, 5):
        member.step(MSG_APP_RESP, 2, index=index)
        member.step(MSG_APP_RESP, 3, index=index)
        assert member.node.core.applied == index and changes(member) == [2, 6]
    member.acknowledge(2)
    member.acknowledge(3)
    assert member.committed == 6 and voters(member) == ((1, 2, 3, 4), ()) and changes(member) == [2, 6]


def test_the_proposal_to_leave_is_sent_to_everybody_at_once(impl: ModuleType) -> None:
    """History 36: it was appended at the leader and not sent, so that an idle group stayed joint."""
    member = full(impl, 2, 3)
    member.change("v4", TRANSITION_IMPLICIT)
    sent = member.acknowledge(2)
    leaving = [m for m in only(sent, MSG_APP) if any(e.index == 3 for e in m.entries)]
    assert {m.to for m in leaving} >= {2, 3}
    assert {(e.kind, e.data) for m in leaving for e in m.entries if e.index == 3} == {(ENTRY_CONF_CHANGE_V2, b"")}
    # Without anything else happening, it is left.
    network = Network(impl, 3, member=FullMember)
    network.join(4)
    network.campaign(1)
    network.change(1, "v4", TRANSITION_IMPLICIT)
    assert [voters(m) for m in network.members.values()] == [((1, 2, 3, 4), ())] * 4


def test_leaving_is_tried_again_after_a_transfer(impl: ModuleType) -> None:
    """History 37: the proposal to leave was refused while leadership was handed over, and never made again."""
    member = full(impl, 2, 3)
    member.change("v3 v2", TRANSITION_IMPLICIT)
    member.node.transfer_leader(3)
    member.take()
    member.acknowledge(2)
    assert voters(member)[1] == (1, 2, 3) and changes(member) == [2]
    # The transfer has failed: that brings it back, and so does the next thing that is applied.
    member.tick(10)
    member.propose()
    member.acknowledge(2)
    assert changes(member) == [2, 3]
    member.acknowledge(2)
    assert voters(member) == ((1, 2, 3), ())


def test_a_joint_configuration_from_disk_is_left_by_both_majorities(impl: ModuleType) -> None:
    """History 38: after a restart a joint configuration was left by the majority of one half."""
    member = FullMember(impl, 1, (1, 2, 3), outgoing=(1, 4, 5), terms=[1], hard=(1, 0, 1))
    member.take()
    member.lead_with(2, 4)
    member.node.propose_conf_change(impl.ConfChange())
    member.take()
    for id in (2, 3):
        member.acknowledge(id)
    assert member.committed == 1 and voters(member)[1] == (1, 4, 5)
    member.acknowledge(5)
    assert member.committed == 3 and voters(member) == ((1, 2, 3), ())


def test_a_joint_configuration_is_found_again_in_the_log_and_in_a_snapshot(impl: ModuleType) -> None:
    """History 38: ... or was not known to be joint any more."""
    for saves in (False, True):
        network = Network(impl, 3, member=FullMember)
        network.join(4)
        network.campaign(1)
        network.change(1, "v4 r3", TRANSITION_EXPLICIT)
        two = network[2]
        if saves:
            two.save()
        two.start()
        two.take()
        assert voters(two) == ((1, 2, 4), (1, 2, 3))
        # It cannot be elected by one half.
        two.campaign()
        two.step(MSG_VOTE_RESP, 1)
        assert two.role == LEADER
        two.acknowledge(4)
        assert two.committed == 2
        two.acknowledge(1)
        assert two.committed == 3


# --- removing members --------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["r1", "l1"])
def test_a_leader_that_is_removed_or_demoted_makes_way(impl: ModuleType, change: str) -> None:
    """History 39: a leader that was removed stayed, and refused or forgot proposals; nobody else was elected."""
    network = Network(impl, 3, member=FullMember, check_quorum=True, pre_vote=True)
    network.campaign(1)
    one = network[1]
    # Something is proposed before, with and after the change.
    one.node.propose(b"before")
    one.node.propose_conf_change(impl.ConfChange.parse(change))
    one.node.propose(b"after")
    network.deliver()
    assert one.role == FOLLOWER
    # What was appended is committed by those who stay; what comes now is refused.
    with pytest.raises(impl.ProposalDropped):
        one.propose(b"too late")
    for _ in range(40):
        for id in (2, 3):
            network.tick(id)
    heads = [id for id in (2, 3) if network[id].role == LEADER]
    assert len(heads) == 1
    network.propose(heads[0], b"new")
    assert [network[id].data for id in (2, 3)] == [[b"before", b"after", b"new"]] * 2
    # Who was removed never leads again.
    network.tick(1, 50)
    assert one.role == FOLLOWER and network[heads[0]].role == LEADER


def test_a_leader_that_stays_after_its_removal_refuses_proposals(impl: ModuleType) -> None:
    """History 39: ... with step_down_on_removal off it says so."""
    member = full(impl, 2, 3, step_down_on_removal=False)
    member.change("r1")
    member.acknowledge(2)
    member.acknowledge(3)
    assert voters(member) == ((2, 3), ()) and member.role == LEADER
    with pytest.raises(impl.ProposalDropped, match="removed"):
        member.propose()


def test_from_two_voters_to_one(impl: ModuleType) -> None:
    """History 39: of two voters one was removed, and what waited for its acknowledgement was never committed."""
    member = full(impl, 2, voters=(1, 2))
    member.change("r2")
    member.propose(b"waits")
    # 2 acknowledges its own removal and is gone.
    member.step(MSG_APP_RESP, 2, index=2)
    assert voters(member) == ((1,), ())
    assert member.committed == 3 and member.data == [b"waits"]
    member.propose(b"alone")
    assert member.data == [b"waits", b"alone"]


def test_the_voter_that_is_left_leads_although_it_did_not_hear_of_it(impl: ModuleType) -> None:
    """History 39: one of two voters removes itself, and the other does not hear that this is committed."""
    network = Network(impl, 2, member=FullMember, check_quorum=True, pre_vote=True)
    network.campaign(1)
    network.loses = lambda m: m.to == 2 and m.commit == 2
    network.change(1, "r1")
    assert voters(network[1]) == ((2,), ()) and network[1].role == FOLLOWER
    assert voters(network[2]) == ((1, 2), ())
    network.heal()
    # By its configuration it needs a vote of the other, which gives it although it has left.
    network.tick(2, 40)
    assert network[2].role == LEADER and voters(network[2]) == ((2,), ())
    network.propose(2, b"alone")
    assert network[2].data == [b"alone"]


def test_acknowledgements_of_who_was_removed_do_not_count(impl: ModuleType) -> None:
    """History 53: an answer for a member that is gone was taken for another one, or crashed the leader."""
    member = full(impl, 2, 3, 4, voters=(1, 2, 3, 4, 5))
    member.change("r2")
    member.acknowledge(3)
    member.acknowledge(4)
    assert voters(member) == ((1, 3, 4, 5), ())
    member.propose()
    before = [member.progress(id) for id in (1, 3, 4, 5)]
    for kind in (MSG_APP_RESP, MSG_HEARTBEAT_RESP):
        with pytest.raises(impl.UnknownPeer):
            member.step(kind, 2, index=3)
    member.node.report_unreachable(2)
    member.node.report_snapshot(2, False)
    assert [member.progress(id) for id in (1, 3, 4, 5)] == before and member.committed == 2


# --- what may be proposed ------------------------------------------------------------------------------


def test_two_changes_at_a_time_are_refused_aloud(impl: ModuleType) -> None:
    """History 40: a second change was replaced by an empty entry, and its proposer was told that all was well."""
    member = full(impl, 2, 3)
    member.change("v4")
    with pytest.raises(impl.ConfChangeRefused, match="at index 2 may not be applied yet"):
        member.change("v5")
    member.take()
    assert changes(member) == [2]
    # Committed is not applied: the check must not use what is not in force yet.
    member.node.step(impl.Message(MSG_APP_RESP, sender=2, term=1, index=3))
    assert member.committed == 3 and member.node.core.applied == 1
    with pytest.raises(impl.ConfChangeRefused, match="may not be applied yet"):
        member.node.propose_conf_change(impl.ConfChange.parse("v5"))
    member.take()
    member.change("v5")
    assert changes(member) == [2, 5]


def test_two_changes_in_one_message_are_not_both_taken(impl: ModuleType) -> None:
    """History 40: ... two in one batch passed both."""
    member = full(impl, 2, 3)
    entries = [
        impl.Entry(0, 0, change.encode(), change.entry_kind)
        for change in (impl.ConfChange.parse("v4"), impl.ConfChange.parse("v5", v1=True))
    ]
    member.node.step(impl.Message(MSG_PROP, sender=3, entries=entries))
    # The member that passed it on is to be told.
    assert [(r.sender, r.index) for r in member.node.ready().refused] == [(3, 3)]
    assert [(e.index, e.kind) for e in member.log.entries(2, 3)] == [(2, ENTRY_CONF_CHANGE_V2), (3, ENTRY_NORMAL)]


def test_what_does_not_fit_a_joint_configuration_is_refused(impl: ModuleType) -> None:
    """History 40: ... as was a change within a joint configuration, or leaving where there is none."""
    member = full(impl, 2, 3)
    with pytest.raises(impl.ConfChangeRefused, match="this one is not joint"):
        member.change("")
    member.change("v4", TRANSITION_EXPLICIT)
    member.acknowledge(2)
    assert voters(member)[1] == (1, 2, 3)
    with pytest.raises(impl.ConfChangeRefused, match="the configuration is joint"):
        member.change("v5")
    assert voters(member) == ((1, 2, 3, 4), (1, 2, 3))


def test_a_new_leader_waits_for_what_its_log_may_hold(impl: ModuleType) -> None:
    """History 40: ... and a new leader took a change although one of the old leader stood in its log."""
    change = impl.ConfChange.parse("v4")
    member = FullMember(impl, terms=[1, 1], hard=(1, 0, 1))
    member.disk[1] = impl.Entry(2, 1, change.encode(), change.entry_kind)
    member.start()
    member.take()
    member.lead_with(2)
    with pytest.raises(impl.ConfChangeRefused, match="at index 2 may not be applied yet"):
        member.change("r3")


def test_a_pending_change_is_told_at_once_whatever_is_saved_otherwise(impl: ModuleType) -> None:
    """History 41: with skip_bcast_commit followers learned late that a change was committed."""
    member = full(impl, 2, 3, skip_bcast_commit=True)
    member.propose()
    # Saved: the commit index goes out with the next message.
    assert only(member.acknowledge(2), MSG_APP, 3) == []
    member.change("v4")
    told = only(member.acknowledge(2), MSG_APP)
    assert {m.to for m in told if m.commit == 3} >= {2, 3}


# --- who a member is -------------------------------------------------------------------------------


def test_a_member_that_lost_its_disk_does_not_take_part_unnoticed(impl: ModuleType) -> None:
    """History 42: an empty disk under the id of a member that had acknowledged entries."""
    network = Network(impl, 3, member=FullMember)
    network.campaign(1)
    network.propose(1, b"kept by 1 and 2")
    blank = network[2]
    blank.disk, blank.hard = [], impl.HardState()
    blank.start()
    # The leader counts on what 2 has acknowledged. Told so, 2 ends instead of going on without it.
    with pytest.raises(impl.Corruption, match="was the log cut"):
        network.tick(1)
    assert network[1].progress(2)["match"] == 2


def test_a_member_that_is_added_again_begins_anew(impl: ModuleType) -> None:
    """History 42: ... and a member that came back under an old id was taken to have what its predecessor had."""
    network = Network(impl, 3, member=FullMember)
    network.campaign(1)
    network.propose(1, b"a")
    network.change(1, "r3")
    network.propose(1, b"b")
    # Everything is lost on its way, so that nothing but the beginning is seen.
    network.loses = lambda m: m.to == 3
    network.join(3)
    network.change(1, "v3")
    progress = network[1].progress(3)
    assert (progress["match"], progress["inflight"]) == (0, []) and network[1].committed == 5
    network.propose(1, b"c")
    network.heal()
    network.tick(1, 3)
    assert network[3].data == [b"a", b"b", b"c"] and voters(network[3]) == ((1, 2, 3), ())


def test_a_new_voter_is_given_time_to_be_heard(impl: ModuleType) -> None:
    """History 42: a leader stepped down by check-quorum because a voter was new and had not answered yet."""
    member = leader(impl, voters=(1, 2), check_quorum=True)
    member.acknowledge(2)
    member.tick(9)
    member.step(MSG_HEARTBEAT_RESP, 2)
    # Two more voters, who have to make up a quorum with 1 before they can have answered.
    member.node.apply_conf_change(impl.ConfChange.parse("v3"))
    member.node.apply_conf_change(impl.ConfChange.parse("v4"))
    member.take()
    assert member.progress(3)["recent_active"] and member.progress(4)["recent_active"]
    member.tick(1)
    assert member.role == LEADER
    # Once: in the next period it has to prove life like everybody.
    member.tick(10)
    assert member.role == FOLLOWER
