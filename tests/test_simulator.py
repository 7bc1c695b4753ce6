"""Random schedules under the checker; and that the checker sees what is wrong.

RAFTX_SEED=n replays one schedule. The modes must agree in every step.
"""

import os

import pytest
from conftest import IMPLEMENTATIONS, module

SCHEDULES = {"compiled": 300, "pure": 30}
STEPS = {"compiled": 6000, "pure": 2000}


def seeds(mode):
    chosen = os.environ.get("RAFTX_SEED")
    return [int(chosen)] if chosen else range(SCHEDULES[mode])


def test_random_schedules(impl, capsys):
    mode = "compiled" if impl.COMPILED else "pure"
    simulator = module(impl, "testing.simulator")
    totals = simulator.Totals()
    for seed in seeds(mode):
        totals.add(simulator.schedule(seed, STEPS[mode]).totals)
    with capsys.disabled():
        print(f"\n{mode}: {totals}")
    if "RAFTX_SEED" not in os.environ:
        assert totals.steps >= 2000 * SCHEDULES[mode]
        assert totals.elections
        assert totals.crashes_with_lost_writes
        assert totals.truncations
        assert totals.acknowledged


def test_a_seed_is_a_schedule(impl):
    simulator = module(impl, "testing.simulator")
    for seed in range(6):
        first, again = (simulator.schedule(seed, 1500) for _ in range(2))
        assert first.trace == again.trace
        assert first.totals == again.totals
    assert simulator.schedule(1, 1500).trace != simulator.schedule(2, 1500).trace


@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="one mode only in this run")
def test_the_modes_take_the_same_steps():
    traces = [
        [module(impl, "testing.simulator").schedule(seed, 1500).trace for seed in range(100, 112)]
        for impl in IMPLEMENTATIONS.values()
    ]
    assert traces[0] == traces[1]


def test_answers_before_the_sync_are_found(impl):
    """Members that acknowledge and vote before it is durable: found within a few schedules."""
    simulator = module(impl, "testing.simulator")
    with pytest.raises(module(impl, "testing.invariants").Violation, match="RAFTX_SEED"):
        for seed in range(40):
            simulator.schedule(seed, 2000, early_answers=True)


@pytest.mark.skipif("compiled" not in IMPLEMENTATIONS, reason="some hundred schedules: compiled only")
def test_vote_requests_before_the_sync_are_found():
    """The one message that etcd's list lacks: without it, a random schedule comes to a divergence."""
    impl = IMPLEMENTATIONS["compiled"]
    simulator = module(impl, "testing.simulator")
    with pytest.raises(module(impl, "testing.invariants").Violation):
        for seed in range(3000):
            simulator.schedule(seed, 4000, release_rule=False)


def test_a_failure_names_its_seed(impl):
    simulator = module(impl, "testing.simulator")
    Violation = module(impl, "testing.invariants").Violation

    def fails(seed):
        try:
            simulator.schedule(seed, 2000, early_answers=True)
        except Violation as violation:
            return str(violation)
        return ""

    seed = next(seed for seed in range(40) if fails(seed))
    assert f"RAFTX_SEED={seed}" in fails(seed)


def test_soak(impl, capsys):
    assert module(impl, "testing.soak").main(["--seconds", "0.3", "--seed", "5", "--steps", "500"]) == 0
    assert "no violation" in capsys.readouterr().out


class Watched:
    """A checker and entries to tell it about."""

    def __init__(self, impl):
        self.impl = impl
        self.checker = module(impl, "testing.invariants").Checker()
        self.Violation = module(impl, "testing.invariants").Violation
        for id in (1, 2, 3):
            self.checker.began(id, [])

    def entries(self, *triples):
        return [self.impl.Entry(index, term, data) for index, term, data in triples]

    def node(self, id, term, lead=0):
        """A RawNode that campaigned up to a term; alone it leads it."""
        voters = (id,) if lead else (1, 2, 3)
        conf = self.impl.ConfState(voters=voters)
        hard = self.impl.HardState(term - 1, 0, 0)
        raw = self.impl.RawNode(self.impl.Config(id=id, seed=1, pre_vote=False), conf_state=conf, hard_state=hard)
        raw.campaign()
        while raw.has_ready():
            raw.ready()
            raw.advance()
        return raw


@pytest.fixture
def watched(impl):
    return Watched(impl)


