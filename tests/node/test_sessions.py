"""Sessions: applied once and in order, over retries, leaders, restarts, snapshots, and other members."""

from __future__ import annotations

import pytest

from tests.helpers.banks import Bank, Banks, led_banks
from tests.helpers.implementations import module


@pytest.fixture
def make(impl, nothing_waits):
    yield from led_banks(impl)


def header(impl):
    return module(impl, "node.session_format")


def inject(world, node, data):
    """An entry of a session as some other program, or a copy that comes late, would bring it."""
    outcomes, future = node._outcomes, world.impl.Future()
    sequence = node._parts.proposer.proposals.propose(data, 4)
    outcomes.register(sequence, future)
    return world.ended(future)


def test_a_session_from_a_follower(make, impl):
    world = make()
    follower = next(node for node in world.nodes.values() if not node.is_leader)
    session = follower.session()
    futures = [session.propose(b"%d" % number) for number in range(50)]
    results = [world.ended(future) for future in futures]
    assert [done.result for done in results] == [(n + 1, session.id, n + 1) for n in range(50)]
    assert world.ended(session.open()) == 0
    world.settled()
    for machine in world.machines.values():
        assert machine.given == [b"%d" % number for number in range(50)]
    assert world.ended(session.close()).result is True
    assert isinstance(world.ended(session.propose(b"late")), impl.SessionEnded)


def test_what_is_repeated_is_applied_once_with_the_first_result(make, impl):
    """A copy of an entry, wherever it comes from, changes nothing and has the answer of the first."""
    world = make()
    node = world.leader()
    session = node.session("till")
    done = world.ended(session.propose(b"coin"))
    form = header(impl)
    copy = form.HEADER.pack(session.id, session._opening, 1, 1, form.COMMAND) + b"coin"
    for other in world.nodes.values():
        again = inject(world, other, copy)
        assert again == done and again.index == done.index
    world.settled()
    assert all(machine.given == [b"coin"] for machine in world.machines.values())


def test_what_apply_refuses_is_remembered(make, impl):
    world = make()
    session = world.leader().session(b"till")
    error = world.ended(session.propose(b"no"))
    assert isinstance(error, impl.ApplyError) and str(error) == "no 1"
    form = header(impl)
    copy = form.HEADER.pack(session.id, session._opening, 1, 1, form.COMMAND) + b"no"
    again = inject(world, world.leader(), copy)
    assert isinstance(again, impl.ApplyError) and str(again) == "no 1"
    assert world.ended(session.propose(b"yes")).result[0] == 2


def test_the_order_is_kept_and_what_was_given_up_is_left_out(make, impl):
    """Number 2 comes before number 1: it is refused, until 1 is there or is not waited for any more."""
    world = make()
    node = world.leader()
    session = node.session()
    world.ended(session.open())
    form = header(impl)

    def entry(sequence, acknowledged, data):
        return form.HEADER.pack(session.id, session._opening, sequence, acknowledged, form.COMMAND) + data

    refused = inject(world, node, entry(2, 1, b"two"))
    assert isinstance(refused, impl.NotDone) and "earlier proposal" in str(refused)
    assert inject(world, node, entry(2, 2, b"two")).result[0] == 1
    late = inject(world, node, entry(1, 1, b"one"))
    assert isinstance(late, impl.Unknown)
    beyond = inject(world, node, entry(5, 2, b"five"))
    assert isinstance(beyond, impl.NotDone)
    world.settled()
    assert all(machine.given == [b"two"] for machine in world.machines.values())


def test_a_name_that_is_opened_again_fences_who_had_it(make, impl):
    world = make()
    one, two = world.nodes[1], world.nodes[2]
    first = one.session("printer")
    for number in range(3):
        world.ended(first.propose(b"%d" % number))
    second = two.session("printer")
    assert world.ended(second.open()) == 3
    fenced = world.ended(first.propose(b"mine"))
    assert isinstance(fenced, impl.SessionFenced) and isinstance(fenced, impl.NotDone)
    assert isinstance(world.ended(first.propose(b"mine")), impl.SessionFenced)
    assert world.ended(second.propose(b"three")).result == (4, second.id, 4)
    world.settled()
    assert all(machine.given == [b"0", b"1", b"2", b"three"] for machine in world.machines.values())
    assert second.id == first.id != one.session().id


