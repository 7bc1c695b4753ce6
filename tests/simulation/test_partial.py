"""Members that see only some of the others: the cluster settles, no return raises a term, and who is alone says so.

A sample; ``make partial`` has a thousand seeds of each topology.
"""

import pytest

from tests.helpers.implementations import module


@pytest.mark.slow
def test_members_that_see_some_of_the_others(impl, tell):
    partial = module(impl, "testing.nodes.partial")
    cases = [("ring", 0), ("ring", 1), ("two see one", 1), ("one way", 1), ("flaps", 0)]
    if impl.COMPILED:
        cases += [(topology, seed) for topology in partial.TOPOLOGIES for seed in (2, 3)]
    totals = partial.run(cases[0][1], cases[0][0])
    for topology, seed in cases[1:]:
        totals += partial.run(seed, topology)
    assert totals["settled"] + totals["nobody can be elected"] + totals["settled after the return"] >= len(cases)
    returns = totals["returns without a new term"]
    assert returns
    assert totals["told of a leader that it cannot reach"]
    tell(f"{totals['settled']} of {len(cases)} settled, {returns} returns without a new term")


def test_what_a_seed_does_is_the_same_in_both_modes(impl):
    run = module(impl, "testing.nodes.partial").Partial(0, "ring")
    run.live()
    run.draw()
    assert run.world.trace == 2181540791
    assert sorted(run.cuts)[:5] == [(1, 2), (1, 3), (1, 5), (2, 1), (2, 3)]
