"""Nodes whose disks fill up: they refuse proposals, let others lead, lose nothing, and go on when there is room."""

import logging
import random

import pytest

from tests.helpers.implementations import module
from tests.helpers.stepped import Machine, World
from tests.helpers.transfers import BIG, Cluster

SEGMENT = 128 << 10
LARGE = 9000  # bytes of an entry of three blocks


class Disks:
    """Three nodes with their logs on simulated disks, stepped by the test."""

    def __init__(self, impl, count=3, learners=(), **settings):
        self.impl = impl
        disk = module(impl, "testing.disk").SimDisk
        self.disks = {id: disk(random.Random(id)) for id in range(1, count + 1)}
        for id, disk in self.disks.items():
            voters = [each for each in self.disks if each not in learners]
            impl.FileStorage.create(
                f"/{id}", id=id, members=voters, learners=learners, segment_bytes=SEGMENT, disk=disk
            )
        self.world = World(impl, count, {id: self.storage(id) for id in self.disks}, **settings)
        self.world.leader()

    def storage(self, id):
        return self.impl.FileStorage(f"/{id}", disk=self.disks[id])

    def node(self, id):
        return self.world.nodes[id]

    def leader(self):
        return self.world.leader()

    def fill(self, id):
        """No room for the segment after the next one: until then nobody notices anything."""
        self.disks[id].capacity = self.disks[id].platter.used()

    def empty(self, id):
        self.disks[id].capacity = None

    def is_full(self, id):
        return self.node(id).status().disk.full

    def end(self, future):
        """The outcome of a request."""
        self.world.until(future.done)
        return future.exception(timeout=0) or future.result(timeout=0)

    def write_until(self, condition, node=None, size=LARGE):
        """Propose, until something is the case; how many were done."""
        done = 0
        for _ in range(200):
            if condition():
                return done
            outcome = self.end((node or self.leader()).propose(bytes(size)))
            done += isinstance(outcome, self.impl.Done)
        raise AssertionError("it did not happen in time")

    def agree(self):
        """All have applied the same."""
        self.world.until(lambda: len({node.applied_index for node in self.world.nodes.values()}) == 1)
        datas = [[data for _, _, data in machine.entries] for machine in self.world.machines.values()]
        assert all(each == datas[0] for each in datas)
        assert all(node.failure is None for node in self.world.nodes.values())
        return datas[0]


@pytest.fixture
def disks(impl):
    made = Disks(impl)
    yield made
    made.world.close()


def test_a_leader_without_room_lets_another_one_lead(disks, impl, caplog):
    leader = disks.leader()
    disks.fill(leader.id)
    disks.write_until(lambda: disks.is_full(leader.id) or not leader.is_leader, leader)
    disks.world.until(lambda: disks.leader() is not leader)
    assert leader.failure is None and leader.status().disk.shortage in ("ENOSPC", "EDQUOT")
    # Neither taken nor passed on: it would not see it applied before long.
    error = disks.end(leader.propose(b"refused"))
    assert isinstance(error, impl.DiskFull) and isinstance(error, impl.NotDone)
    assert f"/{leader.id}: " in str(error) and "make room" in str(error)
    assert isinstance(disks.end(leader.propose_many([b"refused", b"too"])), impl.DiskFull)
    # The others go on, and so does it as long as it has room.
    assert isinstance(disks.end(disks.leader().propose(b"taken")), impl.Done)
    disks.world.until(lambda: leader.applied_index == disks.leader().applied_index)
    # It does not take leadership while it is full.
    error = disks.end(disks.leader().transfer_leadership(leader.id))
    assert isinstance(error, impl.NotDone) and "full" in str(error)
    disks.empty(leader.id)
    disks.world.until(lambda: not disks.is_full(leader.id))
    assert isinstance(disks.end(leader.propose(b"again")), impl.Done)
    texts = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and "room" in r.getMessage()]
    assert len(texts) == 2 and "DiskFull" in texts[0] and "there is room again" in texts[1]
    data = disks.agree()
    assert b"taken" in data and b"again" in data and not any(each in data for each in (b"refused", b"too"))


def test_where_nobody_has_room_the_leader_stays_and_refuses(disks, impl):
    """Heartbeats go on, and what was in the log is committed; proposals of followers are refused as well."""
    for id in disks.disks:
        disks.fill(id)
    disks.write_until(lambda: all(disks.is_full(id) for id in disks.disks))
    leader, term = disks.leader(), disks.leader().term
    follower = next(node for node in disks.world.nodes.values() if node is not leader)
    disks.world.for_rounds(1000)
    assert leader.is_leader and leader.term == term
    for node in (leader, follower):
        assert isinstance(disks.end(node.propose(b"refused")), impl.DiskFull)
    assert leader.commit_index == leader.status().last
    # A follower with room passes on, and hears that its leader has none; then the leader hands over to it.
    disks.empty(follower.id)
    disks.world.until(lambda: disks.leader() is follower)
    assert isinstance(disks.end(follower.propose(b"taken")), impl.Done)
    for id in disks.disks:
        disks.empty(id)
    disks.world.until(lambda: not any(disks.is_full(id) for id in disks.disks))
    assert b"refused" not in disks.agree()


