"""Random schedules under the checker; and that the checker sees what is wrong.

RAFTX_SEED=n replays one schedule. The modes must agree in every step; a range of seeds is compared by
python -m raftx.testing.soak --modes.
"""

import os
import subprocess
import sys

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module

SCHEDULES = {"compiled": 2000, "pure": 100}
STEPS = 1000
COMPARED = 50  # seeds that both modes run

LARGE_SCHEDULES = {"compiled": 24, "pure": 3}  # of 33 to 64 members
LARGE_COMPARED = 3
# For each schedule of a large group.
REACHED_LARGE = {
    "elections": 6,
    "truncations": 8,
    "acknowledged": 6,
    "crashes": 3,
    "reads_asked": 12,
    "reads_served_by_leader": 2,
    "messages_lost": 500,
}

# What a run must have reached, for each 100 schedules: so that it cannot go blind.
REACHED = {
    "elections": 200,
    "crashes": 300,
    "crashes_with_lost_writes": 20,
    "crashes_within_a_ready": 20,
    "restarts_from_snapshot": 80,
    "restarts_of_kept_state": 50,
    "truncations": 15,
    "acknowledged": 500,
    "proposals_refused": 100,
    "messages_lost": 1000,
    "messages_repeated": 200,
    "configurations_applied": 100,
    "joint_entered": 30,
    "joint_left": 25,
    "joint_left_by_themselves": 15,
    "changes_refused": 50,
    "changes_that_did_not_fit": 0.5,
    "changes_overtaken": 0.2,
    "voters_added": 30,
    "voters_removed": 15,
    "voters_demoted": 5,
    "learners_added": 15,
    "learners_promoted": 8,
    "leaders_removed": 3,
    "members_that_came_back": 3,
    "new_ids": 40,
    "snapshots_taken": 100,
    "snapshots_sent": 50,
    "snapshots_lost": 3,
    "snapshots_restored": 30,
    "snapshots_requested": 10,
    "snapshot_reports": 50,
    "compactions": 80,
    "reads_asked": 400,
    "reads_asked_before_a_commit": 20,
    "reads_served_by_leader": 150,
    "reads_served_by_follower": 50,
    "reads_served_by_learner": 5,
    "repeated_contexts_served": 30,
    "reads_by_lease": 20,
    "transfers_asked": 100,
    "transfers_completed": 8,
    "leaders_forgotten": 10,
    "leaders_stepped_down": 10,
    "full_windows": 200,
    "split_applies": 200,
}


def seeds(mode):
    chosen = os.environ.get("RAFTX_SEED")
    return [int(chosen)] if chosen else range(SCHEDULES[mode])


@pytest.mark.slow
def test_random_schedules(impl, tell):
    mode = "compiled" if impl.COMPILED else "pure"
    schedule = module(impl, "testing.schedule").schedule
    totals = module(impl, "testing.totals").Totals()
    for seed in seeds(mode):
        totals.add(schedule(seed, STEPS).totals)
    tell(totals)
    if "RAFTX_SEED" not in os.environ:
        assert totals.steps >= STEPS * SCHEDULES[mode]
        blind = {
            name: getattr(totals, name)
            for name, least in REACHED.items()
            if getattr(totals, name) < max(1, least * SCHEDULES[mode] / 100)
        }
        assert not blind
        # Deadlocks that Raft itself has are resolved by hand: they are rare.
        assert totals.rescues <= 1 + SCHEDULES[mode] / 100
        assert totals.longest_recovery <= module(impl, "testing.recovery").LIVENESS_TICKS


@pytest.mark.slow
def test_random_schedules_of_large_groups(impl, tell):
    """Members do not all vote alike: two and three campaign in one term, and leaders keep less than half of them."""
    mode = "compiled" if impl.COMPILED else "pure"
    schedule, large = module(impl, "testing.schedule").schedule, module(impl, "testing.large")
    totals = module(impl, "testing.totals").Totals()
    sizes = []
    for seed in range(large.LARGE, large.LARGE + LARGE_SCHEDULES[mode]):
        simulation = schedule(seed, STEPS)
        totals.add(simulation.totals)
        sizes.append(len(simulation.members))
    tell(totals)
    assert min(sizes) >= large.SMALLEST and max(sizes) <= 64
    assert len(set(sizes)) > LARGE_SCHEDULES[mode] / 2
    blind = {
        name: getattr(totals, name)
        for name, least in REACHED_LARGE.items()
        if getattr(totals, name) < least * LARGE_SCHEDULES[mode]
    }
    assert not blind


