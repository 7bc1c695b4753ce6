"""RawNode driven by hand: counterparts of raft-rs's test_raw_node.rs and etcd's rawnode_test.go.

Tables and numbers are the ancestors'. Where raft-rs begins with a snapshot at index 1 and nothing depends on it, its
indexes are one higher. In a Ready with advance raftx hands over committed entries with the write that makes them
durable, as etcd does; raft-rs hands them over after it, and so does raftx with asynchronous writes.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from core_drive import Cluster, Full, Slow, change, conf, led
from core_net import FullMember, Member, Network, kinds

from raftx.types import (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    FOLLOWER,
    LEADER,
    LOCAL_KINDS,
    MSG_APP,
    MSG_APP_RESP,
    MSG_FORGET_LEADER,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_SNAP,
    NO_LIMIT,
    RESPONSE_KINDS,
    TRANSITION_AUTO,
    TRANSITION_EXPLICIT,
    TRANSITION_IMPLICIT,
)

#: Bytes of an entry beside its data.
HEADER = 32


def cycle(member: Full) -> Any:
    """One Ready: stored, applied, advanced."""
    ready = member.node.ready()
    member.store(ready)
    for entry in ready.committed_entries:
        member.take_over(entry)
    member.node.advance()
    return ready


def shape(entries: list[Any]) -> list[tuple[int, int, bytes]]:
    """(index, term, data) of entries."""
    return [(entry.index, entry.term, entry.data) for entry in entries]


def entries(impl: ModuleType, first: int, last: int, term: int, data: bytes = b"hello") -> list[Any]:
    return [impl.Entry(index, term, data) for index in range(first, last + 1)]


def behind_snapshot(impl: ModuleType, *voters: int, index: int = 1, **settings: Any) -> Full:
    """A follower whose disk holds a snapshot of term 1 at ``index`` and nothing else."""
    base = impl.Snapshot(index, 1, conf(impl, voters))
    return Full(impl, base=base, hard=(1, 0, index), **settings)


def is_quiet(ready: Any) -> bool:
    """Nothing is to be written or sent."""
    nothing = (ready.soft_state, ready.hard_state, ready.snapshot, ready.must_sync) == (None, None, None, False)
    return nothing and ready.entries == ready.messages == ready.read_states == []


# --- input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(MSG_FORGET_LEADER + 1))
def test_raw_node_step(impl: ModuleType, kind: int) -> None:
    """What only the node itself produces is refused; so is the response of a stranger. No other kind is an error."""
    member = Member(impl, 1, (1,), terms=[1], hard=(1, 0, 1))
    member.take()
    status = member.node.status()
    message = impl.Message(kind)
    if kind == MSG_SNAP:
        message.snapshot = impl.Snapshot(1, 1, conf(impl, (1,)))
    if kind in LOCAL_KINDS:
        with pytest.raises(impl.StepLocalMessage):
            member.node.step(message)
    elif kind in RESPONSE_KINDS:
        with pytest.raises(impl.UnknownPeer):
            member.node.step(message)
    elif kind == MSG_PROP:
        with pytest.raises(impl.ProposalDropped):
            member.node.step(message)
    else:
        member.node.step(message)
        return
    assert member.node.status() == status
    assert not member.node.has_ready()


def test_raw_node_read_index(impl: ModuleType) -> None:
    """A read of a sole voter is answered in its next Ready, and in no other."""
    leader = led(impl, voters=(1,))
    assert not leader.node.has_ready()
    leader.node.read_index(b"somedata")
    assert leader.node.has_ready()
    ready = leader.node.ready()
    assert [(state.index, state.context) for state in ready.read_states] == [(1, b"somedata")]
    assert ready.entries == ready.messages == []
    leader.node.advance()
    assert not leader.node.has_ready()
    assert leader.node.ready().read_states == []


def test_raw_node_read_index_to_old_leader(impl: ModuleType) -> None:
    """A leader of before passes reads on to its successor, without a term, and they are answered where they began."""
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    passed = []
    for id in (2, 3):
        (sent,) = cluster[id].read(b"testdata")
        assert (sent.kind, sent.sender, sent.to, sent.term, sent.hint) == (MSG_READ_INDEX, id, 1, 0, id)
        passed.append(sent)
    cluster.campaign(3)
    for message in passed:
        cluster[1].node.step(message)
    again = cluster[1].take()
    assert [(m.kind, m.sender, m.to, m.term, m.hint) for m in again] == [
        (MSG_READ_INDEX, 2, 3, 0, 2),
        (MSG_READ_INDEX, 3, 3, 0, 3),
    ]
    assert [m.entries[0].data for m in again] == [b"testdata"] * 2
    cluster.queue += again
    cluster.deliver()
    for id in (2, 3):
        assert [(state.index, state.context) for state in cluster[id].reads_done] == [(2, b"testdata")]


def test_disable_proposal_forwarding(impl: ModuleType) -> None:
    """A follower passes a proposal on, unless it was told not to."""
    network = Network(impl, 3)
    network.members[3] = Member(impl, 3, forward_proposals=False)
    network.campaign(1)
    assert kinds(network[2].propose(b"testdata")) == [MSG_PROP]
    with pytest.raises(impl.ProposalDropped):
        network[3].node.propose(b"testdata")
    assert network[3].take() == []


def test_set_priority(impl: ModuleType) -> None:
    member = Member(impl, 1, (1,))
    for priority in (0, 1, 5, 10, 10_000):
        member.node.set_priority(priority)
        assert member.priority == priority


def test_skip_bcast_commit(impl: ModuleType) -> None:
    """Followers learn the commit index with what comes next: a heartbeat, a proposal; at once that of a change."""
    network = Network(impl, 3, member=FullMember, skip_bcast_commit=True)

    def committed() -> list[int]:
        return [member.committed for member in network.members.values()]

    network.campaign(1)
    network.propose(1, b"testdata")
    assert committed() == [2, 1, 1]
    network.tick(1)
    assert committed() == [2, 2, 2]
    network[1].node.set_skip_bcast_commit(False)
    network.propose(1, b"testdata")
    assert committed() == [3, 3, 3]
    network[1].node.set_skip_bcast_commit(True)
    network.propose(1, b"testdata")
    network.propose(1, b"testdata")
    assert committed() == [5, 4, 4]
    network.change(1, "r3")
    assert committed() == [6, 6, 6]


# --- changes of membership ------------------------------------------------------------------------

#: text, transition, of the old kind; the membership it leads to, and the one after a joint configuration
CHANGES: dict[str, tuple[str, int, bool, dict[str, Any], dict[str, Any] | None]] = {
    "old kind": ("v2", TRANSITION_AUTO, True, {"voters": (1, 2)}, None),
    "voter": ("v2", TRANSITION_AUTO, False, {"voters": (1, 2)}, None),
    "learner": ("l2", TRANSITION_AUTO, False, {"voters": (1,), "learners": (2,)}, None),
    "learner, explicit": (
        "l2",
        TRANSITION_EXPLICIT,
        False,
        {"voters": (1,), "outgoing": (1,), "learners": (2,)},
        {"voters": (1,), "learners": (2,)},
    ),
    "learner, implicit": (
        "l2",
        TRANSITION_IMPLICIT,
        False,
        {"voters": (1,), "outgoing": (1,), "learners": (2,), "auto_leave": True},
        {"voters": (1,), "learners": (2,)},
    ),
    **{
        f"demotion, {name}": (
            "v2 l1 l3",
            transition,
            False,
            {
                "voters": (2,),
                "outgoing": (1,),
                "learners": (3,),
                "learners_next": (1,),
                "auto_leave": transition != TRANSITION_EXPLICIT,
            },
            {"voters": (2,), "learners": (1, 3)},
        )
        for name, transition in (
            ("auto", TRANSITION_AUTO),
            ("explicit", TRANSITION_EXPLICIT),
            ("implicit", TRANSITION_IMPLICIT),
        )
    },
}


@pytest.mark.parametrize("name", CHANGES)
def test_raw_node_propose_and_conf_change(impl: ModuleType, name: str) -> None:
    """A change is appended as it was proposed and leads to its membership; a joint one is left, by itself or not."""
    text, transition, v1, expected, after = CHANGES[name]
    proposed = change(impl, text, transition, v1)
    leader = led(impl, voters=(1,))
    leader.node.propose(b"somedata")
    leader.node.propose_conf_change(proposed)
    for _ in range(4):
        if not leader.memberships:
            cycle(leader)
    assert leader.memberships == [conf(impl, **expected)]
    data, entry = leader.disk[-2:]
    assert data.data == b"somedata"
    assert (entry.kind, entry.data) == (ENTRY_CONF_CHANGE if v1 else ENTRY_CONF_CHANGE_V2, proposed.encode())
    # The entry that leaves a joint configuration by itself is appended already, but not yet handed to the disk.
    by_itself = proposed.enters_joint and proposed.auto_leave
    assert leader.pending_conf_index == entry.index + by_itself
    ready = leader.node.ready()
    context = b""
    if not by_itself:
        assert ready.entries == []
        if after is None:
            return
        leader.node.advance()
        context = b"manual"
        leader.node.propose_conf_change(impl.ConfChange(context=context))
        ready = leader.node.ready()
    assert after is not None
    (leave,) = ready.entries
    assert leave.kind == ENTRY_CONF_CHANGE_V2
    decoded = impl.ConfChange.decode(leave.data)
    assert decoded == impl.ConfChange(context=context)
    # It is not committed: with the demoted leader alone it could not be.
    assert leader.node.apply_conf_change(decoded) == conf(impl, **after)


def test_raw_node_joint_auto_leave(impl: ModuleType) -> None:
    """A leader that loses office while it enters a joint configuration leaves it when it leads again."""
    leader = led(impl, voters=(1,))
    proposed = change(impl, "l2", TRANSITION_IMPLICIT)
    leader.node.propose(b"somedata")
    leader.node.propose_conf_change(proposed)
    cycle(leader)
    ready = leader.node.ready()
    leader.store(ready)
    data, entry = ready.committed_entries
    leader.node.step(impl.Message(MSG_HEARTBEAT_RESP, sender=1, term=leader.term + 1))
    joint = leader.node.apply_conf_change(entry)
    leader.node.advance()
    assert (data.data, entry.data) == (b"somedata", proposed.encode())
    assert joint == conf(impl, (1,), (2,), outgoing=(1,), auto_leave=True)
    assert (leader.role, leader.pending_conf_index) == (FOLLOWER, 0)
    # A follower does not leave it.
    assert cycle(leader).entries == []
    leader.node.campaign()
    appended = []
    for _ in range(4):
        if not appended:
            appended = [each for each in cycle(leader).entries if each.kind]
    (leave,) = appended
    assert (leave.kind, impl.ConfChange.decode(leave.data)) == (ENTRY_CONF_CHANGE_V2, impl.ConfChange())
    assert leader.node.apply_conf_change(leave) == conf(impl, (1,), (2,))


def test_raw_node_propose_add_duplicate_node(impl: ModuleType) -> None:
    """Adding a member that is one already changes nothing, and does not keep the next one out."""
    leader = led(impl, voters=(1,))
    texts = ["v1", "v1", "v2"]
    for text in texts:
        leader.change(text, v1=True)
    assert [entry.data for entry in leader.disk[-3:]] == [change(impl, text, v1=True).encode() for text in texts]
    assert leader.memberships == [conf(impl, (1,)), conf(impl, (1,)), conf(impl, (1, 2))]


def test_raw_node_propose_add_learner_node(impl: ModuleType) -> None:
    """A learner is no voter, and needs no acknowledgement."""
    leader = led(impl, voters=(1,))
    leader.change("l2", v1=True)
    assert leader.memberships == [conf(impl, (1,), (2,))]
    assert leader.applied[-1].kind == ENTRY_CONF_CHANGE


# --- beginning and beginning again ----------------------------------------------------------------


def test_raw_node_start(impl: ModuleType) -> None:
    """A member begins behind a snapshot that its application made, with no entries that add members."""
    member = behind_snapshot(impl, 1)
    assert not member.node.has_ready()
    member.node.campaign()
    ready = cycle(member)
    assert (ready.hard_state, ready.must_sync) == (impl.HardState(2, 1, 1), True)
    assert ready.entries == ready.committed_entries == ready.messages == []
    member.node.propose(b"foo")
    ready = cycle(member)
    assert ready.soft_state == (1, impl.Role.LEADER)
    assert shape(ready.entries) == [(2, 2, b""), (3, 2, b"foo")]
    assert (ready.committed_entries, ready.must_sync) == ([], True)
    ready = cycle(member)
    assert (ready.hard_state, ready.must_sync) == (impl.HardState(2, 1, 3), False)
    assert shape(ready.committed_entries) == [(2, 2, b""), (3, 2, b"foo")]
    assert ready.entries == ready.messages == []
    assert not member.node.has_ready()


def test_raw_node_restart(impl: ModuleType) -> None:
    """What was committed is applied again; nothing is written, and what was not committed waits."""
    member = Full(impl, voters=(1,), terms=[1, 1], hard=(1, 0, 1))
    ready = cycle(member)
    assert is_quiet(ready)
    assert shape(ready.committed_entries) == [(1, 1, b"1.1")]
    assert not member.node.has_ready()


def test_raw_node_restart_from_snapshot(impl: ModuleType) -> None:
    """The same behind a snapshot, which itself is not handed over again."""
    log = impl._core.EntryLog(3, 1)
    log.py_append(1, b"foo")
    node = impl.RawNode(
        impl.Config(id=1),
        log=log,
        hard_state=impl.HardState(1, 0, 3),
        snapshot=impl.Snapshot(2, 1, conf(impl, (1, 2))),
    )
    ready = node.ready()
    assert is_quiet(ready)
    assert shape(ready.committed_entries) == [(3, 1, b"foo")]
    node.advance()
    assert not node.has_ready()
    assert node.status()["configuration"] == conf(impl, (1, 2))


@pytest.mark.parametrize(("first", "voters"), [(1, (1,)), (2, (1, 2, 3))])
def test_raw_node_commit_pagination_after_restart(impl: ModuleType, first: int, voters: tuple[int, ...]) -> None:
    """A budget below what is committed splits it without a gap, and the commit index does not fall back.

    For raft-rs's test_committed_entries_pagination_after_restart too, which begins behind a snapshot.
    """
    log = impl._core.EntryLog(first, 1 if first > 1 else 0)
    for _ in range(first, 11):
        log.py_append(1, b"a")
    size = (11 - first) * (HEADER + 1)
    log.py_append(1, b"boom")
    config = impl.Config(id=1, max_apply_bytes=size - 1)
    node = impl.RawNode(
        config, log=log, hard_state=impl.HardState(1, 1, 10), conf_state=conf(impl, voters), applied=first - 1
    )
    applied = list(range(first))[1:]
    batches = []
    commits = [10]
    for _ in range(20):
        if applied[-1:] == [11]:
            break
        ready = node.ready()
        if ready.hard_state is not None:
            commits.append(ready.hard_state.commit)
        batches.append(len(ready.committed_entries))
        applied += [entry.index for entry in ready.committed_entries]
        node.advance()
        node.step(impl.Message(MSG_HEARTBEAT, to=1, sender=2, term=1, commit=11))
    assert applied == list(range(1, 12))
    assert batches == [10 - first, 2]
    assert commits == [10, 11]


# --- output ---------------------------------------------------------------------------------------


def test_raw_node_status(impl: ModuleType) -> None:
    """Progress is told by a leader only; it is the tracker's."""
    member = Full(impl, voters=(1,))
    assert member.node.status()["progress"] == {}
    member.campaign()
    status = member.node.status()
    assert (status["lead"], status["role"]) == (1, LEADER)
    assert status["configuration"] == conf(impl, (1,))
    (progress,) = status["progress"].values()
    peers = member.tracker.peers
    for name in ("match", "next", "state"):
        assert [progress[name]] == list(peers.column(name)), name
    assert (progress["match"], progress["next"]) == (1, 2)


