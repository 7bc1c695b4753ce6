"""A Recipes machine that is given entries by hand, and what must hold of its state at any time. Not a test."""

from __future__ import annotations

import io

from tests.helpers.implementations import module

SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND


def lease(number):
    """The id of a lease."""
    return bytes([number]) * 16


class Driver:
    """Gives entries to a machine, a millisecond apart unless told otherwise."""

    def __init__(self, impl, own=None, machine=None):
        self.impl = impl
        self.recipes = module(impl, "recipes")
        self.commands = module(impl, "recipes.commands")
        self.machine = self.recipes.Recipes(own) if machine is None else machine
        self.index, self.term, self.time = 0, 1, EPOCH
        #: the first entry of a term does not count for leases
        self.do("tick")

    def entry(self, data, after=0.001, term=None):
        self.index += 1
        self.term = term or self.term
        self.time += int(after * SECOND) // 256 * 256
        return self.impl.Entry(self.index, self.term, data, time=self.time)

    def give(self, data, after=0.001, term=None):
        return self.machine.apply(self.entry(data, after, term))

    def do(self, *command, after=0.001, term=None):
        return self.give(self.commands.encode(*command), after, term)

    def open(self, number, ttl=10.0, **more):
        return self.do("open", lease(number), int(ttl * 1000), **more)

    def claim(self, number, claim=1, kind="lock", name="x", weight=1, limit=1, wait=True, **more):
        return self.do("claim", kind, name, lease(number), claim, weight, limit, wait, b"N", **more)

    def leave(self, number, claim=1, kind="lock", name="x", **more):
        return self.do("leave", kind, name, lease(number), claim, **more)

    def snapshot(self):
        file = io.BytesIO()
        self.machine.snapshot().write(file)
        return file.getvalue()

    def restored(self, own=None, data=None):
        """A machine that was given its snapshot."""
        made = self.recipes.Recipes(own)
        made.restore(Reader(self.snapshot() if data is None else data, made.version))
        return made


class Reader(io.BytesIO):
    def __init__(self, data, version=0):
        super().__init__(data)
        self.index, self.term, self.version, self.size = 7, 1, version, len(data)


def judge(machine):
    """Raise AssertionError where the state of a machine breaks what its objects promise."""
    leases, tokens = machine.leases.by_id, {}
    for place, there in machine.objects.items():
        assert not there.unused(), f"{place} is kept though nobody uses it"
        keys = list(there.keys()) if hasattr(there, "keys") else []
        assert len(keys) == len(set(keys)), f"somebody stands twice in {place}"
        for id, claim in keys:
            assert (*place, claim) in leases[id].held, f"{place} has somebody whose lease does not know of it"
        for key, token in there.tokens() if hasattr(there, "tokens") else ():
            assert token not in tokens, f"token {token} was given twice"
            assert token <= machine.counted
            tokens[token] = place
            assert key in keys
        judge_object(place[0], there)
    assert machine.fences == tokens
    for id, each in leases.items():
        for kind, name, claim in each.held:
            assert (id, claim) in list(machine.objects[kind, name].keys()), (
                f"a lease keeps {kind} {name!r} that it lost"
            )


def judge_object(kind, there):
    if kind in ("lock", "election"):
        assert len(there.holders) <= 1, "two hold one lock"
    if kind in ("lock", "rwlock", "semaphore", "election", "party"):
        assert there.taken == sum(place.weight for place in there.holders.values()) <= there.limit
        assert list(there.holders.values()) == sorted(there.holders.values(), key=lambda place: place.token)
        if there.waiters:
            first = next(iter(there.waiters.values()))
            assert there.taken + first.weight > there.limit, "somebody waits for what is free"
    if kind == "rwlock":
        writers = [place for place in there.holders.values() if place.weight > 1]
        assert not writers or len(there.holders) == 1, "a writer is not alone"
    if kind == "queue":
        flying = {number for number, _ in there.flying.values()}
        assert len(flying) == len(there.flying), "two work on one item"
        assert sorted(there.ready) == sorted(there.items.keys() - flying), "an item is lost, or there twice"
        assert not (there.ready and there.waiters), "somebody waits for an item that is there"
    if kind == "dict":
        revisions = [revision for revision, _, _ in there.history]
        assert revisions == list(range(there.floor + 1, there.revision + 1)), "a change is missing"
        assert all(0 < version <= there.revision for _, version in there.values.values())
    if kind == "barrier":
        assert len(there.arrived) < there.parties or there.inside or there.leaving, "enough have come, and wait"
