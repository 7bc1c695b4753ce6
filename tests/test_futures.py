"""raftx.Future: the outcome object itself, without a node."""

import asyncio
import concurrent.futures
import threading

import pytest
from conftest import module


@pytest.fixture
def futures(impl):
    return module(impl, "node.futures")


@pytest.fixture
def errors(impl):
    return module(impl, "errors")


def settle(future, value, index=7, term=2):
    """End a future as the apply thread does."""
    done = threading.Thread(target=lambda: future.set_result(value))
    done.start()
    done.join()


def test_result_and_done(futures):
    future = futures.Future()
    assert not future.done()
    assert not future.running()
    assert not future.cancelled()
    future.set_result(5)
    assert future.done()
    assert future.result() == 5
    assert future.exception() is None


def test_exception(futures, errors):
    future = futures.Future()
    future.set_exception(errors.NotDone("no leader"))
    with pytest.raises(errors.NotDone, match="no leader"):
        future.result(timeout=0)
    assert isinstance(future.exception(), errors.NotDone)


def test_ends_once(futures, errors):
    future = futures.Future()
    future.set_result(1)
    with pytest.raises(errors.UsageError):
        future.set_result(2)
    with pytest.raises(errors.UsageError):
        future.set_exception(ValueError())
    assert future.result() == 1


def test_timeout_leaves_it_open(futures):
    future = futures.Future()
    with pytest.raises(TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.exception(timeout=0)
    future.set_result("late")
    assert future.result(timeout=0) == "late"


def test_many_waiters(futures):
    future = futures.Future()
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(future.result(timeout=10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    future.set_result("x")
    for thread in threads:
        thread.join(10)
    assert seen == ["x"] * 8


def test_no_lost_wakeup(futures):
    for _ in range(300):
        future = futures.Future()
        thread = threading.Thread(target=future.set_result, args=(1,))
        thread.start()
        assert future.result(timeout=10) == 1
        thread.join()


def test_cancel(futures):
    future = futures.Future()
    assert future.cancel()
    assert future.cancelled()
    assert future.done()
    assert not future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    ended = futures.Future()
    ended.set_result(1)
    assert not ended.cancel()


def test_callbacks(futures, caplog):
    future = futures.Future()
    seen = []
    future.add_done_callback(lambda f: seen.append(("a", f)))
    future.add_done_callback(lambda f: 1 / 0)
    future.add_done_callback(lambda f: seen.append(("b", f)))
    future.set_result(1)
    future.add_done_callback(lambda f: seen.append(("c", f)))
    assert [name for name, f in seen] == ["a", "b", "c"]
    assert all(f is future for _, f in seen)
    assert "callback" in caplog.text


def test_wait_and_as_completed(futures):
    some = [futures.Future() for _ in range(5)]
    some[0].set_result(0)
    timer = threading.Timer(0.02, lambda: [f.set_result(i) for i, f in enumerate(some) if i])
    timer.start()
    done, pending = concurrent.futures.wait(some, timeout=10)
    timer.join()
    assert (len(done), len(pending)) == (5, 0)
    assert sorted(f.result() for f in concurrent.futures.as_completed(some, timeout=10)) == [0, 1, 2, 3, 4]


def test_await(futures, errors):
    async def main():
        good, bad = futures.Future(), futures.Future()
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, good.set_result, 3)
        loop.run_in_executor(None, bad.set_exception, errors.Unknown("stopped"))
        assert await good == 3
        with pytest.raises(errors.Unknown):
            await bad
        assert await good == 3

    asyncio.run(main())


def test_await_timeout(futures):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_wait(futures.Future()), 0.01)

    asyncio.run(main())


async def _wait(future):
    return await future


def test_done_value(futures):
    done = futures.Done(7, 2, "r")
    assert (done.index, done.term, done.result) == (7, 2, "r")
    assert done == futures.Done(7, 2, "r")
    assert done != futures.Done(8, 2, "r")
    assert repr(done) == "Done(index=7, term=2, result='r')"


@pytest.mark.parametrize("many", [False, True])
def test_who_is_about_to_register_when_the_node_ends_is_told(impl, errors, futures, many):
    """The proposer has its number already and holds the lock: the end of the node waits for it."""
    system = module(impl, "_sys")
    applier = module(impl, "node.apply").Applier(1, 1, system.Handoff(system.Event()), system.Clock(), None, 10**9)
    applier.state_changes = module(impl, "node.events").Stream(1, newest_only=True)
    future = futures.Future()
    ending = threading.Thread(target=applier.end, args=(None,))
    with applier.lock:
        ending.start()
        ending.join(0.1)
        if many:
            applier.register_many(1, 2, future)
        else:
            applier.register(1, future)
    ending.join()
    assert isinstance(future.exception(timeout=5), errors.Unknown)
