"""The code of docs/adoption.md runs as printed, one block after the other."""

import re
import shutil

import pytest

from tests.helpers.pages import code_of, ran
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports

PAGE = (ROOT / "docs" / "adoption.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.once
def test_the_code_runs(tmp_path):
    code = "\n".join(code_of(PAGE))
    for port, number in zip(("5611", "5612"), ports(2), strict=True):
        assert code.count(port) == 1
        code = code.replace(port, str(number))
    shutil.copy(ROOT / "examples" / "lmdb_storage.py", tmp_path)  # as the page says
    ran(code, tmp_path)
    assert any(path.name.startswith("snapshot-") for path in (tmp_path / "data").iterdir())


def test_settings_are_those_of_the_config(impl):
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for name, default in rows:
        number, _, unit = default.replace(",", "").partition(" ")
        assert getattr(impl.Config(id=1), name) == int(number) * {"": 1, "MiB": 1 << 20}[unit], name
