"""The state machine of recipes, entry by entry: what each command does, and that none of them can make it raise."""

import random

import pytest

from tests.helpers.recipe_machine import Driver, judge, lease

EVERYBODY = 2**62


@pytest.fixture
def driver(impl):
    made = Driver(impl)
    for number in range(1, 6):
        made.open(number, ttl=3600)
    return made


def test_a_lock_has_one_holder_and_tokens_grow(driver):
    tokens = []
    assert driver.claim(1)[0] == "ok"
    assert [driver.claim(number)[0] for number in (2, 3)] == ["waits", "waits"]
    assert driver.claim(4, wait=False) == ("busy",)
    for number in (1, 2, 3):
        (key,) = driver.machine.find("lock", "x").holders
        assert key == (lease(number), 1)
        tokens.append(driver.machine.find("lock", "x").holds(key))
        judge(driver.machine)
        assert driver.leave(number) == ("ok",)
    assert tokens == sorted(set(tokens))
    assert not driver.machine.objects
    assert driver.claim(1)[1] > tokens[-1]
    assert driver.leave(2) == ("gone",)


def test_a_claim_that_comes_again_is_the_same(driver):
    first = driver.claim(1)
    assert driver.claim(1) == first
    assert driver.claim(2) == driver.claim(2) == ("waits",)
    driver.leave(1)
    assert driver.claim(2) == ("ok", first[1] + 1)


def test_cancel_tells_whether_it_came_too_late(driver):
    driver.claim(1)
    driver.claim(2)
    driver.claim(3)
    assert driver.do("cancel", "lock", "x", lease(2), 1) == ("ok",)
    driver.leave(1)
    assert driver.do("cancel", "lock", "x", lease(3), 1)[0] == "held"
    assert driver.do("cancel", "lock", "x", lease(2), 1) == ("gone",)


def test_readers_share_and_do_not_overtake(driver):
    def read(number):
        return driver.claim(number, kind="rwlock", weight=1, limit=EVERYBODY)[0]

    def write(number):
        return driver.claim(number, kind="rwlock", weight=EVERYBODY, limit=EVERYBODY)[0]

    assert [read(1), read(2), write(3), read(4), read(5)] == ["ok", "ok", "waits", "waits", "waits"]
    driver.leave(1, kind="rwlock")
    judge(driver.machine)
    driver.leave(2, kind="rwlock")
    line = driver.machine.find("rwlock", "x")
    assert list(line.holders) == [(lease(3), 1)]
    driver.leave(3, kind="rwlock")
    assert list(line.holders) == [(lease(4), 1), (lease(5), 1)]
    judge(driver.machine)


def test_semaphores_count_and_their_limit_is_one(driver):
    assert [driver.claim(n, kind="semaphore", limit=2)[0] for n in (1, 2, 3)] == ["ok", "ok", "waits"]
    assert driver.claim(4, kind="semaphore", limit=3) == ("differs", 2)
    for number in (1, 2, 3):
        driver.leave(number, kind="semaphore")
    assert driver.claim(4, kind="semaphore", limit=3)[0] == "ok"


def test_nobody_makes_another_kind_of_lock_of_a_lock(driver):
    for kind, weight, limit in (
        ("lock", 1, 2), ("election", 1, 2), ("rwlock", 1, 1), ("rwlock", 2, EVERYBODY), ("party", 1, 1),
        ("semaphore", 2, 3), ("lock", 2, 1),
    ):  # fmt: skip
        assert driver.claim(1, kind=kind, weight=weight, limit=limit)[0] == "malformed"
    assert not driver.machine.objects


