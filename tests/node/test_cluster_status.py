"""Members ask one another how they are: stepped nodes, whose frames are lost, repeated and made up."""

import json

import pytest

from tests.helpers.implementations import module
from tests.helpers.meetings import begun, life
from tests.helpers.stepped import World

pytestmark = pytest.mark.usefixtures("nothing_waits")

LOOK, SEEN = 42, 43


@pytest.fixture
def world(impl):
    made = World(impl)
    leader = made.leader()
    made.until(lambda: {(node.leader_id, node.commit_index) for node in made.nodes.values()} == {(leader.id, 1)})
    made.until(lambda: begun(made.nodes.values()))
    yield made
    made.close()


def others(world, node):
    return [each for each in world.nodes.values() if each is not node]


def codec(world, sender):
    """Of frames of that member's present life."""
    node = world.nodes[sender]
    return world.impl._core.Codec(node.config.cluster, sender, life(node))


def messages(world, frame, to):
    return codec(world, to).decode(frame)


def send(world, sender, to, *made):
    world.receive[to](codec(world, sender).encode(to, list(made)))


def looks(world, id):
    return world.engine(id).looks


def test_any_member_tells_how_all_are(world):
    leader = world.leader()
    for node in world.nodes.values():
        found = node.cluster_status()
        assert (found.cluster, found.id, found.leader, found.term) == ("raftx", node.id, leader.id, leader.term)
        assert [each.id for each in found.members] == [1, 2, 3]
        for each in found.members:
            assert (each.reachable, each.error, each.voter, each.learner) == (True, "", True, False)
            assert each.role == ("leader" if each.id == leader.id else "follower")
            assert each.status.id == each.id and each.status.life == life(world.nodes[each.id])
            assert each.seen_ms < 500
        json.dumps(found.to_dict(), allow_nan=False)
        world.for_rounds(400)


def test_who_does_not_answer_is_there_with_the_reason(world):
    leader = world.leader()
    away = others(world, leader)[0]
    away.close()
    world.for_rounds(4000)
    found = {each.id: each for each in leader.cluster_status(timeout=0.5).members}
    assert found[away.id].status is None and not found[away.id].reachable and found[away.id].role == ""
    assert found[away.id].error == (
        f"no answer within 0.5 s; it was last heard of {found[away.id].seen_ms / 1000:.0f} s ago"
    )
    assert found[away.id].seen_ms >= 3900
    assert all(each.reachable for each in found.values() if each.id != away.id)
    # Nothing is kept of a member that was asked and is gone.
    assert set(leader._parts.lookout.open) == {away.id}
    leader._parts.lookout.forget([])
    assert not leader._parts.lookout.open and not leader._parts.lookout.seen


def test_it_works_without_a_leader(world):
    leader, one, other = world.leader(), *others(world, world.leader())
    world.receive.pop(leader.id), world.receive.pop(other.id)
    world.until(lambda: one.leader_id == 0, 5000)
    found = {each.id: each.reachable for each in one.cluster_status(timeout=0.2).members}
    assert found == {one.id: True, leader.id: False, other.id: False}
    assert one.cluster_status(timeout=0).leader == 0


def test_it_works_while_apply_hangs(world):
    leader = world.leader()
    world.skipped |= {(id, name) for id in world.nodes for name in ("apply", "watch", "report")}
    future = leader.propose(b"x")
    found = leader.cluster_status()
    assert all(each.reachable for each in found.members)
    world.skipped.clear()
    world.until(future.done)


def test_questions_that_are_lost_are_asked_again(world):
    leader = world.leader()
    other = others(world, leader)[0]
    receive, seen = world.receive[other.id], []

    def loses(frame):
        kinds = [message.kind for message in messages(world, frame, other.id)]
        if LOOK in kinds and len(seen) < 2:
            assert kinds == [LOOK]  # in a frame of its own: who does not know the kind loses nothing else
            seen.append(frame)
            return
        receive(frame)

    world.receive[other.id] = loses
    assert all(each.reachable for each in leader.cluster_status(timeout=2).members)
    assert len(seen) == 2


def test_an_answer_is_as_good_for_a_moment(world):
    leader = world.leader()
    first = leader.cluster_status()
    frames, rounds = leader.status().frames_out, world.rounds
    second = leader.cluster_status()
    assert world.rounds == rounds and leader.status().frames_out == frames
    pick = lambda found: [each.status for each in found.members if each.id != leader.id]  # noqa: E731
    assert pick(first) == pick(second)
    world.for_rounds(400)
    assert pick(leader.cluster_status())[0].ticks > pick(first)[0].ticks