def test_checker_sees_two_leaders(watched):
    watched.checker.stepped(1, watched.node(1, 3, lead=1))
    with pytest.raises(watched.Violation, match="election safety"):
        watched.checker.stepped(2, watched.node(2, 3, lead=2))


def test_checker_sees_two_votes(watched):
    watched.checker.voted(1, 5, 2)
    watched.checker.voted(1, 5, 2)
    watched.checker.voted(1, 6, 3)
    with pytest.raises(watched.Violation, match="votes"):
        watched.checker.voted(1, 5, 3)


def test_checker_sees_logs_that_differ(watched):
    watched.checker.appended(1, watched.entries((1, 1, b"a"), (2, 1, b"b")))
    watched.checker.appended(2, watched.entries((1, 1, b"a"), (2, 2, b"c")))
    with pytest.raises(watched.Violation, match="log matching"):
        watched.checker.appended(3, watched.entries((1, 1, b"x")))
    with pytest.raises(watched.Violation, match="log matching"):
        watched.checker.appended(2, watched.entries((3, 3, b"d"), (2, 1, b"z")))


def test_checker_sees_a_gap(watched):
    with pytest.raises(watched.Violation, match="behind"):
        watched.checker.appended(1, watched.entries((2, 1, b"a")))


def test_checker_sees_what_is_applied(watched):
    watched.checker.apply(1, watched.entries((1, 1, b"a")))
    with pytest.raises(watched.Violation, match="after entry"):
        watched.checker.apply(1, watched.entries((3, 1, b"c")))
    with pytest.raises(watched.Violation, match="after entry"):
        watched.checker.apply(2, watched.entries((2, 1, b"b")))
    with pytest.raises(watched.Violation, match="state machine"):
        watched.checker.apply(3, watched.entries((1, 1, b"b")))
    watched.checker.acknowledged(1, b"a")
    with pytest.raises(watched.Violation, match="acknowledged"):
        watched.checker.acknowledged(1, b"b")
    with pytest.raises(watched.Violation, match="acknowledged"):
        watched.checker.acknowledged(7, b"a")


def test_checker_sees_a_commit_that_goes_back(watched):
    raw = watched.node(1, 2, lead=1)
    watched.checker.appended(1, raw.core.log.entries(1, raw.core.log.last))
    watched.checker.stepped(1, raw)
    watched.checker.commits[1] += 1
    with pytest.raises(watched.Violation, match="goes back"):
        watched.checker.stepped(1, raw)


def test_checker_sees_a_leader_that_lacks_an_entry(watched):
    first = watched.node(1, 2, lead=1)
    watched.checker.stepped(1, first)
    assert first.core.committed == 1
    watched.checker.committed_in[2] = 4
    with pytest.raises(watched.Violation, match="leader completeness"):
        watched.checker.stepped(2, watched.node(2, 3, lead=2))


def test_checker_sees_committed_entries_replaced(watched):
    raw = watched.node(1, 2, lead=1)
    watched.checker.appended(1, raw.core.log.entries(1, 1))
    watched.checker.stepped(1, raw)
    with pytest.raises(watched.Violation, match="committed"):
        watched.checker.appended(1, watched.entries((1, 3, b"other")))


def votes_for_anybody(pure, monkeypatch):
    monkeypatch.setattr(module(pure, "consensus.state").State, "up_to_date", lambda self, index, term: True)


def appends_anywhere(pure, monkeypatch):
    monkeypatch.setattr(module(pure, "_core").EntryLog, "match", lambda self, index, term: index <= self.last)


def commits_what_one_has(pure, monkeypatch):
    def committed_index(voters, peers):
        return max([peers.match[slot] for slot in range(peers.count)]) if voters else 2**63 - 1

    monkeypatch.setattr(module(pure, "consensus.quorum"), "committed_index", committed_index)


@pytest.mark.parametrize("mistake", [votes_for_anybody, appends_anywhere, commits_what_one_has])
def test_mistakes_in_the_algorithm_are_found(mistake, monkeypatch):
    """The interpreted source with one rule of Raft left out."""
    pure = IMPLEMENTATIONS["pure"]
    mistake(pure, monkeypatch)
    with pytest.raises(module(pure, "testing.invariants").Violation):
        for seed in range(60):
            module(pure, "testing.simulator").schedule(seed, 3000)
