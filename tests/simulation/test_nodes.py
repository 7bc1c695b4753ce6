"""Whole nodes in one thread: random schedules under the checker, in both modes, and what they reach."""

import gc
import os
from collections import Counter

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module

SCHEDULES = {"compiled": 1000, "pure": 50}
SAME_STEPS = 500

# What so many schedules have to come to, each a thousand times: what is never reached is not judged.
REACHED = {
    "done": 10_000,
    "notdone": 2000,
    "unknown": 500,
    "elections": 1000,
    "kills": 300,
    "power cuts": 300,
    "power cuts within a round": 30,
    "crashes with lost writes": 50,
    "torn writes": 10,
    "names lost": 2,
    "repaired": 20,
    "refused": 5,
    "begun in doubt": 3,
    "failed nodes": 50,
    "stalls": 300,
    "full disks": 10,
    "shortages": 50,
    "disk failures": 30,
    "pauses": 300,
    "closed": 1000,
    "campaigns": 200,
    "transfers": 200,
    "failing state machines": 30,
    "cuts": 500,
    "frames dropped": 1000,
    "frames repeated": 1000,
    "frames reordered": 1000,
    "frames cut off": 1000,
    "truncated logs": 50,
}


def seeds(count):
    chosen = os.environ.get("RAFTX_SEED")
    return [int(chosen)] if chosen else range(count)


def results(impl, count):
    """What so many schedules came to.

    Nobody closes a node that was killed. It has descriptors, of its events, and it is part of reference cycles; Python
    seldom looks for such garbage while the tests hold as many objects as they do.
    """
    run = module(impl, "testing.nodes.schedule").run
    try:
        for done, seed in enumerate(seeds(count), 1):
            yield run(seed)
            if done % 100 == 0:
                gc.collect()
    finally:
        gc.collect()


@pytest.mark.slow
def test_schedules(impl, tell):
    """A seed that fails is run again by RAFTX_SEED=... and -k test_schedules."""
    mode = "compiled" if impl.COMPILED else "pure"
    totals = Counter()
    for result in results(impl, SCHEDULES[mode]):
        totals.update(result.totals)
    tell(", ".join(f"{count:,} {name}" for name, count in sorted(totals.items())))
    if "RAFTX_SEED" not in os.environ:
        blind = {
            name: totals[name]
            for name, least in REACHED.items()
            if totals[name] < (least * SCHEDULES[mode] / 1000 if mode == "compiled" else least >= 300)
        }
        assert not blind


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="one mode has nothing to be compared with")
def test_the_modes_take_the_same_steps():
    traces = {}
    for mode, impl in IMPLEMENTATIONS.items():
        traces[mode] = [result.trace for result in results(impl, SAME_STEPS)]
    assert traces["compiled"] == traces["pure"]
    assert len(set(traces["pure"])) == len(traces["pure"])


def test_a_seed_is_a_schedule(impl):
    run = module(impl, "testing.nodes.schedule").run
    first, second = run(7), run(7)
    assert (first.trace, first.totals) == (second.trace, second.totals)
    assert first.trace != run(8).trace


def test_a_failure_names_its_seed(impl, monkeypatch):
    nodes, checker = module(impl, "testing.nodes.schedule"), module(impl, "testing.nodes.checker")
    violation = module(impl, "testing.invariants").Violation
    monkeypatch.setattr(checker.NodeChecker, "at_end", lambda *_: (_ for _ in ()).throw(violation("nothing fits")))
    with pytest.raises(violation, match=r"^seed 3: nothing fits"):
        nodes.run(3)


# --- the checker sees what it is for ---------------------------------------------------------------


class Ended:
    """A future that has ended."""

    def __init__(self, outcome):
        self.outcome = outcome

    def add_done_callback(self, fn):
        fn(self)

    def exception(self, timeout=None):
        return self.outcome if isinstance(self.outcome, BaseException) else None

    def result(self, timeout=None):
        return self.outcome


@pytest.fixture
def watched(impl):
    """(checker, Request, a Done) of a cluster that has applied b"one" at index 1, b"two" at 2."""
    checker = module(impl, "testing.nodes.checker")
    watching = checker.NodeChecker()
    for index, data in enumerate((b"one", b"two"), 1):
        watching.applied.append((1, bytes(24) + data))
        watching.commands.append((index, data))
    return watching, checker.Request, module(impl, "node.futures").Done


def judged(checker, request, lives=None):
    checker.proposed(request)
    checker.judge_ended()
    checker.at_end({}, lives or {1: 1})


def test_outcomes_that_are_true_pass(impl, watched):
    checker, request, done = watched
    judged(checker, request([b"one"], Ended(done(1, 1, None)), 1, 1))
    judged(checker, request([b"three"], Ended(impl.NotDone("refused")), 1, 1))
    judged(checker, request([b"two"], Ended(impl.Unknown("stopped")), 1, 1))
    judged(checker, request([b"one", b"two"], Ended([done(1, 1, None), done(2, 1, None)]), 1, 1))


@pytest.mark.parametrize(
    ("data", "outcome", "says"),
    [
        (b"two", lambda impl, done: done(1, 1, None), "something else"),
        (b"one", lambda impl, done: done(1, 2, None), "something else"),
        (b"one", lambda impl, done: done(9, 1, None), "something else"),
        (b"one", lambda impl, done: impl.NotDone("refused"), "is applied"),
        (b"one", lambda impl, done: impl.Stopped("stopped"), "ended with"),
    ],
)
def test_outcomes_that_are_not_are_seen(impl, watched, data, outcome, says):
    checker, request, done = watched
    with pytest.raises(module(impl, "testing.invariants").Violation, match=says):
        judged(checker, request([data], Ended(outcome(impl, done)), 1, 1))


def test_a_future_that_ends_twice_or_never_is_seen(impl, watched):
    checker, request, done = watched
    violation = module(impl, "testing.invariants").Violation

    class Open(Ended):
        def add_done_callback(self, fn):
            pass

    class Twice(Ended):
        def add_done_callback(self, fn):
            fn(self)
            fn(self)

    with pytest.raises(violation, match="2 times"):
        judged(checker, request([b"one"], Twice(done(1, 1, None)), 1, 1))
    checker.requests.clear()
    checker.ending.clear()
    judged(checker, request([b"one"], Open(None), 1, 1), {1: 2})  # of a life that is over
    with pytest.raises(violation, match="has not ended"):
        judged(checker, request([b"one"], Open(None), 1, 2), {1: 2})


def test_a_proposal_that_is_applied_twice_is_seen(impl, watched):
    checker, _, _ = watched
    checker.commands.append((3, b"one"))
    with pytest.raises(module(impl, "testing.invariants").Violation, match="applied 2 times"):
        checker.at_end({}, {})


def test_state_machines_that_differ_are_seen(impl, watched):
    checker, _, _ = watched
    machine = module(impl, "testing.nodes.checker").Machine
    checker.at_end({1: machine(list(checker.commands))}, {})
    with pytest.raises(module(impl, "testing.invariants").Violation, match="that of node 2"):
        checker.at_end({1: machine(list(checker.commands)), 2: machine(checker.commands[:1])}, {})