def test_a_copy_of_an_opening_that_comes_late_fences_nobody(make, impl):
    world = make()
    node = world.leader()
    first = node.session("printer")
    world.ended(first.open())
    second = node.session("printer")
    world.ended(second.open())
    form = header(impl)
    copy = form.HEADER.pack(first.id, 0, 0, 0, form.OPEN) + form.OPENING.pack(first._token, 3_600_000)
    assert inject(world, node, copy).result == (False, second._opening, 0)
    assert world.ended(second.propose(b"mine")).result[0] == 1


def test_a_session_that_was_not_used_expires_by_the_time_of_entries(make, impl):
    world = make()
    node = world.leader()
    world.for_rounds(150)
    session, other = node.session("short", ttl=5.0, keep_alive=False), node.session("long", ttl=5000.0)
    assert world.ended(session.propose(b"one")).result[0] == 1
    assert world.ended(other.propose(b"two")).result[0] == 2
    world.for_rounds(600)
    expired = world.ended(session.propose(b"late"))
    assert isinstance(expired, impl.SessionExpired)
    assert world.ended(other.propose(b"three")).result[0] == 3
    again = node.session("short")
    assert world.ended(again.open()) == 0
    form = header(impl)
    copy = form.HEADER.pack(session.id, session._opening, 1, 1, form.COMMAND) + b"one"
    assert isinstance(inject(world, node, copy), impl.SessionFenced)
    world.settled()
    assert all(machine.given == [b"one", b"two", b"three"] for machine in world.machines.values())


def test_what_is_unknown_is_repeated_and_applied_once(make, impl):
    """Frames are lost: attempts end as unknown, and one of several copies counts."""
    world = make(proposal_timeout_ms=300)
    leader = world.leader()
    follower = next(node for node in world.nodes.values() if not node.is_leader)
    session = follower.session()
    world.ended(session.open())
    receive = dict(world.receive)
    # What the leader sends is lost: the follower's proposals are appended, and it does not hear of it.
    world.receive[follower.id] = lambda frame: None
    future = session.propose(b"once", timeout=60.0)
    world.for_rounds(60)
    world.receive.update(receive)
    done = world.ended(future)
    assert done.result[0] == 1
    world.settled()
    assert [machine.given for machine in world.machines.values()] == [[b"once"]] * 3
    assert leader is not follower


def test_an_attempt_that_may_have_been_applied_is_not_forgotten(make, impl):
    """Behind one that is unknown, others are certainly not done: that does not make the proposal so."""
    world = make(proposal_timeout_ms=300)
    leader = world.leader()
    follower = next(node for node in world.nodes.values() if not node.is_leader)
    session = follower.session()
    world.ended(session.open())
    world.receive[follower.id] = lambda frame: None
    future = session.propose(b"once", timeout=2.0)
    outcome = world.ended(future)
    assert isinstance(outcome, impl.Unknown)
    assert world.machines[leader.id].given == [b"once"]
    assert "no leader" in str(world.ended(follower.propose(b"x")))


def test_nobody_answers_in_time(make, impl):
    world = make(proposal_timeout_ms=300)
    leader = world.leader()
    session = leader.session()
    world.ended(session.propose(b"one"))
    for id in world.ids:
        if id != leader.id:
            world.receive[id] = lambda frame: None
    future = session.propose(b"two", timeout=0.5)
    assert isinstance(world.ended(future), impl.Unknown)
    never = leader.session()
    lost = never.propose(b"three", timeout=0.5)
    assert isinstance(world.ended(lost), impl.NotDone) and "not open" in str(lost.exception(0))


