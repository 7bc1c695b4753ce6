"""Waiting where the future is to be ended, in whatever way it is waited for: an error, and not for ever."""

import asyncio
import concurrent.futures

import pytest

from tests.helpers.implementations import module
from tests.helpers.stepped import World

SECONDS = 5  # a wait that is not refused ends here, as another error


class Hooked:
    """Does something in ``apply``, once."""

    def __init__(self):
        self.hook = None
        self.seen = []

    def apply(self, entry):
        self.seen.append(entry.data)
        if entry.data == b"go":
            self.hook()
        return entry.index


async def awaited(future):
    return await asyncio.wait_for(future, SECONDS)


async def wrapped(future):
    return await asyncio.wait_for(asyncio.wrap_future(future), SECONDS)


async def waited(future):
    return await asyncio.wait([future], timeout=SECONDS)


WAYS = {
    "result": lambda future: future.result(SECONDS),
    "exception": lambda future: future.exception(SECONDS),
    "wait": lambda future: concurrent.futures.wait([future], timeout=SECONDS),
    "as_completed": lambda future: list(concurrent.futures.as_completed([future], timeout=SECONDS)),
    "await": lambda future: asyncio.run(awaited(future)),
    "wrap_future": lambda future: asyncio.run(wrapped(future)),
    "asyncio.wait": lambda future: asyncio.run(waited(future)),
}


@pytest.fixture
def world(impl):
    made = World(impl, 1, absent=(1,))
    made.start(1, Hooked())
    made.leader()
    yield made
    made.close()


def in_apply(world, act):
    """What it raises there."""
    raised = []

    def hook():
        try:
            act()
        except BaseException as error:
            raised.append(error)

    world.machines[1].hook = hook
    future = world.nodes[1].propose(b"go")
    world.until(future.done)
    return raised[0] if raised else None


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_no_way_to_wait_waits_on_the_thread_that_ends_it(world, impl, way, watched):
    """Nor where somebody else waits for the same future already."""
    node = world.nodes[1]

    def act():
        WAYS[way](future)

    future = node.propose(b"other")
    if watched:
        assert concurrent.futures.wait([future], timeout=0).not_done
    error = in_apply(world, act)
    assert future.done() and error is None  # it came before, so there was nothing to wait for

    inner = []

    def act_on_open():
        inner.append(node.propose(b"inner"))
        if watched:
            # As on another thread.
            threads = set(node._outcomes.threads)
            node._outcomes.threads.clear()
            concurrent.futures.wait(inner, timeout=0)
            node._outcomes.threads.update(threads)
        WAYS[way](inner[0])

    error = in_apply(world, act_on_open)
    assert isinstance(error, impl.UsageError) and "propose without waiting" in str(error)
    world.until(inner[0].done)
    assert inner[0].result(0).result > 0


def test_a_future_is_brought_to_a_loop_that_runs_elsewhere(world):
    """That is no wait: the loop of another thread gets it."""
    node, loop = world.nodes[1], asyncio.new_event_loop()
    made = []

    def act():
        made.append(asyncio.wrap_future(node.propose(b"inner"), loop=loop))

    assert in_apply(world, act) is None
    world.for_rounds(50)
    assert loop.run_until_complete(asyncio.wait_for(made[0], SECONDS)).result > 0
    loop.close()


def test_no_coroutine_of_asyncio_waits_there(world, impl):
    node = world.nodes[1]
    of_loop = module(impl, "aio.node").Node.of(node)

    async def entry(ask):
        await asyncio.wait_for(ask(), SECONDS)

    async def element(stream):
        while True:
            await asyncio.wait_for(stream.next(), SECONDS)

    async def proposal_of_a_session():
        await asyncio.wait_for(of_loop.session().propose(b"inner"), SECONDS)

    for coroutine in (
        lambda: entry(lambda: of_loop.propose(b"inner")),
        lambda: entry(of_loop.read),
        lambda: entry(of_loop.wait),
        lambda: entry(lambda: of_loop.wait_applied(10**6)),
        lambda: entry(of_loop.wait_ready),
        lambda: element(of_loop.state_changes()),
        lambda: element(of_loop.configurations()),
        proposal_of_a_session,
    ):
        error = in_apply(world, lambda coroutine=coroutine: asyncio.run(coroutine()))
        assert isinstance(error, impl.UsageError), error
        world.for_rounds(200)
        # Nothing was asked for, whose outcome nobody would hear.
        assert node.status().pending == 0 and b"inner" not in world.machines[1].seen


@pytest.mark.parametrize("way", WAYS)
def test_no_way_to_wait_waits_in_a_forked_child(impl, way):
    world = World(impl, 1)
    node = world.leader()
    future = node.propose(b"x")
    assert concurrent.futures.wait([future], timeout=0).not_done
    changes = module(impl, "aio.node").Node.of(node).state_changes()
    while len(changes):
        asyncio.run(changes.next())
    world.executors[1].kill()  # as the node of a parent is in a child
    with pytest.raises(impl.UsageError, match="does not survive fork"):
        WAYS[way](future)
    with pytest.raises(impl.UsageError, match="does not survive fork"):
        asyncio.run(changes.next(SECONDS))
