"""Two histories meet in simulated clusters: the member that contradicts its leader ends, and nobody else does."""

import pytest

from tests.helpers.implementations import module

SCHEDULES = {"compiled": 40, "pure": 10}


@pytest.mark.slow
def test_a_member_with_another_history_is_told(impl, tell):
    contradicting = module(impl, "testing.nodes.contradicting")
    count = SCHEDULES["compiled" if impl.COMPILED else "pure"]
    totals = contradicting.run(0)
    for seed in range(1, count):
        totals += contradicting.run(seed)
    found, same = totals["contradictions found"], totals["not to be told apart"]
    assert found + same == count and found > count // 2
    tell(f"{found:,} contradictions found, {same:,} histories that Raft cannot tell apart")


def test_when_terms_tell_histories_apart(impl):
    tells_apart = module(impl, "testing.nodes.contradicting").tells_apart
    assert tells_apart([0, 1, 1, 2], 3, [0, 1, 1, 3])
    assert tells_apart([0, 1, 2, 2], 2, [0, 1, 1])
    assert not tells_apart([0, 1, 1, 2], 2, [0, 1, 1, 3])  # what differs is not committed
    assert not tells_apart([0, 1, 1, 2], 3, [0, 1, 1, 2])
    assert not tells_apart([0, 1, 2, 4], 3, [0, 1, 3, 4])  # a term that was used twice
    assert not tells_apart([0, 1, 1], 2, [0, 1, 1, 5])
