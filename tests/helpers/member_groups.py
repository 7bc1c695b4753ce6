"""Nodes whose members come and go: on one memory network, each in a directory of its own. Not a test."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.waiting import eventually


class Counting:
    """A state machine that counts."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, entry) -> int:
        self.count += 1
        return self.count

    def snapshot(self) -> bytes:
        return str(self.count).encode()

    def restore(self, reader) -> None:
        self.count = int(reader.read())


class Group:
    """Nodes on one memory network, each in a directory of its own."""

    def __init__(self, impl, path: Path, **settings) -> None:
        self.raftx = impl
        self.path = path
        self.network = self.raftx.MemoryNetwork()
        self.settings = {"tick_ms": 10, "proposal_timeout_ms": 10_000, **settings}
        self.nodes = {}

    def found(self, *ids: int) -> None:
        for id in ids:
            members = {each: f"mem:{each}" for each in ids}
            self.raftx.FileStorage.create(self.path / str(id), id=id, members=members)

    def join(self, id: int, where: str | None = None) -> None:
        self.raftx.FileStorage.create(self.path / (where or str(id)), id=id, join=["mem:1"])

    def start(self, *ids: int, where: str | None = None):
        for id in ids:
            storage = self.raftx.FileStorage(self.path / (where or str(id)))
            config = self.raftx.Config(id=id, **self.settings)
            self.nodes[id] = self.raftx.Node(config, storage, self.network.transport(), Counting())
            self.nodes[id].start()
        return self.nodes[ids[0]]

    def leader(self, *among: int):
        found = []

        def leads() -> bool:
            found[:] = [self.nodes[id] for id in among or self.nodes if self.nodes[id].is_leader]
            return bool(found)

        eventually(leads, 20)
        return found[0]

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()


def voters(node) -> tuple[int, ...]:
    return node.configuration.voters