def test_a_soak_has_a_share_of_large_groups(impl):
    large = module(impl, "testing.large")
    assert large.with_large(18, 4) == [18, 19, large.LARGE + 20, 21]
    assert large.with_large(large.LARGE + 19, 2) == [large.LARGE + 19, large.LARGE + 20]
    made = [module(impl, "testing.schedule").Schedule(seed) for seed in large.with_large(1, 40)]
    assert [len(each.simulation.members) > 32 for each in made] == [seed % 20 == 0 for seed in range(1, 41)]


def test_a_seed_is_a_schedule(impl):
    schedule = module(impl, "testing.schedule").schedule
    for seed in range(6):
        first, again = (schedule(seed, STEPS) for _ in range(2))
        assert first.trace == again.trace
        assert first.totals == again.totals
    assert schedule(1, STEPS).trace != schedule(2, STEPS).trace


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="one mode only in this run")
def test_the_modes_take_the_same_steps():
    """Every step of every member: the traces are equal, and so is all that is counted."""
    first_large = module(IMPLEMENTATIONS["compiled"], "testing.large").LARGE + 100
    for seed in [*range(100, 100 + COMPARED), *range(first_large, first_large + LARGE_COMPARED)]:
        first, second = (module(impl, "testing.schedule").schedule(seed, STEPS) for impl in IMPLEMENTATIONS.values())
        assert first.trace == second.trace, f"seed {seed}"
        assert str(first.totals) == str(second.totals)


def test_every_setting_and_way_to_begin_is_drawn(impl):
    """Each option is on in some schedules and off in others."""
    made = [module(impl, "testing.schedule").Schedule(seed) for seed in range(60)]
    assert {each.simulation.asynchronous for each in made} == {True, False}
    assert {bool(each.simulation.priorities) for each in made} == {True, False}
    assert {bool(each.simulation.checker.founded) for each in made} == {True, False}
    assert {len(each.simulation.members) for each in made} >= {1, 3, 5, 7}
    configs = [each.simulation.limits.config for each in made]
    for name in (
        "pre_vote", "check_quorum", "lease_reads", "forward_proposals", "batch_append", "skip_bcast_commit",
        "step_down_on_removal",
    ):  # fmt: skip
        assert {getattr(config, name) for config in configs} == {True, False}, name
    for name in (
        "max_message_bytes", "max_inflight_messages", "max_inflight_bytes", "max_uncommitted_bytes", "max_apply_bytes",
    ):  # fmt: skip
        assert len({getattr(config, name) for config in configs}) >= 3, name


def test_answers_before_the_sync_are_found(impl):
    """Members that acknowledge and vote before it is durable: found within a few schedules."""
    schedule = module(impl, "testing.schedule").schedule
    with pytest.raises(module(impl, "testing.invariants").Violation, match="RAFTX_SEED"):
        for seed in range(100):
            schedule(seed, STEPS, early_answers=True)


@pytest.mark.once
@pytest.mark.skipif("compiled" not in IMPLEMENTATIONS, reason="some hundred schedules: compiled only")
def test_vote_requests_before_the_sync_are_found():
    """The one message that etcd's list lacks: without it, a random schedule comes to a divergence."""
    impl = IMPLEMENTATIONS["compiled"]
    schedule = module(impl, "testing.schedule").schedule
    with pytest.raises(module(impl, "testing.invariants").Violation, match=r"log matching|safety|completeness"):
        for seed in range(2000):
            schedule(seed, STEPS, release_rule=False)


def test_a_failure_names_its_seed(impl):
    schedule = module(impl, "testing.schedule").schedule
    Violation = module(impl, "testing.invariants").Violation

    def fails(seed):
        try:
            schedule(seed, STEPS, early_answers=True)
        except Violation as violation:
            return str(violation)
        return ""

    seed = next(seed for seed in range(100) if fails(seed))
    assert f"RAFTX_SEED={seed}" in fails(seed)
    assert f"{STEPS} steps" in fails(seed)


def test_soak(impl, capsys):
    assert module(impl, "testing.soak").main(["--seconds", "0.3", "--seed", "5", "--steps", "300"]) == 0
    assert "no violation" in capsys.readouterr().out
    assert module(impl, "testing.soak").main(["--schedules", "3", "--seed", "5", "--steps", "300"]) == 0
    assert " 3 schedules" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.once
def test_soak_with_jobs():
    """Processes of their own; the sums are those of one process."""
    sums = []
    for jobs in ("1", "2"):
        command = [sys.executable, "-m", "raftx.testing.soak", "--schedules", "45", "--seed", "5", "--steps", "100"]
        told = subprocess.run([*command, "--jobs", jobs], check=True, capture_output=True, text=True).stdout
        sums.append(told.split("steps/s): ")[1])
    assert sums[0] == sums[1]
    assert "45 schedules" in sums[0]


