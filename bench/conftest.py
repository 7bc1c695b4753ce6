"""Both modes for every benchmark, and a table of ns an entry with their ratio at the end."""

from __future__ import annotations

import importlib

import pytest

import raftx
from raftx import _pure

IMPLEMENTATIONS = {"interpreted": _pure.load() if raftx.COMPILED else raftx}
if raftx.COMPILED:
    IMPLEMENTATIONS = {"compiled": raftx, **IMPLEMENTATIONS}

RESULTS: dict[str, dict[str, float]] = {}


@pytest.fixture(scope="session", params=list(IMPLEMENTATIONS))
def mode(request):
    """Name of the mode."""
    return request.param


@pytest.fixture
def mod(mode):
    """A module of that mode by its name within the package."""
    return lambda name: importlib.import_module(f"{IMPLEMENTATIONS[mode].__name__}.{name}")


@pytest.fixture
def measure(benchmark, mode):
    """measure(what, entries, setup): time of the callable that ``setup`` returns, kept as ns an entry."""

    def run(what, entries, setup, rounds=5):
        benchmark.group = what
        benchmark.pedantic(lambda body: body(), setup=lambda: ((setup(),), {}), rounds=rounds, warmup_rounds=1)
        ns = benchmark.stats.stats.median * 1e9 / entries
        benchmark.extra_info["ns_an_entry"] = round(ns, 1)
        RESULTS.setdefault(what, {})[mode] = ns

    return run


def pytest_terminal_summary(terminalreporter):
    if not RESULTS:
        return
    write = terminalreporter.write_line
    write("")
    write(f"{'ns an entry (median)':<42} {'compiled':>12} {'interpreted':>12} {'ratio':>8}")
    for what, modes in RESULTS.items():
        compiled, interpreted = modes.get("compiled"), modes.get("interpreted")
        ratio = f"{interpreted / compiled:.1f}x" if compiled and interpreted else "-"
        cells = [f"{value:,.0f}" if value else "-" for value in (compiled, interpreted)]
        write(f"{what:<42} {cells[0]:>12} {cells[1]:>12} {ratio:>8}")
