"""The README's quick start runs as printed, and so does the core's."""

from tests.helpers.pages import code_of, ran
from tests.helpers.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_quick_start(tmp_path):
    code, _ = code_of(README)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 14
    assert ran(code, tmp_path) == "5\n"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["1", "2", "3"]


def test_driving_the_core():
    _, code = code_of(README)
    exec(compile(code, "README.md", "exec"), {})
