"""Recipes of processes that are killed: whoever waits goes on in bounded time, and nothing acknowledged is lost."""

import time

import pytest

from tests.helpers.recipe_processes import RecipeProcesses, Refused

pytestmark = [pytest.mark.once, pytest.mark.slow]

TTL = 1.5
BOUND = 15.0  # seconds: the lease, an election, and a machine that is busy


@pytest.fixture
def cluster(tmp_path):
    with RecipeProcesses(tmp_path, ttl=TTL, election_ticks=6) as made:
        made.start()
        made.leader()
        yield made


def victims(cluster):
    """A member to kill, which leads, and the two others."""
    leader = cluster.leader()
    return leader, *[member for member in cluster.members.values() if member is not leader]


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
def test_a_lock_of_a_dead_holder(cluster, leads):
    one, two, three = victims(cluster)
    holder, waits = (one, two) if leads else (two, one)
    held, wanted, later = holder.thing("lock", "x"), waits.thing("lock", "x"), three.thing("lock", "x")
    assert held("acquire")
    token = held("=token")
    assert three.thing("dict", "d")("set", "k", 1, fence=token) == 1
    first = wanted.begin("acquire")
    # Second in the line, once the first is.
    assert not later("acquire", 0.5)
    second = later.begin("acquire")
    cluster.kill(holder.id)
    assert wanted.end(first)
    assert wanted("=token") > token
    with pytest.raises(Refused, match="TokenRefused"):
        three.thing("dict", "d")("set", "k", 2, fence=token)
    with pytest.raises(Refused, match="ApplyError"):
        three.thing("node")("propose", b"%d late" % token)
    wanted("release")
    assert later.end(second)
    assert later("=token") > token


def test_a_waiter_that_dies_is_passed_over(cluster):
    holder, dies, waits = victims(cluster)
    held, wanted, later = holder.thing("lock", "x"), dies.thing("lock", "x"), waits.thing("lock", "x")
    assert held("acquire")
    wanted.begin("acquire")
    assert not later("acquire", 0.3)
    later_on = later.begin("acquire")
    cluster.kill(dies.id)
    time.sleep(TTL + 0.5)
    held("release")
    assert later.end(later_on)


def test_permits_of_a_semaphore(cluster):
    dies, one, two = victims(cluster)
    assert all(member.thing("semaphore", "s", 2)("acquire") for member in (dies, one))
    third = two.thing("semaphore", "s", 2)
    assert not third("acquire", 0.2)
    waiting = third.begin("acquire")
    cluster.kill(dies.id)
    assert third.end(waiting)
    assert len(third("holders")) == 2


def test_readers_wait_for_a_dead_writer(cluster):
    dies, one, two = victims(cluster)
    writer, readers = dies.thing("writer", "rw"), [member.thing("reader", "rw") for member in (one, two)]
    assert writer("acquire")
    waiting = [each.begin("acquire") for each in readers]
    cluster.kill(dies.id)
    assert [each.end(number) for each, number in zip(readers, waiting, strict=True)] == [True, True]
    assert not one.thing("writer", "rw")("acquire", 0.2)


def test_a_queue_loses_nothing_and_acknowledges_once(cluster):
    dies, one, two = victims(cluster)
    queue = one.thing("queue", "q")
    numbers = [queue("put", f"job {at}") for at in range(6)]
    taken = dies.thing("queue", "q")
    number, value, attempts, token = taken("get")
    assert (number, value, attempts) == (numbers[0], "job 0", 1)
    other = dies.thing("queue", "q")
    assert other("get")[0] == numbers[1]
    assert other.item()("ack") is None
    cluster.kill(dies.id)
    seen = []
    for member in (one, two, one, two, one):
        worker = member.thing("queue", "q")
        seen.append(worker("get", BOUND))
        assert worker.item()("ack") is None
        with pytest.raises(Refused, match="LockLost"):
            worker.item()("ack")
    assert sorted(each[0] for each in seen) == [numbers[0], *numbers[2:]]
    assert [each[2] for each in seen if each[0] == numbers[0]] == [2]
    assert one.thing("queue", "q")("get", 0.2) is None
    with pytest.raises(Refused, match="TokenRefused"):
        two.thing("dict", "d")("set", "k", 1, fence=token)


