"""Nodes in one thread whose state machine shows which application a result is of: for tests of sessions.

Not a test.
"""

from __future__ import annotations

from tests.helpers.stepped import World


class Bank:
    """Counts what it was given; its results tell one application from another."""

    def __init__(self, impl, snapshots=True):
        self.impl = impl
        self.given = []
        if snapshots:
            self.snapshot = lambda: b"\0".join(self.given) or b""
            self.restore = self._restore

    def apply(self, entry):
        assert entry.kind == 0
        self.given.append(bytes(entry.data))
        if entry.data.startswith(b"no"):
            raise self.impl.ApplyError(f"no {len(self.given)}")
        if entry.data.startswith(b"odd"):
            return object()
        return len(self.given), entry.session, entry.session_sequence

    def _restore(self, reader):
        data = reader.read()
        self.given = data.split(b"\0") if data else []


class Banks(World):
    """Nodes with such machines."""

    def __init__(self, impl, count=3, snapshots=True, **settings):
        self.snapshots = snapshots
        super().__init__(impl, count, step=0.01, **settings)

    def start(self, id, machine=None, **more):
        return super().start(id, machine or Bank(self.impl, self.snapshots), **more)

    def ended(self, future, rounds=3000):
        self.until(future.done, rounds)
        error = future.exception(0)
        return error if error is not None else future.result(0)

    def settled(self):
        self.until(lambda: len({(node.applied_index, node.commit_index) for node in self.nodes.values()}) == 1)


def led_banks(impl):
    """For a fixture: makes clusters of which one member leads; all are closed at the end."""
    made = []

    def make(count=3, **settings):
        made.append(Banks(impl, count, **settings))
        made[-1].leader()
        return made[-1]

    yield make
    for world in made:
        world.close()
