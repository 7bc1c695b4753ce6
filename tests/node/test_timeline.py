"""The last events in the life of a node, for who looks at it: what they are, and what is never in them."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.stepped import settled_world


@pytest.fixture
def world(impl):
    yield from settled_world(impl)


def told(node, event=None):
    return [each for each in node.events() if event in (None, each.event)]


def test_begin_leader_transfer_members_and_end(world, impl):
    leader = world.leader()
    other = next(node for node in world.nodes.values() if node is not leader)
    for node in world.nodes.values():
        assert [each.text for each in told(node, "started")] == ["has started"]
        assert [(each.member, each.term) for each in told(node, "leader_elected")] == [(leader.id, leader.term)]
    term = leader.term
    future = leader.add_learner(9, "mem:9")
    world.until(future.done)
    (changed,) = told(leader, "members_changed")[-1:]
    assert changed.index == future.result(0).index and "learners [9]" in changed.text
    future = leader.transfer_leadership(other.id)
    world.until(future.done)
    world.until(lambda: leader.leader_id == other.id)
    (begun,) = told(leader, "transfer_begun")
    assert (begun.member, begun.text) == (other.id, f"hands leadership over to member {other.id}")
    elected = told(leader, "leader_elected")[-1]
    assert elected.member == other.id and elected.term > term
    last = leader.events()[-1].n
    assert [each.n for each in leader.events()] == list(range(1, last + 1))
    assert leader.events(last) == [] and leader.events(last - 1) == leader.events()[-1:]
    leader.close()
    assert [each.event for each in leader.events(last)][-1] == "closing"
    with pytest.raises(impl.UsageError, match="after must be the number of an event"):
        leader.events(-1)


def test_a_failure_and_no_payload(world, impl):
    leader = world.leader()

    def fails(entry):
        raise ValueError("the secret payload")

    world.machines[leader.id].apply = fails
    leader.propose(b"secret")
    world.until(lambda: leader.failure is not None)
    event = told(leader)[-1]
    assert (event.event, event.text) == ("failed", "has ended: ValueError")
    assert not any("secret" in each.text for each in told(leader))
    leader.close()
    assert told(leader)[-1] == event


def test_the_newest_are_kept(impl):
    timeline = module(impl, "node.timeline")
    kept = timeline.Timeline(impl.ManualClock())
    for number in range(2000):
        kept.add("started", f"{number}")
    found = kept.after(0)
    assert len(found) == timeline.KEPT and [each.n for each in found] == list(range(2001 - timeline.KEPT, 2001))
    assert found[-1].text == "1999" and len(kept.after(1995)) == 5
