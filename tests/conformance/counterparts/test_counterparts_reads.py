"""Linearizable reads, and the commit index that is learned from votes: counterparts of etcd's and raft-rs's tests.

A read has the semantics of etcd; learning from votes (``commit_by_vote``) is raft-rs's. Where raftx does as only one of
them, the test says so.
"""

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
from tests.helpers.core_drive import Cluster, Full, conf, led
from tests.helpers.core_net import kinds, only


def answers(member: Full) -> list[tuple[int, bytes]]:
    """The reads that were answered here since the last call."""
    found = [(state.index, state.context) for state in member.reads_done]
    member.reads_done.clear()
    return found


def read(cluster: Cluster, id: int, *contexts: bytes) -> None:
    """The member asks for read indexes, one after the other, before anything is delivered."""
    for context in contexts:
        cluster[id].node.read_index(context)
    cluster.deliver()


def asked_by(impl: ModuleType, id: int, context: bytes) -> Any:
    """A read that a follower has passed on to the leader 1."""
    return impl.Message(MSG_READ_INDEX, to=1, sender=id, hint=id, entries=[impl.Entry(0, 0, context)])


# --- reads ----------------------------------------------------------------------------------------


def test_raft_frees_read_only_mem(impl: ModuleType) -> None:
    """Of a read that is answered nothing is kept."""
    member = led(impl, 2, voters=(1, 2))
    member.node.step(asked_by(impl, 2, b"ctx"))
    (beat,) = member.take()
    assert beat.kind == MSG_HEARTBEAT
    assert member.node.status()["unconfirmed_reads"] == 1
    (answer,) = member.step(MSG_HEARTBEAT_RESP, 2, context=beat.context)
    assert (answer.kind, answer.to, answer.index, answer.entries[0].data) == (MSG_READ_INDEX_RESP, 2, 1, b"ctx")
    assert member.node.status()["unconfirmed_reads"] == 0


def test_read_only_option_safe(impl: ModuleType) -> None:
    """Leader and followers get the commit index of the time, when a quorum has answered.

    raft-rs's table. There a context that is waiting already is not asked for again; raftx does not compare contexts,
    and answers every read.
    """
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    for id, index, contexts, pending in [
        (1, 11, (b"ctx1", b"ctx11"), False),
        (2, 21, (b"ctx2", b"ctx22"), False),
        (3, 31, (b"ctx3", b"ctx33"), False),
        (1, 41, (b"ctx4", b"ctx44"), True),
        (2, 51, (b"ctx5", b"ctx55"), True),
        (3, 61, (b"ctx6", b"ctx66"), True),
    ]:
        for _ in range(10):
            cluster.propose(1, b"")
        first, second = contexts
        asked = [first, first, second]
        if pending:
            # The answers to the heartbeats are lost: it is left to the next read to bring these with it.
            cluster.loses = lambda message: message.kind == MSG_HEARTBEAT_RESP
            read(cluster, id, *asked)
            assert answers(cluster[id]) == []
            cluster.heal()
            read(cluster, id, second)
            asked.append(second)
        else:
            read(cluster, id, *asked)
        assert answers(cluster[id]) == [(index, context) for context in asked]
    assert [answers(member) for member in cluster.members.values()] == [[], [], []]


def test_read_only_with_learner(impl: ModuleType) -> None:
    """The leader that is the only voter answers alone, and its learner asks it."""
    cluster = Cluster(impl, 1, learners=(2,))
    cluster.campaign(1)
    for id, index, context in [(1, 11, b"ctx1"), (2, 21, b"ctx2"), (1, 31, b"ctx3"), (2, 41, b"ctx4")]:
        for _ in range(10):
            cluster.propose(1, b"")
        read(cluster, id, context)
        assert answers(cluster[id]) == [(index, context)]
    assert only(cluster.sent, MSG_HEARTBEAT) == []


def test_read_only_option_lease(impl: ModuleType) -> None:
    """Under a lease the leader answers without a word from anybody."""
    cluster = Cluster(impl, 3, check_quorum=True, lease_reads=True)
    cluster.campaign(1)
    for id, index, context in [
        (1, 11, b"ctx1"),
        (2, 21, b"ctx2"),
        (3, 31, b"ctx3"),
        (1, 41, b"ctx4"),
        (2, 51, b"ctx5"),
        (3, 61, b"ctx6"),
    ]:
        for _ in range(10):
            cluster.propose(1, b"")
        cluster.sent.clear()
        read(cluster, id, context)
        assert answers(cluster[id]) == [(index, context)]
        assert kinds(cluster.sent) == ([] if id == 1 else [MSG_READ_INDEX, MSG_READ_INDEX_RESP])


