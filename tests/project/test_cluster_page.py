"""The page about the cluster file: its example runs as printed, and its tables are what the code knows."""

import re

import pytest

from tests.helpers.implementations import module
from tests.helpers.pages import code_of, ran, run
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports

PAGE = (ROOT / "docs" / "cluster-file.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.once
def test_the_example_runs(tmp_path):
    (toml,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (code,) = code_of(PAGE)
    for port, number in zip(("5621", "5622", "5623"), ports(3), strict=True):
        assert toml.count(port) == 1
        toml = toml.replace(port, str(number))
    (tmp_path / "cluster.toml").write_text(toml, encoding="utf-8")
    assert ran(code, tmp_path) == "5\n"
    # From then on it goes without founding, as the page says; and says what to do where nothing is there.
    later = code.replace(", create=True", "")
    assert later != code
    assert ran(later, tmp_path) == "10\n"
    (tmp_path / "data").rename(tmp_path / "gone")
    assert "NotFounded" in run(later, tmp_path).stderr


def test_every_field_is_there(impl):
    file = module(impl, "cluster_file")
    tables = [re.findall(r"^\| `(\w+)` \|", block, re.MULTILINE) for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.M)]
    assert tables == [list(file.TOP_KEYS), list(file.MEMBER_KEYS)]


def test_the_error_is_the_one_that_is_printed(impl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster.toml").write_text('cluster = "a"\ndata = "d"\n\n[config]\ntik_ms = 10\n', encoding="utf-8")
    with pytest.raises(impl.ConfigError) as raised:
        impl.ClusterFile.load("cluster.toml")
    assert f"\n{raised.value}\n" in PAGE
