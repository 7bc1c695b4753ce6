"""A state machine of the user's own beside recipes: it is given what is its own, and snapshots hold both."""

import io
import random

import pytest

from tests.helpers.recipe_machine import Driver, Reader, judge, lease


class Journal:
    """Remembers what it was given, and whether a token was in force then."""

    version = 3

    def __init__(self):
        self.seen = []
        self.recipes = None
        self.restored = None

    def apply(self, entry):
        self.seen.append((entry.index, entry.data, self.in_force(entry)))
        return len(self.seen)

    def in_force(self, entry):
        return entry.data.isdigit() and self.recipes.holds("x", int(entry.data))

    def snapshot(self):
        return repr(self.seen).encode()

    def restore(self, reader):
        self.restored = reader.version
        self.seen = eval(reader.read(3) + reader.read())

    def digest(self):
        return self.seen


class Batches(Journal):
    apply = None

    def __init__(self):
        super().__init__()
        self.batches = []

    def in_force(self, entry):
        return [token for token in range(100) if self.recipes.holds("x", token)]

    def apply_batch(self, entries):
        self.batches.append(len(entries))
        return [Journal.apply(self, entry) for entry in entries]


def beside(impl, own):
    driver = Driver(impl, own)
    own.recipes = driver.machine
    return driver


def test_its_commands_pass_unharmed(impl):
    driver = beside(impl, Journal())
    entry = driver.entry(b"anything \xf7raftx")
    assert driver.machine.apply(entry) == 1
    driver.open(1)
    token = driver.claim(1)[1]
    assert driver.give(b"%d" % token) == 2
    driver.leave(1)
    assert driver.give(b"%d" % token) == 3
    assert driver.give(b"") == 4
    own = driver.machine.machine
    assert [each[1:] for each in own.seen] == [
        (b"anything \xf7raftx", False),
        (b"%d" % token, True),
        (b"%d" % token, False),
        (b"", False),
    ]


def test_check_refuses_with_an_apply_error(impl):
    driver = beside(impl, Journal())
    driver.open(1)
    token = driver.claim(1)[1]
    driver.machine.check("x", token)
    for name, kind, number in (
        ("y", "lock", token),
        ("x", "rwlock", token),
        ("x", "lock", token + 1),
        ("x", "lock", 0),
    ):
        with pytest.raises(impl.ApplyError, match=rf"token {number} of {kind} '{name}' is not in force"):
            driver.machine.check(name, number, kind)


def test_what_it_raises_is_its_own(impl):
    class Refusing(Journal):
        def apply(self, entry):
            raise impl.ApplyError("no")

    driver = beside(impl, Refusing())
    with pytest.raises(impl.ApplyError, match="no"):
        driver.give(b"x")
    assert driver.open(1) == ("ok",)


@pytest.mark.parametrize("seed", range(10))
def test_batches_make_no_difference_to_what_it_sees(impl, seed):
    """Wherever batches begin and end, leases run out between the same entries."""
    rng = random.Random(seed)
    script = []
    for _ in range(200):
        kind, after = rng.random(), rng.choice((0.0, 0.001, 0.3))
        number = rng.randint(1, 4)
        if kind < 0.2:
            script.append((("open", lease(number), rng.choice((500, 1000))), after))
        elif kind < 0.4:
            script.append((("claim", "lock", "x", lease(number), rng.randint(1, 3), 1, 1, True, b"N"), after))
        else:
            script.append((b"all", after))
    terms = sorted(rng.sample(range(200), 3))

    def entries(driver):
        for at, (command, after) in enumerate(script):
            term = 2 + sum(at >= each for each in terms)
            data = command if isinstance(command, bytes) else driver.commands.encode(*command)
            yield driver.entry(data, after, term)

    single = beside(impl, Batches())
    results = [single.machine.apply(entry) for entry in entries(single)]
    for cut in (1, 7, 200):
        many = beside(impl, Batches())
        made, run = [], []
        for entry in entries(many):
            if run and (len(run) >= rng.randint(1, cut) or run[-1].term != entry.term):
                made += many.machine.apply_batch(run)
                run = []
            run.append(entry)
        made += many.machine.apply_batch(run)
        assert made == results
        assert many.machine.machine.seen == single.machine.machine.seen
        assert many.machine._records() == single.machine._records()
        judge(many.machine)
    assert max(many.machine.machine.batches) > 3
    assert len({str(each[2]) for each in single.machine.machine.seen}) > 3, "tokens hardly came and went"


