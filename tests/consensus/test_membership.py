"""Changes of membership, from the proposal to what a leader and its followers do about them."""

from __future__ import annotations

from types import ModuleType

import pytest

from raftx.types import (
    CANDIDATE,
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    FOLLOWER,
    LEADER,
    MEMBERS_MAX,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    MSG_VOTE_RESP,
    PROBE,
    TRANSITION_AUTO,
    TRANSITION_EXPLICIT,
    TRANSITION_IMPLICIT,
)
from tests.helpers.core_drive import Cluster, Full, Slow, change, conf, led
from tests.helpers.core_net import kinds, only


def cluster_of(impl: ModuleType, ids: int = 3, **settings: object) -> Cluster:
    """A cluster led by 1."""
    cluster = Cluster(impl, ids, **settings)
    cluster.campaign(1)
    assert cluster[1].role == LEADER
    return cluster


# --- simple changes ------------------------------------------------------------------------------


@pytest.mark.parametrize("v1", [True, False])
def test_members_come_change_and_go(impl: ModuleType, v1: bool) -> None:
    cluster = cluster_of(impl)
    cluster.add(4)
    for text, voters, learners in (
        ("l4", (1, 2, 3), (4,)),
        ("v4", (1, 2, 3, 4), ()),
        ("l4", (1, 2, 3), (4,)),
        ("l3", (1, 2), (3, 4)),
        ("r3", (1, 2), (4,)),
        ("u2", (1, 2), (4,)),
        ("v4", (1, 2, 4), ()),
    ):
        cluster.change(1, text, v1=v1)
        expected = conf(impl, voters, learners)
        # A member that was removed may not learn it.
        assert {cluster[id].membership for id in (*voters, *learners)} == {expected}, text
    assert [entry.kind for entry in cluster[4].applied if entry.kind] == [
        ENTRY_CONF_CHANGE if v1 else ENTRY_CONF_CHANGE_V2
    ] * 7
    cluster.propose(1, b"after")
    assert [cluster[id].data[-1] for id in (1, 2, 4)] == [b"after"] * 3
    assert cluster[3].data[-1:] != [b"after"]