def test_sessions_go_on_behind_a_snapshot(make, impl):
    """Members that were restarted from one, and that were sent one, know what was applied, and with what result."""
    world = make(snapshot_entries=5, keep_entries=0, max_log_bytes=0)
    leader = world.leader()
    other = next(id for id in world.ids if id != leader.id)
    session = leader.session("s")
    both = session.propose(b"first"), session.propose(b"no")
    first, refused = [world.ended(future) for future in both]
    form = header(impl)
    opening, id = session._opening, session.id
    # It stays behind, and the log of the others ends.
    world.nodes[other].close()
    filler = [world.ended(leader.propose(b"x%d" % number)) for number in range(30)]
    assert filler[-1].index > 30
    world.until(lambda: leader.status().snapshot.index > 20 and leader.status().first > 20)
    world.start(other)
    world.settled()
    assert world.nodes[other].status().snapshot.index > 20
    assert world.machines[other].given[0] == b"first"
    # Nobody waits for them any more, as far as these entries say: they still have their answers.
    one = form.HEADER.pack(id, opening, 1, 1, form.COMMAND) + b"first"
    two = form.HEADER.pack(id, opening, 2, 1, form.COMMAND) + b"no"
    again = inject(world, world.nodes[other], one)
    assert (again.index, again.term, again.result) == (first.index, first.term, first.result)
    error = inject(world, world.nodes[other], two)
    assert isinstance(error, impl.ApplyError) and str(error) == str(refused)
    time = world.nodes[other]._parts.applier.time
    assert time == leader._parts.applier.time > 0


def test_a_cluster_that_begins_with_a_backup_knows_the_sessions(make, impl, tmp_path):
    world = make(count=1)
    node = world.leader()
    world.for_rounds(50)
    session = node.session("s")
    both = [session.propose(b"one"), session.propose(b"two")]
    done = [world.ended(future) for future in both]
    world.ended(node.backup(tmp_path / "backup"))
    time = node._parts.applier.time
    storage = impl.FileStorage.restore(tmp_path / "new", tmp_path / "backup", id=1, members=[1])
    other = Banks(impl, 1, storages={1: storage}, cluster=storage.cluster)
    form = header(impl)
    copy = form.HEADER.pack(session.id, session._opening, 2, 1, form.COMMAND) + b"two"
    assert inject(other, other.leader(), copy).result == done[1].result
    assert other.machines[1].given == [b"one", b"two"]
    assert other.nodes[1]._parts.applier.time >= time > 0
    assert other.ended(other.leader().session("s").open()) == 2
    other.close()


class Durable(Bank):
    """Has its state where it does not get lost, and says up to which entry."""

    def __init__(self, impl, snapshots=True):
        super().__init__(impl, snapshots)
        self.applied_index = 0

    def apply(self, entry):
        self.applied_index = entry.index
        return super().apply(entry)


@pytest.mark.parametrize("snapshots", [True, False])
def test_a_state_machine_with_durable_state_of_its_own(make, impl, snapshots):
    """What it has is not applied again, and not taken for what the session has not had."""
    world = make(count=1, snapshots=False)
    machine = Durable(impl, snapshots)
    world.nodes[1].close()
    world.start(1, machine)
    node = world.leader()
    session = node.session("s")
    done = world.ended(session.propose(b"one"))
    if snapshots:
        world.ended(node.snapshot())
    world.ended(session.propose(b"two"))
    applied = machine.applied_index
    world.nodes[1].close()
    world.start(1, machine, committed=True)
    node = world.nodes[1]
    world.for_rounds(1)
    assert node._parts.applier.sessions.index == applied
    backup = node._parts.applier.sessions.encode(0)
    form = header(impl)
    world.leader()
    copies = [form.HEADER.pack(session.id, session._opening, n, 1, form.COMMAND) + b"?" for n in (1, 2)]
    answers = [inject(world, node, copy) for copy in copies]
    assert isinstance(answers[0], impl.Unknown)  # the second said that nobody waits for the first
    assert (answers[1].result, answers[1].index) == (None, applied)
    assert done.index < applied and machine.given == [b"one", b"two"]
    again = node.session("s")
    assert world.ended(again.propose(b"three")).result[2] == 3
    told = [node.committed.next(0).data for _ in range(len(node.committed))]
    assert told == ([b"two", b"three"] if snapshots else [b"one", b"two", b"three"])
    assert backup


