"""The README's quick start runs as printed, and so does the page that goes on from it."""

import sys
from pathlib import Path

import pytest

import raftx
from tests.helpers.pages import code_of, ran
from tests.helpers.paths import ROOT
from tests.helpers.readme_walk import Walk, installing


@pytest.mark.slow
def test_quick_start(tmp_path):
    """With the package that is tested, and its command; ``make readme`` does it with a wheel in a new environment."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, more in (("python", ""), ("raftx", " -m raftx")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}"{more} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    Walk(tmp_path, programs, not raftx.COMPILED).all_of_it()


@pytest.mark.once
def test_it_installs_what_it_uses():
    assert installing() == "pip install '.[cli,service]'"


@pytest.mark.once
def test_the_first_hour(tmp_path: Path):
    page = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    assert ran("\n".join(code_of(page)), tmp_path) == "refused: somebody was faster\n2\n"