def test_dicts_compare_versions_and_change_all_or_nothing(driver):
    def update(*changes, fence=None):
        return driver.do("update", "d", tuple(changes), fence)

    assert update(("a", b"1", 0), ("b", b"2", None)) == ("ok", 2)
    assert update(("a", b"3", 0), ("c", b"4", None)) == ("version", "a", 1)
    assert update(("c", b"4", None), ("a", b"3", 7)) == ("version", "a", 1)
    there = driver.machine.find("dict", "d")
    assert there.values == {"a": (b"1", 1), "b": (b"2", 2)}
    assert update(("a", None, 1), ("b", b"5", 2)) == ("ok", 4)
    assert there.values == {"b": (b"5", 4)}
    assert update(("a", None, None)) == ("ok", 4)
    assert there.since(2) == [(3, "a", None), (4, "b", b"5")]
    assert driver.do("clear", "d", None) == ("ok", 5)
    assert update(("a", b"6", 0)) == ("ok", 6)
    judge(driver.machine)


def test_history_is_bounded_and_says_where_it_begins(driver, mod):
    stores = mod("recipes.stores")
    for number in range(stores.HISTORY_MAX + 5):
        driver.do("update", "d", (("k", b"%d" % number, None),), None)
    there = driver.machine.find("dict", "d")
    assert len(there.history) == stores.HISTORY_MAX and there.floor == 5
    assert there.since(4) is None
    assert len(there.since(5)) == stores.HISTORY_MAX
    assert there.since(there.revision) == [] == there.since(there.revision + 9)
    large = b"-" * (200 << 10)
    for _ in range(30):
        driver.do("update", "d", (("k", large, None),), None)
    assert there.bytes <= stores.HISTORY_BYTES
    judge(driver.machine)


def test_tokens_that_are_not_in_force_are_refused(driver):
    token = driver.claim(1)[1]
    commands = [
        ("update", "d", (("k", b"", None),)),
        ("clear", "d"),
        ("add", "c", 1),
        ("swap", "c", None, 1),
        ("push", "q", b"", 9),
    ]
    for command in commands:
        assert driver.do(*command, token)[0] == "ok"
        assert driver.do(*command, token + 1000) == ("fenced",)
    driver.claim(2)
    driver.leave(1)
    for command in commands:
        assert driver.do(*command, token) == ("fenced",)
    assert driver.machine.find("counter", "c").value == 1
    assert len(driver.machine.find("queue", "q").items) == 1
    new = driver.machine.find("lock", "x").holds((lease(2), 1))
    assert driver.do("add", "c", 1, new) == ("ok", 2)


def test_counters_stay_in_their_range(driver):
    assert driver.do("add", "c", 2**63 - 1, None) == ("ok", 2**63 - 1)
    assert driver.do("add", "c", 1, None) == ("range", 2**63 - 1)
    assert driver.do("swap", "c", 5, 6, None) == ("version", "", 2**63 - 1)
    assert driver.do("swap", "c", 2**63 - 1, -5, None) == ("ok", 2**63 - 1)
    assert driver.do("add", "c", 5, None) == ("ok", 0)
    assert not driver.machine.objects


def test_queues_give_in_order_and_again(driver):
    for number in range(3):
        assert driver.do("push", "q", b"%d" % number, 3, None)[0] == "ok"
    assert driver.do("push", "q", b"3", 3, None) == ("full", 3)
    queue = driver.machine.find("queue", "q")
    tokens = [driver.do("pull", "q", lease(n), 1, True)[1] for n in (1, 2)]

    def worked_on(number):
        return queue.items[queue.flying[lease(number), 1][0]]

    assert [worked_on(n).value for n in (1, 2)] == [b"0", b"1"]
    assert driver.leave(1, kind="queue", name="q") == ("ok",)
    assert driver.do("ack", "q", lease(1), 1, tokens[0]) == ("lost",)
    assert driver.do("pull", "q", lease(3), 1, True)[0] == "ok"
    assert worked_on(3) == (b"0", 2)
    assert driver.do("ack", "q", lease(3), 1, tokens[0]) == ("lost",)
    assert driver.do("ack", "q", lease(2), 1, tokens[1]) == ("ok",)
    assert driver.do("ack", "q", lease(2), 1, tokens[1]) == ("lost",)
    assert driver.do("pull", "q", lease(4), 1, False)[0] == "ok"
    assert driver.do("pull", "q", lease(5), 1, False) == ("busy",)
    assert driver.do("pull", "q", lease(5), 2, True) == ("waits",)
    assert driver.do("pull", "q", lease(1), 2, True) == ("waits",)
    driver.do("push", "q", b"new", 3, None)
    assert worked_on(4).value == b"2"
    assert queue.items[queue.flying[lease(5), 2][0]].value == b"new"
    judge(driver.machine)


