"""Rate limiters: what is left, when to ask again, and requests that come again; entry by entry, and for clients."""

import asyncio
import random

import pytest

from tests.helpers.recipe_clients import RecipeCluster
from tests.helpers.recipe_machine import Driver
from tests.helpers.waiting import WAIT

SECOND = 1_000_000_000
KEPT = 300 * SECOND
TICK = 256  # the time of an entry is a multiple of it


@pytest.fixture
def driver(impl):
    return Driver(impl)


def take(driver, count=1, patience=0, after=0.0, burst=5):
    return driver.do("take", "r", SECOND, burst, count, patience, after=after)


def once(driver, request="a", count=1, patience=0, after=0.0, name="r"):
    return driver.do("once", name, SECOND, 5, count, patience, request, after=after)


def same_from_here(driver):
    """A second driver, whose machine was restored from a snapshot of the first."""
    other = Driver(driver.impl, machine=driver.restored())
    other.index, other.time, other.machine.leases.term = driver.index, driver.time, driver.machine.leases.term
    return other


def test_what_is_left_is_counted_in_whole_tokens(driver):
    assert take(driver) == ("ok", 0, 4)
    assert take(driver, 4) == ("ok", 0, 0)
    code, delay, left = take(driver, 2, after=0.5)
    assert (code, left) == ("later", 0) and 1.49 * SECOND < delay <= 1.51 * SECOND
    assert take(driver, 2, after=1.0)[2] == 1  # one and a half are there
    assert take(driver, 3, patience=10 * SECOND)[0::2] == ("ok", 0)
    assert take(driver)[2] == 0  # lent, and so none, and not less than none
    assert take(driver, 1, after=1000.0) == ("ok", 0, 4)


def test_what_was_refused_tells_when_it_can_be_had(driver):
    take(driver, 5)
    code, delay, _ = take(driver, 3)
    assert code == "later"
    driver.time += delay - TICK
    assert take(driver, 3)[:2] == ("later", TICK)
    driver.time += TICK
    assert take(driver, 3) == ("ok", 0, 0)


def test_a_request_that_comes_again_takes_nothing(driver):
    assert once(driver, "a", 2) == ("ok", 0, 3)
    assert once(driver, "b") == ("ok", 0, 2)
    assert once(driver, "a", 2) == ("ok", 0, 3)
    assert once(driver, "a", 3) == ("other", 2)
    assert take(driver) == ("ok", 0, 1)
    # Of another limiter it is another request.
    assert once(driver, "a", 2, name="s") == ("ok", 0, 3)


def test_a_request_that_was_refused_is_decided_anew(driver):
    take(driver, 5)
    assert once(driver)[0] == "later"
    assert not driver.machine.answers.known
    assert once(driver, after=1.0)[0] == "ok"
    assert once(driver) == ("ok", 0, 0)


def test_what_was_lent_to_a_request_has_fallen_in_when_it_says_so(driver):
    take(driver, 5)
    assert once(driver, patience=2 * SECOND) == ("ok", SECOND, 0)
    assert once(driver, patience=0) == ("later", SECOND, 0)
    assert once(driver, patience=SECOND) == ("ok", SECOND, 0)
    assert once(driver, patience=0, after=1.0)[0] == "ok"
    assert len(driver.machine.answers.known) == 1


def test_a_request_is_known_for_its_time_and_no_longer(driver):
    once(driver)
    begins = driver.machine.answers.known["r", "a"].begins
    driver.time = begins + KEPT
    assert once(driver) == ("ok", 0, 4)
    assert driver.machine.limiters["r"].full_at < driver.time  # nothing was taken
    driver.time += TICK
    assert once(driver) == ("ok", 0, 4)
    assert driver.machine.answers.known["r", "a"].begins == driver.time
    # It is known from when it has fallen in, not from when it was asked.
    once(driver, "lent", 5, patience=100 * SECOND)
    begins = driver.machine.answers.known["r", "lent"].begins
    assert begins > driver.time
    driver.time = begins + KEPT
    assert once(driver, "lent", 5) == ("ok", 0, 0)


