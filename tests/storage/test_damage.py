"""A sample of the damage that ``make damage`` does: none of it may pass for an earlier state without a word."""

import random

from tests.tools.damage import OUTCOMES, bits, count, directories, larger


def test_a_sample_of_damage(impl, memory_path):
    cases = 1000 if impl.COMPILED else 300
    table, wrong = count(impl, memory_path, cases // 2, cases, seed=7)
    assert not wrong
    seen = sum((each for each in table.values()), start=type(next(iter(table.values())))())
    assert set(seen) <= set(OUTCOMES) and sum(seen.values()) == cases // 2 + cases
    # Every outcome that may be is among them, and every kind of damage does harm somewhere.
    assert min(seen["same"], seen["refused"], seen["doubt"]) > 10
    assert len(table) >= 10
    assert all(each["refused"] for each in table.values())


def test_the_damage_is_damage(impl, memory_path):
    """Most of it changes something, and the same seed draws the same."""
    for case in directories(impl, memory_path):
        for source in (bits, larger):
            changed, drawn = 0, []
            one, other = source(case, random.Random(3)), source(case, random.Random(3))
            for damage, _ in zip(one, range(60)):
                files = dict(case.files)
                damage.apply(files)
                changed += files != case.files
                again = next(other)
                drawn.append(damage[:2] == again[:2])
            assert changed > 40 and all(drawn)
