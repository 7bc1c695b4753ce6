"""The checker of histories: good and bad ones that are known, and random ones against all orders tried one by one."""

import itertools
import random

import pytest

from raftx.errors import UsageError
from raftx.testing.linearizable import CAS, READ, WRITE, Operation, check
from tests.helpers.random_histories import draw_history, run_of_one_store

pytestmark = pytest.mark.once


def read(value, invoked, returned, key="k", name=""):
    return Operation(key, READ, value, invoked, returned, name=name)


def write(value, invoked, returned=None, key="k"):
    return Operation(key, WRITE, value, invoked, returned)


def cas(expected, new, succeeded, invoked, returned=None, key="k"):
    return Operation(key, CAS, expected, invoked, returned, new=new, succeeded=succeeded)


GOOD = {
    "nothing": [],
    "one after the other": [write(1, 0, 1), read(1, 2, 3), cas(1, 2, True, 4, 5), read(2, 6, 7)],
    "a key that was never written": [read(None, 0, 1)],
    "reads during a write see either": [write(1, 0, 10), read(None, 1, 2), read(1, 3, 4)],
    "concurrent writes in the other order": [write(1, 0, 5), write(2, 1, 4), read(1, 6, 7)],
    "what touches is concurrent": [write(1, 0, 2), read(None, 2, 3)],
    "an unknown write that took effect later": [write(1, 0), write(2, 1, 2), read(2, 3, 4), read(1, 5, 6)],
    "an unknown write that never did": [write(1, 0), write(2, 1, 2), read(2, 3, 4), read(2, 50, 60)],
    "an unknown cas that succeeded": [write(1, 0, 1), cas(1, 2, None, 2), read(1, 3, 4), read(2, 5, 6)],
    "an unknown cas that did not": [write(1, 0, 1), cas(7, 2, None, 2), read(1, 3, 4)],
    "a cas whose answer says nothing": [write(1, 0, 1), cas(1, 2, None, 2, 3), read(2, 4, 5)],
    "a cas that fails because of an unknown write": [cas(None, 2, False, 5, 6), write(1, 0)],
    "keys are apart": [write(1, 0, 1, "a"), read(None, 2, 3, "b"), read(1, 2, 3, "a")],
    "a read without an outcome says nothing": [write(1, 0, 1), Operation("k", READ, 9, 2)],
}
# With the operation that cannot be placed, and how many it takes to see that.
BAD = {
    "a stale read": ([write(1, 0, 1), write(2, 2, 3), read(1, 4, 5), read(2, 6, 7)], read(1, 4, 5), 2),
    "a lost write": ([write(1, 0, 1), read(None, 2, 3)], read(None, 2, 3), 1),
    "reads that go back": ([write(1, 0, 20), read(1, 1, 2), read(None, 3, 4)], read(None, 3, 4), 2),
    "a cas that succeeded twice": (
        [write(1, 0, 1), cas(1, 2, True, 2, 5), cas(1, 3, True, 3, 6), read(3, 7, 8)], cas(1, 3, True, 3, 6), 2,
    ),
    "a cas that failed for no reason": ([write(1, 0, 1), cas(1, 2, False, 2, 3)], cas(1, 2, False, 2, 3), 1),
    "a cas that succeeded on another value": ([write(1, 0, 1), cas(9, 2, True, 2, 3)], cas(9, 2, True, 2, 3), 0),
    "a value that nobody wrote": ([write(1, 0, 1), read(5, 2, 3)], read(5, 2, 3), 0),
    "a value from the future": ([read(1, 0, 1), write(1, 2, 3)], read(1, 0, 1), 0),
    "an unknown write that took effect twice": (
        [write(1, 0), read(1, 1, 2), write(2, 3, 4), read(2, 5, 6), read(1, 7, 8), write(7, 9, 10)], read(1, 7, 8), 3,
    ),
    "a write that came back": (
        [write(1, 0, 1), write(2, 2, 3), read(2, 4, 5), read(2, 4, 6), read(1, 7, 8)], read(1, 7, 8), 2,
    ),
    "a cas whose answer says nothing, and did neither": (
        [write(1, 0, 1), cas(1, 2, None, 2, 3), read(1, 4, 5)], read(1, 4, 5), 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_histories(name):
    verdict = check(GOOD[name])
    assert verdict.ok is True and verdict.operation is None and verdict.explanation == ""


@pytest.mark.parametrize("name", BAD)
def test_bad_histories(name):
    history, operation, beside = BAD[name]
    others = [read(None, 0, 1, key=key) for key in ("a", "z")]
    verdict = check([*others, *history])
    assert verdict.ok is False and verdict.key == "k"
    assert verdict.operation == operation
    assert len(verdict.beside) <= beside
    # What it says is enough to see it, and speaks of them all.
    assert check([operation, *verdict.beside]).ok is False
    assert verdict.explanation.startswith(f"{operation.describe()} cannot be placed")
    assert all(each.describe() in verdict.explanation for each in verdict.beside)


def test_the_order_in_which_they_are_given_does_not_matter():
    for name, (history, operation, _) in BAD.items():
        assert check(reversed(history)).operation == operation, name


def test_what_a_key_has_at_first():
    assert check([read(0, 0, 1)], initial=0).ok
    assert check([read(0, 0, 1)]).explanation.endswith(
        "the key has None at first, and nothing else could have changed it"
    )


def test_words():
    assert cas("x", "y", True, 0.5, 0.75).describe() == "cas('k', 'x' -> 'y') succeeded [0.5, 0.75]"
    assert cas("x", "y", False, 0, 1).describe() == "cas('k', 'x' -> 'y') did not succeed [0, 1]"
    assert write(1, 2).describe() == "write('k', 1) [2, outcome unknown]"
    assert read(1, 2, 3, name="client 4").describe() == "client 4: read('k') -> 1 [2, 3]"


def by_force(operations, initial=None):
    """Every set of unknown operations that happened, in every order."""
    known = [each for each in operations if each.returned is not None]
    unknown = [each for each in operations if each.returned is None and each.kind != READ]
    for count in range(len(unknown) + 1):
        for some in itertools.combinations(unknown, count):
            for order in itertools.permutations([*known, *some]):
                if fits(order, initial):
                    return True
    return False


def fits(order, state):
    latest = float("-inf")
    for each in order:
        latest = max(latest, each.invoked)
        if each.returned is not None and each.returned < latest:
            return False
        if each.kind == READ:
            if each.value != state:
                return False
        elif each.kind == WRITE:
            state = each.value
        elif each.succeeded is not None and each.succeeded != (state == each.value):
            return False
        elif state == each.value:
            state = each.new
    return True


def written(operation):
    """What it may have written; a read, and a cas that did not succeed, nothing."""
    if operation.kind == WRITE:
        return operation.value
    return operation.new if operation.kind == CAS and operation.succeeded is not False else "nothing"


def test_random_histories_against_every_order(tell):
    draw, good = random.Random(11), 0
    for number in range(1500):
        history = draw_history(draw)
        expected, verdict = by_force(history), check(history)
        assert verdict.ok is expected, (number, history)
        good += expected
        if not expected:
            assert not by_force([verdict.operation, *verdict.beside]), (number, history)
            first = verdict.operation.returned
            # Whoever may have written what is read there is there too, or it would show nothing.
            shown = [verdict.operation, *verdict.beside]
            begun = [(each.kind, each.invoked) for each in shown]
            for each in [each for each in shown if each.kind == READ]:
                writers = [other for other in history if other.invoked <= first and written(other) == each.value]
                assert all([(other.kind, other.invoked) in begun for other in writers]), (number, history)
            # It is the first: what had returned before had an order.
            before = [each for each in history if each.returned is not None and each.returned < first]
            rest = [each for each in history if each not in before and each.kind != READ and each.invoked < first]
            loose = [Operation(each.key, each.kind, each.value, each.invoked, None, each.new) for each in rest]
            assert by_force([*before, *loose]), (number, history)
    assert 300 < good < 1200
    tell(f"1,500 random histories, {good} of them linearizable")


def test_long_histories():
    for seed in range(5):
        draw = random.Random(seed)
        history = run_of_one_store(draw, 600, 6)
        assert check(history).ok is True
        # A read of what has been overwritten for a long time.
        writes = [each for each in history if each.kind == WRITE and each.returned is not None and each.key == "a"]
        old = writes[0].value
        late = [read(old, 10_000, 10_001, "a")]
        verdict = check([*history, *late])
        assert verdict.ok is False and verdict.operation == late[0] and len(verdict.beside) <= 4


def test_a_bound_on_steps():
    history = [write(number, 0, 100) for number in range(12)] + [read(99, 101, 102)]
    verdict = check(history, max_steps=500)
    assert verdict.ok is None and verdict.key == "k" and "not decided" in verdict.explanation
    assert verdict.steps >= 500
    # A key that is wrong is found all the same.
    assert check([*history, write(1, 0, 1, "b"), read(None, 2, 3, "b")], max_steps=500).key == "b"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Operation("k", "delete", 1, 0, 1), "kind must be one of read, write, cas"),
        (lambda: write(1, 5, 4), "returned must be at or after invoked"),
        (lambda: cas(1, 2, True, 0), "succeeded must be None"),
        (lambda: Operation("k", READ, 1, 0, 1, succeeded=True), "of a cas only"),
        (lambda: check([], max_steps=0), "max_steps must be an integer above 0"),
        (lambda: check([], max_steps=True), "max_steps must be an integer above 0"),
    ],
)
def test_what_is_wrong_is_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()
