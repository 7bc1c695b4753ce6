"""Leases by the time of entries: never too early, in the order in which they are due, whatever brings the news."""

import itertools
import random

import pytest

from tests.helpers.recipe_machine import SECOND, Driver, judge, lease


@pytest.fixture
def driver(impl):
    return Driver(impl)


def holders(driver, kind="lock", name="x"):
    return [key[0][0] for key in driver.machine.find(kind, name).holders]


def test_a_lease_lasts_its_time_and_no_longer(driver):
    driver.open(1, ttl=2.0)
    assert driver.claim(1)[0] == "ok"
    driver.do("tick", after=1.9)
    assert holders(driver) == [1]
    driver.do("tick", after=0.2)
    assert holders(driver) == []
    assert driver.do("keep", lease(1)) == ("expired",)
    assert driver.claim(1) == ("expired",)


def test_a_renewal_begins_it_anew(driver):
    driver.open(1, ttl=2.0)
    driver.claim(1)
    for _ in range(5):
        assert driver.do("keep", lease(1), after=1.9) == ("ok",)
    assert holders(driver) == [1]


def test_a_user_s_own_entry_ends_it(impl):
    class Own:
        def apply(self, entry):
            return self.recipes.holds("x", int(entry.data))

    own = Own()
    driver = Driver(impl, own)
    own.recipes = driver.machine
    driver.open(1, ttl=2.0)
    token = driver.claim(1)[1]
    assert driver.give(b"%d" % token, after=1.9)
    assert not driver.give(b"%d" % token, after=0.2)


def test_whoever_waits_gets_it_in_his_turn_and_the_dead_are_passed_over(driver):
    for number, ttl in ((1, 1.0), (2, 5.0), (3, 1.0), (4, 9.0)):
        driver.open(number, ttl=ttl)
    assert driver.claim(1)[0] == "ok"
    assert [driver.claim(number) for number in (2, 3, 4)] == [("waits",)] * 3
    driver.do("tick", after=1.5)
    assert holders(driver) == [2]
    driver.do("tick", after=4.0)
    assert holders(driver) == [4]
    judge(driver.machine)


def test_the_first_entry_of_a_term_counts_from_the_next_later_time(driver):
    """A leader that does not know the time yet stamps as the last entry is stamped, and then time jumps."""
    driver.do("open", lease(1), 2000, after=0.0, term=2)
    assert driver.claim(1, after=0.0)[0] == "ok"
    driver.do("tick", after=3600.0)
    assert holders(driver) == [1]
    driver.do("tick", after=1.9)
    assert holders(driver) == [1]
    driver.do("tick", after=0.2)
    assert holders(driver) == []


def test_a_renewal_while_time_stands_counts_from_the_next_later_time(driver):
    driver.open(1, ttl=2.0)
    driver.claim(1)
    assert driver.do("keep", lease(1), after=0.0) == ("ok",)
    driver.do("tick", after=3600.0)
    assert holders(driver) == [1]
    driver.do("tick", after=2.1)
    assert holders(driver) == []


def test_a_lease_of_unknown_time_begins_with_the_first_one_that_is_known(impl):
    driver = Driver(impl)
    driver.machine.reset()
    driver.time, driver.index = 0, 0
    driver.do("open", lease(1), 2000, after=0.0)
    driver.claim(1, after=0.0)
    driver.do("tick", after=1_700_000_000)
    driver.do("tick", after=1.9)
    assert holders(driver) == [1]
    driver.do("tick", after=0.2)
    assert holders(driver) == []


@pytest.mark.parametrize("seed", range(20))
def test_what_runs_out_does_not_depend_on_which_entries_bring_the_time(impl, seed):
    """One entry that comes late, or many that come all the time: the same holders, with the same tokens."""
    rng = random.Random(seed)
    ttls = [rng.choice((1.0, 1.5, 2.0, 3.7, 8.0)) for _ in range(8)]

    def run(ticks):
        driver = Driver(impl)
        for number, ttl in enumerate(ttls, 1):
            driver.open(number, ttl=ttl)
            driver.claim(number)
            driver.claim(number, 2, "semaphore", "s", 1, 2)
            driver.claim(number, 3, "rwlock", "r", 2**62 if number % 3 else 1, 2**62)
        for after in ticks:
            driver.do("tick", after=after)
            judge(driver.machine)
        machine = driver.machine
        return machine.fences, machine.counted, machine.leases.by_id.keys()

    length = rng.uniform(0.5, 9.0)
    cuts = sorted(rng.uniform(0, length) for _ in range(20))
    steps = [b - a for a, b in itertools.pairwise([0.0, *cuts, length])]
    many = run(steps)
    # The times of entries are multiples of 256 ns: give the one entry exactly the time of the last of the many.
    one = run([sum(int(step * SECOND) // 256 * 256 for step in steps) / SECOND])
    assert many == one


def test_all_of_a_lease_goes_at_once(driver):
    driver.open(1, ttl=1.0)
    driver.open(2, ttl=60.0)
    for claim, kind, limit in ((1, "lock", 1), (2, "semaphore", 3), (3, "party", 2**62), (4, "election", 1)):
        assert driver.claim(1, claim, kind, limit=limit)[0] == "ok"
    assert driver.claim(2)[0] == "waits"
    driver.do("push", "q", b"N", 10, None)
    assert driver.do("pull", "q", lease(1), 5, True)[0] == "ok"
    assert driver.do("arrive", "b", lease(1), 6, 2, False) == ("waits",)
    driver.do("tick", after=1.1)
    judge(driver.machine)
    assert holders(driver) == [2]
    assert sorted(driver.machine.objects) == [("lock", "x"), ("queue", "q")]
    assert driver.machine.find("queue", "q").ready


def test_end_gives_everything_back(driver):
    driver.open(1)
    driver.open(2)
    driver.claim(1)
    driver.claim(2)
    assert driver.do("end", lease(1)) == ("ok",)
    assert holders(driver) == [2]
    assert driver.do("end", lease(1)) == ("expired",)


def test_leases_are_bounded(impl, monkeypatch, mod):
    monkeypatch.setattr(mod("recipes.machine"), "LEASES_MAX", 2)
    driver = Driver(impl)
    assert [driver.open(number)[0] for number in (1, 2, 3, 1)] == ["ok", "ok", "full", "ok"]


def test_a_lease_that_is_opened_anew_and_anew_leaves_nothing(driver):
    for _ in range(1000):
        driver.do("open", lease(1), 5000, after=0.0)
        driver.do("keep", lease(1), after=0.001)
    assert len(driver.machine.leases.due) == 1
