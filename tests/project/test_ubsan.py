"""The sanitized run (ubsan.py) in seconds: what it leaves out is there to be left out, and a report fails it.

The whole of it is ``make ubsan``, which compiles everything anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tests.tools import ubsan
from tests.tools.copies import LEFT_OUT, TRANSLATED

pytestmark = pytest.mark.once


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build directory of the test's own, as if everything were built."""
    monkeypatch.setattr(ubsan, "BUILD", tmp_path / "ubsan")
    monkeypatch.setattr(ubsan, "REPORTS", tmp_path / "ubsan" / "reports")
    return tmp_path / "ubsan"


def test_what_is_left_out_exists() -> None:
    named = LEFT_OUT + ubsan.WAITING
    assert len(set(named)) == len(named)
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []
    assert [name for name in ubsan.COPIED if not (ROOT / name).exists() and name != TRANSLATED] == []
    assert all(Path(name).name in ubsan.__doc__ for name in LEFT_OUT)


def test_the_copy_follows_the_tree(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    (tree / "raftx").mkdir(parents=True)
    (tree / "setup.py").write_text("1")
    (tree / "raftx" / "a.py").write_text("1")
    (tree / "raftx" / "a.so").write_text("of the normal build")
    monkeypatch.setattr(ubsan, "ROOT", tree)
    ubsan.copy()
    assert sorted(path.name for path in build.rglob("*") if path.is_file()) == ["a.py", "setup.py"]
    assert (build / "raftx" / "a.py").stat().st_mtime_ns == (tree / "raftx" / "a.py").stat().st_mtime_ns
    (build / "raftx" / "a.so").write_text("of this build")
    (tree / "raftx" / "a.py").rename(tree / "raftx" / "b.py")
    (tree / "setup.py").write_text("22")
    ubsan.copy()
    assert sorted(path.name for path in (build / "raftx").iterdir()) == ["a.so", "b.py"]
    assert (build / "setup.py").read_text() == "22"


def test_a_report_fails_the_run(
    build: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one of a process whose end nobody looks at."""
    monkeypatch.setattr(ubsan, "build", lambda: None)
    monkeypatch.setattr(ubsan, "probe", ubsan.clear)
    where = [str(build / "raftx" / "_core.so")]
    monkeypatch.setattr(ubsan, "imported_from", lambda *_: where[0])
    monkeypatch.setattr(ubsan, "run", lambda program: 0)
    assert ubsan.main([]) == 0

    def reports(program: list[str]) -> int:
        (build / "reports" / "report.77").write_text("x.c:1:2: runtime error: left shift")
        return 0

    monkeypatch.setattr(ubsan, "run", reports)
    assert ubsan.main([]) == 1
    assert "left shift" in capsys.readouterr().err
    monkeypatch.setattr(ubsan, "run", lambda program: 5)
    assert ubsan.main([]) == 5
    where[0] = str(ROOT / "raftx" / "_core.so")
    assert ubsan.main([]) == 2


def test_what_is_run() -> None:
    full, fast = ubsan.command([], False), ubsan.command(["-x"], True)
    assert full[:3] == [sys.executable, "-m", "tests.tools.suite"]
    assert "--impl=compiled" in full and "--impl=compiled" in fast and "not slow" not in full
    assert "not slow" in fast and "-x" in fast
    assert "--ignore=tests/node/test_node.py" in fast and "--ignore=tests/node/test_node.py" not in full
    assert ubsan.environment()["UBSAN_OPTIONS"].endswith(str(ubsan.REPORTS / "report"))
