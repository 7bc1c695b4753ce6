"""Snapshots that are asked for, sent and restored: counterparts of etcd's and raft-rs's tests in their general files.

The ancestors set a member's progress or role by hand; here it comes about by messages. What becomes of a snapshot on
its way is in test_counterparts_flow.py. Requests are raft-rs's; where raftx serves them otherwise, the test says so.
"""

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
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_SNAP,
    PROBE,
    REPLICATE,
    SNAPSHOT,
)
from tests.helpers.core_drive import Cluster, Full, Slow, conf
from tests.helpers.core_net import kinds, only


def snapshot(impl: ModuleType, index: int = 11, term: int = 11, **members: Any) -> Any:
    """The ancestors' snapshot: index and term are 11."""
    return impl.Snapshot(index, term, conf(impl, **{"voters": (1, 2, 3), **members}), b"state")


# --- asked for ------------------------------------------------------------------------------------


def prepared(impl: ModuleType, index: int = 15) -> Cluster:
    """Three members that began with a snapshot at 11 and have committed 15; the leader 1 has one of ``index``."""
    cluster = Cluster(impl, 3, base=snapshot(impl), hards=dict.fromkeys((1, 2, 3), (11, 0, 11)))
    cluster.campaign(1)
    for _ in range(3):
        cluster.propose(1, b"testdata")
    assert [member.committed for member in cluster.members.values()] == [15, 15, 15]
    cluster[1].snap(index, compact=12)
    return cluster


def request(cluster: Cluster, least: int = 15) -> Any:
    """2 asks for a snapshot; the message is not delivered."""
    cluster[2].node.request_snapshot()
    (sent,) = cluster[2].take()
    assert (sent.kind, sent.to, sent.flags, sent.context) == (
        MSG_APP_RESP,
        1,
        FLAG_REJECT | FLAG_REQUEST_SNAPSHOT,
        least,
    )
    return sent


def state(cluster: Cluster) -> int:
    """How the leader 1 sees 2."""
    return int(cluster[1].progress(2)["state"])


def test_follower_request_snapshot(impl: ModuleType) -> None:
    """A follower that has everything gets a snapshot, and nothing else until it is known what became of it.

    In raft-rs only a report ends the wait; in raftx an acknowledgement does so too, and here it is lost.
    """
    cluster = prepared(impl)
    cluster[1].receive(request(cluster))
    cluster.loses = lambda message: message.sender == 2 and message.kind == MSG_APP_RESP
    cluster.propose(1, b"testdata")
    assert (cluster[1].committed, state(cluster)) == (16, SNAPSHOT)
    assert [given.index for given in cluster[2].restored] == [15]
    assert (cluster[2].committed, cluster[2].log.last) == (15, 15)
    cluster.heal()
    cluster[1].node.report_snapshot(2, True)
    cluster[1].step(MSG_HEARTBEAT_RESP, 2)
    cluster.propose(1, b"testdata")
    cluster.tick(1)
    assert [member.committed for member in cluster.members.values()] == [17, 17, 17]
    assert state(cluster) == REPLICATE


def test_request_snapshot_unavailable(impl: ModuleType) -> None:
    """As long as there is none that reaches far enough, the follower is probed; asked again, the leader looks again."""
    cluster = prepared(impl, 14)
    asked = request(cluster)
    for _ in range(2):
        cluster[1].receive(asked)
        assert only(cluster[1].take(), MSG_SNAP) == []
        assert (state(cluster), cluster[1].node.snapshot_wanted) == (PROBE, 15)
    made = cluster[1].snap(compact=12)
    # It is not stale, although it refuses what the leader did not send last.
    cluster[1].receive(asked)
    (sent,) = only(cluster[1].take(), MSG_SNAP, 2)
    assert (state(cluster), sent.snapshot) == (SNAPSHOT, made)


