"""The comparison with other libraries: its arithmetic, and that what it starts is measured.

Nothing is built or fetched here.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.peers import limits, run, spoken, systems, tables

pytestmark = pytest.mark.once

FIELDS = {
    "system", "transport", "role", "mode", "outstanding", "bytes", "durable", "entries_per_s", "p50_us", "p99_us",
    "round",
}  # fmt: skip


def row(system: str, rate: int, number: int, **fields: Any) -> dict[str, Any]:
    """One figure."""
    return {
        "system": system, "transport": "", "role": "leader", "mode": "future", "outstanding": 1, "bytes": 256,
        "durable": True, "entries_per_s": rate, "p50_us": 1e6 / rate, "p99_us": 2e6 / rate, "failed": 0,
        "round": number,
        **fields,
    }  # fmt: skip


def test_a_cluster_is_measured_and_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "ROOT", str(tmp_path / "members"))
    # The limits have a test of their own.
    monkeypatch.setattr(limits, "measured", lambda *_: [row("limit", 5000, 0, mode="TCP round trip")])
    path = tmp_path / "all.json"
    asked = ["--rounds", "1", "--seconds", "0.1", "--levels", "1,8", "--sizes", "16", "--only", "raftx-tcp"]
    monkeypatch.setattr(sys, "argv", ["run", *asked, "--json", str(path)])
    run.main()
    rows = json.loads(path.read_text())
    assert all(set(each) >= FIELDS for each in rows)
    own = [each for each in rows if each["system"] == "raftx"]
    kinds = {(each["role"], each["mode"], each["outstanding"]) for each in own}
    assert kinds == {(r, m, o) for r in ("leader", "follower") for m in ("future", "many") for o in (1, 8)}
    assert all(each["entries_per_s"] > 0 and each["p99_us"] >= each["p50_us"] > 0 for each in own)
    assert all(each["durable"] and each["failed"] == 0 for each in own)
    shown = capsys.readouterr().out
    assert "16 bytes an entry, durable: entries/s" in shown
    assert "raftx over TCP, propose_many, through a follower" in shown
    assert list((tmp_path / "members").iterdir()) == []


def test_ratios_are_formed_within_a_round(capsys):
    here = systems.everything()
    rows = [
        row("raftx", 200, 1, transport="tcp"), row("hashicorp", 100, 1),
        row("raftx", 900, 2, transport="tcp"), row("hashicorp", 300, 2),
        row("raftx", 250, 3, transport="tcp"), row("hashicorp", 500, 3),
    ]  # fmt: skip
    tables.show(rows, here)
    assert "| hashicorp/raft, raft-wal | 2.00 (0.50-3.00) |" in capsys.readouterr().out


def test_what_is_not_synced_stands_apart(capsys):
    rows = [row("raftx", 200, 1, transport="tcp"), row("pysyncobj", 500, 1, transport="plain", durable=False)]
    tables.show(rows, systems.everything())
    durable, _, not_durable = capsys.readouterr().out.partition("NOT durable: entries/s")
    assert "PySyncObj" not in durable
    assert "PySyncObj, not batching" in not_durable


def test_what_was_refused_is_told(capsys):
    lost = row("raftx", 200, 1, transport="nng", failed=7, frames_dropped=3, why="full")
    tables.show([lost], systems.everything())
    assert "| raftx over NNG | 256 | 1 | 1 | 7 | 3 | full |" in capsys.readouterr().out


def test_what_cannot_be_had_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(systems, "HERE", tmp_path)
    with pytest.raises(systems.Missing, match="hashicorp is missing"):
        systems.Hashicorp().get()


def test_a_member_that_ends_is_a_failure_with_its_last_words(tmp_path):
    code = "import sys; sys.exit('no disk')"
    process = systems.Process([sys.executable, "-c", code], tmp_path / "log")
    try:
        with pytest.raises(systems.Failed, match="no disk"):
            process.answer()
    finally:
        process.end()


def test_lines_that_are_not_answers_are_passed_over(tmp_path):
    code = "print('hello'); print('3'); print('{\"leads\": true}', flush=True); input()"
    process = systems.Process([sys.executable, "-c", code], tmp_path / "log")
    try:
        assert process.answer() == {"leads": True}
    finally:
        process.end()


def test_a_member_in_python_answers_each_command(monkeypatch, capsys):
    asked = [{"do": "role"}, {"do": "load", "outstanding": 2, "seconds": 1, "bytes": 3, "mode": "many"}]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join([json.dumps(each) + "\n" for each in asked])))
    ended: list[int] = []
    monkeypatch.setattr(spoken.os, "_exit", ended.append)
    spoken.serve(lambda: True, lambda *arguments: {"asked": arguments})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"ready": True}, {"leads": True}, {"asked": [2, 1, 3, "many"]}]
    assert ended == [0]


def test_round_trips_are_those_of_one_connection():
    took = limits.round_trips(0.05)
    assert len(took) > 10
    assert min(took) > 0


def test_the_programs_in_go_have_their_sums():
    for name in ("hashicorp", "dragonboat", "etcd"):
        folder: Path = systems.HERE / name
        assert (folder / "go.mod").exists() and (folder / "go.sum").stat().st_size > 0
