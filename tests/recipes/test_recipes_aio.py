"""Clients for asyncio: the same objects, in a loop that waits for none of them."""

import asyncio
import threading

import pytest

from tests.helpers.recipe_clients import RecipeCluster
from tests.helpers.waiting import WAIT


@pytest.fixture
def cluster(impl):
    made = RecipeCluster(impl, 1)
    made.nodes[1].wait_ready(WAIT)
    yield made
    made.close()


def with_clients(cluster, body, ttl=20.0):
    """Run a coroutine with two clients."""

    async def main():
        aio = cluster.recipes.aio
        async with aio.Client(cluster.nodes[1], ttl=ttl) as one, aio.Client(cluster.nodes[1], ttl=ttl) as two:
            return await asyncio.wait_for(body(one, two), 2 * WAIT)

    return asyncio.run(main())


async def until(condition):
    for _ in range(int(WAIT / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen in time")


def test_locks_and_fencing(cluster):
    async def body(one, two):
        lock, other = one.lock("x"), two.lock("x", "other")
        async with lock as held:
            assert held is lock and lock.token
            assert not await other.acquire(timeout=0)
            assert not await other.acquire(timeout=0.05)
            await one.dict("d").set("k", 1, fence=lock.token)
            token, wanted = lock.token, asyncio.ensure_future(other.acquire())
            await until(lambda: cluster.machines[1].find("lock", "x").waiters)
        assert await wanted
        assert await one.lock("x").holders() == [("other", other.token)]
        with pytest.raises(cluster.recipes.TokenRefused):
            await one.dict("d").set("k", 2, fence=token)
        await other.release()

    with_clients(cluster, body)


def test_a_task_that_is_cancelled_leaves_nothing(cluster):
    async def body(one, two):
        async with one.lock("x"):
            other = two.lock("x")
            task = asyncio.ensure_future(other.acquire())
            await until(lambda: cluster.machines[1].find("lock", "x").waiters)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: not cluster.machines[1].find("lock", "x").waiters)
        assert await other.acquire(timeout=WAIT)

    with_clients(cluster, body)


def test_many_tasks_share_a_client(cluster):
    async def body(one, two):
        order, inside = [], 0

        async def work(number):
            nonlocal inside
            async with (one, two)[number % 2].lock("x") as lock:
                inside += 1
                assert inside == 1
                order.append(lock.token)
                await asyncio.sleep(0)
                inside -= 1
            return await one.counter("c").add()

        done = await asyncio.gather(*[work(number) for number in range(40)])
        assert sorted(done) == list(range(1, 41))
        assert order == sorted(order)
        # A thread for each client, and none for objects.
        assert len([thread for thread in threading.enumerate() if "recipes" in thread.name]) <= 2

    with_clients(cluster, body)


def test_what_is_lost_is_told_in_the_loop(cluster):
    async def body(one, two):
        told, loop_thread = asyncio.Event(), threading.get_ident()

        def on_lost():
            assert threading.get_ident() == loop_thread
            told.set()

        lock = one.lock("x", on_lost=on_lost)
        await lock.acquire()
        assert not await lock.lost.wait(0.01)
        cluster.die(one)
        assert await two.lock("x").acquire(timeout=WAIT)
        assert lock.lost.is_set() and not lock.held
        del one.hub._round
        one.hub._wake.set()
        await asyncio.wait_for(told.wait(), WAIT)
        assert await lock.lost.wait()
        with pytest.raises(cluster.recipes.LockLost):
            await lock.release()

    with_clients(cluster, body, ttl=1.0)


def test_watches_and_streams(cluster):
    async def body(one, two):
        values = one.dict("d")
        await values.update({"a": 1, "b": 2})
        seen = []
        writer = asyncio.ensure_future(two.dict("d").set("c", 3))
        async for change in values.watch(0):
            seen.append((change.key, change.value))
            if len(seen) == 3:
                break
        await writer
        assert seen == [("a", 1), ("b", 2), ("c", 3)]
        stream = two.election("e").observe()
        assert await stream.next() is None
        election = one.election("e", "one")

        async def lead(mine):
            assert mine is election
            return (await stream.next(WAIT)).value

        assert await election.run(lead) == "one"
        async for leader in stream:
            assert leader is None
            break
        party = one.party("p", "one")
        watch = two.party("p").watch()
        assert await watch.next() == []
        async with party:
            assert (
                [each.value for each in await watch.next(WAIT)] == ["one"] == [x.value for x in await party.members()]
            )
        assert await watch.next(WAIT) == []

    with_clients(cluster, body)


def test_queues_barriers_and_limits(cluster):
    async def body(one, two):
        queue = one.queue("q", maxsize=1)
        getting = asyncio.ensure_future(two.queue("q").get())
        assert await queue.put("a")
        async with await getting as item:
            assert item.value == "a" and item.attempts == 1
        assert await queue.get(timeout=0) is None
        waits = [client.barrier("b", 2).wait(WAIT) for client in (one, two)]
        assert await asyncio.gather(*waits) == [True, True]
        pair = [client.double_barrier("c", 2) for client in (one, two)]
        assert await asyncio.gather(*[each.enter(WAIT) for each in pair]) == [True, True]
        assert await asyncio.gather(*[each.leave(WAIT) for each in pair]) == [True, True]
        limit, loop = one.rate_limiter("r", 100.0, 2), asyncio.get_running_loop()
        begun = loop.time()
        assert all(await asyncio.gather(*[limit.acquire() for _ in range(12)]))
        assert loop.time() - begun >= 0.1 - 0.02
        rw = one.rwlock("rw")
        async with rw.reader(), two.rwlock("rw").reader():
            assert not await rw.writer().acquire(timeout=0)
        async with one.semaphore("s", 1):
            assert not await two.semaphore("s", 1).acquire(timeout=0)

    with_clients(cluster, body)


def test_a_node_for_asyncio(impl, mod):
    async def main():
        aio, recipes = mod("aio"), mod("recipes")
        config, storage = impl.Config(id=1, tick_ms=10, seed=1), impl.MemoryStorage(voters=[1])
        node = aio.Node(config, storage, impl.MemoryNetwork().transport(), recipes.Recipes())
        async with node, recipes.aio.Client(node) as client:
            await node.wait_ready(WAIT)
            async with client.lock("x") as lock:
                assert await client.counter("c").add(fence=lock.token) == 1

    asyncio.run(main())


def test_a_node_that_is_closed_ends_all_waits(impl, cluster):
    async def body(one, two):
        lock = one.lock("x")
        await lock.acquire()
        waits = [asyncio.ensure_future(each) for each in (two.lock("x").acquire(), two.dict("d").watch(0).next())]
        await until(lambda: len(two.hub._waiting) == 2)
        await asyncio.get_running_loop().run_in_executor(None, cluster.nodes[1].close)
        for wait in waits:
            with pytest.raises(impl.Stopped):
                await wait
        assert await lock.lost.wait(WAIT)

    with_clients(cluster, body)
