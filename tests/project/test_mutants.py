"""The mutation judge itself, in seconds: its list fits today's source, and its judges see mistakes and nothing else.

The whole of it is ``make mutants``, which takes minutes.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT, TESTS
from tests.tools import mutants
from tests.tools.mutant_judges import LIVENESS_KILLS, judge
from tests.tools.mutant_list import MUTANTS, DoesNotApply, Edit, Mutant, mutated
from tests.tools.mutant_nodes import NODES

pytestmark = [pytest.mark.once, pytest.mark.slow]

HISTORIC = 64
# Mistakes around the core that schedules of whole nodes have to see.
NODES_LEAST = 10

by_name = {mutant.name: mutant for mutant in MUTANTS}
each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


@each_mutant
def test_every_mistake_can_be_made_today(mutant: Mutant) -> None:
    """Each text to replace stands there once, and what comes of it is another program."""
    changed = mutated(ROOT, mutant)
    assert set(changed) == {edit.file for edit in mutant.edits}
    for file, text in changed.items():
        before = (ROOT / file).read_text()
        # Comments and layout make no other program.
        assert ast.dump(ast.parse(text, file)) != ast.dump(ast.parse(before, file))
        compile(text, file, "exec")


def test_the_list() -> None:
    assert len(MUTANTS) == len(by_name) >= 44
    numbers = [mutant.number for mutant in MUTANTS if mutant.number]
    assert len(numbers) == len(set(numbers))
    assert all(1 <= number <= HISTORIC for number in numbers)
    assert all(mutant.says and mutant.edits for mutant in MUTANTS)
    assert {mutant.first for mutant in MUTANTS} <= set(mutants.SUITE)
    assert [file for file in mutants.SUITE if not (TESTS / file).is_file()] == []


def program(root: Path, mutant: Mutant) -> frozenset[tuple[str, str]]:
    """What comes of a mistake, without comments and layout: the files that it changes, and what each says then."""
    return frozenset((file, ast.dump(ast.parse(text, file))) for file, text in mutated(root, mutant).items())


def same_mistakes(root: Path, mutants: Sequence[Mutant]) -> list[tuple[str, str]]:
    """Pairs of mutants that make one program of the source, however they are spelled."""
    first: dict[frozenset[tuple[str, str]], str] = {}
    found = []
    for mutant in mutants:
        name = first.setdefault(program(root, mutant), mutant.name)
        if name != mutant.name:
            found.append((name, mutant.name))
    return found


def test_no_mistake_is_there_twice() -> None:
    assert same_mistakes(ROOT, MUTANTS) == []


def test_two_spellings_of_one_mistake_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nif x:\n    y = 2\n")
    one = Mutant("one", 0, "", "", (Edit("a.py", "if x:", "if not x:"),))
    again = Mutant("again", 0, "", "", (Edit("a.py", "if x:\n    y = 2", "if  not(x):  # other\n        y = 2"),))
    other = Mutant("other", 0, "", "", (Edit("a.py", "y = 2", "y = 3"),))
    assert same_mistakes(tmp_path, [one, other, again]) == [("one", "again")]


def test_schedules_of_whole_nodes_are_asked_for_mistakes_of_nodes() -> None:
    around = ("raftx/node/", "raftx/storage/", "raftx/transport/")
    asked = [m for m in MUTANTS if m.first == NODES and all(edit.file.startswith(around) for edit in m.edits)]
    assert len(asked) >= NODES_LEAST


@pytest.mark.parametrize("times", [0, 2])
def test_a_text_that_is_not_there_once_is_an_error(tmp_path: Path, times: int) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * times)
    with pytest.raises(DoesNotApply, match=f"gone: a.py has this {times} times"):
        mutated(tmp_path, Mutant("gone", 0, "", "", (Edit("a.py", "x = 1\n", "x = 2\n"),)))


def test_a_mistake_that_cannot_be_imported_counts_for_nothing(tmp_path: Path) -> None:
    mutants.copy_source(tmp_path)
    broken = Mutant("broken", 0, "", "", (Edit("raftx/consensus/quorum.py", "VOTE_WON = 3\n", "VOTE_WON = three\n"),))
    with pytest.raises(mutants.CannotRun, match="broken cannot be imported"):
        mutants.change_source(tmp_path, broken)


# --- what counts as seen -------------------------------------------------------------------------------


def cases(*seen: str) -> list[tuple[int, object]]:
    return [(number, lambda text=text: text) for number, text in enumerate(seen, 1)]  # type: ignore[misc]


LIVENESS = "seed 1: liveness: not recovered"


def test_judging_stops_at_the_first_violation() -> None:
    assert judge(cases("", "", "two leaders", "more")) == ([(3, "two leaders")], 3, True)
    assert judge(cases("", "")) == ([], 2, False)


def test_schedules_that_fail_without_a_mistake_are_left_out() -> None:
    assert judge(cases("", "two leaders", ""), without=[2]) == ([], 2, False)


def test_one_cluster_that_does_not_come_to_rest_proves_nothing() -> None:
    few = [LIVENESS] * (LIVENESS_KILLS - 1)
    kills, count, sure = judge(cases(*few, ""))
    assert (len(kills), count, sure) == (LIVENESS_KILLS - 1, LIVENESS_KILLS, False)
    assert judge(cases(*few, "", LIVENESS, ""))[1:] == (LIVENESS_KILLS + 1, True)
    assert judge(cases(LIVENESS, "two leaders"))[2]


def test_a_schedule_that_breaks_down_or_does_not_end_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> str:
        raise IndexError("no such row")

    def endless() -> str:
        while True:
            pass

    monkeypatch.setattr("tests.tools.mutant_judges.SCHEDULE_S", 0.05)
    assert judge([(7, breaks)]) == ([(7, "IndexError: no such row")], 1, True)
    assert judge([(8, endless)]) == ([(8, "Endless: the schedule does not end")], 1, True)


def test_what_is_enough() -> None:
    def verdicts(by_simulator: int, by_go: int, by_suite: int) -> list[mutants.Verdict]:
        found = []
        for at in range(len(MUTANTS)):
            seen = {"simulator": at < by_simulator, "go": at >= len(MUTANTS) - by_go, "suite": at < by_suite}
            found.append(mutants.Verdict("", seen={name: ("1", "text") if yes else None for name, yes in seen.items()}))
        return found

    every = len(MUTANTS)
    assert mutants.passes(verdicts(10, 10, every), mutants.JUDGES)[0]
    assert not mutants.passes(verdicts(10, 9, every), mutants.JUDGES)[0]
    assert not mutants.passes(verdicts(every, 0, every - 1), mutants.JUDGES)[0]
    assert mutants.passes(verdicts(10, 9, every), ("suite",))[0]


# --- the judges on real source -------------------------------------------------------------------------


def look(target: Path, name: str | None, seeds: int, golden: bool = False) -> tuple[list[tuple[str, str]], int, bool]:
    """What a judge finds in a copy, with a mistake or without."""
    mutants.copy_source(target)
    if name is not None:
        mutants.change_source(target, by_name[name])
    arguments = ["go", str(mutants.GOLDEN)] if golden else ["simulator", "--seeds", str(seeds), "--steps", "600"]
    return mutants.schedules(target, arguments, [])


def test_the_simulator_sees_a_mistake_and_nothing_without_it(tmp_path: Path) -> None:
    kills, count, sure = look(tmp_path / "wrong", "later-terms-are-not-told", 60)
    assert sure and "refuses what node" in kills[-1][1]
    kills, others, sure = look(tmp_path / "right", None, count)
    assert (kills, sure) == ([], False)
    assert others >= count


def test_the_golden_traces_see_a_mistake(tmp_path: Path) -> None:
    kills, count, sure = look(tmp_path, "stale-read-context", 0, golden=True)
    assert sure and count <= 20 and "reads: raftx" in kills[-1][1]
