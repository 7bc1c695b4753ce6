"""``raftx bench``: a short run of real processes, its figures, and what it leaves."""

import json
import os
import re

import pytest

from tests.helpers.commands import ran, spawned
from tests.helpers.implementations import module
from tests.tools import cli_page

QUICK = ("--seconds", "0.2", "--outstanding", "1,8")


@pytest.mark.slow
def test_bench(impl, tmp_path):
    """Both modes where there are both; whole figures, and nothing stays behind."""
    arguments = ["--directory", tmp_path / "bench", *QUICK, "--many", "--size", "16,300"]
    if not impl.COMPILED:
        refused = ran(impl, "bench", *arguments, "--compare-pure")
        assert refused.code == 2 and "interpreted already" in refused.err
    # In a process of its own: those that it spawns are of the same mode.
    environment = {**os.environ, "RAFTX_PURE": "" if impl.COMPILED else "1"}
    done = spawned("bench", *arguments, "--json", env=environment)
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    found = json.loads(done.stdout)
    assert found["compiled"] is impl.COMPILED and all(row["compiled"] is impl.COMPILED for row in found["rows"])
    rows = found["rows"]
    assert [(row["size"], row["mode"], row["outstanding"]) for row in rows] == [
        (size, mode, n) for size in (16, 300) for mode in ("propose", "propose_many") for n in (1, 8)
    ]
    assert set(found) == cli_page.keys_of("`bench`") and set(rows[0]) == cli_page.keys_of("each of its `rows`")
    for row in rows:
        assert row["entries_per_s"] > 0 and 0 < row["p50_us"] <= row["p99_us"] and row["syncs_per_s"] > 0
        assert sum(many for _, _, many in row["histogram"]) > 0
    assert found["members"] == 3 and found["sync_alone_p50_us"] > 0 and found["notes"]
    assert (found["round_trip_p50_us"] is not None) is impl.COMPILED
    assert list((tmp_path / "bench").iterdir()) == []


@pytest.mark.slow
@pytest.mark.once
def test_bench_of_both_modes(tmp_path, monkeypatch):
    import raftx

    if not raftx.COMPILED:
        assert ran(raftx, "bench", "--compare-pure").code == 2
        return
    monkeypatch.setattr("raftx.cli.bench.SECONDS_ALONE", 0.1)
    done = ran(raftx, "bench", "--directory", tmp_path, "--members", "1", "--compare-pure", *QUICK)
    assert done.code == 0, done.err
    table = [re.split(r"  +", line.strip()) for line in done.out.splitlines() if line.startswith("propose,")]
    assert [row[:2] for row in table] == [
        [f"propose, {mode}", n] for mode in ("compiled", "interpreted") for n in ("1", "8")
    ]
    assert re.search(r"^latency with 1 outstanding, 256 bytes:\n.*#", done.out, re.MULTILINE)
    assert done.err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--outstanding", "0"],
        ["--outstanding", "1,,2"],
        ["--outstanding", "x"],
        ["--size", "1048577"],
        ["--members", "0"],
    ],
    ids=repr,
)
def test_what_cannot_be_measured(impl, arguments):
    done = ran(impl, "bench", *arguments)
    assert done.code == 2 and done.err.count("\n") == 1 and done.out == ""


def test_a_member_that_fails_is_told(impl, tmp_path, monkeypatch):
    bench = module(impl, "cli.bench")
    monkeypatch.setattr(bench, "syncs_beside", lambda *_: [100.0])
    monkeypatch.setattr(bench, "round_trips", list)

    def fail(*_, **__):
        raise bench.MemberFailed("member 2:\nTraceback\nStorageFailed: the disk")

    monkeypatch.setattr(bench, "Cluster", fail)
    done = ran(impl, "bench", "--directory", tmp_path, *QUICK)
    assert done.code == 1 and done.err == "raftx: a member failed: StorageFailed: the disk\n"


@pytest.mark.slow
@pytest.mark.once
def test_an_interrupted_run_leaves_nothing(tmp_path):
    """Ctrl-C goes to all processes of a terminal; the members leave it to the command."""
    import signal
    import subprocess
    import sys

    from tests.helpers.paths import ROOT
    from tests.helpers.waiting import eventually

    # A shell lets what it starts in the background ignore Ctrl-C, and so would Python do then.
    heeds = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    heeds += "runpy.run_module('raftx', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", heeds, "bench", "--directory", str(tmp_path), "--seconds", "60"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            eventually(lambda: len(list(tmp_path.glob("cluster-*/*/wal-*"))) >= 3, timeout=60)
            os.killpg(process.pid, signal.SIGINT)
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, errors) == (130, b"", b"")
    assert list(tmp_path.iterdir()) == []
