"""Members whose directories are wiped or set back, in simulated clusters: each is recognised, and nothing is lost."""

import pytest

from tests.helpers.implementations import module

SCHEDULES = {"compiled": 60, "pure": 12}


@pytest.mark.slow
def test_members_that_lose_their_memory(impl, tell):
    forgetting = module(impl, "testing.nodes.forgetting")
    count = SCHEDULES["compiled" if impl.COMPILED else "pure"]
    totals = None
    for seed, kind, course in forgetting.all_of(0, count):
        found = forgetting.run(seed, kind, course)
        totals = found if totals is None else totals + found
    assert totals["recognised"] == count
    assert totals["acknowledged"] > 10 * count
    tell(f"{totals['recognised']:,} recognised, {totals['acknowledged']:,} acknowledged, none lost")
