"""The guard of instruction counts (bench/instructions.py): rules, record and operations, without valgrind."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench import instructions
from tests.helpers.implementations import IMPLEMENTATIONS

pytestmark = pytest.mark.once


def test_counts_within_the_tolerance_pass() -> None:
    record = {"a": 1000.0, "b": 200.0}
    lines, wrong = instructions.judge({"a": 1049.0, "b": 191.0}, record)
    assert wrong == {}
    assert len(lines) == 3
    assert lines[1].split() == ["a", "1,000.0", "1,049.0", "+4.9%"]


@pytest.mark.parametrize(
    ("now", "says"),
    [(1050.1, "more: find out why"), (949.9, "fewer: put it on record"), (2000.0, "more: find out why")],
)
def test_counts_beyond_it_fail(now: float, says: str) -> None:
    lines, wrong = instructions.judge({"a": now}, {"a": 1000.0})
    assert wrong == {"a": says.split(":")[0]}
    assert lines[1].endswith(says)


@pytest.mark.parametrize("now", [950.0, 1000.0, 1050.0])
def test_the_edges_of_the_tolerance_are_within_it(now: float) -> None:
    lines, wrong = instructions.judge({"a": now}, {"a": 1000.0})
    assert wrong == {}
    assert lines[1].endswith("%")


def test_an_operation_on_one_side_only_fails() -> None:
    assert instructions.judge({"a": 1.0}, {})[1] == {"a": "one side"}
    assert instructions.judge({}, {"a": 1.0})[1] == {"a": "one side"}


def test_a_loss_and_a_gain_are_told_apart() -> None:
    name = next(iter(instructions.OPERATIONS))
    loss = "\n".join(instructions.advice({name: "more"}))
    assert "a loss" in loss and "a gain" not in loss
    assert "--toggle-collect=" in loss and "callgrind_annotate" in loss
    gain = "\n".join(instructions.advice({name: "fewer"}))
    assert "a gain" in gain and "a loss" not in gain
    assert "--write" in loss and "--write" in gain


def test_the_record_is_of_the_operations() -> None:
    used, record = instructions.read()
    assert list(record) == list(instructions.OPERATIONS)
    assert len(record) == 10
    assert min(record.values()) > 10
    assert set(used) == set(instructions.tools())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    instructions.write({"a": 12.345}, {"gcc": "1.2"}, path)
    assert instructions.read(path) == ({"gcc": "1.2"}, {"a": 12.3})


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ([], "no record"),
        ({"format": 2, "tools": {}, "instructions": {"a": 1.0}}, "no record"),
        ({"format": 1, "instructions": {"a": 1.0}}, "taken with"),
        ({"format": 1, "tools": {"gcc": 12}, "instructions": {"a": 1.0}}, "taken with"),
        ({"format": 1, "tools": {}}, "no instructions"),
        ({"format": 1, "tools": {}, "instructions": {}}, "no instructions"),
        ({"format": 1, "tools": {}, "instructions": {"a": "1"}}, "'1' instructions"),
        ({"format": 1, "tools": {}, "instructions": {"a": True}}, "True instructions"),
        ({"format": 1, "tools": {}, "instructions": {"a": 0}}, "0 instructions"),
        ({"format": 1, "tools": {}, "instructions": {"a": float("nan")}}, "nan instructions"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, record: object, says: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=says):
        instructions.read(path)


@pytest.mark.parametrize("changed", [1.0, 1.2])
def test_the_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changed: float) -> None:
    used, record = instructions.read()
    counts = {name: value * changed for name, value in record.items()}
    other = {**used, "gcc": "0.1"}
    assert instructions.check(counts, used) == (0 if changed == 1.0 else instructions.CHANGED)
    assert instructions.check(counts, other) == (0 if changed == 1.0 else instructions.OTHER_TOOLS)
    said = capsys.readouterr().out
    assert ("not comparable" in said) == (changed != 1.0)
    assert ("--write" in said) == (changed != 1.0)
    # Other tools are no excuse for another list of operations.
    assert instructions.check({**counts, "a new one": 1.0}, other) == instructions.CHANGED
    # One operation alone is compared with its own record.
    name = next(iter(counts))
    assert instructions.check({name: record[name]}, used) == 0


def test_valgrind_is_understood() -> None:
    assert instructions.collected("==7== Events    : Ir\n==7== Collected : 123456\n==7==") == 123456
    with pytest.raises(ValueError, match="does not say"):
        instructions.collected("==7== nothing")


def test_without_valgrind_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(instructions.shutil, "which", lambda _: None)
    assert instructions.main([]) == instructions.IMPOSSIBLE
    assert "valgrind is not here" in capsys.readouterr().err


def test_a_build_without_symbols_is_no_gain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = subprocess.CompletedProcess([], 0, stdout="10\n", stderr="==7== Collected : 0\n")
    monkeypatch.setattr(instructions.shutil, "which", lambda _: "/usr/bin/valgrind")
    monkeypatch.setattr(instructions.raftx, "COMPILED", True)
    monkeypatch.setattr(instructions.subprocess, "run", lambda *_, **__: said)
    monkeypatch.setattr(instructions, "write", lambda *_: pytest.fail("it was put on record"))
    assert instructions.main(["--only", next(iter(instructions.OPERATIONS))]) == instructions.IMPOSSIBLE
    assert instructions.main(["--write"]) == instructions.IMPOSSIBLE
    assert "no symbols" in capsys.readouterr().err


@pytest.mark.skipif("compiled" not in IMPLEMENTATIONS, reason="the operations are long when interpreted")
@pytest.mark.parametrize("name", instructions.OPERATIONS)
def test_an_operation_runs(name: str) -> None:
    assert instructions.run(name, 2) == 2 * instructions.run(name, 1)
