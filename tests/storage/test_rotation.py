"""The log goes on in another segment: one sync for its thread, and what a crash leaves of header and first batch."""

import errno

import pytest

from tests.helpers.implementations import module
from tests.helpers.wal import records
from tests.tools.crash import judge, runs
from tests.tools.crash.runs import PATH

BLOCK = 4096
NEXT = "wal-0000000000000002.log"


@pytest.fixture
def run(impl):
    """A log by rounds, whose next batch does not fit, and whose next segment is there."""
    made = runs.Run(impl, True)
    made.start()
    made.vote(1, 2)
    made.more(2, 17_000)
    for _ in range(3):
        made.storage.wal.reserve.py_round()
    return made


def put(run, size=13_000):
    """The next entry is handed over."""
    index = max(run.log.rows, default=0) + 1
    run.log = run.log._replace(rows={**run.log.rows, index: (1, size)})
    spans = module(run.impl, "_native.memory").Spans()
    spans.py_push(bytes(records(run.impl, index, [(1, runs.data(index, 1, size))])))
    run.number += 1
    assert run.queue.py_put_write(spans, run.number, 1, 2, 0)


def syncs(run):
    return run.disk.counts["sync"], run.disk.counts["sync names"]


def test_a_rotation_costs_the_log_one_sync(run):
    """The header is synced with the batch; the mark by the thread of the reserve."""
    before = syncs(run)
    steps = len(run.journal)
    put(run)
    assert run.storage.wal.py_round()
    wal, reserve = run.storage.wal, run.storage.wal.reserve
    assert run.gauges.done == run.number and wal.segment == 2
    assert syncs(run) == (before[0] + 1, before[1])
    # Header, batch, zeros ahead where there are none, sync, mark.
    done = [each for each in run.journal[steps:] if each.kind != "write" or any(each.data)]
    kinds = [(each.kind, each.position, len(each.data)) for each in done]
    assert [kind for kind, _, _ in kinds] == ["write", "write", "sync", "write"]
    assert [(at, size) for kind, at, size in kinds if kind == "write"][:2] == [(0, BLOCK), (BLOCK, 4 * BLOCK)]
    assert not reserve.py_is_settled() and wal.unsettled
    reserve.py_round()  # the segment after it
    before = syncs(run)
    reserve.py_round()
    assert reserve.py_is_settled()
    assert syncs(run) == (before[0] + 1, before[1])


def test_without_rounds_the_mark_is_synced_at_once(impl):
    """There is no other thread: header and batch with one sync, the mark with another one."""
    run = runs.Run(impl)
    run.start()
    run.more(2, 17_000)
    before = syncs(run)
    names = run.disk.counts["create"]
    run.more(1, 17_000)
    # And one for the segment that is made here, with its name.
    assert run.storage.wal.segment == 2 and run.disk.counts["create"] == names + 1
    assert syncs(run) == (before[0] + 3, before[1] + 1)
    assert not run.storage.wal.unsettled


def test_no_later_segment_is_there_before_the_first_batch_is_durable(run):
    """A header that is torn is that of the last segment, always."""
    run.disk.freeze()
    put(run)
    for _ in range(5):
        run.clock.advance(1)
        assert run.storage.wal.py_round()
        run.storage.wal.reserve.py_round()
    assert run.storage.wal.segment == 2 and run.gauges.done == run.number - 1
    assert [name for name in run.disk.files(PATH) if name.endswith(".log")] == ["wal-0000000000000001.log", NEXT]
    run.disk.thaw()
    while run.gauges.done < run.number:
        run.round()
    run.round(3)
    assert "wal-0000000000000003.log" in run.disk.files(PATH)


def test_a_mark_that_is_late_is_synced_by_the_log_itself(run):
    """So it lags behind by no more than a segment, whatever the other thread does."""
    wal, reserve = run.storage.wal, run.storage.wal.reserve
    while wal.segment < 3:
        put(run)
        while run.gauges.done < run.number:
            run.clock.advance(0.01)
            assert wal.py_round()
        assert not reserve.py_is_settled()

    def number(name):
        return run.disk.find(module(run.impl, "testing.disk").Path(PATH, name)).number

    mark, third = number("wal.mark"), number("wal-0000000000000003.log")
    steps = [(each.kind, each.node) for each in run.journal]
    begun = steps.index(("write", third))
    synced = begun - 1 - steps[:begun][::-1].index(("sync", mark))
    # Nothing but what concerns the file of the next segment is between them, and its name.
    assert all([node not in (mark, number(NEXT)) for kind, node in steps[synced + 1 : begun]])


