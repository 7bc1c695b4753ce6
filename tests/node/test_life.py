"""How a node begins and ends: closed while it starts, without threads, by a failure, beside code that hangs."""

import asyncio
import concurrent.futures
import contextlib
import logging
import random
import threading
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.life import Machine, Storage, leads, make, node_threads
from tests.helpers.ports import port as free_port
from tests.helpers.storages import founded
from tests.helpers.threads import ends, start
from tests.helpers.transports import WAYS, make_transport
from tests.helpers.waiting import WAIT, eventually

# --- what a block tells --------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_block_does_not_raise_what_ended_the_node_and_wait_does(impl, asynchronous):
    """Also behind it, where a program that has done its work looks once more."""

    class Fails:
        def apply(self, entry):
            raise KeyError("gone")

    node = impl.Node(impl.Config(id=1, tick_ms=10), impl.MemoryStorage([1]), impl.MemoryNetwork().transport(), Fails())
    if asynchronous:

        async def use(node):
            async with node:
                with pytest.raises(impl.RaftError):
                    await node.propose(b"x", timeout=WAIT)
            assert isinstance(node.failure, KeyError)
            with pytest.raises(KeyError, match="gone"):
                await node.wait(0)

        asyncio.run(use(impl.aio.Node.of(node)))
    else:
        with node, pytest.raises(impl.RaftError):
            node.propose(b"x", timeout=WAIT).result(WAIT)
    assert isinstance(node.failure, KeyError) and "gone" in node.status().failure
    with pytest.raises(KeyError, match="gone"):
        node.wait(0)


# --- close while it starts -----------------------------------------------------------------------


def test_closed_while_it_starts(impl):
    """start() raises Stopped, close() returns when nothing runs, and the storage is released."""
    storage = Storage(impl)
    storage.open_takes = 0.5
    node = make(impl, storage)
    raised = []

    def begin():
        try:
            node.start()
        except impl.Stopped as error:
            raised.append(error)

    thread = start(begin)
    assert storage.opening.wait(WAIT)
    node.close()
    assert not node_threads()
    assert storage.closed
    assert ends(thread)
    assert len(raised) == 1
    assert node.status().state == "ended"
    with pytest.raises(impl.Stopped, match="closed"):
        node.propose(b"x")
    make(impl, storage).start().close()


def test_start_and_close_at_the_same_time(impl, tmp_path):
    """Whoever comes first: both end as they say they do, nothing runs, and everything can be taken again."""
    choose = random.Random(7)
    stopped = 0
    for life in range(25):
        storage = founded(impl, tmp_path / "log", members=[1], segment_bytes=64 << 10)
        node = make(impl, storage)
        odd = []

        def begin(node=node, odd=odd):
            nonlocal stopped
            try:
                node.start()
            except impl.Stopped:
                stopped += 1
            except BaseException as error:
                odd.append(error)

        thread = start(begin)
        time.sleep(choose.choice((0, 0.0005, 0.002, 0.005)))
        node.close()
        alive = node_threads()
        assert ends(thread)
        assert (odd, alive, node.status().state) == ([], [], "ended"), life
    assert stopped


def test_closed_before_it_starts(impl):
    node = make(impl)
    node.close()
    with pytest.raises(impl.Stopped):
        node.start()
    assert list(node.state_changes) == []
    assert node.wait(0)


def test_close_by_the_storage_that_is_being_opened(impl):
    """The thread that starts the node closes it: as a signal handler does."""

    class Closing(Storage):
        def open(self, id, cluster):
            node.close()
            return super().open(id, cluster)

    storage = Closing(impl)
    node = make(impl, storage)
    with pytest.raises(impl.Stopped):
        node.start()
    assert storage.closed
    assert not node_threads()


# --- no threads left -----------------------------------------------------------------------------


class NoMoreThreads:
    """The system gives so many threads to nodes, and then none."""

    def __init__(self, monkeypatch, allowed):
        self.allowed = allowed
        self.refused = 0
        begin = threading.Thread.start

        def limited(thread):
            if thread.name.startswith("raftx-"):
                if self.allowed == 0:
                    self.refused += 1
                    raise RuntimeError("can't start new thread")
                self.allowed -= 1
            begin(thread)

        monkeypatch.setattr(threading.Thread, "start", limited)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("disk", ["file", "memory"])
