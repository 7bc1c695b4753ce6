"""raftx.Future: the outcome object itself, without a node."""

import asyncio
import concurrent.futures
import threading

import pytest

from tests.helpers.implementations import module


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


@pytest.fixture
def outcomes(impl):
    return module(impl, "node.outcomes").Outcomes(10**9)


@pytest.mark.parametrize("many", [False, True])
def test_who_registers_after_the_node_has_ended_is_told(outcomes, errors, futures, many):
    """The proposer had its number before the end, and comes with its future after it."""
    cause = OSError(5, "gone")
    outcomes.end(cause)
    future = futures.Future()
    if many:
        outcomes.register_many(1, 2, future)
    else:
        outcomes.register(1, future)
    error = future.exception(timeout=5)
    assert isinstance(error, errors.Unknown)
    assert error.__cause__ is cause
    assert outcomes.count() == 0


@pytest.mark.parametrize("many", [False, True])
def test_what_was_applied_before_it_was_registered_is_done(outcomes, futures, many):
    """The engine may be faster than the thread that has proposed."""
    future = futures.Future()
    early = outcomes.early
    refuse = outcomes.refuse  # the way in from Python: what was applied takes the same
    refuse(1, 2 if many else 1, 2, "no leader")
    assert len(early) == (2 if many else 1)
    if many:
        outcomes.register_many(1, 2, future)
    else:
        outcomes.register(1, future)
    assert str(future.exception(timeout=5)) == "no leader"
    assert not early and outcomes.count() == 0


def test_who_registers_runs_no_callback_of_others(outcomes, futures):
    """Another thread ends a future, and has not called its callbacks yet: they do not run within a proposal."""
    called = []
    other = futures.Future()
    other.add_done_callback(called.append)
    outcomes.settle(outcomes.open(4, other), "ended")
    outcomes.early[5] = ValueError("it ended before it was registered")
    outcomes.register(5, own := futures.Future())
    assert own.done() and called == []
    outcomes.refuse(1, 0, 0, "")  # the other thread comes to wake who waits
    assert called == [other]


def test_what_nobody_registers_is_forgotten(outcomes):
    outcomes.refuse(1, 3, 3, "no leader")
    assert len(outcomes.early) == 3
    outcomes.expire(0)
    outcomes.expire(1)
    assert not outcomes.early


@pytest.mark.parametrize("many", [False, True])
def test_what_was_registered_late_expires(outcomes, futures, many):
    """A thread was slow between its proposal and its registration; one that proposed after it was not."""
    late, soon = futures.Future(), futures.Future()
    outcomes.register(9, soon)
    outcomes.expire(0)
    outcomes.expire(10**15)
    assert "no outcome within its time" in str(soon.exception(timeout=5))
    if many:
        outcomes.register_many(7, 2, late)
    else:
        outcomes.register(8, late)
    outcomes.expire(2 * 10**15)
    assert not late.done()
    outcomes.expire(3 * 10**15)
    assert "no outcome within its time" in str(late.exception(timeout=5))
    assert outcomes.count() == 0


def test_a_refusal_of_more_than_there_is_costs_nothing(outcomes, futures):
    """What a peer says may be anything."""
    some = [futures.Future() for _ in range(3)]
    for number, future in enumerate(some, 1):
        outcomes.register(number, future)
    outcomes.refuse(2, 2**63, 3, "no leader")  # it would never end, were each number looked up
    outcomes.refuse(0, 2**62, 3, "no leader")
    assert [str(future.exception(timeout=5)) for future in some] == ["no leader"] * 3
    assert len(outcomes.early) < 2000


# --- what is to end twice ---------------------------------------------------------------------------


def test_what_is_to_end_twice_ends_once_and_is_counted(outcomes, futures, errors):
    future = futures.Future()
    for times in range(2):
        outcomes.register(1, future)
        outcomes.refuse(1, 1, 2, f"refused {times}")
        assert outcomes.ended_again == times
    assert str(future.exception()) == "refused 0"
    number = outcomes.open(1, futures.Future())
    item = outcomes.asked[number]
    outcomes.settle(number, "done")
    outcomes.asked[number] = item
    outcomes.settle(number, "done again")
    assert (item.result(), outcomes.ended_again) == ("done", 2)


def test_a_part_of_a_batch_that_is_to_end_twice_does_not_end_another(outcomes, futures, errors):
    future = futures.Future()
    outcomes.register_many(1, 4, future)
    batch = outcomes.batches[1]
    outcomes.refuse(1, 1, 3, "refused")
    batch.taken[0] = 0
    outcomes.refuse(1, 2, 3, "refused")
    assert outcomes.ended_again == 1
    assert not future.done()
    batch.taken[0] = 0
    outcomes.end(None)
    assert outcomes.ended_again == 2
    kinds = [type(outcome) for outcome in future.exception().outcomes]
    assert kinds == [errors.NotDone, errors.NotDone, errors.Unknown, errors.Unknown]


def test_what_was_cancelled_or_given_up_is_not_ended_twice(outcomes, futures):
    cancelled, batch = futures.Future(), futures.Future()
    outcomes.register(1, cancelled)
    outcomes.register_many(2, 2, batch)
    cancelled.cancel()
    outcomes.refuse(1, 1, 3, "refused")
    outcomes.end_unknown(2, "overdue", None)
    outcomes.refuse(3, 1, 3, "refused")
    outcomes.end(None)
    assert batch.done() and outcomes.ended_again == 0
