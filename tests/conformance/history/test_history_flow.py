"""Regression tests for what went wrong in other Raft implementations, 50 to 54 and 61 to 63: flow control, limits,
what arrives and what does not leave. See HISTORY.md."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    FLAG_REJECT,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_READ_INDEX,
    MSG_SNAP,
    MSG_STORAGE_APPEND_RESP,
    MSG_VOTE,
    PROBE,
    REPLICATE,
    TRANSITION_IMPLICIT,
)
from tests.helpers.cluster import Cluster, Machine
from tests.helpers.core_net import FullMember, Network, leader, only
from tests.helpers.implementations import module
from tests.helpers.meetings import befriend
from tests.helpers.waiting import WAIT, eventually

KIB = 1024

# --- windows -------------------------------------------------------------------------------------


def test_bytes_in_flight_are_given_back_whatever_ends_the_window(impl: ModuleType) -> None:
    """History 50: the count of bytes in flight was kept when a window was emptied, until nothing could be sent."""
    member = leader(impl, 2, 3, max_message_bytes=KIB, max_inflight_bytes=4 * KIB)
    for round in range(6):
        for _ in range(4):
            member.propose(bytes(KIB))
        assert member.progress(3)["inflight_bytes"] == 4 * KIB and member.progress(3)["inflight_full"]
        if round % 3 == 0:
            member.node.report_unreachable(3)
        elif round % 3 == 1:
            # The refusal of an append that was lost.
            member.step(MSG_APP_RESP, 3, index=member.log.last, hint=member.progress(3)["match"], reject=True)
        else:
            # Another leadership begins with empty windows.
            member.step(MSG_HEARTBEAT, 2, term=member.term + 1)
            member.lead_with(2)
        assert member.progress(3)["inflight"] == [] and member.progress(3)["inflight_bytes"] == 0
        member.acknowledge(2)
        member.acknowledge(3)
        assert member.progress(3)["state"] == REPLICATE and member.progress(3)["inflight_bytes"] == 0


def test_bytes_in_flight_go_with_their_member(impl: ModuleType) -> None:
    """History 50: ... or stayed with a slot that another member took."""
    member = FullMember(impl, 1, (1, 2, 3))
    member.lead_with(2)
    member.acknowledge(2)
    member.acknowledge(3)
    member.propose(bytes(KIB))
    member.node.apply_conf_change(impl.ConfChange.parse("r2"))
    assert member.progress(3)["inflight_bytes"] == KIB
    member.node.apply_conf_change(impl.ConfChange.parse("v2"))
    assert (member.progress(2)["inflight_bytes"], member.progress(3)["inflight_bytes"]) == (0, KIB)
    member.acknowledge(3)
    assert member.progress(3)["inflight_bytes"] == 0


def test_a_full_window_is_never_passed_and_heals_when_all_of_it_is_lost(impl: ModuleType) -> None:
    """History 51: heartbeats let more out of a full window; or nothing any more when all in it was lost."""
    network = Network(impl, 3, max_inflight_messages=2, max_message_bytes=0)
    network.campaign(1)
    one = network[1]
    network.loses = lambda m: m.to == 3 and m.kind == MSG_APP
    for _ in range(9):
        network.propose(1, b"x")
    for _ in range(5):
        network.sent.clear()
        network.tick(1)
        assert len(one.progress(3)["inflight"]) == 2
        # Prompted by a heartbeat's answer, only an empty append goes out: it provokes a refusal.
        assert [len(m.entries) for m in only(network.sent, MSG_APP, 3)] == [0]
    network.heal()
    network.tick(1)
    assert network.agree() and len(network[3].data) == 9


def test_the_window_holds_after_each_answer(impl: ModuleType) -> None:
    """History 51: ... as did acknowledgements that freed one place and let several messages go."""
    member = leader(impl, 2, 3, max_inflight_messages=3, max_message_bytes=0)
    for _ in range(10):
        member.propose()
    for index in range(2, 12):
        sent = only(member.acknowledge(3, index), MSG_APP, 3)
        assert len([m for m in sent if m.entries]) <= 1
        assert len(member.progress(3)["inflight"]) == min(3, 11 - index)


# --- what is not committed ---------------------------------------------------------------------------


def test_the_first_entry_of_a_term_and_leaving_a_joint_configuration_are_never_refused(impl: ModuleType) -> None:
    """History 52: with too many bytes uncommitted a leader refused its own empty entry, or to leave a joint config."""
    cap = {"max_entry_bytes": 8, "max_uncommitted_bytes": 8}
    member = FullMember(impl, 1, (1, 2, 3), **cap)
    member.lead_with(2)
    member.acknowledge(2)
    member.acknowledge(3)
    member.node.propose_conf_change(impl.ConfChange.parse("v2", TRANSITION_IMPLICIT))
    member.take()
    # 11 bytes: one always fits, and nothing more.
    with pytest.raises(impl.ProposalDropped, match="not committed yet"):
        member.propose(b"x")
    member.step(MSG_APP_RESP, 2, index=2)
    member.propose(bytes(8))
    with pytest.raises(impl.ProposalDropped):
        member.propose(b"x")
    assert member.log.entries(3, 3)[0].kind == impl.ConfChange().entry_kind
    # A new term begins at the cap, with everything uncommitted from the one before.
    member.step(MSG_HEARTBEAT, 3, term=2)
    member.lead_with(2, 3)
    assert member.terms[-1] == 3 and member.uncommitted_bytes == 0
    member.acknowledge(2)
    member.acknowledge(3)
    assert member.committed == member.log.last and member.uncommitted_bytes == 0
    member.propose(bytes(8))


def test_what_was_counted_in_another_term_is_not_given_back_twice(impl: ModuleType) -> None:
    """History 52: ... and across leaderships the count went wrong: below zero, or never back to it."""
    member = leader(impl, 2, 3, max_entry_bytes=8, max_uncommitted_bytes=16)
    for term in range(2, 8, 2):
        member.propose(bytes(8))
        member.propose(bytes(8))
        with pytest.raises(impl.ProposalDropped):
            member.propose(b"x")
        # Deposed with both uncommitted, and elected again: they are committed by its new term.
        member.step(MSG_HEARTBEAT, 3, term=member.term + 1)
        member.lead_with(2)
        assert member.uncommitted_bytes == 0 and member.term > term
        member.propose(bytes(8))
        member.acknowledge(2)
        assert member.committed == member.log.last and member.uncommitted_bytes == 0


def test_a_commit_index_is_learned_without_new_proposals(impl: ModuleType) -> None:
    """History 54: a follower that missed the news of a commit heard it with the next proposal only."""
    network = Network(impl, 3)
    network.campaign(1)
    network.loses = lambda m: m.to == 3 and m.commit >= 2
    network.propose(1, b"x")
    assert network[3].log.last == 2 and network[3].committed == 1
    network.heal()
    network.tick(1)
    assert network.agree() and network[3].data == [b"x"]


# --- what arrives ----------------------------------------------------------------------------------


def test_no_message_from_the_wire_ends_a_node(impl: ModuleType) -> None:
    """History 61: a message of another cluster, or with impossible contents, ended the process."""
    config = impl.Config(id=1, tick_ms=5, election_ticks=1000, seed=1)
    network = impl.MemoryNetwork()
    codec = module(impl, "_core").Codec
    peer, stranger = codec(config.cluster, 2, 1), codec(b"another cluster!", 2, 1)
    message = impl.Message
    snapshot = impl.Snapshot(9, 1, impl.ConfState(voters=(7,)), b"")
    entry = impl.Entry(1, 1, b"x")
    change = impl.Entry(1, 1, b"no change of membership", 2)
    whole = peer.encode(1, [message(MSG_APP, term=1, entries=[entry])])
    term = 64 + 16  # where the first message of a frame has its term
    frames = [
        b"",
        b"x" * 63,
        whole[:-1],
        whole[:-1] + bytes([whole[-1] ^ 1]),
        whole[:term] + b"\x09" + whole[term + 1 :],
        stranger.encode(1, [message(MSG_VOTE, term=9)]),
        peer.encode(3, [message(MSG_VOTE, term=9)]),
        peer.encode(1, [message(MSG_STORAGE_APPEND_RESP, index=9)]),
        # What has a right frame, but no place in a node, or no sense.
        peer.encode(1, [message(MSG_SNAP, term=1, snapshot=snapshot)]),
        peer.encode(1, [message(MSG_READ_INDEX, entries=[impl.Entry(0, 0, b"read")])]),
        peer.encode(1, [message(MSG_APP, term=1, entries=[change])]),
        codec(config.cluster, 99, 1).encode(1, [message(MSG_APP_RESP, term=0, index=5)]),
        peer.encode(1, [message(MSG_APP_RESP, term=0, index=10**9, flags=FLAG_REJECT, hint=10**9)]),
        peer.encode(1, [message(MSG_HEARTBEAT_RESP, term=0, context=77)]),
    ]
    sender = network.transport()
    sender.start(2, lambda frame: None)
    with impl.Node(config, impl.MemoryStorage(voters=[1, 2, 3]), network.transport(), Machine()) as node:
        befriend(impl, node, lambda frame: sender.send(1, frame), (2, 3))
        for frame in frames:
            sender.send(1, frame)
        sender.send(1, peer.encode(1, [message(MSG_VOTE, term=2)]))
        # It is well, and none of it has left a trace but in the counters.
        eventually(lambda: node.term == 2)
        status = node.status()
        assert node.failure is None and (status.last, status.vote) == (0, 2)
        assert {name: n for name, n in status.frames_rejected.items() if n} == {
            "short": 2,
            "length": 1,
            "records": 1,
            "checksum": 1,
            "cluster": 1,
            "recipient": 1,
            "kind": 1,
        }
        assert status.messages_unserved == 2
        assert status.messages_refused["term"] == 3
    sender.close()


def test_nobody_but_a_node_itself_speaks_for_its_disk(impl: ModuleType) -> None:
    """History 61: ... or what only a node may tell itself was taken from outside."""
    member = leader(impl, 2)
    member.propose()
    before = member.node.status()
    for kind in sorted(module(impl, "types").LOCAL_KINDS):
        with pytest.raises(impl.StepLocalMessage):
            member.step(kind, 3, index=2, log_term=1)
    for kind in (MSG_APP_RESP, MSG_HEARTBEAT_RESP):
        with pytest.raises(impl.UnknownPeer):
            member.step(kind, 99, index=2)
    assert member.node.status() == before


# --- what does not leave -----------------------------------------------------------------------------


class Valve:
    """A transport of a MemoryNetwork whose sending can be stopped; what cannot be sent is refused or waits."""

    def __init__(self, network: Any) -> None:
        self.inner = network.transport()
        self.max_frame_bytes = 1 << 30
        self.largest = 0
        self.refuses = False
        self.opened = threading.Event()
        self.opened.set()
        self.start = self.inner.start

    def send(self, to: int, frame: bytes) -> bool:
        self.largest = max(self.largest, len(frame))
        assert self.opened.wait(WAIT)
        sent: bool = not self.refuses and self.inner.send(to, frame)
        return sent

    def close(self) -> None:
        self.opened.set()
        self.inner.close()


class ValveCluster(Cluster):
    """A Cluster whose transports are Valves."""

    def __init__(self, impl: ModuleType, **settings: Any) -> None:
        self.valves: dict[int, Valve] = {}
        self.limit = settings.pop("limit", 1 << 30)
        super().__init__(impl, 3, **settings)

    def start(self, id: int) -> Any:
        self.valves[id] = Valve(self.network)
        self.valves[id].max_frame_bytes = self.limit
        self.machines[id] = Machine()
        config = self.impl.Config(id=id, seed=id, **self.settings)
        node = self.impl.Node(config, self.storages[id], self.valves[id], self.machines[id])
        self.nodes[id] = node.start()
        return node


@pytest.mark.slow
def test_a_full_queue_of_a_follower_ends_its_proposals_as_not_done(impl: ModuleType) -> None:
    """History 62: what a bounded queue dropped was dropped in silence: proposals hung."""
    made = ValveCluster(impl, max_inflight_bytes=1 << 20, proposal_timeout_ms=1000, election_ticks=1000)
    try:
        # Nobody campaigns by itself within ten seconds, and the first time not everybody need be there.
        eventually(lambda: made.nodes[1].campaign().exception(timeout=WAIT) is None)
        first = made.leader()
        follower = made.nodes[2 if first.id != 2 else 3]
        eventually(lambda: follower.leader_id == first.id)
        valve = made.valves[follower.id]
        valve.opened.clear()
        # The queue takes 10 MiB.
        futures = [follower.propose(bytes(1 << 20)) for _ in range(14)]
        refused = eventually(lambda: [f for f in futures if f.done() and isinstance(f.exception(0), impl.NotDone)])
        for future in refused:
            with pytest.raises(impl.NotDone, match="cannot be reached"):
                future.result(timeout=WAIT)
        assert follower.status().frames_dropped > 0
        valve.opened.set()
        # All of them end, and the follower goes on in spite of the gap.
        for future in futures:
            assert isinstance(future.exception(timeout=WAIT), (type(None), impl.ProposalError))
        eventually(lambda: follower.propose(b"afterwards").exception(timeout=WAIT) is None)
    finally:
        made.close()


def test_a_frame_that_a_transport_refuses_is_reported_to_the_core(impl: ModuleType) -> None:
    """History 62: ... and the core was not told, and waited in its pipeline for answers to what was never sent."""
    made = ValveCluster(impl, max_inflight_messages=4, check_quorum=False)
    try:
        head = made.leader()
        head.propose(b"first").result(timeout=WAIT)
        valve = made.valves[head.id]
        valve.refuses = True
        futures = [head.propose(b"%d" % number) for number in range(50)]
        eventually(lambda: head.status().frames_dropped > 10)
        valve.refuses = False
        for future in futures:
            future.exception(timeout=WAIT)
        last = eventually(lambda: made.leader().propose(b"last").exception(timeout=WAIT) is None)
        assert last
        for machine in made.machines.values():
            eventually(lambda machine=machine: b"last" in machine.commands)
    finally:
        made.close()


def test_a_peer_that_cannot_be_reached_is_probed(impl: ModuleType) -> None:
    """History 62: ... the same in the core alone: one append at a time, until it is heard of."""
    member = leader(impl, 2, 3)
    member.propose()
    member.node.report_unreachable(3)
    assert (member.progress(3)["state"], member.progress(3)["next"]) == (PROBE, 2)
    assert len(only(member.propose(), MSG_APP, 3)) == 1
    assert only(member.propose(), MSG_APP, 3) == []
    (again,) = only(member.step(MSG_HEARTBEAT_RESP, 3), MSG_APP)
    assert (again.index, [e.index for e in again.entries]) == (1, [2, 3, 4])


LIMIT = 100_000  # what a small transport takes in one frame


def test_an_entry_that_no_frame_can_carry_is_refused_at_the_start(impl: ModuleType) -> None:
    """History 63: a frame above the limit of the receiver was swallowed, or cost the connection again and again."""
    overhead = module(impl, "_native.layout").FRAME_OVERHEAD
    transport = impl.MemoryNetwork().transport()
    transport.max_frame_bytes = LIMIT
    storage = impl.MemoryStorage(voters=[1])
    for field in ("max_entry_bytes", "max_message_bytes"):
        settings = {"max_entry_bytes": LIMIT - overhead, "max_message_bytes": LIMIT - overhead}
        impl.Node(impl.Config(id=1, **settings), storage, transport).close()
        settings[field] += 1
        with pytest.raises(impl.ConfigError, match="max_frame_bytes=100000"):
            impl.Node(impl.Config(id=1, **settings), storage, transport)


def test_no_frame_is_larger_than_its_transport_takes(impl: ModuleType) -> None:
    """History 63: ... the largest entry there can be, by itself and among others, from the leader and passed on."""
    largest = LIMIT - module(impl, "_native.layout").FRAME_OVERHEAD
    made = ValveCluster(impl, limit=LIMIT, max_entry_bytes=largest, max_message_bytes=10_000)
    try:
        head = made.leader()
        follower = next(n for n in made.nodes.values() if n is not head)
        eventually(lambda: follower.leader_id == head.id)
        for node in (head, follower):
            for future in [node.propose(bytes(size)) for size in (largest, 5, 9000, largest, 1)]:
                assert future.exception(timeout=WAIT) is None
        for machine in made.machines.values():
            eventually(lambda machine=machine: len(machine.entries) == 10)
        assert max(valve.largest for valve in made.valves.values()) == LIMIT
    finally:
        made.close()


def test_members_lead_with_their_own_windows(impl: ModuleType) -> None:
    """History 50: after a change of leader every window begins anew, also the one of the old leader."""
    network = Network(impl, 3, max_inflight_messages=2, max_message_bytes=0)
    network.campaign(1)
    network.loses = lambda m: m.kind == MSG_APP and bool(m.entries)
    for _ in range(3):
        network[1].propose(b"x")
    network.heal()
    network.campaign(2)
    assert network[2].role == LEADER
    for _ in range(5):
        network.propose(2, b"y")
    assert network.agree() and network[1].data == [b"y"] * 5
    assert all(network[2].progress(id)["inflight"] == [] for id in (1, 3))
