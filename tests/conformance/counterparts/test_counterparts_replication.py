"""Proposals, commits, appends and heartbeats: counterparts of etcd's and raft-rs's tests of replication.

Tables and numbers are the ancestors'; a member that etcd's network replaces by a black hole is cut off here. Terms that
no log could have been given are brought about as far as they can be, and the test says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import pytest

from raftx.types import (
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
)
from tests.helpers.core_drive import Slow
from tests.helpers.core_net import Member, Network, leader

# --- proposals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("again", "committed"), [(False, 2), (True, 4)])
def test_log_replication(impl: ModuleType, again: bool, committed: int) -> None:
    """What a leader, and then another one, is proposed is committed and applied everywhere."""
    network = Network(impl)
    network.campaign(1)
    network.propose(1, b"somedata")
    if again:
        network.campaign(2)
        network.propose(2, b"otherdata")
    for member in network.members.values():
        assert member.committed == committed
        assert member.data == [b"somedata", b"otherdata"][: committed // 2]


def test_single_node_commit(impl: ModuleType) -> None:
    """Who is alone commits what its own disk has: the empty entry and two more."""
    network = Network(impl, 1)
    network.campaign(1)
    network.propose(1, b"some data")
    network.propose(1, b"some data")
    assert network[1].committed == 3


@pytest.mark.parametrize(
    ("count", "silent", "success"),
    [(3, (), True), (3, (3,), True), (3, (2, 3), False), (4, (2, 3), False), (5, (2, 3), True)],
)
def test_proposal(impl: ModuleType, count: int, silent: Sequence[int], success: bool) -> None:
    """A proposal to a member that was elected by a majority is in all logs; else it is refused, and in none."""
    network = Network(impl, count)
    network.isolate(*silent)
    network.campaign(1)
    if success:
        network.propose(1, b"somedata")
    else:
        with pytest.raises(impl.ProposalDropped):
            network.propose(1, b"somedata")
    for id, member in network.members.items():
        reached = success and id not in silent
        assert (member.terms, member.committed) == (([1, 1], 2) if reached else ([], 0))
        assert member.data == [b"somedata"] * reached
    assert network[1].term == 1


@pytest.mark.parametrize("silent", [(), (3,)])
def test_proposal_by_proxy(impl: ModuleType, silent: Sequence[int]) -> None:
    """A follower passes a proposal on to the leader."""
    network = Network(impl)
    network.isolate(*silent)
    network.campaign(1)
    network.propose(2, b"somedata")
    for id in {1, 2, 3} - set(silent):
        member = network[id]
        assert (member.terms, member.committed, member.data) == ([1, 1], 2, [b"somedata"])
    assert network[1].term == 1


# --- commits --------------------------------------------------------------------------------------


def half_replicated(impl: ModuleType) -> Network:
    """Two entries that only two of five members have; the links are whole again."""
    network = Network(impl, 5)
    network.campaign(1)
    for id in (3, 4, 5):
        network.cut |= {(1, id), (id, 1)}
    network.propose(1, b"some data")
    network.propose(1, b"some data")
    assert (network[1].committed, network[2].log.last) == (1, 3)
    network.heal()
    return network


def test_cannot_commit_without_new_term_entry(impl: ModuleType) -> None:
    """A new leader commits nothing of earlier terms before an entry of its own is replicated."""
    network = half_replicated(impl)
    network.loses = lambda message: message.kind == MSG_APP
    network.campaign(2)
    assert (network[2].role, network[2].committed) == (LEADER, 1)
    network.heal()
    network.tick(2)
    network.propose(2, b"some data")
    assert network[2].committed == 5


def test_commit_without_new_term_entry(impl: ModuleType) -> None:
    """Its own empty entry is enough: with it all before it is committed, without a proposal."""
    network = half_replicated(impl)
    network.campaign(2)
    assert [member.committed for member in network.members.values()] == [4] * 5


#: (what each member has acknowledged, terms of the log, term of the leader, commit index)
COMMITS = [
    # One member.
    ((1,), (1,), 1, 1),
    ((1,), (1,), 2, 0),
    ((2,), (1, 2), 2, 2),
    ((1,), (2,), 2, 1),
    # An odd number.
    ((2, 1, 1), (1, 1), 1, 1),
    ((2, 1, 1), (1, 1), 2, 0),
    ((2, 1, 2), (1, 2), 2, 2),
    ((2, 1, 2), (1, 1), 2, 0),
    # An even number.
    ((2, 1, 1, 1), (1, 1), 1, 1),
    ((2, 1, 1, 1), (1, 1), 2, 0),
    ((2, 1, 1, 2), (1, 1), 1, 1),
    ((2, 1, 1, 2), (1, 1), 2, 0),
    ((2, 1, 2, 2), (1, 2), 2, 2),
    ((2, 1, 2, 2), (1, 1), 2, 0),
]


@pytest.mark.parametrize(("matches", "terms", "term", "commit"), COMMITS)
def test_commit(impl: ModuleType, matches: tuple[int, ...], terms: tuple[int, ...], term: int, commit: int) -> None:
    """What a majority has is committed if it is of the leader's term (3.6.2 of the thesis).

    Where the ancestors' log has entries (1, 2) and the leader's term is 1, they are (1, 1) here: no log holds a term
    that its member has not seen. Entries of the leader's own term are its empty one, and a proposal; where the table
    has none, the empty one stands behind it, and the leader's disk has not got it yet.
    """
    before = tuple([each for each in terms if each < term])
    slow = Slow(impl, voters=range(1, len(matches) + 1), terms=before)
    if slow.core.term + 1 < term:
        slow.node.campaign()
    slow.lead(*range(2, len(matches) + 1))
    if len(terms) > len(before) + 1:
        slow.node.propose(b"x")
        slow.work()
    assert (slow.core.term, slow.core.log.last) == (term, max(len(terms), len(before) + 1))
    if len(terms) > len(before):
        slow.written(len(slow.writes))
    assert slow.node.status()["progress"][1]["match"] == matches[0]
    for id, match in enumerate(matches[1:], 2):
        slow.step(MSG_APP_RESP, id, index=match)
    assert [slow.node.status()["progress"][id]["match"] for id in range(1, len(matches) + 1)] == list(matches)
    assert slow.core.committed == commit


# --- what comes too late --------------------------------------------------------------------------


def test_old_messages(impl: ModuleType) -> None:
    """An append of a leader of an earlier term is ignored, by the leader of the present one as well."""
    network = Network(impl)
    for id in (1, 2, 1):
        network.campaign(id)
    assert (network[1].role, network[1].term) == (LEADER, 3)
    late = impl.Message(MSG_APP, to=1, sender=2, term=2, index=2, log_term=2, entries=[impl.Entry(3, 2, b"late")])
    network.queue.append(late)
    network.deliver()
    network.propose(1, b"somedata")
    for member in network.members.values():
        assert (member.terms, member.committed, member.data) == ([1, 2, 3, 3], 4, [b"somedata"])


def test_step_ignore_old_term_msg(impl: ModuleType) -> None:
    """A message of an earlier term does not reach what handles its kind: nothing changes, and nobody answers."""
    member = Member(impl, voters=(1,), hard=(2, 0, 0))
    before = member.node.status()
    assert member.append([1], term=1, commit=1) == []
    assert member.node.status() == before


def test_leader_msg_app_self_ack_after_term_change(impl: ModuleType) -> None:
    """Its own acknowledgement that comes when it leads no more is ignored: it is of an earlier term."""
    member = leader(impl, 2)
    member.node.propose(b"somedata")
    member.node.ready()
    # With member 2's acknowledgement here, only its own is missing.
    member.node.step(impl.Message(MSG_APP_RESP, to=1, sender=2, term=1, index=2))
    assert member.committed == 1
    member.node.step(impl.Message(MSG_HEARTBEAT, to=1, sender=3, term=2))
    assert (member.role, member.term) == (FOLLOWER, 2)
    member.node.advance()
    assert (member.role, member.term, member.lead, member.committed) == (FOLLOWER, 2, 3, 1)


# --- followers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "log_term", "commit", "terms", "last", "committed", "reject"),
    [
        # What is before the entries must be there: another term, or nothing at all.
        (2, 3, 3, [], 2, 0, True),
        (3, 3, 3, [], 2, 0, True),
        # Entries that are in conflict go, with all behind them; what is new is appended.
        (1, 1, 1, [], 2, 1, False),
        (0, 0, 1, [2], 1, 1, False),
        (2, 2, 3, [2, 2], 4, 3, False),
        (2, 2, 4, [2], 3, 3, False),
        (1, 1, 4, [2], 2, 2, False),
        # Committed is what the leader has committed, as far as this append goes.
        (1, 1, 3, [], 2, 1, False),
        (1, 1, 3, [2], 2, 2, False),
        (2, 2, 3, [], 2, 2, False),
        (2, 2, 4, [], 2, 2, False),
    ],
)
def test_handle_msg_append(
    impl: ModuleType, index: int, log_term: int, commit: int, terms: list[int], last: int, committed: int, reject: bool
) -> None:
    """The three rules of an append, on a log of (1, 2) in term 2 (HandleMsgApp in etcd).

    Two of the ancestors' appends are of term 1, as they pass by the check of terms; here all are of term 2.
    """
    member = Member(impl, terms=(1, 2))
    (answer,) = member.append(terms, index, log_term, commit=commit)
    assert (member.log.last, member.committed) == (last, committed)
    assert (answer.kind, answer.reject) == (MSG_APP_RESP, reject)


@pytest.mark.parametrize(("commit", "committed"), [(3, 3), (1, 2)])
def test_handle_heartbeat(impl: ModuleType, commit: int, committed: int) -> None:
    """A heartbeat takes the commit index ahead and never back."""
    member = Member(impl, voters=(1, 2), terms=(1, 2, 3), hard=(3, 0, 2))
    (answer,) = member.step(MSG_HEARTBEAT, 2, commit=commit)
    assert (answer.kind, answer.to) == (MSG_HEARTBEAT_RESP, 2)
    assert member.committed == committed


# --- what a leader makes of an answer -------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "reject", "match", "next", "sent"),
    [
        # Not the answer to what was sent.
        (3, True, 0, 3, []),
        # A refusal: one step back, and again.
        (2, True, 0, 2, [(2, 1, 0)]),
        # An acknowledgement of what a majority has now: it is committed, and everybody learns it.
        (2, False, 2, 4, [(2, 2, 2), (3, 2, 2)]),
        # Nothing new is acknowledged, but the follower can be sent everything.
        (0, False, 0, 4, [(2, 0, 0)]),
    ],
)
def test_leader_append_response(
    impl: ModuleType, index: int, reject: bool, match: int, next: int, sent: list[tuple[int, int, int]]
) -> None:
    """Answers to the first append of a leader, which is behind entry 2 (LeaderAppResp in etcd).

    The last case is etcd's: raft-rs does nothing with what it knew already. Nor do the ancestors send the first append;
    here member 3 has not answered its own, and learns the commit index with its next sign of life.
    """
    member = leader(impl, terms=(1, 1), hard=(0, 0, 0))
    assert member.term == 1
    seen = member.progress(2)
    assert (seen["match"], seen["next"]) == (0, 3)
    messages = member.step(MSG_APP_RESP, 2, index=index, reject=reject, hint=index)
    seen = member.progress(2)
    assert (seen["match"], seen["next"]) == (match, next)
    if member.committed:
        messages += member.step(MSG_HEARTBEAT_RESP, 3)
    assert [(m.to, m.index, m.commit) for m in messages] == sent
    assert {m.kind for m in messages} <= {MSG_APP}
