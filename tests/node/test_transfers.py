"""A member whose log the others have shortened behind it fetches a snapshot, chunk by chunk. Both modes."""

import collections

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.machines import Machine
from tests.helpers.transfers import BIG, CHUNK, CHUNKS, Cluster, asked_for, halfway


@pytest.fixture
def cluster(impl, tmp_path):
    made = []

    def make(**settings):
        made.append(Cluster(impl, tmp_path, **settings))
        return made[-1]

    yield make
    for each in made:
        each.world.close()


def test_a_member_that_was_away_gets_a_snapshot(cluster):
    """And goes on with the log behind it; after a restart it has both."""
    three = cluster()
    world = three.world
    three.fill(2)
    away = next(id for id in world.ids if not world.nodes[id].is_leader)
    world.nodes[away].close()
    three.fill(10)
    leader = three.leader()
    assert leader.status().first > 200
    three.start(away)
    three.agree()
    status = world.nodes[away].status()
    assert status.transfers.fetched == 1 and status.snapshot.index > 200
    assert world.machines[away].restored is not None
    assert leader.status().transfers.chunks_served >= 1
    three.fill(1)
    three.agree()
    world.nodes[away].close()
    three.start(away)
    three.agree()
    assert world.nodes[away].status().transfers.fetched == 0


def test_an_empty_member_gets_a_snapshot(cluster):
    """One whose log has nothing at all, as a member that is new has."""
    three = cluster(absent=(3,))
    three.fill(6, BIG)
    three.start(3)
    three.agree()
    assert three.transfers(3).fetched == 1
    assert three.world.machines[3].restored is not None


def test_chunks_that_are_lost_are_asked_for_again(cluster):
    """The source is not given up for that."""
    three = cluster()
    lost = []

    def loses(sender, to, message):
        lost.append(len(lost) % 4 == 3)
        return lost[-1]

    three.loses = loses
    away = three.behind(rounds=4)
    three.agree(20_000)
    assert three.transfers(away).fetched == 1 and three.transfers(away).given_up == 0
    assert lost.count(True) >= 3


def test_chunks_that_come_twice_change_nothing(cluster):
    """Nor those that come after their time."""
    three = cluster()

    def repeats(sender, to, message):
        if message.kind == CHUNK and not message.reject:
            three.world.frames.waiting.append((to, repeated(three, sender, to, message)))
        return False

    three.loses = repeats
    away = three.behind(rounds=4)
    came = collections.Counter()
    courier = three.world.nodes[away]._parts.courier
    inner = courier.arrived

    def arrived(member, index, term, tag, number, record):
        came[tag, number] += 1
        inner(member, index, term, tag, number, record)

    courier.arrived = arrived
    three.agree(20_000)
    transfers = three.transfers(away)
    assert transfers.fetched == 1 and transfers.chunks_received > 5
    # They did come twice: no frame was dropped as one of an earlier life.
    assert len(came) > 5 and set(came.values()) == {2}
    assert three.world.nodes[away].status().frames_stale == 0


def test_a_chunk_that_is_also_refused_is_dropped(cluster):
    """What follows it in the same frame is taken for what it is."""
    three = cluster()
    mixed = []

    def lies(sender, to, message):
        if message.kind != CHUNK or message.reject or len(mixed) == 3:
            return False
        refused = message.copy()
        refused.reject = True
        mixed.append(repeated(three, sender, to, refused, message))
        three.world.frames.waiting.append((to, mixed[-1]))
        return True

    three.loses = lies
    away = three.behind(rounds=4)
    three.agree(20_000)
    assert len(mixed) == 3 and three.world.nodes[away].failure is None
    assert three.transfers(away).fetched == 1 and three.transfers(away).given_up == 0


def repeated(three, sender, to, *messages):
    """A frame with these messages alone."""
    life = three.world.nodes[sender].status().life
    codec = three.impl._core.Codec(three.impl.Config(id=1).cluster, sender, life)
    return codec.encode(to, [message.copy() for message in messages])


