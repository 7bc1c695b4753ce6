"""What a node takes and keeps: whole batches, real sizes, so many open proposals, ids, nothing that was given up."""

import array
import asyncio
import concurrent.futures
import copy
import gc
import pickle
import sys
import threading
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.life import Machine, leads, make
from tests.helpers.storages import founded
from tests.helpers.threads import ends, start
from tests.helpers.waiting import WAIT, eventually

# --- all or nothing ------------------------------------------------------------------------------


def test_a_batch_is_taken_whole_or_not_at_all(impl):
    """More than may wait: not done, nothing of it is applied, and the node goes on."""
    machine = Machine()
    with make(impl, machine=machine, max_waiting_bytes=16_384, max_entry_bytes=4096) as node:
        leads(node)
        with pytest.raises(impl.NotDone, match="max_waiting_bytes"):
            node.propose_many([bytes(1000)] * 100).result(timeout=WAIT)
        assert len(node.propose_many([bytes(1000)] * 10).result(timeout=WAIT)) == 10
        assert node.propose(b"x").result(timeout=WAIT).result == 11
    assert len(machine.entries) == 11


WIDE = memoryview(array.array("Q", range(1000)))  # 1,000 items, 8,000 bytes


def test_sizes_are_bytes(impl):
    """A memoryview has as many bytes as it has, whatever its items are."""
    with make(impl, max_entry_bytes=4096) as node:
        leads(node)
        with pytest.raises(impl.EntryTooLarge, match="8000 bytes"):
            node.propose(WIDE)
        with pytest.raises(impl.EntryTooLarge, match="8000 bytes"):
            node.propose_many([b"", WIDE])
        assert node.propose(WIDE[:512]).result(timeout=WAIT).result == 1
        for data in (bytearray(b"x"), memoryview(b"-x-")[1:2], memoryview(b"xyzw")[::2]):
            assert node.propose(data).result(timeout=WAIT)
        for wrong in (5, "text", None, [1]):
            with pytest.raises(TypeError, match="bytes"):
                node.propose(wrong)
            with pytest.raises(TypeError, match="bytes"):
                node.propose_many([b"", wrong])


def test_frames_are_measured_in_bytes(impl):
    link = module(impl, "transport.link")
    system = module(impl, "_native.threads")
    queue = link.QueueLink(system.Event(), system.Event(), 4096)
    assert not queue.deliver(WIDE)
    assert queue.deliver(WIDE[:512])
    assert not queue.deliver(b"x")
    for wrong in (5, "text", None):
        with pytest.raises(TypeError, match="frame"):
            queue.deliver(wrong)


# --- how many ------------------------------------------------------------------------------------


def test_open_proposals_are_counted(impl):
    """Above max_open_proposals they end as not done at once; when some end, there is room again."""
    machine = Machine()
    machine.hold.clear()
    with make(impl, machine=machine, max_open_proposals=50) as node:
        leads(node)
        futures = [node.propose(b"hold")]
        assert machine.held.wait(WAIT)
        futures += [node.propose(b"x") for _ in range(29)]
        futures.append(node.propose_many([b""] * 20))
        for refused in (node.propose(b"more"), node.propose_many([b"more"]), node.propose_many([b""] * 60)):
            assert refused.done()
            assert isinstance(refused.exception(), impl.NotDone)
            assert "max_open_proposals=50" in str(refused.exception())
        assert node.status().pending == 50
        machine.hold.set()
        for future in futures:
            future.result(timeout=WAIT)
        assert node.propose(b"again").result(timeout=WAIT).result == 51
        assert node.status().pending == 0
    for wrong in (0, -1, 2**31, 1.0, True):
        with pytest.raises(impl.ConfigError, match="max_open_proposals"):
            impl.Config(id=1, max_open_proposals=wrong)


# --- nothing is left behind ----------------------------------------------------------------------


def blocks():
    gc.collect()
    return sys.getallocatedblocks()


