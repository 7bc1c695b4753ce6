"""The examples say what they promise, wherever they are copied to. Those that need more have tests of their own too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

EXAMPLES = ROOT / "examples"
#: each one, and what it says when it is asked for nothing in particular: its exit status, and a part of its output
ALONE = {
    "feature_flags.py": (("--help",), 0, "python feature_flags.py cluster.toml 1 8001 --create"),
    "lmdb_storage.py": ((), 0, ""),
    "patroni/scene.py": (("--help",), 0, "python examples/patroni/scene.py"),
    "tls_transport.py": ((), 1, "python tls_transport.py DIRECTORY"),
}


@pytest.fixture
def elsewhere(tmp_path):
    """Runs an example that was copied away: with raftx, and without the clone that it comes from."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "raftx").symlink_to(ROOT / "raftx")
    (tmp_path / "work").mkdir()
    (tmp_path / "copies").mkdir()

    def run(name, *arguments):
        copy = shutil.copy(EXAMPLES / name, tmp_path / "copies")
        return subprocess.run(
            [sys.executable, copy, *arguments], cwd=tmp_path / "work", capture_output=True, text=True, timeout=300,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        )  # fmt: skip

    probe = "import raftx, sys\ntry:\n    import examples\nexcept ImportError:\n    sys.exit(7)"
    found = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path / "work", env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    )
    assert found.returncode == 7, "the clone is there, so this would prove nothing"
    return run


def test_every_example_is_run_elsewhere():
    there = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py") if path.stat().st_size}
    assert there == {*ALONE, "growing_cluster.py", "lock_service.py"}  # these have tests below


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_an_example_runs_where_it_was_copied_to(elsewhere, name, tmp_path):
    arguments, status, says = ALONE[name]
    ran = elsewhere(name, *arguments)
    assert ran.returncode == status, ran.stdout + ran.stderr
    assert says in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr and not list((tmp_path / "work").iterdir())


def test_no_example_says_that_it_is_a_module_of_the_clone():
    """In what it tells, or in what a page tells of it: a copy is none."""
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    for path in (*EXAMPLES.rglob("*.py"), *EXAMPLES.rglob("*.ipynb"), *pages):
        assert not re.search(r"-m examples|from examples|import examples", path.read_text(encoding="utf-8")), path


@pytest.mark.once
@pytest.mark.slow
def test_a_cluster_grows_and_shrinks(elsewhere):
    ran = elsewhere("growing_cluster.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[-1] == "the total is 6 on members (3, 4, 5)"
    assert [line for line in lines if "(1, 2, 3, 4, 5)" in line and line.startswith("member 4")]
    assert "Traceback" not in ran.stderr


@pytest.mark.once
@pytest.mark.slow
def test_a_lock_service_outlives_a_member(elsewhere):
    ran = elsewhere("lock_service.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines() == [
        "Ada has the printer, token 1; it asks whether that is in force: yes",
        "Bob tries: busy; now he waits",
        "Ada's member was killed; Bob has the printer soon, token 2",
        "the printer asks about token 1: no; about token 2: yes",
        "Bob gives it back: ok; then it is free",
        "Bob has taken it again, token 3, and hung up: the printer is free",
        "all went well",
    ]
    assert "Traceback" not in ran.stderr


@pytest.mark.once
@pytest.mark.parametrize(
    "command",
    [
        ("lock_service", "--help"),
        ("lock_service", "serve", "d", "1", "5601"),
        ("lock_service", "found", "d", "1"),
        ("tls_transport",),
    ],
)
def test_who_asks_wrongly_is_told_how(elsewhere, command, tmp_path):
    ran = elsewhere(f"{command[0]}.py", *command[1:])
    assert ran.returncode != 0 and f"python {command[0]}.py" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr and not list((tmp_path / "work").iterdir())
