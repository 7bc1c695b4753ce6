"""Members that come, move and go over real connections: nobody but the membership says where they are."""

from __future__ import annotations

import pytest

from tests.helpers.ports import ports
from tests.helpers.transports import make_transport
from tests.helpers.waiting import eventually


class Last:
    """A state machine that keeps the last command."""

    data = b""

    def apply(self, entry) -> None:
        self.data = entry.data


class Kept(Last):
    """The same with snapshots."""

    def snapshot(self) -> bytes:
        return self.data

    def restore(self, reader) -> None:
        self.data = reader.read()


@pytest.fixture
def nodes():
    made = {}
    yield made
    for node in made.values():
        node.close()


def begin(impl, way: str, nodes, path, id: int, url: str):
    config = impl.Config(id=id, tick_ms=20)
    nodes[id] = impl.Node(config, impl.FileStorage(path / str(id)), make_transport(impl, way, url), Last()).start()
    return nodes[id]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["direct", "tcp", "mixed"])
def test_members_join_and_move_and_find_each_other_after_a_restart(impl, way, nodes, tmp_path):
    urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(4), 1)}
    elsewhere = urls.pop(4)
    impl.FileStorage.create(tmp_path / "1", id=1, members={1: urls[1]})
    first = begin(impl, way, nodes, tmp_path, 1, urls[1])
    first.wait_leader(20)
    for id in (2, 3):
        impl.FileStorage.create(tmp_path / str(id), id=id, join=[urls[1]])
        begin(impl, way, nodes, tmp_path, id, urls[id])
    # Whoever was not added yet knows nobody whom it could ask.
    with pytest.raises(impl.NotDone, match="was not added yet"):
        nodes[3].add_voter(3, urls[3], timeout=0.5).result(30)
    # It waits until it is.
    futures = [nodes[3].promote(3), first.add_voter(2, urls[2]), first.add_voter(3, urls[3])]
    for future in futures:
        future.result(60)
    nodes[2].propose(b"all here", timeout=20).result()
    for node in nodes.values():
        eventually(lambda node=node: node._outside.state_machine.data == b"all here")
        assert node.configuration.voters == (1, 2, 3)
        assert {member.url for member in node.members} == set(urls.values())
    # One moves: its process ends, and comes back at another address.
    nodes.pop(3).close()
    first.move(3, elsewhere).result(30)
    begin(impl, way, nodes, tmp_path, 3, elsewhere)
    nodes[3].wait_ready(30)
    assert nodes[3].propose(b"moved", timeout=20).result()
    # All are restarted, and dial the present addresses.
    for node in nodes.values():
        node.close()
    for id, url in ((1, urls[1]), (2, urls[2]), (3, elsewhere)):
        begin(impl, way, nodes, tmp_path, id, url)
    for node in nodes.values():
        node.wait_ready(30)
        eventually(lambda node=node: node._outside.state_machine.data == b"moved")
    assert nodes[2].members[2].url == elsewhere


@pytest.mark.slow
def test_what_a_change_has_set_comes_before_what_the_transport_is_told(impl, nodes, tmp_path):
    """Also behind a snapshot; and what the transport is told comes before what a member was founded with."""
    urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(3), 1)}
    moved = f"tcp://127.0.0.1:{ports(1)[0]}"
    founded = {**urls, 2: f"tcp://127.0.0.1:{ports(1)[0]}"}
    for id in urls:
        impl.FileStorage.create(tmp_path / str(id), id=id, members=founded)

    def begin_told(id: int, url: str):
        transport = make_transport(impl, "direct", url, urls)
        storage = impl.FileStorage(tmp_path / str(id))
        nodes[id] = impl.Node(impl.Config(id=id, tick_ms=20), storage, transport, Kept()).start()
        return nodes[id]._outside.transport

    for _ in range(2):
        told = {id: begin_told(id, url) for id, url in urls.items()}
        for node in nodes.values():
            node.wait_ready(30)
            node.snapshot().result(30)
        assert told[1].peers[2] == told[3].peers[2] == urls[2] != founded[2]
        for node in nodes.values():
            node.close()
    told = {id: begin_told(id, urls[id]) for id in (1, 2)}
    nodes[1].wait_ready(30)
    nodes[1].move(3, moved).result(30)
    for id in (1, 2):
        nodes[id].snapshot().result(30)
        nodes[id].close()
    told = {id: begin_told(id, {**urls, 3: moved}[id]) for id in urls}
    assert told[1].peers[3] == told[2].peers[3] == moved
    for node in nodes.values():
        node.wait_ready(30)
    assert told[1].peers[2] == urls[2]


@pytest.mark.parametrize("way", ["direct", "tcp", "mixed"])
def test_a_log_that_was_compacted_without_a_snapshot_keeps_the_addresses(impl, way, nodes, tmp_path):
    urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(2), 1)}
    impl.FileStorage.create(tmp_path / "1", id=1, members={1: urls[1]}, segment_bytes=1 << 16)
    first = begin(impl, way, nodes, tmp_path, 1, urls[1])
    first.wait_leader(20)
    first.add_learner(2, urls[2]).result(20)
    for _ in range(20):
        first.propose(bytes(20_000)).result(10)
    first.compact(first.applied_index - 2).result(10)
    assert (tmp_path / "1" / "addresses").exists()
    first.propose(bytes(50_000)).result(10)
    nodes.pop(1).close()
    again = begin(impl, way, nodes, tmp_path, 1, urls[1])
    eventually(lambda: again.status().first > 10)
    assert {member.id: member.url for member in again.members} == urls