def test_the_log_waits_for_a_mark_that_is_being_synced(run):
    """The other thread is at it when the next rotation comes."""
    wal, reserve = run.storage.wal, run.storage.wal.reserve
    put(run)
    while run.gauges.done < run.number:
        assert wal.py_round()
    run.disk.chances.stall, run.disk.chances.stall_asks = 1.0, 3
    reserve.py_round()
    assert not reserve.py_is_settled()
    run.disk.freeze()
    run.disk.chances.stall = 0.0
    put(run, 50_000)
    for _ in range(4):
        run.clock.advance(0.01)
        assert wal.py_round()
    assert wal.segment == 2
    run.disk.thaw()
    while run.gauges.done < run.number:
        run.round()
    assert wal.segment == 3


def test_a_mark_that_cannot_be_synced_ends_the_log(run):
    """Not at once, as no batch depends on it; and it is said what has failed."""
    put(run)
    assert run.storage.wal.py_round()
    run.disk.fail("sync", errno.EIO, name="wal.mark")
    for _ in range(2):
        run.storage.wal.reserve.py_round()
    run.clock.advance(0.6)
    assert not run.storage.wal.py_round()
    assert run.gauges.error == 5 << 32 | errno.EIO


def written(run):
    """The next entry is durable. The other thread does nothing."""
    put(run)
    while run.gauges.done < run.number:
        run.clock.advance(0.01)
        assert run.storage.wal.py_round()


@pytest.mark.parametrize("settled", [False, True], ids=["mark-lags", "mark-is-exact"])
@pytest.mark.parametrize("lost", [BLOCK, 2 * BLOCK], ids=["header", "and-that-of-the-batch"])
@pytest.mark.parametrize("batches", [1, 2])
def test_a_segment_without_its_header(run, settled, batches, lost):
    """Torn, when only a first batch can have been in it that nobody knows of; otherwise it is damaged."""
    impl = run.impl
    mark = run.disk.read(f"{PATH}/wal.mark")
    before = run.log
    for _ in range(batches):
        written(run)
    run.disk.kill()
    content = run.disk.read(f"{PATH}/{NEXT}")
    if not settled:
        run.disk.write(f"{PATH}/wal.mark", mark)
    run.disk.write(f"{PATH}/{NEXT}", bytes(lost) + content[lost:])
    storage = impl.FileStorage(PATH, disk=run.disk)
    if settled or batches > 1:
        with pytest.raises(impl.WalDamaged, match=r"0002\.log|was on disk"):
            storage.open(1, runs.CLUSTER)
        assert run.disk.read(f"{PATH}/{NEXT}") == bytes(lost) + content[lost:]
        return
    loaded = storage.open(1, runs.CLUSTER)
    promise = run.promises[-1]._replace(logs=(before,), incarnation=loaded.incarnation - 1)
    assert judge.found(impl, storage, loaded, promise) == before
    assert storage.repaired == (NEXT, 0, "its header was not written whole")
    storage.close()


@pytest.mark.parametrize("what", ["bit", "batch", "behind", "later"])
def test_damage_is_no_torn_header(run, what):
    """A wrong bit in a header or a first batch, something behind that batch, a later segment: nothing is cut off."""
    impl = run.impl
    mark = run.disk.read(f"{PATH}/wal.mark")
    written(run)
    if what == "later":
        # Made when the first batch was durable, and not before.
        for _ in range(2):
            run.storage.wal.reserve.py_round()
    run.disk.kill()
    run.disk.write(f"{PATH}/wal.mark", mark)
    content = bytearray(run.disk.read(f"{PATH}/{NEXT}"))
    if what == "bit":
        content[40] ^= 1
    else:
        content[:BLOCK] = bytes(BLOCK)
        content[BLOCK + 20 if what == "batch" else -100] ^= what != "later"
    run.disk.write(f"{PATH}/{NEXT}", bytes(content))
    with pytest.raises(impl.WalDamaged, match=r"0002\.log"):
        impl.FileStorage(PATH, disk=run.disk).open(1, runs.CLUSTER)
    assert run.disk.read(f"{PATH}/{NEXT}") == bytes(content)
