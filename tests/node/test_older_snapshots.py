"""The snapshot before the newest one: it serves when the newest is damaged, and is served to who has a part of it."""

import logging

import pytest

from tests.helpers.transfers import BIG, CHUNKS, WHERE, Cluster, asked_for, halfway

DAMAGE = {
    "bit": lambda data: data[: len(data) // 2] + bytes((data[len(data) // 2] ^ 16,)) + data[len(data) // 2 + 1 :],
    "header": lambda data: data[:50] + bytes((data[50] ^ 1,)) + data[51:],
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
}


@pytest.fixture
def cluster(impl, tmp_path):
    made = []

    def make(**settings):
        made.append(Cluster(impl, tmp_path, **{"snapshot_entries": 0, **settings}))
        return made[-1]

    yield make
    for each in made:
        each.world.close()


def make_snapshot(three, node):
    """Have a member make one; its name."""
    future = node.snapshot()
    three.world.until(future.done)
    return future.result().name


def served(three, id):
    """The entries of the snapshots whose chunks a member has asked for, and the numbers of these."""
    return [(m.index, m.commit) for sender, _, m in three.seen if sender == id and m.kind == CHUNKS]


@pytest.mark.parametrize(
    ("where", "how"),
    [*[(where, how) for where in ("files", "simulated") for how in DAMAGE], ("memory", "bit")],
)
def test_a_member_begins_with_the_one_before(impl, cluster, where, how, caplog):
    """Its log begins behind that one: nothing comes from the others but what it missed, and it has what they have."""
    three = cluster(where=where)
    member = three.world.nodes[three.follower()]
    id = member.id
    three.fill(1, BIG)
    older = make_snapshot(three, member)
    three.fill(1, BIG)
    three.agree()
    newer = make_snapshot(three, member)
    # The log on disk begins behind the older one with the next segment.
    three.fill(1, BIG)
    three.agree()
    last = member.applied_index
    member.close()
    three.fill(1)
    assert three.snapshots(id) == [older, newer]
    three.change(id, newer, DAMAGE[how])
    with caplog.at_level(logging.WARNING, "raftx"):
        node = three.start(id)
        receive, three.world.receive[id] = three.world.receive[id], lambda frame: None
        three.world.for_rounds(10)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([text for text in told if newer in text and f"put aside as {newer}.damaged" in text]) == 1
    assert three.snapshots(id) == [older, newer + ".damaged"]
    # Before it has heard of anybody: what it has is its own.
    machine, index = three.world.machines[id], int(older[26:42], 16)
    status = node.status()
    assert machine.restored == (index, 3) and status.snapshot.index == index
    assert (status.first, status.last) == (index + 1, last)
    three.world.receive[id] = receive
    three.agree()
    assert machine.applied[0] == index + 1 and machine.restored == (index, 3)
    assert node.applied_index > last and three.transfers(id).fetched == 0
    # The next one takes the place of the damaged one.
    again = make_snapshot(three, node)
    assert three.snapshots(id) == [older, newer + ".damaged", again]


def restarted(three, newer):
    """A member has a part of the leader's snapshot, the leader makes a newer one and is restarted.

    newer: what becomes of the files meanwhile, by (source, older, newer). The two members, and which entry the older
    one is of.
    """
    three.fill(5, BIG)
    leader = three.leader()
    older = make_snapshot(three, leader)
    three.world.for_rounds(50)
    three.start(3)
    halfway(three, 3)
    three.world.skipped.add((3, "courier"))
    three.propose(3)
    name = make_snapshot(three, leader)
    # The log on disk begins behind the older one with the next segment.
    three.propose(30, BIG)
    assert three.snapshots(leader.id) == [older, name] and three.transfers(3).given_up == 0
    three.kill(leader.id)
    newer(leader.id, older, name)
    three.seen.clear()
    source = three.start(leader.id)
    # It may take a while until it is asked again: what follows the older one is there as long.
    three.world.for_rounds(50)
    index = int(older[26:42], 16)
    assert source.status().first == index + 1
    three.world.skipped.clear()
    return source, index


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "damaged"])
@pytest.mark.parametrize("where", WHERE)
def test_who_has_a_part_of_it_gets_the_rest(cluster, where, damaged):
    """Its source was restarted meanwhile: what the storage has still is served, the newest or not."""
    # Slow enough for an election, and for the new leader's offer of its newest one.
    three = cluster(where=where, absent=(3,), snapshot_bytes_per_second=400_000)

    def newer(source, older, newest):
        if damaged:
            three.change(source, newest, DAMAGE["bit"])

    source, index = restarted(three, newer)
    had = three.world.nodes[3]._parts.courier.fetch.receiver.missing()
    three.world.until(lambda: three.transfers(3).fetched or three.transfers(3).given_up, 20_000)
    assert three.transfers(3).given_up == 0
    wanted = served(three, 3)
    assert {entry for entry, _ in wanted} == {index} and {to for to, _ in asked_for(three, 3)} == {source.id}
    assert min(number for _, number in wanted) >= had >= 2
    # What follows it has stayed at the source, too: one transfer is enough.
    three.agree(20_000)
    assert three.transfers(3).fetched == 1 and three.world.machines[3].restored[0] == index
    # Some time after that it is dropped.
    three.world.until(lambda: source.status().first > source.status().snapshot.index)


@pytest.mark.parametrize("where", WHERE)
def test_one_that_is_damaged_is_not_served(cluster, where, caplog):
    """It is told so, and takes the newest."""
    three = cluster(where=where, absent=(3,))

    def newer(source, older, newest):
        # The last chunks, which have not been fetched; an opening looks at the header of the older one only.
        three.change(source, older, lambda data: data[:-100] + bytes(100))

    _, index = restarted(three, newer)
    three.agree(20_000)
    assert three.transfers(3).given_up >= 1
    assert three.world.machines[3].restored[0] > index
    assert any(f"cannot serve the snapshot of entry {index}" in record.getMessage() for record in caplog.records)


def test_one_that_cannot_be_opened_is_told(impl, cluster, caplog):
    """A storage that raises what nobody expects of it: the member is refused, and the log says why."""
    three = cluster(absent=(3,))
    three.fill(5, BIG)
    leader = three.leader()
    make_snapshot(three, leader)
    three.world.for_rounds(50)
    storage, open_snapshot = three.world.storages[leader.id], three.world.storages[leader.id].open_snapshot

    def broken():
        """As one that was written before there was an index to ask for."""
        return open_snapshot()

    storage.open_snapshot = broken
    three.start(3)
    three.world.until(lambda: three.transfers(3).given_up, 10_000)
    told = [record.getMessage() for record in caplog.records if "cannot serve" in record.getMessage()]
    assert told and "positional argument" in told[0]
    storage.open_snapshot = open_snapshot
    three.agree(20_000)