def test_no_thread_left(impl, monkeypatch, tmp_path, disk, way):
    """Whichever thread cannot be started: port, directory and threads are released, and a new node takes them.

    A node that has those it needs runs, and is closed in time, with a single thread for all that its helpers do.
    """
    port = free_port()
    urls = {1: f"tcp://127.0.0.1:{port}", 2: "tcp://127.0.0.1:1", 3: "tcp://127.0.0.1:2"}
    memory = Storage(impl)

    def another():
        storage = founded(impl, tmp_path / "log", [1]) if disk == "file" else memory
        return make(impl, storage, transport=make_transport(impl, way, urls[1], urls))

    for allowed in range(13):
        with monkeypatch.context() as patch:
            limit = NoMoreThreads(patch, allowed)
            node = another()
            enough = False
            with contextlib.suppress(RuntimeError):
                node.start()
                enough = True
                leads(node)
                node.propose(b"x").result(timeout=WAIT)
            assert limit.refused or enough
            if not enough:
                assert not node_threads()
                assert isinstance(node.failure, RuntimeError)
                assert node.status().state == "failed"
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    next(node.state_changes)
            node.close()
        assert not node_threads()
        with another() as node:
            leads(node)
            node.propose(b"x").result(timeout=WAIT)
        if enough:
            return
    raise AssertionError("it never had enough threads")


def test_no_thread_left_for_the_memory_network(impl, monkeypatch):
    """Delays need one: without it the frame is dropped, and delivered when there are threads again."""
    network = module(impl, "transport.memory").MemoryNetwork()
    one, two = network.transport(), network.transport()
    got = []
    one.start(1, got.append)
    two.start(2, got.append)
    network.set_faults(delay=(0.0, 0.001))
    with monkeypatch.context() as patch:
        NoMoreThreads(patch, 0)
        with pytest.raises(RuntimeError):
            one.send(2, b"lost")
    assert one.send(2, b"kept")
    eventually(lambda: got == [b"kept"])
    one.close()
    two.close()


# --- user code that raises -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [concurrent.futures.CancelledError, asyncio.CancelledError, SystemExit, KeyboardInterrupt]
)
def test_a_callback_that_raises_anything(impl, kind, caplog):
    """The others of its batch are called and woken, and the node goes on."""
    machine = Machine()
    machine.hold.clear()

    def bad(_):
        raise kind("of a callback")

    with make(impl, machine=machine) as node:
        leads(node)
        first = node.propose(b"hold")
        assert machine.held.wait(WAIT)
        futures = [node.propose(b"%d" % i) for i in range(6)]
        called, results = [], []
        waiting = [start(lambda f=f: results.append(f.result(timeout=WAIT).result)) for f in futures]
        for future in futures:
            future.add_done_callback(bad)
            future.add_done_callback(called.append)
        machine.hold.set()
        assert ends(*waiting)
        assert first.result(timeout=WAIT).result == 1
        assert sorted(results) == [2, 3, 4, 5, 6, 7]
        assert node.propose(b"more").result(timeout=WAIT).result == 8
        assert node.failure is None
    assert len(called) == 6
    assert "of a callback" in caplog.text


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_a_transport_that_raises_anything(impl, kind):
    """A frame is lost by it, not the thread that sends."""

    class Bad:
        def __init__(self, inner):
            self.inner = inner
            self.bad = 5

        def start(self, id, deliver):
            self.inner.start(id, deliver)

        def send(self, to, frame):
            self.bad -= 1
            if self.bad >= 0:
                raise kind("no")
            return self.inner.send(to, frame)

        def close(self):
            self.inner.close()

    network = module(impl, "transport.memory").MemoryNetwork()
    nodes = [
        make(impl, Storage(impl, (1, 2)), transport=Bad(network.transport()), id=id, seed=id).start() for id in (1, 2)
    ]
    leader = eventually(lambda: next((node for node in nodes if node.is_leader), None))
    assert leader.propose(b"x").result(timeout=WAIT).result == 1
    for node in nodes:
        node.close()


@pytest.mark.parametrize("kind", [OSError, SystemExit, KeyboardInterrupt])
def test_a_storage_that_raises_anything(impl, kind):
    """It ends the node with StorageFailed: it never looks healthy without a disk."""
    storage = Storage(impl)
    node = leads(make(impl, storage).start())
    storage.fail = kind(5, "gone")
    future = node.propose(b"x")
    with pytest.raises(impl.StorageFailed):
        node.wait(timeout=WAIT)
    assert isinstance(future.exception(timeout=WAIT), impl.Unknown)
    node.close()


