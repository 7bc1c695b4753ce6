"""A member that was founded to join and is not added yet says so, and how it is added."""

from __future__ import annotations

import asyncio

import pytest

from tests.helpers.member_groups import Group
from tests.helpers.waiting import eventually

HOW = r"it is no member yet, and waits to be added: .*raftx add 4=HOST:PORT, or add_voter\(4, url\)"


def test_who_waits_to_be_added_says_so(impl, tmp_path):
    group = Group(impl, tmp_path)
    group.found(1)
    group.join(4)
    try:
        node, first = group.start(4), group.start(1)
        for wait in (node.wait_ready, node.wait_leader):
            with pytest.raises(TimeoutError, match=f"no leader is known after 0.05 s: {HOW}"):
                wait(0.05)
        eventually(lambda: node.status().unled)
        said = node.status().unled
        assert "known no leader for" in said and "it is no member yet, and waits to be added" in said
        eventually(lambda: [each for each in node.events() if each.event == "no_leader"])
        assert any("waits to be added" in each.text for each in node.events() if each.event == "no_leader")
        first.add_voter(4, "mem:4").result(20)
        assert node.wait_ready(20) == 1 and node.status().unled == ""
        first.close()
        eventually(lambda: "of the other voters" in node.status().unled)
        with pytest.raises(TimeoutError, match=r"no leader is known after 0.05 s$"):
            node.wait_ready(0.05)
    finally:
        group.close()


def test_who_waits_to_be_added_says_so_to_a_loop(impl, tmp_path):
    group = Group(impl, tmp_path)
    group.join(4)

    async def wait():
        storage = impl.FileStorage(tmp_path / "4")
        async with impl.aio.Node(impl.Config(id=4), storage, group.network.transport(), None) as node:
            for method in (node.wait_ready, node.wait_leader):
                with pytest.raises(TimeoutError, match=HOW):
                    await method(0.05)

    asyncio.run(wait())
