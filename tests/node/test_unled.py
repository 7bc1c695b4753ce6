"""What a member says that knows no leader although others are there: who leads, who answers, who refuses."""

import logging

import pytest

from tests.helpers.meetings import begun
from tests.helpers.reading import ELECTION, done, others
from tests.helpers.stepped import World

SOON = 12 * ELECTION


class Links:
    """What arrives of frames: nothing between the pairs (sender, recipient) in ``gone``."""

    def __init__(self, world):
        self.gone = set()
        for id, deliver in list(world.receive.items()):
            world.receive[id] = self.through(id, deliver)

    def through(self, to, deliver):
        def take(frame):
            if (int.from_bytes(bytes(frame[32:40]), "little"), to) not in self.gone:
                deliver(frame)

        return take

    def cut(self, one, other):
        self.gone |= {(one, other), (other, one)}


@pytest.fixture
def world(impl):
    made = World(impl, 3)
    made.leader()
    made.until(lambda: begun(made.nodes.values()))
    made.until(lambda: len({(node.leader_id, node.term, node.applied_index) for node in made.nodes.values()}) == 1)
    made.links = Links(made)
    yield made
    made.close()


def lines(caplog):
    return [record for record in caplog.records if record.raftx_event == "no_leader"]


def test_a_member_that_the_leader_does_not_reach_knows_who_leads(world, caplog):
    caplog.set_level(logging.WARNING, "raftx")
    leader, (left, right) = others(world)
    term = leader.term
    world.links.cut(leader.id, left.id)
    world.until(lambda: left.status().unled, SOON)
    status = left.status()
    assert f"member {leader.id} leads in term {term}, as 1 of the other voters say, and nothing of it" in status.unled
    assert status.leader == 0 and status.to_dict()["unled"] == status.unled
    done(world, leader.propose(b"goes on"))
    assert leader.status().unled == right.status().unled == ""
    world.for_rounds(SOON)
    (line,) = lines(caplog)  # once a minute
    assert line.levelno == logging.WARNING and line.raftx_fields["leader"] == leader.id
    assert f"member {leader.id} leads" in line.getMessage()
    # It has raised nothing meanwhile, and follows as soon as it can.
    world.links.gone.clear()
    world.until(lambda: left.leader_id == leader.id and left.status().unled == "", SOON)
    assert {node.term for node in world.nodes.values()} == {term}


