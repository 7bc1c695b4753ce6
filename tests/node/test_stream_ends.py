"""Streams on the node's own threads, and what ended a node told to many: nobody waits for itself, nothing piles up."""

import threading
import time
import traceback

import pytest

from tests.helpers.implementations import module
from tests.helpers.life import Machine, Storage, leads, make
from tests.helpers.stepped import World
from tests.helpers.waiting import WAIT, eventually


class Reader(Machine):
    """Its ``apply`` returns what reading comes to."""

    def __init__(self):
        super().__init__()
        self.read = None

    def apply(self, entry):
        super().apply(entry)
        return outcome_of(self.read)


def outcome_of(call):
    try:
        return call()
    except Exception as error:
        return error


@pytest.fixture
def reader(impl):
    """(node, its machine, its stream of entries, its stream of state changes) of a node that leads."""
    machine = Reader()
    node = make(impl, machine=machine)
    committed, changes = node.committed, node.state_changes
    with node:
        assert next(change for change in changes if change.leader)
        yield node, machine, committed, changes


@pytest.mark.parametrize("how", ["for ever", "for a time", "as an iterator"])
@pytest.mark.parametrize("which", ["committed", "state_changes"])
def test_apply_does_not_wait_for_a_stream(impl, reader, which, how):
    """It is refused at once, and says what can be done; the node goes on, and is closed as ever."""
    node, machine, committed, changes = reader
    stream = committed if which == "committed" else changes
    machine.read = {
        "for ever": stream.next,
        "for a time": lambda: stream.next(WAIT),
        "as an iterator": lambda: list(stream),
    }[how]
    begun = time.monotonic()
    done = node.propose(b"1").result(timeout=WAIT)
    assert isinstance(done.result, impl.UsageError) and "next(timeout=0)" in str(done.result)
    machine.read = lambda: "went on"
    assert node.propose(b"2").result(timeout=WAIT).result == "went on"
    node.close()
    assert time.monotonic() - begun < WAIT
    assert [entry.data for entry in committed] == [b"1", b"2"]


def test_apply_may_take_what_is_there(impl, reader):
    node, machine, committed, _ = reader
    machine.read = lambda: committed.next(timeout=0)
    assert isinstance(node.propose(b"1").result(timeout=WAIT).result, TimeoutError)
    assert node.propose(b"2").result(timeout=WAIT).result.data == b"1"
    machine.read = committed.next
    assert node.propose(b"3").result(timeout=WAIT).result.data == b"2"


def test_a_callback_does_not_wait_for_a_stream(impl, reader):
    node, machine, committed, changes = reader
    machine.read, told = lambda: None, []
    for number, stream in enumerate((committed, changes)):
        while outcome_of(lambda stream=stream: stream.next(0)).__class__ is not TimeoutError:
            pass
        machine.hold.clear()
        future = node.propose(b"hold")
        future.add_done_callback(lambda _, stream=stream: told.append([outcome_of(stream.next) for _ in range(2)][-1]))
        machine.hold.set()
        eventually(lambda number=number: len(told) == number + 1)
    assert all([isinstance(each, impl.UsageError) for each in told])


def test_a_round_in_the_calling_thread_does_not_wait(impl):
    """Where nodes are stepped, the thread is everybody's: it is the round that counts."""
    world = World(impl, count=1)
    world.close()
    machine = Reader()
    node = world.start(1, machine=machine, committed=True)
    machine.read = node.committed.next
    world.until(lambda: node.is_leader)
    future = node.propose(b"1")
    world.until(future.done)
    assert isinstance(future.result(0).result, impl.UsageError)
    assert node.committed.next().data == b"1"
    world.close()


def test_a_storage_does_not_wait_for_a_stream(impl):
    """What is committed depends on it."""
    storage, told = Storage(impl), []
    node = make(impl, storage=storage)
    committed = node.committed
    sync = storage.sync

    def asks():
        if len(told) < 3:
            told.append(outcome_of(committed.next))
        sync()

    storage.sync = asks
    with node:
        leads(node)
        assert node.propose(b"1").result(timeout=WAIT)
    assert told and all([isinstance(each, impl.UsageError) for each in told])


class Stops(Machine):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def apply(self, entry):
        raise self.error


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
def test_an_iteration_that_stops_is_a_failure(impl, kind):
    """What apply lets out must not look to the reader of a stream as if the node had been closed."""
    node = make(impl, machine=Stops(kind("no more")))
    committed, changes = node.committed, node.state_changes
    leads(node.start())
    future = node.propose(b"1")
    error = future.exception(timeout=WAIT)
    assert isinstance(error, impl.Unknown)
    for call in (lambda: list(committed), lambda: list(changes), lambda: node.wait(WAIT)):
        with pytest.raises(RuntimeError, match=f"{kind.__name__} came out of the state machine") as raised:
            call()
        assert raised.value is node.failure is error.__cause__
        assert isinstance(raised.value.__cause__, kind)
    node.close()


def test_close_lets_no_iteration_stop(impl):
    """What closing the storage raised comes out of close(), but not as the end of a loop."""
    storage = Storage(impl)
    node = leads(make(impl, storage=storage).start())
    close = storage.close

    def stops():
        close()
        raise StopIteration

    storage.close = stops
    with pytest.raises(RuntimeError, match="StopIteration came out of"):
        node.close()
    assert node.status().state == "ended"


def frames(error):
    return len(list(traceback.walk_tb(error.__traceback__)))


def raised_by(call):
    with pytest.raises(Exception) as raised:
        call()
    return raised.value


def test_what_ended_a_node_does_not_grow(impl):
    """Each time it is raised its traceback is what it was, and shows where the state machine raised it."""
    node = make(impl, machine=Stops(ZeroDivisionError("of the state machine")))
    committed, changes = node.committed, node.state_changes
    leads(node.start())
    raised_by(lambda: node.propose(b"1").result(WAIT))
    raised_by(lambda: list(changes))
    for call in (committed.next, changes.next, node.wait, lambda: list(committed)):
        first = raised_by(call)
        length = frames(first)
        for _ in range(20):
            assert raised_by(call) is first is node.failure
        assert frames(first) == length
        assert traceback.extract_tb(first.__traceback__)[-1].name == "apply"
    node.close()


def test_what_a_future_ended_with_does_not_grow(impl):
    """Of a proposal, and an exception that somebody else has raised and set."""
    node = make(impl, max_open_proposals=1, machine=Machine())
    with node:
        machine = node._outside.state_machine
        leads(node)
        machine.hold.clear()
        node.propose(b"hold")
        refused = node.propose(b"1")
        machine.hold.set()
    other = module(impl, "node.futures").Future()
    try:
        raise LookupError("somewhere")
    except LookupError as error:
        other.set_exception(error)
        before = frames(error)
    for future, least in ((refused, 0), (other, before)):
        first = raised_by(lambda future=future: future.result(0))
        length = frames(first)
        assert length > least
        for _ in range(20):
            assert raised_by(lambda future=future: future.result(0)) is first
        assert frames(first) == length
    assert "raise LookupError" in traceback.extract_tb(first.__traceback__)[-1].line


def test_many_readers_at_once(impl):
    """Each gets the failure; what they have added to its traceback is bounded by how many there are."""
    node = make(impl, machine=Stops(ZeroDivisionError()))
    committed = node.committed
    leads(node.start())
    node.propose(b"1").exception(WAIT)
    with pytest.raises(ZeroDivisionError):
        node.wait(WAIT)

    def reads():
        for _ in range(200):
            raised_by(committed.next)

    threads = [threading.Thread(target=reads) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert frames(raised_by(committed.next)) < 100
    node.close()