def test_request_snapshot_matched_change(impl: ModuleType) -> None:
    """A request from before the last acknowledgement looks stale; the one that answers a heartbeat is served."""
    cluster = prepared(impl)
    cluster.loses = lambda message: message.to == 2 and message.commit > 15
    cluster.propose(1, b"testdata")
    cluster.heal()
    cluster[1].snap(compact=12)
    assert (cluster[1].progress(2)["match"], cluster[2].committed) == (16, 15)
    cluster[1].receive(request(cluster))
    assert (cluster[1].take(), state(cluster)) == ([], REPLICATE)
    (beat,) = only(cluster[1].tick(), MSG_HEARTBEAT, 2)
    cluster[2].receive(beat)
    (again,) = cluster[2].take()
    assert (again.flags, again.index, again.context) == (FLAG_REJECT | FLAG_REQUEST_SNAPSHOT, 16, 16)
    cluster[1].receive(again)
    assert kinds(cluster[1].take()) == [MSG_SNAP]
    assert state(cluster) == SNAPSHOT


def test_request_snapshot_none_replicate(impl: ModuleType) -> None:
    """The request of a follower that is probed is kept until it can be served."""
    cluster = prepared(impl, 14)
    cluster[1].node.report_unreachable(2)
    assert state(cluster) == PROBE
    cluster[1].receive(request(cluster))
    assert only(cluster[1].take(), MSG_SNAP) == []
    assert cluster[1].node.snapshot_wanted == 15
    made = cluster[1].snap(compact=12)
    # No second request: a sign of life is enough.
    (sent,) = cluster[1].step(MSG_HEARTBEAT_RESP, 2)
    assert (sent.kind, sent.snapshot) == (MSG_SNAP, made)


def test_request_snapshot_step_down(impl: ModuleType) -> None:
    """A request to a leader that has been replaced ends with the first word of the new one."""
    cluster = prepared(impl)
    cluster.isolate(2)
    cluster.propose(1, b"testdata")
    cluster.campaign(3)
    assert (cluster[3].role, cluster[3].term) == (LEADER, 13)
    cluster.heal()
    request(cluster)
    assert cluster[2].requested_snapshot == 15
    cluster.tick(3)
    assert (cluster[2].requested_snapshot, cluster[2].lead, cluster[2].restored) == (0, 3, [])
    assert cluster[2].committed == cluster[3].committed == 17


def test_request_snapshot_on_role_change(impl: ModuleType) -> None:
    """A request outlives what the same leader sends, and ends with a candidacy."""
    cluster = prepared(impl)
    request(cluster)
    for _ in range(2):
        cluster[2].step(MSG_HEARTBEAT, 1)
        cluster[2].append([12], 15, 12, sender=1)
        assert (cluster[2].role, cluster[2].requested_snapshot, cluster[2].log.last) == (FOLLOWER, 15, 15)
    cluster[2].campaign()
    assert (cluster[2].role, cluster[2].requested_snapshot) == (CANDIDATE, 0)


def test_request_snapshot_after_term_change(impl: ModuleType) -> None:
    """A request ends with the term, and another one may be made in the next."""
    cluster = prepared(impl)
    request(cluster)
    cluster[2].step(MSG_HEARTBEAT, 3, term=13)
    assert cluster[2].requested_snapshot == 0
    cluster[2].append([13], 15, 12, sender=3)
    cluster[2].node.request_snapshot()
    assert only(cluster[2].take(), MSG_APP_RESP, 3)[0].flags & FLAG_REQUEST_SNAPSHOT


# --- sent -----------------------------------------------------------------------------------------


def restored(impl: ModuleType, **settings: Any) -> Full:
    """Leader 1 of three: it got its log from a snapshot, and 2 has helped it."""
    member = Full(impl, **settings)
    member.step(MSG_SNAP, 2, term=11, snapshot=snapshot(impl))
    member.lead_with(2)
    return member


