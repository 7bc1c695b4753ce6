"""Streams as ``async for``, and sessions, of raftx.aio.Node. Both modes, both loops."""

import asyncio
import subprocess
import sys
import threading

import pytest

from tests.helpers.cluster import Machine
from tests.helpers.implementations import module
from tests.helpers.loops import KINDS, Loops, alone, leads
from tests.helpers.paths import ROOT
from tests.helpers.waiting import WAIT


@pytest.fixture(params=KINDS)
def loops(request):
    made = Loops(request.param)
    yield made
    assert made.told == []


async def all_of(stream):
    return [element async for element in stream]


# --- streams -----------------------------------------------------------------------------------------


def test_each_reader_gets_every_change_and_ends_with_the_node(impl, loops):
    async def main():
        node = alone(impl)
        early = [asyncio.ensure_future(all_of(node.state_changes())) for _ in range(2)]
        memberships = asyncio.ensure_future(all_of(node.configurations()))
        async with node:
            await leads(node)
            await node.add_learner(2, "tcp://127.0.0.1:1", timeout=WAIT)
            late = asyncio.ensure_future(all_of(node.state_changes()))
        first, second, third = await asyncio.wait_for(asyncio.gather(*early, late), WAIT)
        assert first == second == third
        assert [change.leader for change in first][-1] == 1
        found = [each.conf_state.learners for each in await memberships]
        assert (found[0], found[-1], len(found)) == ((), (2,), found.index((2,)) + 1)
        assert await all_of(node.state_changes()) == first  # kept, and still there

    loops.run(main())


def test_it_raises_what_ended_the_node(impl, loops):
    class Fails:
        def apply(self, entry):
            raise TimeoutError("of the state machine's own")

    async def main():
        async with alone(impl, Fails()) as node:
            await node.wait_leader(WAIT)
            stream = node.state_changes()
            reading = asyncio.ensure_future(all_of(stream))
            node.propose(b"x").add_done_callback(lambda ended: ended.exception())
            with pytest.raises(TimeoutError, match="of the state machine's own"):
                await asyncio.wait_for(reading, WAIT)
            # Again, and at once.
            with pytest.raises(TimeoutError, match="of the state machine's own"):
                await stream.next()

    loops.run(main())


def test_the_next_element_in_time(impl, loops):
    async def main():
        node = alone(impl)
        stream = node.state_changes()
        with pytest.raises(TimeoutError, match="no element within the time"):
            await stream.next(0.01)
        with pytest.raises(impl.UsageError, match="timeout must be a number"):
            await stream.next("soon")
        async with node:
            assert (await stream.next(WAIT)).leader in (0, 1)
        while len(stream):
            await stream.next()
        with pytest.raises(StopAsyncIteration):
            await stream.next()
        assert stream.lost == 0

    loops.run(main())


def test_a_slow_reader_loses_the_oldest_and_is_told(impl, loops):
    async def main():
        node = alone(impl)
        history = node.node._state_changes
        stream = node.state_changes()
        for number in range(1500):
            history.push(number)
        assert await stream.next() == 1500 - 1024
        assert (stream.lost, len(stream)) == (1500 - 1024, 1023)
        await node.close()

    loops.run(main())


def test_committed_entries(impl, loops):
    async def main():
        node = alone(impl)
        entries = node.committed()
        async with node:
            await leads(node)
            await node.propose_many([b"%d" % number for number in range(300)])
            found = [await entries.next(WAIT) for _ in range(300)]
            assert [bytes(entry.data) for entry in found] == [b"%d" % number for number in range(300)]
        async with alone(impl) as other:
            with pytest.raises(impl.UsageError, match="before the node is started"):
                other.committed()

    loops.run(main())


def test_no_thread_waits_for_an_element(impl, loops):
    async def main():
        async with alone(impl) as node:
            await leads(node)
            before = {thread.name for thread in threading.enumerate()}
            readers = [asyncio.ensure_future(all_of(node.state_changes())) for _ in range(50)]
            await asyncio.sleep(0.05)
            assert {thread.name for thread in threading.enumerate()} <= before
            assert not any(reader.done() for reader in readers)
        await asyncio.wait_for(asyncio.gather(*readers), WAIT)

    loops.run(main())


@pytest.mark.once
def test_a_reader_does_not_keep_a_program_from_ending():
    """Start-up fails behind a watcher: asyncio.run ends, and the program with it."""
    code = """
import asyncio, raftx
from tests.helpers.loops import alone
async def main():
    node = alone(raftx)
    watcher = asyncio.create_task(node.state_changes().next())
    await node.start()
    streams = [asyncio.create_task(each.next()) for each in (node.configurations(), node.state_changes())]
    await asyncio.sleep(0)
    raise SystemExit(7)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, timeout=60, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (7, "")


# --- sessions ----------------------------------------------------------------------------------------


def test_a_session_applies_once_and_in_order(impl, loops):
    async def main():
        machine = Machine()
        async with alone(impl, machine) as node:
            async with node.session("orders") as session:
                assert session.name == "orders" and len(session.id) == 16 and "raftx.aio.Session" in repr(session)
                assert await session.open(timeout=WAIT) == 0
                done = await asyncio.gather(*[session.propose(b"%d" % number) for number in range(20)])
                assert [each.result for each in done] == list(range(1, 21))
                session.begin()
            assert machine.commands == [b"%d" % number for number in range(20)]
            with pytest.raises(impl.SessionEnded):
                await session.propose(b"late")
            async with node.session("orders") as again:
                assert await again.open(timeout=WAIT) == 0  # forgotten: the block has closed it

    loops.run(main())


def test_the_end_of_a_session_that_cannot_be_told_is_no_error(impl, loops):
    async def main():
        storage = module(impl, "storage.memory").MemoryStorage(voters=[1, 2])
        async with alone(impl, storage=storage) as node:
            session = node.session()
            task = asyncio.ensure_future(_hold(session))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 5)
        async with session:  # the node does not run any more
            pass

    loops.run(main())


async def _hold(session):
    async with session:
        await asyncio.sleep(WAIT)


def test_an_error_in_the_block_comes_out(impl, loops):
    async def main():
        async with alone(impl) as node:
            await leads(node)
            with pytest.raises(KeyError):
                async with node.session():
                    raise KeyError

    loops.run(main())