def test_raw_node_consume_ready(impl: ModuleType) -> None:
    """Asking whether there is something takes nothing; ready takes it; advance takes only what ready took."""
    leader = led(impl, 2, 3)
    leader.node.ping()
    assert leader.node.has_ready()
    assert leader.node.has_ready()
    assert len(leader.messages) == 2
    ready = leader.node.ready()
    assert kinds(ready.messages) == [MSG_HEARTBEAT] * 2
    assert len(leader.messages) == 0
    leader.node.propose(b"bar")
    assert len(leader.messages) == 2
    leader.node.advance()
    assert len(leader.messages) == 2
    ready = leader.node.ready()
    assert [(m.kind, m.entries[0].data) for m in ready.messages] == [(MSG_APP, b"bar")] * 2


def test_raw_node_bounded_log_growth_with_partition(impl: ModuleType) -> None:
    """What is proposed while nothing is committed is bounded; the bound is free again when it is applied."""
    most, data = 16, b"testdata"
    leader = led(impl, voters=(1,), max_uncommitted_bytes=most * len(data))
    dropped = 0
    for _ in range(1024):
        try:
            leader.node.propose(data)
        except impl.ProposalDropped:
            dropped += 1
    assert (dropped, leader.uncommitted_bytes) == (1024 - most, most * len(data))
    assert len(cycle(leader).entries) == most
    # Appended, but not applied.
    assert leader.uncommitted_bytes == most * len(data)
    ready = cycle(leader)
    assert (ready.entries, len(ready.committed_entries)) == ([], most)
    assert leader.uncommitted_bytes == 0


