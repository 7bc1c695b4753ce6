"""Windows of appends, and snapshots on their way: counterparts of etcd's and raft-rs's suites for both.

The semantics are etcd's: a full window still lets an empty append through when the follower shows life, and an
acknowledgement that reaches the leader's log ends a snapshot. Where raft-rs does otherwise, the test says so.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    FLAG_REJECT,
    FLAG_REQUEST_SNAPSHOT,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_SNAP,
    PROBE,
    REPLICATE,
    SNAPSHOT,
)
from tests.helpers.core_drive import Cluster, Full, conf, led
from tests.helpers.core_net import Member, kinds, leader

WINDOW = 16


def filled(impl: ModuleType, size: int = WINDOW) -> Member:
    """The leader of 1 and 2 whose window to 2 has just become full: entries 2 .. size + 1 are in flight."""
    member = leader(impl, 2, voters=(1, 2), max_inflight_messages=size)
    for index in range(2, size + 2):
        assert not member.progress(2)["paused"]
        (sent,) = member.propose(b"somedata")
        assert (sent.kind, [entry.index for entry in sent.entries]) == (MSG_APP, [index])
    return member


def window(member: Member, id: int = 2) -> list[int]:
    """The last index of each append in flight to that member."""
    return [index for index, _ in member.progress(id)["inflight"]]


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, WINDOW, 256])
def test_msg_app_flow_control_full(impl: ModuleType, size: int) -> None:
    """Appends are sent until the window is full, and not one more."""
    member = filled(impl, size)
    seen = member.progress(2)
    assert (seen["paused"], seen["inflight_full"], window(member)) == (True, True, list(range(2, size + 2)))
    for _ in range(10):
        assert member.propose(b"somedata") == []


def test_msg_app_flow_control_move_forward(impl: ModuleType) -> None:
    """An acknowledgement makes room for everything up to its index; one that is late makes none."""
    member = filled(impl)
    for acknowledged in range(2, WINDOW):
        member.acknowledge(2, acknowledged)
        assert not member.progress(2)["paused"]
        (sent,) = member.propose(b"somedata")
        assert (sent.kind, len(sent.entries)) == (MSG_APP, 1)
        assert member.progress(2)["paused"]
        before = window(member)
        assert before == list(range(acknowledged + 1, acknowledged + 1 + WINDOW))
        for late in range(acknowledged):
            assert member.acknowledge(2, late) == []
            assert member.progress(2)["paused"] and window(member) == before


def test_msg_app_flow_control_recv_heartbeat(impl: ModuleType) -> None:
    """Each heartbeat that is answered lets one empty append through a full window, as in etcd.

    raft-rs frees a place of the window instead, whose entry may not have arrived.
    """
    member = filled(impl)
    before = window(member)
    for answers in range(1, 5):
        for _ in range(answers):
            assert member.progress(2)["paused"]
            (sent,) = member.step(MSG_HEARTBEAT_RESP, 2)
            assert (sent.kind, sent.to, sent.entries) == (MSG_APP, 2, [])
        for _ in range(10):
            assert member.progress(2)["paused"]
            assert member.propose(b"somedata") == []
        assert window(member) == before


def test_msg_app_flow_control_with_freeing_resources(impl: ModuleType) -> None:
    """Nothing is kept for a member before something is in flight to it, nor after all of it has arrived.

    raft-rs looks at the buffers of the windows; what shows here is what they hold.
    """
    member = led(impl, 2, 3)
    assert [window(member, id) for id in (1, 2, 3)] == [[], [], []]
    member.propose()
    assert [window(member, id) for id in (1, 2, 3)] == [[], [2], [2]]
    member.acknowledge(2, 2)
    assert [window(member, id) for id in (1, 2, 3)] == [[], [], [2]]
    member.propose()
    assert [window(member, id) for id in (1, 2, 3)] == [[], [3], [2, 3]]
    member.acknowledge(2, 3)
    assert [window(member, id) for id in (1, 2, 3)] == [[], [], [2, 3]]
    assert [member.progress(id)["inflight_bytes"] for id in (1, 2, 3)] == [0, 0, 2]


def test_disable_progress(impl: ModuleType) -> None:
    """A window of 0 stops appends to that member; a larger one and a sign of life let them go on."""
    member = leader(impl, 2, voters=(1, 2))
    member.node.set_max_inflight(2, 0)
    assert [m for m in member.propose() if m.entries] == []
    member.node.set_max_inflight(2, 10)
    (sent,) = member.step(MSG_HEARTBEAT_RESP, 2)
    assert (sent.kind, [entry.index for entry in sent.entries]) == (MSG_APP, [2])


# --- snapshots ------------------------------------------------------------------------------------


def restored(impl: ModuleType) -> Full:
    """The leader of 1 and 2 in term 12, whose log begins behind a snapshot at 11; its empty entry is 12."""
    base = impl.Snapshot(11, 11, conf(impl, (1, 2)), b"state")
    member = led(impl, base=base, hard=(11, 0, 11))
    assert (member.log.first, member.log.last, member.term) == (12, 12, 12)
    return member


def sending(impl: ModuleType) -> Full:
    """The same with the snapshot on its way to 2, which has nothing."""
    member = restored(impl)
    (sent,) = member.step(MSG_APP_RESP, 2, index=11, reject=True, hint=0)
    assert (sent.kind, sent.to, sent.snapshot.index) == (MSG_SNAP, 2, 11)
    return member


def seen(member: Member, *names: str) -> tuple[Any, ...]:
    """What the leader knows of 2."""
    progress = member.progress(2)
    return tuple([progress[name] for name in names])


def test_sending_snapshot_set_pending_snapshot(impl: ModuleType) -> None:
    """A member that needs what is compacted gets the snapshot, and its index is noted."""
    assert seen(sending(impl), "state", "pending_snapshot", "match") == (SNAPSHOT, 11, 0)


def test_pending_snapshot_pause_replication(impl: ModuleType) -> None:
    """While a snapshot is on its way, no append is sent."""
    assert sending(impl).propose(b"somedata") == []


def test_snapshot_failure(impl: ModuleType) -> None:
    """One that was lost is forgotten: probing begins anew, with the next sign of life."""
    member = sending(impl)
    member.node.report_snapshot(2, False)
    assert member.take() == []
    assert seen(member, "state", "pending_snapshot", "next", "paused") == (PROBE, 0, 1, True)


def test_snapshot_succeed(impl: ModuleType) -> None:
    """Behind one that arrived probing goes on, with the next sign of life."""
    member = sending(impl)
    member.node.report_snapshot(2, True)
    assert member.take() == []
    assert seen(member, "state", "pending_snapshot", "next", "paused") == (PROBE, 0, 12, True)


def test_snapshot_abort(impl: ModuleType) -> None:
    """An acknowledgement of the snapshot's index ends it without a report, and entries follow at once, as in etcd.

    In raft-rs the next entry waits for another round.
    """
    member = sending(impl)
    (sent,) = member.acknowledge(2, 11)
    assert [entry.index for entry in sent.entries] == [12]
    assert seen(member, "state", "pending_snapshot", "next") == (REPLICATE, 0, 13)
    assert len(window(member)) == 1


@pytest.mark.parametrize("pre_vote", [True, False])
def test_snapshot_with_min_term(impl: ModuleType, pre_vote: bool) -> None:
    """A group that begins with a snapshot of term 1 brings in a member that has nothing, not even a membership."""
    base = impl.Snapshot(1, 1, conf(impl, (1, 2)), b"")
    cluster = Cluster(impl, (1,), base=base, hards={1: (1, 0, 1)}, pre_vote=pre_vote)
    member = cluster.add(2, conf=conf(impl), pre_vote=pre_vote)
    cluster.campaign(1)
    assert member.restored == [base]
    assert (member.log.first, member.log.last, member.term) == (2, 2, 2)
    assert cluster.memberships() == {base.conf_state}


def test_request_snapshot(impl: ModuleType) -> None:
    """A follower that asks gets a snapshot although its log is complete; nobody else may ask."""
    base = impl.Snapshot(11, 11, conf(impl, (1, 2)), b"state")
    with pytest.raises(impl.SnapshotRequestDropped):
        Full(impl, base=base, hard=(11, 0, 11)).node.request_snapshot()
    member = restored(impl)
    with pytest.raises(impl.SnapshotRequestDropped):
        member.node.request_snapshot()
    member.acknowledge(2, 11)
    assert seen(member, "state", "match") == (REPLICATE, 11)
    flags = FLAG_REJECT | FLAG_REQUEST_SNAPSHOT

    def request(index: int) -> list[Any]:
        m = impl.Message(MSG_APP_RESP, to=1, sender=2, term=12, index=index, flags=flags, context=member.committed)
        member.node.step(m)
        return member.take()

    # Late: since then 2 has acknowledged more.
    assert request(9) == []
    assert seen(member, "state") == (REPLICATE,)
    (sent,) = request(11)
    assert (sent.kind, sent.snapshot.index) == (MSG_SNAP, member.committed)
    assert seen(member, "state", "pending_snapshot", "next") == (SNAPSHOT, 11, 12)
    assert member.propose() == []
    # A sign of life does not end it.
    assert member.step(MSG_HEARTBEAT_RESP, 2) == []
    assert kinds(member.tick()) == [MSG_HEARTBEAT]
    assert seen(member, "state", "pending_snapshot", "next") == (SNAPSHOT, 11, 12)
    member.node.report_snapshot(2, True)
    assert member.take() == []
    assert seen(member, "state", "pending_snapshot", "next", "paused") == (PROBE, 0, 12, True)


def test_request_snapshot_is_over_with_an_acknowledgement(impl: ModuleType) -> None:
    """As with every snapshot in etcd; raft-rs waits for the report."""
    member = sending(impl)
    member.acknowledge(2, 11)
    assert seen(member, "state", "match") == (REPLICATE, 11)