def test_soak_ends_at_a_violation(impl, capsys, monkeypatch):
    soak = module(impl, "testing.soak")
    right = module(impl, "testing.schedule").schedule
    monkeypatch.setattr(soak.schedule, "schedule", lambda seed, steps: right(seed, steps, early_answers=True))
    assert soak.main(["--schedules", "100", "--seed", "0", "--steps", "800"]) == 1
    told = capsys.readouterr().out
    assert "VIOLATION" in told
    assert "python -m raftx.testing.soak --seed" in told


@pytest.mark.once
@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="one mode only in this run")
def test_soak_compares_the_modes(capsys, monkeypatch):
    soak = module(IMPLEMENTATIONS["compiled"], "testing.soak")
    assert soak.main(["--modes", "--schedules", "4", "--seed", "5", "--steps", "300"]) == 0
    capsys.readouterr()
    other = module(IMPLEMENTATIONS["pure"], "testing.schedule")
    right = other.schedule
    monkeypatch.setattr(other, "schedule", lambda seed, steps: right(seed, steps + 300))
    assert soak.main(["--modes", "--schedules", "4", "--seed", "5", "--steps", "300"]) == 1
    assert "the modes differ" in capsys.readouterr().out


class Watched:
    """A checker and what to tell it."""

    def __init__(self, impl):
        self.impl = impl
        invariants = module(impl, "testing.invariants")
        self.Violation = invariants.Violation
        self.Beginning = invariants.Beginning
        self.checker = invariants.Checker()
        for id in (1, 2, 3):
            self.checker.began(id, self.Beginning())

    def entries(self, *triples):
        return [self.impl.Entry(index, term, data) for index, term, data in triples]

    def conf(self, voters, *, outgoing=(), learners=()):
        return self.impl.ConfState(voters=tuple(voters), voters_outgoing=tuple(outgoing), learners=tuple(learners))

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


def test_checker_sees_a_disk_that_goes_back(watched):
    HardState = watched.impl.HardState
    watched.checker.kept(1, HardState(3, 0, 4))
    watched.checker.kept(1, HardState(3, 2, 4))
    watched.checker.kept(2, HardState(1, 0, 0))
    for back in (HardState(3, 2, 3), HardState(2, 2, 4), HardState(3, 1, 4), HardState(3, 0, 4)):
        with pytest.raises(watched.Violation, match="goes back"):
            watched.checker.kept(1, back)
    watched.checker.kept(1, HardState(4, 0, 4))


def test_checker_sees_logs_that_differ(watched):
    watched.checker.appended(1, watched.entries((1, 1, b"a"), (2, 1, b"b")))
    watched.checker.appended(2, watched.entries((1, 1, b"a"), (2, 2, b"c")))
    with pytest.raises(watched.Violation, match="log matching"):
        watched.checker.appended(3, watched.entries((1, 1, b"x")))
    with pytest.raises(watched.Violation, match="log matching"):
        watched.checker.appended(2, watched.entries((3, 3, b"d"), (2, 1, b"z")))


def test_checker_knows_logs_that_begin_behind_a_snapshot(watched):
    watched.checker.appended(1, watched.entries((1, 1, b"a"), (2, 1, b"b"), (3, 1, b"c")))
    watched.checker.began(2, watched.Beginning(2, 1, watched.entries((3, 1, b"c")), 2, 0))
    watched.checker.replaced(3, 2, 1)
    with pytest.raises(watched.Violation, match="log matching"):
        watched.checker.appended(3, watched.entries((3, 1, b"x")))
    with pytest.raises(watched.Violation, match="behind"):
        watched.checker.appended(2, watched.entries((2, 1, b"b")))
    with pytest.raises(watched.Violation, match="unknown"):
        watched.checker.replaced(3, 3, 2)
    with pytest.raises(watched.Violation, match="knows 2 to be committed"):
        watched.checker.replaced(2, 1, 1)
    with pytest.raises(watched.Violation, match="nobody has applied"):
        watched.checker.began(2, watched.Beginning(2, 1, (), 2, 2))


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


