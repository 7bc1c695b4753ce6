"""What apply() raises: an answer to the proposer where it says so, else the end of the node."""

import pytest

from tests.helpers.stepped import World


class Account:
    """Refuses to be overdrawn."""

    def __init__(self):
        self.balance, self.seen = 0, []

    def apply(self, entry):
        amount = int(entry.data)
        self.seen.append(amount)
        if amount == 13:
            raise ZeroDivisionError("unlucky")
        if self.balance + amount < 0:
            raise self.error(f"{self.balance} is not enough")
        self.balance += amount
        return self.balance


@pytest.fixture
def start(impl):
    worlds = []

    def started(**settings):
        world = World(impl, 3, **settings)
        worlds.append(world)
        for id in world.ids:
            world.nodes[id].close()
            machine = Account()
            machine.error = impl.ApplyError
            world.start(id, machine=machine)
        return world, world.leader()

    yield started
    for world in worlds:
        world.close()


def ended(world, future):
    world.until(future.done)
    return future


def agree(world, balance, seen):
    world.until(lambda: all(len(machine.seen) == seen for machine in world.machines.values()))
    assert {machine.balance for machine in world.machines.values()} == {balance}


def test_a_refusal_is_the_outcome_and_the_node_goes_on(impl, start):
    world, leader = start()
    follower = next(node for node in world.nodes.values() if node is not leader)
    assert ended(world, leader.propose(b"5")).result(0).result == 5
    for node in (leader, follower):
        refused = ended(world, node.propose(b"-7"))
        with pytest.raises(impl.ApplyError, match="5 is not enough"):
            refused.result(0)
        assert not isinstance(refused.exception(0), impl.ProposalError)
    assert ended(world, follower.propose(b"-5")).result(0).result == 0
    agree(world, 0, 4)
    assert all(node.failure is None for node in world.nodes.values())


def test_a_batch_tells_of_each(impl, start):
    world, leader = start()
    future = ended(world, leader.propose_many([b"3", b"-4", b"1"]))
    with pytest.raises(impl.ApplyError, match="1 of 3") as caught:
        future.result(0)
    first, second, third = caught.value.outcomes
    assert (first.result, third.result) == (3, 4)
    assert isinstance(second, impl.ApplyError) and caught.value.__cause__ is second
    agree(world, 4, 3)


def test_any_other_exception_ends_the_node(impl, start):
    world, leader = start()
    ended(world, leader.propose(b"13"))
    world.until(lambda: leader.failure is not None)
    assert isinstance(leader.failure, ZeroDivisionError)


def test_or_is_an_outcome_where_the_settings_say_so(impl, start):
    world, leader = start(on_apply_error="return")
    with pytest.raises(ZeroDivisionError, match="unlucky"):
        ended(world, leader.propose(b"13")).result(0)
    assert ended(world, leader.propose(b"2")).result(0).result == 2
    agree(world, 2, 2)
    assert leader.failure is None


def test_a_lack_of_memory_is_no_outcome(impl, start):
    """It is the member's own, and not the command's: the others have applied it, and go on without this one."""
    world, leader = start(on_apply_error="return")
    short = next(id for id, node in world.nodes.items() if node is not leader)
    apply = world.machines[short].apply

    def without_memory(entry):
        if entry.data == b"3":
            raise MemoryError
        return apply(entry)

    world.machines[short].apply = without_memory
    world.nodes[short].close()
    world.start(short, machine=world.machines[short])
    assert ended(world, leader.propose(b"3")).result(0).result == 3
    world.until(lambda: world.nodes[short].failure is not None)
    assert isinstance(world.nodes[short].failure, MemoryError) and leader.failure is None


@pytest.mark.parametrize("how", ["plain", "timeout", "session"])
@pytest.mark.parametrize("kind", ["NotDone", "Unknown", "Busy"])
def test_what_another_cluster_has_said_is_not_said_of_this_entry(impl, start, kind, how):
    """It was applied, and is not proposed again."""
    world, leader = start(on_apply_error="return")
    for machine in world.machines.values():
        machine.error = getattr(impl, kind)
    asked = leader.session("shop") if how == "session" else leader
    future = ended(world, asked.propose(b"-7", **({} if how == "plain" else {"timeout": 5})))
    with pytest.raises(impl.ApplyError, match=f"{kind}: 0 is not enough") as told:
        future.result(0)
    assert isinstance(told.value.__cause__, getattr(impl, kind))
    assert ended(world, leader.propose(b"2")).result(0).result == 2
    agree(world, 2, 2)


def test_an_exception_without_a_text_is_an_outcome_of_a_session(impl, start):
    class Mute(impl.ApplyError):
        def __str__(self):
            raise RuntimeError("mute")

    world, leader = start()
    for machine in world.machines.values():
        machine.error = Mute
    with pytest.raises(Mute):
        ended(world, leader.session("shop").propose(b"-7")).result(0)
    assert ended(world, leader.propose(b"2")).result(0).result == 2
    agree(world, 2, 2)


def test_the_stream_has_what_was_refused(impl):
    """It is in the log, and was applied: what came of it is another matter."""
    world = World(impl, 1)
    world.nodes[1].close()
    machine = Account()
    machine.error = impl.ApplyError
    node = world.start(1, machine=machine, committed=True)
    world.leader()
    refused = ended(world, node.propose(b"-1"))
    assert isinstance(refused.exception(0), impl.ApplyError)
    assert node.committed.next(0).data == b"-1"
    world.close()


def test_what_cannot_be_set(impl):
    with pytest.raises(impl.ConfigError, match='"stop" or "return"'):
        impl.Config(id=1, on_apply_error="ignore")

    class Machine:
        async def apply(self, entry):
            pass

    with pytest.raises(impl.ConfigError, match="async def"):
        impl.Node(impl.Config(id=1), impl.MemoryStorage(voters=[1]), impl.MemoryNetwork().transport(), Machine())