def test_a_few_chunks_are_under_way(cluster):
    """As many as the round trip asks for; and none is larger than a quarter of a MiB."""
    three = cluster()
    away = three.behind()
    under_way, most = 0, 0
    three.agree(20_000)
    for sender, _, message in three.seen:
        if message.kind == CHUNKS and sender == away:
            under_way += message.hint
        elif message.kind == CHUNK:
            assert message.body_size <= 256 << 10
            under_way -= 1
        most = max(most, under_way)
    assert most == 2  # a round here takes a millisecond, and a chunk several
    assert under_way == 0


def make_different(three):
    """Snapshots tell the life that made them: from now on those of any two members are different files."""
    for id in three.ids:
        for _ in range(id):
            three.world.nodes[id].close()
            three.start(id)
    three.world.until(three.leader)


def test_another_member_that_has_the_file_goes_on(cluster):
    """The leader hands over and dies, and the next one has its snapshot, too: nothing is fetched twice."""
    five = cluster(count=5, absent=(4, 5), snapshot_entries=0)
    leader = five.leader()
    five.fill(6, BIG)
    made = leader.snapshot()
    five.world.until(made.done)
    five.world.for_rounds(50)
    five.start(4)
    five.agree(20_000)
    assert five.transfers(4).fetched == 1
    five.seen.clear()
    five.start(5)
    halfway(five, 5)
    leader.transfer_leadership(4)
    five.world.until(lambda: five.world.nodes[4].is_leader)
    five.kill(leader.id)
    five.agree(20_000)
    assert five.transfers(5).fetched == 1 and five.transfers(5).given_up == 0
    assert five.world.machines[5].restored[0] == made.result().index
    asked = asked_for(five, 5)
    assert {to for to, _ in asked} == {leader.id, 4}
    assert min(number for to, number in asked if to == 4) >= 2


def test_a_new_leader_with_another_snapshot(cluster):
    """The old leader is gone: what it had is given up for what there is."""
    three = cluster()
    make_different(three)
    away = three.behind()
    halfway(three, away)
    three.kill(three.leader().id)
    three.agree(20_000)
    assert three.transfers(away).fetched == 1 and three.transfers(away).given_up == 1


def test_a_leader_that_only_hands_over_goes_on_serving(cluster):
    """Whoever leads: the source is there, and the transfer comes to its end."""
    three = cluster()
    make_different(three)
    away = three.behind()
    old = three.leader()
    halfway(three, away)
    to = next(id for id in three.ids if id not in (away, old.id))
    three.world.until(old.transfer_leadership(to).done)
    three.agree(20_000)
    assert three.transfers(away).fetched == 1 and three.transfers(away).given_up == 0
    assert {to for to, _ in asked_for(three, away)} == {old.id}


def test_a_snapshot_that_the_source_has_no_more(cluster):
    """It was restarted, and has newer ones: the newest is offered, and fetched."""
    three = cluster()
    away = three.behind()
    source = three.leader().id
    halfway(three, away)
    # What is open can be read to its end; a new life opens what there is.
    three.world.skipped.add((away, "courier"))
    three.fill(4, BIG)
    three.kill(source)
    three.start(source)
    three.world.skipped.clear()
    three.agree(20_000)
    assert three.transfers(away).fetched == 1
    assert three.transfers(away).given_up == 1


def test_a_file_that_is_removed_while_it_is_served(cluster):
    """Newer ones take its place at the source; who reads it, reads it to its end."""
    three = cluster()
    away = three.behind()
    halfway(three, away)
    first = three.seen[-1][2].index
    three.world.skipped.add((away, "courier"))
    three.fill(4, BIG)
    assert not any(f"{first:016x}" in each.name for each in (three.path / str(three.leader().id)).iterdir())
    three.world.skipped.clear()
    three.agree(20_000)
    restored = [m.index for sender, _, m in three.seen if m.kind == CHUNK]
    assert restored.count(first) > 5 and three.transfers(away).given_up == 0
    # Some time after that it is closed, and its space is free.
    source = three.leader()._parts.courier
    assert source.readers
    three.world.until(lambda: not source.readers)


