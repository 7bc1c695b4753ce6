"""examples/stepping.ipynb, cell by cell, in both modes: it ends as it says, and is kept without outputs."""

import contextlib
import io
import json

import pytest

from tests.helpers.paths import ROOT

NOTEBOOK = json.loads((ROOT / "examples" / "stepping.ipynb").read_text(encoding="utf-8"))


@pytest.fixture
def cells(impl, monkeypatch):
    """What each code cell prints, run one after the other in one namespace, as a kernel does."""
    monkeypatch.setitem(__import__("sys").modules, "raftx", impl)
    names = {}
    printed = []
    try:
        for cell in NOTEBOOK["cells"]:
            if cell["cell_type"] == "code":
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
                printed.append(out.getvalue())
    finally:
        for node in names.get("nodes", {}).values():
            node.close()
    return printed


def test_it_runs_from_the_first_cell_to_the_last(cells):
    tables = [text for text in cells if "voted for" in text]
    assert len(tables) == 5
    assert tables[0].count("follower") == 3  # nobody leads before time passes
    for table in tables[1:]:
        assert table.count("leader  ") == 1, table
    # During the partition the two others have gone a term further, and at its end all count the same.
    assert "  7\n" in tables[3] and [line.split()[-1] for line in tables[4].splitlines()[1:4]] == ["17"] * 3
    assert "leads in term" in cells[3] and "is open" in cells[-3]
    assert "NotDone: " in cells[-2] or "Unknown: " in cells[-2]
    assert cells[-1] == "{17}\n"


@pytest.mark.once
def test_it_is_kept_as_a_notebook_without_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    for cell in NOTEBOOK["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