def test_a_batch_of_another_length_is_an_error(impl):
    own = Batches()
    driver = beside(impl, own)
    own.apply_batch = lambda entries: []
    with pytest.raises(TypeError, match="must return a list of 1 results, not a list of 0"):
        driver.machine.apply_batch([driver.entry(b"x")])


def test_an_apply_error_in_a_batch_of_one_refuses(impl):
    own = Batches()
    driver = beside(impl, own)
    own.apply_batch = lambda entries: [impl.ApplyError("no")]
    with pytest.raises(impl.ApplyError):
        driver.give(b"x")


def full(driver):
    """Something of everything."""
    for number in (1, 2, 3):
        driver.open(number, ttl=100 * number)
    for number in (1, 2, 3):
        driver.claim(number)
        driver.claim(number, 2, "rwlock", "r", 1 if number < 3 else 2**62, 2**62)
        driver.claim(number, 3, "semaphore", "s", 1, 2)
        driver.claim(number, 4, "election", "e")
        driver.claim(number, 5, "party", "p", 1, 2**62)
        driver.do("arrive", "b", lease(number), 6, 2, True)
        driver.do("push", "q", b"item %d" % number, 10, None)
        driver.do("take", f"l{number}", 10**12, 9, number, 0)
        driver.do("once", "l1", 10**12, 9, 1, 10**14, f"request {number}")
        driver.do("update", "d", ((f"k{number}", b"v" * number, None), ("gone", b"x", None)), None)
    driver.do("update", "d", (("gone", None, None),), None)
    driver.do("depart", "b", lease(1), 6)
    driver.do("pull", "q", lease(1), 7, True)
    driver.do("push", "empty", b"", 1, None)
    driver.do("pull", "empty", lease(1), 8, True)
    driver.do("pull", "empty", lease(2), 8, True)
    driver.do("add", "c", -7, None)
    driver.do("keep", lease(2), after=0.0)  # counts from the next later time on
    judge(driver.machine)


def test_snapshots_hold_everything(impl):
    driver = Driver(impl)
    full(driver)
    made = driver.restored()
    assert made._records() == driver.machine._records()
    assert made.digest() == driver.machine.digest()
    judge(made)
    # What comes behind it comes to the same.
    other = Driver(impl, machine=made)
    other.index, other.time = driver.index, driver.time
    for each in (driver, other):
        each.results = [each.leave(1), each.do("ack", "q", lease(1), 7, 999), each.do("depart", "b", lease(2), 6)]
        each.results += [
            each.do("tick", after=250.0),
            each.do("push", "q", b"", 10, None),
            each.do("add", "c", 1, None),
        ]
        each.do("tick")
        judge(each.machine)
    assert driver.results == other.results
    assert driver.restored()._records() == driver.machine._records()


def test_what_a_lease_had_goes_in_the_same_order_behind_a_snapshot(impl):
    driver = Driver(impl)
    driver.open(1, ttl=1.0)
    driver.open(2, ttl=100.0)
    driver.claim(2, name="b")
    driver.claim(1, name="a")
    driver.claim(1, name="b")
    driver.leave(2, name="b")
    driver.claim(2, name="a")
    driver.claim(2, name="b")
    other = Driver(impl, machine=driver.restored())
    other.index, other.time = driver.index, driver.time
    for each in (driver, other):
        each.do("tick", after=2.0)
    assert driver.machine._records() == other.machine._records()
    assert driver.machine.fences == other.machine.fences and len(driver.machine.fences) == 2