def test_checker_sees_what_is_restored(watched):
    conf = watched.conf((1, 2, 3))
    watched.checker.configured(1, 1, conf)
    watched.checker.apply(1, watched.entries((1, 1, b"a"), (2, 1, b"b")))
    watched.checker.restored(2, 2, 1, [b"a", b"b"], conf)
    watched.checker.restored(2, 2, 1, [b"a", b"b"], conf)
    for index, term, items in ((2, 1, [b"a", b"x"]), (2, 2, [b"a", b"b"]), (1, 1, [b"a", b"b"]), (3, 1, [b"a", b"b"])):
        with pytest.raises(watched.Violation, match="others applied else"):
            watched.checker.restored(3, index, term, items, conf)
    with pytest.raises(watched.Violation, match="it was"):
        watched.checker.restored(3, 2, 1, [b"a", b"b"], watched.conf((1, 2)))
    with pytest.raises(watched.Violation, match="has applied 2"):
        watched.checker.restored(2, 1, 1, [b"a"], conf)


def test_checker_sees_a_read_that_misses_what_was_applied(watched):
    watched.checker.apply(1, watched.entries((1, 1, b"a"), (2, 1, b"b")))
    watched.checker.asked(2, b"r")
    watched.checker.answered(2, b"r", 2)
    with pytest.raises(watched.Violation, match="was to wait for 2"):
        watched.checker.served(2, b"r", 2)
    watched.checker.apply(2, watched.entries((1, 1, b"a"), (2, 1, b"b")))
    watched.checker.served(2, b"r", 2)
    with pytest.raises(watched.Violation, match="linearizable"):
        watched.checker.answered(2, b"r", 1)
    with pytest.raises(watched.Violation, match="not asked"):
        watched.checker.answered(1, b"r", 2)


def test_checker_sees_configurations_that_differ_or_do_not_follow(watched):
    checker, conf = watched.checker, watched.conf
    assert checker.configured(1, 1, conf((1, 2, 3)))
    assert not checker.configured(2, 1, conf((1, 2, 3)))
    with pytest.raises(watched.Violation, match="another one had"):
        checker.configured(3, 1, conf((1, 2)))
    for wrong in (conf((1, 4, 5)), conf((1, 4), outgoing=(1, 2)), conf(())):
        with pytest.raises(watched.Violation, match=r"does not follow|without voters"):
            checker.configured(1, 2, wrong)
    with pytest.raises(watched.Violation, match="too many"):
        checker.configured(1, 2, conf((1, 2, 3), learners=range(4, 66)))
    assert checker.configured(1, 2, conf((4, 5), outgoing=(1, 2, 3)))
    with pytest.raises(watched.Violation, match="does not follow"):
        checker.configured(1, 3, conf((4,)))
    with pytest.raises(watched.Violation, match="does not follow"):
        checker.configured(1, 3, conf((4, 5, 6), outgoing=(1, 2, 3)))
    assert checker.configured(1, 3, conf((4, 5)))
    assert checker.configuration_at(2) == conf((4, 5), outgoing=(1, 2, 3))


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


def test_limits_see_what_is_over_them(impl):
    """Bytes that wait, what is handed to a state machine, and refusals without a reason."""
    limits = module(impl, "testing.limits").Limits(
        impl.Config(id=1, max_uncommitted_bytes=10, max_apply_bytes=80, max_message_bytes=0)
    )
    Violation = module(impl, "testing.invariants").Violation
    limits.accepted(1, 0, 50)
    limits.accepted(1, 50, 50)
    limits.accepted(1, 4, 10)
    with pytest.raises(Violation, match="uncommitted"):
        limits.accepted(1, 4, 11)
    limits.refused(1, 4, 7)
    for before, size in ((0, 50), (4, 6)):
        with pytest.raises(Violation, match="refuses"):
            limits.refused(1, before, size)
    small, large = impl.Entry(1, 1, b"x"), impl.Entry(2, 1, b"x" * 100)
    assert limits.handed(1, 0, [large]) == 132
    assert limits.handed(1, 14, [small, small]) == 66
    for before, entries in ((15, [small, small]), (80, [small]), (0, [small, large])):
        with pytest.raises(Violation, match="max_apply_bytes"):
            limits.handed(1, before, entries)


