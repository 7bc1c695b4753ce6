"""Recipes on simulated nodes that lose power, disks and frames: what each object promises holds after every entry."""

import collections
import dataclasses

import pytest

from tests.helpers.implementations import module
from tests.helpers.recipe_schedules import Judged, command_of

SEEDS = range(32)


@pytest.mark.slow
def test_schedules_with_recipes(impl, tell):
    nodes = module(impl, "testing.nodes")
    made, counts = [], collections.Counter()

    def machine():
        made.append(Judged(impl))
        return made[-1]

    application = nodes.Application(machine, command_of(impl))
    for seed in SEEDS:
        made.clear()
        nodes.run(seed, application=application)
        counts.update(max((each.ledger.counts for each in made), key=lambda each: each.total()))
    for reached in (
        ("lease", "expired"), ("lease", "ended"), ("open", "ok"), ("keep", "ok"), ("keep", "expired"),
        ("claim", "ok"), ("claim", "waits"), ("claim", "busy"), ("claim", "expired"), ("claim", "differs"),
        ("cancel", "held"), ("leave", "ok"), ("leave", "gone"), ("pull", "ok"), ("pull", "waits"), ("ack", "ok"),
        ("ack", "lost"), ("push", "ok"), ("arrive", "waits"), ("depart", "waits"), ("add", "ok"), ("add", "fenced"),
        ("update", "ok"), ("update", "version"), ("update", "fenced"), ("take", "ok"), ("take", "later"),
        ("once", "ok"), ("once", "later"), ("once", "again"), ("once", "other"),
    ):  # fmt: skip
        assert counts[reached], f"no schedule has {reached}: {counts}"
    tell(f"{sum(counts.values())} commands, {counts['lease', 'expired']} leases that ran out")


def test_a_machine_that_is_wrong_is_found(impl, monkeypatch):
    """Here leases run out early, and those of a snapshot at another time than those of the log."""
    nodes, leases = module(impl, "testing.nodes"), module(impl, "recipes.leases").Leases
    count = leases.count

    def early(self, id, lease):
        now, self.now = self.now, self.now - lease.ttl * 3 // 4
        count(self, id, lease)
        self.now = now

    monkeypatch.setattr(leases, "count", early)
    application = nodes.Application(lambda: Judged(impl), command_of(impl))
    with pytest.raises(nodes.Violation, match=r"a lease of|state machine safety"):
        for seed in SEEDS:
            nodes.run(seed, application=application)


def test_lives_end_alike(impl):
    """A schedule is the same in both modes, results included."""
    nodes = module(impl, "testing.nodes")
    application = nodes.Application(lambda: Judged(impl), command_of(impl))
    first, second = (dataclasses.astuple(nodes.run(5, application=application)) for _ in range(2))
    assert first == second
