"""What a leader knows of its followers, and when it sends: counterparts of etcd's and raft-rs's tests of progress.

The limits on what is not committed are here too. The ancestors set a progress by hand; here it comes about by what the
followers answer. The semantics are etcd's; where raft-rs does otherwise, the test says so.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_BEAT,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    PROBE,
    REPLICATE,
)
from tests.helpers.core_drive import Full, Slow, conf, led
from tests.helpers.core_net import Member, Network, kinds, leader


def place(member: Member, id: int = 2) -> tuple[int, int, int]:
    """(state, match, next) of a follower as the leader sees it."""
    seen = member.progress(id)
    return seen["state"], seen["match"], seen["next"]


def paused(member: Member, id: int = 2) -> bool:
    return bool(member.progress(id)["paused"])


def ping(member: Member) -> list[Any]:
    """The leader sends heartbeats now."""
    member.node.ping()
    return member.take()


# --- the leader itself ----------------------------------------------------------------------------


def own(slow: Slow) -> tuple[int, int]:
    """(match, next) of the leader itself."""
    seen = slow.node.status()["progress"][1]
    return seen["match"], seen["next"]


def test_progress_leader(impl: ModuleType) -> None:
    """A leader acknowledges its own entries when they are durable, as in etcd all at once, and not before."""
    slow = Slow(impl, voters=(1, 2))
    slow.lead(2)
    slow.step(MSG_APP_RESP, 2, index=0)
    for _ in range(5):
        slow.node.propose(b"foo")
    assert own(slow)[0] == 0
    slow.work()
    written = [entry for write in slow.writes for entry in write.entries]
    assert [entry.data for entry in written] == [b""] + [b"foo"] * 5
    assert own(slow)[0] == 0
    slow.written(len(slow.writes))
    assert own(slow) == (6, 7)


def test_progress_leader_one_by_one(impl: ModuleType) -> None:
    """progress_leader of raft-rs: it persists after every proposal, and the mark moves with each."""
    slow = Slow(impl, voters=(1, 2))
    slow.lead(2)
    slow.written(len(slow.writes))
    for index in range(1, 6):
        assert own(slow) == (index, index + 1)
        slow.node.propose(b"foo")
        slow.work()
        assert own(slow)[0] == index
        slow.written(len(slow.writes))


def test_progress_committed_index(impl: ModuleType) -> None:
    """A leader knows the commit index of each follower, and it never goes back.

    raft-rs learns it from the answers; raftx keeps, like etcd, what the follower was told in appends and heartbeats.
    Both are the same once everything has arrived.
    """

    def committed(leader: int) -> list[int]:
        """That of each member: what the leader knows of the others, its own, and what they have."""
        known = [
            member.committed if id == leader else network[leader].progress(id)["sent_commit"]
            for id, member in network.members.items()
        ]
        assert known == [member.committed for member in network.members.values()]
        return known

    network = Network(impl)
    network.campaign(1)
    assert network[1].role == LEADER
    assert committed(1) == [1, 1, 1]
    # Entries that one follower does not get.
    network.cut |= {(1, 3), (3, 1)}
    for _ in range(2):
        network.propose(1, b"testdata")
    network.heal()
    assert [member.committed for member in network.members.values()] == [3, 3, 1]
    network.tick(1)
    assert committed(1) == [3, 3, 3]
    network.campaign(2)
    assert network[2].role == LEADER
    assert committed(2) == [4, 4, 4]
    # Appends that are refused: two entries are lost before.
    network.isolate(2)
    for _ in range(2):
        network.propose(2, b"somedata")
    network.heal()
    network[2].node.propose(b"somedata")
    network.collect()
    for sender in ((2,), (1, 3)):
        assert {m.sender for m in network.queue} == set(sender)
        if 2 not in sender:
            assert all(m.reject and (m.index, m.hint) == (6, 4) for m in network.queue)
        arrived, network.queue = network.queue, []
        for message in arrived:
            network[message.to].receive(message)
        network.collect()
    assert [(m.index, len(m.entries)) for m in network.queue] == [(4, 3), (4, 3)]
    assert committed(2) == [4, 4, 4]
    network.deliver()
    assert committed(2) == [7, 7, 7]
    network.campaign(1)
    assert network[1].role == LEADER
    assert committed(1) == [8, 8, 8]
    # Answers that arrive in the wrong order.
    for _ in range(2):
        network[1].node.propose(b"somedata")
        network.collect()
    arrived, network.queue = network.queue, []
    for message in arrived:
        network[message.to].receive(message)
        network.collect()
    late = [m for m in network.queue if m.index == 9]
    assert [m.sender for m in late] == [2, 3]
    network.queue = [m for m in network.queue if m.index == 10]
    assert [m.sender for m in network.queue] == [2, 3]
    network.deliver()
    assert committed(1) == [10, 10, 10]
    network.queue = late
    network.deliver()
    assert committed(1) == [10, 10, 10]


# --- when a follower is sent something ------------------------------------------------------------


def test_progress_resume_by_heartbeat_resp(impl: ModuleType) -> None:
    """A pause ends when the follower answers a heartbeat, not when the heartbeat is sent."""
    member = leader(impl, 2, voters=(1, 2), max_inflight_messages=1)
    assert not paused(member)
    member.propose()
    member.node.set_max_inflight(2, 10)
    assert paused(member)
    assert kinds(ping(member)) == [MSG_HEARTBEAT]
    assert paused(member)
    member.step(MSG_HEARTBEAT_RESP, 2)
    assert not paused(member)


def test_progress_paused(impl: ModuleType) -> None:
    """A follower that has not answered its first append gets no other one."""
    member = Member(impl, voters=(1, 2))
    sent = member.lead_with(2)
    for _ in range(3):
        sent += member.propose(b"somedata")
    assert kinds(sent) == [MSG_APP]


#: (sizes of data, settings, entries in the appends that follow each acknowledgement)
FLOWS = [
    (
        [1000] * 10 + [5000] * 6 + [1000] * 6,
        {"max_inflight_bytes": 9000},
        [[2, 2, 2], [2, 1, 1], [1, 1], [1, 1], [1, 2, 2], [2]],
    ),
    # raft-rs has no limit of the bytes in flight.
    ([1000] * 10, {}, [[2, 2, 2], [2, 1]]),
]


@pytest.mark.parametrize(("sizes", "settings", "expected"), FLOWS)
def test_progress_flow_control(
    impl: ModuleType, sizes: list[int], settings: dict[str, Any], expected: list[list[int]]
) -> None:
    """One append while probing; then as many as the window of three takes, in messages and in bytes.

    Two entries of 1000 bytes fit in a message: raftx counts its records, whose head is longer than etcd's.
    """
    member = Member(impl, voters=(1, 2), max_inflight_messages=3, max_message_bytes=2064, **settings)
    member.lead_with(2)
    # The first append is lost; the first sign of life brings it with the first proposal.
    assert member.propose(b"a" * sizes[0]) == []
    (first,) = member.step(MSG_HEARTBEAT_RESP, 2)
    assert (first.kind, [len(entry.data) for entry in first.entries]) == (MSG_APP, [0, 1000])
    for size in sizes[1:]:
        assert member.propose(b"a" * size) == []
    last = first.index + first.count
    for counts in expected:
        sent = member.step(MSG_APP_RESP, 2, index=last)
        assert kinds(sent) == [MSG_APP] * len(counts)
        assert [m.count for m in sent] == counts
        last = sent[-1].index + sent[-1].count
    assert last == member.log.last


def test_handle_heartbeat_resp(impl: ModuleType) -> None:
    """A follower that is behind gets the append again with each sign of life, until it has acknowledged it."""
    member = leader(impl, voters=(1, 2), terms=(1, 2, 3), hard=(3, 0, 3))
    for _ in range(2):
        (again,) = member.step(MSG_HEARTBEAT_RESP, 2)
        assert (again.kind, again.index, again.count) == (MSG_APP, 3, 1)
    member.step(MSG_APP_RESP, 2, index=again.index + again.count)
    assert member.step(MSG_HEARTBEAT_RESP, 2) == []


def test_msg_append_response_wait_reset(impl: ModuleType) -> None:
    """Who has acknowledged the first append gets the next; who has not is waited for (MsgAppRespWaitReset in etcd)."""
    member = leader(impl)
    member.acknowledge(2, 1)
    assert member.committed == 1
    (sent,) = member.propose(b"")
    assert (sent.kind, sent.to, [entry.index for entry in sent.entries]) == (MSG_APP, 2, [2])
    (sent,) = member.acknowledge(3, 1)
    assert (sent.kind, sent.to, [entry.index for entry in sent.entries]) == (MSG_APP, 3, [2])


def test_bcast_beat(impl: ModuleType) -> None:
    """Heartbeats are empty, and tell the commit index only as far as the follower has acknowledged."""
    base = impl.Snapshot(1000, 1, conf(impl, (1, 2, 3)), b"")
    member = led(impl, base=base, hard=(1, 0, 1000))
    for _ in range(10):
        member.propose(b"")
    member.acknowledge(3)
    member.acknowledge(2, 5)
    assert (member.committed, member.progress(2)["match"], member.progress(3)["match"]) == (1011, 5, 1011)
    beats = ping(member)
    assert [(m.kind, m.to, m.index, m.log_term, m.commit, m.count) for m in beats] == [
        (MSG_HEARTBEAT, 2, 0, 0, 5, 0),
        (MSG_HEARTBEAT, 3, 0, 0, 1011, 0),
    ]


@pytest.mark.parametrize(("role", "count"), [("L", 2), ("C", 0), ("F", 0)])
def test_recv_msg_beat(impl: ModuleType, role: str, count: int) -> None:
    """The time for a heartbeat concerns a leader; candidates and followers send none."""
    member = Member(impl, terms=(1, 1))
    if role == "L":
        member.lead_with(2)
    elif role == "C":
        member.campaign()
    assert kinds(ping(member)) == [MSG_HEARTBEAT] * count
    assert kinds(member.tick()) == [MSG_HEARTBEAT] * count
    # It is not for others to say.
    with pytest.raises(impl.StepLocalMessage):
        member.step(MSG_BEAT, 2)


def test_leader_increase_next(impl: ModuleType) -> None:
    """What is sent counts as there while entries are pipelined, and not while they are probed."""
    member = leader(impl, voters=(1, 2), terms=(1, 2, 3))
    member.acknowledge(2, 1)
    member.propose(b"somedata")
    # What was there before, the empty entry, the proposal, and one more.
    assert place(member) == (REPLICATE, 1, 3 + 1 + 1 + 1)
    member = leader(impl, voters=(1, 2), terms=(1, 2, 3))
    member.step(MSG_APP_RESP, 2, index=3, reject=True, hint=1)
    assert place(member) == (PROBE, 0, 2)
    member.propose(b"somedata")
    assert place(member) == (PROBE, 0, 2)


def test_send_append_for_progress_probe(impl: ModuleType) -> None:
    """While probing one append is on its way: neither proposals nor heartbeats bring another one, an answer does."""
    member = Member(impl, voters=(1, 2))
    (sent,) = member.lead_with(2)
    assert (sent.kind, sent.index) == (MSG_APP, 0)
    for _ in range(3):
        assert paused(member)
        for _ in range(10):
            assert member.propose(b"somedata") == []
        assert kinds(ping(member)) == [MSG_HEARTBEAT]
        assert paused(member)
    (sent,) = member.step(MSG_HEARTBEAT_RESP, 2)
    assert (sent.kind, sent.index) == (MSG_APP, 0)
    assert paused(member) and place(member)[0] == PROBE


def test_send_append_for_progress_replicate(impl: ModuleType) -> None:
    """While replicating each proposal is sent at once."""
    member = leader(impl, 2, voters=(1, 2))
    for index in range(2, 12):
        (sent,) = member.propose(b"somedata")
        assert (sent.kind, [entry.index for entry in sent.entries]) == (MSG_APP, [index])


def test_recv_msg_unreachable(impl: ModuleType) -> None:
    """A follower that could not be reached is probed from what it has acknowledged."""
    member = leader(impl, voters=(1, 2), terms=(1, 2, 3))
    member.acknowledge(2, 3)
    member.propose()
    assert place(member) == (REPLICATE, 3, 6)
    member.node.report_unreachable(2)
    assert place(member) == (PROBE, 3, 4)


def test_batch_msg_append(impl: ModuleType) -> None:
    """With batch_append ten proposals make one message for each follower, and what does not follow on makes another."""
    member = leader(impl, 2, 3, batch_append=True)
    for _ in range(10):
        member.node.propose(b"somedata")
    assert [(m.to, m.index, len(m.entries)) for m in member.messages.messages()] == [(2, 1, 10), (3, 1, 10)]
    refusal = impl.Message(MSG_APP_RESP, to=1, sender=2, term=1, index=2)
    refusal.reject = True
    member.node.step(refusal)
    waiting = member.messages.messages()
    assert kinds(waiting) == [MSG_APP] * 3
    assert (waiting[2].to, waiting[2].index, len(waiting[2].entries)) == (2, 1, 10)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "hint", "then"),
    [
        # (log term, index) that the follower hints at, and those behind which the leader tries next.
        ((1, 2, 2, 4, 4, 4, 4), (1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3), (3, 7), (2, 3)),
        ((1, 2, 2, 3, 4, 4, 4, 5), (1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3), (3, 8), (3, 4)),
        # The follower finds the place itself; its log or the leader's may be longer.
        ((1, 1, 1, 1), (1, 2, 2, 4), (1, 1), (1, 1)),
        ((1, 1, 1, 1, 1, 1), (1, 2, 2, 4), (1, 1), (1, 1)),
        ((1, 1, 1, 1), (1, 2, 2, 4, 4, 4), (1, 1), (1, 1)),
        # Nothing is in conflict, something is missing.
        ((1, 1, 1, 4, 5), (1, 1, 1, 4), (4, 4), (4, 4)),
        ((2, 5, 5, 5, 5, 5, 5, 5, 5), (2, 4, 4, 4, 4, 4), (4, 6), (2, 1)),
        ((2, 2, 2, 2, 2), (2, 4, 4, 4, 4, 4, 4, 4), (2, 1), (2, 1)),
    ],
)
def test_fast_log_rejection(
    impl: ModuleType, ours: tuple[int, ...], theirs: tuple[int, ...], hint: tuple[int, int], then: tuple[int, int]
) -> None:
    """Leader and follower skip whole terms when they look for the place where their logs part."""
    last = len(ours)
    one = Member(impl, 1, terms=ours, hard=(ours[-1] - 1, 0, last))
    one.lead_with(2)
    other = Member(impl, 2, terms=theirs, hard=(ours[-1], 1, 0))
    (answer,) = other.step(MSG_HEARTBEAT, 1)
    one.node.step(answer)
    (sent,) = one.take()
    assert (sent.kind, sent.index, sent.log_term) == (MSG_APP, last, ours[-1])
    other.node.step(sent)
    (answer,) = other.take()
    assert (answer.kind, answer.reject, answer.log_term, answer.hint) == (MSG_APP_RESP, True, *hint)
    one.node.step(answer)
    (sent,) = one.take()
    assert (sent.kind, sent.log_term, sent.index) == (MSG_APP, *then)


def test_fast_log_rejection_behind_a_compacted_log(impl: ModuleType) -> None:
    """etcd's last case: an append from before the beginning of the follower's log.

    There the commit index is set to 0 although everything is compacted, which cannot be, and the follower refuses.
    What is compacted is committed, so in raftx the log's beginning is the least commit index, and the answer says so.
    """
    base = impl.Snapshot(5, 3, conf(impl, (1, 2, 3)), b"")
    other = Full(impl, 2, base=base, hard=(3, 1, 0))
    assert (other.log.first, other.committed) == (6, 5)
    (answer,) = other.append([3], 3, 3, sender=1)
    assert (answer.kind, answer.reject, answer.index) == (MSG_APP_RESP, False, 5)
    assert (other.log.last, other.committed) == (5, 5)


def test_log_replication_with_reordered_message(impl: ModuleType) -> None:
    """A refusal that comes late, of an append that overtook another, does not take the leader behind what it knows."""
    one = Member(impl, 1, (1, 2))
    one.lead_with(2)
    other = Member(impl, 2, (1, 2))
    one.propose(b"somedata")
    (first,) = one.acknowledge(2, 0)
    assert (place(one), first.index, first.count) == ((REPLICATE, 0, 3), 0, 2)
    (second,) = one.propose(b"somedata")
    assert (second.index, second.count) == (2, 1)
    # The second arrives first.
    other.node.step(second)
    (refusal,) = other.take()
    assert (refusal.reject, refusal.index, refusal.hint) == (True, 2, 0)
    other.node.step(first)
    (answer,) = other.take()
    assert (answer.reject, answer.index) == (False, 2)
    one.node.step(answer)
    assert kinds(one.take()) == [MSG_APP]
    assert place(one)[1] == 2
    one.node.report_unreachable(2)
    assert place(one) == (PROBE, 2, 3)
    one.node.step(refusal)
    (sent,) = one.take()
    assert (sent.kind, sent.index) == (MSG_APP, 2)


# --- what is not committed ------------------------------------------------------------------------


def test_uncommitted_entry_limit(impl: ModuleType) -> None:
    """A leader takes proposals up to its limit; what is applied makes room, and a large one fits where none waits."""
    count, data = 1024, b"testdata"
    member = leader(impl, 2, 3, max_uncommitted_bytes=count * len(data), max_inflight_messages=2 * count)
    assert member.uncommitted_bytes == 0
    sent = []
    for _ in range(count):
        sent += member.propose(data)
    with pytest.raises(impl.ProposalDropped):
        member.propose(data)
    assert kinds(sent) == [MSG_APP] * (2 * count)
    member.acknowledge(2)
    assert member.uncommitted_bytes == 0
    # One that is larger than the limit.
    member.node.propose(*[data] * (2 * count))
    with pytest.raises(impl.ProposalDropped):
        member.node.propose(data)
    # What has no data counts nothing: the first entry of a leader, and the one that leaves a joint membership.
    member.node.propose(b"")
    sent = member.take()
    assert [(m.kind, m.to, m.count) for m in sent] == [
        (MSG_APP, 2, 2 * count),
        (MSG_APP, 3, 2 * count),
        (MSG_APP, 2, 1),
        (MSG_APP, 3, 1),
    ]
    member.acknowledge(2)
    assert member.uncommitted_bytes == 0


def test_uncommitted_entries_size_limit(impl: ModuleType) -> None:
    """The same in small, as raft-rs has it: the second proposal does not fit, an empty one always does."""
    member = leader(impl, 2, max_uncommitted_bytes=12)
    member.propose(b"hello world!")
    with pytest.raises(impl.ProposalDropped):
        member.propose(b"hello world!")
    member.propose(b"")
    assert member.uncommitted_bytes == 12
    member.acknowledge(2)
    assert member.uncommitted_bytes == 0
    member.propose(b"hello world and raft")
    with pytest.raises(impl.ProposalDropped):
        member.propose(b"hello world and raft")
    member.propose(b"")


def test_uncommitted_entry_after_leader_election(impl: ModuleType) -> None:
    """A new leader counts from 0: entries of its predecessor that are not committed are not in it."""
    network = Network(impl, 5, max_uncommitted_bytes=12)
    network.campaign(1)
    for id in (3, 4, 5):
        network.cut |= {(1, id), (id, 1)}
    network.propose(1, b"hello world!")
    assert network[1].uncommitted_bytes == 12
    network.isolate(1)
    network.loses = lambda message: message.kind == MSG_APP
    network.campaign(2)
    assert (network[2].role, network[2].log.last, network[2].committed) == (LEADER, 3, 1)
    assert network[2].uncommitted_bytes == 0
    # Nor are its own of an earlier term.
    network.cut.clear()
    network.tick(2)
    network.campaign(1)
    assert (network[1].role, network[1].log.last, network[1].committed) == (LEADER, 3, 1)
    assert network[1].uncommitted_bytes == 0


def test_uncommitted_state_advance_ready_from_last_term(impl: ModuleType) -> None:
    """What a leader applies of earlier terms was never counted.

    raft-rs remembers where its own entries begin, and takes only those off. raftx does what etcd does: it takes off all
    that is applied, but not below 0, so the limit is a soft one until the new term has its first commit.
    """
    slow = Slow(impl, voters=(1, 2, 3), max_uncommitted_bytes=12)
    slow.append([1, 1], commit=2, term=1)
    slow.written(len(slow.writes))
    assert (slow.core.committed, slow.core.applied, len(slow.applies)) == (2, 0, 1)
    slow.lead(3)
    slow.node.propose(b"hello world!")
    slow.work()
    assert slow.core.uncommitted_bytes == 12
    # The two entries, of one byte each, that it was handed as a follower.
    slow.done()
    assert (slow.core.applied, slow.core.uncommitted_bytes) == (2, 10)
    slow.written(len(slow.writes))
    slow.step(MSG_APP_RESP, 3, index=slow.core.log.last)
    slow.settle()
    assert (slow.core.applied, slow.core.uncommitted_bytes) == (4, 0)
