"""A member that needs a snapshot, and whose storage cannot take one: it says so, to people and in its status."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.machines import Durable, Machine
from tests.helpers.transfers import BIG, CHUNKS, Cluster

APP_RESP, SNAP = 4, 7
MINUTE = 60


class WithoutSnapshots:
    """A storage with what every storage must have, over one that has more."""

    def __init__(self, kept):
        self.kept = kept
        for name in ("open", "append", "sync", "compact", "close"):
            setattr(self, name, getattr(kept, name))


class Bare(Cluster):
    """Member 3 has such a storage, as long as ``bare`` says so."""

    bare = True

    def storage(self, id):
        kept = super().storage(id)
        return WithoutSnapshots(kept) if self.bare and id == 3 else kept


@pytest.fixture
def three(impl, tmp_path):
    made = Bare(impl, tmp_path, absent=(3,), where="memory")
    yield made
    made.world.close()


def told(caplog):
    lines = [record for record in caplog.records if "cannot take the snapshot" in record.getMessage()]
    assert all(record.levelname == "WARNING" for record in lines)
    return [record.getMessage() for record in lines]


def not_taken(node):
    return node.status().snapshots_not_taken


def wrong(three, node):
    """What readiness says against it."""
    found = module(three.impl, "admin.health").Health(node).ready()
    return {name: reason for name, reason in found.items() if reason}


class Older(Machine):
    version = 2


@pytest.mark.parametrize("kind", [Older, Durable], ids=["an older version", "without restore"])
def test_a_state_machine_that_cannot_take_it_is_not_healthy(impl, tmp_path, kind, caplog):
    """It follows and has a leader, and is as far behind as what it was offered; with another machine it goes on."""
    three = Cluster(impl, tmp_path, absent=(3,), where="memory")
    try:
        three.fill(4, BIG)
        offered = three.leader().status().snapshot.index
        three.world.storages[3] = three.storage(3)
        node = three.world.start(3, machine=kind(), **three.settings)
        three.world.until(lambda: not_taken(node) >= 3)
        status = node.status()
        assert status.leader and status.applied == 0 and status.behind >= offered and status.snapshots_not_taken >= 3
        said = "version 3 of the state machine" if kind is Older else "must have a method restore"
        assert said in status.stuck and said in str(node._not_ready(1))
        assert said in wrong(three, node)["snapshot"]
        assert sum(said in record.getMessage() for record in caplog.records) == 1
        node.close()
        three.start(3)
        three.agree(20_000)
        assert three.world.nodes[3].status().stuck == "" and wrong(three, three.world.nodes[3]) == {}
    finally:
        three.world.close()


def test_a_storage_without_snapshots_says_what_it_lacks(three, caplog):
    """Once a minute, however many offers come; with another storage the member goes on."""
    three.fill(4, BIG)
    leader = three.leader()
    offered = leader.status().snapshot.index
    node = three.start(3)
    three.world.until(lambda: not_taken(node) >= 3)
    status = node.status()
    assert (status.applied, status.transfers, status.messages_unserved) == (0, None, 0)
    assert node.failure is None and not [m for _, _, m in three.seen if m.kind == CHUNKS]
    (line,) = told(caplog)
    assert "node 3: it lacks entries that its leader has dropped" in line
    assert f"the snapshot of entry {offered} that member {leader.id} offers" in line
    assert "receive_snapshot and begin_behind, such as FileStorage; 1 such offers so far" in line
    # It takes part in the rest: it follows the leader.
    assert node.leader_id == leader.id
    three.world.clock.advance(MINUTE)
    before = not_taken(node)
    three.world.until(lambda: not_taken(node) >= before + 3, 6000)
    status = node.status()
    assert "its storage cannot take the snapshot" in status.stuck and status.behind >= offered
    assert "cannot take the snapshot" in str(node._not_ready(1)) and "snapshot" in wrong(three, node)
    first, second = told(caplog)
    assert first == line and f"; {before + 1} such offers so far" in second
    node.close()
    three.bare = False
    three.start(3)
    three.agree(20_000)
    assert three.world.nodes[3].status().stuck == "" and wrong(three, three.world.nodes[3]) == {}
    assert three.transfers(3).fetched == 1 and not_taken(three.world.nodes[3]) == 0
    assert len(told(caplog)) == 2


def test_an_offer_of_what_is_there_is_answered(impl, three, caplog):
    """It came late, say: the leader hears how far this member is, and there is nothing to tell."""
    three.settings["snapshot_entries"] = 0
    three.fill(1)
    node = three.start(3)
    three.agree()
    leader = three.leader()
    entry, committed = node.applied_index - 5, node.commit_index
    snapshot = impl.Snapshot(entry, leader.term, leader.configuration, b"")
    codec = impl._core.Codec(impl.Config(id=1).cluster, leader.id, leader.status().life)
    offer = impl.Message(kind=SNAP, sender=leader.id, to=3, term=leader.term, snapshot=snapshot)
    sent = len(three.world.trace)
    three.world.receive[3](codec.encode(3, [offer]))
    # Nothing else reaches it meanwhile.
    three.cut_off.add(leader.id)
    three.world.for_rounds(3)
    answers = [frame for sender, to, frame, _ in three.world.trace[sent:] if (sender, to) == (3, leader.id)]
    found = [m for frame in answers for m in impl._core.Codec(impl.Config(id=1).cluster, leader.id, 99).decode(frame)]
    assert [m.index for m in found if m.kind == APP_RESP] == [committed]
    assert not_taken(node) == 0 and not told(caplog)