def test_bounded_uncommitted_entries_growth_with_partition(impl: ModuleType) -> None:
    """The same in small: one fits, a second does not, until the first is committed and applied."""
    leader = led(impl, voters=(1,), max_uncommitted_bytes=12)
    leader.node.propose(b"hello world!")
    with pytest.raises(impl.ProposalDropped):
        leader.node.propose(b"hello world!")
    leader.take()
    leader.node.propose(b"hello world!")
    assert len(leader.node.ready().entries) == 1


def test_committed_entries_pagination(impl: ModuleType) -> None:
    """The least budget hands over one entry, none at all the rest; a change of it counts at once."""
    member = behind_snapshot(impl, 1, 2, 3)
    message = impl.Message(MSG_APP, sender=3, term=1, index=1, log_term=1, commit=9, entries=entries(impl, 2, 9, 1))
    member.node.set_max_apply_bytes(1)
    member.node.step(message)
    ready = cycle(member)
    assert len(ready.entries) == 8
    assert [entry.index for entry in ready.committed_entries] == [2]
    assert member.node.has_ready()
    member.node.set_max_apply_bytes(NO_LIMIT)
    assert [entry.index for entry in cycle(member).committed_entries] == list(range(3, 10))
    assert not member.node.has_ready()
    # What is not durable is not handed over, when writes are asynchronous.
    slow = Slow(impl, terms=[1], max_apply_bytes=1)
    slow.append([1] * 8, index=1, log_term=1, sender=3, commit=9)
    assert [entry.index for m in slow.applies for entry in m.entries] == [1]
    slow.done()
    assert slow.applies == []
    slow.node.set_max_apply_bytes(NO_LIMIT)
    slow.written(len(slow.writes))
    assert [entry.index for m in slow.applies for entry in m.entries] == list(range(2, 10))