def test_barriers_let_go_when_enough_have_come(driver):
    def arrive(number, parties=3):
        return driver.do("arrive", "b", lease(number), 1, parties, False)

    assert arrive(1) == arrive(1) == arrive(2) == ("waits",)
    assert arrive(3, 2) == ("differs", 3)
    assert driver.do("cancel", "barrier", "b", lease(2), 1) == ("ok",)
    arrive(3)
    assert set(driver.machine.find("barrier", "b").arrived) == {(lease(1), 1), (lease(3), 1)}
    arrive(4)
    assert not driver.machine.objects
    assert driver.do("cancel", "barrier", "b", lease(1), 1) == ("gone",)
    judge(driver.machine)


def test_double_barriers_begin_and_end_together(driver):
    def arrive(number):
        return driver.do("arrive", "b", lease(number), 1, 2, True)

    assert driver.do("depart", "b", lease(1), 1) == ("gone",)
    assert driver.claim(5) == ("ok", 1)  # a party has no token, least of all this one
    arrive(1)
    arrive(2)
    barrier = driver.machine.find("barrier", "b")
    assert set(barrier.inside) == {(lease(1), 1), (lease(2), 1)}
    arrive(3)
    driver.do("depart", "b", lease(1), 1)
    assert barrier.holds((lease(1), 1)) and not barrier.holds((lease(3), 1))
    judge(driver.machine)
    driver.do("end", lease(2))  # the dead are not waited for
    assert not barrier.holds((lease(1), 1))
    arrive(4)
    assert set(barrier.inside) == {(lease(3), 1), (lease(4), 1)}
    assert driver.leave(3, kind="barrier", name="b") == ("ok",)
    judge(driver.machine)


@pytest.mark.parametrize("seed", range(5))
def test_a_rate_limiter_is_never_above_its_rate(impl, seed):
    rng = random.Random(seed)
    driver, period, burst = Driver(impl), 10_000_000, 5
    begun, taken = [], 0
    for _ in range(2000):
        count = rng.randint(1, burst)
        patience = rng.choice((0, 0, 20_000_000, 10**12))
        code, delay, _ = driver.do(
            "take", "r", period, burst, count, patience, after=rng.choice((0.0, 0.001, 0.02, 0.1))
        )
        assert (delay <= patience) == (code == "ok")
        if code == "ok":
            begun += [driver.time + delay] * count
            taken += count
    assert taken > 500 and begun == sorted(begun)
    for first in range(len(begun) - burst):
        # In any span there are no more than the burst, and what has fallen in.
        for last in (first + burst, min(first + 3 * burst, len(begun) - 1), len(begun) - 1):
            assert last - first + 1 <= burst + (begun[last] - begun[first]) / period + 1e-6


def test_full_buckets_go_and_unknown_time_gives_nothing(driver):
    for number in range(100):
        driver.do("take", f"r{number}", 1000, 1, 1, 0)
    assert len(driver.machine.limiters) <= 2
    assert driver.do("take", "r", 1000, 1, 2, 0)[0] == "malformed"
    driver.machine.leases.now = 0
    driver.time = 0
    assert driver.do("take", "r", 1000, 5, 1, 0, after=0.0)[0] == "later"


