"""Members tell each other their settings, and each says which of another's do not fit its own, with the remedy."""

import logging

import pytest

from tests.helpers.implementations import module
from tests.helpers.ports import ports
from tests.helpers.stepped import World
from tests.helpers.transports import WAYS, make_transport
from tests.helpers.waiting import eventually

KIB = 1 << 10
SMALL = {"max_entry_bytes": 60 * KIB, "max_message_bytes": 60 * KIB, "max_frame_bytes": 64 * KIB}


def told(world):
    """Until everybody has heard everybody's settings; what each says about whom."""
    world.until(lambda: all(len(node._parts.engine.hellos.heard()) == 2 for node in world.nodes.values()))
    return {id: node.status().disagreements for id, node in world.nodes.items()}


def test_members_with_the_same_settings_agree(impl, nothing_waits, caplog):
    world = World(impl)
    world.leader()
    assert told(world) == {1: {}, 2: {}, 3: {}}
    for _ in range(300):
        world.run()
    assert "settings" not in caplog.text
    world.close()


@pytest.mark.parametrize(
    ("other", "here", "there"),
    [
        pytest.param({"election_ticks": 15}, "election timeout is 150 ms", "election timeout is 100 ms", id="ticks"),
        pytest.param({"tick_ms": 20}, "election timeout is 200 ms", "election timeout is 100 ms", id="tick_ms"),
        pytest.param(
            {"tick_ms": 100, "heartbeat_ticks": 2}, "every 200 ms", "this node every 200 ms", id="late heartbeats"
        ),
        pytest.param({"pre_vote": False}, "pre_vote is on here and off there", "on there and off here", id="pre_vote"),
        pytest.param({"check_quorum": False}, "check_quorum is on here", "check_quorum is on there", id="check_quorum"),
        pytest.param(SMALL, "frames of at most 65536 bytes", "this node takes at most 65536", id="max_frame_bytes"),
    ],
)
def test_who_disagrees_with_whom_about_what(impl, nothing_waits, caplog, other, here, there):
    """Both sides say so, about each other only, and warn once."""
    caplog.set_level(logging.WARNING, logger="raftx")
    world = World(impl, each={3: other})
    world.leader()
    said = told(world)
    assert said[1].keys() == said[2].keys() == {3} and said[3].keys() == {1, 2}
    assert said[1] == said[2] and said[3][1] == said[3][2]
    assert any(here in sentence for sentence in said[1][3]), said
    assert any(there in sentence for sentence in said[3][1]), said
    assert all("give both" in sentence or "set it alike" in sentence or "raise" in sentence for sentence in said[1][3])
    for _ in range(300):
        world.run()
    lines = [record.getMessage() for record in caplog.records if "settings of" in record.getMessage()]
    assert len(lines) == len(set(lines)) == sum(len(each) for node in said.values() for each in node.values())
    assert any(line.startswith("node 3: settings of member 1 and this one disagree: ") for line in lines)
    world.close()


def test_what_was_mended_is_not_said_any_more(impl, nothing_waits):
    """A member that is started anew with other settings tells the new ones."""
    world = World(impl, each={3: {"pre_vote": False}})
    world.leader()
    assert told(world)[1].keys() == {3}
    world.nodes[3].close()
    world.each = {}
    world.start(3)
    world.until(lambda: world.nodes[1].status().disagreements == world.nodes[2].status().disagreements == {})
    world.until(lambda: len(world.nodes[3]._parts.engine.hellos.heard()) == 2)
    assert world.nodes[3].status().disagreements == {}
    world.close()


@pytest.mark.parametrize("whose", ["whole", "damaged"])
def test_frames_of_another_cluster(impl, nothing_waits, caplog, whose):
    caplog.set_level(logging.WARNING, logger="raftx")
    world = World(impl, count=1)
    world.leader()
    frame = bytearray(impl._core.Codec(b"another cluster!", 2, 5).encode(1, []))
    if whose == "damaged":
        frame[32] ^= 4
    for _ in range(3):
        world.receive[1](bytes(frame))
        for _ in range(100):
            world.run()
    said = world.nodes[1].status().disagreements
    assert said.keys() == ({2} if whose == "whole" else {0})
    (sentence,) = said[2 if whose == "whole" else 0]
    assert sentence.startswith("3 frames of another cluster") and "Config.cluster" in sentence
    assert ("member 2" in sentence) == (whose == "whole")
    assert caplog.text.count("of another cluster") == 1
    world.close()


def test_frames_of_any_sender_fill_neither_memory_nor_the_log(impl, nothing_waits, caplog):
    """Each sender of another cluster names another id: one line a minute, and nothing is remembered of the others."""
    caplog.set_level(logging.WARNING, logger="raftx")
    world = World(impl, count=1)
    node = world.leader()
    disagreements = node._parts.disagreements

    def come(ids):
        for id in ids:
            world.receive[1](impl._core.Codec(b"another cluster!", id, 5).encode(1, []))
            world.for_rounds(2)
            disagreements.tell()

    come(range(2, 40))
    world.for_rounds(100)
    assert caplog.text.count("of another cluster") == 1
    assert len(disagreements.told) + len(disagreements.told_foreign) == 1
    world.clock.advance(61)
    come([50, 51])
    world.for_rounds(100)
    assert caplog.text.count("of another cluster") == 2 and "from member 50" in caplog.text
    world.close()


