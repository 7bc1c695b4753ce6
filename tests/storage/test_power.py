"""Power cuts: what a lagging, torn or lost mark leads to, and that a whole cluster recovers by itself."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.cluster import Machine, propose_somehow
from tests.helpers.implementations import IMPLEMENTATIONS
from tests.helpers.power import Platter, PowerCut
from tests.helpers.storages import founded
from tests.helpers.waiting import eventually
from tests.helpers.wal import CLUSTER, SMALL, contents, opened, records

pytestmark = pytest.mark.once

MEMBERS = (1, 2, 3)


@pytest.mark.parametrize("mark", ["lags", "torn", "lost"])
def test_what_becomes_of_the_mark_in_a_power_cut(
    memory_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mark: str,
) -> None:
    """Nothing acknowledged is ever missing. A mark that lags gives no doubt; one that is torn or lost may, or must."""
    impl = IMPLEMENTATIONS["pure"]
    doubts = cuts = 0
    for operations in range(3, 83, 2):
        draw = random.Random(f"{mark} {operations}")
        before, after = memory_path / f"{operations}-before", memory_path / f"{operations}-after"
        before.mkdir()
        acknowledged = 0
        with monkeypatch.context() as patch:
            platter = Platter(patch, impl, [before], operations)
            storage = None
            try:
                storage = founded(impl, before, members=MEMBERS, segment_bytes=SMALL, cluster=CLUSTER)
                storage.open(1, CLUSTER)
                for index in range(1, 40):
                    size = draw.choice([10, 3000, 9000])
                    storage.append(impl.HardState(index, 0, 0), [records(impl, index, [(index, draw.randbytes(size))])])
                    storage.sync()
                    acknowledged = index
            except PowerCut:
                pass
            finally:
                if storage is not None:
                    storage.close()
        platter.survive(before, after, draw, draw.choice([0.0, 0.5, 1.0]), mark)
        # Without this file nothing was founded, and there was nothing to lose yet.
        was_founded = (after / "founding").exists()
        assert was_founded or not acknowledged
        if mark == "lags" or was_founded:
            cuts += 1
            try:
                storage, loaded = opened(impl, after)
            except impl.WalDamaged:
                # Before the first segment was whole there is nothing to go on with.
                if mark == "lags" or acknowledged:
                    raise
                continue
            kept = contents(impl, loaded)
            assert acknowledged <= len(kept) <= acknowledged + 1
            assert loaded.hard_state.in_doubt == bool(storage.doubt)
            assert mark != "lags" or not storage.doubt
            assert mark != "lost" or "missing" in storage.doubt
            doubts += loaded.hard_state.in_doubt
            # It stays in doubt, whatever the new mark says, until somebody who knows writes that it is not.
            was = loaded.hard_state.in_doubt
            storage.close()
            storage, loaded = opened(impl, after)
            assert loaded.hard_state.in_doubt == was == bool(storage.doubt)
            storage.append(impl.HardState(loaded.hard_state.term, 0, 0), [])
            storage.sync()
            storage.close()
            storage, loaded = opened(impl, after)
            assert not loaded.hard_state.in_doubt and not storage.doubt
            storage.close()
        shutil.rmtree(before)
        shutil.rmtree(after)
    assert cuts > 20
    assert (doubts > 0) == (mark != "lags")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_power_cut_of_all_members_at_once(
    memory_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """All members lose power under load, several times: none is in doubt, and nothing acknowledged is lost."""
    impl = IMPLEMENTATIONS["pure"]
    draw = random.Random(seed)
    paths = {id: memory_path / f"first-{id}" for id in MEMBERS}
    for path in paths.values():
        path.mkdir()
    acknowledged: list[bytes] = []
    for life in range(3):
        with monkeypatch.context() as patch:
            platter = Platter(patch, impl, list(paths.values()), -1)
            nodes = start(impl, paths)
            try:
                eventually(lambda nodes=nodes: any(node.is_leader for node, _ in nodes))  # type: ignore[misc]
                futures = []
                deadline = time.monotonic() + 0.3 + draw.random() * 0.5
                while time.monotonic() < deadline:
                    node = next((node for node, _ in nodes if node.is_leader), nodes[0][0])
                    data = b"%d-%d " % (life, len(futures)) + draw.randbytes(draw.randrange(4000))
                    futures.append((data, node.propose(data)))
                    time.sleep(0.002)
            finally:
                platter.cut()
                ends(nodes)
        acknowledged += [data for data, future in futures if future.done() and future.exception() is None]
        after = {id: memory_path / f"{life}-{id}" for id in MEMBERS}
        for id, path in paths.items():
            platter.survive(path, after[id], draw, draw.choice([0.2, 0.5, 0.9]))
            shutil.rmtree(path)
        paths = after
    assert len(acknowledged) > 20
    nodes = start(impl, paths)
    try:
        for node, storage in nodes:
            assert storage.doubt == ""
            assert node.status().incarnation == 4
        propose_somehow(nodes[0][0], b"last", impl)
        machines = [node._outside.state_machine for node, _ in nodes]
        eventually(lambda: all(machine.commands[-1:] == [b"last"] for machine in machines))
        assert machines[0].commands == machines[1].commands == machines[2].commands
        assert [data for data in machines[0].commands if data in set(acknowledged)] == acknowledged
    finally:
        ends(nodes)


def start(impl: ModuleType, paths: dict[int, Path]) -> list[tuple]:  # type: ignore[type-arg]
    """(node, storage) of each member."""
    network = impl.MemoryNetwork()
    nodes = []
    for id, path in paths.items():
        storage = founded(impl, path, members=MEMBERS, id=id, segment_bytes=SMALL)
        config = impl.Config(id=id, tick_ms=20, election_ticks=10, seed=id)
        nodes.append((impl.Node(config, storage, network.transport(), Machine()), storage))
    for node, _ in nodes:
        node.start()
    return nodes


def ends(nodes: list[tuple]) -> None:  # type: ignore[type-arg]
    for node, _ in nodes:
        node.close()