def test_send_append_for_progress_snapshot(impl: ModuleType) -> None:
    """Whom a snapshot is on its way to is sent no entries."""
    member = restored(impl)
    assert kinds(member.step(MSG_APP_RESP, 2, index=11, reject=True)) == [MSG_SNAP]
    seen = member.progress(2)
    assert (seen["state"], seen["pending_snapshot"]) == (SNAPSHOT, 11)
    for _ in range(10):
        assert [m for m in member.propose(b"somedata") if m.to == 2] == []
    # There is something to send, and it goes as soon as the snapshot has arrived.
    sent = member.acknowledge(2, 11)
    assert [entry.index for m in sent if m.to == 2 for entry in m.entries] == list(range(12, 23))


def test_provide_snap(impl: ModuleType) -> None:
    """Who refuses the append right behind the snapshot that the leader's log begins with gets the snapshot."""
    member = restored(impl)
    assert member.progress(2)["next"] == member.log.first == 12
    (sent,) = member.step(MSG_APP_RESP, 2, index=11, reject=True)
    assert (sent.kind, sent.to, sent.snapshot) == (MSG_SNAP, 2, snapshot(impl))


def test_ignore_providing_snapshot(impl: ModuleType) -> None:
    """Who needs a snapshot and has not been heard from lately is sent nothing (IgnoreProvidingSnap in etcd)."""
    member = restored(impl, check_quorum=True)
    for id in (2, 3):
        member.acknowledge(id)
    # A whole period passes, in which nobody is heard from; 3 has missed an entry that is compacted now.
    member.propose()
    member.acknowledge(2)
    member.node.report_unreachable(3)
    member.tick(member.election_timeout)
    member.snap()
    seen = member.progress(3)
    assert (member.role, seen["recent_active"], seen["paused"]) == (LEADER, False, False)
    assert (seen["next"], member.log.first) == (13, 14)
    assert [m for m in member.propose(b"somedata") if m.to == 3] == []
    assert kinds(member.step(MSG_HEARTBEAT_RESP, 3)) == [MSG_SNAP]


def test_slow_node_restore(impl: ModuleType) -> None:
    """A follower that missed a hundred entries, all compacted, is brought up to date by a snapshot and what follows."""
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    cluster.isolate(3)
    for _ in range(100):
        cluster.propose(1, b"")
    made = cluster[1].snap()
    assert (made.index, cluster[3].committed) == (101, 1)
    cluster.heal()
    for _ in range(10):
        cluster.tick(1)
        if cluster[1].progress(3)["recent_active"]:
            break
    for _ in range(2):
        cluster.propose(1, b"")
    assert cluster[3].restored == [made]
    assert cluster[3].committed == cluster[1].committed == 103


# --- restored -------------------------------------------------------------------------------------


def restore(member: Full, given: Any, sender: int = 1) -> None:
    """The member takes the snapshot, once: the second time it holds everything already."""
    for _ in range(2):
        (answer,) = member.step(MSG_SNAP, sender, term=11, snapshot=given)
        assert (answer.kind, answer.to, answer.index, answer.reject) == (MSG_APP_RESP, sender, given.index, False)
        assert member.restored == [given]
    assert (member.log.last, member.log.py_term(given.index)) == (given.index, given.term)
    assert (member.committed, member.membership) == (given.index, given.conf_state)


def campaigns(member: Full) -> bool:
    """Whether it is a voter: others do not even try."""
    member.campaign()
    return bool(member.role == CANDIDATE)


def waits_for_the_disk(impl: ModuleType, given: Any) -> None:
    """Member 1 does not campaign before the snapshot is durable, and does so afterwards."""
    slow = Slow(impl, voters=(1, 2))
    slow.step(MSG_SNAP, 2, term=11, snapshot=given)
    for _ in range(2 * slow.core.election_timeout):
        slow.node.tick()
        slow.work()
    assert (slow.core.role, slow.core.term) == (FOLLOWER, 11)
    slow.settle()
    for _ in range(2 * slow.core.election_timeout):
        slow.node.tick()
        slow.work()
    assert slow.core.role == CANDIDATE


