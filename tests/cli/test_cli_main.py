"""The entrance of ``raftx``: without its extra, with errors, interrupted; what a shell completes."""

import os
import subprocess
import sys

import pytest

from tests.helpers.commands import ran, spawned
from tests.helpers.directories import member
from tests.helpers.implementations import module
from tests.helpers.paths import ROOT

REMEDY = b"pip install 'raftx[cli]'"


@pytest.mark.once
@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra(missing):
    """One line that names the remedy, and a code of its own; the package itself imports nothing of the extra."""
    for code in (
        "from raftx.cli.main import main; sys.exit(main(['--help']))",
        "import runpy; sys.argv = ['raftx', 'wal', 'info', 'x']; runpy.run_module('raftx', run_name='__main__')",
    ):
        program = f"import sys; sys.modules[{missing!r}] = None; {code}"
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60)
        assert (done.returncode, done.stdout) == (7, b"")
        assert done.stderr.startswith(b"raftx: ") and REMEDY in done.stderr and done.stderr.count(b"\n") == 1
    program = "import sys, raftx; assert not {'click', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


@pytest.mark.once
def test_another_module_that_is_missing_is_told_as_it_is():
    program = "import sys; sys.modules['raftx.cli.wal'] = None; from raftx.cli.main import main; main([])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 1 and b"raftx.cli.wal" in done.stderr and REMEDY not in done.stderr


def test_debug_shows_where_an_error_comes_from(impl, tmp_path, monkeypatch, capfd):
    plain = ran(impl, "wal", "info", tmp_path / "n")
    assert plain.code == 3 and plain.err.count("\n") == 1
    for arguments in (["--debug", "wal", "info"], ["wal", "info", "--debug"]):
        done = spawned(*arguments, tmp_path / "n")
        assert done.returncode == 3 and done.stderr.startswith(b"Traceback"), done.stderr
        assert done.stderr.decode().splitlines()[-1] == plain.err.rstrip()


def test_a_mistake_of_raftx_is_one_line_too(impl, tmp_path, monkeypatch):
    path = member(impl, tmp_path / "n", entries=1)
    monkeypatch.setattr(module(impl, "cli.wal"), "summary", lambda seen: 1 // 0)
    done = ran(impl, "wal", "info", "--json", path)
    assert done.code == 1 and done.err.count("\n") == 1
    assert "ZeroDivisionError" in done.err and "--debug" in done.err


def test_interrupted(impl, tmp_path, monkeypatch):
    def interrupt(seen):
        raise KeyboardInterrupt

    path = member(impl, tmp_path / "n", entries=1)
    monkeypatch.setattr(module(impl, "cli.wal"), "summary", interrupt)
    done = ran(impl, "wal", "info", "--json", path)
    assert (done.code, done.out, done.err) == (130, "", "")


def test_wrong_arguments_say_where_help_is(impl):
    done = ran(impl, "restore", "a")
    assert (done.code, done.err) == (2, "raftx: Missing argument 'DIRECTORY'. Try: raftx restore --help\n")
    done = ran(impl, "wal")
    assert done.code == 2 and done.err.startswith("Usage: raftx wal") and done.out == ""


@pytest.mark.once
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    """The script is there, and what it calls completes commands and options."""
    script = spawned(env={**os.environ, "_RAFTX_COMPLETE": f"{shell}_source"})
    assert script.returncode == 0 and b"_RAFTX_COMPLETE" in script.stdout
    assert spawned("completion", shell).stdout.rstrip() == script.stdout.rstrip()
    words = {
        "bash": {"COMP_WORDS": "raftx wal ver", "COMP_CWORD": "2"},
        "zsh": {"COMP_WORDS": "raftx wal ver", "COMP_CWORD": "2"},
        "fish": {"COMP_WORDS": "raftx wal ver", "COMP_CWORD": "ver"},
    }[shell]
    done = spawned(env={**os.environ, "_RAFTX_COMPLETE": f"{shell}_complete", **words})
    assert done.returncode == 0 and b"verify" in done.stdout and b"dump" not in done.stdout
