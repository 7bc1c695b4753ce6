"""The threads that the helpers of all nodes in a process share: nothing is lost, done twice, or left behind."""

import contextlib
import errno
import os
import threading
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.life import leads, make, node_threads
from tests.helpers.threads import ends, start
from tests.helpers.waiting import WAIT, eventually


class Part:
    """What a worker does in these tests: rounds are counted, and may be held up."""

    def __init__(self, world, pause=-1):
        self.event = world.system.Event()
        self.pause = pause
        self.rounds = 0
        self.inside = self.worst = 0
        self.wanted = self.stopping = False
        self.hold = threading.Event()
        self.hold.set()
        self.error = None
        #: called once the sleep is announced and everything was looked at
        self.before_sleep = lambda: None
        self.ended = []
        task = world.lifecycle.Task(self.never, self.round, self.ended.append, self.event, self.idle_for, shared=True)
        self.worker = world.crew.SharedWorker("part", world.life, task)

    def never(self):
        raise AssertionError("it has no thread of its own")

    def round(self):
        stopping, self.wanted = self.stopping, False
        self.inside += 1
        self.worst = max(self.worst, self.inside)
        self.hold.wait(WAIT)
        self.inside -= 1
        self.rounds += 1
        if self.error is not None:
            raise self.error
        return not stopping

    def idle_for(self):
        self.event.py_prepare()
        if self.wanted or self.stopping:
            self.event.py_cancel()
            return 0
        self.before_sleep()
        return self.pause

    def wake(self):
        self.wanted = True
        self.event.py_wake()

    def stop(self):
        self.stopping = True
        self.event.py_wake()


class World:
    def __init__(self, impl):
        self.impl = impl
        self.system = module(impl, "_native.threads")
        self.lifecycle = module(impl, "node.lifecycle")
        self.crew = module(impl, "node.crew")
        self.life = self.lifecycle.Life(1)
        self.parts = []

    def part(self, pause=-1):
        """One that is asleep, after a first round."""
        part = Part(self, pause)
        self.parts.append(part)
        part.worker.start()
        eventually(lambda: part.rounds and self.sleeps(part))
        return part

    def sleeps(self, part):
        return part.worker.nap > 0

    def present(self):
        return self.crew._present["crew"]

    def close(self):
        for part in self.parts:
            part.hold.set()
            part.stop()
        assert all([part.worker.wait(time.monotonic() + WAIT) for part in self.parts])


@pytest.fixture
def world(impl):
    world = World(impl)
    yield world
    world.close()
    assert not node_threads()


def test_a_worker_is_woken(world):
    one, two = world.part(), world.part()
    for number in range(2, 50):
        one.wake()
        eventually(lambda number=number: one.rounds == number and world.sleeps(one))
    assert two.rounds == 1


def test_a_worker_wakes_in_time(world):
    """Also one that says so while the dispatcher sleeps for longer."""
    other, part, crew = world.part(3600 * 10**9), world.part(), world.present()
    part.pause = 30_000_000
    part.hold.clear()
    part.wake()
    eventually(lambda: part.inside and crew._until > world.system.monotonic_ns() + 10**9)
    part.hold.set()
    eventually(lambda: part.rounds >= 4)
    assert other.rounds == 1


def test_a_short_rest_keeps_the_thread(world):
    """A fetch that goes on, say: neither the dispatcher nor another thread has anything to do with it."""
    part = world.part()
    part.pause = 1_000_000
    part.wake()
    eventually(lambda: part.rounds > 20)
    assert not world.sleeps(part)


def test_a_wake_between_look_and_sleep_is_not_lost(world):
    part = world.part()
    part.before_sleep = lambda: part.rounds < 10 and part.event.py_wake()
    part.wake()
    eventually(lambda: part.rounds == 10)


def test_many_wakers(world):
    """Each of them finds its work done, whenever it comes."""
    parts = [world.part() for _ in range(3)]
    done = [0, 0, 0]

    def wake(number):
        for _ in range(300):
            rounds = parts[number].rounds
            parts[number].wake()
            eventually(lambda rounds=rounds: parts[number].rounds > rounds)
            done[number] += 1

    assert ends(*[start(wake, number) for number in range(3)])
    assert done == [300] * 3
    assert [part.worst for part in parts] == [1] * 3


def test_a_worker_is_never_run_twice_at_once(world):
    """Its time comes, and then it is woken in the midst of its round."""
    other = world.part()
    part = world.part(30_000_000)
    part.hold.clear()
    eventually(lambda: part.inside == 1)
    for _ in range(3):
        os.eventfd_write(part.event.fileno(), 1)
        # The dispatcher has seen that when it has seen this.
        rounds = other.rounds
        other.wake()
        eventually(lambda rounds=rounds: other.rounds > rounds and world.sleeps(other))
    assert part.inside == 1
    part.hold.set()
    eventually(lambda: part.rounds > 3)
    assert part.worst == 1


