"""RawNode as its caller sees it, Ready by Ready: counterparts of the two ancestors' raw node tests.

etcd's channel Node gives its caller the same Readys, so its tests about them are here too; what a Node does by itself
is in test_counterparts_node.py, limits are in test_counterparts_pages.py, asynchronous writes in
test_counterparts_async.py. Nothing here uses threads, clocks, disks or sockets.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    CANDIDATE,
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    FOLLOWER,
    LEADER,
    MESSAGE_NAMES,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    PROBE,
    TRANSITION_AUTO,
    TRANSITION_EXPLICIT,
    TRANSITION_IMPLICIT,
)
from tests.helpers.core_net import Member, Network, only
from tests.helpers.implementations import module

QUIET: dict[str, Any] = {"pre_vote": False, "check_quorum": False, "seed": 7}


class Host:
    """A RawNode and its disk, one Ready at a time. ``memberships`` are those that applied changes led to."""

    def __init__(self, impl: ModuleType, voters: tuple[int, ...] = (1,)) -> None:
        conf_state = impl.ConfState(voters=voters)
        self.node = impl.RawNode(impl.Config(id=1, **QUIET), conf_state=conf_state)
        self.disk: list[Any] = []
        self.memberships: list[Any] = []
        self.cycles = 0

    def cycle(self) -> Any:
        """One Ready, persisted, applied and advanced."""
        self.cycles += 1
        assert self.cycles < 100, "what the test waits for does not come"
        ready = self.node.ready()
        self.disk += ready.entries
        for entry in ready.committed_entries:
            if entry.kind != ENTRY_NORMAL:
                self.before_change()
                self.memberships.append(self.node.apply_conf_change(entry))
        self.node.advance()
        return ready

    def before_change(self) -> None:
        """What happens right before a change is applied."""

    def lead(self) -> None:
        """Campaign; the Readys end with the one that tells of the leadership."""
        self.node.campaign()
        while self.cycle().soft_state != (1, LEADER):
            pass


def facts(entries: list[Any]) -> list[tuple[int, int, bytes]]:
    """Index, term and data of entries."""
    return [(entry.index, entry.term, entry.data) for entry in entries]


# --- what is stepped ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(set(MESSAGE_NAMES) - {32}), ids=lambda kind: MESSAGE_NAMES[kind])
def test_raw_node_step(impl: ModuleType, kind: int) -> None:
    """What only the node itself may produce is refused; anything else, even empty, does no harm.

    Beyond the ancestors' list raftx refuses a request to forget the leader (RawNode has a method for it), and a
    message that is to bring a snapshot and does not.
    """
    types = module(impl, "types")
    snapshot = impl.Snapshot(1, 1, impl.ConfState(voters=(1,)))
    node = impl.RawNode(impl.Config(id=1, **QUIET), hard_state=impl.HardState(1, 0, 1), snapshot=snapshot)
    before = node.status()
    message = impl.Message(kind)
    if kind in types.LOCAL_KINDS:
        with pytest.raises(impl.StepLocalMessage):
            node.step(message)
    elif kind in types.RESPONSE_KINDS:
        with pytest.raises(impl.UnknownPeer):
            node.step(message)
    elif kind == MSG_PROP:
        with pytest.raises(impl.ProposalDropped):
            node.step(message)
    elif kind == MSG_SNAP:
        with pytest.raises(impl.FrameError):
            node.step(message)
    else:
        node.step(message)
    after = node.status()
    # "Campaign now" is taken at its word.
    assert (after["term"], after["commit"], after["last"]) == (2 if kind == MSG_TIMEOUT_NOW else 1, 1, 1)
    if kind in types.LOCAL_KINDS | types.RESPONSE_KINDS | {MSG_SNAP, MSG_PROP}:
        assert after == before


def test_raw_node_read_index_to_old_leader(impl: ModuleType) -> None:
    """Two requests reach a leader that was replaced meanwhile: it passes them on to the new one, without a term.

    Who asked stays its sender. It is the hint too, because in a frame the sender is who passes a message on.
    """
    network = Network(impl, 3)
    network.campaign(1)
    requests = []
    for id in (2, 3):
        network[id].node.read_index(b"testdata")
        (request,) = network[id].take()
        assert (request.kind, request.to, request.sender, request.hint) == (MSG_READ_INDEX, 1, id, id)
        assert (request.term, request.entries[0].data) == (0, b"testdata")
        requests.append(request)
    network.campaign(3)
    assert network.roles() == "FFL"
    for request in requests:
        network[1].receive(request)
    assert [(m.kind, m.to, m.sender, m.hint, m.term, m.entries[0].data) for m in network[1].take()] == [
        (MSG_READ_INDEX, 3, 2, 2, 0, b"testdata"),
        (MSG_READ_INDEX, 3, 3, 3, 0, b"testdata"),
    ]


# --- changes of membership ------------------------------------------------------------------------

LEARNER_2 = {"voters": (1,), "learners": (2,)}
JOINT_LEARNER_2 = {**LEARNER_2, "voters_outgoing": (1,)}
SWAPPED = {"voters": (2,), "voters_outgoing": (1,), "learners": (3,), "learners_next": (1,)}
SWAPPED_LEFT = {"voters": (2,), "learners": (1, 3)}


@pytest.mark.parametrize(
    ("text", "transition", "v1", "found", "left"),
    [
        ("v2", TRANSITION_AUTO, True, {"voters": (1, 2)}, None),
        # The same in the new kind of entry is as simple.
        ("v2", TRANSITION_AUTO, False, {"voters": (1, 2)}, None),
        ("l2", TRANSITION_AUTO, False, LEARNER_2, None),
        # A joint configuration when one asks for it ...
        ("l2", TRANSITION_EXPLICIT, False, JOINT_LEARNER_2, LEARNER_2),
        ("l2", TRANSITION_IMPLICIT, False, {**JOINT_LEARNER_2, "auto_leave": True}, LEARNER_2),
        # ... and where it has to be: 1 becomes a learner when the old half is left.
        ("v2 l1 l3", TRANSITION_AUTO, False, {**SWAPPED, "auto_leave": True}, SWAPPED_LEFT),
        ("v2 l1 l3", TRANSITION_EXPLICIT, False, SWAPPED, SWAPPED_LEFT),
        ("v2 l1 l3", TRANSITION_IMPLICIT, False, {**SWAPPED, "auto_leave": True}, SWAPPED_LEFT),
    ],
)
def test_raw_node_propose_and_conf_change(
    impl: ModuleType, text: str, transition: int, v1: bool, found: dict[str, Any], left: dict[str, Any] | None
) -> None:
    """A change is written as it was proposed and applied; a joint one is left by itself or by a proposal."""
    host = Host(impl)
    host.lead()
    change = impl.ConfChange.parse(text, transition, v1)
    host.node.propose(b"somedata")
    host.node.propose_conf_change(change)
    while not host.memberships:
        host.cycle()
    assert host.memberships == [impl.ConfState(**found)]

    # The change is the last entry on disk, byte for byte.
    data, entry = host.disk[-2:]
    assert (data.data, entry.data) == (b"somedata", change.encode())
    assert entry.kind == (ENTRY_CONF_CHANGE if v1 else ENTRY_CONF_CHANGE_V2)
    # The entry that leaves is in the log at once, but not on disk.
    auto_leave = found.get("auto_leave", False)
    assert host.node.status()["pending_conf_index"] == entry.index + auto_leave

    context = b""
    ready = host.node.ready()
    if not auto_leave:
        assert ready.entries == []
        if left is None:
            return
        host.node.advance()
        context = b"manual"
        host.node.propose_conf_change(impl.ConfChange(context=context))
        ready = host.node.ready()
    (entry,) = ready.entries
    assert entry.kind == ENTRY_CONF_CHANGE_V2
    change = impl.ConfChange.decode(entry.data)
    assert change == impl.ConfChange(context=context)
    # It would need both halves to be committed, and nobody else is there: apply it all the same.
    assert left is not None
    assert host.node.apply_conf_change(change) == impl.ConfState(**left)


def test_raw_node_joint_auto_leave(impl: ModuleType) -> None:
    """A leader that loses office while it applies a joint change leaves it once it leads again."""
    host = Host(impl)
    node = host.node
    host.before_change = lambda: node.step(  # type: ignore[method-assign]
        impl.Message(MSG_HEARTBEAT_RESP, to=1, sender=1, term=node.core.term + 1)
    )
    host.lead()
    change = impl.ConfChange.parse("l2", TRANSITION_IMPLICIT)
    node.propose(b"somedata")
    node.propose_conf_change(change)
    while not host.memberships:
        host.cycle()
    assert [(entry.data, entry.kind) for entry in host.disk[-2:]] == [
        (b"somedata", ENTRY_NORMAL),
        (change.encode(), ENTRY_CONF_CHANGE_V2),
    ]
    assert host.memberships == [impl.ConfState(**JOINT_LEARNER_2, auto_leave=True)]
    assert (node.core.role, node.status()["pending_conf_index"]) == (FOLLOWER, 0)
    # A follower does not leave it.
    assert host.cycle().entries == []
    assert not node.has_ready()

    host.lead()
    entries: list[Any] = []
    while not entries:
        entries = [entry for entry in host.cycle().entries if entry.kind != ENTRY_NORMAL]
    (entry,) = entries
    assert (entry.kind, impl.ConfChange.decode(entry.data)) == (ENTRY_CONF_CHANGE_V2, impl.ConfChange())
    assert host.node.apply_conf_change(impl.ConfChange()) == impl.ConfState(**LEARNER_2)


def test_raw_node_propose_add_duplicate_node(impl: ModuleType) -> None:
    """Adding the same member twice is no hindrance to adding another one."""
    host = Host(impl)
    host.lead()
    one, two = impl.ConfChange.parse("v1", v1=True), impl.ConfChange.parse("v2", v1=True)
    applied: list[Any] = []
    for number, change in enumerate((one, one, two), 1):
        host.node.propose_conf_change(change)
        while len(host.memberships) < number:
            applied += host.cycle().committed_entries
    assert [entry.data for entry in applied] == [b"", one.encode(), one.encode(), two.encode()]
    assert [entry.data for entry in host.disk[-3:]] == [one.encode(), one.encode(), two.encode()]
    assert [state.voters for state in host.memberships] == [(1,), (1,), (1, 2)]


def test_raw_node_propose_add_learner_node(impl: ModuleType) -> None:
    """Applying the change returns the membership with the learner; the voters stay."""
    host = Host(impl)
    assert not host.node.has_ready()
    ready = host.cycle()
    assert (ready.soft_state, ready.hard_state, ready.entries, ready.must_sync) == (None, None, [], False)
    host.lead()
    host.node.propose_conf_change(impl.ConfChange.parse("l2", v1=True))
    kinds: list[int] = []
    while not host.memberships:
        kinds += [entry.kind for entry in host.cycle().committed_entries]
    assert kinds == [ENTRY_NORMAL, ENTRY_CONF_CHANGE]
    assert host.memberships == [impl.ConfState(voters=(1,), learners=(2,))]


def test_node_propose_config(impl: ModuleType) -> None:
    """A change that is proposed reaches the log as it is."""
    host = Host(impl)
    host.lead()
    host.cycle()
    change = impl.ConfChange.parse("v1", v1=True)
    host.node.propose_conf_change(change)
    ready = host.node.ready()
    assert [(entry.kind, entry.data) for entry in ready.entries] == [(ENTRY_CONF_CHANGE, change.encode())]


# --- reads ----------------------------------------------------------------------------------------


def test_raw_node_read_index(impl: ModuleType) -> None:
    """What a read may be done at is in the next Ready, once; without an answer of a quorum the request waits."""
    # An answer that a leader has sent.
    follower = Host(impl, (1, 2))
    follower.node.step(impl.Message(MSG_HEARTBEAT, to=1, sender=2, term=1))
    follower.cycle()
    answer = impl.Message(MSG_READ_INDEX_RESP, to=1, sender=2, term=1, index=1, entries=[impl.Entry(0, 0, b"somedata")])
    follower.node.step(answer)
    assert follower.node.has_ready()
    assert follower.cycle().read_states == [impl.ReadState(1, b"somedata")]
    assert not follower.node.has_ready()

    # A leader that is alone answers itself.
    single = Host(impl)
    single.lead()
    single.cycle()
    single.node.read_index(b"somedata")
    assert single.node.has_ready()
    assert single.cycle().read_states == [impl.ReadState(1, b"somedata")]
    assert not single.node.has_ready()

    # Another one asks the others: the request has reached the core.
    member = Member(impl, 1, (1, 2))
    member.lead_with(2)
    member.acknowledge(2)
    member.node.read_index(b"somedata2")
    assert member.node.status()["unconfirmed_reads"] == 1
    assert [m.to for m in only(member.take(), MSG_HEARTBEAT)] == [2]


# --- start and restart ----------------------------------------------------------------------------


def test_raw_node_start(impl: ModuleType) -> None:
    """A member that begins with a snapshot has nothing to do; alone it leads, and commits with what it has written."""
    snapshot = impl.Snapshot(1, 1, impl.ConfState(voters=(1,)))
    node = impl.RawNode(impl.Config(id=1, **QUIET), hard_state=impl.HardState(1, 0, 1), snapshot=snapshot)
    assert not node.has_ready()
    node.campaign()
    ready = node.ready()
    assert (ready.hard_state, ready.entries, ready.must_sync) == (impl.HardState(2, 1, 1), [], True)
    node.advance()
    node.propose(b"foo")
    written = [(2, 2, b""), (3, 2, b"foo")]
    ready = node.ready()
    assert (facts(ready.entries), ready.committed_entries, ready.must_sync) == (written, [], True)
    assert ready.soft_state == (1, LEADER)
    node.advance()
    # Only applied now: no sync.
    ready = node.ready()
    assert (ready.hard_state, ready.entries, ready.must_sync) == (impl.HardState(2, 1, 3), [], False)
    assert (facts(ready.committed_entries), ready.messages, ready.snapshot) == (written, [], None)
    node.advance()
    assert not node.has_ready()


def test_node_start(impl: ModuleType) -> None:
    """A group that is bootstrapped begins with the entries that add its members, committed from the start."""
    node = impl.RawNode(impl.Config(id=1, **QUIET))
    node.bootstrap([1])
    change = impl.ConfChange.parse("v1", v1=True)
    ready = node.ready()
    assert facts(ready.entries) == facts(ready.committed_entries) == [(1, 1, change.encode())]
    assert [entry.kind for entry in ready.entries] == [ENTRY_CONF_CHANGE]
    assert (ready.hard_state, ready.must_sync) == (impl.HardState(1, 0, 1), True)
    node.apply_conf_change(ready.committed_entries[0])
    node.advance()

    node.campaign()
    for _ in range(2):  # its vote, then the empty entry
        node.ready()
        node.advance()
    node.propose(b"foo")
    ready = node.ready()
    assert (ready.hard_state, ready.must_sync) == (impl.HardState(2, 1, 2), True)
    assert (facts(ready.entries), facts(ready.committed_entries)) == ([(3, 2, b"foo")], [(2, 2, b"")])
    node.advance()
    ready = node.ready()
    assert (ready.hard_state, ready.must_sync) == (impl.HardState(2, 1, 3), False)
    assert (ready.entries, facts(ready.committed_entries)) == ([], [(3, 2, b"foo")])
    node.advance()
    assert not node.has_ready()


def restarted(impl: ModuleType, entries: list[Any], commit: int, first: int = 1, **settings: Any) -> Any:
    """A RawNode that finds these entries in its storage; term 1."""
    log = impl._core.EntryLog(first, 1) if first > 1 else impl._core.EntryLog()
    log.py_extend(entries)
    return impl.RawNode(impl.Config(id=1, **QUIET), log=log, hard_state=impl.HardState(1, 0, commit), **settings)


def check_restart(node: Any, applied: list[Any]) -> None:
    """The first Ready applies what was committed, writes and sends nothing; there is no other one."""
    ready = node.ready()
    assert facts(ready.committed_entries) == facts(applied)
    assert (ready.hard_state, ready.soft_state, ready.snapshot, ready.must_sync) == (None, None, None, False)
    assert ready.entries == ready.messages == ready.read_states == []
    node.advance()
    assert not node.has_ready()


def test_raw_node_restart(impl: ModuleType) -> None:
    """What was committed is applied again; nothing is written."""
    entries = [impl.Entry(1, 1, b""), impl.Entry(2, 1, b"foo")]
    node = restarted(impl, entries, 1, conf_state=impl.ConfState(voters=(1,)))
    check_restart(node, entries[:1])


def test_raw_node_restart_from_snapshot(impl: ModuleType) -> None:
    """What is committed behind the snapshot is applied; nothing is written."""
    entries = [impl.Entry(3, 1, b"foo")]
    node = restarted(impl, entries, 3, 3, snapshot=impl.Snapshot(2, 1, impl.ConfState(voters=(1, 2))))
    check_restart(node, entries)


# --- Readys ---------------------------------------------------------------------------------------


def test_raw_node_status(impl: ModuleType) -> None:
    """Only a leader has progress to show: what its tracker has; the membership is there in any role."""
    host = Host(impl)
    assert host.node.status()["progress"] == {}
    assert host.node.status()["configuration"] == impl.ConfState(voters=(1,))
    host.lead()
    status = host.node.status()
    assert (status["lead"], status["role"]) == (1, LEADER)
    assert status["configuration"] == impl.ConfState(voters=(1,))
    assert list(status["progress"]) == [1]
    own = status["progress"][1]
    peers = host.node.core.tracker.peers
    names = ("match", "next", "state", "sent_commit", "pending_snapshot", "commit_group")
    assert {name: own[name] for name in names} == {name: peers.column(name)[0] for name in names}
    assert (own["match"], own["next"], own["recent_active"], own["learner"]) == (1, 2, True, False)
    assert own["state"] != PROBE


def test_raw_node_consume_ready(impl: ModuleType) -> None:
    """Asking whether there is something leaves it in place, a Ready takes it, ``advance`` drops nothing newer."""
    node = Host(impl, (1, 2)).node

    def beat(context: int) -> None:
        node.step(impl.Message(MSG_HEARTBEAT, to=1, sender=2, term=1, context=context))

    beat(1)
    for _ in range(2):
        assert node.has_ready()
        assert [m.context for m in node.core.messages.messages()] == [1]
    ready = node.ready()
    assert [(m.kind, m.context) for m in ready.messages] == [(MSG_HEARTBEAT_RESP, 1)]
    assert len(node.core.messages) == 0
    beat(2)
    node.advance()
    assert [m.context for m in node.core.messages.messages()] == [2]
    assert [m.context for m in node.ready().messages] == [2]


def test_node_advance(impl: ModuleType) -> None:
    """After ``advance`` what was written is committed, and there is a Ready to apply it; before it there is none."""
    host = Host(impl)
    host.lead()
    host.node.propose(b"foo")
    ready = host.node.ready()
    assert [entry.data for entry in ready.entries] == [b"foo"]
    with pytest.raises(impl.UsageError):
        host.node.ready()
    host.node.advance()
    assert host.node.has_ready()
    assert [entry.data for entry in host.node.ready().committed_entries] == [b"foo"]


@pytest.mark.parametrize(
    ("act", "soft"),
    [
        ("nothing", None),
        ("leader", (2, FOLLOWER)),
        ("role", (0, CANDIDATE)),
    ],
)
def test_soft_state_equal(impl: ModuleType, act: str, soft: tuple[int, int] | None) -> None:
    """A Ready has a soft state when the leader or the role differ from the last one."""
    node = Host(impl, (1, 2)).node
    if act == "leader":
        node.step(impl.Message(MSG_HEARTBEAT, to=1, sender=2))
    elif act == "role":
        node.campaign()
    assert node.ready().soft_state == soft
    node.advance()
    assert node.ready().soft_state is None


@pytest.mark.parametrize(
    ("kind", "fields", "hard"),
    [
        (MSG_HEARTBEAT, {"term": 1}, None),
        (MSG_VOTE, {"term": 1, "index": 1, "log_term": 1}, (1, 2, 0)),
        (MSG_HEARTBEAT, {"term": 1, "commit": 1}, (1, 0, 1)),
        (MSG_HEARTBEAT, {"term": 2}, (2, 0, 0)),
    ],
)
def test_is_hard_state_equal(
    impl: ModuleType, kind: int, fields: dict[str, int], hard: tuple[int, int, int] | None
) -> None:
    """A Ready has a hard state when term, vote or commit index differ from the last one."""
    node = Member(impl, terms=[1], hard=(1, 0, 0)).node
    assert impl.HardState() == impl.HardState(0, 0, 0)
    assert all([impl.HardState(*values) != impl.HardState() for values in ((1, 0, 0), (0, 1, 0), (0, 0, 1))])
    node.step(impl.Message(kind, to=1, sender=2, **fields))
    assert node.ready().hard_state == (None if hard is None else impl.HardState(*hard))
    node.advance()
    assert node.ready().hard_state is None


# --- settings -------------------------------------------------------------------------------------


def test_skip_bcast_commit(impl: ModuleType) -> None:
    """Followers learn the commit index with the next heartbeat or append; of a pending change they learn at once."""
    network = Network(impl, 3, skip_bcast_commit=True)

    def committed() -> list[int]:
        return [member.committed for member in network.members.values()]

    network.campaign(1)
    network.propose(1, b"testdata")
    assert committed() == [2, 1, 1]
    network.tick(1, network[1].randomized_timeout)
    assert committed() == [2, 2, 2]
    network[1].node.set_skip_bcast_commit(False)
    network.propose(1, b"testdata")
    assert committed() == [3, 3, 3]
    network[1].node.set_skip_bcast_commit(True)
    for _ in range(2):
        network.propose(1, b"testdata")
    assert committed() == [5, 4, 4]
    network.change(1, "r3")
    assert committed() == [6, 6, 6]


def test_set_priority(impl: ModuleType) -> None:
    """The core has the priority that was set last."""
    node = Host(impl).node
    for priority in (0, 1, 5, 10, 10000):
        node.set_priority(priority)
        assert node.core.priority == priority


def test_disable_proposal_forwarding(impl: ModuleType) -> None:
    """A follower passes a proposal on, unless it is told not to: then it is dropped, and the proposer knows."""
    network = Network(impl, 3)
    network.members[3] = Member(impl, 3, forward_proposals=False)
    network.campaign(1)
    assert network.roles() == "LFF"
    (passed,) = network[2].propose(b"testdata")
    assert (passed.kind, passed.to, passed.entries[0].data) == (MSG_PROP, 1, b"testdata")
    with pytest.raises(impl.ProposalDropped):
        network[3].propose(b"testdata")
    assert network[3].take() == []
