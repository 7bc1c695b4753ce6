"""What runs in which mode: --impl, the marker once, and that make test runs nothing twice."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import raftx
from tests.helpers.paths import ROOT, TESTS
from tests.helpers.sharing import share_of

pytestmark = pytest.mark.once

THREE = """
import pytest

def test_on_each(mod):
    pass

def test_by_the_mode_of_the_run():
    pass

@pytest.mark.once
def test_without_a_mode():
    pass
"""
WRONG = "import pytest\npytestmark = pytest.mark.once\n\ndef test_on_each(core):\n    pass\n"
OTHERS = ["test_by_the_mode_of_the_run", "test_without_a_mode"]
# What a test that does not depend on the mode may ask the package of the run itself.
OF_THE_PACKAGE = {"COMPILED", "_LATER", "__all__", "__file__", "__version__", "_core", "_pure", "errors", "types"}


def pytest_on(directory: Path, text: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """pytest on a file of tests in that directory, with this project's conftest."""
    path = directory / "test_of_modes.py"
    path.write_text(text, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAFTX_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider",
         "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(directory), *arguments, str(path)],
        cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def collected(directory: Path, text: str, *arguments: str, **variables: str) -> tuple[int, list[str], str]:
    """Exit status, names of the tests and what was said of a file of tests."""
    done = pytest_on(directory, text, "--collect-only", *arguments, **variables)
    return done.returncode, re.findall(r"::(\S+)$", done.stdout, re.MULTILINE), done.stdout + done.stderr


needs_both = pytest.mark.skipif(not raftx.COMPILED, reason="this run has no compiled build")


@pytest.mark.slow
@needs_both
@pytest.mark.parametrize(
    ("arguments", "modes"),
    [((), ["compiled", "pure"]), (("--impl=compiled",), ["compiled"]), (("--impl=pure",), ["pure"])],
)
def test_one_implementation_is_chosen(tmp_path: Path, arguments: tuple[str, ...], modes: list[str]) -> None:
    status, names, said = collected(tmp_path, THREE, *arguments)
    assert status == 0, said
    assert sorted(names) == sorted([*(f"test_on_each[{mode}]" for mode in modes), *OTHERS])


def test_the_interpreted_run_leaves_out_what_has_no_mode(tmp_path: Path) -> None:
    status, names, said = collected(tmp_path, THREE, "-m", "not once", RAFTX_PURE="1")
    assert status == 0, said
    assert sorted(names) == ["test_by_the_mode_of_the_run", "test_on_each[pure]"]


def test_what_is_not_there_cannot_be_chosen(tmp_path: Path) -> None:
    status, names, said = collected(tmp_path, THREE, "--impl=compiled", RAFTX_PURE="1")
    assert (status, names) == (pytest.ExitCode.USAGE_ERROR, [])
    assert "--impl=compiled, but there is only: pure" in said


def test_a_missing_build_ends_the_run(tmp_path: Path) -> None:
    status, names, said = collected(tmp_path, THREE, RAFTX_PURE="1", RAFTX_REQUIRE_COMPILED="1")
    assert (status, names) == (pytest.ExitCode.USAGE_ERROR, [])
    assert "raftx is not compiled" in said


def test_once_and_an_implementation_do_not_go_together(tmp_path: Path) -> None:
    status, _, said = collected(tmp_path, WRONG)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "marked once, but they take the fixture impl: " in said


def marked(path: Path) -> Iterator[ast.AST]:
    """What is marked once in a file: all of it, or some functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            if "pytest.mark.once" in ast.unparse(node.value):
                yield tree
                return
        if isinstance(node, ast.FunctionDef) and "pytest.mark.once" in map(ast.unparse, node.decorator_list):
            yield node


@pytest.mark.slow
def test_once_is_for_what_does_not_use_the_package_of_the_run() -> None:
    """``raftx.Node`` is compiled in one run and interpreted in the other; IMPLEMENTATIONS["pure"] is what it says."""
    wrong = []
    found = 0
    for path in sorted(TESTS.rglob("test_*.py")):
        for part in marked(path):
            found += 1
            for node in ast.walk(part):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "raftx":
                    if node.attr not in OF_THE_PACKAGE:
                        wrong.append(f"{path.relative_to(TESTS)}:{node.lineno}: raftx.{node.attr}")
    assert found > 100
    assert wrong == []


def test_modes_are_chosen_by_the_fixture_alone() -> None:
    """A test that goes through IMPLEMENTATIONS by itself would run interpreted in both runs."""
    wrong = []
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.parametrize":
                if any(isinstance(each, ast.Name) and each.id == "IMPLEMENTATIONS" for each in ast.walk(node)):
                    wrong.append(f"{path.relative_to(TESTS)}:{node.lineno}")
    assert wrong == []


SHOWN = """
class Reached:
    def __str__(self):
        return "17 elections"

def test_of_schedules(tell):
    tell(Reached())
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n", "1", "--dist", "loadfile")], ids=["one process", "a worker"])
def test_what_a_test_tells_is_shown_at_the_end(tmp_path: Path, workers: tuple[str, ...]) -> None:
    done = pytest_on(tmp_path, SHOWN, *workers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\ntest_of_schedules: 17 elections\n" in done.stdout


ORDER = """
import pytest

@pytest.mark.parametrize("half", ["shared-0", "shared-1"])
@pytest.mark.slow(50)
def test_of_schedules(half):
    pass

def test_quick():
    pass
"""


def test_long_tests_begin_first(tmp_path: Path) -> None:
    """The cases that are shared, each by itself; then the files by what their marks say; then by their tests."""
    few, many, slow = tmp_path / "test_few.py", tmp_path / "test_many.py", tmp_path / "test_slow.py"
    few.write_text("def test_a(): pass\n", encoding="utf-8")
    many.write_text("".join(f"def test_{name}(): pass\n" for name in "bcd"), encoding="utf-8")
    slow.write_text(ORDER, encoding="utf-8")
    plugin = "def pytest_configure(config):\n    config.workerinput = {}\n"
    (tmp_path / "as_a_worker.py").write_text(plugin, encoding="utf-8")
    done = pytest_on(tmp_path, THREE, "--collect-only", "-p", "no:xdist", "-p", "as_a_worker", str(few), str(many),
                     str(slow), RAFTX_PURE="1", PYTHONPATH=str(tmp_path))  # fmt: skip
    names = re.findall(r"::(\S+)$", done.stdout, re.MULTILINE)
    assert names == [
        "test_of_schedules[shared-0]", "test_of_schedules[shared-1]", "test_b", "test_c", "test_d",
        "test_on_each[pure]", "test_by_the_mode_of_the_run", "test_without_a_mode", "test_a", "test_quick",
    ], done.stdout + done.stderr  # fmt: skip


TOGETHER = """
import pytest
from tests.helpers.waiting import eventually

@pytest.mark.slow(10)
@pytest.mark.parametrize("half", [0, 1], ids="shared-{}".format)
def test_of_schedules(half, request):
    here = request.path.parent
    (here / f"half-{half}").touch()
    eventually((here / f"half-{1 - half}").exists)
"""


@pytest.mark.slow
def test_shared_cases_go_to_several_processes_at_once(tmp_path: Path) -> None:
    """Also where a process that has one is the first to be given more."""
    first, last = tmp_path / "test_first.py", tmp_path / "test_last.py"
    begun = "import pytest\n@pytest.mark.slow(50)\n@pytest.mark.parametrize('n', range(9))\ndef test_first(n): pass\n"
    first.write_text(begun, encoding="utf-8")
    last.write_text("def test_last(): pass\n", encoding="utf-8")
    done = pytest_on(tmp_path, TOGETHER, "-n", "2", "--dist", "loadfile", str(first), str(last), RAFTX_PURE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 passed" in done.stdout


def test_what_is_given_to_a_process_as_one() -> None:
    assert share_of("tests/a/test_x.py::test_y[shared-0]") == "tests/a/test_x.py::test_y[shared-0]"
    assert share_of("tests/a/test_x.py::test_y[compiled-shared-1]") == "tests/a/test_x.py::test_y[compiled-shared-1]"
    assert share_of("tests/a/test_x.py::test_y[not shared]") == "tests/a/test_x.py"
    assert share_of("tests/a/test_x.py::Kind::test_shared-0") == "tests/a/test_x.py"


def test_no_two_workers_take_the_same_port() -> None:
    """And the kernel gives none of them to a connection."""
    code = "from tests.helpers.ports import ports; print(*ports(400))"
    taken = {}
    for worker in range(4):
        environment = {**os.environ, "PYTEST_XDIST_WORKER": f"gw{worker}"}
        said = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout
        taken[worker] = {int(number) for number in said.split()}
        assert len(taken[worker]) == 400
    assert sum(map(len, taken.values())) == len(set().union(*taken.values()))
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert max(set().union(*taken.values())) < first


def test_make_test_is_two_runs_that_share_nothing() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = dict(re.findall(r"^(test-compiled|test-pure|test-fast):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE))
    compiled, pure, fast = (recipes[f"test-{name}"] for name in ("compiled", "pure", "fast"))
    for recipe in (compiled, fast):
        assert "RAFTX_PURE= RAFTX_REQUIRE_COMPILED=1 " in recipe
        assert " --impl=compiled " in recipe
    assert "RAFTX_PURE=1 RAFTX_REQUIRE_COMPILED= " in pure
    assert " -m 'not once' " in pure
    assert "not slow" in fast
    for recipe in (compiled, pure):
        assert "slow" not in recipe
        assert "--ignore" not in recipe
        assert "--deselect" not in recipe
