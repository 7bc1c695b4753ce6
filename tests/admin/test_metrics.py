"""What Prometheus is told, and that docs/metrics.md lists it."""

import re
import sys

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.admin import Group
from tests.helpers.implementations import module
from tests.helpers.paths import ROOT
from tests.helpers.waiting import WAIT, eventually


@pytest.fixture(scope="module")
def group(impl):
    made = Group(impl)
    made.leader().propose_many([b"x"] * 100).result(timeout=WAIT)
    yield made
    made.close()


def families(group, id=None):
    answer = group.get("/metrics", id)
    assert answer.code == 200 and answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(found, name, **labels):
    (sample,) = [
        s for s in found[name].samples if labels.items() <= s.labels.items() and s.name in (name, f"{name}_total")
    ]
    return sample.value


def test_they_say_what_the_status_says(group):
    leader = group.leader()
    eventually(lambda: leader.status().applied == leader.status().last)
    found, status = families(group), leader.status()
    for name, expected in (
        ("raftx_up", 1), ("raftx_has_leader", 1), ("raftx_is_leader", 1), ("raftx_leader_id", leader.id),
        ("raftx_term", status.term), ("raftx_commit_index", status.commit), ("raftx_applied_index", status.applied),
        ("raftx_disk_full", 0), ("raftx_in_doubt", 0), ("raftx_diverged", 0),
    ):  # fmt: skip
        assert value(found, name, member=str(leader.id)) == expected, name
    assert {s.labels["peer"]: s.value for s in found["raftx_peer_connected"].samples} == {
        str(id): 1.0 for id in group.nodes if id != leader.id
    }
    for family in found.values():
        assert all(sample.labels["member"] == str(leader.id) for sample in family.samples), family.name
    follower = next(id for id in group.nodes if id != leader.id)
    assert value(families(group, follower), "raftx_is_leader") == 0


def test_histograms_are_cumulative(group):
    found = families(group)["raftx_proposal_stage_duration_seconds"]
    total = [s for s in found.samples if s.labels["stage"] == "total" and s.name.endswith("_bucket")]
    counts = [sample.value for sample in total]
    assert counts == sorted(counts) and counts[-1] >= 1 and total[-1].labels["le"] == "+Inf"
    (count,) = [s.value for s in found.samples if s.labels["stage"] == "total" and s.name.endswith("_count")]
    assert count == counts[-1]


def test_the_document_lists_them_all(group):
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(raftx_\w+)` \|", page, re.MULTILINE))
    # A storage in memory does not tell what it takes.
    made = {
        s.name
        for family in families(group).values()
        for s in family.samples
        if not s.name.endswith(("_bucket", "_sum", "_count", "_created"))
    } | {"raftx_proposal_stage_duration_seconds", "raftx_disk_wal_fsync_duration_seconds"}
    assert listed - {"raftx_disk_used_bytes", "raftx_disk_free_bytes"} == made
    # What its alerts and queries name is there.
    asked = set(re.findall(r"raftx_\w+", page)) - {"raftx_"}
    known = listed | {f"raftx_proposal_stage_duration_seconds_{part}" for part in ("bucket", "sum", "count")}
    known |= {f"raftx_disk_wal_fsync_duration_seconds_{part}" for part in ("sum", "count")}
    assert asked <= known, asked - known


def test_nodes_of_one_process_may_share_a_registry(group, impl):
    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    collector = module(impl, "admin").Collector
    for node in group.nodes.values():
        registry.register(collector(node))
    text = prometheus_client.generate_latest(registry).decode()
    assert {f'raftx_up{{member="{id}"}} 1.0' for id in group.nodes} <= set(text.splitlines())


def test_a_version_that_is_none(group):
    """Whatever is asked for, there is an answer."""
    for version in ("1.0.0hot", "", "x", "1.0.0.0.0"):
        answer = group.get("/metrics", Accept=f"application/openmetrics-text; version={version}")
        assert answer.code == 200 and "raftx_" in answer.text


def test_of_a_node_that_does_not_run(impl):
    node = impl.Node(impl.Config(id=7), impl.MemoryStorage([7]), impl.MemoryNetwork().transport())
    data, _ = module(impl, "admin.metrics").exposition(node, "")
    assert 'raftx_up{member="7"} 0.0' in data.decode().splitlines()


def test_without_the_extra_it_says_what_to_install(impl, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    data, kind = module(impl, "admin.metrics").exposition(None, "")
    assert b"pip install 'raftx[metrics]'" in data and kind.startswith("text/plain")