def test_polling_leaves_nothing(impl):
    future = module(impl, "node.futures").Future()

    def poll():
        for _ in range(3000):
            for timeout in (0, -1, 1e-7):
                with pytest.raises(TimeoutError):
                    future.result(timeout=timeout)

    async def give_up():
        for _ in range(500):
            task = asyncio.ensure_future(wait_for(future))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    poll()
    asyncio.run(give_up())
    before = blocks()
    poll()
    asyncio.run(give_up())
    assert blocks() - before < 800
    future.set_result(1)
    assert future.result() == 1


async def wait_for(future):
    return await future


def test_many_wait_give_up_and_are_woken(impl):
    """Waiters that give up at the moment of the end take nobody else's wake-up."""
    futures = module(impl, "node.futures")
    for turn in range(60):
        future = futures.Future()
        seen = []

        def wait(timeout, future=future, seen=seen):
            try:
                seen.append(future.result(timeout=timeout))
            except TimeoutError:
                seen.append(None)

        threads = [start(wait, timeout) for timeout in (0.001, 0.002, WAIT, WAIT, WAIT)]
        time.sleep(0.0003 * (turn % 8))
        future.set_result("x")
        assert ends(*threads)
        assert seen.count("x") >= 3


def test_first_waiters_at_the_same_moment(impl):
    """Both are woken, and each callback is called once."""
    futures = module(impl, "node.futures")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            future, called, gate = futures.Future(), [], threading.Barrier(5)

            def wait(future=future, gate=gate):
                gate.wait(WAIT)
                return future.result(timeout=WAIT)

            def add(future=future, called=called, gate=gate):
                gate.wait(WAIT)
                future.add_done_callback(called.append)

            threads = [start(wait), start(wait), start(add), start(add)]
            gate.wait(WAIT)
            future.set_result(1)
            assert ends(*threads)
            assert len(called) == 2
    finally:
        sys.setswitchinterval(interval)


# --- futures beside those of the standard library -------------------------------------------------


def test_a_cancelled_future_is_cancelled_for_asyncio(impl):
    futures = module(impl, "node.futures")

    async def main():
        future = futures.Future()
        waiting = asyncio.ensure_future(wait_for(future))
        await asyncio.sleep(0.01)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(asyncio.CancelledError):
            await future

    asyncio.run(main())


def test_wrap_future(impl):
    """asyncio.wrap_future takes it, as a result, as an error and cancelled."""
    with make(impl) as node:
        leads(node)

        async def main():
            assert (await asyncio.wrap_future(node.propose(b"x"))).result == 1
            future = module(impl, "node.futures").Future()
            wrapped = asyncio.wrap_future(future)
            wrapped.cancel()
            await asyncio.sleep(0.01)
            assert future.cancelled()
            failed = module(impl, "node.futures").Future()
            asyncio.get_running_loop().call_later(0.01, failed.set_exception, impl.NotDone("no"))
            with pytest.raises(impl.NotDone):
                await asyncio.wrap_future(failed)

        asyncio.run(main())
        done, open_ = concurrent.futures.wait([node.propose(b"y"), node.propose_many([b"z"])], timeout=WAIT)
        assert (len(done), len(open_)) == (2, 0)


def test_a_callback_that_is_called_now(impl):
    """It raises into nobody, but for what is to end the thread."""
    future = module(impl, "node.futures").Future()
    future.set_result(1)
    future.add_done_callback(lambda _: 1 / 0)
    with pytest.raises(SystemExit):
        future.add_done_callback(lambda _: sys.exit(1))


# --- copies --------------------------------------------------------------------------------------


def samples(impl):
    """One of each exception, as it is raised."""
    errors = module(impl, "errors")
    some = {name: getattr(errors, name) for name in dir(errors)}
    kinds = [kind for kind in some.values() if isinstance(kind, type) and issubclass(kind, impl.RaftError)]
    assert len(kinds) > 20
    made = [kind("why") for kind in kinds]
    unknown = impl.Unknown("some")
    unknown.outcomes = [impl.Done(7, 2, "r"), impl.NotDone("no")]
    return [*made, unknown]


@pytest.mark.parametrize("way", ["pickle", "copy", "deepcopy", "twice"])
def test_exceptions_are_copied_as_they_are(impl, way):
    if impl.__name__ not in sys.modules:
        pytest.skip("pickle needs the module's name")
    ways = {
        "pickle": lambda error: pickle.loads(pickle.dumps(error)),
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
        "twice": lambda error: pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(error)))),
    }
    for error in samples(impl):
        other = ways[way](error)
        assert type(other) is type(error)
        assert (str(other), other.args) == (str(error), error.args)
        assert getattr(other, "reason", None) == getattr(error, "reason", None)
        assert [str(each) for each in getattr(other, "outcomes", [])] == [
            str(each) for each in getattr(error, "outcomes", [])
        ]
    assert str(impl.FrameError("range")) == "invalid frame: range"


def test_a_future_is_not_copied(impl):
    future = module(impl, "node.futures").Future()
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="Future"):
            way(future)


# --- ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [1.0, True, "1", None, 0, -1, 2**63])
def test_what_is_no_id_is_refused_everywhere(impl, tmp_path, wrong):
    with pytest.raises(impl.ConfigError, match="id"):
        impl.Config(id=wrong)
    for make_storage in (
        impl.MemoryStorage,
        lambda voters, learners=(): founded(impl, tmp_path / "x", voters, learners),
    ):
        for members in (([wrong],), ([wrong, 2],), ([1], [wrong])):
            with pytest.raises((impl.ConfigError, TypeError)):
                make_storage(*members)
    with pytest.raises(impl.ConfigError, match="peers"):
        impl.NngTransport("tcp://127.0.0.1:0", {wrong: "tcp://127.0.0.1:5601"})
    with pytest.raises(impl.ConfChangeError):
        impl.ConfState(voters=(wrong,)).encode()
    if wrong != 0:
        with pytest.raises(impl.ConfChangeError):
            impl.ConfChange((impl.ConfChangeSingle(0, wrong),))
    node = impl.RawNode(impl.Config(id=1, pre_vote=False), conf_state=impl.ConfState(voters=(1, 2)))
    for call in (
        lambda: node.transfer_leader(wrong),
        lambda: node.report_unreachable(wrong),
        lambda: node.report_snapshot(wrong, True),
        lambda: node.set_max_inflight(wrong, 1),
        lambda: node.assign_commit_groups({wrong: 1}),
        lambda: impl.RawNode(impl.Config(id=1)).bootstrap([wrong]),
        lambda: impl.RawNode(impl.Config(id=1), conf_state=impl.ConfState(voters=(wrong,))),
    ):
        if wrong in (0, -1, 2**63) and type(wrong) is int:
            continue
        with pytest.raises(TypeError):
            call()


def test_transfer_to_what_is_no_id(impl):
    with make(impl) as node:
        leads(node)
        for wrong in (1.0, True, "1"):
            with pytest.raises(TypeError, match="id"):
                node.transfer_leadership(wrong)
        for wrong in (-1, 2, 2**63):
            with pytest.raises(impl.UsageError, match="voter"):
                node.transfer_leadership(wrong)
        eventually(lambda: node.is_leader)


def test_a_close_does_not_wait_for_all_that_a_slow_machine_has_left(impl):
    """It ends between two entries; what is left is applied after the next start."""
    storage = module(impl, "storage.memory").MemoryStorage(voters=[1])
    machine = Machine()
    machine.hold.clear()
    node = make(impl, storage, machine).start()
    leads(node)
    left = [b"%d" % number for number in range(100)]
    future = node.propose_many([b"hold", *left])
    assert machine.held.wait(WAIT)
    closing = start(node.close)
    eventually(lambda: node._parts.applier.given_up)
    machine.hold.set()
    assert ends(closing)
    assert node.wait(0) and machine.entries == [b"hold"]
    assert isinstance(future.exception(0), impl.Unknown)
    machine = Machine()
    with make(impl, storage, machine) as node:
        leads(node)
        eventually(lambda: machine.entries == [b"hold", *left])


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 10**30])
def test_a_close_may_have_any_time(impl, timeout):
    """More than a system counts is as much as it can."""
    node = make(impl)
    node.start()
    leads(node)
    node.close(timeout)
    assert node.wait(0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("raftx-apply")]
