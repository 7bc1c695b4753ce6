"""The site has every page, once. It is built by ``make docs``; here nothing is."""

import ast

import pytest

from tests.helpers.paths import ROOT

pytestmark = pytest.mark.once


def test_the_contents_have_every_page():
    tree = ast.parse((ROOT / "docs" / "site" / "conf.py").read_text(encoding="utf-8"))
    (contents,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "CONTENTS"
    ]
    named = [page for pages in contents.values() for page in pages]
    assert len(set(named)) == len(named)
    there = {f"docs/{path.stem}" for path in (ROOT / "docs").glob("*.md")}
    assert set(named) == there | {"docs/site/api", "CONTRIBUTING", "CHANGELOG"}
