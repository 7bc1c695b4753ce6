"""The guard of instruction counts (bench/instructions.py): rules, record and operations, without valgrind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import IMPLEMENTATIONS

from bench import instructions


def test_counts_within_the_tolerance_pass() -> None:
    record = {"a": 1000.0, "b": 200.0}
    lines, wrong = instructions.judge({"a": 1049.0, "b": 191.0}, record)
    assert wrong == []
    assert len(lines) == 3
    assert lines[1].split() == ["a", "1,000.0", "1,049.0", "+4.9%"]


@pytest.mark.parametrize(
    ("now", "says"),
    [(1051.0, "more: find out why"), (949.0, "fewer: put it on record"), (2000.0, "more: find out why")],
)
def test_counts_beyond_it_fail(now: float, says: str) -> None:
    lines, wrong = instructions.judge({"a": now}, {"a": 1000.0})
    assert wrong == ["a"]
    assert lines[1].endswith(says)


def test_an_operation_on_one_side_only_fails() -> None:
    assert instructions.judge({"a": 1.0}, {})[1] == ["a"]
    assert instructions.judge({}, {"a": 1.0})[1] == ["a"]


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
    path.write_text(json.dumps({"format": 2}))
    with pytest.raises(ValueError, match="no record"):
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


@pytest.mark.skipif("compiled" not in IMPLEMENTATIONS, reason="the operations are long when interpreted")
@pytest.mark.parametrize("name", instructions.OPERATIONS)
def test_an_operation_runs(name: str) -> None:
    assert instructions.run(name, 2) == 2 * instructions.run(name, 1)
