"""The comparison of the core's speed: its arithmetic, its table, and that raftx's sides do what they count.

Nothing here needs a compiler, and no time is asserted: every case is run for as short as it can be.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import raftx
from bench import core_compare as compare
from bench import core_sides as sides
from interop import toolchains

pytestmark = pytest.mark.once

CASES = compare.cases()
OWN = compare.LOOP if raftx.COMPILED else compare.PURE


def asked(case: compare.Case) -> dict[str, Any]:
    """A case that ends after its first operations."""
    return {**case.asked, "keep": 8, "warm": 0, "seconds": 1e-9}


def answers(**times: float) -> dict[str, dict[str, Any]]:
    """Answers of some sides."""
    return {name: {"ns": ns, "work": {}} for name, ns in times.items()}


# --- raftx's sides -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_loops_do_what_they_count(case):
    answer = sides.LOOP[case.asked["case"]](asked(case))
    assert answer["count"] > 0
    assert answer["ns"] > 0
    assert answer["work"] == expected(case)


@pytest.mark.parametrize("case", [c for c in CASES if compare.has(compare.PYTHON, c)], ids=lambda case: case.name)
def test_raw_node_does_the_same_work(case):
    answer = sides.PYTHON[case.asked["case"]](asked(case))
    assert answer["count"] > 0
    assert answer["work"] == expected(case)


def expected(case: compare.Case) -> dict[str, float]:
    """What every side comes to: messages for an operation, or the committed index."""
    kind = case.asked["case"]
    if kind == "commit":
        return {"index": {3: 1007, 5: 1014, 7: 1021}[case.asked["voters"]]}
    # An append, its answer, the new commit index and the answer to that, for each of two followers.
    messages = {"three": 8, "append": 1, "ack": 2, "heartbeat": 1, "ready": 1, "one": 0, "vote": 0}
    count = case.asked["voters"] - 1 if kind == "campaign" else messages[kind]
    return {"messages": count} if count else {}


def test_a_side_lacks_only_what_has_no_interface():
    kinds = {case.asked["case"] for case in CASES}
    assert set(sides.LOOP) == kinds
    assert kinds - set(sides.PYTHON) == set(compare.WITHOUT[compare.PYTHON])


def test_logs_are_compacted_as_they_grow():
    case = sides.drive.Trio(4, 16, 64, 8)
    case.run()
    for member in case.members():
        assert member.applied == 1 + case.count == 1 + 4 * 256
        assert member.applied - member.core.log.first < 2 * 8 + 64
    member = sides.Member(1, 1, 8)
    member.lead(1)
    for _ in range(40):
        member.node.propose(b"Z")
        member.drain()
    assert member.applied == 41
    assert 8 <= member.applied - member.node.core.log.first + 1 <= 17


def test_what_does_not_add_up_is_told(monkeypatch):
    wrong = SimpleNamespace(**dict.fromkeys(("count", "spent", "sent"), 0), rounds=1)
    member = SimpleNamespace(applied=0, bytes=0, core=SimpleNamespace(committed=0))
    wrong.members = lambda: [member]

    def run():
        wrong.count += 5
        wrong.spent += 1_000_000
        member.applied += 5
        member.core.committed += 4
        member.bytes += 80

    wrong.run = run
    with pytest.raises(sides.Wrong, match="commit is 8, not 10"):
        sides._replicated({"size": 16, "batch": 1, "seconds": 1e-9, "warm": 0}, wrong)
    with pytest.raises(sides.Wrong, match="raftx is"):
        sides.serve("loop", not raftx.COMPILED)


def test_warm_up_is_as_long_as_it_has_to_be():
    calls = []

    def chunk():
        calls.append(len(calls))
        return 10, 0.5

    answer = sides.measure({"seconds": 1.0, "warm": 45}, chunk)
    assert len(calls) == 5 + 2
    assert answer == {"ns": 1.0 / 20 * 1e9, "count": 20, "seconds": 1.0, "work": {}}
    calls.clear()
    sides.measure({"seconds": 8.0, "warm": 0}, chunk)
    assert len(calls) == 4 + 16


# --- statistics and table ----------------------------------------------------------------------------


def test_a_ratio_is_formed_round_by_round():
    found = compare.ratio([10, 30, 100], [5, 10, 200])
    assert (found.middle, found.low, found.high) == (2.0, 0.5, 3.0)
    assert str(found) == "2.00x (0.50-3.00)"
    with pytest.raises(ValueError):
        compare.ratio([1], [1, 2])


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.50"), (9.994, "9.99"), (12.34, "12.3"), (1234.5, "1,234")])
def test_numbers_have_as_many_digits_as_anybody_believes(value, text):
    assert compare.number(value) == text


CASE = compare.Case("one-0-1", "one voter", {"case": "one"}, 300)


def test_the_summary_says_what_is_missed():
    rounds = [
        {"one-0-1": answers(**{compare.RUST: 200, compare.GO: 700, compare.LOOP: ns, compare.PURE: 9000})}
        for ns in (310, 320, 250)
    ]
    (line,) = compare.summarize([CASE], rounds)
    assert line.medians == {compare.RUST: 200, compare.GO: 700, compare.LOOP: 310, compare.PURE: 9000}
    assert line.ratios["etcd/raftx"].middle == 700 / 310
    assert line.missed == [
        "raft-rs/raftx is 0.65, not 1",
        "interpreted/compiled is 29.0, not 30",
        "310 ns, not 300",
    ]


def test_the_table_leaves_out_sides_that_are_missing():
    lines = compare.summarize([CASE], [{"one-0-1": answers(**{compare.LOOP: 200.4, compare.PURE: 9000})}])
    assert compare.table(lines, True).splitlines() == [
        "| ns | raftx | interpreted | interpreted/compiled |",
        "|---|---|---|---|",
        "| one voter | 200 | 9,000 | 44.9x (44.9-44.9) |",
    ]
    assert compare.table(lines, False).splitlines() == [
        "ns         raftx  interpreted  interpreted/compiled",
        "one voter    200        9,000     44.9x (44.9-44.9)",
    ]


def test_every_case_has_a_name_and_a_size_of_log_of_its_own():
    assert len({case.name for case in CASES}) == len({case.title for case in CASES}) == len(CASES)
    assert compare.log(16)["keep"] == 1024
    assert compare.log(65536) == {"size": 65536, "batch": 1, "keep": 256, "warm": 768}
    assert compare.log(256, 64, 64)["warm"] == 48


def test_the_order_rotates():
    assert [compare.rotated("abc", by) for by in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


def test_sides_that_do_other_work_are_not_compared():
    case = compare.Case("three", "three voters", {"case": "three"})
    same = {"a": {"ns": 1, "work": {"messages": 8}}, "b": {"ns": 2, "work": {"messages": 8.0}}}
    compare.same_work(case, same)
    same["b"]["work"]["messages"] = 6
    with pytest.raises(compare.SideFailed, match="not the same messages"):
        compare.same_work(case, same)
    same["b"]["work"] = {}
    with pytest.raises(compare.SideFailed, match="not the same messages"):
        compare.same_work(case, same)


# --- processes ---------------------------------------------------------------------------------------

ECHO = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"ns": float(sys.argv[1]), "count": 1, "seconds": asked["seconds"], "work": {}}), flush=True)
"""


