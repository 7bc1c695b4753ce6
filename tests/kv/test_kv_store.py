"""The store by revision: histories, ranges, compaction, snapshots, beside a model that keeps every state it had."""

import io
import random
from types import SimpleNamespace

import pytest

from raftx.errors import SnapshotDamaged, SnapshotFailed
from raftx.kv import commands
from raftx.kv.errors import COMPACTED, FUTURE_REVISION, KvError
from raftx.kv.machine import KeyValues
from raftx.kv.store import VERSION_BYTES, Store

pytestmark = pytest.mark.once

KEYS = [b"a", b"b", b"ab", b"b\0", b"\xff", b"\0"]
ENDS = [None, b"", b"b", b"a", b"\xff\xff"]


class Model:
    """Every state that there was, whole: by revision, key to (create, mod, version, value, lease)."""

    def __init__(self):
        self.states = {1: {}}
        self.newest = 1
        self.oldest = 1

    def change(self, puts, deletes):
        state = dict(self.states[self.newest])
        revision = self.newest + 1
        gone = [key for key in deletes if state.pop(key, None) is not None]
        for key, value, lease in puts:
            create, version = (state[key][0], state[key][2] + 1) if key in state else (revision, 1)
            state[key] = (create, revision, version, value, lease)
        if gone or puts:
            self.newest = revision
            self.states[revision] = state

    def range(self, key, end, revision):
        state = self.states[revision]
        if end is None:
            return [(key, *state[key])] if key in state else []
        return [(each, *state[each]) for each in sorted(state) if each >= key and (end == b"" or each < end)]


def ranged(store, key, end, revision):
    found = store.range(key, end, store.check(revision, store.revision))
    return [(each.key, each.create, each.mod, each.version, each.value, each.lease) for each in found]


def written(store, puts, deletes):
    writing = store.write()
    there = [store.get(key, store.revision) for key in dict.fromkeys(deletes)]
    writing.delete([each for each in there if each is not None])
    for key, value, lease in puts:
        writing.put(key, value, lease)
    writing.end()


@pytest.mark.parametrize("seed", range(5))
def test_every_kept_revision_is_what_it_was(seed):
    draw = random.Random(seed)
    store, model = Store(), Model()
    for _ in range(300):
        puts = [(key, b"%d" % draw.randrange(9), draw.randrange(2)) for key in draw.sample(KEYS, draw.randrange(3))]
        deletes = draw.sample([key for key in KEYS if key not in [put[0] for put in puts]], draw.randrange(3))
        written(store, puts, deletes)
        model.change(puts, deletes)
        assert store.revision == model.newest
        if draw.random() < 0.05:
            model.oldest = draw.randint(model.oldest, model.newest)
            if model.oldest > store.compacted:
                store.compact(model.oldest)
        revision = draw.randint(max(model.oldest, store.compacted), model.newest)
        key, end = draw.choice(KEYS), draw.choice(ENDS)
        assert ranged(store, key, end, revision) == model.range(key, end, revision), (key, end, revision)
    kept = [each for history in store.keys.values() for each in history]
    assert store.size == sum(len(each.key) + len(each.value) + VERSION_BYTES for each in kept)
    assert sorted(each for changes in store.log for each in changes if not store.is_gone(each)) == sorted(
        each for each in kept if each.mod >= store.first
    )


def test_bounds_of_revisions():
    store = Store()
    for at in range(5):
        written(store, [(b"a", b"%d" % at, 0)], [])
    with pytest.raises(FUTURE_REVISION):
        store.check(7, store.revision)
    store.compact(4)
    with pytest.raises(COMPACTED):
        store.check(3, store.revision)
    assert store.check(4, store.revision) == 4 and store.check(0, 6) == 6 and store.check(-3, 6) == 6
    with pytest.raises(COMPACTED):
        store.compact(4)
    with pytest.raises(FUTURE_REVISION):
        store.compact(7)
    assert [each.value for each in store.range(b"a", None, 4)] == [b"2"]


class Driven:
    """A state machine, and the entries that it was given."""

    def __init__(self):
        self.machine = KeyValues()
        self.index = 0

    def __call__(self, kind, now=1, **request):
        self.index += 1
        entry = SimpleNamespace(index=self.index, term=1, time=now * 1_000_000_000, data=commands.encode(kind, request))
        (result,) = self.machine.apply_batch([entry])
        return result


def state_of(machine):
    store = machine.store
    leases = {id: (lease.ttl, lease.renewed, lease.since, lease.keys) for id, lease in machine.leases.by_id.items()}
    return (
        dict(store.keys), store.log, store.first, store.revision, store.compacted, store.size, leases, machine.members,
        (machine.index, machine.term, machine.time),
    )  # fmt: skip


def filled():
    do = Driven()
    for at in range(50):
        do(commands.PUT, key=b"k%02d" % (at % 20), value=b"v%d" % at)
    do(commands.GRANT, ID=7, TTL=60)
    do(commands.PUT, key=b"held", value=b"1", lease=7)
    do(commands.DELETE, key=b"k03", range_end=b"k06")
    do(commands.KEEP, ID=7)
    do(commands.MEMBER, ID=3, name="n3", clientURLs=["http://a:1"])
    do(commands.COMPACT, revision=20)
    return do


