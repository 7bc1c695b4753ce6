"""Members that were founded with other members, or with another state, than each other are no cluster. Both modes."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.stepped import World
from tests.helpers.storages import founded

CLUSTER = b"founded apart".ljust(16, b"\0")
SETTINGS = {"cluster": CLUSTER, "election_ticks": 5}


@pytest.fixture
def world(impl, tmp_path):
    made = []

    def make(foundings, ids=(1, 2, 3), absent=()):
        """foundings: voters and learners that each member is founded with."""
        storages = {
            id: founded(impl, tmp_path / str(id), voters, learners, id=id, cluster=CLUSTER)
            for id, (voters, learners) in foundings.items()
        }
        made.append(World(impl, ids=ids, storages=storages, absent=absent, **SETTINGS))
        return made[-1]

    yield make
    for each in made:
        each.close()


RIGHT = ((1, 2, 3), ())


@pytest.mark.parametrize("wrong", [((2, 3), ()), ((1, 3), (2,)), ((1, 2), (3,))])
def test_one_that_comes_later_ends(impl, world, tmp_path, wrong):
    """What the others have committed says who is right. It can be founded anew, and takes part then."""
    two = world({1: RIGHT, 2: RIGHT}, absent=(3,))
    two.leader().propose(b"before")
    two.until(lambda: all(machine.entries for machine in two.machines.values()))
    for attempt in (1, 2):
        two.storages[3] = founded(impl, tmp_path / "3", *wrong, id=3, cluster=CLUSTER)
        third = two.start(3)
        two.until(lambda: two.nodes[3].failure)
        assert isinstance(third.failure, impl.WrongDirectory), attempt
        assert "founded with other first members" in str(third.failure)
        two.nodes.pop(3).close()
    done = two.leader().propose(b"meanwhile")
    two.until(done.done)
    assert done.result() and two.nodes[1].failure is None and two.nodes[2].failure is None
    for file in (tmp_path / "3").iterdir():
        file.unlink()
    two.storages[3] = founded(impl, tmp_path / "3", *RIGHT, id=3, cluster=CLUSTER)
    # Member 3 has lived on another directory: whoever has met that one would not believe this one.
    third = two.start(3)
    two.until(lambda: third.failure or len(two.machines[3].entries) == 2)
    assert third.failure is None


def test_nobody_begins_a_cluster_with_one_that_is_apart(impl, world):
    """Before anything is committed nobody can tell who is wrong: all who meet the other kind end, and say so."""
    three = world({1: RIGHT, 2: RIGHT, 3: ((1, 2), (3,))})
    three.until(lambda: three.nodes[3].failure and three.nodes[1].failure)
    assert all(isinstance(three.nodes[id].failure, impl.WrongDirectory) for id in (1, 3))
    assert all(node.commit_index == 0 for node in three.nodes.values())


def test_backups_of_the_same_entry_are_the_same_state(impl):
    """Whatever their bytes are; those of another cluster, of another entry or for other members are not."""
    origin = module(impl, "storage.founding").origin_of
    three = impl.ConfState(voters=(1, 2, 3))
    made = {
        origin(three),
        origin(three, b"a" * 16, 7, 2),
        origin(three, b"b" * 16, 7, 2),
        origin(three, b"a" * 16, 8, 2),
        origin(three, b"a" * 16, 7, 3),
        origin(impl.ConfState(voters=(1, 2)), b"a" * 16, 7, 2),
        origin(impl.ConfState(voters=(1, 2), learners=(3,)), b"a" * 16, 7, 2),
    }
    assert len(made) == 7 and all(0 < each < 1 << 32 for each in made)
    assert origin(three, b"a" * 16, 7, 2) in made
