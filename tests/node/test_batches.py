"""Several proposals behind one future, in the table of open requests: found by range, and each ended once."""

import random
import threading

import pytest

from tests.helpers.implementations import module

REASON = "no leader"


@pytest.fixture
def futures(impl):
    return module(impl, "node.futures")


@pytest.fixture
def outcomes(impl):
    return module(impl, "node.outcomes").Outcomes(10**9)


def ends(future):
    """How each of a batch has ended: the name of its outcome."""
    return [type(each).__name__ for each in future.exception(0).outcomes]


def test_a_batch_is_entered_by_its_range(outcomes, futures):
    """One entry for 64 proposals, and each of them is found, whoever asks for it first."""
    future = futures.Future()
    outcomes.register_many(101, 1000, future)
    assert outcomes.count() == 1000 and len(outcomes.batches) <= 2 + 1000 // 64
    assert [outcomes.is_open(number) for number in (100, 101, 600, 1100, 1101)] == [False, True, True, True, False]
    order = list(range(101, 1101))
    random.Random(7).shuffle(order)
    for left, number in enumerate(order, -999):
        assert not future.done()
        outcomes.refuse(number, 1, 1100, REASON)
        assert outcomes.count() == -left and not outcomes.is_open(number)
    assert str(future.exception(0)) == REASON
    assert not outcomes.batches and outcomes.recent is None and outcomes.ended_again == 0


def test_what_stands_beside_a_batch_is_not_of_it(outcomes, futures):
    before, batch, after, last = (futures.Future() for _ in range(4))
    outcomes.register(9, before)
    outcomes.register_many(10, 3, batch)
    outcomes.register(13, after)
    outcomes.register_many(14, 2, last)
    outcomes.refuse(13, 1, 15, REASON)
    outcomes.refuse(9, 1, 15, REASON)
    assert before.done() and after.done() and not batch.done() and not last.done()
    outcomes.refuse(16, 1, 16, REASON)  # not registered yet
    assert list(outcomes.early) == [16] and outcomes.count() == 5
    outcomes.refuse(12, 3, 16, REASON)
    assert not batch.done() and not last.done()
    outcomes.refuse(10, 2, 16, REASON)
    assert batch.done() and not last.done() and outcomes.count() == 1


def test_a_part_of_a_batch_may_be_unknown(outcomes, futures):
    """What was handed over may be in a snapshot; what was not may still be refused."""
    future = futures.Future()
    outcomes.register_many(60, 10, future)
    outcomes.refuse(60, 2, 69, REASON)
    outcomes.hand_over(65, 3)
    outcomes.lose_handed()
    assert ends(future) == ["NotDone"] * 2 + ["Unknown"] * 8
    assert outcomes.count() == 4
    outcomes.refuse(66, 4, 69, REASON)
    assert outcomes.count() == 0 and not outcomes.batches and outcomes.ended_again == 0


def test_batches_end_with_the_node(outcomes, futures):
    single, first, second = (futures.Future() for _ in range(3))
    outcomes.register(1, single)
    outcomes.register_many(2, 100, first)
    outcomes.register_many(102, 3, second)
    outcomes.give_back(103, 2, "stopped before it was handed over")
    outcomes.end(None)
    assert single.done() and ends(first) == ["Unknown"] * 100
    assert ends(second) == ["Unknown", "NotDone", "NotDone"]
    assert outcomes.count() == 0 and not outcomes.batches
    late = futures.Future()
    outcomes.register_many(105, 70, late)
    assert ends(late) == ["Unknown"] * 70
    assert outcomes.count() == 0 and not outcomes.batches and outcomes.ended_again == 0


def test_batches_are_overdue(outcomes, futures):
    old, new = futures.Future(), futures.Future()
    outcomes.register_many(1, 65, old)
    outcomes.expire(0)
    outcomes.register_many(66, 2, new)
    outcomes.expire(10**9)
    assert old.done() and not new.done() and outcomes.count() == 2
    outcomes.expire(3 * 10**9)
    assert ends(new) == ["Unknown"] * 2 and outcomes.count() == 0 and not outcomes.batches


def test_a_refusal_of_more_than_there_is_ends_what_is_in_batches(outcomes, futures):
    future, other = futures.Future(), futures.Future()
    outcomes.register_many(5, 5, future)
    outcomes.register_many(10, 5, other)
    outcomes.refuse(7, 2**63, 16, REASON)
    assert other.done() and not future.done() and outcomes.count() == 2
    assert sorted(outcomes.early) == [15, 16]  # which were taken, and are not registered yet


@pytest.mark.parametrize("seed", range(20))
def test_it_is_as_if_each_had_its_own_entry(impl, futures, seed):
    """Random requests and ends, against a table that has every proposal by its number."""
    rng = random.Random(seed)
    outcomes = module(impl, "node.outcomes").Outcomes(10**9)
    open_, left, number = {}, {}, 1
    for _ in range(200):
        if rng.random() < 0.3:
            count = rng.choice((1, 1, 2, 3, 63, 64, 65, 200))
            future = futures.Future()
            if count == 1 and rng.random() < 0.5:
                outcomes.register(number, future)
            else:
                outcomes.register_many(number, count, future)
            left[id(future)] = (future, count)
            open_.update(dict.fromkeys(range(number, number + count), future))
            number += count
        elif number > 1:
            first = rng.randrange(1, number)
            count = rng.choice((1, 2, 30, 100))
            outcomes.refuse(first, count, number - 1, REASON)
            outcomes.early.clear()  # of those that had ended before
            for each in range(first, min(first + count, number)):
                future = open_.pop(each, None)
                if future is not None:
                    left[id(future)] = (future, left[id(future)][1] - 1)
        assert outcomes.count() == len(open_)
        assert all([future.done() == (count == 0) for future, count in left.values()])
        at = rng.randrange(number + 70)
        assert outcomes.is_open(at) == (at in open_)
    assert outcomes.ended_again == 0
    outcomes.end(None)
    assert all([future.done() for future, _ in left.values()]) and outcomes.count() == 0 and not outcomes.batches


def test_threads_that_end_the_same_batches(impl, futures):
    """Each proposal has one that ends it, whoever it is, while others register."""
    outcomes = module(impl, "node.outcomes").Outcomes(10**9)
    made = [futures.Future() for _ in range(60)]
    size = 70
    last = size * len(made)

    def register():
        for at, future in enumerate(made):
            outcomes.register_many(1 + at * size, size, future)

    def refuse(step):
        for at in range(0, last, step):
            outcomes.refuse(1 + at, step, last, REASON)

    threads = [threading.Thread(target=register)]
    threads += [threading.Thread(target=refuse, args=(step,)) for step in (7, 50, 64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    refuse(size)
    assert all([str(future.exception(5)) == REASON for future in made])
    assert outcomes.ended_again == 0 and outcomes.count() == 0 and not outcomes.batches
