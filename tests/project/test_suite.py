"""What of a run is tried again (tests/tools/suite.py): never what crashed, and nothing that fails a second time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tests.tools import suite

pytestmark = pytest.mark.once

HEAD = """
import os, pathlib
HERE = pathlib.Path(__file__).parent

def times():
    '''How often this was called, this time included, in all runs.'''
    path = HERE / "times"
    path.write_text(path.read_text() + "x" if path.exists() else "x")
    return len(path.read_text())
"""


def run(directory: Path, body: str, *arguments: str) -> tuple[int, str, int]:
    """The tests of a file, in a process of their own: the status, what was printed, how often ``times`` was called."""
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_it.py").write_text(HEAD + body)
    quick = {"PYTEST_ADDOPTS": "-p no:cacheprovider -p xdist", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment = {**os.environ, **quick, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.tools.suite", "-n", "1", *arguments, "test_it.py"]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=300)
    path = directory / "times"
    return done.returncode, done.stdout + done.stderr, len(path.read_text()) if path.exists() else 0


@pytest.mark.slow
def test_what_passes_alone_is_named(tmp_path: Path) -> None:
    status, said, times = run(tmp_path, "def test_a(): assert times() > 1\ndef test_b(): pass\n", "-q")
    assert status == 0 and times == 1 + suite.TIMES
    assert f"PASSED ALONE {suite.TIMES} TIMES: test_it.py::test_a\n" in said


@pytest.mark.slow
def test_what_fails_once_alone_fails_the_run(tmp_path: Path) -> None:
    status, said, times = run(tmp_path, "def test_a(): assert times() not in (1, 1 + 3)\n")
    assert status == 1 and times == 4
    assert "test_it.py::test_a fails alone too" in said and "PASSED ALONE" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "def test_a(): times(); os._exit(3)\n",
        "def test_a(): times()\nraise OSError\n",
        "import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_a(n):\n if n: assert 0\n times(); assert 0\n",
    ],
    ids=["crash", "no collection", "many"],
)
def test_what_is_no_accident_is_not_tried_again(tmp_path: Path, body: str) -> None:
    status, said, times = run(tmp_path, body)
    assert status != 0 and times <= 1
    assert "is tried alone" not in said


@pytest.mark.slow
def test_a_run_that_passes_is_one_run(tmp_path: Path) -> None:
    assert run(tmp_path, "def test_a(): times()\n")[::2] == (0, 1)


def test_what_holds_for_one_test_alone() -> None:
    chosen = ["-n", "3", "--dist", "loadfile", "--impl=compiled", "-m", "not slow", "-k", "x", "tests/node", "-q"]
    assert suite.kept(chosen) == ["--impl=compiled", "-q"]
