"""Whole nodes in one thread: random schedules under the checker, in both modes, and what they reach."""

import gc
import os
import random
from collections import Counter

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module

# Processes share them: each part is given out by itself (tests/helpers/sharing.py), and takes a minute at most.
PARTS = 8
SEEDS = {"compiled": range(2000), "pure": range(2020, 2076)}
SAME_STEPS = 30  # make soak ARGS=--modes compares more

# What a thousand schedules have to come to, compiled: what is never reached is not judged.
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
    "repaired": 10,
    "refused": 5,
    "rebuilt": 30,
    "power cuts in rebuilding": 20,
    "begun in doubt": 30,
    "still in doubt": 10,
    "damaged newest batches": 20,
    "damaged nothing": 16,
    "given back": 80,
    "full streams": 1000,
    "failed nodes": 50,
    "stalls": 300,
    "full disks": 60,
    "disks filled": 300,
    "diskfull": 500,
    "leaders without room": 20,
    "led by others for want of room": 10,
    "disks with room again": 20,
    "shortages": 50,
    "disk failures": 30,
    "pauses": 300,
    "closed": 1000,
    "campaigns": 200,
    "transfers": 200,
    "campaigns done": 100,
    "campaigns notdone": 50,
    "campaigns unknown": 10,
    "transfers done": 50,
    "transfers notdone": 200,
    "transfers unknown": 5,
    "failing state machines": 30,
    "cuts": 500,
    "frames dropped": 1000,
    "frames repeated": 1000,
    "frames reordered": 1000,
    "frames that came in part": 1000,
    "streams cut off in a frame": 20,
    "commands of sessions": 4000,
    "entries of sessions refused": 4000,
    "sessions done": 4000,
    "sessions sessionfenced": 800,
    "sessions sessionexpired": 300,
    "sessions unknown": 500,
    "sessions expired": 300,
    "entries with a time": 10_000,
    "frames cut off": 1000,
    "truncated logs": 50,
    "snapshots made": 3000,
    "snapshots failed": 50,
    "snapshots restored": 400,
    "begun with a snapshot": 300,
    "snapshots fetched": 90,
    "fetches given up": 5,
    "chunks fetched": 200,
    "chunks served": 200,
    "power cuts with a snapshot": 15,
}


# What a thousand come to so often, a few come to once. That the others are reached interpreted, too, follows from
# the steps, which are the same.
OFTEN = 2000


def results(impl, seeds):
    """What these schedules came to.

    Nobody closes a node that was killed. It has descriptors, of its events, and it is part of reference cycles; Python
    seldom looks for such garbage while the tests hold as many objects as they do.
    """
    run = module(impl, "testing.nodes.schedule").run
    try:
        for done, seed in enumerate(seeds, 1):
            yield run(seed)
            if done % 100 == 0:
                gc.collect()
    finally:
        gc.collect()


def seeds_of(impl, part):
    """Of the schedules of a mode those of one part, which are as many in each."""
    seeds = SEEDS["compiled" if impl.COMPILED else "pure"]
    count = len(seeds) // PARTS
    assert count * PARTS == len(seeds)
    return seeds[part * count : (part + 1) * count]


