"""What proposals with timeouts may take, and what may go wrong with one of them: never the node."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.reading import done
from tests.helpers.stepped import World

SECOND = 1_000_000_000


@pytest.fixture
def world(impl):
    """A member of three, without the others: proposals with timeouts wait."""
    made = World(impl, 3, max_entry_bytes=1000, max_waiting_bytes=2000, max_uncommitted_bytes=1000)
    made.for_rounds(1)
    yield made
    made.close()


def ask_apart(world, id):
    """Proposals of a member that hears of nobody."""
    for other in world.ids:
        world.receive.pop(other, None)
    return world.nodes[id]


@pytest.mark.parametrize("several", [False, True])
def test_what_is_too_large_is_refused_although_nothing_is_tried(world, impl, several):
    """A state machine is behind by so much that a proposal could not be done in time: it is not tried at first."""
    node = world.nodes[1]
    patience = module(impl, "node.patience")
    behind = [3600 * SECOND]
    made = patience.Patience(node._parts.proposer, node._outcomes, world.clock, lambda: None, lambda: behind[0])
    too_large = bytes(1001)
    with pytest.raises(impl.EntryTooLarge):
        made.propose_many([b"fits", too_large], SECOND) if several else made.propose(too_large, SECOND)
    fits = made.propose_many([b"fits"], SECOND) if several else made.propose(b"fits", SECOND)
    assert not fits.done()
    behind[0] = 0
    world.until(lambda: (made.work(), fits.done())[1])
    assert node.failure is None and isinstance(fits.exception(0), (impl.NotDone, impl.Unknown, type(None)))


def test_an_attempt_that_fails_is_not_about_the_node(world, impl):
    """Memory is short, say. Others go on, and what is not known is said to be."""
    node = world.leader()
    patience = node._parts.watch.patience
    calls = []

    def payload():
        calls.append(1)
        if len(calls) == 1:
            raise impl.NotDone("not yet")
        raise MemoryError("no more")

    future = patience.repeat(payload, SECOND, None)
    other = node.propose(b"other", timeout=20)
    world.until(future.done)
    error = future.exception(0)
    assert isinstance(error, impl.Unknown) and isinstance(error.__cause__, MemoryError)
    assert done(world, other).result > 0
    assert node.failure is None and len(calls) == 2


class Longer(bytearray):
    """As one that another thread makes longer while it is looked at."""

    def __len__(self):
        return 3


@pytest.mark.parametrize("data", [Longer(1001), Longer(2000)])
def test_the_bytes_that_are_proposed_are_those_that_were_measured(world, impl, data):
    """An entry above the limit may fit into no message: it would stop every follower."""
    node = world.leader()
    session = node.session()
    for ask in (
        lambda: node.propose(data),
        lambda: node.propose_many([b"fits", data]),
        lambda: node.propose(data, timeout=5),
        lambda: node.propose_many([b"fits", data], timeout=5),
        lambda: session.propose(data),
    ):
        with pytest.raises(impl.EntryTooLarge):
            ask()
    done(world, node.propose(b"last", timeout=20))
    assert [entry[2] for entry in world.machines[node.id].entries] == [b"last"]


def test_their_bytes_are_bounded(world, impl):
    """Of all that are open: 3,000 here. Who comes then is refused at once, and not done."""
    node = ask_apart(world, 1)
    taken = [node.propose(bytes(1000), timeout=0.5) for _ in range(3)]
    refused = [
        node.propose(b"x", timeout=5),
        node.propose_many([b"x"], timeout=5),
        node.session().propose(b"x", timeout=5),
    ]
    assert not any(future.done() for future in taken)
    for future in refused:
        assert isinstance(future.exception(0), impl.Busy) and "3000 bytes" in str(future.exception(0))
    world.until(lambda: all(future.done() for future in taken))
    patience = node._parts.watch.patience
    assert (patience.count, patience.size) == (0, 0)
    assert not node.propose(bytes(1000), timeout=5).done()


def test_their_number_is_bounded(impl):
    world = World(impl, 3, max_open_proposals=10)
    node = ask_apart(world, 1)
    taken = [node.propose_many([b"x"] * 6, timeout=5), *[node.propose(b"x", timeout=5) for _ in range(4)]]
    assert not any(future.done() for future in taken)
    assert isinstance(node.propose(b"x", timeout=5).exception(0), impl.Busy)
    taken[1].cancel()
    world.until(lambda: node._parts.watch.patience.count == 9)
    more = node.propose(b"x", timeout=5)
    assert not more.done()
    node.close()
    assert all(future.done() for future in (*taken, more))
    assert (node._parts.watch.patience.count, node._parts.watch.patience.size) == (0, 0)
    world.close()


def test_what_a_session_needs_for_itself_has_room(impl):
    world = World(impl, 3, max_open_proposals=3)
    node = ask_apart(world, 1)
    for _ in range(3):
        assert not node.propose(b"x", timeout=5).done()
    session = node.session()
    opened = session.open(timeout=1)
    closed = session.close(timeout=1)
    assert not closed.done()
    assert isinstance(opened.exception(0), impl.SessionEnded)
    world.close()


def test_waits_for_a_session_that_are_over_are_forgotten(world, impl):
    node = ask_apart(world, 1)
    session = node.session()
    asked = [session.open(timeout=0.1) for _ in range(20)]
    asked[0].cancel()
    assert len(session._waiting) == 19
    world.until(lambda: all(future.done() for future in asked))
    assert session._waiting == []


def test_a_session_of_a_node_that_failed_says_why(impl):
    class Fails:
        def apply(self, entry):
            raise KeyError("x")

    world = World(impl, 1, absent=(1,))
    world.start(1, Fails())
    node = world.leader()
    session = node.session()
    world.until(session.open().done)
    world.until(session.propose(b"x").done)
    with pytest.raises(impl.Stopped, match="KeyError") as raised:
        session.propose(b"y")
    assert raised.value.__cause__ is node.failure
    world.close()
