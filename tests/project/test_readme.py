"""The README's quick start runs as printed, and so does the core's."""

from tests.helpers.pages import code_of, ran, run
from tests.helpers.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_quick_start(tmp_path):
    code, _ = code_of(README)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 14
    assert ran(code, tmp_path) == "5\n"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["1", "2", "3"]
    # The second run says what to do, and that works: the value is there.
    again = run(code, tmp_path)
    assert again.returncode and not again.stdout
    assert "AlreadyFounded: data/1 holds a member already: open it with File" in again.stderr
    at = next(number for number, line in enumerate(lines) if "leave these two lines out" in line)
    assert ran("\n".join(lines[:at] + lines[at + 2 :]), tmp_path) == "10\n"


def test_driving_the_core():
    _, code = code_of(README)
    exec(compile(code, "README.md", "exec"), {})
