"""The stream of committed entries when it is full: applying waits, its round does not, and nothing is lost."""

import threading

import pytest

from tests.helpers.implementations import module
from tests.helpers.stepped import World
from tests.helpers.waiting import WAIT, eventually

LIMIT = 4


@pytest.fixture
def small(impl, monkeypatch):
    """Streams of LIMIT elements."""
    monkeypatch.setattr(module(impl, "node.node"), "COMMITTED_KEPT", LIMIT)


def one_member(impl, **settings):
    """(world, node) of a single member whose stream is asked for."""
    world = World(impl, count=1, **settings)
    world.close()
    node = world.start(1, committed=True)
    world.until(lambda: node.is_leader)
    return world, node


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("batch", [False, True])
def test_applying_goes_on_where_it_stopped(impl, batch):
    """Within a span, between two, between two batches: each entry is applied once, and comes out once."""
    world, node = one_member(impl)
    datas = [b"%d" % number for number in range(23)]
    futures = [node.propose_many(datas)] if batch else [node.propose(data) for data in datas]
    world.for_rounds(50)
    machine = world.machines[1]
    assert len(machine.entries) == len(node.committed) == LIMIT
    assert node.is_leader and not world.engine(1).apply_gauges.bare
    # Of what is applied the futures have ended, though its batch is not through.
    assert sum(future.done() for future in futures) == (0 if batch else LIMIT)
    got = []
    while len(got) < len(datas):
        got.append(node.committed.next(timeout=0).data)
        world.for_rounds(2)
        assert len(machine.entries) == min(len(got) + LIMIT, len(datas))
    assert got == datas == [data for _, _, data in machine.entries]
    results = futures[0].result() if batch else [future.result() for future in futures]
    assert [done.result for done in results] == list(range(1, len(datas) + 1))
    world.close()
    assert list(node.committed) == []


@pytest.mark.usefixtures("small")
def test_what_is_behind_a_full_stream_waits(impl):
    """Refusals and news come after the entries before them, and none is lost."""
    world, node = one_member(impl, max_open_proposals=100)
    futures = [node.propose(b"%d" % number) for number in range(10)]
    world.for_rounds(20)
    campaign = node.campaign()
    world.for_rounds(20)
    assert not campaign.done()
    for _ in range(10):
        node.committed.next(timeout=0)
        world.for_rounds(3)
    assert campaign.result(timeout=0).leader == 1
    assert [future.result(timeout=0).result for future in futures] == list(range(1, 11))
    world.close()


@pytest.mark.usefixtures("small")
def test_close_applies_what_the_stream_has_no_room_for(impl):
    """Nobody is waited for then; the state machine has everything, the futures have ended, the stream ends."""
    world, node = one_member(impl)
    futures = [node.propose(b"%d" % number) for number in range(10)]
    world.for_rounds(20)
    node.close()
    assert [future.result(timeout=0).result for future in futures] == list(range(1, 11))
    assert len(world.machines[1].entries) == 10
    assert [entry.data for entry in node.committed] == [b"0", b"1", b"2", b"3"]
    assert node.committed.lost == 6


@pytest.mark.usefixtures("small")
def test_the_engine_ends_before_the_stream_has_room(impl):
    """What it has handed over last is applied all the same, once the consumer goes on."""
    world, node = one_member(impl)
    futures = []
    for _ in range(3):
        futures += [node.propose(b"%d" % (len(futures) + number)) for number in range(6)]
        world.for_rounds(20)
    node._parts.stop_engine()
    world.until(lambda: "engine" not in world.executors[1].started)
    got = []
    while "apply" in world.executors[1].started:
        if len(node.committed):
            got.append(node.committed.next(timeout=0).data)
        world.run()
    got += [node.committed.next(timeout=0).data for _ in range(len(node.committed))]
    assert got == [b"%d" % number for number in range(18)]
    assert [future.result(timeout=0).result for future in futures] == list(range(1, 19))
    world.close()


@pytest.mark.usefixtures("small")
def test_a_slow_consumer_on_a_thread(impl):
    """The apply thread sleeps while the stream is full, and is woken by the consumer."""
    machine = World.__init__.__globals__["Machine"]()
    node = impl.Node(
        impl.Config(id=1, tick_ms=10),
        impl.MemoryStorage(voters=[1]),
        module(impl, "transport.memory").MemoryNetwork().transport(),
        machine,
    )
    stream, got = node.committed, []
    with node:
        eventually(lambda: node.is_leader)
        futures = [node.propose(b"%d" % number) for number in range(300)]
        eventually(lambda: len(stream) == LIMIT)
        assert futures[0].result(timeout=WAIT) and len(machine.entries) < 300
        reader = threading.Thread(target=lambda: got.extend(stream))
        reader.start()
        assert [future.result(timeout=WAIT).result for future in futures] == list(range(1, 301))
    reader.join(WAIT)
    assert not reader.is_alive()
    # What was pushed when the node was closed already is dropped; the rest came out in order.
    assert [entry.data for entry in got] == [b"%d" % number for number in range(len(got))]
    assert len(got) + stream.lost == 300


def test_a_producer_is_told_of_room(impl):
    """Once for each time that it found none; and at the end, when there is always room for what is dropped."""
    events = module(impl, "node.events")
    stream, told = events.Stream(2), []
    stream.on_room = lambda: told.append(len(stream))
    assert [stream.push(number) for number in range(3)] == [True, True, False]
    assert (stream.next(), stream.next(), told) == (0, 1, [1])
    assert stream.push(3) and stream.push(4) and not stream.has_room() and not stream.push(5)
    stream.let_go()
    assert told == [1, 2] and stream.push(6) and len(stream) == 2
    stream.end()
    assert list(stream) == [3, 4]


def test_the_first_that_has_no_room_is_followed_by_none(impl):
    """When nobody is waited for, what there is room for comes out; no gap is left behind what is dropped."""
    stream = module(impl, "node.events").Stream(2)
    assert stream.push(0) and not stream.lost
    stream.let_go()
    assert [stream.push(number) for number in (1, 2)] == [True, True]
    assert (len(stream), stream.lost) == (2, 1)
    assert stream.next() == 0
    assert stream.push(3)
    stream.end()
    assert list(stream) == [1]
    assert stream.push(4) and stream.lost == 3
    with pytest.raises(StopIteration):
        stream.next(timeout=0)


@pytest.mark.usefixtures("small")
def test_a_node_that_fails_counts_what_does_not_come_out(impl):
    """Its consumer gets what is left, then the failure; ``lost`` and what it got are all that was applied."""
    world, node = one_member(impl)
    for number in range(10):
        node.propose(b"%d" % number)
    world.for_rounds(20)
    applied = len(world.machines[1].entries)
    node._fail(OSError("a disk, for example"))
    world.for_rounds(20)
    got = []
    with pytest.raises(OSError, match="for example"):
        got.extend(entry.data for entry in node.committed)
    while len(node.committed):
        got.append(node.committed.next().data)
    assert applied == LIMIT
    assert len(world.machines[1].entries) == LIMIT + node.committed.lost
    node.close()
