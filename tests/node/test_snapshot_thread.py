"""The snapshot thread, round by round: what a state machine gave away comes to the storage, or is given up and said."""

import io

import pytest

from tests.helpers.alone import Written
from tests.helpers.implementations import module


class Watch:
    """The thread's event, which says how long it was to sleep."""

    def __init__(self):
        self.sleeps = []

    def py_prepare(self):
        pass

    def py_cancel(self):
        pass

    def py_wake(self):
        pass

    def py_wait(self, nanoseconds):
        self.sleeps.append(nanoseconds)


def stop_when_idle(world, monkeypatch, step_ns):
    """Its thread ends once there is nothing to write; each look at its processor time finds so much more."""
    clock = iter(range(0, 1_000_000 * step_ns, step_ns))

    def round(original=world.thread.round):
        if not world.thread.is_busy():
            world.thread.stop()
        return original()

    monkeypatch.setattr(module(world.impl, "node.snapshots").time, "thread_time_ns", lambda: next(clock))
    monkeypatch.setattr(world.thread, "round", round)


@pytest.fixture
def world(impl, tmp_path):
    made = Written(impl, tmp_path / "node")
    yield made
    made.storage.close()


class Frozen:
    def __init__(self, parts):
        self.parts = parts

    def write(self, file):
        for part in self.parts:
            assert file.write(part) == len(part)


@pytest.mark.parametrize(
    ("state", "whole"),
    [
        (b"", b""),
        (b"bytes", b"bytes"),
        (bytearray(300_000), bytes(300_000)),
        (memoryview(b"view"), b"view"),
        ([b"a", b"", bytearray(b"list")], b"alist"),
        (lambda: (part for part in (b"gener", b"ated")), b"generated"),
        (lambda: io.BytesIO(b"file" * 100_000), b"file" * 100_000),
        (Frozen([b"writ", b"ten"]), b"written"),
    ],
    ids=["nothing", "bytes", "bytearray", "memoryview", "list", "generator", "file", "write"],
)
def test_what_a_state_machine_may_return(world, state, whole):
    world.begin(state() if callable(state) else state)
    world.run()
    ((made, error),) = world.ends
    assert error is None
    assert (made.index, made.size) == (7, len(whole))
    assert world.read() == (7, whole)
    assert (world.thread.made, world.thread.failed, world.thread.written) == (1, 0, 0)


def test_a_piece_a_round(world):
    taken = []

    def pieces():
        for number in range(5):
            taken.append(number)
            yield bytes(10)

    world.begin(pieces())
    for number in range(6):
        assert len(taken) == max(0, number - 1)
        world.thread.round()
    assert world.run() == 1
    assert world.ends[0][0].size == 50


@pytest.mark.parametrize(
    "state",
    [None, 7, "text", [b"x", "text"], io.StringIO, object(), {b"key": b"value"}, {b"x", b"y"}, [1, 2]],
    ids=["None", "int", "str", "list", "file", "object", "dict", "set", "ints"],
)
def test_what_it_may_not_return(world, state, caplog):
    world.begin(io.StringIO("text") if state is io.StringIO else state)
    world.run()
    ((_, error),) = world.ends
    assert isinstance(error, world.impl.SnapshotFailed)
    assert isinstance(error.__cause__, TypeError)
    assert "snapshot() must return" in str(error)
    assert "the snapshot of entry 7 was given up" in caplog.text
    assert [each for each in world.storage.path.iterdir() if "snapshot" in each.name] == []
    world.begin(b"another", index=8)
    world.run()
    assert world.read() == (8, b"another")


def test_a_state_that_raises(world):
    def pieces():
        yield b"begun"
        raise RuntimeError("no more")

    world.begin(pieces())
    world.run()
    ((_, error),) = world.ends
    assert isinstance(error.__cause__, RuntimeError)
    assert world.thread.failed == 1
    with pytest.raises(world.impl.UsageError, match="no snapshot"):
        world.storage.open_snapshot()


def test_one_at_a_time(world):
    world.begin(b"one")
    with pytest.raises(world.impl.UsageError, match="already"):
        world.begin(b"two", index=9)
    world.run()
    world.begin(b"two", index=9)
    world.run()
    assert world.read() == (9, b"two")


def test_a_stop_gives_up(world):
    world.begin([b"x"] * 10)
    world.thread.round()
    world.thread.round()
    world.thread.stop()
    assert not world.thread.round()
    assert not world.thread.is_busy()
    ((_, error),) = world.ends
    assert isinstance(error, world.impl.SnapshotFailed)
    assert [each for each in world.storage.path.iterdir() if "snapshot" in each.name] == []
    assert not world.thread.round()
    assert len(world.ends) == 1


@pytest.mark.parametrize("whole", [True, False], ids=["in pieces", "by itself"])
def test_it_rests_after_it_works(world, monkeypatch, whole):
    """After enough work, in pieces or in writes of an object itself; rounds that somebody else drives do not sleep."""
    state = bytes(5 * 128 << 10)
    world.thread.event = watch = Watch()
    world.begin(state if whole else Frozen([state[: 128 << 10]] * 5))
    world.run()
    assert watch.sleeps == []
    stop_when_idle(world, monkeypatch, 600_000)
    world.begin(state if whole else Frozen([state[: 128 << 10]] * 5), index=9)
    world.thread.run()
    assert len([sleep for sleep in watch.sleeps if sleep > 0]) >= 5
    assert world.read() == (9, state)


@pytest.mark.parametrize("whole", [True, False], ids=["in pieces", "by itself"])
def test_small_pieces_do_not_cost_a_rest_each(world, monkeypatch, whole):
    """A thousand pieces of 20 bytes, of 5 us each: five milliseconds of work, and ten rests."""
    pieces = [bytes(20)] * 1000
    world.thread.event = watch = Watch()
    stop_when_idle(world, monkeypatch, 5_000)
    world.begin(list(pieces) if whole else Frozen(pieces))
    world.thread.run()
    assert 5 <= len([sleep for sleep in watch.sleeps if sleep > 0]) <= 20
    assert world.read() == (7, bytes(20_000))


def test_an_object_that_writes_itself_is_stopped(world):
    """Between two of its writes; status() shows how far it came."""
    seen = []

    class Long:
        def write(self, file):
            for number in range(100):
                file.write(bytes(1000))
                seen.append(world.thread.written)
                if number == 9:
                    world.thread.stop()

    world.begin(Long())
    world.thread.round()
    assert seen == [1000 * count for count in range(1, 11)]
    assert world.thread.round() is False
    ((_, error),) = world.ends
    assert "stopped" in str(error)


def test_a_file_that_has_nothing_at_the_moment_is_no_end(world):
    """``read`` of one that does not wait returns None: what was read so far is not all."""

    parts = [b"part", None]

    class Pipe:
        def read(self, size):
            return parts.pop(0)

    world.begin(Pipe())
    world.run()
    ((_, error),) = world.ends
    assert "NoneType" in str(error)