def test_who_says_who_leads_does_not_end_a_campaign(world):
    """The news does not reach the core, for which it would be a refusal: it counts as silence, as in etcd."""
    leader, (left, right) = others(world)
    world.links.cut(leader.id, left.id)
    world.until(lambda: left.role.name == "PRE_CANDIDATE", SOON)
    world.for_rounds(ELECTION // 2)
    core = world.engine(left.id).core
    assert core.role == left.role and core.tracker.peers.count == 3
    world.until(lambda: left.status().unled, SOON)
    assert left.role.name == "PRE_CANDIDATE" and right.leader_id == leader.id


def test_a_member_to_which_too_few_answer_says_how_many_it_needs(world, caplog):
    caplog.set_level(logging.WARNING, "raftx")
    leader, (left, right) = others(world)
    for one, other in ((leader, left), (leader, right), (left, right)):
        world.links.cut(one.id, other.id)
    world.until(lambda: leader.status().unled and left.status().unled, 2 * SOON)
    for node in (leader, left, right):
        assert "0 answer, and 1 would be needed" in node.status().unled
    assert {line.raftx_fields["needed"] for line in lines(caplog)} == {1}


def test_a_member_whose_log_is_too_short_says_that_it_is_refused(impl):
    world = World(impl, 5)
    try:
        leader = world.leader()
        world.until(lambda: begun(world.nodes.values()))
        world.links = Links(world)
        hub, *leaves = [node for node in world.nodes.values() if node is not leader]
        for node in (leader, *leaves):
            world.links.cut(hub.id, node.id)
        done(world, leader.propose(b"committed"))
        world.until(lambda: all(node.commit_index == leader.commit_index for node in leaves), SOON)
        # Only that one sees a majority now, and it lacks what all others have.
        world.links.gone.clear()
        for node in leaves:
            for other in (leader, *leaves):
                world.links.cut(node.id, other.id)
        world.links.cut(hub.id, leader.id)
        world.until(lambda: "3 refuse" in hub.status().unled, 2 * SOON)
        assert "3 of the other voters answer and none of them leads" in hub.status().unled
        world.until(lambda: "1 answer, and 2 would be needed" in leaves[0].status().unled, SOON)
        world.links.gone.clear()
        leader = world.until(lambda: next((node for node in world.nodes.values() if node.is_leader), None), 2 * SOON)
        nodes = world.nodes.values()
        world.until(lambda: all(node.leader_id == leader.id and not node.status().unled for node in nodes), SOON)
    finally:
        world.close()


def test_nothing_is_said_while_a_leader_is_known_or_for_a_short_time(world):
    leader, (left, _) = others(world)
    world.for_rounds(2 * ELECTION)
    assert [node.status().unled for node in world.nodes.values()] == ["", "", ""]
    world.links.cut(leader.id, left.id)
    world.until(lambda: left.leader_id == 0, SOON)
    assert left.status().unled == ""


def test_the_only_voter_speaks_of_no_others(impl, caplog):
    """Its disk stands, so its vote for itself does not count yet."""
    caplog.set_level(logging.WARNING, "raftx")
    world = World(impl, 1, step=0.01)
    try:
        world.skipped.add((1, "disk"))
        world.until(lambda: world.nodes[1].status().unled)
        assert "it is the only voter, and leads as soon as its own vote is on its disk" in world.nodes[1].status().unled
        (line,) = world.until(lambda: lines(caplog))
        assert "the only voter" in line.getMessage() and "other voters" not in line.getMessage()
        world.skipped.clear()
        world.until(lambda: world.nodes[1].is_leader)
        assert world.nodes[1].status().unled == ""
    finally:
        world.close()


@pytest.mark.parametrize(("voters", "needed"), [((1,), 1), ((1, 3), 2), ((1, 3, 4), 2), ((1, 3, 4, 5), 3)])
def test_a_learner_counts_voters_without_itself(impl, voters, needed):
    """It does not help to elect anybody: all of the majority are others."""
    storage = impl.MemoryStorage(voters=voters, learners=[2])
    world = World(impl, storages={2: storage}, ids=[2], step=0.01)
    try:
        world.until(lambda: world.nodes[2].status().unled)
        assert f"of the other voters 0 answer, and {needed} would be needed" in world.nodes[2].status().unled
    finally:
        world.close()


def test_a_learner_whose_leader_is_gone_says_so(impl):
    """It does not campaign, and never forgets its last leader: what counts is whether it hears of it."""
    storages = {id: impl.MemoryStorage(voters=[1], learners=[2]) for id in (1, 2)}
    world = World(impl, storages=storages, ids=[1, 2], step=0.01)
    try:
        world.leader()
        world.until(lambda: world.nodes[2].leader_id == 1 and begun(world.nodes.values()))
        Links(world).cut(1, 2)
        world.until(lambda: world.nodes[2].status().unled)
        assert world.nodes[2].leader_id == 1
    finally:
        world.close()


def test_what_is_said_in_each_case(impl):
    from tests.helpers.implementations import module

    why = module(impl, "node.unled").why_unled
    assert why(3, 7, 2, 2, 2, 0, 3200).startswith(
        "this member has known no leader for 3.2 s: member 3 leads in term 7, as 2 of the other voters say"
    )
    assert "of the other voters 1 answer, and 2 would be needed" in why(0, 0, 0, 1, 2, 1, 3000)
    assert why(0, 0, 0, 0, 0, 0, 3000).endswith("look whether the disk, or this machine, stands still")
    assert "member 3 leads in term 7" in why(3, 7, 1, 1, 0, 0, 3000)
    assert "2 of the other voters answer and none of them leads. 1 refuse" in why(0, 0, 0, 2, 2, 1, 3000)
    assert why(0, 0, 0, 2, 2, 0, 3000).endswith("none of them leads; look whether each reaches the others")
