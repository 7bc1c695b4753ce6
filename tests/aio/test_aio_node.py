"""raftx.aio.Node: the face of raftx.Node, its life off the loop, its waits. On asyncio and uvloop, in both modes."""

import asyncio
import contextlib
import inspect
import subprocess
import sys
import threading
import time

import pytest

from tests.helpers.cluster import Machine
from tests.helpers.implementations import module
from tests.helpers.loops import KINDS, Loops, alone, leads
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports
from tests.helpers.waiting import WAIT, eventually


@pytest.fixture(params=KINDS)
def loops(request):
    made = Loops(request.param)
    yield made
    assert made.told == []


class Held:
    """A storage whose ``open``, or a state machine whose ``apply``, waits until it is let go."""

    def __init__(self, inner, *names):
        self.inner = inner
        self.names = names
        self.entered, self.go = threading.Event(), threading.Event()

    def __getattr__(self, name):
        method = getattr(self.inner, name)
        if name not in self.names:
            return method

        def held(*values):
            self.entered.set()
            assert self.go.wait(WAIT)
            return method(*values)

        return held


def held_storage(impl, *names):
    return Held(module(impl, "storage.memory").MemoryStorage(voters=[1]), *names)


async def until(condition):
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


# --- the face ----------------------------------------------------------------------------------------


def public(kind):
    return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}


def parameters(method):
    return [(each.name, each.kind, each.default) for each in inspect.signature(method).parameters.values()]


def test_it_has_what_a_node_has(impl):
    """The same names, with the same parameters; what is a stream there is asked for by a call here."""
    streams = {"state_changes", "configurations", "committed"}
    there, here = public(impl.Node), public(impl.aio.Node)
    assert set(here) - set(there) == {"of"}
    assert set(there) <= set(here)
    for name, each in there.items():
        if name in streams:
            assert isinstance(each, property) and parameters(here[name])[1:] == []
        elif isinstance(each, property):
            assert isinstance(here[name], property), name
        else:
            assert parameters(each) == parameters(here[name]), name
    assert parameters(impl.Node) == parameters(impl.aio.Node)
    of_session = public(impl.Session)
    del of_session["renew_soon"]  # what the node calls
    assert {*of_session, "id", "name"} == set(public(impl.aio.Session))
    for name, each in of_session.items():
        assert parameters(each) == parameters(getattr(impl.aio.Session, name)), name


@pytest.mark.once
def test_who_does_not_use_it_does_not_import_it():
    code = (
        "import sys, raftx\n"
        "assert 'asyncio' not in sys.modules and 'raftx.aio' not in sys.modules\n"
        "try: raftx.nothing\n"
        "except AttributeError as error: assert 'nothing' in str(error)\n"
        "else: raise AssertionError\n"
        "assert raftx.aio.Node and 'asyncio' in sys.modules\n"
        "import raftx.aio\n"
        "assert raftx.aio.Node is sys.modules['raftx.aio'].Node\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, timeout=60)


def test_without_a_loop_nothing_is_asked_for(impl):
    node = alone(impl)
    with node.node as sync:
        sync.wait_ready(WAIT)
        before = sync.applied_index
        for ask in (lambda: node.propose(b"x"), node.barrier, node.session):
            with pytest.raises(RuntimeError, match="no running event loop"):
                ask()
        sync.propose(b"y").result(WAIT)
        assert sync.applied_index == before + 1


def test_what_is_seen_of_the_cluster(impl, loops):
    """The cluster is asked on a thread: a coroutine of this loop goes on meanwhile."""

    async def main():
        async with alone(impl) as node:
            await leads(node)
            seen = await node.cluster_status(timeout=WAIT)
            assert type(seen).__name__ == "ClusterStatus"
            events = node.events()
            assert events and node.events(events[-1].n) == []
            assert node.admin_url == "" and callable(node.admin())

    loops.run(main())


# --- life --------------------------------------------------------------------------------------------


def test_it_starts_and_ends_with_the_block(impl, loops):
    node = alone(impl)

    async def main():
        async with node as entered:
            assert entered is node and "raftx.aio.Node 1 running" in repr(node)
            await leads(node)
            assert await node.wait_ready(WAIT) == 1
            assert (await node.propose(b"one")).result == 1
            assert node.is_leader and node.members[0].id == 1 and node.status().state == "running"
        assert node.status().state == "ended"
        with pytest.raises(impl.Stopped):
            node.propose(b"two")

    loops.run(main())


@pytest.mark.parametrize("part", ["open", "close"])
def test_the_loop_goes_on_while_it_starts_and_while_it_closes(impl, loops, part):
    """The storage waits for the loop: if the loop waited for the storage, nobody would go on."""
    storage = held_storage(impl, part)
    node = alone(impl, storage=storage)

    async def let_go():
        await until(storage.entered.is_set)
        for _ in range(10):
            await asyncio.sleep(0.001)
        storage.go.set()

    async def main():
        task = asyncio.ensure_future(let_go())
        async with node:
            pass
        assert storage.go.is_set()
        await task

    loops.run(main())


def test_a_start_that_is_cancelled_releases_what_it_took(impl, loops):
    storage = held_storage(impl, "open")
    node = alone(impl, storage=storage)

    async def main():
        task = asyncio.ensure_future(node.start())
        await until(storage.entered.is_set)
        task.cancel()
        await asyncio.sleep(0.02)
        assert not task.done()  # it waits for what it has to release
        storage.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert node.status().state == "ended"

    loops.run(main())
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("raftx")] == []

    async def again():
        async with alone(impl, storage=storage.inner) as other:
            await other.wait_ready(WAIT)

    loops.run(again())