def test_the_rate_is_bounded(cluster):
    """By the member that fetches."""
    three = cluster(snapshot_bytes_per_second=400_000)
    away = three.behind()
    world = three.world
    halfway(three, away)
    size, before, begun = three.transfers(away).size, three.transfers(away).arrived, world.clock.py_now()
    world.until(lambda: three.transfers(away).fetched or three.transfers(away).given_up, 20_000)
    assert three.transfers(away).fetched == 1
    assert 0.8 <= (world.clock.py_now() - begun) / 1e9 / ((size - before) / 400_000) <= 1.3
    three.agree(20_000)


def test_a_low_rate_is_not_taken_for_silence(cluster):
    """A chunk may take longer than a source waits for who asks for nothing: it goes on being asked, for no chunk."""
    three = cluster(snapshot_bytes_per_second=800, max_log_bytes=10**6, step=0.02)
    away = three.behind(b"z" * 700, rounds=5)
    halfway(three, away)
    first = three.seen[-1][2].index
    for _ in range(4):
        three.fill(1)
    assert three.leader().status().snapshot.index > first + 100
    three.agree(20_000)
    transfers = three.transfers(away)
    assert (transfers.fetched, transfers.given_up) == (1, 0)
    assert {m.index for _, _, m in three.seen if m.kind == CHUNKS} == {first}


def test_what_follows_the_snapshot_stays_until_it_is_there(cluster):
    """Beyond what the log may have otherwise: one transfer is enough, although the others go on meanwhile."""
    three = cluster(snapshot_bytes_per_second=200_000, max_log_bytes=40_000)
    away = three.behind(tail=2)
    leader = three.leader()
    halfway(three, away)
    offered = three.seen[-1][2].index
    size = 0
    for _ in range(8):
        three.fill(1, b"y" * 200)
        assert three.transfers(away).fetched == 0
        status = leader.status()
        assert status.first <= offered + 1
        size = (status.last - status.first) * 200
    assert status.snapshot.index > offered + 100 and size > 40_000
    three.agree(20_000)
    assert three.transfers(away).fetched == 1


def test_what_follows_does_not_stay_for_ever(cluster):
    """Twice max_log_bytes are the bound: then the member needs another snapshot."""
    three = cluster(snapshot_bytes_per_second=300_000, max_log_bytes=20_000)
    away = three.behind()
    leader = three.leader()
    halfway(three, away)
    offered = three.seen[-1][2].index
    for _ in range(6):
        three.fill(1, b"y" * 500)
    assert three.transfers(away).fetched == 0
    assert leader.status().first > offered + 1
    three.agree(40_000)
    assert three.transfers(away).fetched >= 2


@pytest.mark.once
def test_what_follows_stays_for_a_bounded_time(monkeypatch, tmp_path):
    """Interpreted, where the bound can be made short; the code is the same in both modes."""
    impl = IMPLEMENTATIONS["pure"]
    monkeypatch.setattr(module(impl, "node.compaction"), "HOLD_TIMEOUTS", 1)
    three = Cluster(impl, tmp_path, snapshot_bytes_per_second=200_000, max_log_bytes=40_000)
    away = three.behind()
    leader = three.leader()
    halfway(three, away)
    offered = three.seen[-1][2].index
    # As much as stays in test_what_follows_the_snapshot_stays_until_it_is_there.
    three.fill(8, b"y" * 200)
    status = leader.status()
    assert three.transfers(away).fetched == 0 and status.first > offered + 1
    three.agree(40_000)
    three.world.close()