def test_limits_see_a_second_snapshot_and_a_window_that_is_passed(impl):
    limits = module(impl, "testing.limits").Limits(impl.Config(id=1, max_inflight_messages=2, max_message_bytes=0))
    Violation = module(impl, "testing.invariants").Violation
    raw = impl.RawNode(impl.Config(id=1), conf_state=impl.ConfState(voters=(1, 2)))
    snapshot = impl.Message(7, to=2, sender=1, term=3)
    limits.sends(raw, snapshot, True)
    with pytest.raises(Violation, match="another snapshot"):
        limits.sends(raw, snapshot, True)
    limits.sends(raw, impl.Message(7, to=2, sender=1, term=4), True)
    limits.heard(1, 2)
    limits.sends(raw, impl.Message(7, to=2, sender=1, term=4), True)
    append = impl.Message(3, to=2, sender=1, term=4, entries=[impl.Entry(1, 4, b"a")])
    limits.sends(raw, append, True)
    limits.sends(raw, append, True)
    with pytest.raises(Violation, match="one more append"):
        limits.sends(raw, append, True)
    limits.renewed(1)
    limits.sends(raw, append, True)
    two = impl.Message(3, to=2, sender=1, term=4, entries=[impl.Entry(1, 4, b"a"), impl.Entry(2, 4, b"b")])
    with pytest.raises(Violation, match="max_message_bytes"):
        limits.sends(raw, two, True)


def votes_for_anybody(pure, monkeypatch):
    monkeypatch.setattr(module(pure, "consensus.state").State, "up_to_date", lambda self, index, term: True)


def appends_anywhere(pure, monkeypatch):
    monkeypatch.setattr(module(pure, "_core").EntryLog, "match", lambda self, index, term: index <= self.last)


def commits_what_one_has(pure, monkeypatch):
    def committed_index(voters, peers):
        return max([peers.match[slot] for slot in range(peers.count)]) if voters else 2**63 - 1

    monkeypatch.setattr(module(pure, "consensus.quorum"), "committed_index", committed_index)


def forgets_the_outgoing_half(pure, monkeypatch):
    """Half of a joint configuration decides alone."""
    quorum = module(pure, "consensus.quorum")
    monkeypatch.setattr(
        quorum, "joint_committed_index", lambda voters, outgoing, peers: quorum.committed_index(voters, peers)
    )
    monkeypatch.setattr(
        quorum,
        "joint_vote_result",
        lambda voters, outgoing, granted, refused: quorum.vote_result(voters, granted, refused),
    )


def reads_without_asking(pure, monkeypatch):
    """The commit index is given out although nobody has confirmed the leader."""
    monkeypatch.setattr(module(pure, "consensus.tracker").Tracker, "is_singleton", lambda self: True)


def reads_before_a_commit(pure, monkeypatch):
    monkeypatch.setattr(module(pure, "consensus.state").State, "committed_in_term", lambda self: True)


def windows_without_end(pure, monkeypatch):
    monkeypatch.setattr(module(pure, "_core").Inflights, "full", lambda self, slot: False)


def accepts_any_number_of_bytes(pure, monkeypatch):
    def increase(self, size):
        self.uncommitted_bytes += size
        return True

    monkeypatch.setattr(module(pure, "consensus.state").State, "increase_uncommitted", increase)


def snapshots_again_and_again(pure, monkeypatch):
    """A snapshot under way does not keep the leader from sending another one."""
    tracker = module(pure, "consensus.tracker").Tracker
    monkeypatch.setattr(tracker, "is_paused", lambda self, slot: (self.peers.paused >> slot) & 1 != 0)


def messages_of_any_size(pure, monkeypatch):
    monkeypatch.setattr(module(pure, "_core").EntryLog, "limit", lambda self, low, high, max_bytes: high)


def memberships_that_stay(pure, monkeypatch):
    """A restored snapshot does not bring its membership."""
    tracker = module(pure, "consensus.tracker").Tracker
    take = tracker.install

    def keeps(self, to, next):
        if to.anew != 2**64 - 1:
            take(self, to, next)

    monkeypatch.setattr(tracker, "install", keeps)


MISTAKES = [
    votes_for_anybody,
    appends_anywhere,
    commits_what_one_has,
    forgets_the_outgoing_half,
    reads_without_asking,
    reads_before_a_commit,
    windows_without_end,
    accepts_any_number_of_bytes,
    snapshots_again_and_again,
    messages_of_any_size,
    memberships_that_stay,
]


# Where to begin for what few schedules see: one in 1,500 does.
FIRST_SEEDS = {forgets_the_outgoing_half: 3400}


@pytest.mark.once
@pytest.mark.parametrize(
    "mistake", [pytest.param(each, marks=[pytest.mark.slow] * (each in FIRST_SEEDS)) for each in MISTAKES]
)
def test_mistakes_in_the_algorithm_are_found(mistake, monkeypatch):
    """The interpreted source with one rule left out."""
    pure = IMPLEMENTATIONS["pure"]
    mistake(pure, monkeypatch)
    first = FIRST_SEEDS.get(mistake, 0)
    with pytest.raises(module(pure, "testing.invariants").Violation):
        for seed in range(first, first + 200):
            module(pure, "testing.schedule").schedule(seed, STEPS)
