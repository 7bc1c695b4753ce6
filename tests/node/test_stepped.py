"""Whole nodes in one thread: their workers are stepped one round at a time, by a clock that is moved by hand."""

import dataclasses

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS
from tests.helpers.stepped import World
from tests.helpers.storages import founded

pytestmark = pytest.mark.usefixtures("nothing_waits")


def story(impl, **settings):
    """What is sent in an election, with some proposals and the clean stop of the leader."""
    world = World(impl, **settings)
    leader = world.leader()
    futures = [leader.propose(b"%d" % i) for i in range(5)]
    futures.append(leader.propose_many([b"a", b"b"]))
    other = next(node for node in world.nodes.values() if node is not leader)
    world.until(lambda: other.leader_id)
    futures.append(other.propose(b"from elsewhere"))
    world.until(lambda: all(future.done() for future in futures))
    world.until(lambda: len({len(machine.entries) for machine in world.machines.values()}) == 1)
    assert len({tuple(machine.entries) for machine in world.machines.values()}) == 1
    assert [future.result(0).result for future in futures[:5]] == [1, 2, 3, 4, 5]
    assert [done.result for done in futures[5].result(0)] == [6, 7]
    before = world.rounds
    leader.close()
    assert world.rounds > before
    assert leader.status().state == "ended"
    world.until(lambda: any(node.is_leader for node in world.nodes.values()), rounds=50)
    world.close()
    assert all(executor.names() == () for executor in world.executors.values())
    return world.trace


def test_whole_nodes_in_one_thread(impl):
    """They elect, replicate, apply, hand over and end; the second time in exactly the same way."""
    first = story(impl)
    assert len(first) > 50
    assert story(impl) == first


def test_a_stepped_node_looks_for_nothing_before_a_sleep(impl):
    """It has no sleeps: what is to spin does the same rounds at the same times."""
    assert story(impl, spin_us=10_000) == story(impl)
    for wrong in (-1, 10_001, 1.5, True):
        with pytest.raises(impl.ConfigError, match=r"spin_us must be an integer in 0\.\.10000 .microseconds; 0: "):
            impl.Config(id=1, spin_us=wrong)


def test_both_modes_send_the_same(impl):
    """The interpreted node and the compiled one do the same at the same time, byte for byte."""
    assert story(impl) == story(IMPLEMENTATIONS["pure"])


def test_workers_are_stepped_by_name(impl):
    world = World(impl, count=1)
    executor = world.executors[1]
    assert executor.names() == ("report", "net", "disk", "courier", "memory", "look", "watch", "apply", "engine")
    node = world.nodes[1]
    world.until(lambda: node.applied_index)
    future = node.propose(b"x")
    # Each of them in turn brings it one stage on.
    assert executor.step("engine") and node.status().last == 2
    assert node.status().stable == 1
    assert executor.step("disk") and executor.step("engine")
    assert node.commit_index == 2 and not future.done()
    assert executor.step("apply")
    assert future.result(0).result == 1
    assert not executor.step("reserve")
    world.close()
    assert not executor.step("engine")


def test_workers_sleep_until_they_are_woken_or_their_time_comes(impl):
    """Who schedules a stepped node can leave out what a thread would sleep through, and sees what was never woken."""
    world = World(impl, count=1, clocks={1: impl.ManualClock(wakes=False)})
    node, executor = world.nodes[1], world.executors[1]
    world.until(lambda: node.applied_index)
    world.until(lambda: executor.is_asleep("courier") and executor.is_asleep("watch"))
    assert executor.is_asleep("nobody")
    world.until(lambda: not executor.is_asleep("engine"))
    future = node.propose(b"x", timeout=1.0)
    assert not executor.is_asleep("watch")  # it has to end that in time
    executor.step("watch")
    assert executor.is_asleep("watch")
    world.skipped.add((1, "watch"))
    world.until(lambda: not executor.is_asleep("watch"))  # now is the time
    assert executor.is_asleep("courier")
    # A round too many is allowed, and it sleeps again behind it.
    executor.step("courier")
    assert executor.is_asleep("courier")
    node._parts.courier.stop()
    assert not executor.is_asleep("courier")
    world.skipped.clear()
    world.until(future.done)
    world.close()
    assert executor.is_asleep("courier")


