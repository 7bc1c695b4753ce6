"""Outcomes in a loop: asyncio's futures, many in one callback, dropped where nobody waits. Both modes, both loops."""

import asyncio
import gc
import logging
import sys
import threading
import time
import weakref

import pytest

from tests.helpers.cluster import Machine
from tests.helpers.implementations import module
from tests.helpers.loops import KINDS, Loops, alone, leads
from tests.helpers.machines import Machine as WithSnapshots
from tests.helpers.waiting import WAIT, eventually


@pytest.fixture(params=KINDS)
def loops(request):
    made = Loops(request.param)
    yield made
    assert made.told == []


class Gated(Machine):
    """Applies nothing while its gate is closed."""

    def __init__(self):
        super().__init__()
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def apply(self, entry):
        self.entered.set()
        assert self.gate.wait(WAIT)
        if entry.data == b"refused":
            raise self.refusal
        return super().apply(entry)


@pytest.fixture
def machine(impl):
    made = Gated()
    made.refusal = impl.ApplyError("refused")
    yield made
    made.gate.set()


class CountingLoop:
    """As much of a loop as a Post needs; calls nothing by itself."""

    def __init__(self):
        self.calls = []
        self.closed = False

    def call_soon_threadsafe(self, call):
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.calls.append(call)

    def is_closed(self):
        return self.closed


# --- as asyncio has them -------------------------------------------------------------------------------


def test_everything_of_asyncio_takes_them(impl, loops, machine):
    async def main():
        async with alone(impl, machine) as node:
            await leads(node)
            future = node.propose(b"1")
            assert isinstance(future, asyncio.Future) and asyncio.isfuture(future)
            assert future.get_loop() is asyncio.get_running_loop() and future.progress is None
            assert (await future).result == 1 and future.result().index == node.applied_index
            done = await asyncio.gather(node.propose(b"2"), node.propose(b"3"))
            assert [each.result for each in done] == [2, 3]
            some = {node.propose(b"4"), node.propose(b"5")}
            assert await asyncio.wait(some, timeout=WAIT) == (some, set())
            assert (await asyncio.wait_for(node.propose(b"6"), WAIT)).result == 6
            assert (await asyncio.shield(node.propose(b"7"))).result == 7
            assert (await asyncio.ensure_future(node.propose(b"8"))).result == 8
            assert [(await each).result for each in asyncio.as_completed([node.propose(b"9")])] == [9]
            seen = []
            last = node.propose(b"10")
            last.add_done_callback(lambda ended: seen.append((threading.get_ident(), ended)))
            await last
            await asyncio.sleep(0)
            assert seen == [(threading.get_ident(), last)]

            async def proposal():
                return (await node.propose(b"11")).result

            assert await asyncio.get_running_loop().create_task(proposal()) == 11
            if sys.version_info >= (3, 11):
                async with asyncio.timeout(WAIT):
                    assert (await node.propose(b"12")).result == 12
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(proposal())
                assert task.result() == 13

    loops.run(main())


def test_every_request_ends_in_the_loop(impl, loops, tmp_path):
    async def main():
        async with alone(impl, WithSnapshots()) as node:
            await leads(node)
            assert [each.result for each in await node.propose_many([b"a", b"b"])] == [1, 2]
            assert (await node.propose(b"c", timeout=WAIT)).result == 3
            assert await node.query(lambda machine: list(machine.items)) == [b"a", b"b", b"c"]
            assert await node.read() == await node.read(level="lease") == node.applied_index
            assert await node.read(level="stale", max_staleness=5.0) >= 3
            assert (await node.barrier()).result is None
            assert (await node.snapshot()).index == node.applied_index
            assert (await node.backup(tmp_path / "backup")).index == node.applied_index
            assert (tmp_path / "backup").exists()
            assert await node.compact(1) == 1
            assert (await node.campaign()).leader == 1
            with pytest.raises(impl.NotDone):
                await node.remove(1, timeout=0.2)
            assert (await node.add_learner(7, timeout=WAIT)).conf_state.learners == (7,)
            with pytest.raises(impl.UsageError):
                await node.transfer_leadership(7)
            assert (await node.step_down()).leader == 0

    loops.run(main())


