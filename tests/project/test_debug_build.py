"""The run on a debug build (debug.py) in seconds: what it runs, on what, and that it takes nothing else for it.

The whole of it is ``make test-debug``, which compiles everything anew; what the checks do is in test_checks.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tests.tools import debug
from tests.tools.copies import LEFT_OUT, TREE

pytestmark = pytest.mark.once


def test_what_is_named_exists() -> None:
    assert [name for name in (*debug.FAST, *LEFT_OUT) if not (ROOT / "tests" / name).exists()] == []
    assert [name for name in TREE if not (ROOT / name).exists()] == []


def test_what_is_run() -> None:
    full, fast = debug.command([], False), debug.command(["-x"], True)
    assert full[:3] == [sys.executable, "-m", "tests.tools.suite"]
    assert "--impl=compiled" in full and "--impl=compiled" in fast
    assert "--ignore=tests/project/test_build.py" in full and "not slow" not in full
    assert "tests/native" in fast and "tests/storage" in fast and "-x" in fast


def test_only_a_debug_build_will_do(tmp_path: Path) -> None:
    """The variable with which everything is run refuses any other build before a test runs."""
    variables = debug.environment(tmp_path, False)
    assert variables["RAFTX_REQUIRE_DEBUG"] == variables["RAFTX_REQUIRE_COMPILED"] == "1"
    assert variables["PYTHONPATH"] == str(tmp_path)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAFTX_")}
    only = ["--collect-only", "-q", "-p", "no:cacheprovider", "tests/native/test_checks.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *only],
        cwd=ROOT,
        env={**kept, "RAFTX_PURE": "1", "RAFTX_REQUIRE_DEBUG": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no debug build" in done.stderr


def test_a_wrong_package_or_a_failure_to_build_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debug, "BUILD", tmp_path)
    monkeypatch.setattr(debug, "build", lambda *_: None)
    found = [str(tmp_path / "raftx" / "_core.so")]
    monkeypatch.setattr(debug, "imported_from", lambda *_: found[0])
    assert debug.main(["--build-only"]) == 0
    found[0] = str(tmp_path / "raftx" / "_core.py")
    assert debug.main(["--build-only"]) == 2
    found[0] = str(ROOT / "raftx" / "_core.so")
    assert debug.main(["--build-only"]) == 2
    assert "the wrong raftx" in capsys.readouterr().err

    def fails(*_: object) -> None:
        raise debug.Impossible("it does not compile")

    monkeypatch.setattr(debug, "build", fails)
    assert debug.main([]) == 2


def test_a_report_fails_a_sanitized_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one of a process whose end nobody looks at. What malloc says when it refuses is none."""
    monkeypatch.setattr(debug, "SANITIZED", tmp_path)
    monkeypatch.setattr(debug, "build", lambda *_: None)
    monkeypatch.setattr(debug, "probe", debug.clear)
    monkeypatch.setattr(debug, "library", lambda name: f"/lib/{name}")
    monkeypatch.setattr(debug, "imported_from", lambda *_: str(tmp_path / "raftx" / "_core.so"))
    said = ["WARNING: AddressSanitizer failed to allocate"]

    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        (tmp_path / "reports" / "report.77").write_text(said[0])
        return subprocess.CompletedProcess([], 0)

    monkeypatch.setattr(debug.subprocess, "run", run)
    assert debug.main(["--sanitize"]) == 0
    said[0] = "==77==ERROR: AddressSanitizer: heap-buffer-overflow"
    assert debug.main(["--sanitize"]) == 1
    variables = debug.environment(tmp_path, True)
    assert variables["LD_PRELOAD"] == "/lib/libasan.so"
    assert "detect_leaks=0" in variables["ASAN_OPTIONS"]