def test_raw_node_entries_after_snapshot(impl: ModuleType) -> None:
    """Entries that come behind a snapshot are written with it, and applied when it is there."""
    member = behind_snapshot(impl, 1, 2)
    sent = entries(impl, 2, 19, 2)
    member.node.step(impl.Message(MSG_APP, sender=2, term=2, index=1, log_term=1, commit=5, entries=sent))
    ready = cycle(member)
    assert (ready.soft_state, ready.hard_state) == ((2, impl.Role.FOLLOWER), impl.HardState(2, 0, 5))
    assert (shape(ready.entries), shape(ready.committed_entries)) == (shape(sent), shape(sent[:4]))
    assert (ready.must_sync, kinds(ready.messages)) == (True, [MSG_APP_RESP])
    snapshot = impl.Snapshot(10, 3, conf(impl, (1, 2)))
    member.node.step(impl.Message(MSG_SNAP, sender=2, term=3, snapshot=snapshot))
    sent = entries(impl, 11, 13, 3)
    member.node.step(impl.Message(MSG_APP, sender=2, term=3, index=10, log_term=3, commit=12, entries=sent))
    ready = cycle(member)
    assert (ready.snapshot, ready.hard_state) == (snapshot, impl.HardState(3, 0, 12))
    assert (shape(ready.entries), ready.committed_entries) == (shape(sent), [])
    assert (ready.must_sync, set(kinds(ready.messages))) == (True, {MSG_APP_RESP})
    ready = cycle(member)
    assert shape(ready.committed_entries) == shape(sent[:2])
    assert is_quiet(ready)