def test_failures_are_raised_as_they_are(impl, loops, machine):
    async def main():
        async with alone(impl, machine) as node:
            await leads(node)
            with pytest.raises(impl.ApplyError, match="refused"):
                await node.propose(b"refused")
            with pytest.raises(impl.EntryTooLarge):
                node.propose(bytes((1 << 20) + 1))
            with pytest.raises(ZeroDivisionError):
                await node.query(lambda machine: 1 // 0)
            with pytest.raises(RuntimeError, match="StopIteration came out of") as raised:
                await node.query(lambda machine: next(iter(())))
            assert isinstance(raised.value.__cause__, StopIteration)

    loops.run(main())


# --- many at a time --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["refused", "overdue", "ended"])
def test_what_ends_together_comes_in_one_callback(impl, end):
    """Whatever ends it: the apply thread, the watch thread, the end of the node."""
    futures, outcomes = module(impl, "node.futures"), module(impl, "node.outcomes").Outcomes(10**9)
    loop = CountingLoop()
    post = futures.Post(loop, lambda: None)
    some = [futures.Future() for _ in range(100)]
    for number, future in enumerate(some, 1):
        future._owner = outcomes
        assert future.post_to(post, number)
        outcomes.register(number, future)
    if end == "refused":
        outcomes.refuse(1, 100, 100, "no leader")
    elif end == "overdue":
        outcomes.expire(0)
        outcomes.expire(10**15)
    else:
        outcomes.end(None)
        assert loop.calls == []  # it may be in a signal handler, so this is left to the watch thread
        outcomes.call_late()
    assert all(future.done() for future in some)
    assert len(loop.calls) == 1
    taken = post.take()
    assert len(taken) == 100 and {future.waiter for future in taken} == {*range(1, 101)}
    assert not outcomes.held


def test_a_loop_is_told_again_after_it_has_looked(impl):
    futures = module(impl, "node.futures")
    loop = CountingLoop()
    post = futures.Post(loop, lambda: None)
    for count in (1, 2):
        for _ in range(3):
            future = futures.Future()
            future.post_to(post, None)
            future.set_result(count)
        assert len(loop.calls) == count
        assert [future.result() for future in post.take()] == [count] * 3
    ended = futures.Future()
    ended.set_result(1)
    assert not ended.post_to(post, None)
    assert post.take() == [] and len(loop.calls) == 2


def test_two_loops_are_told_once_each(impl):
    futures, outcomes = module(impl, "node.futures"), module(impl, "node.outcomes").Outcomes(10**9)
    loops = [CountingLoop(), CountingLoop()]
    posts = [futures.Post(loop, lambda: None) for loop in loops]
    for number in range(1, 11):
        future = futures.Future()
        future._owner = outcomes
        future.post_to(posts[number % 2], number)
        outcomes.register(number, future)
    outcomes.refuse(1, 10, 10, "no leader")
    assert [len(loop.calls) for loop in loops] == [1, 1]
    assert [len(post.take()) for post in posts] == [5, 5]


@pytest.mark.parametrize("timeout", [None, WAIT])
def test_a_batch_of_a_node_wakes_the_loop_once(impl, loops, machine, timeout):
    """500 are committed while the first of them is being applied: those behind it are one batch."""

    async def main():
        async with alone(impl, machine) as node:
            await leads(node)
            await node.propose(b"first")
            fetched = []
            mail = node._mail
            fetch = mail._fetch
            mail._post = module(impl, "node.futures").Post(mail.loop, lambda: (fetched.append(1), fetch()))
            machine.gate.clear()
            some = [node.propose(b"x", timeout=timeout) for _ in range(500)]
            await asyncio.to_thread(eventually, lambda: node.commit_index >= node.applied_index + 500)
            machine.gate.set()
            assert sorted([done.result for done in await asyncio.gather(*some)]) == list(range(2, 502))
            assert len(fetched) <= 10

    loops.run(main())


# --- where nobody waits ------------------------------------------------------------------------------------


def test_who_is_cancelled_waits_no_more_and_nothing_is_said(impl, loops, machine, caplog):
    async def main():
        async with alone(impl, machine) as node:
            await leads(node)
            machine.gate.clear()

            async def proposer(data):
                await node.propose(data)

            tasks = [asyncio.ensure_future(proposer(data)) for data in (b"a", b"refused", b"b")]
            direct = [node.propose(b"c"), node.propose(b"refused")]
            await asyncio.sleep(0.01)
            for each in tasks + direct:
                assert each.cancel()
            assert not direct[0].cancel()
            await asyncio.gather(*tasks, *direct, return_exceptions=True)
            assert all(each.cancelled() for each in tasks + direct)
            machine.gate.set()
            # It was not undone.
            assert (await node.propose(b"d")).result == 4
            assert sorted(machine.commands) == [b"a", b"b", b"c", b"d"]
            assert node.node._outcomes.ended_again == 0

    with caplog.at_level(logging.WARNING):
        loops.run(main())
    gc.collect()
    assert "never retrieved" not in caplog.text and "asyncio" not in {record.name for record in caplog.records}


def test_who_is_cancelled_when_the_outcome_is_on_its_way(impl, loops):
    futures = module(impl, "node.futures")

    async def main():
        mail = module(impl, "aio.futures").Mail(asyncio.get_running_loop())
        for end in (lambda native: native.set_result(1), lambda native: native.set_exception(impl.NotDone("late"))):
            native = futures.Future()
            future = mail.future(native)
            end(native)
            assert not future.done() and future.cancel()
            await asyncio.sleep(0.01)
            assert future.cancelled() and native.waiter is None

    loops.run(main())


def test_a_timeout_of_asyncio_ends_the_waiting_alone(impl, loops, machine):
    async def main():
        async with alone(impl, machine) as node:
            await leads(node)
            machine.gate.clear()
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(node.propose(b"refused"), 0.01)
            future = node.propose(b"shielded")
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(asyncio.shield(future), 0.01)
            assert not future.done()
            machine.gate.set()
            assert (await future).result == 1

    loops.run(main())


def test_a_loop_that_is_closed_costs_nothing_and_says_nothing(impl, loops, machine, caplog):
    node = alone(impl, machine)
    seen = {}

    async def main():
        await node.start()
        await leads(node)
        await node.propose(b"first")
        machine.entered.clear()
        machine.gate.clear()
        for data in (b"a", b"refused", b"b") * 10:
            future = node.propose(data)
            seen.setdefault("first", weakref.ref(future))
        stream = node.state_changes()
        while len(stream):
            await stream.next()
        asyncio.get_running_loop().create_task(stream.next())
        await asyncio.sleep(0)

    with caplog.at_level(logging.INFO, logger="asyncio"):
        loops.run(main())
        machine.gate.set()
        # Read from the other face: everything was applied, and nobody minds.
        assert node.node.propose(b"c", timeout=WAIT).result(WAIT).result == 22
        eventually(lambda: gc.collect() is not None and seen["first"]() is None)
        assert not node._mail._post.take()

        async def again():
            assert (await node.propose(b"d", timeout=WAIT)).result == 23
            await node.close()

        loops.run(again())
    assert [record for record in caplog.records if record.name == "asyncio"] == []
    assert not node.node.failure


def test_nothing_is_kept_for_a_loop_that_was_closed_in_between(impl):
    """It was told, and closed before it looked."""
    futures = module(impl, "node.futures")
    loop = CountingLoop()
    post = futures.Post(loop, lambda: None)
    for closed in (False, True, True):
        loop.closed = closed
        future = futures.Future()
        future.post_to(post, None)
        future.set_result(1)
    assert post.take() == []
    post = futures.Post(loop, lambda: None)
    future = futures.Future()
    future.post_to(post, None)
    future.set_result(1)
    assert post.take() == []


def test_a_loop_that_fails_does_not_end_who_tells_it(impl, caplog):
    futures = module(impl, "node.futures")

    class Fails(CountingLoop):
        def call_soon_threadsafe(self, call):
            raise OSError("no pipe")

    future, seen = futures.Future(), []
    future.post_to(futures.Post(Fails(), lambda: None), None)
    future.add_done_callback(seen.append)
    future.set_result(1)
    assert seen == [future] and "a loop could not be told of outcomes" in caplog.text


def test_an_outcome_that_nobody_has_looked_at_is_told_as_asyncio_does(impl, machine):
    loops = Loops("asyncio")

    async def main():
        async with alone(impl, machine) as node:
            await leads(node)
            future = node.propose(b"refused")
            await asyncio.wait([future])
            del future

    loops.run(main())
    gc.collect()
    assert [str(each["exception"]) for each in loops.told] == ["refused"]


def test_no_outcome_is_lost_between_threads(impl, loops):
    """Futures that end while they are being posted: each comes, once."""
    futures = module(impl, "node.futures")

    async def main():
        mail = module(impl, "aio.futures").Mail(asyncio.get_running_loop())
        for _ in range(300):
            native = futures.Future()
            thread = threading.Thread(target=native.set_result, args=(5,))
            thread.start()
            assert await asyncio.wait_for(mail.future(native), WAIT) == 5
            thread.join()

    began = time.monotonic()
    loops.run(main())
    assert time.monotonic() - began < WAIT