def test_requests_whose_time_is_over_are_forgotten(driver):
    for number in range(50):
        once(driver, f"{number}", patience=10**12)
    assert len(driver.machine.answers.known) == 50
    driver.do("tick", after=600.0)
    for number in range(60):
        once(driver, f"new {number}", after=60.0)
    assert len(driver.machine.answers.known) <= 8
    assert len(driver.machine.answers.due) == len(driver.machine.answers.known)


def test_there_is_room_for_so_many_requests(driver, monkeypatch, mod):
    monkeypatch.setattr(mod("recipes.machine"), "ANSWERS_MAX", 2)
    assert [once(driver, request)[0] for request in "abc"] == ["ok", "ok", "full"]
    assert once(driver, "a") == ("ok", 0, 4)
    assert take(driver) == ("ok", 0, 2)  # what was refused has taken nothing, and who gives no request needs no room
    assert once(driver, "c", after=301.0) == ("ok", 0, 4)


def test_unknown_time_gives_nothing_and_is_not_remembered(driver):
    driver.machine.leases.now = driver.time = 0
    assert once(driver, patience=10**12) == ("later", 50_000_000, 0)
    assert not driver.machine.answers.known and not driver.machine.limiters


@pytest.mark.parametrize("seed", range(5))
def test_a_restored_member_comes_to_the_same(impl, seed):
    """At any moment: what is forgotten, and when, must not depend on what the member has gone through."""
    rng, driver = random.Random(seed), Driver(impl)
    others = []
    for step in range(400):
        if step % 40 == 0:
            others.append(same_from_here(driver))
        request, count, patience = rng.choice("abcdefgh"), rng.choice((1, 1, 2)), rng.choice((0, 10**9, 10**11))
        after = rng.choice((0.0, 0.01, 3.0, 100.0, 150.0, 301.0))
        results = [once(each, request, count, patience, after) for each in (driver, *others)]
        assert len(set(results)) == 1
        assert len({each.machine.digest() for each in (driver, *others)}) == 1
        assert len(driver.machine.answers.due) < 40


@pytest.mark.parametrize("seed", range(5))
def test_a_request_takes_its_tokens_once(impl, seed):
    rng, driver = random.Random(seed), Driver(impl)
    taken = {}
    for _ in range(1500):
        request, now = f"{rng.randint(1, 40)}", driver.time
        before = driver.machine.limiters["r"].full_at if "r" in driver.machine.limiters else 0
        code, delay, _ = once(driver, request, 1, rng.choice((0, 10**10)), rng.choice((0.0, 0.2, 1.0, 5.0, 40.0)))
        now = driver.time
        after = driver.machine.limiters["r"].full_at if "r" in driver.machine.limiters else 0
        known = request in taken and taken[request] + KEPT >= now
        assert (max(after, now) == max(before, now)) == (known or code == "later"), "it was taken again, or not at all"
        if known:
            assert delay == max(0, taken[request] - now)
        elif code == "ok":
            taken[request] = now + delay
    assert len(taken) == 40


def test_snapshots_of_the_format_before_are_read(driver):
    """They have no answers of rate limiters."""
    take(driver, 2)
    data = bytearray(driver.snapshot())
    assert data[16] == 2
    data[16] = 1
    made = driver.restored(data=bytes(data))
    assert made._records() == driver.machine._records()


# --- clients ---------------------------------------------------------------------------------------


@pytest.fixture
def cluster(impl):
    made = RecipeCluster(impl, 2)
    yield made
    made.close()


def test_what_a_client_is_told(cluster):
    limiter = cluster.client(1).rate_limiter("r", 0.001, 3)
    taken = limiter.acquire(2)
    assert taken and taken == (True, 1, 0.0) and taken.left == 1
    assert limiter.acquire(1, timeout=0).left == 0
    refused = limiter.acquire(3, timeout=0)
    assert not refused and refused.allowed is False and refused.left == 0
    assert 2000 < refused.retry_after <= 3000
    with pytest.raises(AttributeError):
        refused.allowed = True


