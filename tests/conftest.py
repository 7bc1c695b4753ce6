"""Both implementations for every test, and the check that no test leaves threads or files behind.

RAFTX_PURE=1               only the interpreted package exists
RAFTX_REQUIRE_COMPILED=1   a missing compiled build ends the run instead of shrinking it
RAFTX_REQUIRE_DEBUG=1      any other build than a debug build ends the run
--impl=compiled|pure       tests that take ``impl`` run on this one only; the others run as ever

A test marked ``once`` comes to the same in every mode, so it cannot take ``impl``: collection says so.

Under xdist (``-n 2 --dist loadfile``) the tests of a file stay together, because they share fixtures, and long files
begin first (``tests/helpers/sharing.py``). Each worker takes the ports on which its tests listen from a range of its
own (``tests/helpers/ports.py``).
"""

from __future__ import annotations

import functools
import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import raftx
from raftx._native import memory
from tests.helpers import sharing
from tests.helpers.implementations import IMPLEMENTATIONS, module, on, structures

# The name of the property that ``tell`` records.
TOLD = "told"
# How long a thread that was told to end may take, in seconds.
THREAD_END_S = 5.0

FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--impl", choices=("compiled", "pure"), help="run tests that take the fixture impl on this implementation only"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(sharing)
    if on("RAFTX_REQUIRE_COMPILED") and not raftx.COMPILED:
        raise pytest.UsageError(
            "RAFTX_REQUIRE_COMPILED=1, but raftx is not compiled"
            + (" (RAFTX_PURE is set)" if on("RAFTX_PURE") else ": run python setup.py build_ext --inplace")
        )
    if on("RAFTX_REQUIRE_DEBUG") and not memory.is_debug():
        raise pytest.UsageError("RAFTX_REQUIRE_DEBUG=1, but this is no debug build: see make test-debug")
    chosen = config.getoption("--impl")
    if chosen and chosen not in IMPLEMENTATIONS:
        raise pytest.UsageError(f"--impl={chosen}, but there is only: {', '.join(IMPLEMENTATIONS)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wrong = [
        item.nodeid for item in items if item.get_closest_marker("once") and "impl" in getattr(item, "fixturenames", ())
    ]
    if wrong:
        raise pytest.UsageError(f"marked once, but they take the fixture impl: {', '.join(wrong)}")
    chosen = config.getoption("--impl")
    if chosen:
        left_out = [item for item in items if _implementation_of(item) not in (None, chosen)]
        items[:] = [item for item in items if _implementation_of(item) in (None, chosen)]
        config.hook.pytest_deselected(items=left_out)


def _implementation_of(item: pytest.Item) -> str | None:
    """The name of the implementation that a test takes; None if it takes none."""
    if "impl" not in getattr(item, "fixturenames", ()):
        return None
    callspec = getattr(item, "callspec", None)
    return callspec.params["impl"] if callspec else None


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the collector of garbage need not look through it each time."""
    gc.collect()
    gc.freeze()


def pytest_report_header(config: pytest.Config) -> str:
    names = [config.getoption("--impl")] if config.getoption("--impl") else list(IMPLEMENTATIONS)
    return f"raftx {raftx.__version__}: {' and '.join(names)}, from {Path(raftx.__file__).parent}"


@pytest.fixture(scope="session", params=list(IMPLEMENTATIONS))
def impl(request: pytest.FixtureRequest) -> ModuleType:
    """The whole package, once for each implementation that this run has.

    The copies share no class: ``pytest.raises`` takes the exception of ``impl``, and only bytes go across.
    """
    return IMPLEMENTATIONS[request.param]


@pytest.fixture(scope="session")
def mod(impl: ModuleType) -> Callable[[str], ModuleType]:
    """``mod("consensus.raft")``: the submodule of the implementation under test."""
    return functools.partial(module, impl)


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[object], None]:
    """``tell(text)``: shown at the end of the run, also of a test that passes."""
    return lambda text: record_property(TOLD, str(text))  # a worker hands on text, not objects


def pytest_terminal_summary(terminalreporter: Any) -> None:
    told = [
        f"{report.nodeid.partition('::')[2]}: {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == TOLD and getattr(report, "when", "") == "call"
    ]
    if told:
        terminalreporter.section("what was reached")
        for text in told:
            terminalreporter.write_line(text)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def _must_end(thread: threading.Thread, before: set[threading.Thread]) -> bool:
    if _is_of_a_crew(thread) and any([_is_of_a_crew(each) and each.is_alive() for each in before]):
        return False  # it is shared by nodes of fixtures that outlive the test
    return not thread.daemon or thread.name.startswith("raftx-")


def _is_of_a_crew(thread: threading.Thread) -> bool:
    body = getattr(thread, "_target", None)
    return str(getattr(body, "__module__", "")).endswith(".node.crew")


def _open_files(directory: Path) -> list[str]:
    """Paths of this process's open files under a directory (empty where there is no /proc)."""
    found = []
    descriptors = Path("/proc/self/fd")
    for descriptor in descriptors.iterdir() if descriptors.exists() else ():
        try:
            target = os.readlink(descriptor)
        except OSError:  # closed meanwhile: iterdir's own, for one
            continue
        if target.startswith(f"{directory}{os.sep}"):
            found.append(target)
    return found


@pytest.fixture
def system(mod: Callable[[str], ModuleType]) -> ModuleType:
    """The module _native.threads of that implementation."""
    return mod("_native.threads")


@pytest.fixture
def core(impl: ModuleType) -> SimpleNamespace:
    """The hot structures of that implementation, and the entries and messages that they hold."""
    return structures(impl)


@pytest.fixture
def errors(mod: Callable[[str], ModuleType]) -> ModuleType:
    """The module errors of that implementation."""
    return mod("errors")


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A directory in memory where there is one: thousands of recoveries wait for no disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as path:
        yield Path(path)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread running or a file open in its tmp_path.

    Set up before the test's own fixtures, hence checked after they are gone. A test that failed is
    not checked: its traceback keeps alive what it would have closed.
    """
    before = set(threading.enumerate())
    directory = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if request.node.stash.get(FAILED, False):
        return
    deadline = time.monotonic() + THREAD_END_S
    started = [thread for thread in threading.enumerate() if thread not in before and _must_end(thread, before)]
    for thread in started:
        thread.join(max(0.0, deadline - time.monotonic()))
    leaked = [thread.name for thread in started if thread.is_alive()]
    assert not leaked, f"threads still running after the test: {leaked}"
    if directory is not None:
        files = _open_files(directory.resolve())
        assert not files, f"files still open after the test: {files}"


@pytest.fixture
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sleeps, and nobody starts a thread."""

    def refuse(*_: object) -> None:
        raise AssertionError("a stepped node neither sleeps nor starts threads")

    monkeypatch.setattr(time, "sleep", refuse)
    monkeypatch.setattr(threading.Thread, "start", refuse)