def test_a_start_that_fails_raises_what_it_failed_with(impl, loops, tmp_path):
    async def main():
        with pytest.raises(impl.NotFounded):
            async with alone(impl, storage=impl.FileStorage(tmp_path / "none")):
                raise AssertionError

    loops.run(main())


def test_a_close_that_is_cancelled_is_finished_first(impl, loops):
    storage = held_storage(impl, "close")
    node = alone(impl, storage=storage)

    async def main():
        await node.start()
        task = asyncio.ensure_future(node.close())
        await until(storage.entered.is_set)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.002)
            assert not task.done()
        storage.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert node.status().state == "ended"
        await node.close()

    loops.run(main())


def test_outcomes_are_there_when_close_returns(impl, loops):
    """Those that the end has brought too: nobody waits for one that never comes."""
    machine = Held(Machine(), "apply")
    node = alone(impl, machine)

    async def main():
        await node.start()
        await node.wait_leader(WAIT)
        some = [node.propose(b"x") for _ in range(50)]
        await until(machine.entered.is_set)
        closing = asyncio.ensure_future(node.close())
        await asyncio.sleep(0.02)
        machine.go.set()
        await closing
        assert all(each.done() for each in some)
        kinds = {type(each.exception()) for each in some}
        assert kinds <= {type(None), impl.Unknown, impl.NotDone}

    loops.run(main())


def test_wait_ends_with_the_node_and_raises_what_ended_it(impl, loops):
    class Fails:
        def apply(self, entry):
            raise ValueError("cannot")

    async def main():
        node = alone(impl)
        await node.start()
        assert await node.wait(0.01) is False
        task = asyncio.ensure_future(node.wait())
        await asyncio.sleep(0.01)
        await node.close()
        assert await asyncio.wait_for(task, WAIT) is True
        broken = alone(impl, Fails())
        await broken.start()
        await broken.wait_leader(WAIT)
        with pytest.raises(impl.Unknown) as raised:
            await broken.propose(b"x")
        assert isinstance(raised.value.__cause__, ValueError)
        with pytest.raises(ValueError, match="cannot"):
            await broken.wait(WAIT)
        assert isinstance(broken.failure, ValueError)
        await broken.close()

    loops.run(main())


# --- waits -------------------------------------------------------------------------------------------


def test_waits_end_in_time(impl, loops):
    async def main():
        storage = module(impl, "storage.memory").MemoryStorage(voters=[1, 2])
        node = alone(impl, storage=storage)
        with pytest.raises(impl.Stopped):
            await node.wait_leader()
        async with node:
            with pytest.raises(TimeoutError, match=r"no leader is known after 0.02 s"):
                await node.wait_leader(0.02)
            with pytest.raises(TimeoutError):
                await node.wait_ready(0.02)
            with pytest.raises(TimeoutError, match=r"entry 7 is not applied after 0.02 s: 0 is the last one"):
                await node.wait_applied(7, 0.02)
            assert not node.node._outcomes.asked
            for wait in (node.wait_leader, node.wait_ready, node.wait, lambda time: node.wait_applied(1, time)):
                with pytest.raises(impl.UsageError, match="timeout must be a number"):
                    await wait("soon")
            with pytest.raises(impl.UsageError, match="index must be"):
                await node.wait_applied(-1)
            waits = [
                asyncio.ensure_future(each) for each in (node.wait_leader(), node.wait_ready(), node.wait_applied(3))
            ]
            await asyncio.sleep(0.02)
        for each in waits:
            with pytest.raises(impl.Stopped):
                await asyncio.wait_for(each, WAIT)

    loops.run(main())


