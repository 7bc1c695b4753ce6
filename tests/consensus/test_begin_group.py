"""The beginning of a group: the entries that add its first members."""

from __future__ import annotations

from types import ModuleType

import pytest

from raftx.types import (
    ENTRY_CONF_CHANGE,
    LEADER,
)
from tests.helpers.core_drive import Cluster, Full, change, conf


def test_a_group_begins_with_the_entries_that_add_its_members(impl: ModuleType) -> None:
    cluster = Cluster(impl, 3)
    for id in (1, 2, 3):
        cluster.add(id, conf=conf(impl)).node.bootstrap([1, 2, 3])
    ready = cluster[1].node.ready()
    assert ready.hard_state == impl.HardState(1, 0, 3)
    assert [(e.index, e.term, e.kind) for e in ready.entries] == [(n, 1, ENTRY_CONF_CHANGE) for n in (1, 2, 3)]
    assert ready.committed_entries == ready.entries
    assert [impl.ConfChange.decode(e.data, True) for e in ready.entries] == [
        change(impl, f"v{id}", v1=True) for id in (1, 2, 3)
    ]
    cluster[1].node.advance()
    cluster.deliver()
    cluster.campaign(1)
    assert (cluster.roles(), cluster[1].term) == ("LFF", 2)
    cluster.propose(3, b"x")
    assert [cluster[id].data[-1] for id in (1, 2, 3)] == [b"x"] * 3
    assert cluster.memberships() == {conf(impl, (1, 2, 3))}


def test_a_group_begins_on_an_empty_storage_and_with_members(impl: ModuleType) -> None:
    with pytest.raises(impl.UsageError, match="at least one"):
        Full(impl, 1, ()).node.bootstrap([])
    for member in (Full(impl, terms=[1]), Full(impl, hard=(1, 0, 0))):
        with pytest.raises(impl.UsageError, match="empty storage"):
            member.node.bootstrap([1, 2, 3])
    twice = Full(impl, 1, ())
    twice.node.bootstrap([1])
    with pytest.raises(impl.UsageError, match="empty storage"):
        twice.node.bootstrap([1])


@pytest.mark.parametrize("ids", [[0], [-1], list(range(1, 66))], ids=["zero", "negative", "too many"])
def test_ids_that_make_no_group_leave_nothing_behind(impl: ModuleType, ids: list[int]) -> None:
    member = Full(impl, 1, ())
    with pytest.raises(impl.ConfChangeError):
        member.node.bootstrap(ids)
    assert (member.log.last, member.term, member.committed) == (0, 0, 0)
    assert member.membership == conf(impl)
    assert not member.node.has_ready()
    member.node.bootstrap([1])
    member.take()
    member.campaign()
    assert member.role == LEADER