def test_the_log_on_disk_is_stepped_too(impl, tmp_path):
    """FileStorage: the disk's worker and the one that makes segments ahead, by the node's clock."""
    path = tmp_path / "log"
    world = World(impl, count=1, storages={1: founded(impl, path, members=[1], segment_bytes=64 << 10)})
    node, executor = world.nodes[1], world.executors[1]
    assert executor.names() == (
        "report",
        "net",
        "reserve",
        "disk",
        "courier",
        "memory",
        "look",
        "watch",
        "apply",
        "engine",
    )
    world.leader()
    for _ in range(40):
        future = node.propose(bytes(2000))
        world.until(future.done)
        assert future.result(0).result
    assert len(list(path.glob("*"))) > 3  # it rotated, into segments made ahead
    world.close()
    again = World(impl, count=1, storages={1: founded(impl, path, members=[1], segment_bytes=64 << 10)})
    again.until(lambda: len(again.machines[1].entries) == 40)
    again.close()


@pytest.mark.parametrize("what", ["disk", "apply"])
def test_a_round_that_raises_ends_the_node_as_in_a_thread(impl, what):
    world = World(impl, count=1)
    node, executor = world.nodes[1], world.executors[1]
    world.leader()
    if what == "disk":
        world.storages[1].fail_next_sync = SystemExit("gone")
    else:
        world.machines[1].apply = lambda entry: 1 / 0
    future = node.propose(b"x")
    many = node.propose_many([b"y", b"z"])
    world.until(future.done, rounds=100)
    world.until(many.done, rounds=100)
    cause = impl.StorageFailed if what == "disk" else ZeroDivisionError
    for each in (future, many):
        assert isinstance(each.exception(0), impl.Unknown)
        assert isinstance(each.exception(0).__cause__, cause)
    assert isinstance(node.failure, cause)
    assert node.status().state == "failed"
    world.close()
    assert executor.names() == ()


def test_what_was_not_handed_over_is_given_back_when_the_node_stops(impl):
    """And what was handed over is not: another life of the member finds it in its log."""
    world = World(impl, count=1, max_uncommitted_bytes=50)
    node, executor = world.nodes[1], world.executors[1]
    world.leader()
    handed_over = node.propose(bytes(100))
    assert executor.step("engine")
    # It stops while too much is not committed: the disk has had no round since.
    waits, many = node.propose(b"waits"), node.propose_many([b"a", b"b"])
    node._parts.stop_engine()
    assert not executor.step("engine")
    node.close()
    assert isinstance(handed_over.exception(0), impl.Unknown)
    for future in (waits, many):
        assert isinstance(future.exception(0), impl.NotDone)
        assert str(future.exception(0)) == "the node was stopped before the proposal was handed over"
    world.start(1)
    world.until(lambda: [data for _, _, data in world.machines[1].entries] == [bytes(100)])
    world.close()


def test_killed(impl):
    """Nothing ends and nothing is closed; another life of the member goes on from what was synced."""
    world = World(impl)
    leader = world.leader()
    done = leader.propose(b"kept")
    world.until(done.done)
    future = leader.propose(b"lost")
    world.executors[leader.id].kill()
    world.receive.pop(leader.id)
    assert world.executors[leader.id].names() == ()
    for _ in range(100):
        world.run()
    assert not future.done()
    leader.close()
    for call in (lambda: leader.propose(b"x"), leader.status, lambda: leader.term):
        with pytest.raises(impl.UsageError):
            call()
    world.storages[leader.id].crash()
    world.start(leader.id)
    world.until(lambda: any(node.is_leader for node in world.nodes.values()))
    again = world.nodes[leader.id]
    world.until(lambda: [data for _, _, data in world.machines[again.id].entries][:1] == [b"kept"])
    assert not future.done()
    world.close()


class Killed(BaseException):
    pass