def test_a_proposal_whose_entry_is_in_a_snapshot_ends(impl, cluster):
    """As unknown: whether it is there cannot be told."""
    three = cluster(max_log_bytes=5000, proposal_timeout_ms=10**6)
    world = three.world
    member = three.follower()
    world.nodes[member].propose(b"before")
    world.for_rounds(50)
    future = world.nodes[member].propose(b"of the follower")
    receive, sent = world.receive[member], len(world.trace)
    # Its proposal leaves, and then it hears nothing for a while.
    world.until(lambda: any(source == member for source, *_ in world.trace[sent:]))
    world.receive[member] = lambda frame: None
    three.fill(8)
    assert three.leader().status().first > 100
    assert b"of the follower" in world.machines[three.leader().id].items and not future.done()
    world.receive[member] = receive
    three.agree(20_000)
    assert three.transfers(member).fetched >= 1
    with pytest.raises(impl.Unknown, match="took a snapshot, which may have the entry"):
        future.result(timeout=0)
    done = world.nodes[member].propose(b"after")
    world.until(done.done)
    assert done.result().index > 200


def test_a_snapshot_that_entries_have_overtaken_is_not_fetched_to_its_end(cluster, caplog):
    """Its leader is lost, and another one has all the entries: nothing more is asked for, and nothing is left of it."""
    caplog.set_level("INFO", "raftx")
    three = cluster()
    world = three.world
    three.fill(2)
    # One of the others never drops an entry; the leader does.
    keeps, away = (id for id in three.ids if not world.nodes[id].is_leader)
    leads = three.leader().id
    world.nodes[keeps].close()
    three.start(keeps, snapshot_entries=0)
    world.nodes[away].close()
    three.fill(6, BIG)
    world.until(lambda: world.nodes[keeps].applied_index == three.leader().applied_index)
    node = three.start(away)
    halfway(three, away)
    index = three.transfers(away).fetching
    # Its chunks go on coming, one at a time, while the other one leads.
    world.until(world.nodes[leads].transfer_leadership(keeps).done)
    world.until(lambda: three.transfers(away).overtaken == 1, 20_000)
    asked = len(asked_for(three, away))
    three.fill(1)
    three.agree(20_000)
    transfers = three.transfers(away)
    assert (transfers.fetched, transfers.fetching, transfers.given_up) == (0, 0, 0)
    assert node.applied_index > index > world.machines[away].restored[0]
    assert len(asked_for(three, away)) == asked
    assert [name for name in three.snapshots(away) if name.endswith(".part")] == []
    assert any("has come by entries" in record.getMessage() for record in caplog.records)


def test_a_machine_that_cannot_take_it_says_so(cluster, caplog):
    """It is not fetched, and the node goes on; with a newer program it comes up."""
    three = cluster(absent=(3,))
    three.fill(4, BIG)
    old = Machine()
    old.version = 2
    node = three.world.start(3, machine=old, **three.settings)
    three.world.for_rounds(1500)
    assert node.failure is None and not three.seen
    told = [record.getMessage() for record in caplog.records if "is not fetched" in record.getMessage()]
    assert len(told) == 1 and "this one is version 2: use the newer one" in told[0]
    node.close()
    three.start(3)
    three.agree(20_000)


def test_chunks_that_do_not_fit_are_not_asked_for(cluster, caplog):
    """The text says what to raise."""
    three = cluster()
    three.fill(2)
    away = three.follower()
    three.world.nodes[away].close()
    three.fill(6, BIG)
    node = three.start(away, max_frame_bytes=16 << 10)
    three.world.for_rounds(1000)
    assert node.failure is None and not three.seen
    assert any("raise max_frame_bytes=16384 of its transport" in record.getMessage() for record in caplog.records)
    node.close()
    three.start(away)
    three.agree(20_000)


def test_what_has_arrived_goes_on_after_a_restart(cluster):
    """Of the member that fetches: chunks that are here are not fetched again."""
    three = cluster()
    away = three.behind()
    halfway(three, away)
    three.kill(away)
    three.seen.clear()
    three.start(away)
    three.agree(20_000)
    assert three.transfers(away).fetched == 1
    assert min(number for _, number in asked_for(three, away)) >= 2