def test_raw_node_overwrite_entries(impl: ModuleType) -> None:
    """Entries of a new leader replace durable ones; they are applied when they are durable, not the old ones."""
    member = behind_snapshot(impl, 1, 2, 3)
    old = entries(impl, 2, 4, 2)
    member.node.step(impl.Message(MSG_APP, sender=2, term=2, index=1, log_term=1, commit=1, entries=old))
    ready = cycle(member)
    assert (ready.soft_state, ready.hard_state) == ((2, impl.Role.FOLLOWER), impl.HardState(2, 0, 1))
    assert (shape(ready.entries), ready.committed_entries, kinds(ready.messages)) == (shape(old), [], [MSG_APP_RESP])
    new = entries(impl, 4, 6, 3)
    member.node.step(impl.Message(MSG_APP, sender=3, term=3, index=3, log_term=2, commit=5, entries=new))
    ready = cycle(member)
    assert (ready.soft_state, ready.hard_state) == ((3, impl.Role.FOLLOWER), impl.HardState(3, 0, 5))
    assert (shape(ready.entries), kinds(ready.messages)) == (shape(new), [MSG_APP_RESP])
    assert shape(ready.committed_entries) == shape(old[:2] + new[:2])
    assert not member.node.has_ready()
    # With asynchronous writes the old ones that stay are applied at once, the new ones after their write.
    slow = Slow(impl, terms=[1])
    slow.append([2, 2, 2], index=1, log_term=1, term=2, commit=1)
    slow.settle()
    slow.append([3, 3, 3], index=3, log_term=2, sender=3, term=3, commit=5)
    slow.done(len(slow.applies))
    assert [(entry.index, entry.term) for entry in slow.applied] == [(1, 1), (2, 2), (3, 2)]
    slow.written()
    slow.done()
    assert [(entry.index, entry.term) for entry in slow.applied[3:]] == [(4, 3), (5, 3)]
