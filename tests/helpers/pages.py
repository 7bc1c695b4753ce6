"""The Python code of a page, and a run of it as a user would run it. Not a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import ROOT


def code_of(page: str) -> list[str]:
    """Its blocks of Python."""
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def run(code: str, cwd: Path) -> subprocess.CompletedProcess:
    """A run of the code in a directory of its own, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def ran(code: str, cwd: Path) -> str:
    """What the code prints, which must succeed."""
    done = run(code, cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout
