"""A raftx.Future where the standard library takes one of its own: concurrent.futures and asyncio."""

import asyncio
import concurrent.futures
import sys
import threading
import time

import pytest

from tests.helpers.implementations import module
from tests.helpers.loops import KINDS, Loops
from tests.helpers.waiting import WAIT


@pytest.fixture
def future(impl):
    return module(impl, "node.futures").Future


@pytest.fixture(params=KINDS)
def loops(request):
    made = Loops(request.param)
    yield made
    assert made.told == []


def later(call, *values):
    """On another thread, a moment from now."""
    timer = threading.Timer(0.02, call, values)
    timer.start()
    return timer


# --- concurrent.futures ----------------------------------------------------------------------------


def test_wait_for_the_first_that_ends(future):
    first, second, third = future(), future(), concurrent.futures.Future()
    timer = later(second.set_result, 2)
    done, pending = concurrent.futures.wait([first, second, third], WAIT, concurrent.futures.FIRST_COMPLETED)
    timer.join()
    assert (done, pending) == ({second}, {first, third})


def test_wait_for_the_first_that_fails(future, impl):
    first, second = future(), future()
    timer = later(second.set_exception, impl.NotDone("no leader"))
    done, pending = concurrent.futures.wait([first, second], WAIT, concurrent.futures.FIRST_EXCEPTION)
    timer.join()
    assert (done, pending) == ({second}, {first})


def test_wait_ends_in_time_and_leaves_nothing_behind(future):
    some = [future(), future()]
    some[0].cancel()
    done, pending = concurrent.futures.wait(some, 0.01)
    assert (done, pending) == ({some[0]}, {some[1]})
    assert some[1]._waiters == []


def test_as_completed_gives_each_as_it_ends(future):
    some = [future() for _ in range(3)]
    some[2].set_result(2)
    seen = []
    for ended in concurrent.futures.as_completed(some, WAIT):
        seen.append(some.index(ended))
        if len(seen) < 3:
            later(some[2 - len(seen)].set_result, None).join()
    assert seen == [2, 1, 0]


def test_as_completed_raises_when_the_time_is_over(future):
    open_one = future()
    with pytest.raises(concurrent.futures.TimeoutError):
        list(concurrent.futures.as_completed([open_one], 0.01))
    assert open_one._waiters == []


# --- asyncio -----------------------------------------------------------------------------------------


def test_wrap_future(future, impl, loops):
    async def main():
        good, bad, early = future(), future(), future()
        early.set_result(1)
        wrapped = [asyncio.wrap_future(each) for each in (good, bad, early)]
        assert all(isinstance(each, asyncio.Future) for each in wrapped)
        timers = [later(good.set_result, 3), later(bad.set_exception, impl.Unknown("stopped"))]
        assert await asyncio.wait_for(wrapped[0], WAIT) == 3
        with pytest.raises(impl.Unknown, match="stopped"):
            await asyncio.wait_for(wrapped[1], WAIT)
        assert await wrapped[2] == 1
        for timer in timers:
            timer.join()
        # Cancelled on either side, cancelled on the other.
        here, there = future(), future()
        wrapped = [asyncio.wrap_future(here), asyncio.wrap_future(there)]
        here.cancel()
        wrapped[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await wrapped[0]
        await asyncio.sleep(0)
        assert there.cancelled()

    loops.run(main())


@pytest.mark.parametrize("when", ["before", "after"])
def test_asyncio_wait(future, impl, loops, when):
    """It calls back in its loop, whatever thread ends the future."""

    async def main():
        good, bad, never = future(), future(), future()
        if when == "before":
            good.set_result(1)
            bad.set_exception(impl.NotDone("no leader"))
        timers = [later(good.set_result, 1), later(bad.set_exception, impl.NotDone("x"))] if when == "after" else []
        began = time.monotonic()
        done, pending = await asyncio.wait([good, bad], timeout=WAIT)
        assert time.monotonic() - began < WAIT
        assert len(done) == 2 and not pending
        failed = [each for each in done if each.exception() is not None]
        assert [each.result() for each in done if each not in failed] == [1] and len(failed) == 1
        done, pending = await asyncio.wait([never, good], timeout=WAIT, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == len(pending) == 1
        done, pending = await asyncio.wait([never], timeout=0.01)
        assert not done and len(pending) == 1
        for timer in timers:
            timer.join()
        if sys.version_info >= (3, 11):  # before, each is wrapped in a task
            assert pending == {never}
            assert never.remove_done_callback(print) == 0 and not never.run_callbacks()
        for each in pending:
            each.cancel()

    loops.run(main())


def test_asyncio_takes_it_where_it_takes_what_can_be_awaited(future, loops):
    async def main():
        some = [future() for _ in range(4)]
        timers = [later(each.set_result, number) for number, each in enumerate(some)]
        assert await asyncio.gather(*some[:2]) == [0, 1]
        assert await asyncio.wait_for(some[2], WAIT) == 2
        assert [await each for each in asyncio.as_completed(some[3:], timeout=WAIT)] == [3]
        assert await asyncio.shield(some[0]) == 0
        assert await asyncio.ensure_future(some[1]) == 1
        for timer in timers:
            timer.join()

    loops.run(main())


def test_what_takes_coroutines_alone_says_so(future, loops):
    async def main():
        with pytest.raises(TypeError, match="coroutine"):
            asyncio.get_running_loop().create_task(future())

    loops.run(main())


# --- callbacks ----------------------------------------------------------------------------------------


def test_a_callback_that_was_taken_back_is_not_called(future):
    made, seen = future(), []
    made.add_done_callback(seen.append)
    made.add_done_callback(seen.append)
    made.add_done_callback(print)
    assert made.remove_done_callback(seen.append) == 2
    assert made.remove_done_callback(seen.append) == 0
    assert made.remove_done_callback(print) == 1
    made.set_result(1)
    assert seen == [] and future().remove_done_callback(print) == 0