def test_a_log_does_not_end_while_it_alone_has_sessions(make, impl):
    """Without snapshots of the state machine."""
    world = make(count=1, snapshots=False)
    node = world.leader()
    world.for_rounds(50)
    session = node.session("s", ttl=1.0, keep_alive=False)
    index = world.ended(session.propose(b"one")).index
    refused = world.ended(node.compact(index))
    assert isinstance(refused, impl.NotDone) and "sessions are in use" in str(refused)
    world.for_rounds(200)
    index = world.ended(node.propose(b"late")).index
    assert world.ended(node.compact(index)) == index


def test_a_restart_of_everybody(make, impl):
    """With snapshots and without: the table comes back with the log, or what is behind it."""
    for snapshots in (True, False):
        world = make(snapshots=snapshots, snapshot_entries=3 if snapshots else 0)
        session = world.leader().session("s")
        for number in range(7):
            world.ended(session.propose(b"%d" % number))
        world.settled()
        world.for_rounds(50)
        for id in world.ids:
            world.nodes[id].close()
        for id in world.ids:
            world.start(id)
        world.leader()
        again = world.leader().session("s")
        assert world.ended(again.open()) == 7
        assert world.ended(again.propose(b"7")).result == (8, again.id, 8)
        world.settled()
        assert all(machine.given == [b"%d" % n for n in range(8)] for machine in world.machines.values())


def test_a_result_that_cannot_be_kept(make, impl):
    """It is there while the process lives; behind a snapshot the proposal is done, with None as its result."""
    world = make(count=1)
    node = world.leader()
    session = node.session("s")
    done = world.ended(session.propose(b"odd"))
    form = header(impl)
    copy = form.HEADER.pack(session.id, session._opening, 1, 1, form.COMMAND) + b"odd"
    again = inject(world, node, copy)
    assert (again.index, again.result) == (done.index, None)
    world.ended(node.snapshot())
    world.nodes[1].close()
    world.start(1)
    node = world.leader()
    again = inject(world, node, copy)
    assert (again.index, again.result) == (done.index, None)


class Alias(Bank):
    """Its results are its own state, which goes on changing; or more than is kept of one."""

    def apply(self, entry):
        super().apply(entry)
        return bytes(100_000) if entry.data == b"large" else self.given


def test_a_result_is_kept_as_it_was(make, impl):
    """A repeat is told the same before and after a restart, whatever the state machine did with the object."""
    world = make(count=1)
    world.nodes[1].close()
    world.start(1, Alias(impl))
    node = world.leader()
    session = node.session("s")
    world.ended(session.open())
    form = header(impl)

    def command(sequence, data):
        return form.HEADER.pack(session.id, session._opening, sequence, 1, form.COMMAND) + data

    copy = command(1, b"one")
    assert inject(world, node, copy).result == [b"one"]
    inject(world, node, command(2, b"two"))
    assert inject(world, node, command(3, b"large")).result == bytes(100_000)
    table = node._parts.applier.sessions
    (state,) = table.sessions.values()
    assert table.kept_bytes == sum(kept.size() for kept in state.results.values()) < 100
    assert inject(world, node, copy).result == [b"one"]
    assert inject(world, node, command(3, b"large")).result is None
    world.ended(node.snapshot())
    world.nodes[1].close()
    world.start(1, Alias(impl))
    assert inject(world, world.leader(), copy).result == [b"one"]


def test_a_proposal_that_is_cancelled_while_its_entry_is_made(make):
    """By another thread, when it is the session's only one."""
    world = make(count=1)
    node = world.leader()
    session = node.session("s", keep_alive=False)
    future, check, cancelled = session.propose(b"x"), session._check_open, []
    assert not future.done()  # the session is not open yet: the watch thread tries it again

    def meanwhile():
        check()
        cancelled.append(future.cancel())

    session._check_open = meanwhile
    world.until(lambda: cancelled)
    session._check_open = check
    assert cancelled[0] is True
    assert world.ended(session.propose(b"y")).index and node.failure is None


