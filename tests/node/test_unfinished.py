"""Methods of state machines that only begin: what looks as if it had been done has not, and the node says so."""

import functools

import pytest

from tests.helpers.implementations import module
from tests.helpers.stepped import World


def plain(method):
    """A decorator that hides what it decorates."""

    @functools.wraps(method)
    def call(*arguments):
        return method(*arguments)

    return call


class AsyncApply:
    @plain
    async def apply(self, entry):
        return entry.index


class YieldingApply:
    @plain
    def apply(self, entry):
        yield entry.index


class AsyncYieldingApply:
    @plain
    async def apply(self, entry):
        yield entry.index


class AsyncBatch:
    def apply_batch(self, entries):
        return [AsyncApply().apply(entry) for entry in entries]


@pytest.mark.parametrize("through_session", [False, True])
@pytest.mark.parametrize("machine", [AsyncApply, YieldingApply, AsyncYieldingApply, AsyncBatch])
def test_an_apply_that_has_not_run_is_no_outcome(impl, machine, through_session):
    """It would be told as done, and nothing of it has been."""
    world = World(impl, 1, absent=(1,))
    world.start(1, machine())
    node = world.leader()
    future = node.session().propose(b"x") if through_session else node.propose(b"x")
    world.until(future.done)
    assert isinstance(future.exception(0), impl.Unknown)
    assert isinstance(node.failure, TypeError)
    assert "of which nothing has run: it must be an ordinary function" in str(node.failure)
    world.close()


def test_it_is_told_to_the_proposer_where_errors_are(impl):
    world = World(impl, 1, absent=(1,))
    world.start(1, AsyncApply(), on_apply_error="return")
    node = world.leader()
    future = node.propose(b"x")
    world.until(future.done)
    assert isinstance(future.exception(0), TypeError) and node.failure is None
    world.close()


class Callable:
    """An object with a method for a call."""

    async def __call__(self, *_):
        return None


class CallableYields:
    def __call__(self, *_):
        yield None


@pytest.mark.parametrize("method", [Callable(), CallableYields()])
@pytest.mark.parametrize("name", ["apply", "apply_batch", "restore"])
def test_an_object_whose_call_only_begins_is_refused(impl, name, method):
    class Machine:
        def apply(self, entry):
            return None

        def snapshot(self):
            return b""

        def restore(self, reader):
            pass

    machine = Machine()
    setattr(machine, name, method)
    with pytest.raises(impl.ConfigError, match=f"state_machine.{name} must be an ordinary function"):
        impl.Node(impl.Config(id=1), impl.MemoryStorage(voters=[1]), impl.MemoryNetwork().transport(), machine)


class Kept:
    """With snapshots, of which a part may only begin."""

    def __init__(self):
        self.entries = []

    def apply(self, entry):
        self.entries.append(entry.data)
        return len(self.entries)

    def snapshot(self):
        return b",".join(self.entries)

    def restore(self, reader):
        self.entries = reader.read().split(b",")


class WritesLater(Kept):
    def snapshot(self):
        class State:
            async def write(self, file):
                file.write(b"state")

        return State()


class RestoresLater(Kept):
    @plain
    async def restore(self, reader):
        self.entries = reader.read().split(b",")


def grown(impl, machine, path):
    storage = module(impl, "storage.file").FileStorage
    if not path.exists():
        storage.create(path, id=1, members=[1])
    world = World(impl, 1, storages={1: storage(path)}, absent=(1,))
    try:
        world.start(1, machine)
    except BaseException:
        world.nodes.pop(1, None)
        raise
    return world


def test_a_state_that_was_not_written_is_no_snapshot(impl, tmp_path):
    """It would be an empty one, and the entries that it stands for would go."""
    world = grown(impl, WritesLater(), tmp_path / "1")
    node = world.leader()
    for number in range(5):
        world.until(node.propose(b"%d" % number).done)
    future = node.snapshot()
    world.until(future.done)
    assert isinstance(future.exception(0), impl.NotDone)
    assert r"write(file) of what snapshot() has returned has returned a coroutine" in str(future.exception(0))
    world.close()
    world = grown(impl, Kept(), tmp_path / "1")
    world.until(lambda: len(world.machines[1].entries) == 5)
    world.close()


def test_a_restore_that_has_not_run_ends_the_node(impl, tmp_path):
    world = grown(impl, Kept(), tmp_path / "1")
    node = world.leader()
    world.until(node.propose(b"a").done)
    future = node.snapshot()
    world.until(future.done)
    assert future.result(0).index
    world.close()
    world = grown(impl, RestoresLater(), tmp_path / "1")
    world.until(lambda: world.nodes[1].failure)
    assert "restore(reader) has returned a coroutine, of which nothing has run" in str(world.nodes[1].failure)
    world.close()
    world = grown(impl, Kept(), tmp_path / "1")
    world.until(lambda: world.machines[1].entries == [b"a"])
    world.close()