def test_rounds_ask_every_side_for_every_case():
    names = {"slow": "20", "fast": "10", compare.PYTHON: "5"}
    started = {name: ([sys.executable, "-c", ECHO, ns], {}) for name, ns in names.items()}
    chosen = [CASE, compare.Case("vote-3", "vote result of 3", {"case": "vote"})]
    rounds = compare.run(started, chosen, 2, 0.25)
    assert len(rounds) == 2
    for each in rounds:
        assert {name: answer["ns"] for name, answer in each["one-0-1"].items()} == {
            "slow": 20, "fast": 10, compare.PYTHON: 5,
        }  # fmt: skip
        assert set(each["vote-3"]) == {"slow", "fast"}
        assert each["vote-3"]["slow"]["seconds"] == 0.25


def test_a_side_that_ends_is_told_with_what_it_said():
    started = {"broken": ([sys.executable, "-c", "raise SystemExit('the result is wrong')"], {})}
    with pytest.raises(compare.SideFailed, match=r"(?s)broken, one-0-1: no answer.*the result is wrong"):
        compare.run(started, [CASE], 1, 0.1)


def test_a_side_that_hangs_is_ended():
    side = compare.Side("silent", [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(compare.SideFailed, match="no answer"):
        side.ask(CASE, 0.1, patience=0.2)
    assert side.process.returncode is not None
    side.close()


def test_without_compilers_the_others_go_on(monkeypatch, tmp_path):
    def missing(bin: str) -> Path:
        raise toolchains.BuildFailed("the cargo command is missing")

    monkeypatch.setattr(toolchains, "build_rust", missing)
    monkeypatch.setattr(toolchains, "GO_HARNESS", tmp_path / "nothing-is-built")
    monkeypatch.setattr(toolchains.shutil, "which", lambda name: None)
    started, told = compare.commands(None, None)
    assert set(started) == ({compare.LOOP, compare.PYTHON, compare.PURE} if raftx.COMPILED else {compare.PURE})
    assert told[0] == "raft-rs is left out: the cargo command is missing"
    assert told[1].startswith("etcd/raft is left out: the go command is missing")
    started, told = compare.commands(Path("rust"), Path("go"))
    assert started[compare.RUST] == (["rust"], {})
    assert len(told) == (0 if raftx.COMPILED else 1)


def test_the_command(monkeypatch, capsys, tmp_path):
    """With raftx's own sides alone, on two cases."""

    def missing(*_: Any, **__: Any) -> Path:
        raise toolchains.BuildFailed("none")

    monkeypatch.setattr(toolchains, "build_go", missing)
    monkeypatch.setattr(toolchains, "build_rust", missing)
    out = tmp_path / "answers.json"
    command = ["core_compare.py", "--rounds", "1", "--seconds", "0.001", "--cases", "vote-", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    compare.main()
    printed = capsys.readouterr()
    assert "raft-rs is left out: none" in printed.err
    assert "vote result of 7" in printed.out
    assert "| vote result of 7 |" in printed.out
    (first,) = json.loads(out.read_text())["rounds"]
    assert set(first) == {"vote-3", "vote-5", "vote-7"}
    assert OWN in first["vote-3"]
