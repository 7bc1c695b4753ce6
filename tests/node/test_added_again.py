"""A member is removed: it learns of that; and of one with its id that is added again nothing is said of the former."""

import contextlib

from tests.helpers.meetings import begun, life
from tests.helpers.reading import Cuts
from tests.helpers.stepped import World


def test_what_was_remembered_of_a_former_member_is_not_said_of_the_present_one(impl, tmp_path):
    """It is removed, and its id added again with a new storage, while another member writes down the former's life."""
    ids = (1, 2, 3)
    storages = {
        id: impl.FileStorage.create(tmp_path / f"{id}", id=id, members={each: f"memory:{each}" for each in ids})
        for id in ids
    }
    storages[5] = impl.FileStorage.create(tmp_path / "5", id=5, join=["memory:1"])
    world = World(impl, ids=(*ids, 5), storages=storages, absent=(5,))
    leader = world.leader()
    slow = next(id for id in ids if id != leader.id)
    world.until(lambda: begun([world.nodes[id] for id in ids]))

    def done(future):
        world.until(future.done, 5000)
        return future.result(0)

    def is_known(id):
        return world.engine(id).peers.py_incarnation(5) == life(world.nodes[5])

    world.start(5)
    done(leader.add_learner(5, "memory:5"))
    world.until(lambda: is_known(slow))
    # A few lives later, so that the first life of another storage comes before it.
    for round in range(2):
        world.nodes[5].close()
        world.storages[5] = impl.FileStorage(tmp_path / "5")
        if round == 1:
            world.skipped.add((slow, "memory"))
        world.start(5)
        world.until(lambda: is_known(leader.id))
    world.for_rounds(300)
    assert not is_known(slow)
    done(leader.remove(5))
    world.for_rounds(200)
    with contextlib.suppress(impl.RaftError):
        world.nodes[5].close()
    world.storages[5] = impl.FileStorage.create(tmp_path / "new", id=5, join=["memory:1"])
    world.start(5)
    done(leader.add_learner(5, "memory:5"))
    world.for_rounds(100)
    world.skipped.clear()
    world.until(lambda: is_known(slow), 5000)
    world.for_rounds(1000)
    assert is_known(slow) and world.nodes[5].failure is None
    world.close()


def test_a_learner_that_was_removed_while_it_was_cut_off_learns_of_it(impl):
    """It does not campaign, so it goes on to know its leader, from which nothing comes any more."""
    storages = {id: impl.MemoryStorage(voters=[1, 2], learners=[3]) for id in (1, 2, 3)}
    world = World(impl, 3, storages)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()) and world.nodes[3].leader_id == leader.id)
    cuts = Cuts(world)
    cuts.members.add(3)
    removed = leader.remove(3)
    world.until(removed.done, 5000)
    removed.result(0)
    world.for_rounds(500)
    cuts.members.clear()
    assert world.nodes[3].leader_id == leader.id
    world.until(lambda: isinstance(world.nodes[3].failure, impl.Removed), 5000)
