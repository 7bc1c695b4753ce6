"""What a node keeps of other members while members come and go: by their ids, wherever their slots are."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.meetings import introduction, later, life
from tests.helpers.stepped import World

IDS = (5, 6, 7)


@pytest.fixture
def world(impl):
    made = World(impl, ids=IDS)
    yield made
    made.skipped.clear()
    made.close()


def change(world, text, ids=None):
    """Everybody, or those named, takes this change of membership, between two rounds."""
    confchange = module(world.impl, "consensus.confchange")
    parsed = module(world.impl, "types").ConfChange.parse(text)
    for id in ids or world.ids:
        core = world.engine(id).core
        core.py_install(confchange.configuration_after(core.tracker.conf_state(), parsed).encode())


def applied(world):
    return [data for _, _, data in world.machines[IDS[0]].entries]


def proposed(world, node, data):
    future = node.propose(data)
    world.until(future.done)
    return future.result()


def passed_on(world, impl, leader):
    """The frames with proposals that the leader was sent."""
    codec = impl._core.Codec(leader.config.cluster, leader.id, 1)
    return [
        frame
        for sender, to, frame, _ in world.trace
        if to == leader.id and any(message.kind == 2 for message in codec.decode(frame))
    ]


@pytest.mark.parametrize("text", ["v4", "l4", "v8", "l3 l4 l9"])
def test_proposals_are_seen_once_though_slots_move(impl, world, text):
    """A network repeats them after the change, and after the members are gone again."""
    leader = world.leader()
    other = next(node for node in world.nodes.values() if node is not leader)
    world.until(lambda: other.leader_id == leader.id)
    for number in range(3):
        proposed(world, other, b"%d" % number)
    frames = passed_on(world, impl, leader)
    assert frames
    for step in (text, text.replace("l", "r").replace("v", "r")):
        for each in step.split():
            change(world, each)
        for frame in frames:
            world.receive[leader.id](frame)
        world.for_rounds(50)
        proposed(world, other, step.encode())
    world.until(lambda: len(applied(world)) >= 5)
    assert applied(world) == [b"0", b"1", b"2", text.encode(), text.replace("l", "r").replace("v", "r").encode()]


def test_lives_are_known_though_slots_move_and_members_come_back(impl, world):
    """A frame of an earlier life is stale: after a change, and of a member that was removed, and came back."""
    leader = world.leader()
    other = max(id for id in IDS if id != leader.id)
    cluster, term = leader.config.cluster, leader.term
    hello, present = introduction(impl, world.storages[other]._name), life(world.nodes[other])
    world.skipped.add((other, "engine"))
    world.frames.clear()
    engine = world.engine(leader.id)

    def sends(number, *messages):
        world.receive[leader.id](impl._core.Codec(cluster, other, number).encode(leader.id, messages))
        world.for_rounds(3)

    fifth, sixth = later(present, 5), later(present, 6)
    # The answer to a heartbeat: it does not count before its sender has introduced itself.
    beat = impl.Message(9, term=term)
    sends(fifth, beat)
    assert engine.peers.py_incarnation(other) == present and leader.status().messages_unmet >= 1
    sends(fifth, hello)
    assert engine.peers.py_incarnation(other) == fifth
    stale = leader.status().frames_stale
    for text in ("v4", "v8", "r4", f"r{other}", f"v{other}", "r8"):
        change(world, text)
        sends(later(present, 4), beat)
        stale += 1
        assert leader.status().frames_stale == stale, text
    assert engine.peers.py_incarnation(other) == fifth
    sends(sixth, hello, beat)
    assert engine.peers.py_incarnation(other) == sixth


def test_places_are_for_members_and_those_removed_lately(impl, world):
    """Who was removed longest ago makes room for somebody new, a member never, and a stranger takes nothing."""
    rows = module(impl, "node.rows")
    leader = world.leader()
    engine = world.engine(leader.id)
    core, peers = engine.core, engine.peers
    members = core.tracker.peers
    world.skipped.update((id, "engine") for id in IDS)
    kept = [peers.py_place(members, id) for id in IDS]
    # A member whose place was taken gets one when it is asked for, perhaps the same, but with nothing in it.
    lives = [peers.py_incarnation(id) for id in IDS]
    assert len([life for life in lives if life]) >= len(IDS) - 1
    assert peers.py_place(members, 4000) == -1
    for id in range(100, 100 + rows.PLACES):
        change(world, f"l{id}")
        peers.py_tick(members)
        assert peers.py_place(members, id) >= 0
        change(world, f"r{id}")
        peers.py_tick(members)
    room = rows.PLACES - len(IDS)
    known = [id for id in range(100, 100 + rows.PLACES) if peers.py_place(members, id) >= 0]
    assert known == list(range(100 + rows.PLACES - room, 100 + rows.PLACES))
    assert [peers.py_place(members, id) for id in IDS] == kept
    assert [peers.py_incarnation(id) for id in IDS] == lives
    # Not even when everybody was a member at the same time.
    for id in range(1000, 1000 + rows.PLACES):
        change(world, f"l{id}")
        assert peers.py_place(members, id) >= 0
        change(world, f"r{id}")
    assert [peers.py_incarnation(id) for id in IDS] == lives
    assert [peers.py_place(members, id) for id in IDS] == kept


def test_a_newcomer_answers_a_leader_that_it_does_not_know(impl):
    """Its configuration lacks the leader, whose entries it needs to learn of it."""
    storages = {1: impl.MemoryStorage(voters=[1]), 2: impl.MemoryStorage(voters=[2, 3])}
    # The addresses that there are would be held against a storage that is new.
    storages[2].open(2, impl.Config(id=2).cluster)
    storages[2].close()
    world = World(impl, 2, storages, each={2: {"election_ticks": 20}})
    leader = world.until(lambda: world.nodes[1].is_leader and world.nodes[1])
    for number in range(3):
        leader.propose(b"%d" % number)
    change(world, "l2", [1])
    peers = world.engine(1).core.tracker.peers
    # The newcomer was there before the leader was, and has not heard of the addition of that one.
    world.engine(1).peers.py_joined(peers, 2, 0)
    world.engine(1).changes.installs.put_self(b"", 1000)

    def caught_up():
        return peers.column("match")[1] == leader.status().last > 3

    # The newcomer waits a while for the member that it knows, and is not there.
    world.until(caught_up)
    assert world.nodes[2].leader_id == 1 and not world.nodes[2].status().waits_for
    world.close()