def test_restore(impl: ModuleType) -> None:
    """A snapshot takes the place of log and membership. (test_restore and TestRestore of the ancestors.)"""
    given = snapshot(impl)
    restore(Full(impl, 1, (1, 2)), given, 2)
    waits_for_the_disk(impl, given)


def test_restore_ignore_snapshot(impl: ModuleType) -> None:
    """A snapshot of what is in the log replaces nothing; when it is ahead of the commit index, that follows."""
    member = Full(impl, 1, (1, 2), terms=(1, 1, 1), hard=(1, 0, 1))
    member.take()
    for index in (1, 2):
        (answer,) = member.step(MSG_SNAP, 2, snapshot=snapshot(impl, index, 1, voters=(1, 2)))
        assert (answer.kind, answer.index, answer.reject) == (MSG_APP_RESP, index, False)
        assert (member.restored, member.terms, member.committed) == ([], [1, 1, 1], index)


@pytest.mark.parametrize("term", [0, 2])
def test_restore_from_snap_msg(impl: ModuleType, term: int) -> None:
    """Who sends a snapshot is the leader, of a new term or of one whose leader was not known.

    The ancestors look at the leader only, and only in a new term.
    """
    member = Full(impl, 2, (1, 2), hard=(term, 0, 0))
    assert member.lead == 0
    given = snapshot(impl, term=2, voters=(1, 2))
    member.step(MSG_SNAP, 1, term=2, snapshot=given)
    assert (member.lead, member.term, member.role, member.restored) == (1, 2, FOLLOWER, [given])


def test_restore_with_learner(impl: ModuleType) -> None:
    """A learner restores a snapshot, and every member has its role in it."""
    member = Full(impl, 3, (1, 2), learners=(3,))
    restore(member, snapshot(impl, voters=(1, 2), learners=(3,)))
    assert (member.membership.voters, member.membership.learners) == ((1, 2), (3,))
    assert not campaigns(member)


def test_restore_with_voters_outgoing(impl: ModuleType) -> None:
    """A snapshot may be of a joint membership: all its voters are then members, and who is in either half may vote."""
    given = snapshot(impl, voters=(2, 3, 4), outgoing=(1, 2, 3))
    member = Full(impl, 1, (1, 2))
    restore(member, given, 2)
    assert sorted(member.tracker.peers.column("ids")) == [1, 2, 3, 4]
    waits_for_the_disk(impl, given)


def test_restore_depromote_voter(impl: ModuleType) -> None:
    """A voter may be a learner in the snapshot that it restores (RestoreVoterToLearner in etcd)."""
    member = Full(impl, 3, (1, 2, 3))
    assert campaigns(member)
    restore(member, snapshot(impl, voters=(1, 2), learners=(3,)))
    assert not campaigns(member)


def test_restore_learner(impl: ModuleType) -> None:
    """A member that knows nobody, itself included, is a learner after a snapshot says so."""
    member = Full(impl, 3, ())
    assert not campaigns(member)
    restore(member, snapshot(impl, voters=(1, 2), learners=(3,)))
    assert not campaigns(member)


def test_restore_learner_promotion(impl: ModuleType) -> None:
    """A learner may be a voter in the snapshot that it restores."""
    member = Full(impl, 3, (1, 2), learners=(3,))
    assert not campaigns(member)
    restore(member, snapshot(impl))
    assert campaigns(member)


@pytest.mark.parametrize("check_quorum", [False, True])
def test_learner_receive_snapshot(impl: ModuleType, check_quorum: bool) -> None:
    """A learner with an empty log gets the snapshot that its leader began with, and commits what that has committed."""
    cluster = Cluster(impl, 1, learners=(2,), check_quorum=check_quorum)
    given = snapshot(impl, voters=(1,), learners=(2,))
    cluster.members[1] = Full(impl, 1, base=given, hard=(11, 0, 11), check_quorum=check_quorum)
    cluster.tick(1, 2 * cluster[1].election_timeout)
    assert cluster[1].role == LEADER
    assert cluster[2].restored == [given]
    assert cluster[2].committed == cluster[1].committed == 12
