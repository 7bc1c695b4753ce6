"""Schedules in which members come and go: joins, promotions, removals of leaders, moves, several changes at once."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.helpers.implementations import module

SCHEDULES = 50


@pytest.mark.slow
def test_members_come_and_go(impl, tell):
    """Nothing that was promised is broken, and everything that is asked for has been done at times."""
    schedule = module(impl, "testing.nodes.schedule")
    wanted = SCHEDULES if impl.COMPILED else SCHEDULES // 5
    totals: Counter[str] = Counter()
    seed = 22_000
    while totals["schedules with churn"] < wanted:
        seed += 1
        if schedule.Schedule(seed).churn.active:
            totals.update(schedule.run(seed).totals)
    tell(f"{wanted} schedules with churn: {totals['changes']} changes asked for, {totals['memberships']} memberships")
    for what in ("adds", "removes", "promotes", "demotes", "moves", "severals"):
        assert totals[f"{what} done"] or not impl.COMPILED, what
    assert totals["removed members that ended"]