@pytest.mark.slow(40)
@pytest.mark.parametrize("part", range(1 if "RAFTX_SEED" in os.environ else PARTS), ids="shared-{}".format)
def test_schedules(impl, part, tell):
    """A seed that fails is run again by RAFTX_SEED=... and -k test_schedules."""
    chosen = os.environ.get("RAFTX_SEED")
    seeds = seeds_of(impl, part)
    totals = Counter()
    for result in results(impl, [int(chosen)] if chosen else seeds):
        totals.update(result.totals)
    tell(", ".join(f"{count:,} {name}" for name, count in sorted(totals.items())))
    if not chosen:
        least = (
            {name: max(count * len(seeds) // 1000, 1) for name, count in REACHED.items()}
            if impl.COMPILED
            else {name: 1 for name, count in REACHED.items() if count >= OFTEN}
        )
        assert {name: totals[name] for name, count in least.items() if totals[name] < count} == {}


@pytest.mark.once
@pytest.mark.slow(30)
@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="one mode has nothing to be compared with")
def test_the_modes_take_the_same_steps():
    traces = {}
    for mode, impl in IMPLEMENTATIONS.items():
        traces[mode] = [result.trace for result in results(impl, range(SAME_STEPS))]
    assert traces["compiled"] == traces["pure"]
    assert len(set(traces["pure"])) == len(traces["pure"])


def test_a_seed_is_a_schedule(impl):
    run = module(impl, "testing.nodes.schedule").run
    first, second = run(7), run(7)
    assert (first.trace, first.totals) == (second.trace, second.totals)
    assert first.trace != run(8).trace


def test_an_order_is_drawn_as_random_draws_it(impl):
    """So that a seed stays the schedule that it was."""
    shuffle = module(impl, "testing.nodes.world")._shuffle
    for seed in range(40):
        mine, theirs = list(range(seed)), list(range(seed))
        one, other = random.Random(seed), random.Random(seed)
        shuffle(mine, one.getrandbits)
        other.shuffle(theirs)
        assert mine == theirs and one.random() == other.random()


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
def parts(impl):
    """The modules that judge."""
    return {name: module(impl, f"testing.nodes.{name}") for name in ("checker", "requests", "machines", "streams")}


@pytest.fixture
def violation(impl):
    return module(impl, "testing.invariants").Violation


@pytest.fixture
def watched(impl, parts):
    """(checker, a Proposal of node 1, a Done) of three members that have applied b"one" at index 1, b"two" at 2."""
    watching = parts["checker"].NodeChecker(3)
    for index, data in enumerate((b"one", b"two"), 1):
        watching.applied.append((1, bytes(24) + data))
        watching.commands.append((index, data))
    given = parts["machines"].Given(items=list(watching.commands), results={1: "1st", 2: "2nd"})

    def proposal(future, *datas, life=1):
        return parts["requests"].Proposal(future, 1, life, datas=datas, given=given)

    return watching, proposal, module(impl, "node.futures").Done


def judged(checker, request, lives=None):
    checker.asked_for(request)
    checker.judge_ended()
    checker.at_end({}, lives or {1: 1})


def test_outcomes_that_are_true_pass(impl, watched):
    checker, proposal, done = watched
    first, second = done(1, 1, "1st"), done(2, 1, "2nd")
    judged(checker, proposal(Ended(first), b"one"))
    judged(checker, proposal(Ended(impl.NotDone("refused")), b"three"))
    judged(checker, proposal(Ended(impl.Unknown("stopped")), b"two"))
    judged(checker, proposal(Ended([first, second]), b"one", b"two"))
    partly = impl.Unknown("one of two")
    partly.outcomes = [first, impl.NotDone("refused")]
    judged(checker, proposal(Ended(partly), b"one", b"three"))


@pytest.mark.parametrize(
    ("data", "outcome", "says"),
    [
        (b"two", lambda impl, done: done(1, 1, "1st"), "something else"),
        (b"one", lambda impl, done: done(1, 2, "1st"), "something else"),
        (b"one", lambda impl, done: done(9, 1, "1st"), "something else"),
        (b"one", lambda impl, done: done(1, 1, "2nd"), "returned '1st'"),
        (b"one", lambda impl, done: [None], "without an outcome"),
        (b"one", lambda impl, done: impl.NotDone("refused"), "is applied"),
        (b"one", lambda impl, done: impl.Stopped("stopped"), "ended with"),
    ],
)
def test_outcomes_that_are_not_are_seen(impl, violation, watched, data, outcome, says):
    checker, proposal, done = watched
    with pytest.raises(violation, match=says):
        judged(checker, proposal(Ended(outcome(impl, done)), data))


def test_a_future_that_ends_twice_or_never_is_seen(violation, watched):
    checker, proposal, done = watched

    class Open(Ended):
        def add_done_callback(self, fn):
            pass

    class Twice(Ended):
        def add_done_callback(self, fn):
            fn(self)
            fn(self)

    with pytest.raises(violation, match="2 times"):
        judged(checker, proposal(Twice(done(1, 1, "1st")), b"one"))
    checker.requests.clear()
    checker.ending.clear()
    judged(checker, proposal(Open(None), b"one"), {1: 2})  # of a life that is over
    with pytest.raises(violation, match="has not ended"):
        judged(checker, proposal(Open(None), b"one", life=2), {1: 2})


def test_a_request_that_is_to_end_twice_is_seen(impl, violation, watched):
    checker, _, _ = watched
    outcomes, future = module(impl, "node.outcomes").Outcomes(10**9), impl.Future()
    outcomes.register(1, future)
    outcomes.refuse(1, 1, 1, "")
    checker.judge_once(1, outcomes)
    outcomes.register(1, future)
    outcomes.refuse(1, 1, 1, "")
    with pytest.raises(violation, match="1 requests of node 1"):
        checker.judge_once(1, outcomes)


def test_what_is_overdue_too_early_is_seen(impl, violation, watched):
    checker, proposal, _ = watched
    clock, future = impl.ManualClock(1.0), impl.Future()
    for waited, early in ((2.0, False), (1.0, True)):
        request = proposal(future, b"one")
        request.clock, request.timeout_ns = clock, 2 * 10**9
        checker.asked_for(request)
        clock.advance(waited)
        future.set_exception(impl.Unknown(module(impl, "node.outcomes").OVERDUE))
        if early:
            with pytest.raises(violation, match="is overdue after"):
                checker.judge_ended()
        else:
            checker.judge_ended()
        future = impl.Future()


@pytest.fixture
def leads(impl, parts, watched):
    """(checker, judge of a request for a leader): node 2 leads term 5, and 3 has been elected in term 7."""
    checker, _, _ = watched
    checker.leaders[5] = 2
    checker.votes[1, 7] = 3

    def judge(what, to, outcome, member=1, term=5):
        request = parts["requests"].Leadership(Ended(outcome), member, 1, what=what, to=to, term=term)
        judged(checker, request)

    return judge


def change(impl, term, leader, role=0):
    return impl.StateChange(term, leader, impl.Role(role))


def test_what_is_told_of_leaders_and_true_passes(impl, leads):
    leads("transfer", 2, change(impl, 5, 2))
    leads("transfer", 0, change(impl, 7, 3))
    leads("campaign", 2, change(impl, 5, 2, 2), member=2)
    leads("transfer", 2, impl.NotDone("member 3 leads instead, in term 7"))
    leads("campaign", 1, impl.NotDone("member 2 leads instead, in term 5"))
    leads("campaign", 1, impl.NotDone("no leader"))
    leads("campaign", 1, impl.Unknown("stopped"))


@pytest.mark.parametrize(
    ("what", "to", "outcome", "says"),
    [
        ("transfer", 3, (5, 2), "reported as done"),  # another one
        ("transfer", 0, (5, 0), "reported as done"),  # nobody
        ("transfer", 3, (5, 3), "led term 5, which 2 did"),
        ("transfer", 2, (4, 2), "reported as done"),  # before it was asked
        ("transfer", 2, (7, 2), "led term 7, which nobody did"),  # without votes
        ("transfer", 2, (5, 2, 2), "is <Role.LEADER"),
        ("transfer", 2, "member 3 leads instead, in term 5", "led term 5, which 2 did|because"),
        ("transfer", 2, "member 2 leads instead, in term 5", "because"),
        ("campaign", 1, "member 3 leads instead, in term 5", "led term 5, which 2 did"),
        ("campaign", 1, "no wish to", "nobody knows this reason"),
    ],
)
def test_what_is_told_of_leaders_and_false_is_seen(impl, violation, leads, what, to, outcome, says):
    end = impl.NotDone(outcome) if isinstance(outcome, str) else change(impl, *outcome)
    with pytest.raises(violation, match=says):
        leads(what, to, end)


def test_a_proposal_that_is_applied_twice_is_seen(violation, watched):
    checker, _, _ = watched
    checker.commands.append((3, b"one"))
    with pytest.raises(violation, match="applied 2 times"):
        checker.at_end({}, {})


def test_state_machines_that_differ_are_seen(parts, violation, watched):
    checker, _, _ = watched
    given = parts["machines"].Given

    def one(commands, first="1st"):
        return given(items=list(commands), results={1: first, 2: "2nd"})

    checker.at_end({1: one(checker.commands)}, {})
    with pytest.raises(violation, match="that of node 2"):
        checker.at_end({1: one(checker.commands), 2: one(checker.commands[:1])}, {})
    with pytest.raises(violation, match="'one' at 1 gives 'first' on node 3, it gave '1st' before"):
        checker.at_end({3: one(checker.commands, "first")}, {})


# --- streams ---------------------------------------------------------------------------------------


@pytest.fixture
def changes(impl, parts, watched):
    """(what the node shows, what the stream tells, the judge of the changes of node 1) where 2 leads term 5."""
    checker, _, _ = watched
    checker.leaders[5] = 2
    history = module(impl, "node.events").History(4)
    judge = parts["streams"].Changes(1, history.consumer())
    judge.begun_in = 4

    class Engine:
        class gauges:
            term = leader = role = failed = 0

        class core:
            term = lead = role = 0

        class applies:
            refused = 0

    def shows(*state):
        Engine.gauges.term, Engine.gauges.leader, Engine.gauges.role = state
        Engine.core.term, Engine.core.lead, Engine.core.role = state
        judge.after_round(Engine)

    def tells(*state):
        history.push(change(impl, *state))
        judge.take(checker)

    return shows, tells, judge, Engine


def test_changes_that_are_told_pass(changes):
    shows, tells, judge, _ = changes
    shows(5, 2, 0)
    shows(5, 2, 0)
    tells(4, 0, 0)  # what it began with
    tells(5, 2, 0)
    judge.all_told()


def test_changes_that_are_not_told_or_not_true_are_seen(changes, violation):
    shows, tells, judge, engine = changes
    shows(5, 2, 0)
    with pytest.raises(violation, match="do not tell"):
        judge.all_told()
    engine.core.lead = 3
    with pytest.raises(violation, match=r"shows \(5, 2, 0\), and is \(5, 3, 0\)"):
        judge.after_round(engine)
    with pytest.raises(violation, match="has not shown"):
        tells(5, 2, 0)  # and what it began with was not told
    with pytest.raises(violation, match="go back"):
        tells(4, 0, 0)
    with pytest.raises(violation, match="which 2 did"):
        tells(5, 3, 0)
    with pytest.raises(violation, match="a leader knows"):
        tells(5, 2, 2)
    with pytest.raises(violation, match="has not shown"):
        tells(6, 0, 0)
    # Where the queue was full, one may tell for several.
    engine.applies.refused = 1
    shows(7, 0, 1)
    shows(8, 0, 1)
    tells(8, 0, 1)
    judge.all_told()


def test_changes_that_are_lost_are_seen(changes, violation):
    shows, tells, judge, _ = changes
    shows(5, 2, 0)
    tells(4, 0, 0)
    for _ in range(4):
        judge.stream._history.push(judge.last)
    with pytest.raises(violation, match="1 are lost"):
        tells(5, 2, 0)


def test_streams_of_entries_that_differ_are_seen(impl, parts, violation):
    entry = module(impl, "_native.memory").Entry
    stream = module(impl, "node.events").Stream(3)
    given = parts["machines"].Given(items=[(1, b"one"), (3, b"two")])
    judge = parts["streams"].Committed(1, stream, 3, given)
    stream.push(entry(1, 1, b"one", 0))
    judge.take(5)
    with pytest.raises(violation, match="has told 1 of 2 entries, and 0 wait"):
        judge.all_told()
    stream.push(entry(3, 1, b"three", 0))
    with pytest.raises(violation, match="tells entry 3"):
        judge.take(5)
    stream.push(entry(3, 1, b"two", 0))
    judge.all_told()
    assert not judge.is_full()
    judge.take(5)
    judge.all_told()
    stream.push(entry(3, 1, b"two", 0))
    with pytest.raises(violation, match="as number 2"):
        judge.take(5)


def test_the_end_of_a_stream(impl, parts):
    ends_with = parts["streams"].ends_with
    failure = RuntimeError("it failed")
    for error, other in ((None, failure), (failure, None)):
        stream = module(impl, "node.events").Stream(10)
        assert not ends_with(stream, error)
        stream.end(error)
        assert ends_with(stream, error)
        assert not ends_with(stream, other)