def test_killed_while_it_starts(impl):
    """What the storage raises then comes out, and nothing is released."""
    world = World(impl, count=1)
    world.close()
    opened = world.storages[1].open

    def die(*arguments):
        opened(*arguments)
        world.executors[1].kill()
        raise Killed

    world.storages[1].open = die
    with pytest.raises(Killed):
        world.start(1)
    world.nodes[1].close()
    with pytest.raises(impl.WrongDirectory):  # nobody has closed it
        opened(1, b"x" * 16)


@pytest.mark.parametrize("where", ["apply", "sync"])
def test_killed_in_the_middle_of_a_round(impl, where):
    """The rest of that round decides nothing any more, and the node does nothing about what it raises."""
    world = World(impl, count=1)
    node, executor = world.leader(), world.executors[1]

    def die(*_):
        executor.kill()
        raise Killed

    setattr(world.machines[1] if where == "apply" else world.storages[1], where, die)
    future = node.propose(b"x")
    try:
        while not executor.killed:
            world.run()
    except Killed:
        assert where == "apply"  # what a storage raises stays with the one who called it
    assert not future.done() and executor.names() == () and not executor.step("disk")


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_killed_while_it_is_closed(impl, rounds):
    """close() returns at once, nothing that was not closed yet is, and no future ends."""
    world = World(impl, count=1)
    node = world.leader()
    closed = []
    world.storages[1].close = lambda: closed.append(1)
    world.machines[1].apply = lambda entry: None
    future = node.propose(b"x")
    world.executors[1].step("engine")
    left = [rounds]

    def run():
        left[0] -= 1
        if left[0] == 0:
            world.executors[1].kill()
        elif rounds < 5:
            world.clock.advance(0.001)
        else:
            world.executors[1].step("engine")

    world.executors[1]._drive = run
    node.close()
    assert not closed and not future.done()
    assert world.executors[1].names() == ()
    node.close()
    with pytest.raises(impl.UsageError):
        node.status()


@pytest.mark.parametrize("by", ["apply", "callback"])
def test_closed_by_its_own_round(impl, by):
    """As on the thread that runs apply(): close() does not wait for the round that has called it."""
    world = World(impl, count=1)
    node = world.leader()
    if by == "apply":
        world.machines[1].apply = lambda entry: node.close()
    future = node.propose(b"x")
    if by == "callback":
        future.add_done_callback(lambda _: node.close())
    world.until(lambda: node.status().state == "ended")
    assert future.done()
    node.close()
    assert not world.executors[1].step("apply")


def test_overdue_by_the_clock_of_the_node(impl):
    world = World(impl)
    leader = world.leader()
    for other in world.ids:
        if other != leader.id:
            world.executors[other].kill()
            world.receive.pop(other)
    future = leader.propose(b"x")
    began = world.clock.py_now()
    world.until(future.done, rounds=6000)
    assert isinstance(future.exception(0), impl.Unknown)
    assert 5.0 <= (world.clock.py_now() - began) / 1e9 < 5.5
    world.close()


def test_entries_of_an_earlier_life_end_no_future_of_this_one(impl):
    """Both lives number their proposals from 1; what is applied again after a restart is not what was proposed now."""
    world = World(impl, count=1)
    node = world.leader()
    first = [node.propose(b"old %d" % i) for i in range(3)]
    world.until(lambda: all(future.done() for future in first))
    world.executors[1].kill()
    world.storages[1].crash()
    node, executor = world.start(1), world.executors[1]
    # It leads again before anything is applied.
    while not node.is_leader:
        world.clock.advance(0.01)
        for name in ("engine", "disk"):
            executor.step(name)
    futures = [node.propose(b"new %d" % i) for i in range(3)]
    world.until(lambda: all(future.done() for future in futures))
    assert [data for _, _, data in world.machines[1].entries] == [
        *(b"old %d" % i for i in range(3)),
        *(b"new %d" % i for i in range(3)),
    ]
    assert [future.result(0).result for future in futures] == [4, 5, 6]
    world.close()


