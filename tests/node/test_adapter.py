"""The thread of a storage that is written in Python: what it makes of the writes that the engine hands over."""

import pytest

from tests.helpers.implementations import module
from tests.helpers.wal import records

CLUSTER = b"storage-suite---"


class Noted:
    """A storage that notes what is asked of it."""

    def __init__(self, kept):
        self.kept = kept
        self.calls = []

    def append(self, hard_state, pieces):
        self.calls.append("append")
        self.kept.append(hard_state, pieces)

    def begin_behind(self, index, term, conf_state):
        self.calls.append(("begin behind", index))
        self.kept.begin_behind(index, term, conf_state)

    def sync(self):
        self.calls.append("sync")
        self.kept.sync()


@pytest.mark.parametrize("times", [1, 2])
def test_a_log_begins_behind_a_snapshot_in_one_sync(impl, times):
    """With the entries behind it; what came before it is void, also what was handed over meanwhile."""
    adapter, writes = module(impl, "node.adapter"), module(impl, "storage.writes")
    memory, threads = module(impl, "_native.memory"), module(impl, "_native.threads")
    suite, outbox = module(impl, "testing.storage_snapshots"), module(impl, "_native.outbox")
    kept = impl.MemoryStorage([1, 2, 3])
    kept.open(1, CLUSTER)
    storage = Noted(kept)
    queue, gauges = writes.WriteQueue(threads.Event()), writes.DiskGauges()
    serving = adapter.StorageAdapter(storage, queue, gauges, threads.Event())
    number = 0

    def put(hard_state, *pieces):
        nonlocal number
        number += 1
        spans = memory.Spans()
        for piece in pieces:
            spans.py_push(piece)
        assert queue.py_put_write(spans, number, hard_state.term, hard_state.vote, hard_state.commit)

    put(impl.HardState(1, 2, 0), records(impl, 1, [(1, b"a"), (1, b"b"), (1, b"c")]))
    assert serving.round() and storage.calls == ["append", "sync"]
    storage.calls.clear()
    for index in range(20, 20 + times):
        made = suite.receive(kept, suite.described(index, 2), b"state of %d" % index)
        put(impl.HardState(1, 2, 0), records(impl, 4, [(1, b"void")]))
        record = outbox.snapshot_record(made.snapshot())
        put(impl.HardState(2, 3, index), record, records(impl, index + 1, [(2, b"behind %d" % index)]))
    put(impl.HardState(2, 3, index), records(impl, index + 2, [(2, b"and on")]))
    assert serving.round()
    assert storage.calls == [("begin behind", index), "append", "sync"]
    assert gauges.done == number and gauges.syncs == 2
    kept.close()
    loaded = kept.open(1, CLUSTER)
    assert (loaded.base_index, loaded.hard_state) == (index, impl.HardState(2, 3, index))
    assert suite.rows_of(loaded) == [(index + 1, 2, b"behind %d" % index), (index + 2, 2, b"and on")]
    assert loaded.snapshot.index == index
    kept.close()


def test_a_storage_that_cannot_fails(impl):
    """Without the snapshot, or the method: nothing is acknowledged any more."""
    adapter, writes = module(impl, "node.adapter"), module(impl, "storage.writes")
    memory, threads = module(impl, "_native.memory"), module(impl, "_native.threads")
    kept = impl.MemoryStorage([1, 2, 3])
    kept.open(1, CLUSTER)
    queue, gauges = writes.WriteQueue(threads.Event()), writes.DiskGauges()
    serving = adapter.StorageAdapter(kept, queue, gauges, threads.Event())
    spans = memory.Spans()
    snapshot = impl.Snapshot(9, 2, impl.ConfState(voters=(1, 2, 3)))
    spans.py_push(module(impl, "_native.outbox").snapshot_record(snapshot))
    queue.py_put_write(spans, 1, 2, 0, 9)
    assert not serving.round()
    assert isinstance(serving.error, impl.UsageError) and gauges.error != 0 and gauges.done == 0
    kept.close()