class Nobody:
    """Clocks of which none is off, or a file without addresses."""

    def off(self):
        return {}

    def changes(self):
        return 0


def test_what_was_told_of_former_members_is_forgotten(impl):
    """Members come and go: what is remembered is of the present ones."""
    members, ids = module(impl, "node.disagreements"), [1, 2, 3]
    hello, flow = module(impl, "node.hello"), module(impl, "_core")
    peers, hellos = flow.Peers(), hello.Hellos()
    gauges = module(impl, "node.channels").Gauges()
    config = impl.Config(id=1)
    there = lambda: impl.ConfState(voters=tuple(ids))  # noqa: E731
    made = members.Disagreements(config, 4 << 20, hellos, Nobody(), gauges, there, {}, impl.ManualClock(), Nobody())
    for id in range(4, 60):
        ids[2] = id
        peers.set_ids(ids)
        message = impl.Message(35, log_term=1, index=1, commit=3, hint=1 << 20, context=4 << 20)
        message.sender = id
        hellos.py_take(message, peers)
        made.tell()
        assert {member for member, _ in made.told} == {id}


def test_frames_of_another_version_and_for_another_member(impl, nothing_waits, caplog):
    world = World(impl, count=1)
    world.leader()
    codec = impl._core.Codec(world.nodes[1].config.cluster, 2, 5)
    frame = bytearray(codec.encode(1, []))
    frame[4] = 9
    world.receive[1](bytes(frame))
    world.receive[1](codec.encode(3, []))
    for _ in range(20):
        world.run()
    said = world.nodes[1].status().disagreements
    assert [sentence.split(":")[0] for sentence in said[0]] == [
        "1 frames of another version of the wire format have come and were dropped",
        "1 frames for another member have come here and were dropped",
    ]
    world.close()


def test_a_hello_of_a_stranger_is_not_kept(impl, nothing_waits):
    """Nor does it count as something that no honest member can have sent: it may be of one that is being added."""
    world = World(impl, count=1)
    node = world.leader()
    codec = impl._core.Codec(node.config.cluster, 9, 5)
    world.receive[1](codec.encode(1, [impl.Message(35, log_term=1, index=1, commit=0, hint=1, context=1)]))
    for _ in range(5):
        world.run()
    assert node.status().frames_in >= 1
    assert node._parts.engine.hellos.heard() == {}
    assert set(node.status().messages_refused.values()) == {0}
    world.close()


def test_hellos_are_kept_by_id_and_replaced(impl):
    """Whatever slots do: a row is of one member, and is given away when that is none any more."""
    hello, flow = module(impl, "node.hello"), module(impl, "_core")
    peers = flow.Peers()
    peers.set_ids(list(range(1, 65)))
    hellos = hello.Hellos()

    def say(id, number):
        message = impl.Message(35, log_term=number, index=1, commit=2, hint=3, context=4)
        message.sender = id
        hellos.py_take(message, peers)

    for id in range(1, 65):
        say(id, id * 10)
    say(7, 71)
    heard = hellos.heard()
    assert heard.pop(7) == (71, 1, 3, 4, 2)
    assert heard == {id: (id * 10, 1, 3, 4, 2) for id in range(1, 65) if id != 7}
    assert hellos.changes() == 65
    peers.set_ids(list(range(2, 66)))
    say(65, 650)
    heard = hellos.heard()
    assert len(heard) == 64 and 1 not in heard and heard[65][0] == 650 and heard[64][0] == 640


@pytest.mark.parametrize("way", WAYS)
def test_over_sockets(impl, way):
    """The first frame on a connection tells it; members that were started anew are told again."""
    urls = {number + 1: f"tcp://127.0.0.1:{port}" for number, port in enumerate(ports(2))}

    def make(id, ticks):
        config = impl.Config(id=id, tick_ms=20, election_ticks=ticks, seed=id)
        transport = make_transport(impl, way, urls[id], urls)
        return impl.Node(config, storages[id], transport, Machine()).start()

    class Machine:
        def apply(self, entry):
            pass

    storages = {id: impl.MemoryStorage(voters=[1, 2]) for id in urls}
    nodes = {1: make(1, 10), 2: make(2, 12)}
    try:
        for id, node in nodes.items():
            eventually(lambda node=node, id=id: node.status().disagreements.keys() == {3 - id})
        nodes.pop(2).close()
        nodes[2] = make(2, 10)
        eventually(lambda: nodes[1].status().disagreements == {})
        eventually(lambda: len(nodes[2]._parts.engine.hellos.heard()) == 1)
        assert nodes[2].status().disagreements == {}
    finally:
        for node in nodes.values():
            node.close()
