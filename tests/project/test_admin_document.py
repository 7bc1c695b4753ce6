"""The code of docs/admin.md runs as printed, and the page names every endpoint."""

import re

import pytest

import raftx
from tests.helpers.pages import code_of, ran
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "admin.md").read_text(encoding="utf-8")


@pytest.mark.once
def test_the_code_runs(tmp_path):
    own, mounted = code_of(PAGE)
    url, role = ran(own, tmp_path).split()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url) and role == "leader"
    ran(mounted, tmp_path)


def test_every_endpoint_is_there():
    node = raftx.Node(raftx.Config(id=1), raftx.MemoryStorage([1]), raftx.MemoryNetwork().transport())
    routes = {
        (path, next(iter(route.methods - {"HEAD"}))) for route in node.admin().app.app.routes for path in [route.path]
    }
    asked = {(path.partition("?")[0], "GET") for path in re.findall(r"^\| `GET (\S+)` \|", PAGE, re.MULTILINE)}
    changed = {(path, "POST") for path in re.findall(r"^\| `(/\S+)` \| `", PAGE, re.MULTILINE)}
    assert asked | changed == routes