def test_a_member_answers_each_other_one_only_so_often(world, impl):
    leader, one, other = world.leader(), *others(world, world.leader())
    sent = one.status().frames_out
    for number in range(500):
        send(world, leader.id, one.id, impl.Message(LOOK, context=number))
    world.for_rounds(150)
    # Two, one after the other, in a time in which two may be answered; what else was sent is heartbeats' answers.
    assert looks(world, one.id).dropped >= 498
    assert one.status().frames_out - sent < 60
    # Another one is not held up by that.
    before = looks(world, one.id).dropped
    send(world, other.id, one.id, impl.Message(LOOK, context=1))
    world.for_rounds(5)
    assert looks(world, one.id).dropped == before


def test_strangers_get_no_answer(world, impl):
    node = world.leader()
    sent, answered = [], node._parts.lookout.answer
    node._parts.lookout.answer = lambda: sent.append(1) or answered()
    stranger = impl._core.Codec(node.config.cluster, 77, 1 << 32)
    world.receive[node.id](stranger.encode(node.id, [impl.Message(LOOK, context=1)]))
    world.for_rounds(20)
    assert sent == []
    send(world, others(world, node)[0].id, node.id, impl.Message(LOOK, context=1))
    world.for_rounds(20)
    assert sent == [1]


def record(impl, data):
    return [impl.Entry(0, 0, data)]


def test_answers_that_nobody_waits_for_change_nothing(world, impl):
    """To an earlier life, to another question, twice."""
    node, other = world.leader(), others(world, world.leader())[0]
    lookout = node._parts.lookout
    lookout.ask([other.id])
    number = lookout.open[other.id][0]
    good = json.dumps(other.status().to_dict()).encode()
    for fields in (
        {"log_term": life(node) - 1, "context": number},
        {"log_term": life(node), "context": number + 1},
    ):
        send(world, other.id, node.id, impl.Message(SEEN, entries=record(impl, good), **fields))
    world.skipped.add((other.id, "look"))
    world.for_rounds(10)
    assert other.id not in lookout.seen
    for text in (good, b"{}"):
        send(
            world,
            other.id,
            node.id,
            impl.Message(SEEN, log_term=life(node), context=number, entries=record(impl, text)),
        )
        world.for_rounds(5)
        assert lookout.seen[other.id].status.id == other.id
    world.skipped.clear()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff", "utf-8"),
        (b"[" * 20_000, "nested|Expecting"),
        (b"7", "must be an object"),
        (b'{"id": 99}', "Status.id must be"),
        (b'{"id": 1, "term": 1e400}', "Status.term|Status.id"),
        (b" " * 40_000, "must have 32768 at most"),
    ],
    ids=["bytes", "nested", "number", "other", "infinite", "long"],
)
def test_answers_that_are_none_are_told_of(world, impl, data, why):
    node, other = world.leader(), others(world, world.leader())[0]
    world.nodes[other.id]._parts.lookout.answer = lambda: impl.Entry(0, 0, data, 0).encode()
    found = {each.id: each for each in node.cluster_status().members}
    assert not found[other.id].reachable and found[other.id].status is None
    assert found[other.id].error.startswith("its answer cannot be read: ")
    assert any(part in found[other.id].error for part in why.split("|"))
    assert node.failure is None


def test_a_long_answer_leaves_the_least_important_out(world, impl):
    node, other = world.leader(), others(world, world.leader())[0]
    lookout = other._parts.lookout
    whole = len(lookout.answer())
    for most, lacks in ((whole - 100, {"transport"}), (whole - 1500, {"latency"}), (100, {"term"})):
        lookout.most = most
        found = json.loads(bytes(impl.Entry.decode_all(lookout.answer())[0].data))
        assert len(lookout.answer()) <= most + 32 and not lacks & set(found)
        assert ("commit" in found) == (most > 1000)  # no more is left out than has to be
    world.for_rounds(400)
    found = {each.id: each.status for each in node.cluster_status().members}
    assert found[other.id] == impl.Status(other.id)


def test_an_answer_fits_what_its_recipient_takes(impl):
    """A transport that takes small frames only: the answer is short, and no connection is ended by it."""
    world = World(
        impl,
        max_entry_bytes=1000,
        max_message_bytes=1000,
        max_inflight_bytes=4000,
        each={1: {"max_frame_bytes": 1500}, 2: {"max_frame_bytes": 1500}, 3: {"max_frame_bytes": 1500}},
    )
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    assert all(each.reachable for each in leader.cluster_status().members)
    assert max(len(frame) for frame in [leader._parts.lookout.answer()]) <= 1500
    world.close()


