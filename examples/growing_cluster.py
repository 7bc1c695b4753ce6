"""A cluster that grows from one member to three and to five, replaces a lost disk, and shrinks again.

    python growing_cluster.py

All members run in this process, each with a directory, a connection and a state machine of its own, as they would on
five machines. A new member is founded with the address of any other one; then it is added. It learns everything else
from the cluster. Exit status: 0 when all went well.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path

import raftx

SECONDS = 60.0  # for each step; never needed


class Total:
    """A state machine that adds numbers."""

    def __init__(self) -> None:
        self.total = 0

    def apply(self, entry: raftx.Entry) -> int:
        """Add the number of a command."""
        self.total += int(entry.data)
        return self.total

    def snapshot(self) -> bytes:
        """The total so far."""
        return str(self.total).encode()

    def restore(self, reader) -> None:  # type: ignore[no-untyped-def]
        """Go on from the total of a snapshot."""
        self.total = int(reader.read())


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Machines:
    """What would be five machines: a directory and an address each."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.urls = {id: f"tcp://127.0.0.1:{free_port()}" for id in range(1, 6)}
        self.nodes: dict[int, raftx.Node] = {}

    def start(self, id: int) -> raftx.Node:
        """Start the member of a machine that was set up. Its transport needs no addresses: the membership has them."""
        storage = raftx.FileStorage(self.place / str(id))
        node = raftx.Node(raftx.Config(id=id, tick_ms=20), storage, raftx.NngTransport(self.urls[id]), Total())
        self.nodes[id] = node.start()
        return node

    def add(self, id: int, ask: raftx.Node) -> None:
        """Set a machine up, start its member, and let the cluster take it in: ``ask`` may be any member."""
        raftx.FileStorage.create(self.place / str(id), id=id, join=[self.urls[ask.id]])
        self.start(id)
        members = ask.add_voter(id, self.urls[id], timeout=SECONDS).result()
        print(f"member {id} is a voter now, one of {members.conf_state.voters}")

    def remove(self, id: int, ask: raftx.Node) -> None:
        """Take a member out. Its node ends by itself, with Removed."""
        members = ask.remove(id, timeout=SECONDS).result()
        node = self.nodes.pop(id)
        try:
            node.wait(SECONDS)
        except raftx.Removed:
            print(f"member {id} was removed; the voters are {members.conf_state.voters}")
        node.close()

    def close(self) -> None:
        """Stop all."""
        for node in self.nodes.values():
            node.close()


def main() -> int:
    """Grow, replace, shrink, and check the total on the way."""
    with tempfile.TemporaryDirectory() as place:
        machines = Machines(Path(place))
        try:
            raftx.FileStorage.create(Path(place) / "1", id=1, members={1: machines.urls[1]})
            first = machines.start(1)
            first.wait_leader(SECONDS)
            total = first.propose(b"1", timeout=SECONDS).result().result
            for id in (2, 3, 4, 5):
                machines.add(id, ask=first)
                total = machines.nodes[id].propose(b"1", timeout=SECONDS).result().result
            # The disk of one is lost. It is taken out, and comes back with an empty one under the same id.
            machines.nodes.pop(4).close()
            shutil.rmtree(Path(place) / "4")
            first.remove(4, timeout=SECONDS).result()
            machines.add(4, ask=machines.nodes[5])
            # Back to three, without those who were there first: the leader may be one of them.
            for id in (1, 2):
                machines.remove(id, ask=machines.nodes[5])
            done = machines.nodes[3].propose(b"1", timeout=SECONDS).result()
            print(f"the total is {done.result} on members {machines.nodes[3].configuration.voters}")
            return 0 if (total, done.result) == (5, 6) else 1
        finally:
            machines.close()


if __name__ == "__main__":
    raise SystemExit(main())
