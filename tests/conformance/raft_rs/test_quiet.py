"""Quiet schedules: raftx against what raft-rs answered, the harness, the generator, and the list of what may differ."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest

import raftx
from interop import differences, golden, judging, parity
from interop.allowed import RULES, Answer, Difference, allowed
from interop.cluster import checksums
from interop.comparisons import COMPARISONS
from interop.oracle import Oracle
from interop.quiet import QuietCluster, run_quiet
from interop.quiet_generate import THEMES, QuietGenerator, quiet_schedule
from tests.helpers.implementations import IMPLEMENTATIONS

RUST = COMPARISONS["rust"]
THREE = [{"id": id, "voters": [1, 2, 3], "start": 1} for id in (1, 2, 3)]
SHOWN = json.loads(differences.PATH.read_text())


def head(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"scenario": 1, "quiet": True, "seed": 1, "nodes": nodes}


def no_oracle(head: dict[str, Any], steps: list[list[Any]]) -> list[str]:
    raise AssertionError("the oracle is asked for what was not recorded")


# --- raft-rs's answers ---------------------------------------------------------------------------


def test_golden_traces_of_raft_rs(impl: ModuleType) -> None:
    count = ended = 0
    for head, steps, theirs in golden.read(RUST.golden):
        ours = run_quiet(head, steps, impl)
        count += 1
        at = judging.first_difference(ours, theirs)
        if at is None:
            continue

        def both(head: Any, more: Any, ours: Any = ours) -> tuple[Sequence[str], Sequence[str]]:
            # Without raft-rs nobody can say where it would have settled: that its lag is one is all there is to see.
            return run_quiet(head, more, impl), run_quiet(head, more, impl)

        rule = allowed(Difference(head, steps, at, ours, theirs, both))
        assert rule is not None, f"{head['name']}\n" + judging.show(steps, ours, theirs, all_steps=False)
        ended += 1
    assert count == 200
    assert ended <= 0.05 * count + 3


@pytest.mark.parametrize("shown", SHOWN, ids=[shown["rule"] for shown in SHOWN])
def test_a_chosen_difference(shown: dict[str, Any], impl: ModuleType) -> None:
    """What both answer to the shortest schedule that shows a rule, and that it is this rule which allows it."""
    steps, ours = shown["steps"], shown["ours"]
    assert run_quiet(shown["head"], steps, impl) == ours
    asked = [(steps, answers) for steps, answers in shown["asked"]]
    theirs = asked[0][1]
    at = judging.first_difference(ours, theirs)
    assert at == len(steps) - 1

    def both(head: dict[str, Any], more: list[list[Any]]) -> tuple[list[str], list[str]]:
        (answers,) = [answers for taken, answers in asked if taken == more]
        return run_quiet(head, more, impl), answers

    rule = allowed(Difference(shown["head"], steps, at, ours, theirs, both))
    assert rule is not None
    assert rule.name == shown["rule"]


def test_every_rule_is_shown() -> None:
    assert [shown["rule"] for shown in SHOWN] == [rule.name for rule in RULES]
    assert len({rule.name for rule in RULES}) == len(RULES)


# --- the list of what may differ -----------------------------------------------------------------


def _tampered(answer: str) -> list[tuple[str, str]]:
    """(what is wrong, answer) in some ways in which no correct Raft differs from another."""
    result, reads, states = answer.split("|")
    found = [("result", f"{'dropped' if result == 'ok' else 'ok'}|{reads}|{states}"), ("panic", "panic||")]
    if reads:
        found.append(("reads", f"{result}||{states}"))
    words = states.split(";")
    for number, word in enumerate(words):
        fields = word.split(" ")
        if len(fields) < 9 or fields[4] != "2":
            continue
        changes: list[tuple[str, int, str]] = [
            ("sum", 7, "0badc0de"),
            ("conf", 8, "1,9////0"),
            ("commit", 5, str(int(fields[5]) + 1)),
        ]
        for name, place, value in changes:
            other = [*fields[:place], value, *fields[place + 1 :]]
            found.append(
                (name, f"{result}|{reads}|{';'.join([*words[:number], ' '.join(other), *words[number + 1 :]])}")
            )
    return found


def test_mistakes_are_not_allowed(impl: ModuleType) -> None:
    """A leader that commits too much, applies another entry, has another configuration, loses a read or an answer."""
    tried = dict.fromkeys(("result", "panic", "reads", "sum", "conf", "commit"), 0)
    for seed in range(1, 90):
        head, steps, answers = quiet_schedule(seed, 40, impl)
        if any([step[0] in ("transfer", "change", "request_snapshot", "priority") for step in steps]):
            continue  # a rule may speak of these
        if head["nodes"][0].get("max_inflight"):
            continue

        def both(head: Any, more: Any) -> tuple[list[str], list[str]]:
            # What is wrong stays wrong.
            right = run_quiet(head, more, impl)
            return right, [*right[:-1], _tampered(right[-1])[-1][1]]

        for at in range(len(steps)):
            if at % 7 and not answers[at].split("|")[1]:
                continue
            for name, wrong in _tampered(answers[at]):
                # Ours is the one that is wrong.
                ours = [*answers[:at], wrong]
                deposed = Difference(head, steps, at, ours, answers, both).deposed()
                if deposed or (name == "panic" and steps[at][0] == "campaign"):
                    continue
                rule = allowed(Difference(head, steps, at, ours, answers, both))
                assert rule is None, (seed, at, name, rule)
                tried[name] += 1
    assert min(tried.values()) >= 3, tried


def test_an_answer_is_taken_apart() -> None:
    answer = Answer("ok|1:5:6331 2:6:6332|1 2 1 1 2 9 8 0a0b0c0d 1,2/1,3/4//1;2 down")
    assert answer.reads == {"1:5:6331", "2:6:6332"}
    state = answer.members[1]
    assert state is not None
    assert (state.term, state.vote, state.lead, state.role, state.commit, state.applied) == (2, 1, 1, 2, 9, 8)
    assert (state.members, state.voters) == ({1, 2, 3, 4}, {1, 2, 3})
    assert answer.members[2] is None
    assert set(answer.leaders()) == {1}
    assert Answer("panic||").members == {}


# --- the harness ---------------------------------------------------------------------------------


def test_an_input_ends_where_nothing_moves(impl: ModuleType) -> None:
    cluster = QuietCluster(head(THREE), impl)
    assert cluster.step(["campaign", 2]).startswith("ok||1 2 2 2 0 2 2 ")
    cluster.step(["propose", 1, "a"])  # passed on to the leader
    states = [member.text().split(" ") for member in cluster.members.values()]
    assert {state[5] for state in states} == {"3"}
    assert len({state[7] for state in states}) == 1
    assert cluster.step(["read", 3, "c"]).split("|")[1] == "3:3:63"


def test_a_cut_link_loses_what_comes_over_it(impl: ModuleType) -> None:
    cluster = QuietCluster(head(THREE), impl)
    cluster.step(["campaign", 1])
    cluster.step(["links", [[1, 3]]])
    cluster.step(["propose", 1, "a"])
    assert [member.core.committed for member in cluster.members.values()] == [3, 3, 2]
    cluster.step(["links", []])
    cluster.step(["tick", 1])
    assert [member.core.committed for member in cluster.members.values()] == [3, 3, 3]


def test_a_member_that_is_down(impl: ModuleType) -> None:
    cluster = QuietCluster(head(THREE), impl)
    assert cluster.step(["restart", 1, 1]).startswith("nothing|")
    assert cluster.step(["crash", 1]).startswith("ok||1 down;")
    for step in (["crash", 1], ["campaign", 1], ["propose", 1, "a"], ["compact", 1, 0], ["read", 1, "c"], ["ping", 7]):
        assert cluster.step(step).startswith("down|"), step
    assert cluster.step(["restart", 1, 1]).startswith("ok||1 1 0 0 0 ")


def test_compacting_makes_a_snapshot_that_catches_others_up(impl: ModuleType) -> None:
    cluster = QuietCluster(head(THREE), impl)
    cluster.step(["campaign", 1])
    cluster.step(["links", [[1, 3], [3, 1]]])
    cluster.step(["propose", 1, "a", "b"])
    assert cluster.step(["compact", 1, 0]).startswith("ok|")
    assert cluster.step(["compact", 1, 0]).startswith("nothing|")
    cluster.step(["links", []])
    cluster.step(["tick", 1])
    cluster.step(["tick", 1])
    sums = {member.chain for member in cluster.members.values()}
    assert len(sums) == 1
    assert cluster.members[3].snapshot.index == 4


def test_a_refused_snapshot_is_not_sent_again_and_again(impl: ModuleType) -> None:
    """The snapshot is from before the member was one, so that it is refused: heartbeats pace the next one."""
    cluster = QuietCluster(head([{"id": 1, "voters": [1], "start": 1}, {"id": 2}]), impl)
    for step in (["campaign", 1], ["propose", 1, "a"], ["compact", 1, 0], ["change", 1, "l2", 0, True], ["tick", 1]):
        assert cluster.step(step).startswith("ok|"), step
    assert cluster.members[2].core.committed == 0
    # One that knows the member is taken.
    for step in (["compact", 1, 0], ["tick", 1], ["tick", 1]):
        assert cluster.step(step).startswith("ok|"), step
    assert cluster.members[2].core.committed == cluster.members[1].core.committed


def test_without_broadcast_the_commit_index_waits_for_a_heartbeat(impl: ModuleType) -> None:
    """Also for who acknowledges after the commit (skip_bcast_commit)."""
    nodes = [{**node, "skip_bcast_commit": True} for node in THREE]
    cluster = QuietCluster(head(nodes), impl)
    cluster.step(["campaign", 1])
    cluster.step(["tick", 1])
    cluster.step(["propose", 1, "a"])
    assert [member.core.committed for member in cluster.members.values()] == [3, 2, 2]
    cluster.step(["tick", 1])
    assert [member.core.committed for member in cluster.members.values()] == [3, 3, 3]


def test_heads_and_steps_that_are_none(impl: ModuleType) -> None:
    with pytest.raises(ValueError, match="quiet"):
        QuietCluster({"scenario": 1, "nodes": []}, impl)
    cluster = QuietCluster(head(THREE), impl)
    assert cluster.step(["dance", 1]).startswith("raised ValueError: an unknown step: dance")
    assert cluster.over


# --- the generator -------------------------------------------------------------------------------


def test_a_seed_makes_one_schedule(impl: ModuleType) -> None:
    for seed in range(1, 13):
        head, steps, answers = quiet_schedule(seed, 30, impl)
        assert (head, steps, answers) == quiet_schedule(seed, 30, impl)
        assert run_quiet(json.loads(json.dumps(head)), json.loads(json.dumps(steps)), impl) == answers


@pytest.mark.once
@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="one implementation only")
def test_both_implementations_make_the_same_schedule() -> None:
    for seed in range(21, 61):
        assert quiet_schedule(seed, 30, IMPLEMENTATIONS["pure"]) == quiet_schedule(
            seed, 30, IMPLEMENTATIONS["compiled"]
        )


def test_schedules_get_everywhere(impl: ModuleType) -> None:
    inputs: set[str] = set()
    themes: set[str] = set()
    read = joint = restored = led_by_others = 0
    for seed in range(1, 161):
        generator = QuietGenerator(seed, 40, impl)
        generator.run()
        themes.add(generator.theme)
        inputs |= {step[0] for step in generator.steps}
        text = "".join(generator.answers)
        read += any([answer.split("|")[1] for answer in generator.answers])
        joint += "/1;" in text
        start = max([node.get("start", 0) for node in generator.head["nodes"]])
        restored += any([member.snapshot.index > start and member.raw is not None for member in generator.members])
        led_by_others += len({member.core.lead for member in generator.members if member.core is not None} - {0, 1}) > 0
    assert themes == set(THEMES)
    assert inputs >= {
        "tick", "campaign", "propose", "change", "read", "transfer", "crash", "restart", "compact", "links", "ping",
        "request_snapshot", "priority", "groups",
    }  # fmt: skip
    assert min(read, restored, led_by_others) >= 20
    assert joint >= 3


# --- the judge -----------------------------------------------------------------------------------


def test_a_harness_is_an_oracle() -> None:
    told: list[tuple[str, Any]] = []
    oracle = Oracle([sys.executable, "-m", "interop.quiet"])
    try:
        comparer = parity.Comparer(RUST, oracle, raftx, lambda *what: told.append(what) is None)
        comparer.run(range(1, 7), 20)
    finally:
        oracle.close()
    assert told == [("done", (6, 120))]


class Liar:
    """An oracle that answers like raftx, but changes the last part of what it says of some schedules."""

    def __init__(self, lie: Callable[[list[str]], list[str]]) -> None:
        self.lie = lie
        self.waiting: list[str] = []

    def ask(self, head: dict[str, Any], steps: list[list[Any]]) -> list[str]:
        return self.lie(run_quiet(head, steps))

    def send(self, head: dict[str, Any], steps: list[list[Any]]) -> None:
        self.waiting.append(checksums(self.ask(head, steps)))

    def receive(self) -> str:
        return self.waiting.pop(0)


def test_a_difference_stops_the_run_and_is_shrunk() -> None:
    def lie(answers: list[str]) -> list[str]:
        # Who applies anything applies something else.
        return [answer.replace(" 3 3 ", " 3 4 ") for answer in answers]

    told: list[tuple[str, Any]] = []
    parity.Comparer(RUST, Liar(lie), raftx, lambda *what: told.append(what) is None).run(range(1, 30), 30)  # type: ignore[arg-type]
    kinds = [kind for kind, _ in told]
    assert kinds.count("difference") == 1
    seed = told[kinds.index("difference")][1][0]
    judge = judging.QuietJudge(Liar(lie).ask)
    head, steps, _ = quiet_schedule(seed, 30)
    small, fewer = judge.shrink(head, steps)
    assert judge.difference(small, fewer) == len(fewer) - 1
    assert len(fewer) <= 3


def test_an_allowed_difference_is_counted() -> None:
    shown = next(shown for shown in SHOWN if shown["rule"] == "asks the one voter" or len(shown["asked"]) == 1)
    told: list[tuple[str, Any]] = []
    theirs = shown["asked"][0][1]

    class Recorded(Liar):
        def ask(self, head: dict[str, Any], steps: list[list[Any]]) -> list[str]:
            return list(theirs)

    fake = parity.Comparison(
        "rust", "raft-rs", lambda *_: (shown["head"], shown["steps"], shown["ours"]), run_quiet, judging.QuietJudge,
        RUST.build, 40, RUST.golden,
    )  # fmt: skip
    comparer = parity.Comparer(fake, Recorded(list), raftx, lambda *what: told.append(what) is None)  # type: ignore[arg-type]
    comparer.run([7], 40)
    assert [kind for kind, _ in told] == ["allowed", "done"]
    assert told[0][1][2] == shown["rule"]


def test_outcomes_are_told() -> None:
    outcome = parity.Outcome(schedules=3000, steps=120_000, seconds=10.0)
    outcome.allowed[(39, "answers")] = 150
    assert outcome.good
    assert outcome.lines("raft-rs", "compiled")[0] == (
        "raft-rs: 3,000 schedules, 120,000 steps: 2,850 agreed, 150 ended by a chosen difference (5.0%), 0 different, "
        "300.0 schedules/s (compiled)"
    )
    outcome.allowed[(39, "answers")] += 1
    assert outcome.too_many
    assert not outcome.good
    assert not parity.Outcome(differing=[(1, 2)]).good


@pytest.mark.parametrize("text", ["", "9..3", "a", "3..", "..3"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        parity.seeds_of(text)


def test_explaining_a_quiet_difference() -> None:
    ours = "ok|1:2:63|1 2 1 1 2 9 8 0a0b0c0d 1////0;2 down"
    theirs = "dropped||1 2 1 1 2 9 9 0a0b0c0d 1////0;2 1 0 0 0 0 0 00000000 ////0"
    assert judging.explain(ours, theirs) == [
        "    result: raftx ok   oracle dropped",
        "    reads: raftx 1:2:63   oracle -",
        "    1 applied: raftx 8   oracle 9",
        "    raftx  2 down",
        "    oracle 2 1 0 0 0 0 0 00000000 ////0",
    ]
