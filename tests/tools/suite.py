"""The tests, shared by several processes; what fails there is tried again alone.

    python -m tests.tools.suite [arguments of pytest]

Tests of running nodes wait for elections, on machines that have other work. Their limits are generous, and still one of
thousands may meet a pause that no limit foresees. A few that fail beside the others are therefore run again: each three
times, with no other test beside it. Whatever fails then, even once in three, fails the run. What passes is named at the
end, so that nobody overlooks it; a test that is named often is at fault, or shows a fault that is rare.

Nothing is tried again where a process of the run has crashed, where tests could not be collected, or where more than
three have failed: that is no accident. Exit status: pytest's.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Each failed test, how often alone.
TIMES = 3
#: More failures are no accident.
MOST = 3
#: A variable of the environment: the file to which the run writes what has failed.
WRITTEN = "RAFTX_FAILED_TESTS"


class Failures:
    """A plugin of pytest: what failed, and whether a process of the run crashed, as JSON in a file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.failed: dict[str, None] = {}  # the order counts, and a test is in it once
        self.crashed = False

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed[report.nodeid] = None
            # pytest-xdist makes such a report of a process that is gone; it has no part of the test.
            self.crashed = self.crashed or report.when not in ("setup", "call", "teardown")

    def pytest_collectreport(self, report: Any) -> None:
        self.crashed = self.crashed or report.failed

    def pytest_sessionfinish(self) -> None:
        Path(self.path).write_text(json.dumps({"failed": list(self.failed), "crashed": self.crashed}))


def pytest_configure(config: Any) -> None:
    """As a plugin: not in the processes among which the tests are shared; what they say comes to the first one."""
    path = os.environ.get(WRITTEN)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Failures(path), "raftx-failures")


def kept(arguments: Sequence[str]) -> list[str]:
    """Of the arguments of a run, those that hold for one test alone: what chooses implementation and verbosity."""
    return [each for each in arguments if each.startswith("--impl=") or each == "-q"]


def run(arguments: Sequence[str], *, times: int = TIMES, most: int = MOST) -> int:
    """The status of the run, after what failed in it has been tried again."""
    with tempfile.TemporaryDirectory(prefix="raftx-suite-") as directory:
        written = Path(directory, "failed.json")
        environment = {**os.environ, WRITTEN: str(written)}
        command = [sys.executable, "-m", "pytest", "-p", "tests.tools.suite", *arguments]
        status = subprocess.run(command, env=environment, check=False).returncode
        if status != 1 or not written.exists():
            return status
        found = json.loads(written.read_text())
    failed: list[str] = found["failed"]
    if found["crashed"] or not failed or len(failed) > most:
        return status
    for test in failed:
        for attempt in range(times):
            print(f"\n{test} is tried alone, {attempt + 1} of {times}", flush=True)
            command = [sys.executable, "-m", "pytest", "-n", "0", *kept(arguments), test]
            if status := subprocess.run(command, check=False).returncode:
                print(f"\n{test} fails alone too", flush=True)
                return status
    print(f"\nFAILED BESIDE OTHERS, PASSED ALONE {times} TIMES: {', '.join(failed)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
