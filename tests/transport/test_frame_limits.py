"""Members that take frames of different sizes: what can be cut fits, and of what cannot both sides tell."""

import logging
import os

import pytest

from tests.helpers.ports import ports
from tests.helpers.sockets import CLUSTER, Machine
from tests.helpers.transports import WAYS, make_transport
from tests.helpers.waiting import eventually

KIB = 1 << 10
SMALL = {"max_entry_bytes": 60 * KIB, "max_message_bytes": 60 * KIB}


class Uneven:
    """Three members, of which the third takes frames of 64 KiB."""

    def __init__(self, impl, way):
        urls = {i + 1: f"tcp://127.0.0.1:{port}" for i, port in enumerate(ports(3))}
        self.machines, self.nodes = {}, {}
        for id, url in urls.items():
            self.machines[id] = Machine()
            config = impl.Config(id=id, cluster=CLUSTER, tick_ms=20, seed=id, **(SMALL if id == 3 else {}))
            transport = make_transport(impl, way, url, urls, max_frame_bytes=64 * KIB if id == 3 else 4 << 20)
            storage = impl.MemoryStorage(voters=[1, 2, 3])
            self.nodes[id] = impl.Node(config, storage, transport, self.machines[id]).start()

    def leader(self):
        """One of the two that take large frames."""
        while True:
            leader = eventually(lambda: next((n for n in self.nodes.values() if n.is_leader), None))
            if leader.id != 3:
                return leader
            leader.transfer_leadership(1)
            eventually(lambda: not self.nodes[3].is_leader)

    def close(self):
        for node in self.nodes.values():
            node.close()


@pytest.mark.parametrize("way", WAYS)
def test_appends_fit_what_the_recipient_takes(impl, way):
    made = Uneven(impl, way)
    try:
        leader = made.leader()
        futures = [leader.propose(bytes([n]) * (20 * KIB)) for n in range(60)]
        for future in futures:
            future.result(timeout=20)
        eventually(lambda: len(made.machines[3].commands) == 60)
        assert made.machines[3].commands == made.machines[leader.id].commands
        assert all(node.status().too_large_out == 0 for node in made.nodes.values())
    finally:
        made.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_an_entry_that_cannot_fit_is_told_on_both_sides(impl, way, caplog):
    caplog.set_level(logging.WARNING, logger="raftx")
    made = Uneven(impl, way)
    try:
        leader = made.leader()
        leader.propose(b"small").result(timeout=20)
        eventually(lambda: len(made.machines[3].commands) == 1)
        connected = made.nodes[3].status().transport["connections"]
        term = leader.term
        leader.propose(os.urandom(200 * KIB)).result(timeout=20)  # by the other two
        eventually(lambda: leader.status().too_large_out and made.nodes[3].status().too_large_in)

        def said(text):
            return [record for record in caplog.records if text in record.getMessage()]

        eventually(lambda: said(f"node {leader.id}: member 3") and said(f"node 3: member {leader.id}"))
        assert all("max_frame_bytes is raised" in record.getMessage() for record in said("catch up"))
        # It stays connected, and in office who is: heartbeats go on.
        frames = made.nodes[3].status().frames_in
        eventually(lambda: made.nodes[3].status().frames_in > frames + 50)
        eventually(lambda: made.nodes[3].status().transport["connections"] == connected)  # one may be made anew
        assert made.nodes[3].leader_id == leader.id
        assert leader.term == term
        assert len(said("catch up")) <= 4
    finally:
        made.close()


def test_the_limit_in_the_frame_header(mod):
    codec = mod("_core").Codec
    sender, receiver = codec(CLUSTER, 1, 5), codec(CLUSTER, 2, 5)
    plain = sender.encode(2, [])
    assert plain[5:8] == bytes(3)
    receiver.decode(plain)
    assert receiver.sender_limit == 0
    for limit, units in ((1 << 16, 1), (4 << 20, 64), (1 << 30, 1 << 14), (0xFFFF << 16, 0xFFFF)):
        sender.announce(limit)
        frame = sender.encode(2, [])
        assert frame[6:8] == units.to_bytes(2, "little")
        receiver.decode(frame)
        assert receiver.sender_limit == units << 16
        assert not receiver.sender_too_large
    for wrong in (0, 1 << 15, (1 << 17) - 1, 100_000, 1 << 32):
        with pytest.raises(ValueError):
            sender.announce(wrong)


def test_a_full_disk_in_the_frame_header(mod):
    """A flag of every frame, beside the others."""
    codec = mod("_core").Codec
    sender, receiver = codec(CLUSTER, 1, 5), codec(CLUSTER, 2, 5)
    sender.announce(1 << 16)
    for full in (False, True, False):
        sender.no_room = full
        frame = sender.encode(2, [])
        assert frame[5] == (2 if full else 0) and frame[6:8] == b"\x01\0"
        receiver.decode(frame)
        assert receiver.sender_no_room is full and not receiver.sender_too_large