def test_a_snapshot_holds_the_state_of_its_moment():
    do = filled()
    state = do.machine.snapshot()
    before = state_of(do.machine)
    histories = {key: list(history) for key, history in before[0].items()}
    log = [list(changes) for changes in before[1]]
    # What is applied while it is written is not in it.
    for at in range(30):
        do(commands.PUT, key=b"k%02d" % at, value=b"later")
    do(commands.COMPACT, revision=60)
    do(commands.REVOKE, ID=7)
    file = io.BytesIO()
    state.write(file)
    file.seek(0)
    other = KeyValues()
    other.restore(file)
    found = state_of(other)
    assert found[0] == histories and found[1] == log
    assert found[2:5] == before[2:5] and found[8] == before[8]
    assert found[6] == {7: (60, 54, 1_000_000_000, {b"held"})} and found[7][3]["name"] == "n3"


def test_a_restored_machine_goes_on_alike():
    do = filled()
    file = io.BytesIO()
    do.machine.snapshot().write(file)
    file.seek(0)
    other = Driven()
    other.index = do.index
    other.machine.restore(file)
    for both in (do, other):
        both(commands.PUT, key=b"k03", value=b"again")
        both(commands.REVOKE, ID=7)
        both(commands.COMPACT, revision=54)
    assert state_of(do.machine) == state_of(other.machine)


def test_a_snapshot_that_is_none():
    machine = filled().machine
    file = io.BytesIO()
    machine.snapshot().write(file)
    data = file.getvalue()
    for cut in (0, 20, len(data) // 2, len(data) - 1):
        with pytest.raises((SnapshotDamaged, Exception), match="too early"):
            KeyValues().restore(io.BytesIO(data[:cut]))
    with pytest.raises(SnapshotFailed, match="another state machine"):
        KeyValues().restore(io.BytesIO(b"x" * 100))
    with pytest.raises(SnapshotFailed, match="newer program"):
        KeyValues().restore(io.BytesIO(data[:8] + b"\2" + data[9:]))


@pytest.mark.parametrize("data", [b"", b"?", b"p", b"p\xff", b"t\x12\x02\x12\x00", b"d", b"p\x0a\xff", b"\0" * 9])
def test_what_is_no_request_changes_nothing(data):
    machine = filled().machine
    before = state_of(machine)[:8]
    result = machine.apply(SimpleNamespace(index=99, term=1, time=0, data=data))
    assert isinstance(result, KvError) and state_of(machine)[:8] == before


# --- leases --------------------------------------------------------------------------------------


def test_a_lease_ends_only_by_the_renewal_that_was_seen_and_when_its_time_is_over():
    do = Driven()
    assert do(commands.GRANT, ID=5, TTL=1, now=100)["TTL"] == 2  # the least
    do(commands.PUT, key=b"b", lease=5)
    do(commands.PUT, key=b"a", lease=5)
    assert do(commands.KEEP, ID=5, now=101)["TTL"] == 2
    renewed = do.index
    assert not do(commands.EXPIRE, ID=5, renewed=1, now=200)["expired"]  # it was renewed since
    assert not do(commands.EXPIRE, ID=5, renewed=renewed, now=102)["expired"]  # a second early
    revision = do.machine.store.revision
    assert do(commands.EXPIRE, ID=5, renewed=renewed, now=103)["expired"]
    store = do.machine.store
    assert store.revision == revision + 1
    assert [each.key for each in store.log[-1]] == [b"a", b"b"] and not any(each.version for each in store.log[-1])
    assert do(commands.KEEP, ID=5)["TTL"] == 0
    assert not do(commands.EXPIRE, ID=5, renewed=renewed, now=500)["expired"]


def test_an_old_end_does_not_touch_a_lease_of_the_same_id():
    do = Driven()
    do(commands.GRANT, ID=5, TTL=2, now=0)  # without times, nothing but the entry tells them apart
    old = do.index
    do(commands.REVOKE, ID=5, now=0)
    do(commands.GRANT, ID=5, TTL=2, now=0)
    assert not do(commands.EXPIRE, ID=5, renewed=old, now=0)["expired"]
    assert do(commands.EXPIRE, ID=5, renewed=old + 2, now=0)["expired"]


def test_a_lease_is_due_by_the_clock_of_its_own_renewal(monkeypatch):
    from raftx.kv import leases

    now = [0]
    monkeypatch.setattr(leases, "boot", lambda: now[0])
    those = leases.Leases()
    those.grant(5, 2, 1, 0)
    now[0] = 1_500_000_000
    those.keep(5, 2, 0)
    now[0] = 3_400_000_000
    assert those.due() == []
    now[0] = 3_500_000_000
    assert those.due() == [(5, 2)] and those.due() == []
    those.again(5, 2, 500_000_000)
    now[0] += 500_000_000
    assert those.due() == [(5, 2)]
    those.restart(1_000_000_000)
    now[0] += 2_999_999_999
    assert those.due() == []
    now[0] += 1
    assert those.due() == [(5, 2)]
    for index in range(3, 1000):
        those.keep(5, index, 0)
    assert len(those._due) < 100  # what is out of date goes


def test_a_key_belongs_to_the_lease_of_its_last_put():
    do = Driven()
    do(commands.GRANT, ID=5, TTL=60)
    do(commands.GRANT, ID=6, TTL=60)
    do(commands.PUT, key=b"a", lease=5)
    do(commands.PUT, key=b"b", lease=5)
    do(commands.PUT, key=b"a", lease=6)
    do(commands.PUT, key=b"b")
    assert (do.machine.leases.by_id[5].keys, do.machine.leases.by_id[6].keys) == (set(), {b"a"})
    revision = do.machine.store.revision
    do(commands.REVOKE, ID=5)
    assert do.machine.store.revision == revision
    do(commands.REVOKE, ID=6)
    assert do.machine.store.revision == revision + 1
    assert next(iter(do.machine.store.range(b"a", b"", revision + 1))).key == b"b"
