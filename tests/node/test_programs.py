"""A few cycles of the programs that kill members, cut their power and let their system calls fail."""

import random

import pytest

from tests.tools import churn, endurance, kill, memory_loss, power_cuts, size, syscalls


@pytest.mark.slow
def test_a_writer_that_is_killed(tmp_path, tell):
    counts = kill.kill_writer(tmp_path, 4, random.Random(5))
    assert counts["checked"] > 0 and counts["kills"] == 4
    tell(f"{counts['checked']:,} acknowledged entries are there after 4 kills")


@pytest.mark.slow
def test_a_cluster_that_is_killed(tmp_path, tell):
    counts = kill.kill_cluster(tmp_path, 3, random.Random(3))
    assert counts["checked"] > 0
    tell(f"{counts['checked']:,} acknowledged entries are there after kills of one to three members")


@pytest.mark.slow
def test_a_file_system_that_loses_power(tmp_path, tell):
    try:
        counts = power_cuts.cut_power(tmp_path, 3, random.Random(2))
    except power_cuts.CannotCut as error:
        pytest.skip(f"the power of a file system cannot be cut here: {error}")
    assert counts["checked"] > 0 and counts["cuts"] == 3
    tell(f"{counts['checked']:,} acknowledged entries are there after 3 power cuts of an ext4")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "course"), list(zip(memory_loss.KINDS, memory_loss.COURSES[1:], strict=True)))
def test_a_directory_that_is_wiped_or_set_back(kind, course, tell):
    acknowledged = memory_loss.run(kind, course, 1)
    tell(f"{kind}, {course}: recognised, {acknowledged} acknowledged, none lost")


@pytest.fixture
def strace():
    try:
        syscalls.check_strace()
    except syscalls.CannotTrace as error:
        pytest.skip(f"system calls cannot be made to fail here: {error}")


@pytest.mark.slow
def test_system_calls_that_fail(strace, tmp_path, tell):
    results = [
        # What ends a member ends it long before that, on a machine that is not busy.
        syscalls.one_error(tmp_path, call, error, nth, seconds)
        for call, error, nth, seconds in (
            ("pwrite64", "EIO", 10, 20.0),
            ("fdatasync", "EIO", 9, 20.0),
            ("renameat", "ENOSPC", 1, 1.0),
        )
    ]
    tell(f"a write, a sync and a rename fail: {', '.join(results)}")
    assert results == ["StorageFailed", "StorageFailed", "went on"]


@pytest.mark.slow
def test_a_kill_while_a_snapshot_is_written_and_received(strace, tmp_path):
    counts = syscalls.killed_while_writing(tmp_path, ("renameat",), 2)
    assert counts["killed"] == 1
    counts = syscalls.killed_while_receiving(tmp_path, ("renameat",), 1)
    assert counts["killed"] == 1


@pytest.mark.slow
def test_a_long_log_stays_small(tmp_path):
    """Of many times as many entries as stay: at most 64 MiB, and no memory for each of them."""
    _, _, samples = size.run(tmp_path, 100_000, 100, 1, snapshot_entries=2000)
    assert all(disk <= 64 << 20 for _, _, disk in samples)
    # What a hundred thousand entries in memory would take at least.
    assert samples[-1][1] - samples[len(samples) // 5][1] < 80_000 * 150


@pytest.mark.slow
def test_members_come_and_go_while_they_are_killed(tell):
    counts = churn.run(2, 5)
    tell(f"2 members came and went: {counts['checked']} checked, {counts['kills']} kills")
    assert counts["checked"] > 0 and counts["done changes"] == 4


@pytest.mark.slow
def test_every_fault_once(tell):
    try:
        group, faults = endurance.run(5, 7)
    except endurance.CannotEndure as error:
        pytest.skip(f"members cannot be given all faults here: {error}")
    assert group.judge.counts["checked"] > 0
    tell(f"{group.judge.counts['checked']:,} acknowledged entries are there after {', '.join(faults)}")


def test_what_grows_is_told():
    samples = endurance.Samples()
    for at in range(200):
        used = {"resident": (40 << 20) + at * (1 << 17), "descriptors": 30 + at // 20, "threads": 13 + at % 2}
        samples.rows.append((36.0 * at, used))
    assert [text.split(" ")[0] for text in samples.grown()] == ["resident", "descriptors"]
    assert samples.slope("resident") == pytest.approx(100 * (1 << 17))
    assert abs(samples.slope("threads")) < 0.1
    samples.rows[endurance.SAMPLES - 1 :] = []
    assert samples.grown() == []