def passed_on(world):
    """A follower has passed a proposal on to its leader: the two nodes, its future, and the frame under way."""
    leader = world.leader()
    other = next(node for node in world.nodes.values() if node is not leader)
    world.until(lambda: other.leader_id)
    future = other.propose(b"x")
    for name in ("engine", "net"):
        world.executors[other.id].step(name)
    to, frame = world.frames[-1]
    assert to == leader.id and b"x" in frame
    return leader, other, future, frame


def passed_on_and_lost(impl):
    """Likewise, and the frame is lost: the world, its three nodes with leader and proposer first, future and frame."""
    world = World(impl)
    leader, other, future, copy = passed_on(world)
    world.frames.pop()
    third = next(node for node in world.nodes.values() if node is not leader and node is not other)
    return world, (leader, other, third), future, copy


@pytest.mark.parametrize("lost", [False, True], ids=["restarted", "restarted in doubt"])
def test_what_an_earlier_life_may_have_appended_is_not_refused(impl, lost):
    """A copy of a proposal comes to a leader that was restarted since; what has become of the first the log tells."""
    world = World(impl)
    leader, other, future, copy = passed_on(world)
    world.until(lambda: world.engine(other.id).core.log.last == 2)
    assert not future.done()

    storage = world.storages[leader.id]
    world.executors[leader.id].kill()
    storage.crash()
    if lost:
        opened = storage.open

        def forgetful(id, cluster):
            loaded = opened(id, cluster)
            return dataclasses.replace(loaded, hard_state=impl.HardState(0, 0, 0, True), records=())

        storage.open = forgetful
    world.frames.clear()
    world.start(leader.id)
    again = world.engine(leader.id)
    assert again.core.in_doubt is lost
    world.receive[leader.id](copy)
    world.until(future.done)
    assert future.result(0).result == 1
    world.close()


def test_what_no_life_can_have_appended_is_refused(impl):
    """A member that is asked for a term of its present life says at once that it does not lead."""
    world, (leader, _, third), future, copy = passed_on_and_lost(impl)
    leader.transfer_leadership(third.id)
    world.until(lambda: third.is_leader)
    # Nothing is applied meanwhile that would tell it, too.
    world.skipped.add((third.id, "net"))
    assert not future.done()
    world.receive[leader.id](copy)
    world.until(future.done)
    assert str(future.exception(0)) == "the member asked is not the leader"
    world.skipped.clear()
    world.close()


def test_what_was_passed_on_in_an_earlier_term_is_not_appended(impl):
    """Its proposer was told that it is not done, as soon as an entry of a later term had followed."""
    world, (leader, _, third), future, copy = passed_on_and_lost(impl)
    term = leader.term
    for one, to in ((leader, third), (third, leader)):
        one.transfer_leadership(to.id)
        world.until(lambda to=to: to.is_leader)
    assert leader.term > term
    world.until(future.done)
    assert str(future.exception(0)) == "its leader lost leadership before it was committed"
    world.receive[leader.id](copy)
    later = leader.propose(b"later")
    world.until(lambda: later.done() and len({node.applied_index for node in world.nodes.values()}) == 1)
    for machine in world.machines.values():
        assert [data for _, _, data in machine.entries] == [b"later"]
    world.close()


def test_a_refusal_of_what_an_earlier_life_proposed_is_about_no_request_of_this_one(impl):
    """Each life numbers its proposals from 1."""
    world, (leader, other, third), _, copy = passed_on_and_lost(impl)
    leader.transfer_leadership(third.id)
    world.until(lambda: third.is_leader and leader.leader_id == third.id)
    world.frames.clear()
    # It does not lead any more: it refuses, and the answer takes long.
    world.receive[leader.id](copy)
    for name in ("engine", "net"):
        world.executors[leader.id].step(name)
    (refusal,) = [frame for to, frame in world.frames if to == other.id]
    world.frames.clear()

    world.executors[other.id].kill()
    world.storages[other.id].crash()
    other = world.start(other.id)
    world.until(lambda: other.leader_id == third.id)
    future = other.propose(b"y")
    for name in ("engine", "net"):
        world.executors[other.id].step(name)
    world.receive[other.id](refusal)
    world.until(future.done)
    assert future.result(0).result == 1
    world.close()