def test_a_change_returns_the_membership_it_leads_to(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.change("v4")
    assert leader.memberships == []
    leader.acknowledge(2)
    assert leader.memberships == [conf(impl, (1, 2, 3, 4))]


def test_a_change_takes_effect_when_it_is_applied_and_not_before(impl: ModuleType) -> None:
    leader = Slow(impl)
    leader.lead(2)
    leader.settle()
    leader.node.propose_conf_change(change(impl, "r3"))
    leader.work()
    leader.written(1)
    leader.step(MSG_APP_RESP, 2, index=2)
    assert leader.core.committed == 2
    assert leader.node.status()["configuration"] == conf(impl, (1, 2, 3))
    leader.done(len(leader.applies))
    assert leader.node.status()["configuration"] == conf(impl, (1, 2))


# --- joint changes -------------------------------------------------------------------------------


@pytest.mark.parametrize("transition", [TRANSITION_AUTO, TRANSITION_IMPLICIT])
def test_a_joint_change_is_left_by_itself(impl: ModuleType, transition: int) -> None:
    cluster = cluster_of(impl)
    cluster.add(4)
    cluster.change(1, "v4 r3", transition)
    joint = conf(impl, (1, 2, 4), outgoing=(1, 2, 3), auto_leave=True)
    for id in (1, 2, 4):
        assert cluster[id].memberships == [joint, conf(impl, (1, 2, 4))], id
    leave = [entry for entry in cluster[2].applied if entry.kind][-1]
    assert (leave.kind, leave.data) == (ENTRY_CONF_CHANGE_V2, b"")


def test_one_part_goes_through_a_joint_configuration_when_that_is_asked_for(impl: ModuleType) -> None:
    cluster = cluster_of(impl)
    cluster.change(1, "l4", TRANSITION_IMPLICIT)
    joint = conf(impl, (1, 2, 3), (4,), outgoing=(1, 2, 3), auto_leave=True)
    assert cluster[1].memberships == [joint, conf(impl, (1, 2, 3), (4,))]


def test_an_explicit_joint_change_waits_to_be_left(impl: ModuleType) -> None:
    cluster = cluster_of(impl)
    cluster.add(4)
    cluster.change(1, "v4 r3", TRANSITION_EXPLICIT)
    joint = conf(impl, (1, 2, 4), outgoing=(1, 2, 3))
    assert cluster.memberships() == {joint}
    for _ in range(3):
        cluster.propose(1)
    cluster.tick(1, 30)
    assert cluster.memberships() == {joint}
    cluster.change(1, "")
    assert {cluster[id].membership for id in (1, 2, 4)} == {conf(impl, (1, 2, 4))}


def test_a_joint_configuration_commits_with_both_halves(impl: ModuleType) -> None:
    leader = led(impl, 2, 3)
    leader.change("r2 r3 v4 v5", TRANSITION_EXPLICIT)
    leader.acknowledge(2)
    assert leader.membership == conf(impl, (1, 4, 5), outgoing=(1, 2, 3))
    leader.propose()
    before = leader.committed
    leader.acknowledge(4)
    leader.acknowledge(5)
    assert leader.committed == before
    leader.acknowledge(3)
    assert leader.committed == leader.log.last


def test_a_joint_configuration_elects_with_both_halves(impl: ModuleType) -> None:
    member = Full(impl, conf=conf(impl, (1, 4, 5), outgoing=(1, 2, 3)))
    asked = member.campaign()
    assert sorted(m.to for m in only(asked, MSG_VOTE)) == [2, 3, 4, 5]
    member.step(MSG_VOTE_RESP, 4)
    member.step(MSG_VOTE_RESP, 5)
    assert member.role == CANDIDATE
    member.step(MSG_VOTE_RESP, 2)
    assert member.role == LEADER


def test_a_voter_that_is_demoted_jointly_votes_until_the_old_half_is_left(impl: ModuleType) -> None:
    cluster = cluster_of(impl)
    cluster.add(4)
    cluster.change(1, "l3 v4", TRANSITION_EXPLICIT)
    assert cluster.memberships() == {conf(impl, (1, 2, 4), outgoing=(1, 2, 3), learners_next=(3,))}
    assert not cluster[1].progress(3)["learner"]
    cluster[3].campaign()
    assert cluster[3].role == CANDIDATE
    cluster = cluster_of(impl)
    cluster.add(4)
    cluster.change(1, "l3 v4")
    assert cluster.memberships() == {conf(impl, (1, 2, 4), (3,))}
    assert cluster[1].progress(3)["learner"]
    cluster[3].campaign()
    assert cluster[3].role == FOLLOWER


def test_a_learner_is_promoted_within_a_joint_change_and_keeps_its_progress(impl: ModuleType) -> None:
    leader = led(impl, 2, 3, learners=(4,))
    leader.acknowledge(4)
    match = leader.progress(4)["match"]
    leader.change("v4 r3")
    leader.acknowledge(2)
    assert leader.membership == conf(impl, (1, 2, 4), outgoing=(1, 2, 3), auto_leave=True)
    assert leader.progress(4)["match"] == match
    assert not leader.progress(4)["learner"]


# --- leaving by itself ---------------------------------------------------------------------------


def test_leaving_is_tried_again_after_a_transfer_was_in_the_way(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.change("v4 v5")
    leader.node.transfer_leader(3)
    leader.take()
    leader.acknowledge(2)
    joint = conf(impl, (1, 2, 3, 4, 5), outgoing=(1, 2, 3), auto_leave=True)
    last = leader.log.last
    assert (leader.membership, leader.transferee) == (joint, 3)
    # No proposal of any kind is taken while leadership is handed over.
    assert last == leader.committed
    leader.tick(leader.election_timeout)
    assert (leader.role, leader.transferee) == (LEADER, 0)
    leader.propose()
    leader.acknowledge_all()
    assert leader.log.last > last + 1
    leader.acknowledge_all()
    assert leader.membership == conf(impl, (1, 2, 3, 4, 5))


def test_the_next_leader_leaves_what_its_predecessor_could_not(impl: ModuleType) -> None:
    cluster = cluster_of(impl)
    cluster.add(4)
    cluster.loses = lambda m: m.kind == MSG_APP and any(entry.kind and not entry.data for entry in m.entries)
    cluster.change(1, "v4 r3")
    cluster.tick(1, 2)
    joint = conf(impl, (1, 2, 4), outgoing=(1, 2, 3), auto_leave=True)
    assert {cluster[id].membership for id in (1, 2, 3)} == {joint}
    cluster.heal()
    cluster.isolate(1)
    cluster.campaign(2)
    assert cluster[2].role == LEADER
    assert {cluster[id].membership for id in (2, 4)} == {conf(impl, (1, 2, 4))}
    cluster.heal()
    cluster.tick(2, 2)
    assert cluster[1].membership == conf(impl, (1, 2, 4))


def test_a_leader_that_starts_within_a_joint_configuration_leaves_it(impl: ModuleType) -> None:
    leader = led(impl, conf=conf(impl, (1, 2, 4), outgoing=(1, 2, 3), auto_leave=True))
    assert [entry.kind for entry in leader.log.entries(1, leader.log.last)] == [ENTRY_NORMAL]
    leader.acknowledge_all()
    assert [entry.kind for entry in leader.log.entries(1, 2)] == [ENTRY_NORMAL, ENTRY_CONF_CHANGE_V2]
    assert leader.pending_conf_index == 2
    leader.acknowledge_all()
    assert leader.membership == conf(impl, (1, 2, 4))


def test_it_is_left_once(impl: ModuleType) -> None:
    leader = led(impl, conf=conf(impl, (1, 2, 4), outgoing=(1, 2, 3), auto_leave=True))
    leader.acknowledge_all()
    leader.propose()
    leader.propose()
    leader.acknowledge_all()
    assert leader.membership == conf(impl, (1, 2, 4))
    entries = leader.log.entries(1, leader.log.last)
    assert [entry.kind for entry in entries].count(ENTRY_CONF_CHANGE_V2) == 1


# --- validation ----------------------------------------------------------------------------------


def test_a_second_change_is_refused_until_the_first_is_applied(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.change("v4")
    last = leader.log.last
    with pytest.raises(impl.ConfChangeRefused) as caught:
        leader.node.propose_conf_change(change(impl, "v5"))
    assert isinstance(caught.value, impl.ProposalDropped)
    assert (
        caught.value.reason
        == f"the change of membership at index {last} may not be applied yet (applied up to {last - 1})"
    )
    # An empty entry stands in its place, and goes to everybody.
    sent = leader.take()
    (entry,) = leader.log.entries(last + 1, leader.log.last)
    assert (entry.kind, entry.data) == (ENTRY_NORMAL, b"")
    assert [m.entries[-1].data for m in only(sent, MSG_APP, 2)] == [b""]
    assert leader.told == []
    leader.acknowledge(2)
    leader.change("v5")
    assert leader.log.entries(leader.log.last, leader.log.last)[0].kind == ENTRY_CONF_CHANGE_V2


def test_changes_that_do_not_fit_the_present_configuration_are_refused(impl: ModuleType) -> None:
    leader = led(impl, 2)
    with pytest.raises(
        impl.ConfChangeRefused, match=r"^an empty change leaves a joint configuration, and this one is not joint$"
    ):
        leader.node.propose_conf_change(change(impl, ""))
    leader.take()
    leader.change("v4", TRANSITION_EXPLICIT)
    leader.acknowledge(2)
    assert leader.membership == conf(impl, (1, 2, 3, 4), outgoing=(1, 2, 3))
    with pytest.raises(impl.ConfChangeRefused, match=r"^the configuration is joint: leave it"):
        leader.node.propose_conf_change(change(impl, "v5"))
    leader.take()
    leader.change("")
    leader.acknowledge_all()
    assert leader.membership == conf(impl, (1, 2, 3, 4))


def test_a_new_leader_counts_its_whole_log_as_pending(impl: ModuleType) -> None:
    leader = led(impl, terms=[1, 1])
    assert leader.pending_conf_index == 2
    with pytest.raises(impl.ConfChangeRefused, match=r"index 2 may not be applied yet \(applied up to 0\)"):
        leader.node.propose_conf_change(change(impl, "v4"))
    leader.take()
    leader.acknowledge(2)
    leader.change("v4")
    assert leader.pending_conf_index == leader.log.last


def test_of_two_changes_in_one_message_the_first_is_taken(impl: ModuleType) -> None:
    leader = led(impl, 2)
    last = leader.log.last
    entries = [impl.Entry(0, 0, change(impl, text).encode(), ENTRY_CONF_CHANGE_V2) for text in ("v4", "v5")]
    leader.step(MSG_PROP, 2, term=0, entries=entries)
    assert [(e.kind, e.data) for e in leader.log.entries(last + 1, leader.log.last)] == [
        (ENTRY_CONF_CHANGE_V2, change(impl, "v4").encode()),
        (ENTRY_NORMAL, b""),
    ]
    assert leader.pending_conf_index == last + 1
    assert [(refused.sender, refused.index) for refused in leader.told] == [(2, last + 2)]


def test_without_validation_everything_is_taken(impl: ModuleType) -> None:
    leader = led(impl, 2, validate_conf_changes=False)
    last = leader.log.last
    leader.change("v4")
    leader.change("v5")
    leader.change("")
    kinds_of = [entry.kind for entry in leader.log.entries(last + 1, leader.log.last)]
    assert kinds_of == [ENTRY_CONF_CHANGE_V2] * 3
    leader.acknowledge_all()
    assert leader.membership == conf(impl, (1, 2, 3, 4, 5))
    # What does not fit is found when it is applied.
    assert [str(error) for error in leader.failed] == ["the configuration is not joint: there is nothing to leave"]


def test_a_refused_change_of_a_follower_is_told(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.change("v4")
    entry = impl.Entry(0, 0, change(impl, "r3").encode(), ENTRY_CONF_CHANGE_V2)
    leader.step(MSG_PROP, 3, term=0, entries=[entry])
    last = leader.log.last
    reason = f"the change of membership at index {last - 1} may not be applied yet (applied up to {last - 2})"
    assert leader.told == [impl.RefusedChange(3, last, reason)]
    leader.acknowledge(2)
    assert len(leader.told) == 1
    assert leader.membership == conf(impl, (1, 2, 3, 4))


def test_nothing_is_told_of_a_message_that_was_not_taken(impl: ModuleType) -> None:
    leader = led(impl, 2, max_uncommitted_bytes=100)
    leader.change("v4")
    leader.propose(b"x" * 60)
    pending, last = leader.pending_conf_index, leader.log.last
    entries = [
        impl.Entry(0, 0, change(impl, "v5").encode(), ENTRY_CONF_CHANGE_V2),
        impl.Entry(0, 0, b"y" * 60),
    ]
    with pytest.raises(impl.ProposalDropped):
        leader.step(MSG_PROP, 3, term=0, entries=entries)
    leader.take()
    assert (leader.pending_conf_index, leader.log.last) == (pending, last)
    # There is no empty entry that stands for it.
    assert leader.told == []


def test_a_change_that_was_dropped_is_not_pending(impl: ModuleType) -> None:
    leader = led(impl, 2, max_uncommitted_bytes=100)
    leader.propose(b"x" * 60)
    pending, last = leader.pending_conf_index, leader.log.last
    entries = [
        impl.Entry(0, 0, change(impl, "v4").encode(), ENTRY_CONF_CHANGE_V2),
        impl.Entry(0, 0, b"y" * 60),
    ]
    with pytest.raises(impl.ProposalDropped):
        leader.step(MSG_PROP, 3, term=0, entries=entries)
    leader.take()
    assert (leader.pending_conf_index, leader.log.last) == (pending, last)
    leader.change("v4")


def test_a_change_that_cannot_be_applied_changes_nothing_anywhere(impl: ModuleType) -> None:
    cluster = cluster_of(impl)
    cluster.change(1, "r1 r2 r3")
    assert cluster.memberships() == {conf(impl, (1, 2, 3))}
    assert [[str(error) for error in cluster[id].failed] for id in (1, 2, 3)] == [["a change must leave a voter"]] * 3
    cluster.change(2, "l4")
    assert cluster.memberships() == {conf(impl, (1, 2, 3), (4,))}
    cluster.propose(2, b"goes on")
    assert cluster.agree()


# --- leaders that go -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["r1", "l1"])
def test_a_leader_that_is_removed_or_demoted_steps_down(impl: ModuleType, text: str) -> None:
    cluster = cluster_of(impl)
    term = cluster[1].term
    cluster.change(1, text)
    assert (cluster[1].role, cluster[1].lead, cluster[1].term) == (FOLLOWER, 0, term)
    cluster[1].campaign()
    assert cluster[1].role == FOLLOWER
    cluster.campaign(2)
    assert cluster[2].role == LEADER
    cluster.propose(2, b"after")
    assert cluster[3].data[-1] == b"after"
    assert (cluster[1].data[-1] == b"after") == (text == "l1")


def test_a_leader_demoted_by_a_joint_change_leads_until_that_is_left(impl: ModuleType) -> None:
    leader = led(impl, 2, 3)
    leader.change("l1 v4", TRANSITION_EXPLICIT)
    leader.acknowledge(2)
    assert leader.membership == conf(impl, (2, 3, 4), outgoing=(1, 2, 3), learners_next=(1,))
    assert leader.role == LEADER
    leader.change("")
    leader.acknowledge_all()
    assert leader.membership == conf(impl, (2, 3, 4), (1,))
    assert leader.role == FOLLOWER


def test_a_removed_leader_that_stays_commits_but_takes_no_proposals(impl: ModuleType) -> None:
    leader = led(impl, 2, 3, step_down_on_removal=False)
    leader.change("r1")
    leader.propose(b"before it was applied")
    leader.acknowledge(2, leader.log.last - 1)
    assert leader.membership == conf(impl, (2, 3))
    assert leader.role == LEADER
    last = leader.log.last
    with pytest.raises(impl.ProposalDropped):
        leader.node.propose(b"x")
    assert (leader.log.last, leader.committed) == (last, last - 1)
    # It does not count itself any more: both of the others are the quorum.
    leader.acknowledge(2)
    assert leader.committed == last - 1
    sent = leader.acknowledge(3)
    assert leader.committed == last
    assert {m.to for m in only(sent, MSG_APP)} == {2, 3}


def test_a_demoted_leader_that_stays_is_not_counted(impl: ModuleType) -> None:
    leader = led(impl, 2, 3, step_down_on_removal=False)
    leader.change("l1")
    leader.acknowledge(2)
    assert leader.membership == conf(impl, (2, 3), (1,))
    leader.propose(b"x")
    leader.acknowledge(2)
    assert leader.committed == leader.log.last - 1
    leader.acknowledge(3)
    assert (leader.role, leader.committed) == (LEADER, leader.log.last)


# --- campaigns -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2])
def test_no_campaign_until_a_committed_change_is_applied(impl: ModuleType, kind: int) -> None:
    v1 = kind == ENTRY_CONF_CHANGE
    member = Slow(impl)
    entries = [impl.Entry(1, 1, b"x"), impl.Entry(2, 1, change(impl, "l4", v1=v1).encode(), kind)]
    member.step(MSG_APP, 2, term=1, entries=entries)
    member.written()
    # It may be replaced by another leader as long as it is not committed.
    member.node.campaign()
    assert member.core.role == CANDIDATE
    member.settle()
    member.step(MSG_APP, 2, term=3, index=2, log_term=1, commit=2)
    member.work()
    for attempt in (member.node.campaign, lambda: member.step(MSG_TIMEOUT_NOW, 2)):
        attempt()
        assert (member.core.role, member.core.term) == (FOLLOWER, 3)
    for _ in range(50):
        member.node.tick()
    assert (member.core.role, member.core.term) == (FOLLOWER, 3)
    member.settle()
    assert member.core.applied == 2
    member.node.campaign()
    assert (member.core.role, member.core.term) == (CANDIDATE, 4)


# --- what a leader does at once ------------------------------------------------------------------


def test_a_smaller_quorum_commits_more(impl: ModuleType) -> None:
    leader = Slow(impl, voters=(1, 2, 3, 4))
    leader.lead(2, 3)
    leader.settle()
    for id in (2, 3):
        leader.step(MSG_APP_RESP, id, index=1)
    leader.settle()
    leader.node.propose_conf_change(change(impl, "r4"))
    leader.node.propose(b"x")
    leader.work()
    leader.written(len(leader.writes))
    leader.step(MSG_APP_RESP, 2, index=3)
    leader.step(MSG_APP_RESP, 3, index=2)
    assert leader.core.committed == 2
    sent = leader.done(len(leader.applies))
    assert leader.core.committed == 3
    assert {m.to: m.commit for m in only(sent, MSG_APP)} == {2: 3, 3: 3}


def test_a_new_member_is_probed_at_once_and_counts_as_heard_from(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.change("v4 l5")
    sent = leader.acknowledge(2)
    last = leader.log.last
    for id in (4, 5):
        seen = leader.progress(id)
        assert (seen["state"], seen["match"], seen["recent_active"]) == (PROBE, 0, True)
        probes = only(sent, MSG_APP, id)
        assert probes and all(m.index < last for m in probes)
        assert seen["learner"] == (id == 5)


def test_a_new_member_does_not_take_the_quorum_away(impl: ModuleType) -> None:
    leader = led(impl, voters=(1,), check_quorum=True)
    leader.change("v2")
    assert leader.membership == conf(impl, (1, 2))
    leader.tick(leader.election_timeout)
    assert leader.role == LEADER
    # It has not been heard from in a whole election timeout.
    leader.tick(leader.election_timeout)
    assert leader.role == FOLLOWER


# --- ids keep what is theirs when slots move -----------------------------------------------------


@pytest.mark.parametrize("text", ["l2", "l2 l3"])
def test_acknowledged_reads_go_with_the_ids(impl: ModuleType, text: str) -> None:
    leader = led(impl, 6, 7, 8, id=5, voters=(5, 6, 7, 8, 9))
    leader.read(b"a")
    leader.step(MSG_HEARTBEAT_RESP, 6, context=1)
    assert leader.reads_done == []
    leader.node.apply_conf_change(change(impl, text))
    leader.take()
    # The newcomers in the slots of 5 and 6 have confirmed nothing, 6 still has.
    leader.step(MSG_HEARTBEAT_RESP, 2, context=1)
    assert leader.reads_done == []
    leader.step(MSG_HEARTBEAT_RESP, 6, context=1)
    assert leader.reads_done == []
    leader.step(MSG_HEARTBEAT_RESP, 9, context=1)
    assert [state.context for state in leader.reads_done] == [b"a"]


@pytest.mark.parametrize("text", ["l2", "r5"])
def test_votes_go_with_the_ids(impl: ModuleType, text: str) -> None:
    member = Full(impl, id=6, voters=(5, 6, 7, 8, 9))
    member.campaign()
    member.step(MSG_VOTE_RESP, 7)
    member.step(MSG_VOTE_RESP, 8, reject=True)
    assert member.role == CANDIDATE
    member.node.apply_conf_change(change(impl, text))
    # The same answers again are not news, whatever the slots are.
    member.step(MSG_VOTE_RESP, 7, reject=True)
    member.step(MSG_VOTE_RESP, 8)
    assert member.role == CANDIDATE
    member.step(MSG_VOTE_RESP, 9)
    assert member.role == LEADER


def test_windows_and_groups_go_with_the_ids(impl: ModuleType) -> None:
    leader = led(impl, 6, 7, id=5, voters=(5, 6, 7), max_inflight_messages=3)
    leader.node.assign_commit_groups({6: 1, 7: 2})
    for data in (b"a", b"bb", b"ccc"):
        leader.propose(data)
    leader.acknowledge(7, leader.log.last - 1)
    before = {id: leader.progress(id) for id in (5, 6, 7)}
    assert before[6]["inflight_full"] and not before[7]["inflight_full"]
    leader.node.apply_conf_change(change(impl, "l2"))
    leader.take()
    assert {id: leader.progress(id) for id in (5, 6, 7)} == before
    assert leader.progress(2)["inflight"] == [] and leader.progress(2)["commit_group"] == 0
    leader.acknowledge(6, leader.log.last - 2)
    assert [index for index, _ in leader.progress(6)["inflight"]] == [leader.log.last - 1, leader.log.last]
    leader.node.apply_conf_change(change(impl, "r5", TRANSITION_EXPLICIT))
    leader.node.apply_conf_change(change(impl, ""))
    assert leader.membership == conf(impl, (6, 7), (2,))


def test_a_member_below_all_others_joins_while_everything_is_in_flight(impl: ModuleType) -> None:
    cluster = Cluster(impl, (5, 6, 7))
    cluster.campaign(5)
    leader = cluster[5]
    cluster.add(1)
    leader.node.propose_conf_change(change(impl, "v1"))
    for number in range(20):
        leader.node.propose(b"%d" % number)
        leader.node.read_index(b"%d" % number)
    cluster.deliver()
    cluster.tick(5, 2)
    assert cluster.memberships() == {conf(impl, (1, 5, 6, 7))}
    assert cluster.agree()
    assert [state.context for state in leader.reads_done] == [b"%d" % number for number in range(20)]
    assert cluster[1].data[1:] == [b"%d" % number for number in range(20)]


# --- transfers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["r3", "l3"])
def test_a_transfer_ends_when_its_target_is_no_voter_any_more(impl: ModuleType, text: str) -> None:
    leader = led(impl, 2)
    leader.change(text)
    leader.node.transfer_leader(3)
    leader.take()
    with pytest.raises(impl.ProposalDropped):
        leader.node.propose(b"x")
    leader.acknowledge(2)
    assert (leader.role, leader.transferee) == (LEADER, 0)
    leader.propose(b"y")
    leader.acknowledge(2)
    assert leader.data[-1] == b"y"


def test_a_transfer_goes_on_while_its_target_is_a_voter_of_the_old_half(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.change("r3 v4", TRANSITION_EXPLICIT)
    leader.node.transfer_leader(3)
    leader.take()
    leader.acknowledge(2)
    assert leader.membership == conf(impl, (1, 2, 4), outgoing=(1, 2, 3))
    assert leader.transferee == 3
    assert MSG_TIMEOUT_NOW in kinds(leader.acknowledge(3))


# --- as many members as there may be -------------------------------------------------------------


def test_sixty_four_members_work_and_one_more_is_refused(impl: ModuleType) -> None:
    cluster = cluster_of(impl, MEMBERS_MAX)
    cluster.propose(64, b"x")
    assert cluster.agree()
    everybody = conf(impl, range(1, 65))
    for text in ("v65", "l65", "v65 r64"):
        cluster.change(1, text)
        assert cluster.memberships() == {everybody}, text
    assert all(len(member.failed) == 3 for member in cluster.members.values())
    cluster.change(1, "r63 l64", TRANSITION_EXPLICIT)
    joint = conf(impl, range(1, 63), outgoing=range(1, 65), learners_next=(64,))
    assert cluster.memberships() == {joint}
    cluster.propose(63, b"y")
    assert cluster.agree()
    cluster.change(1, "")
    cluster.change(1, "v64")
    assert cluster[64].membership == conf(impl, (*range(1, 63), 64))
    cluster.campaign(64)
    assert cluster[64].role == LEADER


# --- the beginning of a group --------------------------------------------------------------------


def test_a_group_begins_with_the_entries_that_add_its_members(impl: ModuleType) -> None:
    cluster = Cluster(impl, 3)
    for id in (1, 2, 3):
        cluster.add(id, conf=conf(impl)).node.bootstrap([1, 2, 3])
    ready = cluster[1].node.ready()
    assert ready.hard_state == impl.HardState(1, 0, 3)
    assert [(e.index, e.term, e.kind) for e in ready.entries] == [(n, 1, ENTRY_CONF_CHANGE) for n in (1, 2, 3)]
    assert ready.committed_entries == ready.entries
    assert [impl.ConfChange.decode(e.data, True) for e in ready.entries] == [
        change(impl, f"v{id}", v1=True) for id in (1, 2, 3)
    ]
    cluster[1].node.advance()
    cluster.deliver()
    cluster.campaign(1)
    assert (cluster.roles(), cluster[1].term) == ("LFF", 2)
    cluster.propose(3, b"x")
    assert [cluster[id].data[-1] for id in (1, 2, 3)] == [b"x"] * 3
    assert cluster.memberships() == {conf(impl, (1, 2, 3))}