def test_a_log_handler_that_raises(impl):
    """Logging is foreign code, too."""

    class Bad(logging.Handler):
        def emit(self, record):
            raise SystemExit("no disk for logs")

    handler = Bad()
    logger = logging.getLogger("raftx")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with make(impl) as node:
            leads(node)
            assert node.propose(b"x").result(timeout=WAIT).result == 1
            future = node.propose(b"y")
            future.add_done_callback(lambda _: 1 / 0)
            assert future.result(timeout=WAIT).result == 2
            assert node.propose(b"z").result(timeout=WAIT).result == 3
            assert node.failure is None
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_what_cannot_be_released_does_not_keep_the_rest(impl):
    """transport.close() raises: the storage is closed, and the error comes out at the end."""
    network = module(impl, "transport.memory").MemoryNetwork()
    transport = network.transport()
    close = transport.close

    def bad():
        close()
        raise OSError("cannot close")

    transport.close = bad
    storage = Storage(impl)
    node = leads(make(impl, storage, transport=transport).start())
    with pytest.raises(OSError, match="cannot close"):
        node.close()
    assert storage.closed == 1
    assert node.status().state == "ended"
    node.close()


# --- user code that does not return --------------------------------------------------------------


@pytest.mark.parametrize("awaited", [False, True])
def test_deadlines_hold_while_apply_is_stuck(impl, awaited):
    machine = Machine()
    machine.hold.clear()
    with make(impl, machine=machine, proposal_timeout_ms=300) as node:
        leads(node)
        first = node.propose(b"hold")
        assert machine.held.wait(WAIT)
        futures = [first, node.propose(b"a"), node.propose_many([b"b", b"c"])]
        if awaited:

            async def wait_all():
                return await asyncio.gather(*[_wait(future) for future in futures], return_exceptions=True)

            errors = asyncio.run(wait_all())
        else:
            errors = [future.exception(timeout=WAIT) for future in futures]
        assert [type(error) for error in errors] == [impl.Unknown] * 3
        assert all("timeout" in str(error) for error in errors)
        assert [type(each) for each in errors[2].outcomes] == [impl.Unknown] * 2
        machine.hold.set()
        assert node.propose(b"d", timeout=WAIT).result().result == 5


async def _wait(future):
    return await future


@pytest.mark.parametrize("how", ["apply", "committed"])
def test_a_failure_ends_what_is_open_at_once(impl, how, monkeypatch):
    """apply() is stuck, or nobody reads ``committed``: futures, streams and errors tell the cause all the same."""
    if how == "committed":
        monkeypatch.setattr(module(impl, "node.node"), "COMMITTED_KEPT", 2)
    machine, storage = Machine(), Storage(impl)
    machine.hold.clear()
    node = make(impl, storage, machine)
    committed = node.committed
    changes = node.state_changes
    leads(node.start())
    if how == "apply":
        futures = [node.propose(b"hold")]
        assert machine.held.wait(WAIT)
    else:
        futures = [node.propose(b"%d" % i) for i in range(10)][3:]
        eventually(lambda: len(committed) == 2)
    late = []
    futures[-1].add_done_callback(late.append)
    futures.append(node.propose_many([b"z", b"z"]))
    storage.fail = OSError(5, "gone")
    futures.append(node.propose(b"y"))
    errors = [future.exception(timeout=WAIT) for future in futures]
    for error in errors:
        assert isinstance(error, impl.Unknown)
        assert isinstance(error.__cause__, impl.StorageFailed)
    with pytest.raises(impl.StorageFailed):
        list(changes)
    with pytest.raises(impl.StorageFailed):
        list(committed)
    with pytest.raises(impl.StorageFailed):
        node.wait(timeout=WAIT)
    eventually(lambda: late)
    assert how == "committed" or not machine.entries
    machine.hold.set()
    node.close()


