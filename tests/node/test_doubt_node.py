"""A node that starts in doubt: from the directory over the engine to the end of the doubt, and back to the directory.

The rules themselves are tested in test_doubt.py, what brings a storage to doubt in test_wal_doubt.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.helpers.implementations import module
from tests.helpers.storages import founded
from tests.helpers.waiting import WAIT, eventually


class Group:
    """Three nodes with directories, on a network in memory."""

    def __init__(self, impl: ModuleType, path: Path) -> None:
        self.impl = impl
        self.path = path
        self.network = module(impl, "transport.memory").MemoryNetwork(seed=1)
        self.nodes: dict[int, Any] = {}

    def start(self, *ids: int) -> None:
        for id in ids:
            config = self.impl.Config(id=id, tick_ms=10, election_ticks=20, seed=id)
            storage = founded(self.impl, self.path / str(id), id=id, members=(1, 2, 3), segment_bytes=1 << 20)
            self.nodes[id] = self.impl.Node(config, storage, self.network.transport(), Machine()).start()

    def lose_mark(self, id: int) -> None:
        """End a node; its directory cannot tell any more how far it was written."""
        self.nodes.pop(id).close()
        (self.path / str(id) / "wal.mark").unlink()

    def leader(self) -> Any:
        return eventually(lambda: next((node for node in self.nodes.values() if node.is_leader), None))

    def propose(self, data: bytes) -> Any:
        deadline = time.monotonic() + WAIT
        while True:
            try:
                return self.leader().propose(data).result(timeout=WAIT)
            except self.impl.NotDone:
                assert time.monotonic() < deadline

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()


class Machine:
    def apply(self, entry: Any) -> int:
        return len(entry.data)


@pytest.fixture
def group(impl: ModuleType, tmp_path: Path) -> Iterator[Group]:
    made = Group(impl, tmp_path)
    yield made
    made.close()


def test_a_node_in_doubt_is_brought_up_to_date(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    group.start(1, 2, 3)
    group.propose(b"one")
    group.lose_mark(3)
    group.propose(b"two")
    group.start(3)
    three = group.nodes[3]
    assert three.status().in_doubt
    assert "starts in doubt" in caplog.text
    eventually(lambda: not three.status().in_doubt)
    # It takes part again, and a restart finds no doubt any more.
    next(node for id, node in group.nodes.items() if id != 3 and not node.is_leader).close()
    group.propose(b"three")
    group.close()
    group.start(3)
    assert not group.nodes[3].status().in_doubt


@pytest.mark.slow
def test_without_help_it_stays_in_doubt(group: Group) -> None:
    """Alone, or with others in doubt, it does not elect anybody: over restarts, too."""
    group.start(1, 2, 3)
    group.propose(b"one")
    group.lose_mark(2)
    group.lose_mark(3)
    group.nodes.pop(1).close()
    for _ in range(2):
        group.start(2, 3)
        time.sleep(1)
        assert [node.status().in_doubt for node in group.nodes.values()] == [True, True]
        assert not any([node.is_leader for node in group.nodes.values()])
        while group.nodes:
            group.nodes.popitem()[1].close()
