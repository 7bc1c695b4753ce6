"""Requests about who leads, and what becomes of them: stepped nodes, whose frames are lost as the test wants."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.meetings import begun, life
from tests.helpers.stepped import World, settled_world

pytestmark = pytest.mark.usefixtures("nothing_waits")


@pytest.fixture
def world(impl):
    yield from settled_world(impl)


def others(world, leader):
    return [node for node in world.nodes.values() if node is not leader]


def ended(world, future, rounds=3000):
    """Its result or exception, when it has ended."""
    world.until(future.done, rounds)
    return future.exception(0) or future.result(0)


def test_a_transfer_is_done_when_the_member_leads(world, impl):
    leader = world.leader()
    other = others(world, leader)[0]
    future = leader.transfer_leadership(other.id)
    assert not future.done()
    change = ended(world, future)
    assert (change.leader, change.term, change.role) == (other.id, leader.term, impl.Role.FOLLOWER)
    assert other.is_leader


@pytest.mark.parametrize("asked", ["leader", "follower"])
def test_a_transfer_to_whoever_is_best_is_the_leaders(world, impl, asked):
    leader = world.leader()
    if asked == "leader":
        change = ended(world, leader.transfer_leadership())
        assert change.leader in {node.id for node in others(world, leader)}
    else:
        error = ended(world, others(world, leader)[0].transfer_leadership())
        assert isinstance(error, impl.NotDone) and "not the leader" in error.reason


def test_a_follower_passes_a_transfer_on(world):
    leader = world.leader()
    one, two = others(world, leader)
    assert ended(world, one.transfer_leadership(two.id)).leader == two.id
    world.until(lambda: two.is_leader)
    assert ended(world, one.transfer_leadership(one.id)).leader == one.id


def test_a_transfer_to_oneself_and_to_who_leads_already(world):
    leader = world.leader()
    assert ended(world, leader.transfer_leadership(leader.id), rounds=20).leader == leader.id
    assert ended(world, others(world, leader)[0].transfer_leadership(leader.id), rounds=100).leader == leader.id


def test_a_transfer_that_is_not_taken_up(world, impl):
    """The member cannot be reached: the leader gives it up after an election timeout, and goes on."""
    leader = world.leader()
    one, two = others(world, leader)
    world.receive.pop(one.id)
    began = world.clock.py_now()
    future = leader.transfer_leadership(one.id)
    same, proposal = leader.transfer_leadership(one.id), leader.propose(b"x")
    assert "being transferred" in ended(world, same, rounds=20).reason
    assert "being transferred" in ended(world, proposal, rounds=20).reason
    error = ended(world, future)
    assert isinstance(error, impl.NotDone) and "election timeout" in error.reason
    assert 0.09 <= (world.clock.py_now() - began) / 1e9 <= 0.3
    assert leader.is_leader
    again = leader.transfer_leadership(one.id)
    world.run()
    instead = leader.transfer_leadership(two.id)
    assert "another transfer" in ended(world, again, rounds=20).reason
    assert ended(world, instead).leader == two.id


def test_a_transfer_without_a_leader(world, impl):
    leader = world.leader()
    for other in others(world, leader):
        world.executors[other.id].kill()
        world.receive.pop(other.id)
    world.until(lambda: not leader.is_leader)
    error = ended(world, leader.transfer_leadership(leader.id % 3 + 1), rounds=50)
    assert isinstance(error, impl.NotDone) and error.reason == "no leader"


def test_a_transfer_that_another_election_overtakes(world, impl):
    """What was passed on is lost; another member is elected: not done. Without that it is overdue: unknown."""
    leader = world.leader()
    one, two = others(world, leader)

    def ask():
        """The frame with it is lost."""
        deliver = world.receive.pop(leader.id)
        future = one.transfer_leadership(one.id)
        for _ in range(5):
            world.run()
        world.receive[leader.id] = deliver
        return future

    lost = ask()
    assert isinstance(ended(world, lost, rounds=8000), impl.Unknown)
    lost = ask()
    assert ended(world, leader.transfer_leadership(two.id)).leader == two.id
    assert ended(world, lost, rounds=100).reason == f"member {two.id} leads instead, in term {two.term}"


def test_a_campaign_of_the_leader_and_one_within_its_lease(world, impl):
    """The first is done already; the second might break the lease, and the leader goes on leading."""
    leader = world.leader()
    assert ended(world, leader.campaign(), rounds=20).leader == leader.id
    other = others(world, leader)[0]
    error = ended(world, other.campaign(), rounds=20)
    assert isinstance(error, impl.NotDone) and "heard of a leader" in error.reason
    assert leader.is_leader and other.term == leader.term


def test_a_campaign_that_is_won(impl):
    world = World(impl, pre_vote=False, check_quorum=False)
    leader = world.leader()
    one = others(world, leader)[0]
    world.until(lambda: one.leader_id == leader.id)
    change = ended(world, one.campaign(), rounds=100)
    assert (change.leader, change.term, change.role) == (one.id, one.term, impl.Role.LEADER)
    assert one.is_leader
    world.close()


def test_a_member_that_may_not_campaign(impl):
    storage = impl.MemoryStorage(voters=[2, 3], learners=[1])
    made = World(impl, count=1, storages={1: storage})
    error = ended(made, made.nodes[1].campaign(), rounds=20)
    assert isinstance(error, impl.NotDone) and "may not campaign" in error.reason
    made.close()


@pytest.mark.parametrize("failed", [False, True])
def test_what_is_open_at_the_end_is_unknown(world, impl, failed):
    leader = world.leader()
    one = others(world, leader)[0]
    world.receive.pop(leader.id)
    future = one.transfer_leadership(one.id)
    world.run()
    assert not future.done()
    if failed:
        world.machines[one.id].apply = lambda entry: 1 / 0
        world.storages[one.id].fail_next_sync = OSError(5, "gone")
        world.until(lambda: one.failure)
    else:
        one.close()
    error = future.exception(0)
    assert isinstance(error, impl.Unknown)
    assert isinstance(error.__cause__, impl.StorageFailed if failed else type(None))
    with pytest.raises(impl.Stopped):
        one.campaign()


def test_what_is_refused_while_the_node_closes_says_so(world, impl):
    """It hands leadership over first: whoever proposed meanwhile need not guess why nobody took the proposal."""
    leader = world.leader()
    one, two = others(world, leader)
    # The members answer nothing, so that the transfer is under way when the proposal and the request arrive.
    world.receive.pop(one.id)
    world.receive.pop(two.id)
    futures = []

    def wait_for(condition, deadline, wait=world.executors[leader.id].wait_for):
        if not futures:
            world.for_rounds(5)
            futures.append(leader._made().proposer.propose(b"x"))
        return wait(condition, deadline)

    world.executors[leader.id].wait_for = wait_for
    leader.close()
    (future,) = futures
    error = future.exception(0)
    assert isinstance(error, impl.NotDone)
    assert error.reason == "the node is being stopped: leadership is being transferred"


@pytest.mark.parametrize("how", ["closed", "failed"])
def test_a_future_says_whether_the_node_was_stopped_or_failed(world, impl, how):
    """What is open then, and what the engine had not looked at."""
    leader = world.leader()
    for other in others(world, leader):
        world.receive.pop(other.id)
    future = leader.propose(b"open")
    batch = leader.propose_many([b"a", b"b"])
    world.run()
    if how == "closed":
        leader.close()
        assert future.exception(0).reason == "the node was stopped"
        assert str(batch.exception(0)).endswith(": the node was stopped")
        return
    failure = ValueError("the reason")
    late = leader.propose(b"not handed over")
    leader._fail(failure)
    world.for_rounds(3)
    leader.close()
    for each in (future, batch, late):
        error = each.exception(0)
        assert "the node failed: ValueError: the reason" in str(error) and "stopped" not in str(error), error
        assert error.__cause__ is failure
    assert all("the node failed" in error.reason for error in batch.exception(0).outcomes)


def test_the_table_takes_any_kind_of_request(impl):
    """Kinds that nothing asks for yet: each ends once, in one of the three ways, and none is taken for a proposal."""
    table = module(impl, "node.outcomes")
    futures = module(impl, "node.futures")
    outcomes = table.Outcomes(1000)
    kinds = [table.KIND_READ, table.KIND_CAMPAIGN, table.KIND_COMPACTION]
    made = {}
    for kind in kinds * 4:
        future = futures.Future()
        made[outcomes.open(kind, future)] = future
    assert len(made) == 12
    proposal = futures.Future()
    outcomes.register(1, proposal)
    numbers = list(made)
    outcomes.settle(numbers[0], "a value")
    outcomes.settle(numbers[0], "another")
    outcomes.reject(numbers[0], "too late")
    outcomes.reject(numbers[1], "a reason")
    outcomes.settle(numbers[1], "too late")
    outcomes.refuse(1, 2**60, 1, "no leader")
    assert str(proposal.exception(0)) == "no leader"
    assert (made[numbers[0]].result(0), str(made[numbers[1]].exception(0))) == ("a value", "a reason")
    assert [made[number].done() for number in numbers[2:]] == [False] * 10
    outcomes.expire(0)
    outcomes.open(table.KIND_READ, futures.Future())
    # A snapshot takes as long as its state does: such a request has no deadline, and ends with the node at the latest.
    snapshot = futures.Future()
    outcomes.open(table.KIND_SNAPSHOT, snapshot)
    outcomes.expire(1000)
    # A read changes nothing, so it was not done.
    ends = [impl.NotDone if number // table.KIND_UNIT == table.KIND_READ else impl.Unknown for number in numbers[2:]]
    assert [type(made[number].exception(0)) for number in numbers[2:]] == ends
    assert len(outcomes.asked) == 2
    outcomes.expire(2000)
    outcomes.expire(10**12)
    assert len(outcomes.asked) == 1 and not snapshot.done()
    outcomes.end(OSError("gone"))
    assert not outcomes.asked and not outcomes.pending
    assert isinstance(snapshot.exception(0), impl.Unknown)
    late = futures.Future()
    outcomes.open(table.KIND_READ, late)
    assert isinstance(late.exception(0).__cause__, OSError)


def test_a_batch_has_the_cause_that_a_proposal_has(impl):
    """At a failure, when some of its proposals had ended without one."""
    table, futures = module(impl, "node.outcomes"), module(impl, "node.futures")
    outcomes = table.Outcomes(10**9)
    single, batch = futures.Future(), futures.Future()
    outcomes.register(1, single)
    outcomes.register_many(2, 3, batch)
    outcomes.refuse(2, 1, 4, "no leader")
    outcomes.give_back(4, 1, "stopped")
    cause = OSError("gone")
    outcomes.end(cause)
    for future in (single, batch):
        assert isinstance(future.exception(0), impl.Unknown)
        assert future.exception(0).__cause__ is cause
    assert [type(each) for each in batch.exception(0).outcomes] == [impl.NotDone, impl.Unknown, impl.NotDone]


def test_an_entry_without_an_envelope_is_counted_and_told(impl, caplog):
    """Nobody knows what it means: it is not applied, and that is not passed over in silence."""
    world = World(impl, count=1)
    node = world.leader()
    parts = node._parts
    seen = len(world.machines[1].entries)
    memory = module(impl, "_native.memory")
    records = b"".join(memory.Entry(index, 9, data).encode() for index, data in ((5, b"short"), (6, b""), (7, b"x")))
    spans = memory.Spans()
    spans.py_push(records)
    parts.applier.applies.py_put_entries(spans, 5, 7)
    world.run()
    world.run()
    assert node.status().entries_bare == 2
    assert len(world.machines[1].entries) == seen
    assert caplog.text.count("was not proposed by a Node") == 1
    world.executors[1].kill()


def test_there_is_a_number_for_every_reason(impl):
    """What the engine counts by reason has room for all of them."""
    gauges = module(impl, "node.channels").Gauges()
    core, senders = module(impl, "_core"), module(impl, "node.senders")
    for rejected, reasons in ((False, senders.REASONS), (True, core.REASONS)):
        assert len(reasons) <= module(impl, "node.rows").REASONS_MAX
        assert gauges.by_reason(rejected, reasons) == dict.fromkeys(reasons[1:], 0)


def test_status_and_properties_read_published_values_only(impl):
    """They answer while nothing of the node moves, and do not touch what belongs to a worker."""
    world = World(impl, count=1)
    node = world.leader()
    parts = node._parts
    before = node.status(), node.configuration, node.applied_index

    class Untouchable:
        def __getattr__(self, name):
            raise AssertionError(f"{name} of an object that belongs to a worker was read")

    class Engine(Untouchable):
        gauges, apply_gauges, stamps = parts.engine.gauges, parts.engine.apply_gauges, parts.engine.stamps

    node._parts = type(parts)(
        **{**vars(parts), "engine": Engine(), "applier": Untouchable(), "watch": Untouchable(), "wal": Untouchable()}
    )
    assert (node.status(), node.configuration, node.applied_index) == before
    assert before[0].configuration == before[1] == impl.ConfState(voters=(1,))
    node._parts = parts
    world.close()


def test_a_vote_is_shown_though_nothing_else_has_changed(impl):
    """A follower that votes in the term it is in already."""
    world = World(impl, count=3, pre_vote=False)
    world.until(lambda: begun(world.nodes.values()))
    for id in (2, 3):
        world.skipped.add((id, "engine"))
    node, types = world.nodes[1], module(impl, "types")
    world.until(lambda: node.term > 0)
    term = node.term + 1
    codec = impl._core.Codec(node.config.cluster, 2, life(world.nodes[2]))
    # The node campaigned, and is told of a later term; only then it hears of a candidate of that term.
    for kind, flags, vote in ((types.MSG_VOTE_RESP, types.FLAG_REJECT, 0), (types.MSG_VOTE, 0, 2)):
        message = impl.Message(kind, sender=2, term=term, flags=flags)
        world.receive[1](codec.encode(1, [message]))
        world.run()
        assert (node.term, node.leader_id, node.status().vote) == (term, 0, vote)
    world.skipped.clear()
    world.close()


def test_state_machine_and_stream_get_the_same_entry(impl):
    """It is made once, however many want it."""
    given = []

    class Machine:
        def apply(self, entry):
            given.append(entry)

    world = World(impl, count=1)
    world.close()
    node = world.start(1, machine=Machine(), committed=True)
    world.until(lambda: node.is_leader)
    future = node.propose(b"x")
    world.until(future.done)
    assert node.committed.next(timeout=0) is given[0]
    assert given[0].data == b"x"
    world.close()


def test_what_was_found_is_shown_before_the_first_round(impl):
    """Above all that the member is in doubt: it must not look healthy for a moment."""
    world = World(impl, count=1)
    node = world.leader()
    future = node.propose(b"x")
    world.until(future.done)
    term = node.term
    world.close()
    world.storages[1].put_in_doubt()
    status = world.start(1).status()
    assert (status.in_doubt, status.term, status.vote, status.last, status.ticks) == (True, term, 1, 2, 0)
    world.close()
