"""The cluster that grows: that each part starts what it measures, and what becomes of its figures. Small numbers."""

from __future__ import annotations

import json
import sys

import pytest

from bench.growth import parts, run

pytestmark = pytest.mark.once


def measured(part, tmp_path, monkeypatch, *asked):
    monkeypatch.setattr(run, "ROOT", str(tmp_path / "members"))
    path = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["run", "--rounds", "1", "--only", part, "--json", str(path), *asked])
    run.main()
    assert not (tmp_path / "members").exists() or list((tmp_path / "members").iterdir()) == []
    return {(row["what"], row["unit"]): row["value"] for row in json.loads(path.read_text())}


def test_loads_of_several_threads(tmp_path, monkeypatch, capsys):
    rows = measured("threads", tmp_path, monkeypatch, "--seconds", "0.05")
    assert len(rows) == 9 and all(rate > 0 for rate in rows.values())
    assert "| 16 client threads, 1024 outstanding | entries/s |" in capsys.readouterr().out


def test_a_kill_and_a_return(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "TRIALS", 1)
    monkeypatch.setattr(parts, "BEHIND", 3000)
    rows = measured("failover", tmp_path, monkeypatch)
    assert 0 < rows["failover, p50", "s"] == rows["failover, longest", "s"]
    rows = measured("catch-up", tmp_path, monkeypatch)
    assert rows["a follower 3,000 entries behind", "MB/s"] > 0
    assert rows["a follower 3,000 entries behind, first entry after its start", "ms"] > 0


def test_lengths_and_restarts(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "LENGTHS", (1000, 3000))
    rows = measured("length", tmp_path, monkeypatch, "--transport", "nng")
    assert rows["log of 3,000 entries, elected and applied", "s"] > rows["log of 3,000 entries, opened", "s"] > 0


def test_what_is_idle_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "IDLE_S", 0.2)
    monkeypatch.setattr(parts, "NODES", 5)
    monkeypatch.setattr(parts, "NODES", 5)
    rows = measured("idle", tmp_path, monkeypatch)
    assert rows["idle leader", "threads"] > 3 and rows["idle follower", "MB"] > 1
    assert rows["5 idle nodes in a process", "threads"] > 5


def test_wrong_parts_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run", "--only", "weather"])
    with pytest.raises(SystemExit):
        run.main()
    assert "weather is none of members, threads" in capsys.readouterr().err