def test_a_look_takes_nothing(cluster):
    one, two = cluster.client(1), cluster.client(2)
    limiter = one.rate_limiter("r", 0.001, 3)
    for _ in range(5):
        assert limiter.peek(3) == (True, 3, 0.0)
    assert limiter.acquire(2)
    before = cluster.nodes[1].applied_index
    seen = two.rate_limiter("r", 0.001, 3)  # what one member has said, every other one knows
    assert seen.peek() == (True, 1, 0.0)
    assert not seen.peek(2) and 900 < seen.peek(2).retry_after <= 1000
    assert seen.peek(level="stale", max_staleness=WAIT).left == 1
    assert cluster.nodes[1].applied_index == before
    assert limiter.acquire(1, timeout=0)


def test_a_look_sees_what_falls_in_though_nobody_proposes(cluster):
    limiter = cluster.client(1).rate_limiter("r", 50.0, 1)
    assert limiter.acquire()
    left = limiter.peek()
    for _ in range(1000):
        if left:
            break
        left = limiter.peek()
    assert left == (True, 1, 0.0)


def test_the_same_request_on_two_members(cluster):
    one, two = (cluster.client(id).rate_limiter("r", 0.001, 3) for id in (1, 2))
    assert one.acquire(2, timeout=0, request="7f3a") == (True, 1, 0.0)
    assert two.acquire(2, timeout=0, request="7f3a") == (True, 1, 0.0)
    assert two.peek().left == 1
    with pytest.raises(cluster.recipes.SettingsDiffer, match="this request has taken 2 before"):
        two.acquire(1, timeout=0, request="7f3a")
    assert not one.acquire(2, timeout=0, request="other")
    assert two.acquire(1, timeout=0, request="other")


def test_a_request_is_known_behind_a_snapshot(cluster):
    one, two = (cluster.client(id).rate_limiter("r", 0.001, 3) for id in (1, 2))
    assert one.acquire(timeout=0, request="7f3a")
    with_answer = cluster.nodes[1].snapshot().result(WAIT).index
    assert with_answer
    made = cluster.recipes.Recipes()
    backup = cluster.machines[1].snapshot()
    pieces = []
    backup.write(type("File", (), {"write": lambda _, piece: pieces.append(bytes(piece))})())
    made.restore(Whole(b"".join(pieces)))
    assert ("r", "7f3a") in made.answers.known
    assert two.acquire(timeout=0, request="7f3a").left == 2


class Whole:
    """A snapshot in memory."""

    index = term = version = 0

    def __init__(self, data):
        self.data, self.size = data, len(data)

    def read(self, size=-1):
        size = len(self.data) if size < 0 else size
        piece, self.data = self.data[:size], self.data[size:]
        return piece


@pytest.mark.parametrize("request_id", ["", "x" * 256, 7, b"7", "\ud800"])
def test_an_id_that_is_none_is_refused(cluster, request_id):
    limiter = cluster.client(1).rate_limiter("r", 1.0)
    with pytest.raises(cluster.impl.UsageError, match=r"request must be a str of 1\.\.255 bytes in UTF-8"):
        limiter.acquire(request=request_id)
    assert limiter.peek().left == 1


def test_in_a_loop(cluster):
    cluster.nodes[1].wait_ready(WAIT)

    async def main():
        async with cluster.recipes.aio.Client(cluster.nodes[1]) as client:
            limiter = client.rate_limiter("r", 0.001, 3)
            assert await limiter.acquire(2, request="7f3a") == (True, 1, 0.0)
            assert await client.rate_limiter("r", 0.001, 3).acquire(2, timeout=0, request="7f3a")
            refused = await limiter.acquire(2, timeout=0)
            assert not refused and refused.left == 1 and 900 < refused.retry_after <= 1000
            assert await limiter.peek() == (True, 1, 0.0)
            assert isinstance(refused, cluster.recipes.Allowance)
            assert isinstance(refused, cluster.recipes.aio.Allowance)

    asyncio.run(main())