def test_an_election(cluster):
    leads, two, three = victims(cluster)
    mine = leads.thing("election", "e", "one")
    assert mine("acquire")
    assert three.thing("election", "e")("leader")[0] == "one"
    other = two.thing("election", "e", "two")
    campaign = other.begin("acquire")
    cluster.kill(leads.id)
    assert other.end(campaign)
    assert three.thing("election", "e")("leader") == ("two", other("=token"))


def test_an_observer_alone_learns_that_nobody_leads(cluster):
    """Nobody waits for the lock, and nobody proposes anything: whoever looks on sees to it that time passes."""
    dies, one, _ = victims(cluster)
    assert dies.thing("party", "p", "here")("join")
    assert len(one.thing("party", "p")("members")) == 1
    cluster.kill(dies.id)
    deadline = time.monotonic() + BOUND
    while one.thing("party", "p")("members"):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_barriers(cluster):
    dies, one, two = victims(cluster)
    dies.thing("barrier", "b", 2).begin("wait")
    time.sleep(0.5)
    cluster.kill(dies.id)
    time.sleep(TTL + 0.5)
    # The dead one does not count, once time has passed.
    assert not one.thing("barrier", "b", 2)("wait", 0.3)
    waits = [member.thing("barrier", "b", 2) for member in (one, two)]
    begun = [each.begin("wait") for each in waits]
    assert [each.end(number) for each, number in zip(waits, begun, strict=True)] == [True, True]


def test_double_barriers_do_not_wait_for_the_dead(cluster):
    things = [member.thing("double_barrier", "b", 3) for member in victims(cluster)]
    begun = [each.begin("enter") for each in things]
    assert [each.end(number) for each, number in zip(things, begun, strict=True)] == [True] * 3
    leaving = [each.begin("leave") for each in things[1:]]
    cluster.kill(things[0].member.id)
    assert [each.end(number) for each, number in zip(things[1:], leaving, strict=True)] == [True] * 2


def test_counters_and_dicts_count_what_was_acknowledged(cluster):
    dies, one, two = victims(cluster)
    counters = [member.thing("counter", "c") for member in (one, two)]
    begun = [each.begin("add") for _ in range(100) for each in counters]
    cluster.kill(dies.id)
    values = [counters[at % 2].end(number) for at, number in enumerate(begun)]
    assert sorted(values) == list(range(1, 201))
    assert counters[0]("get") == 200
    cluster.start(dies.id)
    assert cluster.members[dies.id].thing("counter", "c")("get") == 200
    watched = [one.thing("dict", "d")("set", f"k{at}", at) for at in range(5)]
    assert watched == [1, 2, 3, 4, 5]
    contents = cluster.members[dies.id].thing("dict", "d")("items")
    assert contents == ({f"k{at}": at for at in range(5)}, 5)


def test_a_rate_limiter_goes_on_behind_its_leader(cluster):
    dies, one, two = victims(cluster)
    limits = [member.thing("rate_limiter", "r", 50.0, 5) for member in (one, two)]
    begun = time.monotonic()
    asked = [each.begin("acquire") for _ in range(20) for each in limits]
    cluster.kill(dies.id)
    assert all(limits[at % 2].end(number) for at, number in enumerate(asked))
    assert time.monotonic() - begun >= (40 - 5) / 50


def test_a_request_that_comes_again_on_another_member(cluster):
    """Its client had no answer of the member that died, and asks another one."""
    dies, one, two = victims(cluster)
    limits = [member.thing("rate_limiter", "r", 0.001, 50) for member in (dies, one, two)]
    asked = [limits[0].begin("acquire", 1, 0, request=f"request {at}") for at in range(30)]
    limits[0].end(asked[0])
    cluster.kill(dies.id)
    for each in limits[1:]:
        again = [each.begin("acquire", 1, 10.0, request=f"request {at}") for at in range(30)]
        assert all(each.end(number) for number in again)
    assert limits[1]("peek").left == 50 - 30
