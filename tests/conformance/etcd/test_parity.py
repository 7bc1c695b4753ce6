"""The parity judge (interop/) judged: golden traces of etcd's Raft, the generator, the comparer and the shrinker."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import raftx
from interop import golden, judging, parity
from interop.cluster import PANIC, Cluster, run, scenarios
from interop.cluster_member import timeout
from interop.comparisons import COMPARISONS
from interop.generate_large import LARGE, SHARE, schedule, with_large
from interop.oracle import Oracle, OracleDied
from tests.helpers.implementations import IMPLEMENTATIONS

HEAD = {"scenario": 1, "seed": 1, "nodes": [{"id": 1, "voters": [1], "start": 1}]}
LEADS = [["campaign", 1], ["ready", 1], ["persist", 1], ["apply", 1]]


@pytest.mark.slow
def test_golden_traces_of_etcd(impl: ModuleType) -> None:
    count = 0
    for head, steps, expected in golden.read(COMPARISONS["go"].golden):
        answers = run(head, steps, impl)
        different = judging.first_difference(answers, expected)
        assert different is None, f"{head['name']}\n" + judging.show(steps, answers, expected, all_steps=False)
        count += 1
    assert count >= 100


def test_golden_traces_of_large_groups(impl: ModuleType) -> None:
    count = 0
    for head, steps, expected in golden.read(COMPARISONS["go"].golden.with_name("etcd-raft-large.xz")):
        answers = run(head, steps, impl)
        different = judging.first_difference(answers, expected)
        assert different is None, f"{head['name']}\n" + judging.show(steps, answers, expected, all_steps=False)
        assert len(head["nodes"]) > 32
        count += 1
    assert count >= 5


def test_seeds_have_a_share_of_large_groups() -> None:
    assert with_large(range(9, 12)) == [9, 10, 11, LARGE + 10]
    assert with_large(range(LARGE + 10, LARGE + 12)) == [LARGE + 10, LARGE + 11]
    assert COMPARISONS["go"].seeds(range(1, 101))[100:] == [LARGE + seed for seed in range(SHARE, 101, SHARE)]
    assert COMPARISONS["rust"].seeds(range(9, 12)) == [9, 10, 11]


@pytest.mark.slow
def test_members_of_large_groups_do_not_vote_alike(impl: ModuleType) -> None:
    """Two and more campaign in one term, members grant and refuse, somebody is elected, and reads are confirmed."""
    split = refused = led = read = 0
    for seed in range(LARGE + 100, LARGE + 110):
        head, steps, answers = schedule(seed, 200, impl)
        assert run(head, steps, impl) == answers
        assert 33 <= len(head["nodes"]) <= 64
        states = [answer.split("|")[3].split(" ") for answer in answers if not answer.endswith("|||")]
        candidates: dict[str, set[str]] = {}
        for state in states:
            if state[4] == "1":
                candidates.setdefault(state[1], set()).add(state[0])
        split += any([len(ids) > 1 for ids in candidates.values()])
        refused += any([":0" in state[24] and ":1" in state[24] for state in states])
        led += any([state[4] == "2" for state in states])
        read += any([not state[26].startswith("0:") for state in states])
    assert min(split, refused, led) >= 4
    assert read >= 2


def test_golden_file_keeps_what_is_written(tmp_path: Path, impl: ModuleType) -> None:
    traces = list(golden.traces(COMPARISONS["go"], range(1, 4), lambda head, steps: run(head, steps, impl), 60, impl))
    assert golden.write(traces, tmp_path / "traces.xz") == 3
    assert list(golden.read(tmp_path / "traces.xz")) == traces


def test_a_seed_makes_one_schedule(impl: ModuleType) -> None:
    for seed in range(1, 13):
        head, steps, answers = schedule(seed, 150, impl)
        assert (head, steps, answers) == schedule(seed, 150, impl)
        # And its steps alone make the same answers.
        assert run(json.loads(json.dumps(head)), json.loads(json.dumps(steps)), impl) == answers
        assert len(steps) == 150 or answers[-1].startswith(PANIC)


@pytest.mark.once
@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="one implementation only")
def test_both_implementations_make_the_same_schedule() -> None:
    for seed in range(21, 41):
        assert schedule(seed, 150, IMPLEMENTATIONS["pure"]) == schedule(seed, 150, IMPLEMENTATIONS["compiled"])


def test_schedules_make_progress(impl: ModuleType) -> None:
    committed = changed = installed = read = restarted = 0
    for seed in range(1, 61):
        _, steps, answers = schedule(seed, 200, impl)
        committed += any(["committed=" in answer for answer in answers])
        changed += any([step[0] == "change" for step in steps])
        installed += any(["snap=" in answer for answer in answers])
        read += any(["reads=" in answer for answer in answers])
        restarted += any([step[0] == "restart" for step in steps])
    assert committed >= 50
    assert min(changed, read, restarted) >= 12
    assert installed >= 6


def test_election_timeouts_are_those_of_the_protocol(impl: ModuleType) -> None:
    assert [timeout(1, 1, term, 10) for term in range(6)] == [15, 12, 19, 19, 19, 12]
    cluster = Cluster(HEAD, impl)
    for step in LEADS:
        cluster.step(step)
    core = cluster.members[1].core
    assert (core.role, core.randomized_timeout) == (2, timeout(1, 1, core.term, 10))


def test_steps_with_nothing_to_do(impl: ModuleType) -> None:
    cluster = Cluster(HEAD, impl)
    for step in (
        ["deliver", 0], ["drop", 0], ["duplicate", 7], ["move", 0, 0], ["ready", 1], ["persist", 1], ["apply", 1],
        ["restart", 1, 0], ["snapshot", 1], ["compact", 1, 1], ["compact", 1, 2],
    ):  # fmt: skip
        assert cluster.step(step) == "nothing|||", step
    assert cluster.step(["crash", 1]) == "ok|||"
    assert cluster.step(["crash", 1]) == cluster.step(["tick", 1]) == "down|||"
    assert cluster.step(["restart", 1, 1]).startswith("ok|||1 1 0 0 0 ")


def test_a_change_that_cannot_be_applied_ends_the_scenario(impl: ModuleType) -> None:
    # Leaving a joint configuration where there is none, with nobody to refuse it.
    head = {"scenario": 1, "seed": 1, "nodes": [{"id": 1, "voters": [1], "start": 1, "validate": False}]}
    works = LEADS[1:]
    steps = [*LEADS, *works, *works, ["change", 1, "", 0, False], *works, *works, ["tick", 1]]
    answers = run(head, steps, impl)
    assert answers[-1] == "panic|||"
    assert len(answers) < len(steps)


def answers_of(impl: ModuleType) -> Any:
    """A fake oracle: raftx itself."""
    return lambda head, steps: run(head, steps, impl)


def wrong_about(mark: str, impl: ModuleType) -> Any:
    """A fake oracle that says something else wherever an answer has ``mark`` in it."""
    return lambda head, steps: [answer.replace(mark, "wrong") for answer in run(head, steps, impl)]


def test_the_same_answers_do_not_differ(impl: ModuleType) -> None:
    head, steps, _ = schedule(3, 80, impl)
    assert judging.Judge(answers_of(impl), impl).difference(head, steps) is None


def test_a_wrong_answer_is_noticed_and_shrunk(impl: ModuleType) -> None:
    judge = judging.Judge(wrong_about("committed=", impl), impl)
    head, steps, answers = schedule(4, 200, impl)
    first = next(number for number, answer in enumerate(answers) if "committed=" in answer)
    assert judge.difference(head, steps) == first
    small, fewer = judge.shrink(head, steps)
    assert judge.difference(small, fewer) == len(fewer) - 1
    # One voter is elected alone and commits its first entry: nothing shorter commits anything.
    assert len(small["nodes"]) == 1
    assert [step[0] for step in fewer if step[0] != "apply"] == [
        "campaign",
        "ready",
        "persist",
        "ready",
        "persist",
        "ready",
    ]
    for number in range(len(fewer)):
        assert judge.difference(small, fewer[:number] + fewer[number + 1 :]) is None


def test_a_missing_answer_is_a_difference() -> None:
    assert judging.first_difference(["a", "b"], ["a", "b"]) is None
    assert judging.first_difference(["a", "b"], ["a", "c"]) == 1
    assert judging.first_difference(["a", "b"], ["a"]) == 1
    assert judging.first_difference([], ["a"]) == 0


def test_explain_names_what_differs(impl: ModuleType) -> None:
    answer = Cluster(HEAD, impl).step(["tick", 1])
    words = answer.split(" ")
    other = " ".join([words[0], "7", *words[2:]])
    assert judging.explain(answer, other) == ["    term: raftx 1   oracle 7"]


def test_a_harness_is_an_oracle(tmp_path: Path) -> None:
    """raftx's own session program on the other side of the whole machinery."""
    told = []
    oracle = Oracle([sys.executable, "-m", "interop.cluster"])
    try:
        comparer = parity.Comparer(COMPARISONS["go"], oracle, raftx, lambda *what: told.append(what) is None)
        comparer.run(range(1, 5), 60)
        head, steps, answers = schedule(9, 60)
        assert oracle.ask(head, steps) == answers
    finally:
        oracle.close()
    assert told == [("done", (4, 240))]


def test_an_oracle_that_dies_says_why() -> None:
    oracle = Oracle([sys.executable, "-c", "raise SystemExit('no scenario for me')"])
    try:
        with pytest.raises(OracleDied, match="no scenario for me"):
            oracle.ask(HEAD, LEADS)
    finally:
        oracle.close()


def test_a_written_scenario_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    judging.write_scenario(path, HEAD, LEADS)
    with path.open() as lines:
        assert list(scenarios(lines)) == [(HEAD, LEADS, True)]