def test_what_is_passed_on_to_a_leader_without_room_is_refused_there(impl):
    """By a member that has room, and cannot lead."""
    disks = Disks(impl, 2, learners=(2,))
    leader, learner = disks.node(1), disks.node(2)
    disks.fill(1)
    disks.write_until(lambda: disks.is_full(1))
    assert not disks.is_full(2)
    error = disks.end(learner.propose(b"refused"))
    assert isinstance(error, impl.DiskFull) and "the leader's disk is full" in str(error)
    assert leader.is_leader
    disks.empty(1)
    disks.world.until(lambda: not disks.is_full(1))
    assert isinstance(disks.end(learner.propose(b"taken")), impl.Done)
    assert b"refused" not in disks.agree()
    disks.world.close()


def test_a_follower_that_has_no_room_left_acknowledges_nothing_and_catches_up(disks, impl):
    leader = disks.leader()
    follower = next(node for node in disks.world.nodes.values() if node is not leader)
    disks.fill(follower.id)
    disks.write_until(lambda: follower.status().messages_not_taken > 0, leader)
    for _ in range(5):
        assert isinstance(disks.end(leader.propose(bytes(LARGE))), impl.Done)
    behind = follower.status().last
    assert behind < leader.status().last and follower.failure is None
    disks.world.for_rounds(500)
    assert follower.status().last == behind and follower.leader_id == leader.id
    # It votes: there is a little room for that.
    term = leader.term
    other = next(node for node in disks.world.nodes.values() if node not in (leader, follower))
    assert disks.end(leader.transfer_leadership(other.id)).leader == other.id and other.term > term
    disks.world.until(lambda: follower.leader_id == other.id)
    assert follower.status().vote == other.id
    disks.empty(follower.id)
    disks.world.until(lambda: follower.status().last == other.status().last)
    disks.agree()


def test_it_starts_on_a_full_disk(disks, impl):
    leader = disks.leader()
    follower = next(node for node in disks.world.nodes.values() if node is not leader)
    disks.fill(follower.id)
    disks.write_until(lambda: follower.status().messages_not_taken > 0, leader)
    for _ in range(2):
        disks.world.executors[follower.id].kill()
        disks.disks[follower.id].kill()
        disks.world.storages[follower.id] = disks.storage(follower.id)
        follower = disks.world.start(follower.id)
        disks.world.until(lambda: disks.is_full(follower.id))  # noqa: B023
        disks.world.until(lambda: follower.leader_id)  # noqa: B023
        assert isinstance(disks.end(disks.leader().propose(b"on")), impl.Done)
    disks.empty(follower.id)
    disks.world.until(lambda: not disks.is_full(follower.id))
    disks.world.until(lambda: follower.applied_index == disks.leader().applied_index)
    assert follower.failure is None


def test_a_snapshot_without_room_is_given_up_and_nothing_else(impl):
    class Large(Machine):
        def snapshot(self):
            return bytes(4 * SEGMENT)

        def restore(self, reader):
            reader.read()

    disks = Disks(impl, 1, snapshot_entries=0)
    world = disks.world
    world.nodes[1].close()
    world.storages[1] = disks.storage(1)
    world.start(1, machine=Large())
    node = disks.leader()
    assert isinstance(disks.end(node.propose(b"1")), impl.Done)
    world.for_rounds(50)
    disks.fill(1)
    error = disks.end(node.snapshot())
    assert isinstance(error, impl.NotDone) and "could not be written" in str(error)
    assert not [name for name in disks.disks[1].files("/1") if name.startswith("snapshot")]
    assert isinstance(disks.end(node.propose(b"2")), impl.Done)
    assert node.failure is None and node.status().snapshot.failed == 1
    disks.empty(1)
    assert disks.end(node.snapshot()).size == 4 * SEGMENT
    world.close()


def test_a_member_that_cannot_store_a_snapshot_says_so_and_goes_on_by_itself(impl, tmp_path, caplog):
    """One line when it begins, one when it ends; status() names what is short meanwhile."""
    caplog.set_level(logging.INFO, "raftx")
    three = Cluster(impl, tmp_path, where="simulated", election_ticks=10)
    world = three.world
    three.fill(2)
    away = three.follower()
    world.nodes[away].close()
    three.fill(6, BIG)
    disk = three.disks[away]
    node = three.start(away)
    world.until(lambda: three.transfers(away).chunks_received >= 1, 20_000)
    disk.capacity = disk.platter.used()
    world.until(lambda: three.transfers(away).shortage == "ENOSPC", 20_000)
    assert node.status().disk.shortage == "ENOSPC"
    world.for_rounds(6000)  # it is tried again and again

    def told(text):
        return [record.getMessage() for record in caplog.records if text in record.getMessage()]

    (line,) = told("cannot store it")
    assert f"node {away}: " in line and "[Errno 28]" in line and "goes on by itself" in line
    assert three.transfers(away).given_up > 1 and node.failure is None and not told("gives up fetching")
    disk.capacity = None
    three.agree(40_000)
    assert three.transfers(away).shortage == "" and node.status().disk.shortage == ""
    assert three.transfers(away).fetched == 1 and len(told("there is room again for the snapshot")) == 1
    world.close()


def test_a_sole_member_without_room_stays_the_leader(impl):
    disks = Disks(impl, 1)
    disks.fill(1)
    done = disks.write_until(lambda: disks.is_full(1))
    node = disks.leader()
    assert isinstance(disks.end(node.propose(b"refused")), impl.DiskFull)
    disks.world.for_rounds(1000)
    assert node.is_leader
    disks.empty(1)
    disks.world.until(lambda: not disks.is_full(1))
    assert isinstance(disks.end(node.propose(b"taken")), impl.Done)
    assert len(disks.world.machines[1].entries) == done + 1
    disks.world.close()
