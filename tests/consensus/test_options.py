"""Options beside the algorithm: priorities, commit groups, batches, quiet commits, snapshots on request, setters."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    CANDIDATE,
    FLAG_REJECT,
    FLAG_REQUEST_SNAPSHOT,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_SNAP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    PROBE,
    REPLICATE,
    SNAPSHOT,
)
from tests.helpers.core_drive import Cluster, Full, Slow, conf, led
from tests.helpers.core_net import Member, Network, kinds, only
from tests.helpers.implementations import IMPLEMENTATIONS

# --- priority ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MSG_VOTE, MSG_PRE_VOTE])
@pytest.mark.parametrize(
    ("own", "asking", "index", "granted"),
    [
        (1, 1, 2, True),
        (1, 2, 2, True),
        (2, 1, 2, False),
        (2, 1, 3, True),  # a longer log beats priority
        (0, 0, 2, True),
        (1, 9, 1, False),  # priority does not make up for a shorter log
    ],
)
def test_of_two_equal_logs_the_higher_priority_is_preferred(
    impl: ModuleType, kind: int, own: int, asking: int, index: int, granted: bool
) -> None:
    member = Member(impl, terms=[1, 1], priority=own)
    (answer,) = member.step(kind, 2, term=2, index=index, log_term=1, hint=asking)
    assert answer.reject is not granted


def test_a_request_for_votes_tells_the_priority(impl: ModuleType) -> None:
    member = Member(impl, priority=3)
    assert {m.hint for m in only(member.campaign(), MSG_VOTE)} == {3}
    member.node.set_priority(5)
    assert {m.hint for m in only(member.campaign(), MSG_VOTE)} == {5}
    member = Member(impl, priority=4, pre_vote=True)
    assert {m.hint for m in only(member.campaign(), MSG_PRE_VOTE)} == {4}


@pytest.mark.parametrize("pre_vote", [False, True])
def test_a_group_elects_by_priority_and_follows_its_change(impl: ModuleType, pre_vote: bool) -> None:
    network = Network(impl, 3, pre_vote=pre_vote)
    for id, priority in ((1, 1), (2, 2), (3, 3)):
        network[id].node.set_priority(priority)
    network.campaign(1)
    assert network[1].role != LEADER
    network.campaign(3)
    assert network.roles()[2] == "L"
    # The least of all may lead when the others stop insisting.
    for id in (2, 3):
        network[id].node.set_priority(0)
    network.campaign(1)
    assert network.roles() == "LFF"


@pytest.mark.parametrize("pre_vote", [False, True])
def test_who_alone_has_everything_is_elected_whatever_its_priority(impl: ModuleType, pre_vote: bool) -> None:
    network = Network(impl, 3, logs={1: [1, 1, 1], 2: [1, 1], 3: [1, 1]}, pre_vote=pre_vote)
    for id in (2, 3):
        network[id].node.set_priority(9)
    network.campaign(1)
    assert network.roles() == "LFF"


# --- commit groups -------------------------------------------------------------------------------


def grouped(impl: ModuleType, groups: dict[int, int], **settings: Any) -> Full:
    """A leader of five that commits across groups; nobody has acknowledged anything."""
    leader = led(impl, voters=range(1, 6), group_commit=True, **settings)
    leader.node.assign_commit_groups(groups)
    return leader


def test_what_one_group_has_is_not_committed(impl: ModuleType) -> None:
    leader = grouped(impl, {1: 1, 2: 1, 3: 1, 4: 2, 5: 2})
    for id in (2, 3):
        leader.acknowledge(id)
    assert leader.committed == 0
    leader.acknowledge(4)
    assert leader.committed == 1
    leader.propose()
    for id in (4, 5):
        leader.acknowledge(id)
    # The leader's own group, and a majority.
    assert leader.committed == 2


def test_two_groups_without_a_majority_commit_nothing(impl: ModuleType) -> None:
    leader = grouped(impl, {1: 1, 2: 2, 3: 2, 4: 2, 5: 2})
    leader.acknowledge(2)
    assert leader.committed == 0
    leader.acknowledge(3)
    assert leader.committed == 1


def test_a_single_group_is_a_majority(impl: ModuleType) -> None:
    leader = grouped(impl, dict.fromkeys(range(1, 6), 7))
    for id in (2, 3):
        leader.acknowledge(id)
    assert leader.committed == 1


def test_with_somebody_in_no_group_a_single_group_waits_for_everybody(impl: ModuleType) -> None:
    leader = grouped(impl, {1: 7, 2: 7, 3: 7, 4: 7})
    for id in (2, 3, 4):
        leader.acknowledge(id)
    assert leader.committed == 0
    leader.acknowledge(5)
    assert leader.committed == 1


def test_groups_are_assigned_and_cleared_while_it_runs(impl: ModuleType) -> None:
    leader = grouped(impl, {1: 1, 2: 1, 3: 1, 4: 2, 5: 2})
    for id in (2, 3):
        leader.acknowledge(id)
    assert leader.committed == 0
    assert {id: leader.progress(id)["commit_group"] for id in range(1, 6)} == {1: 1, 2: 1, 3: 1, 4: 2, 5: 2}
    # Who makes two groups of them commits at once, and tells.
    leader.node.assign_commit_groups({3: 3})
    sent = leader.take()
    assert leader.committed == 1
    assert {m.commit for m in only(sent, MSG_APP)} == {1}
    leader.node.clear_commit_groups()
    assert {leader.progress(id)["commit_group"] for id in range(1, 6)} == {0}
    leader.node.assign_commit_groups({1: 2**63 - 1})
    assert leader.progress(1)["commit_group"] == 2**63 - 1


def test_a_switch_turns_groups_on_and_off(impl: ModuleType) -> None:
    leader = grouped(impl, {1: 1, 2: 1, 3: 1, 4: 2, 5: 2})
    for id in (2, 3):
        leader.acknowledge(id)
    leader.node.enable_group_commit(False)
    sent = leader.take()
    assert leader.committed == 1
    assert {m.commit for m in only(sent, MSG_APP)} == {1}
    leader.node.enable_group_commit(True)
    leader.propose()
    for id in (2, 3):
        leader.acknowledge(id)
    # What is committed stays committed.
    assert leader.committed == 1
    leader.acknowledge(5)
    assert leader.committed == 2


def test_both_halves_of_a_joint_configuration_span_groups(impl: ModuleType) -> None:
    leader = led(impl, conf=conf(impl, (1, 2, 3), outgoing=(1, 4, 5)), group_commit=True)
    leader.node.assign_commit_groups({1: 1, 2: 1, 3: 2, 4: 1, 5: 2})
    for id in (2, 4, 3):
        leader.acknowledge(id)
    assert leader.committed == 0
    leader.acknowledge(5)
    assert leader.committed == 1


def test_groups_that_cannot_be_leave_all_as_it_was(impl: ModuleType) -> None:
    leader = grouped(impl, {1: 1, 2: 2})
    for groups, error in (
        ({3: 1, 9: 1}, impl.UnknownPeer),
        ({3: 1, 4: -1}, impl.UsageError),
        ({3: 1, 4: 2**63}, impl.UsageError),
    ):
        with pytest.raises(error):
            leader.node.assign_commit_groups(groups)
        assert [leader.progress(id)["commit_group"] for id in range(1, 6)] == [1, 2, 0, 0, 0]


def test_whether_commits_span_groups(impl: ModuleType) -> None:
    member = Full(impl)
    assert member.node.group_commit_consistent() is None
    leader = led(impl, voters=range(1, 6))
    leader.node.assign_commit_groups({1: 1, 2: 1, 3: 1, 4: 2, 5: 2})
    # Nothing of its term is applied yet.
    assert leader.node.group_commit_consistent() is None
    for id in (2, 3):
        leader.acknowledge(id)
    assert leader.committed == 1
    assert leader.node.group_commit_consistent() is False
    leader.acknowledge(4)
    assert leader.node.group_commit_consistent() is True
    leader.node.clear_commit_groups()
    assert leader.node.group_commit_consistent() is False
    assert leader.node.group_commit_consistent() is False


# --- batches -------------------------------------------------------------------------------------


def appended(sent: list[Any], to: int = 2) -> list[list[int]]:
    """The indexes in each append for one member."""
    return [[entry.index for entry in m.entries] for m in only(sent, MSG_APP, to)]


@pytest.mark.parametrize("batch", [False, True])
def test_what_is_not_sent_yet_is_added_to(impl: ModuleType, batch: bool) -> None:
    leader = led(impl, 2, batch_append=batch)
    leader.acknowledge(2)
    for data in (b"a", b"b", b"c"):
        leader.node.propose(data)
    assert appended(leader.take()) == ([[2, 3, 4]] if batch else [[2], [3], [4]])
    leader.node.propose(b"d")
    assert appended(leader.take()) == [[5]]


def test_a_batch_stays_within_the_size_of_a_message(impl: ModuleType) -> None:
    # The limit counts records: 32 bytes and the data.
    limit = 3 * (32 + 10)
    leader = led(impl, 2, batch_append=True, max_message_bytes=limit)
    for _ in range(8):
        leader.node.propose(b"x" * 10)
    sent = leader.take()
    assert appended(sent) == [[2, 3, 4], [5, 6, 7], [8, 9]]
    leader.acknowledge(2)
    leader.node.propose(b"y" * limit)
    leader.node.propose(b"z")
    assert appended(leader.take()) == [[10], [11]]


def test_what_is_added_counts_in_the_window(impl: ModuleType) -> None:
    leader = led(impl, 2, batch_append=True, max_inflight_messages=3)
    for _ in range(5):
        leader.node.propose(b"x")
    assert appended(leader.take()) == [[2, 3, 4]]
    seen = leader.progress(2)
    assert seen["inflight_full"]
    assert [index for index, _ in seen["inflight"]] == [2, 3, 4]
    assert seen["next"] == 5
    assert appended(leader.acknowledge(2, 4)) == [[5, 6]]


def test_a_batch_learns_the_newest_commit_index(impl: ModuleType) -> None:
    leader = Slow(impl, batch_append=True)
    leader.lead(2)
    leader.settle()
    for id in (2, 3):
        leader.step(MSG_APP_RESP, id, index=1)
    leader.settle()
    leader.node.propose(b"a")
    leader.work()
    leader.written(len(leader.writes))
    leader.node.propose(b"b")
    leader.node.step(impl.Message(MSG_APP_RESP, sender=3, term=1, index=2))
    (m,) = only(leader.work(), MSG_APP, 2)
    assert (m.index, [e.index for e in m.entries], m.commit) == (2, [3], 2)


def test_a_batch_whose_beginning_is_compacted_is_sent_as_it_is(impl: ModuleType) -> None:
    leader = led(impl, 2, batch_append=True)
    for data in (b"a", b"b"):
        leader.propose(data)
    leader.acknowledge(2)
    # 3 is far behind: what it is sent is still in the outbox when its beginning is compacted.
    leader.node.step(impl.Message(MSG_APP_RESP, sender=3, term=leader.term, index=1))
    leader.snap()
    leader.node.propose(b"c")
    assert appended(leader.take(), 3) == [[2, 3], [4]]


def test_a_batch_is_not_added_to_what_a_probe_must_repeat(impl: ModuleType) -> None:
    leader = led(impl, 2, batch_append=True)
    leader.node.propose(b"a")
    leader.node.report_unreachable(2)
    leader.node.propose(b"b")
    sent = only(leader.take(), MSG_APP, 2)
    for m in sent:
        indexes = [entry.index for entry in m.entries]
        assert indexes == list(range(m.index + 1, m.index + 1 + len(indexes)))
    assert sent[-1].entries[-1].index == 3


def test_a_group_with_batches_agrees(impl: ModuleType) -> None:
    network = Network(impl, 3, batch_append=True, max_message_bytes=100, max_inflight_messages=2)
    network.campaign(1)
    for number in range(40):
        network[1].node.propose(b"%d" % number)
        if number % 7 == 0:
            network.deliver()
    network.deliver()
    assert network.agree()
    assert network[3].data == [b"%d" % number for number in range(40)]


# --- quiet commits -------------------------------------------------------------------------------


@pytest.mark.parametrize("skip", [False, True])
def test_a_commit_index_is_told_at_once_or_with_what_comes_next(impl: ModuleType, skip: bool) -> None:
    leader = led(impl, 2, 3, skip_bcast_commit=skip)
    leader.propose()
    sent = leader.acknowledge(2)
    assert leader.committed == 2
    assert {m.to for m in only(sent, MSG_APP)} == (set() if skip else {2, 3})
    leader.acknowledge(3)
    assert {m.commit for m in only(leader.tick(), MSG_HEARTBEAT)} == {2}
    assert {m.commit for m in only(leader.propose(), MSG_APP)} == {2}


def test_a_pending_change_is_told_at_once_all_the_same(impl: ModuleType) -> None:
    leader = led(impl, 2, 3, skip_bcast_commit=True)
    leader.change("l4")
    sent = leader.acknowledge(2)
    assert {m.to: m.commit for m in only(sent, MSG_APP) if m.to != 4} == {2: 2, 3: 2}
    leader.propose()
    leader.acknowledge(3, 2)
    assert only(leader.acknowledge(2), MSG_APP, 3) == []


# --- a snapshot on request -----------------------------------------------------------------------


def asking(impl: ModuleType) -> tuple[Cluster, Full, Full]:
    """A leader with a snapshot of everything, and a follower that has everything too."""
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    for number in range(3):
        cluster.propose(1, b"%d" % number)
    cluster[1].snap(compact=1, data=b"of the leader")
    return cluster, cluster[1], cluster[2]


def test_a_follower_with_everything_gets_a_snapshot_when_it_asks(impl: ModuleType) -> None:
    cluster, leader, follower = asking(impl)
    follower.node.request_snapshot()
    cluster.deliver()
    assert [given.data for given in follower.restored] == [b"of the leader"]
    assert (follower.committed, follower.node.status()["applied"], follower.log.first) == (4, 4, 5)
    assert follower.membership == conf(impl, (1, 2, 3))
    # The transport reports, the follower shows life, and all goes on.
    leader.node.report_snapshot(2, True)
    cluster.tick(1, 2)
    cluster.propose(1, b"after")
    assert follower.data[-1] == b"after"
    assert leader.progress(2)["state"] == REPLICATE


def test_its_acknowledgement_is_enough_to_go_on(impl: ModuleType) -> None:
    cluster, leader, follower = asking(impl)
    follower.node.request_snapshot()
    cluster.deliver()
    assert len(follower.restored) == 1
    # As with any other snapshot an acknowledgement that reaches the log ends it, reported or not.
    cluster.tick(1, 2)
    cluster.propose(1, b"after")
    cluster.tick(1, 2)
    assert leader.progress(2)["state"] == REPLICATE
    assert follower.data[-1] == b"after"


def test_the_request_says_where_the_log_is(impl: ModuleType) -> None:
    member = Full(impl, id=2, terms=[1, 1, 1], hard=(1, 0, 2))
    member.step(MSG_HEARTBEAT, 1, term=1)
    member.node.request_snapshot()
    (m,) = member.take()
    assert (m.kind, m.to, m.index, m.hint, m.log_term, m.context) == (MSG_APP_RESP, 1, 2, 3, 1, 2)
    assert m.flags == FLAG_REJECT | FLAG_REQUEST_SNAPSHOT


def test_until_it_is_served_nothing_else_is_taken(impl: ModuleType) -> None:
    member = Full(impl, id=2, terms=[1, 1, 1], hard=(1, 0, 2))
    member.step(MSG_HEARTBEAT, 1, term=1)
    member.node.request_snapshot()
    request = member.take()
    assert member.append([1], index=3, log_term=1, sender=1) == request
    assert member.terms == [1, 1, 1]
    (answer,) = member.step(MSG_HEARTBEAT, 1)
    assert (answer.kind, answer.flags) == (MSG_APP_RESP, FLAG_REJECT | FLAG_REQUEST_SNAPSHOT)
    given = impl.Snapshot(3, 1, conf(impl, (1, 2, 3)), b"s")
    # It must reach what was asked for; what the log holds is replaced too.
    (answer,) = member.step(MSG_SNAP, 1, snapshot=given)
    assert (answer.index, answer.reject, member.restored) == (3, False, [given])
    (answer,) = member.append([1], index=3, log_term=1, sender=1)
    assert (answer.index, answer.reject) == (4, False)


def test_heartbeats_go_on_committing_while_it_waits(impl: ModuleType) -> None:
    member = Full(impl, id=2, terms=[1, 1, 1], hard=(1, 0, 1))
    member.step(MSG_HEARTBEAT, 1, term=1)
    member.node.request_snapshot()
    member.take()
    (answer,) = member.step(MSG_HEARTBEAT, 1, commit=3)
    assert member.committed == 3
    assert answer.index == 3


def test_a_request_that_looks_stale_is_served_once_the_commit_index_is_known(impl: ModuleType) -> None:
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    leader, follower = cluster[1], cluster[2]
    # 2 has acknowledged what it does not know to be committed.
    cluster.loses = lambda m: m.to == 2 and m.kind in (MSG_APP, MSG_HEARTBEAT) and m.commit > 1
    cluster.propose(1, b"x")
    assert (leader.progress(2)["match"], follower.committed) == (2, 1)
    leader.snap(compact=1)
    cluster.heal()
    follower.node.request_snapshot()
    for _ in range(5):
        cluster.tick(1)
    assert len(follower.restored) == 1


@pytest.mark.parametrize("kind", [MSG_HEARTBEAT, MSG_APP])
def test_a_new_term_ends_the_request(impl: ModuleType, kind: int) -> None:
    member = Full(impl, id=2, terms=[1, 1, 1], hard=(1, 0, 2))
    member.step(MSG_HEARTBEAT, 1, term=1)
    member.node.request_snapshot()
    member.take()
    (answer,) = member.step(kind, 3, term=2, index=3, log_term=1)
    assert not answer.reject
    # Becoming a candidate ends it as well. Its log has to end in the leader's term before it may ask.
    member.append([2], index=3, log_term=1, sender=3)
    member.node.request_snapshot()
    member.take()
    member.campaign()
    (answer,) = member.append([], index=4, log_term=2, sender=3)
    assert not answer.reject


def test_a_snapshot_that_is_not_there_yet_is_wanted(impl: ModuleType) -> None:
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    cluster.propose(1, b"x")
    leader, follower = cluster[1], cluster[2]
    leader.snap(compact=1)
    cluster.propose(1, b"y")
    follower.node.request_snapshot()
    cluster.deliver()
    # The snapshot at 2 does not reach the log of 2, which ends at 3.
    assert follower.restored == []
    assert leader.node.snapshot_wanted == 3
    cluster.tick(1, 2)
    assert (follower.restored, leader.progress(2)["state"]) == ([], PROBE)
    made = leader.snap(compact=1)
    assert leader.node.snapshot_wanted == 0
    cluster.tick(1, 2)
    assert follower.restored == [made]


def test_a_requested_snapshot_that_is_lost_comes_again(impl: ModuleType) -> None:
    cluster, leader, follower = asking(impl)
    cluster.loses = lambda m: m.kind == MSG_SNAP
    follower.node.request_snapshot()
    cluster.deliver()
    cluster.tick(1, 3)
    assert len(only(cluster.sent, MSG_SNAP, 2)) == 1
    assert leader.progress(2)["state"] == SNAPSHOT
    cluster.heal()
    leader.node.report_snapshot(2, False)
    cluster.tick(1, 2)
    assert len(follower.restored) == 1


def test_who_cannot_ask_is_told(impl: ModuleType) -> None:
    cluster, leader, follower = asking(impl)
    alone = Full(impl)
    candidate = Full(impl)
    candidate.campaign()
    for member in (leader, alone, candidate):
        with pytest.raises(impl.SnapshotRequestDropped):
            member.node.request_snapshot()
        assert member.take() == []
    follower.node.request_snapshot()
    with pytest.raises(impl.SnapshotRequestDropped):
        follower.node.request_snapshot()
    receiving = Slow(impl)
    receiving.step(MSG_SNAP, 2, term=1, snapshot=impl.Snapshot(5, 1, conf(impl, (1, 2, 3))))
    with pytest.raises(impl.SnapshotRequestDropped):
        receiving.node.request_snapshot()
    cluster.deliver()
    assert len(follower.restored) == 1


def test_who_ends_in_another_term_than_its_leader_does_not_ask(impl: ModuleType) -> None:
    # What it holds may be no entry of this leader: nobody could make a snapshot that reaches so far.
    member = Full(impl, id=2, terms=[1] * 9, hard=(1, 0, 2))
    member.step(MSG_HEARTBEAT, 1, term=2)
    with pytest.raises(impl.SnapshotRequestDropped):
        member.node.request_snapshot()


# --- on request ----------------------------------------------------------------------------------


def test_a_ping_is_a_heartbeat_at_once(impl: ModuleType) -> None:
    leader = led(impl, 2, 3)
    leader.node.ping()
    sent = leader.take()
    assert [(m.kind, m.to, m.commit) for m in sent] == [(MSG_HEARTBEAT, 2, 1), (MSG_HEARTBEAT, 3, 1)]
    follower = Full(impl)
    follower.node.ping()
    assert follower.take() == []


def test_a_leader_steps_down_within_its_term(impl: ModuleType) -> None:
    leader = led(impl, 2, 3)
    term, vote = leader.term, leader.vote
    leader.node.step_down()
    assert (leader.role, leader.lead, leader.term, leader.vote) == (FOLLOWER, 0, term, vote)
    with pytest.raises(impl.ProposalDropped):
        leader.node.propose(b"x")
    assert leader.tick(1) == []
    # It is no obstacle to another one, and may come back itself.
    (answer,) = leader.step(MSG_VOTE, 2, term=term + 1, index=1, log_term=term)
    assert not answer.reject
    for member in (Full(impl), Full(impl, 2)):
        member.node.step_down()
        assert not member.node.has_ready()
    candidate = Full(impl)
    candidate.campaign()
    candidate.node.step_down()
    assert candidate.role == CANDIDATE


# --- settings that change ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setter", "good", "bad"),
    [
        ("set_randomized_timeout", [1, 2**31 - 1], [0, -1, 2**31]),
        ("set_priority", [0, 2**31 - 1], [-1, 2**31]),
        ("set_max_apply_bytes", [1, 2**63 - 1], [0, -1, 2**63]),
    ],
)
def test_bounds_of_setters(impl: ModuleType, setter: str, good: list[int], bad: list[int]) -> None:
    member = Full(impl)
    for value in good:
        getattr(member.node, setter)(value)
    before = (member.randomized_timeout, member.priority, member.max_apply_bytes)
    for value in bad:
        with pytest.raises(impl.UsageError, match=str(value)):
            getattr(member.node, setter)(value)
    assert (member.randomized_timeout, member.priority, member.max_apply_bytes) == before


def test_bounds_of_a_window(impl: ModuleType) -> None:
    leader = led(impl, 2)
    for value in (0, 1, 2**31 - 1):
        leader.node.set_max_inflight(2, value)
    with pytest.raises(impl.UnknownPeer):
        leader.node.set_max_inflight(9, 1)
    for value in (-1, 2**31):
        with pytest.raises(impl.UsageError):
            leader.node.set_max_inflight(2, value)
    leader.propose()
    assert leader.progress(2)["inflight"] != []


def test_a_window_of_its_own_for_one_member(impl: ModuleType) -> None:
    leader = led(impl, 2, 3, max_inflight_messages=4)
    leader.node.set_max_inflight(2, 1)
    for _ in range(3):
        leader.node.propose(b"x")
    sent = leader.take()
    assert appended(sent, 2) == [[2]]
    assert appended(sent, 3) == [[2], [3], [4]]
    leader.node.set_max_inflight(2, 0)
    assert appended(leader.acknowledge(2, 2), 2) in ([], [[]])
    # A sign of life is answered with an empty append: nothing may be in flight.
    assert appended(leader.step(MSG_HEARTBEAT_RESP, 2), 2) == [[]]
    leader.node.set_max_inflight(2, 2)
    assert appended(leader.step(MSG_HEARTBEAT_RESP, 2), 2) == [[3, 4]]


def test_check_quorum_is_switched(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.node.set_check_quorum(True)
    leader.tick(leader.election_timeout * 2)
    assert leader.role == FOLLOWER
    leader = led(impl, 2, check_quorum=True)
    leader.node.set_check_quorum(False)
    leader.tick(leader.election_timeout * 3)
    assert leader.role == LEADER
    leased = led(impl, 2, check_quorum=True, lease_reads=True)
    with pytest.raises(impl.UsageError, match="lease_reads"):
        leased.node.set_check_quorum(False)
    leased.node.set_check_quorum(True)


def test_batches_and_quiet_commits_are_switched(impl: ModuleType) -> None:
    leader = led(impl, 2, 3)
    leader.node.set_batch_append(True)
    leader.node.set_skip_bcast_commit(True)
    leader.node.propose(b"a")
    leader.node.propose(b"b")
    assert appended(leader.take()) == [[2, 3]]
    assert only(leader.acknowledge(2), MSG_APP, 3) == []
    leader.node.set_batch_append(False)
    leader.node.set_skip_bcast_commit(False)
    leader.node.propose(b"a")
    leader.node.propose(b"b")
    assert appended(leader.take()) == [[4], [5]]
    assert only(leader.acknowledge(2), MSG_APP, 3)


# --- election timeouts ---------------------------------------------------------------------------


def test_pinned_timeouts_decide_who_leads(impl: ModuleType) -> None:
    for winner in (1, 2, 3):
        network = Network(impl, 3, election_ticks=10)
        for id in (1, 2, 3):
            network[id].node.set_randomized_timeout(11 if id == winner else 15)
        for _ in range(11):
            for member in network.members.values():
                member.node.tick()
        network.deliver()
        assert network.roles() == "".join(["L" if id == winner else "F" for id in (1, 2, 3)])


def test_a_pinned_timeout_holds_until_the_next_role_or_term(impl: ModuleType) -> None:
    member = Full(impl, election_ticks=10)
    member.node.set_randomized_timeout(3)
    member.tick(2)
    assert member.role == FOLLOWER
    member.tick(1)
    assert member.role == CANDIDATE
    assert 10 <= member.randomized_timeout <= 19


def test_elections_as_a_model_foretells_them(impl: ModuleType) -> None:
    """Without messages every member campaigns exactly when its drawn timeouts have passed, again and again."""
    members = {id: Full(impl, id, election_ticks=7, seed=5) for id in (1, 2, 3)}
    for member in members.values():
        due, term = member.randomized_timeout, 0
        for now in range(1, 200):
            sent = member.tick()
            if now == due:
                term += 1
                assert kinds(sent) == [MSG_VOTE] * 2
                assert 7 <= member.randomized_timeout <= 13
                due = now + member.randomized_timeout
            else:
                assert sent == []
            assert member.term == term


def test_timeouts_repeat_by_seed_and_differ_by_id(impl: ModuleType) -> None:
    def drawn(id: int, seed: int | None, package: ModuleType = impl) -> list[int]:
        member = Full(package, id, voters=(1, 2, 3), election_ticks=1000, seed=seed)
        timeouts = []
        for _ in range(8):
            timeouts.append(member.randomized_timeout)
            member.campaign()
        return timeouts

    every = {(id, seed): drawn(id, seed) for id in (1, 2, 3) for seed in (0, 1, 2**64 - 1)}
    for (id, seed), timeouts in every.items():
        assert drawn(id, seed) == timeouts
    assert len({tuple(timeouts) for timeouts in every.values()}) == 9
    assert drawn(1, None) == every[1, 0]
    # The same numbers in both modes: a recorded run can be repeated in the other one.
    assert [drawn(1, 1, each) for each in IMPLEMENTATIONS.values()] == [every[1, 1]] * len(IMPLEMENTATIONS)


def test_pre_votes_that_are_refused_cost_no_timeout(impl: ModuleType) -> None:
    member = Full(impl, pre_vote=True, election_ticks=10)
    member.node.set_randomized_timeout(5)
    sent = member.tick(5)
    assert kinds(sent) == [MSG_PRE_VOTE] * 2
    term = member.term
    for id in (2, 3):
        member.step(MSG_PRE_VOTE_RESP, id, term=term, reject=True)
    assert (member.role, member.term) == (FOLLOWER, term)
    member.step(MSG_VOTE_RESP, 2)
    assert member.role == FOLLOWER