def test_what_has_ended_is_woken_though_the_next_apply_is_stuck(impl):
    """Both entries are handed over together; whoever waits for the first does not wait for the second."""
    machine = Machine()
    machine.hold.clear()
    with make(impl, machine=machine) as node:
        leads(node)
        first = node.propose(b"hold")
        assert machine.held.wait(WAIT)
        one, two = node.propose(b"one"), node.propose(b"hold")
        results = []
        waiting = [start(lambda f=f: results.append(f.result(timeout=WAIT).result)) for f in (first, one)]
        machine.held.clear()
        eventually(lambda: node.status().stable >= node.status().last >= 4)
        machine.hold.set()
        machine.hold.clear()
        eventually(lambda: len(results) == 2, timeout=10)
        machine.hold.set()
        assert two.result(timeout=WAIT).result == 3
        assert ends(*waiting)


def test_close_with_apply_stuck(impl):
    """What can be released is, the error names the thread, and a second close() finishes it."""
    machine, storage = Machine(), Storage(impl)
    machine.hold.clear()
    node = leads(make(impl, storage, machine).start())
    future = node.propose(b"hold")
    assert machine.held.wait(WAIT)
    with pytest.raises(impl.UsageError, match=r"raftx-apply-1.*apply"):
        node.close(timeout=0.3)
    assert storage.closed == 1
    assert isinstance(future.exception(timeout=0.1), impl.Unknown)
    machine.hold.set()
    node.close()
    assert not node_threads()


@pytest.mark.parametrize("where", ["apply", "callback", "exception", "wait", "node.wait"])
def test_waiting_on_the_thread_that_ends_futures(impl, where):
    """It would wait for itself: UsageError at once; to propose without waiting is allowed."""
    seen = []

    def wait():
        future = node.propose(b"inner")
        try:
            if where == "exception":
                future.exception(timeout=WAIT)
            elif where == "wait":
                concurrent.futures.wait([future], timeout=WAIT)
            elif where == "node.wait":
                node.wait(WAIT)
            else:
                future.result(timeout=WAIT)
        except BaseException as error:
            seen.append(error)
        seen.append(future)

    added = threading.Event()

    class Waiting(Machine):
        def apply(self, entry):
            if entry.data == b"outer":
                assert added.wait(WAIT)
                if where != "callback":
                    wait()
            return super().apply(entry)

    with make(impl, machine=Waiting()) as node:
        leads(node)
        outer = node.propose(b"outer")
        if where == "callback":
            outer.add_done_callback(lambda _: wait())
        added.set()
        assert outer.result(timeout=WAIT).result == 1
        eventually(lambda: len(seen) == 2)
        assert isinstance(seen[0], impl.UsageError)
        assert seen[1].result(timeout=WAIT).result == 2
        # One that has ended is no reason to wait.
        assert outer.result(timeout=0).result == 1


# --- what a node that has ended says --------------------------------------------------------------


def test_every_end_tells_the_cause(impl):
    """Whichever thread notices first: in each of many lives, streams, futures and errors have the failure."""
    for life in range(12):
        storage = Storage(impl)
        node = make(impl, storage)
        committed = node.committed
        leads(node.start())
        changes = node.state_changes
        node.propose(b"x").result(timeout=WAIT)
        storage.fail = OSError(5, f"gone in life {life}")
        future = node.propose(b"y")
        error = future.exception(timeout=WAIT)
        assert isinstance(error, (impl.Unknown, impl.NotDone))  # the engine may have stopped before it saw it
        assert isinstance(error.__cause__, impl.StorageFailed)
        with pytest.raises(impl.StorageFailed):
            list(changes)
        with pytest.raises(impl.StorageFailed):
            list(committed)
        with pytest.raises(impl.Stopped, match="StorageFailed") as stopped:
            node.propose(b"z")
        assert isinstance(stopped.value.__cause__, impl.StorageFailed)
        node.close()
        with pytest.raises(impl.StorageFailed):
            list(node.state_changes)


def test_a_failed_node_says_so(impl):
    storage = Storage(impl)
    node = leads(make(impl, storage).start())
    term = node.term
    storage.fail = OSError(5, "gone")
    node.propose(b"x")
    with pytest.raises(impl.StorageFailed):
        node.wait(timeout=WAIT)
    for _ in range(2):
        assert "failed" in repr(node) and "gone" in repr(node)
        assert (node.is_leader, node.role, node.leader_id, node.term) == (False, impl.Role.NONE, 0, term)
        status = node.status()
        assert (status.state, status.role, status.leader) == ("failed", "none", 0)
        assert "gone" in status.failure
        for call in (lambda: node.propose(b""), lambda: node.propose_many([]), node.campaign, node.transfer_leadership):
            with pytest.raises(impl.Stopped, match=r"failed.*gone"):
                call()
        with pytest.raises(impl.UsageError, match="failed"):
            node.start()
        node.close()