def sessions_left(world):
    return {id: len(node._parts.applier.sessions.sessions) for id, node in world.nodes.items()}


def test_closed_at_once_none_stays(make):
    """A ``with`` block may end before the cluster has answered its opening, and what was proposed in it."""
    world = make()
    follower = next(node for node in world.nodes.values() if not node.is_leader)
    futures = []
    for number in range(200):
        with follower.session() as session:
            if number % 4:
                futures.append(session.propose(b"%d" % number))
    assert all(world.ended(future).result for future in futures)
    world.until(lambda: sessions_left(world) == {1: 0, 2: 0, 3: 0})
    assert [len(machine.given) for machine in world.machines.values()] == [150] * 3


def test_what_is_open_ends_before_a_session_is_closed(make, impl):
    world = make()
    node = world.leader()
    session = node.session()
    world.ended(session.open())
    futures = [session.propose(b"%d" % number) for number in range(50)]
    closing = session.close()
    assert isinstance(world.ended(session.propose(b"late")), impl.SessionEnded)
    assert world.ended(closing).result is True
    assert [world.ended(future).result[0] for future in futures] == list(range(1, 51))


def test_a_close_that_nobody_waits_for_any_more_goes_on(make, impl):
    """Its own time is over before there is a leader; the proposal has longer, and then the session goes as well."""
    world = make()
    node = world.leader()
    session = node.session()
    world.ended(session.open())
    others = [id for id in world.nodes if id != node.id]
    for id in others:
        world.nodes[id].close()
        del world.nodes[id]
    future, closing = session.propose(b"x", timeout=60), session.close(timeout=0.5)
    assert isinstance(world.ended(closing), impl.NotDone)
    for id in others:
        world.start(id)
    assert world.ended(future, 20_000).result[0] == 1
    world.until(lambda: set(sessions_left(world).values()) == {0}, 20_000)


def test_wrong_arguments(make, impl):
    world = make(count=1, max_entry_bytes=100, max_message_bytes=100)
    node = world.leader()
    for name in ("", b"", 5, ["a"]):
        with pytest.raises(impl.UsageError, match="name must be"):
            node.session(name)
    for ttl in (0, -1, "1", True, 1e12):
        with pytest.raises(impl.UsageError, match="ttl must be"):
            node.session(ttl=ttl)
    session = node.session()
    with pytest.raises(impl.EntryTooLarge):
        session.propose(b"x" * 53)
    assert world.ended(session.propose(b"x" * 52)).result[0] == 1
    with pytest.raises(TypeError):
        session.propose("text")
    with pytest.raises(impl.UsageError, match="timeout"):
        session.propose(b"x", timeout=None)
    futures = [session.propose(b"%d" % number) for number in range(1001)]
    assert "proposals of the session are open" in str(futures[-1].exception(0))
    assert world.ended(futures[-2]).result[0] == 1001
    node.close()
    with pytest.raises(impl.Stopped):
        node.session()
    with pytest.raises(impl.Stopped):
        session.propose(b"x")


def test_consumers_of_the_stream_get_each_once(make, impl):
    world = Banks(impl, 1)
    world.nodes[1].close()
    world.start(1, committed=True)
    node = world.leader()
    session = node.session("s")
    world.ended(session.propose(b"one"))
    form = header(impl)
    inject(world, node, form.HEADER.pack(session.id, session._opening, 1, 1, form.COMMAND) + b"one")
    world.ended(node.propose(b"plain"))
    seen = [node.committed.next(0) for _ in range(len(node.committed))]
    assert [(entry.data, entry.session, entry.session_sequence, entry.kind) for entry in seen] == [
        (b"one", session.id, 1, 0), (b"plain", None, 0, 0),
    ]  # fmt: skip
    world.close()
