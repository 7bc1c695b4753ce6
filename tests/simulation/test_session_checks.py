"""The checker of whole nodes sees what goes wrong with sessions and with the time of entries."""

import pytest

from tests.helpers.implementations import module

SECOND = 1_000_000_000
ENVELOPE = bytes(24)


@pytest.fixture
def parts(impl):
    return {name: module(impl, f"testing.nodes.{name}") for name in ("checker", "sessions", "machines")}


@pytest.fixture
def violation(impl):
    return module(impl, "testing.invariants").Violation


def entry(impl, index, sequence, data, time=SECOND, opening=1, acknowledged=1, what=0):
    """An entry of the session that begins with an s."""
    header = b"s" * 16 + b"".join([number.to_bytes(8, "little") for number in (opening, sequence, acknowledged)])
    return impl.Entry(index, 1, ENVELOPE + header + bytes((what, *bytes(7))) + data, 4, time)


def opened(impl, parts, ttl=1000):
    model = parts["sessions"].Model()
    data = b"t" * 16 + ttl.to_bytes(8, "little")
    assert model.command_of(entry(impl, 1, 0, data, opening=0, acknowledged=0, what=1)) is None
    assert model.openings == {1: 0}
    return model


def test_the_model_applies_once_and_in_order(impl, parts):
    model = opened(impl, parts)
    commands = [
        (entry(impl, 2, 1, b"one"), b"one"),
        (entry(impl, 3, 1, b"one"), None),
        (entry(impl, 4, 3, b"three"), None),
        (entry(impl, 5, 3, b"three", acknowledged=3), b"three"),
        (entry(impl, 6, 2, b"two"), None),
        (entry(impl, 7, 4, b"four", opening=9), None),
        (entry(impl, 8, 4, b"four", time=3 * SECOND), None),
    ]
    assert [model.command_of(each) for each, _ in commands] == [command for _, command in commands]
    assert (model.applied, model.expired) == (2, 1)


class Ended:
    """A future that has ended."""

    def __init__(self, outcome):
        self.outcome = outcome

    def exception(self, timeout):
        return self.outcome if isinstance(self.outcome, Exception) else None

    def result(self, timeout):
        return self.outcome


def test_what_users_are_told(impl, parts, violation):
    checker = parts["checker"].NodeChecker(1)
    checker.applied += [(1, b""), (1, b"..."), (1, b"...")]
    checker.commands += [(1, b"one"), (2, b"two")]
    checker.results.update({1: 5, 2: 6})

    def judged(data, outcome):
        parts["sessions"].SessionProposal(Ended(outcome), 1, 1, data=data).judge(checker, final=True)

    judged(b"one", impl.Done(1, 1, 5))
    judged(b"none", impl.NotDone("no"))
    judged(b"one", impl.Unknown("perhaps"))
    for data, outcome, says in (
        (b"one", impl.Done(1, 1, 4), "the state machine returned 5"),
        (b"one", impl.Done(2, 1, 5), "something else"),
        (b"one", impl.Done(1, 2, 5), "nobody has applied"),
        (b"one", impl.Done(9, 1, 5), "nobody has applied"),
        (b"two", impl.SessionExpired("gone"), "not done .*, and is applied"),
        (b"two", ValueError("no"), "ended with ValueError"),
    ):
        with pytest.raises(violation, match=says):
            judged(data, outcome)


def test_times(impl, parts, violation):
    checker = parts["checker"].NodeChecker(1)
    checker.now = 100 * SECOND
    checker.judge_time(1, 5, 99 * SECOND)
    checker.judge_time(2, 5, 99 * SECOND)
    with pytest.raises(violation, match="it was of"):
        checker.judge_time(3, 5, 98 * SECOND)
    with pytest.raises(violation, match="ahead of time"):
        checker.judge_time(1, 6, 3700 * SECOND)
    given = parts["machines"].Given()
    given.apply(impl.Entry(1, 1, b"a", 0, 5 * SECOND))
    with pytest.raises(violation, match="goes back"):
        given.apply(impl.Entry(2, 1, b"b", 0, 4 * SECOND))