def test_a_wait_that_is_cancelled_leaves_nothing_behind(impl, loops):
    async def main():
        async with alone(impl) as node:
            await leads(node)
            waits = [node.wait_applied(10**6), node.wait(), node.state_changes().next()]
            tasks = [asyncio.ensure_future(each) for each in waits]
            changes = tasks[2]
            await until(changes.done)
            before = len(node.node._state_changes.bell._sleepers)
            stream = node.state_changes()
            while len(stream):
                await stream.next()
            tasks[2] = asyncio.ensure_future(stream.next())
            await until(lambda: len(node.node._state_changes.bell._sleepers) == before + 1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert [task.cancelled() for task in tasks] == [True, True, True]
            assert len(node.node._state_changes.bell._sleepers) == before
            assert not node.node._outcomes.asked and not node.node._life.ended.bell._sleepers

    loops.run(main())


def test_wait_applied_and_ready(impl, loops):
    async def main():
        machine = Held(Machine(), "apply")
        async with alone(impl, machine) as node:
            assert await node.wait_leader(WAIT) == 1
            proposed = node.propose(b"x")
            await until(machine.entered.is_set)
            waits = [
                asyncio.ensure_future(node.wait_applied(node.commit_index)),
                asyncio.ensure_future(node.wait_ready()),
            ]
            await asyncio.sleep(0.02)
            assert not any(each.done() for each in waits)
            machine.go.set()
            assert await asyncio.wait_for(waits[0], WAIT) >= (await proposed).index
            assert await asyncio.wait_for(waits[1], WAIT) == 1
            assert await node.wait_applied(1) >= 1

    loops.run(main())


# --- loops -------------------------------------------------------------------------------------------


def test_a_node_serves_one_loop_after_another_and_two_at_once(impl, loops):
    node = alone(impl)

    async def some(count):
        return [done.result for done in await asyncio.gather(*[node.propose(b"x") for _ in range(count)])]

    async def begin():
        await node.start()
        await leads(node)

    loops.run(begin())
    assert loops.run(some(3)) == [1, 2, 3]
    results = []
    threads = [threading.Thread(target=lambda: results.extend(loops.run(some(100)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert sorted(results) == list(range(4, 204))
    loops.run(node.close())


def test_both_faces_of_one_node(impl, loops):
    sync = alone(impl).node

    async def main():
        node = impl.aio.Node.of(sync)
        assert node.node is sync and node.id == 1
        await leads(node)
        assert (await node.propose(b"x")).result == 1

    with sync:
        loops.run(main())
        assert sync.propose(b"y").result(WAIT).result == 2


def test_from_one_file(impl, loops, tmp_path):
    path = tmp_path / "cluster.toml"
    members = [f'[members.{id}]\nurl = "tcp://127.0.0.1:{number}"\n' for id, number in enumerate(ports(3), 1)]
    path.write_text('cluster = "x"\ndata = "{id}"\nconfig.tick_ms = 10\n' + "".join(members), encoding="utf-8")

    async def main():
        with pytest.raises(impl.NotFounded, match="create=True"):
            impl.aio.Node.from_file(path, id=1, state_machine=Machine())
        async with contextlib.AsyncExitStack() as stack:
            nodes = [impl.aio.Node.from_file(path, id=id, state_machine=Machine(), create=True) for id in (1, 2, 3)]
            await asyncio.gather(*[stack.enter_async_context(node) for node in nodes])
            await asyncio.gather(*[node.wait_ready(WAIT) for node in nodes])
            assert (await nodes[1].propose(b"x", timeout=WAIT)).result == 1
            for node in nodes:
                await node.wait_applied(nodes[1].applied_index, WAIT)
            leader = next(node for node in nodes if node.is_leader)
            other = next(node for node in nodes if not node.is_leader)
            changes = [await leader.transfer_leadership(other.id), await other.barrier()]
            assert changes[0].leader == other.id
            assert (await other.demote(leader.id)).conf_state.learners == (leader.id,)
            promoting = other.promote(leader.id)
            await until(lambda: promoting.progress is not None)
            assert leader.id in (await promoting).conf_state.voters

    loops.run(main())
    eventually(lambda: not [each for each in threading.enumerate() if each.name.startswith("raftx")])