def test_there_is_room_for_so_many(driver, monkeypatch, mod):
    monkeypatch.setattr(mod("recipes.machine"), "OBJECTS_MAX", 2)
    monkeypatch.setattr(mod("recipes.machine"), "HELD_MAX", 3)
    monkeypatch.setattr(mod("recipes.machine"), "LIMITERS_MAX", 1)
    monkeypatch.setattr(mod("recipes.lines"), "WAITERS_MAX", 1)
    assert [driver.claim(1, name=name)[0] for name in ("a", "b", "c")] == ["ok", "ok", "full"]
    assert driver.do("add", "c", 1, None) == ("full", 2)
    assert driver.claim(2, name="a") == ("waits",)
    assert driver.claim(3, name="a") == ("full", 1)
    driver.leave(1, name="b")
    assert [driver.claim(1, claim, "party", "p", limit=EVERYBODY)[0] for claim in (2, 3, 4)] == ["ok", "ok", "full"]
    assert [driver.do("take", name, 10**9, 5, 1, 0)[0] for name in ("r", "s")] == ["ok", "full"]
    judge(driver.machine)


def test_what_is_malformed_is_a_result_and_changes_nothing(driver, mod):
    commands = mod("recipes.commands")
    driver.claim(1)

    def state():
        return [record for record in driver.machine._records() if record[0] != "time"]

    before, rng = state(), random.Random(7)
    good = [
        commands.encode("claim", "lock", "y", lease(1), 1, 1, 1, True, b"N"),
        commands.encode("update", "d", (("k", b"v", None),), None),
        commands.encode("take", "r", 1, 1, 1, 0),
        commands.encode("open", lease(9), 5000),
    ]
    bad = [commands.MAGIC, commands.HEAD, commands.HEAD + b"t", commands.MAGIC + b"\x09" + good[0][14:]]
    bad += [commands.HEAD + b"t\xff\xff\xff\xff", commands.HEAD + b"m\x01\x00\x00\x00l\x00\x00\x00\x00N", b"nothing"]
    bad += [data[:at] for data in good for at in range(len(commands.MAGIC), len(data))]
    bad += [data + b"N" for data in good]
    bad += [commands.HEAD + rng.randbytes(rng.randint(0, 40)) for _ in range(500)]
    values = (None, True, -1, 2**63, 2**70, 1.5, "", "\0" * 300, b"", b"x" * 16, (), (("k", b"", None),) * 2, [], {})
    for do, checks in commands.TABLE.items():
        bad.append(commands.encode(do, *[None] * (len(checks) + 1)))
        for at, check in enumerate(checks):
            wrong = [value for value in values if not check(value)]
            assert wrong, f"{do} takes anything as argument {at}"
            bad += [commands.encode(do, *[1] * at, value, *[1] * (len(checks) - at - 1)) for value in wrong]
    bad.append(commands.encode("push", "q", b"", 1, None)[:-1] + b"x" * (1 << 20))
    for data in bad:
        result = driver.give(data)
        assert result[0] == "malformed" and isinstance(result[1], str), data
    assert state() == before
    assert driver.machine.leases.now == driver.time


def test_bits_that_are_turned_over_never_make_it_raise(driver, mod):
    commands = mod("recipes.commands")
    data = commands.encode("update", "d", (("key", b"value", 3), ("k", None, None)), None)
    outcomes = set()
    for bit in range(8 * len(commands.HEAD), 8 * len(data)):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        outcomes.add(driver.give(bytes(turned))[0])
        judge(driver.machine)
    assert outcomes <= {"malformed", "ok", "version", "fenced"} and "malformed" in outcomes


def test_an_int_is_written_in_one_way(driver, mod):
    commands = mod("recipes.commands")
    data = commands.encode("add", "c", 1, None)
    assert data.endswith(b"i\x01\x00\x00\x00\x01N")
    assert driver.give(data[:-7] + b"i\x02\x00\x00\x00\x01\x00N")[0] == "malformed"
    assert driver.give(data) == ("ok", 1)
