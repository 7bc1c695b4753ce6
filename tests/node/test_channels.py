"""Queues between the threads of a node that are full: each holds back what would fill it, and nothing is lost."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.meetings import life
from tests.helpers.stepped import World

ROWS = 40


def world_of(impl, rows, **settings):
    world = World(impl, rows=rows, **settings)
    return world, world.leader()


def odd_messages(impl, term, to):
    """What no honest member sends, each for a reason of its own: the first of each is told to the apply thread."""
    M = impl.Message
    return M(9, term=0), M(8, term=term), M(32, log_term=life(to), index=2, context=1, hint=1)


def test_proposals_wait_while_the_apply_thread_is_behind(impl):
    """They are not taken, consensus goes on, and all are done once it comes back."""
    world, leader = world_of(impl, {"applies": ROWS}, max_message_bytes=0)
    engine, term = world.engine(leader.id), leader.term
    world.skipped.add((leader.id, "apply"))
    futures = [leader.propose(b"%d" % number) for number in range(200)]
    world.for_rounds(300)
    assert engine.proposals.py_waiting()
    assert ROWS // 2 - 8 <= engine.applies.pending <= ROWS - 8
    assert leader.is_leader and leader.term == term
    assert {node.leader_id for node in world.nodes.values()} == {leader.id}
    world.skipped.clear()
    world.until(lambda: all(future.done() for future in futures))
    assert [entry[2] for entry in world.machines[leader.id].entries] == [b"%d" % number for number in range(200)]
    assert engine.applies.refused == 0
    world.close()


def test_a_frame_is_gone_on_with_in_its_middle(impl):
    """Messages of one frame wait where they are, and what was taken of it is not taken again."""
    world, leader = world_of(impl, {"applies": ROWS})
    engine, cluster = world.engine(leader.id), leader.config.cluster
    other = next(id for id in world.ids if id != leader.id)
    world.for_rounds(50)
    while engine.applies.py_room() > 8:
        engine.applies.py_put(None, 99)
    codec = impl._core.Codec(cluster, other, life(world.nodes[other]))
    frame = codec.encode(leader.id, odd_messages(impl, leader.term, leader))
    world.skipped.update((id, "engine") for id in world.ids if id != leader.id)
    world.skipped.add((leader.id, "apply"))
    world.frames.clear()
    world.receive[leader.id](frame)
    frames = leader.status().frames_in

    def refused():
        return sum(leader.status().messages_refused.values())

    world.for_rounds(5)
    assert refused() == 1
    world.receive[leader.id](frame)
    world.for_rounds(5)
    assert (refused(), leader.status().frames_in) == (1, frames + 1)
    world.skipped.discard((leader.id, "apply"))
    world.for_rounds(5)
    assert (refused(), leader.status().frames_in) == (6, frames + 2)
    assert engine.applies.refused == 0
    world.skipped.clear()
    world.close()


def test_no_write_is_begun_while_the_disk_is_behind(impl):
    """What promises nothing leaves all the same, and nothing is acknowledged; all is written once it comes back."""
    world, leader = world_of(impl, {"writes": 1}, election_ticks=50)
    engine = world.engine(leader.id)
    world.skipped.add((leader.id, "disk"))
    futures, sent = [], leader.status().frames_out
    for number in range(20):
        futures.append(leader.propose(b"%d" % number))
        world.for_rounds(3)
        assert engine.writes.pending <= 1
    assert engine.driver.number == engine.driver.durable + 1
    assert leader.status().last > leader.status().stable + 10
    assert leader.status().frames_out > sent + 20
    assert {node.leader_id for node in world.nodes.values()} == {leader.id}
    world.skipped.clear()
    world.until(lambda: all(future.done() for future in futures))
    assert engine.writes.refused == 0
    assert len(world.machines[leader.id].entries) == 20
    world.close()


def test_a_follower_acknowledges_nothing_that_its_disk_has_no_room_for(impl):
    """What waits for a write that is not begun yet waits for that one, not for the last."""
    world, leader = world_of(impl, {"writes": 1}, election_ticks=50)
    slow = next(id for id in world.ids if id != leader.id)
    engine = world.engine(slow)
    world.skipped.add((slow, "disk"))
    for number in range(10):
        leader.propose(b"%d" % number)
        world.for_rounds(5)
    core = world.engine(leader.id).core
    match = core.tracker.peers.column("match")[core.tracker.peers.py_slot_of(slow)]
    assert engine.core.log.last > engine.core.stable >= match
    world.skipped.clear()
    world.until(lambda: world.nodes[slow].applied_index == leader.applied_index > match)
    world.close()


def test_commands_without_room(impl):
    """Requests end as not done, hints are dropped and counted, and the end needs no room."""
    world, leader = world_of(impl, {"commands": 2})
    other = next(node for node in world.nodes.values() if node is not leader)
    commands = world.engine(other.id).commands
    world.skipped.add((other.id, "engine"))
    assert commands.connected(leader.id) and commands.unreachable(leader.id)
    assert not commands.connected(leader.id) and not commands.unreachable(leader.id)
    assert commands.refused == 2
    for future in (other.campaign(), other.transfer_leadership(leader.id)):
        assert future.done()
        with pytest.raises(impl.NotDone, match="too many requests"):
            future.result()
    assert other.status().queues.commands_dropped == commands.refused == 4
    other._parts.stop_engine()
    world.skipped.clear()
    world.until(lambda: "engine" not in world.executors[other.id].started)
    assert other.failure is None
    world.close()


def test_requests_leave_room_for_frames(impl):
    """However many are made while the apply thread is stuck: the node takes part, and the surplus is refused."""
    world, leader = world_of(impl, {"applies": 64})
    other = next(node for node in world.nodes.values() if node is not leader)
    engine = world.engine(other.id)
    world.skipped.add((other.id, "apply"))
    futures = []
    for _ in range(200):
        futures.append(other.transfer_leadership(other.id))
        world.run()
    refused = [future for future in futures if future.done()]
    assert 150 < len(refused) < 200
    for future in refused:
        with pytest.raises(impl.NotDone, match="too many requests wait: does apply"):
            future.result()
    frames, ticks = other.status().frames_in, other.status().ticks
    world.for_rounds(100)
    assert other.status().frames_in > frames and other.status().ticks > ticks
    assert engine.applies.refused == 0
    world.skipped.clear()
    world.until(lambda: all(future.done() for future in futures))
    world.close()


def test_frames_without_room(impl):
    """Beside their bytes their number is bounded, in both directions."""
    system, links = module(impl, "_native.threads"), module(impl, "transport.link")
    link = links.QueueLink(system.Event(), system.Event(), 1 << 20, None, 2)
    assert [link.deliver(b"frame") for _ in range(4)] == [True, True, False, False]
    assert link.refused == 2
    if impl.COMPILED:
        return  # what follows has no form for Python
    for _ in range(4):
        link.prepare(2, 10)
        link.send()
    assert (link.dropped, link.outgoing.pending, link.outgoing.taken.size) == (2, 2, 0)
    assert link.outgoing.py_take() == 2
    assert [link.outgoing.py_to(row) for row in range(2)] == [2, 2] and link.outgoing.py_ask(0) == 0
    assert link.outgoing.taken.count == 2


def test_a_row_that_was_not_taken_is_no_row(impl):
    channels, writes = module(impl, "node.channels"), module(impl, "storage.writes")
    system = module(impl, "_native.threads")
    applies = channels.ApplyQueue(system.Event())
    for look in (applies.kind, applies.entries, applies.handed, applies.refusal, applies.state, applies.odd):
        with pytest.raises(IndexError):
            look(0)
    queue = writes.WriteQueue(system.Event())
    assert queue.py_put_write(None, 1, 2, 3, 4, True)
    with pytest.raises(IndexError):
        queue.py_write(0)
    assert queue.py_take() == 1
    assert queue.py_write(0) == (1, 2, 3, 4, True)
