"""Regression tests for what went wrong in other Raft implementations, 43 to 49: snapshots. See HISTORY.md.

Snapshots are the core's so far: a Node takes and sends none, and drops one that a peer sends.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    FLAG_REJECT,
    FLAG_REQUEST_SNAPSHOT,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_SNAP,
    MSG_VOTE,
    PROBE,
    REPLICATE,
    SNAPSHOT,
    TRANSITION_EXPLICIT,
)
from tests.helpers.async_member import AsyncMember
from tests.helpers.cluster import Machine
from tests.helpers.core_net import FullMember, Network, kinds, only
from tests.helpers.implementations import structures
from tests.helpers.meetings import befriend
from tests.helpers.waiting import WAIT, eventually


def sending(impl: ModuleType, **settings: Any) -> FullMember:
    """Member 1 leads with a log compacted to entry 4; a snapshot is on its way to 3."""
    member = FullMember(impl, **settings)
    member.lead_with(2)
    member.acknowledge(2)
    for number in range(3):
        member.propose(b"%d" % number)
    member.acknowledge(2)
    member.save()
    (sent,) = member.step(MSG_APP_RESP, 3, index=0, hint=0, reject=True)
    assert (sent.kind, sent.to, sent.snapshot.index) == (MSG_SNAP, 3, 4)
    assert member.progress(3)["state"] == SNAPSHOT
    return member


def network_behind(impl: ModuleType, **settings: Any) -> Network:
    """1 leads with a compacted log; 3 has missed everything from the second entry on."""
    network = Network(impl, 3, member=FullMember, **settings)
    network.campaign(1)
    network.isolate(3)
    for number in range(3):
        network.propose(1, b"%d" % number)
    network[1].save()
    network.sent.clear()
    network.heal()
    return network


# --- a snapshot on its way ---------------------------------------------------------------------------


def test_a_lost_snapshot_is_sent_again(impl: ModuleType) -> None:
    """History 43: a member whose snapshot was lost waited for it for ever."""
    member = sending(impl)
    # While it is on its way nothing else is sent, whatever happens.
    assert member.step(MSG_HEARTBEAT_RESP, 3) == []
    assert only(member.propose(b"more"), MSG_APP, 3) == []
    member.node.report_snapshot(3, False)
    assert member.take() == [] and member.progress(3)["state"] == PROBE
    assert (member.progress(3)["next"], member.progress(3)["pending_snapshot"]) == (1, 0)
    # It is heard of again, and gets it again.
    assert kinds(member.step(MSG_HEARTBEAT_RESP, 3)) == [MSG_SNAP]


def test_a_snapshot_that_arrived_is_not_sent_again(impl: ModuleType) -> None:
    """History 43: ... or was sent the snapshot once more when only its answer was lost."""
    member = sending(impl)
    member.node.report_snapshot(3, True)
    assert (member.progress(3)["state"], member.progress(3)["next"]) == (PROBE, 5)
    (probe,) = only(member.step(MSG_HEARTBEAT_RESP, 3), MSG_APP)
    assert (probe.index, probe.log_term) == (4, 1)


@pytest.mark.parametrize("index", [4, 5])
def test_any_acknowledgement_that_reaches_the_log_resumes_replication(impl: ModuleType, index: int) -> None:
    """History 43: only the acknowledgement of the very snapshot that was sent brought a member back."""
    member = sending(impl)
    member.propose(b"more")
    member.acknowledge(2)
    # 3 got there in another way: by a snapshot of somebody else, or an earlier append.
    sent = member.acknowledge(3, index)
    assert member.progress(3)["state"] == REPLICATE and member.progress(3)["match"] == index
    assert [e.index for m in only(sent, MSG_APP, 3) for e in m.entries] == list(range(index + 1, 6))


def test_no_snapshots_are_sent_to_a_member_that_is_not_heard_of(impl: ModuleType) -> None:
    """History 43: a dead member was sent one snapshot after the other."""
    network = network_behind(impl, check_quorum=True)
    network.isolate(3)
    # Two periods: in the first it counts as alive still.
    network.tick(1, 20)
    one = network[1]
    assert not one.progress(3)["recent_active"]
    network.sent.clear()
    for number in range(10):
        one.node.report_unreachable(3)
        one.node.report_snapshot(3, False)
        network.propose(1, b"x%d" % number)
        network.tick(1)
    assert only(network.sent, MSG_SNAP) == []
    network.heal()
    network.tick(1, 2)
    assert len(only(network.sent, MSG_SNAP)) == 1 and network[3].data == one.data


def test_a_lost_snapshot_in_a_group_heals(impl: ModuleType) -> None:
    """History 43: the whole of it."""
    network = network_behind(impl)
    network.loses = lambda m: m.kind == MSG_SNAP
    network.tick(1, 5)
    assert len(only(network.sent, MSG_SNAP)) == 1 and network[3].data == []
    network.heal()
    network[1].node.report_snapshot(3, False)
    network.tick(1, 2)
    assert network[3].data == [b"0", b"1", b"2"] and network[1].progress(3)["state"] == REPLICATE


def test_a_quiet_group_replicates_after_a_snapshot(impl: ModuleType) -> None:
    """History 44: after a snapshot a member was probed for as long as nothing was proposed."""
    network = network_behind(impl)
    network.loses = lambda m: m.kind == MSG_APP_RESP and m.sender == 3 and not m.reject
    network.tick(1)
    network[1].node.report_snapshot(3, True)
    network.heal()
    network.tick(1, 2)
    assert network[1].progress(3)["state"] == REPLICATE and network[1].progress(3)["match"] == 4
    # Probed again for another reason, with nothing to send: an empty append and its answer are enough.
    network[1].node.report_unreachable(3)
    assert network[1].progress(3)["state"] == PROBE
    network.tick(1)
    assert network[1].progress(3)["state"] == REPLICATE


# --- a snapshot that arrives -------------------------------------------------------------------------


def restoring(impl: ModuleType, index: int = 9, term: int = 4, **settings: Any) -> FullMember:
    """A follower of 2 that has entries 1 to 3."""
    return FullMember(impl, 1, (1, 2, 3), terms=[1, 1, 1], hard=(term, 0, 1), **settings)


def snapshot(impl: ModuleType, index: int, term: int, data: bytes = b"s", **conf: Any) -> Any:
    conf = {"voters": (1, 2, 3), **conf}
    return impl.Snapshot(index, term, impl.ConfState(**conf), data)


def test_a_snapshot_and_entries_of_one_ready_do_not_mix(impl: ModuleType) -> None:
    """History 45: committed entries came with a snapshot that held them, and were applied twice, or before it."""
    member = restoring(impl)
    member.take()
    member.node.step(impl.Message(MSG_HEARTBEAT, sender=2, term=4, commit=3))
    member.node.step(impl.Message(MSG_SNAP, sender=2, term=4, snapshot=snapshot(impl, 9, 4)))
    entries = [impl.Entry(10, 4, b"ten"), impl.Entry(11, 4, b"eleven")]
    member.node.step(impl.Message(MSG_APP, sender=2, term=4, index=9, log_term=4, commit=10, entries=entries))
    ready = member.node.ready()
    # Everything committed before lies in the snapshot; what follows waits until it is stored.
    assert ready.snapshot.index == 9 and ready.committed_entries == []
    assert [e.index for e in ready.entries] == [10, 11]
    member.store(ready)
    member.node.advance()
    assert (member.node.core.applied, member.committed) == (9, 10)
    member.take()
    assert member.data == [b"s", b"ten"] and member.node.core.applied == 10


def test_an_answer_about_entries_before_a_snapshot_changes_nothing(impl: ModuleType) -> None:
    """History 45: ... or what was applied went back behind the snapshot, or beyond what was committed."""
    member = AsyncMember(impl)
    member.append([1, 1, 1], term=1, commit=3)
    member.written()
    # The state machine is at work on the entries when the snapshot comes.
    assert [e.index for e in member.applies[0].entries] == [1, 2, 3]
    member.step(MSG_SNAP, 2, term=4, snapshot=snapshot(impl, 9, 4))
    status = member.node.status()
    assert (status["applied"], status["commit"], status["pending_snapshot"]) == (0, 9, 9)
    member.written()
    assert member.core.applied == 9
    member.was_applied()
    status = member.node.status()
    assert (status["applied"], status["applying"], status["commit"]) == (9, 9, 9)
    member.append([4], 9, 4, commit=10)
    member.written()
    assert [[e.index for e in m.entries] for m in member.applies] == [[10]]


def test_snapshots_are_of_an_index_that_is_applied(impl: ModuleType) -> None:
    """History 46: a snapshot was taken while entries were being applied: it had more or less than its index said."""
    member = FullMember(impl, terms=[1] * 5, hard=(1, 0, 4))
    assert member.node.core.applied == 0

    def at(index: int) -> Any:
        return snapshot(impl, index, 1)

    for index in (1, 4, 5):
        with pytest.raises(impl.UsageError, match=r"snapshot\.index must be in 0\.\.0"):
            member.node.set_snapshot(at(index))
    member.take()
    with pytest.raises(impl.UsageError, match=r"in 0\.\.4"):
        member.node.set_snapshot(at(5))
    member.node.set_snapshot(at(3))
    # Newer entries stay although they are applied, until a snapshot has them.
    with pytest.raises(impl.UsageError, match=r"index must be in 0\.\.3"):
        member.node.compact(4)
    member.node.compact(3)
    # None replaces a newer one.
    with pytest.raises(impl.UsageError, match=r"in 3\.\.4"):
        member.node.set_snapshot(at(2))


def test_what_a_restored_member_passes_on_is_what_it_got(impl: ModuleType) -> None:
    """History 47: after restoring a snapshot a member made and sent snapshots with a wrong term or membership."""
    network = network_behind(impl)
    network.isolate(3)
    network.change(1, "l4")
    network[1].save()
    network.heal()
    network.tick(1, 2)
    three = network[3]
    assert three.log.py_term(three.kept.index) == three.kept.term == 1
    assert three.node.core.tracker.conf_state().learners == (4,)
    # The log that held the change is gone. 3 leads, and brings 4 in by the snapshot that it got itself.
    network.campaign(3)
    network.join(4)
    network.tick(3, 3)
    (sent, *_) = only(network.sent, MSG_SNAP, 4)
    assert (sent.sender, sent.snapshot.term, sent.snapshot.conf_state.learners) == (3, 1, (4,))
    assert network[4].data == [b"0", b"1", b"2"]
    assert network[4].node.core.tracker.conf_state().learners == (4,)
    # The next one, of its own making, has the term of its own entry.
    assert three.save().term == three.term == 2


def test_a_snapshot_of_another_term_than_its_entry_is_refused(impl: ModuleType) -> None:
    """History 47: ... nobody noticed, and who got it refused everything that followed."""
    member = FullMember(impl, terms=[1, 1, 2], hard=(2, 0, 3))
    member.take()
    with pytest.raises(impl.UsageError):
        member.node.set_snapshot(snapshot(impl, 3, 1))


def test_a_snapshot_right_after_a_change_has_it(impl: ModuleType) -> None:
    """History 47: a snapshot just behind a change of membership had the membership before it."""
    network = Network(impl, 3, member=FullMember)
    network.join(4)
    network.campaign(1)
    network.change(1, "v4 r3", TRANSITION_EXPLICIT)
    kept = network[1].save()
    assert (kept.conf_state.voters, kept.conf_state.voters_outgoing) == ((1, 2, 4), (1, 2, 3))
    network[1].start()
    assert network[1].node.core.tracker.conf_state() == kept.conf_state
    # On its way in a message, too.
    assert structures(impl).snapshot_from(structures(impl).snapshot_record(kept)) == kept


def test_a_snapshot_keeps_what_stands_behind_it_only_if_the_terms_agree(impl: ModuleType) -> None:
    """History 48: a log was kept behind a snapshot that it did not contain, or lost although it did."""
    same = restoring(impl)
    (answer,) = same.step(MSG_SNAP, 2, snapshot=snapshot(impl, 2, 1))
    # It has all of it: nothing is thrown away, and only the commit index moves.
    assert (answer.index, same.committed, same.terms, same.kept) == (2, 2, [1, 1, 1], None)
    other = restoring(impl)
    (answer,) = other.step(MSG_SNAP, 2, snapshot=snapshot(impl, 2, 3))
    assert (answer.index, other.committed, other.terms) == (2, 2, [])
    assert (other.log.first, other.log.last, other.log.py_term(2)) == (3, 2, 3)
    assert other.disk == [] and other.data == [b"s"]


def test_no_gap_is_left_behind_a_snapshot(impl: ModuleType) -> None:
    """History 48: ... or it had a gap between snapshot and entries."""
    member = restoring(impl)
    member.step(MSG_SNAP, 2, snapshot=snapshot(impl, 9, 4))
    (answer,) = member.append([4], 11, 4)
    assert answer.reject and answer.hint == 9
    (answer,) = member.append([4, 4], 9, 4, commit=11)
    assert answer.index == 11 and member.terms == [4, 4]
    member.start()
    member.take()
    assert [e.index for e in member.disk] == [10, 11] and member.committed == 11
    # An older snapshot, late, does nothing.
    (answer,) = member.step(MSG_SNAP, 2, snapshot=snapshot(impl, 5, 4))
    assert answer.index == 11 and member.terms == [4, 4] and member.kept.index == 9


# --- a snapshot on request ---------------------------------------------------------------------------


def test_a_request_is_forgotten_with_term_and_role(impl: ModuleType) -> None:
    """History 49: a request for a snapshot outlived the leader it was made to, and blocked the log in the next term."""
    for kind in (MSG_HEARTBEAT, MSG_VOTE):
        member = FullMember(impl, terms=[1], hard=(1, 0, 1))
        member.step(MSG_HEARTBEAT, 2)
        member.node.request_snapshot()
        (request,) = member.take()
        assert request.flags == FLAG_REJECT | FLAG_REQUEST_SNAPSHOT
        (request,) = member.append([1], 1, 1)
        assert request.flags & FLAG_REQUEST_SNAPSHOT and member.terms == [1]
        member.step(kind, 3, term=2, index=1, log_term=1)
        (answer,) = member.append([2], 1, 1, term=2, sender=3)
        assert not answer.reject and member.terms == [1, 2]
    member = FullMember(impl, terms=[1], hard=(1, 0, 1))
    member.step(MSG_HEARTBEAT, 2)
    member.node.request_snapshot()
    member.lead_with(3)
    member.acknowledge(3)
    assert member.committed == 2 and member.node.core.requested_snapshot == 0
    with pytest.raises(impl.SnapshotRequestDropped):
        member.node.request_snapshot()


def requested(impl: ModuleType) -> Network:
    """3 replicates, has everything, and has asked for a snapshot, which was delivered."""
    network = Network(impl, 3, member=FullMember)
    network.campaign(1)
    network.propose(1, b"a")
    network[1].save()
    assert network[1].progress(3)["state"] == REPLICATE
    network[3].node.request_snapshot()
    network.deliver()
    assert len(only(network.sent, MSG_SNAP, 3)) == 1 and network[3].kept.index == 2
    return network


def test_a_request_to_a_leader_that_replicates_is_served_once(impl: ModuleType) -> None:
    """History 49: in the pipeline a request was taken for a refusal, or an old one was served again and again."""
    network = requested(impl)
    network[1].node.report_snapshot(3, True)
    network.tick(1)
    assert network[1].progress(3)["state"] == REPLICATE
    network.propose(1, b"b")
    assert network[3].data == [b"a", b"b"] and len(only(network.sent, MSG_SNAP)) == 1
    # The same request once more, late: it names less than 3 has acknowledged since.
    late = [m for m in network.sent if m.flags & FLAG_REQUEST_SNAPSHOT][-1]
    network[1].receive(late)
    assert network[1].take() == [] and network[1].progress(3)["state"] == REPLICATE


def test_the_acknowledgement_of_a_requested_snapshot_resumes_replication(impl: ModuleType) -> None:
    """History 43: it says no more than what was acknowledged before, when the member had everything already."""
    network = requested(impl)
    network.tick(1, 3)
    assert network[1].progress(3)["state"] == REPLICATE
    network.propose(1, b"b")
    assert network[3].data == [b"a", b"b"]


# --- a node --------------------------------------------------------------------------------------------


def test_a_node_drops_what_is_no_snapshot_and_says_so(impl: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    """History 43 to 49: the core hears of a snapshot when its file is here. What describes no file never reaches it."""
    network = impl.MemoryNetwork()
    storage = impl.MemoryStorage(voters=[1, 2, 3])
    config = impl.Config(id=1, tick_ms=5, election_ticks=1000, seed=1)
    peer = network.transport()
    peer.start(2, lambda frame: None)
    codec = structures(impl).Codec(config.cluster, 2, 1)
    message = impl.Message(MSG_SNAP, term=4, snapshot=snapshot(impl, 9, 4))
    with impl.Node(config, storage, network.transport(), Machine()) as node:
        befriend(impl, node, lambda frame: peer.send(1, frame), (2, 3))
        peer.send(1, codec.encode(1, [message]))
        eventually(lambda: "the snapshot that 2 offers cannot be read: it does not begin with" in caplog.text, WAIT)
        assert node.status().transfers.fetching == 0
        assert (node.status().last, node.status().commit, node.term) == (0, 0, 0)
        assert node.role in (FOLLOWER, LEADER) and node.failure is None
    peer.close()