def test_snapshots_do_not_change_any_more(impl):
    driver = Driver(impl)
    full(driver)
    before = driver.snapshot()
    state = driver.machine.snapshot()
    driver.do("tick", after=1000.0)
    driver.do("push", "q", b"", 10, None)
    file = io.BytesIO()
    state.write(file)
    assert file.getvalue() == before


@pytest.mark.parametrize("form", ["bytes", "pieces", "file", "writer"])
def test_snapshots_hold_both_in_every_form(impl, form):
    class Own(Journal):
        def snapshot(self):
            data = super().snapshot()
            if form == "pieces":
                return iter([data[:5], data[5:]])
            if form == "file":
                return io.BytesIO(data)
            if form == "writer":
                return type("Writer", (), {"write": lambda self, file: file.write(data)})()
            return data

    driver = beside(impl, Own())
    full(driver)
    driver.give(b"17 of my own")
    own = Own()
    made = driver.restored(own)
    assert own.seen == driver.machine.machine.seen and own.restored == 3
    assert made._records() == driver.machine._records()


def test_a_snapshot_of_the_own_machine_alone_is_taken(impl):
    """A service that begins to use recipes."""
    own = Journal()
    driver = Driver(impl)
    made = driver.recipes.Recipes(own)
    own.recipes = made
    made.restore(Reader(b"[(1, b'5', False)]", 2))
    assert own.seen == [(1, b"5", False)] and own.restored == 2
    assert made.objects == {} and made.leases.now == 0


def test_versions_of_both(impl):
    driver = Driver(impl)
    own = Journal()
    machine = driver.recipes.Recipes(own)
    assert machine.version == 2 << 32 | 3 and driver.machine.version == 2 << 32
    own.recipes = machine
    data = io.BytesIO()
    machine.snapshot().write(data)
    older = Journal()
    older.version = 2
    with pytest.raises(impl.SnapshotFailed, match=r"a state of version 3; format 2 and version 2 are known here"):
        driver.recipes.Recipes(older).restore(Reader(data.getvalue()))
    newer = bytearray(data.getvalue())
    newer[16] = 9
    with pytest.raises(impl.SnapshotFailed, match="format 9"):
        machine.restore(Reader(bytes(newer)))


def test_a_snapshot_that_is_cut_short_is_refused(impl):
    driver = Driver(impl)
    full(driver)
    data = driver.snapshot()
    for cut in (17, 30, 60, len(data) - 1):
        with pytest.raises(impl.SnapshotDamaged):
            driver.restored(data=data[:cut])


def test_what_cannot_stand_beside_recipes_is_refused(impl):
    recipes = Driver(impl).recipes
    with pytest.raises(impl.ConfigError, match="applied_index"):
        recipes.Recipes(type("Own", (), {"apply": print, "applied_index": 0})())
    with pytest.raises(impl.ConfigError, match="or neither"):
        recipes.Recipes(type("Own", (), {"apply": print, "snapshot": print})())
    with pytest.raises(impl.ConfigError, match="apply"):
        recipes.Recipes(object())
    with pytest.raises(impl.ConfigError, match="an object"):
        recipes.Recipes(Journal)
    with pytest.raises(impl.ConfigError, match=r"0\.\.4294967295"):
        recipes.Recipes(type("Own", (), {"apply": print, "version": 2**32})())


def test_without_snapshots_of_its_own_there_are_none(impl):
    recipes = Driver(impl).recipes
    made = recipes.Recipes(type("Own", (), {"apply": lambda self, entry: None})())
    assert not hasattr(made, "snapshot") and not hasattr(made, "restore") and not hasattr(made, "apply_batch")
    assert hasattr(recipes.Recipes(), "snapshot") and hasattr(recipes.Recipes(Batches()), "apply_batch")
