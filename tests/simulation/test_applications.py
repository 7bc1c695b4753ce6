"""State machines that users could bring, in schedules of whole nodes: a right one, and wrong ones, which are seen."""

import json

import pytest

from tests.helpers.implementations import module

SCHEDULES = 8


class KeyValue:
    """Keys with values and versions. Results depend on what was there before."""

    def __init__(self):
        self.values = {}

    def apply(self, entry):
        command = json.loads(entry.data)
        key = command["key"]
        version, before = self.values.get(key, (0, None))
        if "if" in command and command["if"] != version:
            return "refused", version
        self.values[key] = (version + 1, command["value"])
        return "set", version + 1, before

    def digest(self):
        return sorted(self.values.items())


def put(rng, tag, size):
    """A command: it sets one of three keys, sometimes only if it has a version."""
    command = {"key": rng.choice("abc"), "value": tag.decode()}
    if rng.random() < 0.3:
        command["if"] = rng.randint(0, 5)
    return json.dumps(command).encode().ljust(size)


@pytest.fixture
def nodes(impl):
    return module(impl, "testing.nodes")


def schedules(nodes, machine, command=put):
    done = 0
    for seed in range(SCHEDULES):
        done += nodes.run(seed, application=nodes.Application(machine, command)).totals["done"]
    return done


def test_a_right_one_passes(nodes):
    made = []

    def machine():
        made.append(KeyValue())
        return made[-1]

    assert schedules(nodes, machine) > 50
    assert sum("a" in each.values for each in made) > SCHEDULES


def test_results_of_its_life_are_seen(nodes):
    lives = []

    class OfItsLife(KeyValue):
        def __init__(self):
            super().__init__()
            lives.append(self)
            self.life = len(lives)

        def apply(self, entry):
            return super().apply(entry), self.life

    with pytest.raises(nodes.Violation, match=r"^seed \d+: .*state machine safety: .* gives \(.*, it gave"):
        schedules(nodes, OfItsLife)


def test_a_state_that_is_not_of_the_entries_alone_is_seen(nodes):
    counts = iter(range(10**6))

    class Stamped(KeyValue):
        def apply(self, entry):
            result = super().apply(entry)
            self.values["stamp"] = next(counts)
            return result

    with pytest.raises(nodes.Violation, match=r"^seed \d+: state machine safety: after \d+ entries the state of node"):
        schedules(nodes, Stamped)


def test_one_that_raises_is_seen(nodes):
    class Strict(KeyValue):
        def apply(self, entry):
            if "if" in json.loads(entry.data):
                raise LookupError("no conditions here")
            return super().apply(entry)

    with pytest.raises(nodes.Violation, match=r"^seed \d+: node \d has failed: LookupError\('no conditions here'\)"):
        schedules(nodes, Strict)


def test_a_command_without_its_tag_is_refused(impl, nodes):
    with pytest.raises(impl.UsageError, match="does not hold its tag"):
        schedules(nodes, KeyValue, lambda rng, tag, size: b"{}")