def test_a_member_that_was_removed_neither_asks_nor_is_asked(world, impl):
    leader, one = world.leader(), others(world, world.leader())[0]
    assert len(leader.cluster_status().members) == 3
    asks = codec(world, one.id)
    future = leader.remove(one.id)
    world.until(future.done, 20_000)
    world.for_rounds(400)
    assert one.id not in [each.id for each in leader.cluster_status().members]
    assert one.id not in leader._parts.lookout.seen
    answers, answer = [], leader._parts.lookout.answer
    leader._parts.lookout.answer = lambda: answers.append(1) or answer()
    world.receive[leader.id](asks.encode(leader.id, [impl.Message(LOOK, context=1)]))
    world.for_rounds(20)
    assert answers == []


def test_a_learner_is_one(impl):
    storages = {id: impl.MemoryStorage(voters=[1, 2], learners=[3]) for id in (1, 2, 3)}
    world = World(impl, storages=storages)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    found = [(each.id, each.voter, each.learner, each.reachable) for each in leader.cluster_status().members]
    assert found == [(1, True, False, True), (2, True, False, True), (3, False, True, True)]
    world.close()


def test_who_may_not_ask(world, impl):
    leader = world.leader()
    with pytest.raises(impl.UsageError, match="timeout must be a number"):
        leader.cluster_status(timeout=None)
    caught = []

    def asks(future):
        try:
            leader.cluster_status()
        except impl.UsageError as error:
            caught.append(str(error))

    future = leader.propose(b"x")
    future.add_done_callback(asks)
    world.until(future.done)
    world.until(lambda: caught)
    assert "cannot wait for the answers of others" in caught[0]


def test_a_node_that_does_not_run_tells_what_it_knew(world, impl):
    leader = world.leader()
    leader.close()
    found = leader.cluster_status()
    assert (found.leader, found.term) == (0, leader.term)
    for each in found.members:
        if each.id == leader.id:
            assert (each.status.state, each.role, each.error) == ("ended", "none", "")
        else:
            assert (each.status, each.error) == (None, "this node does not run, and asks nobody")
    new = impl.Node(impl.Config(id=1), impl.MemoryStorage([1]), impl.MemoryNetwork().transport())
    assert new.cluster_status().members == ()
    new.close()


def test_stages_are_counted(world):
    """While a node leads: each round of proposals goes through each stage once."""
    leader = world.leader()
    for _ in range(20):
        future = leader.propose(b"x")
        world.until(future.done)
    world.for_rounds(20)
    latency = leader.status().latency
    for stage in ("queue", "wal", "network", "quorum", "apply", "total"):
        histogram = getattr(latency, stage)
        assert sum(histogram.counts) == 20 and len(histogram.counts) == len(latency.BOUNDS) + 1, stage
    # A round of the world takes a millisecond: nothing but the queue is faster than that.
    assert 0.02 < latency.total.seconds < 1
    assert sum(latency.total.counts[: latency.BOUNDS.index(0.000512)]) == 0
    assert list(latency.BOUNDS[:3]) == [16e-6, 32e-6, 64e-6]
    other = others(world, leader)[0].status().latency
    assert sum(other.total.counts) == 0


def test_buckets_end_where_they_say(impl):
    stamps, rows = module(impl, "node.stamps"), module(impl, "node.rows")
    bounds = module(impl, "node.status").LatencyStatus.BOUNDS
    for place, bound in enumerate(bounds):
        for nanoseconds, bucket in ((round(bound * 1e9) - 1, place), (round(bound * 1e9), place + 1)):
            times = stamps.StageTimes()
            times.py_count(rows.WAL, nanoseconds)
            counts, total = times.histogram(rows.WAL)
            assert counts.index(1) == bucket and total == nanoseconds
            assert sum(times.histogram(rows.QUORUM)[0]) == 0
    times.py_count(rows.TOTAL, 2**62)
    times.py_count(rows.TOTAL, -5)
    counts, total = times.histogram(rows.TOTAL)
    assert (counts[0], counts[-1], total) == (1, 1, 2**62)


def test_what_waits_is_shown(impl):
    world = World(impl, count=1)
    leader = world.leader()
    world.for_rounds(400)
    assert leader.status().queues.log_bytes >= 32
    assert leader.status().queues.proposal_bytes == 0
    future = leader.propose(b"x" * 1000)
    assert 1000 < leader.status().queues.proposal_bytes < 1200
    world.until(future.done)
    assert leader.status().queues.proposal_bytes == 0
    world.for_rounds(400)
    assert leader.status().queues.log_bytes > 1000
    world.close()