def test_read_only_option_lease_without_check_quorum(impl: ModuleType) -> None:
    """A lease without a check of the quorum is none: like etcd raftx refuses the pair; raft-rs answers reads."""
    with pytest.raises(impl.ConfigError):
        impl.Config(id=1, check_quorum=False, lease_reads=True)
    cluster = Cluster(impl, 3, check_quorum=True, lease_reads=True)
    with pytest.raises(impl.UsageError):
        cluster[1].node.set_check_quorum(False)
    # Without a lease the same read takes a round of heartbeats, and gets what it gets in raft-rs.
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    read(cluster, 2, b"ctx1")
    assert answers(cluster[2]) == [(1, b"ctx1")]
    assert len(only(cluster.sent, MSG_HEARTBEAT)) == 2


def test_read_only_for_new_leader(impl: ModuleType) -> None:
    """A new leader answers when it has committed something of its own.

    A read that comes before waits for that, as in etcd; raft-rs drops it.
    """
    cluster = Cluster(impl, 3, logs=dict.fromkeys((1, 2, 3), (1, 1)), hards={1: (1, 0, 1), 2: (1, 0, 2), 3: (1, 0, 2)})
    cluster.deliver()
    for id in (2, 3):
        cluster[id].snap()
        assert cluster[id].log.first == 3
    cluster.loses = lambda message: message.kind == MSG_APP
    cluster.campaign(1)
    assert (cluster[1].role, cluster[1].committed) == (LEADER, 1)
    read(cluster, 1, b"ctx")
    assert answers(cluster[1]) == []
    cluster.heal()
    cluster[1].node.tick()
    cluster.propose(1, b"")
    assert (cluster[1].committed, cluster[1].log.py_term(4), cluster[1].term) == (4, 2, 2)
    assert answers(cluster[1]) == [(4, b"ctx")]
    read(cluster, 1, b"ctx")
    assert answers(cluster[1]) == [(4, b"ctx")]


def test_read_when_quorum_becomes_less(impl: ModuleType) -> None:
    """A read that waits for a member is answered when that is removed: no heartbeat is answered here."""
    member = led(impl, 2, voters=(1, 2))
    assert kinds(member.read(b"abcdefg")) == [MSG_HEARTBEAT]
    member.change("r2")
    assert answers(member) == []
    member.acknowledge(2)
    assert member.membership.voters == (1,)
    assert answers(member) == [(1, b"abcdefg")]


def test_read_only_duplicate_request(impl: ModuleType) -> None:
    """A read that arrives twice, and answers that come late, do not confirm another read of a leader that was replaced.

    ReadOnlyDuplicateRequest of etcd.
    """
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    late: list[Any] = []

    def delay(message: Any) -> bool:
        if message.kind == MSG_HEARTBEAT_RESP:
            late.append(message)
        return bool(message.kind == MSG_HEARTBEAT_RESP)

    cluster.loses = delay
    least = {b"A": cluster[1].committed}
    cluster[1].receive(asked_by(impl, 2, b"A"))
    cluster.deliver()
    cluster.heal()
    assert len(late) == 2
    assert answers(cluster[2]) == []
    cluster.tick(1)
    assert answers(cluster[2]) == [(1, b"A")]
    # 1 does not learn that 2 leads and has committed more.
    cluster.isolate(1)
    cluster.campaign(2)
    cluster.propose(2, b"someOp")
    assert (cluster[1].role, cluster[2].role) == (LEADER, LEADER)
    least[b"B"] = cluster[2].committed
    read(cluster, 1, b"B")
    # The leader that was replaced gets the copy of the first read, and then the answers that were under way.
    beats = len(only(cluster.sent, MSG_HEARTBEAT))
    cluster[1].receive(asked_by(impl, 2, b"A"))
    cluster.take(1)
    assert len(only(cluster.sent, MSG_HEARTBEAT)) == beats + 2
    for message in late:
        cluster[1].receive(message)
        cluster.take(1)
    assert (cluster[1].role, answers(cluster[1])) == (LEADER, [])
    assert only(cluster.queue, MSG_READ_INDEX_RESP) == []
    cluster.heal()
    cluster.deliver()
    cluster.tick(2)
    assert cluster[1].role == FOLLOWER
    given = [answer for member in cluster.members.values() for answer in answers(member)]
    assert [(index, context) for index, context in given if index < least[context]] == []


# --- the commit index -----------------------------------------------------------------------------


def test_advance_commit_index_by_read_index_response(impl: ModuleType) -> None:
    """As in etcd an answer to a read tells nothing but that read's index; the commit index comes by heartbeat.

    In raft-rs the follower takes it over from the answer, whoever gave that.
    """
    cluster = Cluster(impl, 5, check_quorum=True, lease_reads=True)
    cluster.campaign(1)
    cluster.cut |= {pair for id in (3, 4, 5) for pair in ((1, id), (id, 1))}
    for _ in range(2):
        cluster.propose(1)
    cluster.heal()
    cluster.cut |= {(1, 2), (2, 1)}
    cluster.tick(1)
    assert (cluster[1].committed, cluster[2].committed, cluster[2].log.last) == (3, 1, 3)
    cluster.heal()
    read(cluster, 2, b"ctx")
    assert answers(cluster[2]) == [(3, b"ctx")]
    assert cluster[2].committed == 1
    cluster.tick(1)
    assert cluster[2].committed == 3


