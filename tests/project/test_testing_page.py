"""The code of docs/testing.md runs as printed, one block after the other."""

import pytest

from tests.helpers.pages import code_of, ran
from tests.helpers.paths import ROOT


@pytest.mark.once
def test_the_code_runs(tmp_path):
    code = "\n".join(code_of((ROOT / "docs" / "testing.md").read_text(encoding="utf-8")))
    assert "cannot be placed" in ran(code, tmp_path)