def test_a_closed_node_says_so(impl):
    node = make(impl)
    assert (repr(node), node.role) == ("<raftx.Node 1 new term=0>", impl.Role.NONE)
    with pytest.raises(impl.Stopped, match="not been started"):
        node.propose(b"x")
    leads(node.start())
    assert "running" in repr(node)
    node.close()
    assert "ended" in repr(node)
    assert (node.is_leader, node.role, node.leader_id) == (False, impl.Role.NONE, 0)
    assert (node.status().role, node.status().leader) == ("none", 0)
    with pytest.raises(impl.Stopped, match="was closed") as stopped:
        node.propose(b"x")
    assert stopped.value.__cause__ is None


def test_each_consumer_gets_every_state_change(impl):
    node = make(impl)
    early, also = node.state_changes, node.state_changes
    leads(node.start())
    seen = [early.next(timeout=WAIT)]
    while seen[-1].leader != 1:
        seen.append(early.next(timeout=WAIT))
    late = node.state_changes
    node.close()
    seen += list(early)
    assert len(seen) > 1
    assert list(also) == list(late) == list(node.state_changes) == seen
    assert (early.lost, len(early)) == (0, 0)


def test_a_slow_consumer_loses_the_oldest_and_knows(impl):
    events = module(impl, "node.events")
    history = events.History(10)
    slow = history.consumer()
    for number in range(4):
        history.push(number)
    fast = history.consumer()
    assert [fast.next(), slow.next()] == [0, 0]
    for number in range(4, 25):
        history.push(number)
    history.end(OSError("gone"))
    history.push(99)
    history.end(None)
    assert [slow.next(timeout=0) for _ in range(10)] == list(range(15, 25))
    assert (slow.lost, fast.lost, len(fast)) == (14, 0, 10)
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            slow.next(timeout=0)
    assert fast.next() == 15 and fast.lost == 14


def test_a_node_moves_only_as_the_table_says(impl):
    lifecycle = module(impl, "node.lifecycle")
    for phase, legal in lifecycle.MOVES.items():
        for to in lifecycle.MOVES:
            life = lifecycle.Life(1)
            life.phase = phase
            with pytest.raises(impl.UsageError, match="right"):
                life.move(to)
            with life.take():
                if to in legal:
                    life.move(to)
                    assert life.state == to
                else:
                    with pytest.raises(impl.UsageError, match=f"cannot become {to}: it is {phase}"):
                        life.move(to)
                    assert life.state == phase
                life.fail(OSError("gone"))
                assert life.state == "failed"


def test_the_state_of_each_moment(impl):
    """What status() and repr() say from the first moment to the last."""
    seen = []

    class Looking(Storage):
        def open(self, id, cluster):
            seen.append(node.status().state)
            return super().open(id, cluster)

        def close(self):
            seen.append(node.status().state)
            super().close()

    node = make(impl, Looking(impl))
    seen.append(node.status().state)
    leads(node.start())
    seen.append(node.status().state)
    node.close()
    seen.append(node.status().state)
    assert seen == ["new", "starting", "running", "stopping", "ended"]
    assert repr(node).startswith("<raftx.Node 1 ended ")


@pytest.mark.parametrize(
    ("field", "value"),
    [("storage", "dir"), ("storage", None), ("storage", 7), ("transport", "tcp://x"), ("transport", None)],
)
def test_what_is_no_storage_or_transport_is_refused(impl, field, value):
    given = {"storage": impl.MemoryStorage(voters=[1]), "transport": impl.MemoryNetwork().transport(), field: value}
    with pytest.raises(impl.ConfigError, match=f"^{field} must be a {field} with the methods"):
        impl.Node(impl.Config(id=1), **given)


def test_classes_in_place_of_objects_are_refused(impl):
    storage, transport = impl.MemoryStorage(voters=[1]), impl.MemoryNetwork().transport()
    with pytest.raises(impl.ConfigError, match="not the class MemoryStorage"):
        impl.Node(impl.Config(id=1), impl.MemoryStorage, transport)
    with pytest.raises(impl.ConfigError, match="state_machine must be an object, not the class Machine"):
        impl.Node(impl.Config(id=1), storage, transport, Machine)