def propose_change(cluster: Cluster, text: str, v1: bool) -> int:
    """A change that everybody has and nobody has acknowledged; then an entry that only 4 has. The change's index."""
    cluster.campaign(1)
    assert cluster[1].role == LEADER
    cluster.loses = lambda message: message.kind == MSG_APP_RESP
    cluster.change(1, text, v1=v1)
    index = int(cluster[1].log.last)
    cluster.heal()
    cluster.cut |= {(1, 2), (2, 1), (1, 3), (3, 1)}
    cluster.propose(1)
    assert [cluster[id].log.last for id in (2, 3, 4)] == [index, index, index + 1]
    assert [member.committed < index for member in cluster.members.values()] == [True] * 4
    return index


def acknowledged_late(impl: ModuleType, index: int) -> Any:
    """The acknowledgement of 2, which was under way for long."""
    return impl.Message(MSG_APP_RESP, to=1, sender=2, term=1, index=index)


def advance_commit_index_by_vote_request(impl: ModuleType, pre_vote: bool, text: str, v1: bool) -> None:
    """2 knows that 4 is a voter, and needs its vote; 4 does not know, and has the longest log."""
    cluster = Cluster(impl, 3, learners=(4,), commit_by_vote=True, pre_vote=pre_vote)
    index = propose_change(cluster, text, v1)
    # It is committed, and 4 is not told.
    cluster.heal()
    cluster.cut |= {(1, 4), (4, 1)}
    cluster.loses = lambda message: message.kind == MSG_APP
    cluster[1].receive(acknowledged_late(impl, index))
    cluster.tick(1)
    cluster.heal()
    cluster.isolate(1)
    assert (cluster[2].committed, cluster[4].committed) == (index, index - 1)
    assert 4 in cluster[2].membership.voters
    cluster.campaign(4)
    assert (cluster[4].role, cluster[4].membership.learners) == (FOLLOWER, (4,))
    cluster.campaign(2)
    assert cluster[2].role != LEADER
    # The request has told it, and now it can be elected.
    assert cluster[4].committed == index
    assert 4 in cluster[4].membership.voters
    cluster.campaign(4)
    assert cluster[4].role == LEADER


REQUESTS = pytest.mark.parametrize(("text", "v1"), [("v4", True), ("l3 v4", False)])


@REQUESTS
def test_advance_commit_index_by_direct_vote_request(impl: ModuleType, text: str, v1: bool) -> None:
    """A request for votes tells what is committed: a learner learns that it is a voter."""
    advance_commit_index_by_vote_request(impl, False, text, v1)


@REQUESTS
def test_advance_commit_index_by_prevote_request(impl: ModuleType, text: str, v1: bool) -> None:
    """So does a request for pre-votes."""
    advance_commit_index_by_vote_request(impl, True, text, v1)


def advance_commit_index_by_vote_response(impl: ModuleType, pre_vote: bool, text: str, v1: bool) -> None:
    """4 knows that it is no voter any more; 2 does not know, and needs its vote."""
    joint = None if text else conf(impl, (1, 2, 3), outgoing=(1, 2, 3, 4), learners_next=(4,))
    cluster = Cluster(impl, 4, commit_by_vote=True, pre_vote=pre_vote, conf=joint)
    index = propose_change(cluster, text, v1)
    # It is committed, and only 4 is told.
    cluster[1].receive(acknowledged_late(impl, index))
    cluster.tick(1)
    cluster.heal()
    cluster.isolate(1)
    assert (cluster[2].committed, cluster[4].committed) == (index - 1, index)
    assert cluster[4].membership == conf(impl, (1, 2, 3), () if text else (4,))
    cluster.campaign(4)
    assert cluster[4].role == FOLLOWER
    cluster.campaign(2)
    # The refusal has told it. There is a change to apply first, so it is no candidate any more.
    assert (cluster[2].role, cluster[2].committed) == (FOLLOWER, index)
    assert cluster[2].membership == cluster[4].membership
    cluster.campaign(2)
    assert cluster[2].role == LEADER


RESPONSES = pytest.mark.parametrize(("text", "v1"), [("r4", True), ("", False)])


@RESPONSES
def test_advance_commit_index_by_direct_vote_response(impl: ModuleType, text: str, v1: bool) -> None:
    """A refusal tells what is committed: a candidate learns that it needs another vote less."""
    advance_commit_index_by_vote_response(impl, False, text, v1)


@RESPONSES
def test_advance_commit_index_by_prevote_response(impl: ModuleType, text: str, v1: bool) -> None:
    """So does a refusal of a pre-vote."""
    advance_commit_index_by_vote_response(impl, True, text, v1)
