"""The README's quick start runs as printed, and so does the core's."""

import os
import re
import subprocess
import sys

from tests.helpers.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(code, path):
    """Run it in this directory; (status, stdout, stderr)."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ran.returncode, ran.stdout, ran.stderr


def test_quick_start(tmp_path):
    code, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 14
    assert run(code, tmp_path) == (0, "5\n", "")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["1", "2", "3"]
    # The second run says what to do, and that works: the value is there.
    status, said, errors = run(code, tmp_path)
    assert status and not said and "AlreadyFounded: data/1 holds a member already: open it with File" in errors
    at = next(number for number, line in enumerate(lines) if "leave these two lines out" in line)
    assert run("\n".join(lines[:at] + lines[at + 2 :]), tmp_path) == (0, "10\n", "")


def test_driving_the_core():
    _, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