def test_a_round_that_does_not_return_holds_nobody_up(world):
    held = [world.part() for _ in range(4)]
    free = world.part()
    for part in held:
        part.hold.clear()
        part.wake()
    eventually(lambda: all([part.inside for part in held]))
    for number in range(2, 20):
        free.wake()
        eventually(lambda number=number: free.rounds == number)
    assert not held[0].worker.wait(time.monotonic() + 0.01)
    assert [part.rounds for part in held] == [1] * 4
    names = [thread.name for thread in node_threads()]
    assert names.count("raftx-part-1") == 4  # a stack says whose it is


def test_threads_that_nobody_needs_end(world, monkeypatch):
    monkeypatch.setattr(world.crew, "IDLE_SECONDS", 0.01)
    parts = [world.part() for _ in range(6)]
    for part in parts:
        part.hold.clear()
        part.wake()
    eventually(lambda: all([part.inside for part in parts]))
    assert len(node_threads()) >= 7
    for part in parts:
        part.hold.set()
    eventually(lambda: len(node_threads()) == 2)  # the dispatcher, and one that stays
    parts[0].wake()
    eventually(lambda: parts[0].rounds == 3)


@pytest.mark.parametrize("what", ["register", "modify"])
def test_a_worker_that_cannot_be_watched_is_looked_at(world, what):
    """Where the system has no memory for it, say."""
    world.part()
    crew = world.present()

    class Poll:
        def __getattr__(self, name):
            return getattr(epoll, name) if name != what else self.refuse

        def refuse(self, *_):
            raise OSError(errno.ENOMEM, "no memory")

    epoll, crew._epoll = crew._epoll, Poll()
    part = world.part()
    rounds = part.rounds
    eventually(lambda: part.rounds > rounds + 2)
    crew._epoll = epoll


def test_a_round_that_raises_ends_its_worker_alone(world):
    one, two = world.part(), world.part()
    one.error = KeyError("x")
    one.wake()
    assert one.worker.wait(time.monotonic() + WAIT)
    assert one.ended == [one.error]
    two.wake()
    eventually(lambda: two.rounds == 2)


# --- threads that the system does not have -------------------------------------------------------


class NoMoreThreads:
    """The system gives no threads to nodes."""

    def __init__(self, monkeypatch):
        self.refused = 0
        self.short = True
        begin = threading.Thread.start

        def limited(thread):
            if self.short and thread.name.startswith("raftx-"):
                self.refused += 1
                raise RuntimeError("can't start new thread")
            begin(thread)

        monkeypatch.setattr(threading.Thread, "start", limited)


@pytest.mark.parametrize("who", ["another thread", "the one that is held up"])
def test_no_thread_for_a_worker_that_is_woken(world, monkeypatch, who):
    """It waits for whoever returns, or for a thread: it is asked for again and again."""
    held, other = world.part(), world.part()
    monkeypatch.setattr(world.crew, "IDLE_SECONDS", 0.01)
    eventually(lambda: len(node_threads()) == 2)
    limit = NoMoreThreads(monkeypatch)
    held.hold.clear()
    held.wake()
    eventually(lambda: held.inside)
    other.wake()
    eventually(lambda: limit.refused > 2)
    assert other.rounds == 1
    if who == "another thread":
        limit.short = False
    else:
        held.hold.set()
    eventually(lambda: other.rounds == 2)
    assert bool(held.inside) is (who == "another thread")


def test_no_thread_for_the_first_worker(world, monkeypatch):
    limit = NoMoreThreads(monkeypatch)
    part = Part(world)
    with pytest.raises(RuntimeError):
        part.worker.start()
    assert part.worker.ended.is_open()
    assert not node_threads()
    limit.short = False
    world.part()


# --- begin and end -------------------------------------------------------------------------------


def test_a_crew_ends_with_its_last_worker(world):
    world.part()
    first = world.present()
    world.close()
    assert not node_threads()
    late = Part(world)
    assert not first.enter(late.worker)
    world.parts = [world.part()]
    assert world.present() is not first


def test_a_worker_whose_start_was_interrupted(world):
    """By a signal handler that closes the node: it does not begin any more."""
    other = world.part()
    part = Part(world)
    assert part.worker.wait(time.monotonic() + WAIT)
    part.worker.start()
    other.wake()
    eventually(lambda: other.rounds == 2)
    assert part.rounds == 0


def test_openings_and_closings_leave_nothing(world):
    """Crews that come and go while others join them."""

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    def come_and_go():
        for _ in range(250):
            part = Part(world)
            part.worker.start()
            part.stop()
            assert part.worker.wait(time.monotonic() + WAIT)
            assert part.rounds
            passed.append(part)

    passed = []
    before = descriptors()
    assert ends(*[start(come_and_go) for _ in range(4)])
    assert len(passed) == 1000
    passed.clear()
    eventually(lambda: not node_threads())
    eventually(lambda: descriptors() <= before)


def test_nodes_leave_nothing(impl):
    for _ in range(5):
        with make(impl) as node:
            leads(node)
            node.propose(b"x").result(timeout=WAIT)
        assert not node_threads()


# --- what wakes the watch thread and the report thread -------------------------------------------


def test_a_wake_during_a_round_makes_another(impl):
    class Once(module(impl, "node.periodic").Periodic):
        def work(self):
            if not self.worked:
                self.wake()
            self.worked += 1

    once = Once(-1)
    once.worked = 0
    assert once.round()
    assert once.idle_for() == 0
    assert once.round()
    assert once.idle_for() == -1
    once.stop()
    assert once.idle_for() == 0
    assert not once.round()


def test_what_has_to_be_looked_at_one_day_wakes_a_watch_that_rests(impl):
    """It looks round by itself while anything is open, and then a wake for each would be too many."""
    clock = module(impl, "_native.threads").ManualClock(1.0)
    outcomes = module(impl, "node.outcomes").Outcomes(10**9)
    watch = module(impl, "node.watch").Watch(outcomes, clock, 10**9)
    patience = module(impl, "node.patience").Patience(None, outcomes, clock, watch.wake)
    renewals = module(impl, "node.renewals").Renewals(clock, watch.wake, lambda: outcomes.unwatched)
    watch.patience, watch.renewals = patience, renewals

    class Session:
        ttl_ns = 180 * 10**9

    session = Session()
    for look, left in ((lambda: patience._look_at(61 * 10**9, 1), 60), (lambda: renewals.add(session), 60)):
        watch.round()
        look()
        assert not watch.wanted
        watch.round()
        assert watch.idle_for() > 0
        watch.round()
        watch.quiet = 5
        while (pause := watch.idle_for()) == 0:
            watch.round()
        assert outcomes.unwatched
        look()
        assert watch.wanted
        watch.round()
        assert pause == left * 10**9


# --- nodes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 20])
def test_threads_of_nodes(impl, monkeypatch, count):
    """Engine, disk, apply, memory, and, since their network is one of Python, net: all else is shared."""
    monkeypatch.setattr(module(impl, "node.crew"), "IDLE_SECONDS", 0.05)
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(make(impl)) for _ in range(count)]
        for node in nodes:
            leads(node)
            node.propose(b"x").result(timeout=WAIT)
        eventually(lambda: len(node_threads()) == 5 * count + 2)
        names = [thread.name for thread in node_threads()]
        for what in ("engine", "disk", "apply", "memory", "net"):
            assert names.count(f"raftx-{what}-1") == count


def test_an_idle_node_is_left_alone(impl):
    """Nothing is open: its watch sleeps until something is, which ends in time all the same."""
    with make(impl, proposal_timeout_ms=200) as node:
        leads(node)
        node.propose(b"x").result(timeout=WAIT)
        worker, outcomes = node._workers["watch"], node._outcomes
        eventually(lambda: worker.nap and worker.pause == -1 and outcomes.unwatched)
        nap = worker.nap
        node.status()
        assert worker.nap == nap
        machine = node._outside.state_machine
        machine.hold.clear()
        held = node.propose(b"hold")
        with pytest.raises(impl.Unknown, match="no outcome within its time"):
            held.result(timeout=WAIT)
        machine.hold.set()
        eventually(lambda: worker.nap != nap and worker.pause == -1)
        for ask in (lambda: node.propose_many([b"x"] * 3), node.read, lambda: node.propose(b"x", timeout=60)):
            nap = worker.nap
            ask().result(timeout=WAIT)
            eventually(lambda nap=nap: worker.nap not in (0, nap))


class Writes:
    """A state machine whose snapshot writes itself, and does not return."""

    def __init__(self):
        self.hold, self.held = threading.Event(), threading.Event()

    def apply(self, entry):
        return entry.index

    def snapshot(self):
        return self

    def write(self, file):
        self.held.set()
        self.hold.wait(WAIT)
        file.write(b"x")

    def restore(self, reader):
        pass


def test_a_snapshot_that_does_not_return(impl):
    """It holds up neither its own node's other helpers nor another node, and is named by a close that it outlasts."""
    storage = module(impl, "storage.memory").MemoryStorage
    stuck, other = Writes(), Writes()
    other.hold.set()
    node = leads(make(impl, storage(voters=(1,)), stuck, proposal_timeout_ms=500).start())
    with make(impl, storage(voters=(1,)), other) as free:
        leads(free)
        for each in (node, free):
            each.propose(b"x").result(timeout=WAIT)
        node.snapshot()
        assert stuck.held.wait(WAIT)
        assert free.snapshot().result(timeout=WAIT)
        node.propose(b"x").result(timeout=WAIT)
    with pytest.raises(impl.UsageError, match=r"raftx-snapshot-1.* did not end"):
        node.close(timeout=0.1)
    stuck.hold.set()
    node.close()
