"""Runs of the demo as a user starts it, and texts for it. Not a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from raftx.demo.store import Text
from tests.helpers.paths import ROOT

# How long a run may take, in seconds.
WAIT = 120.0
# What a result has, in this order.
KEYS = [
    "lines",
    "acknowledged",
    "lost",
    "duplicated",
    "out_of_order",
    "leader_changes",
    "failover_ms",
    "lines_per_s",
    "commit_p50_us",
    "commit_p99_us",
    "wal_bytes",
    "syncs",
    "mean_batch",
    "digests",
    "input_digest",
    "compiled",
]


def numbered(count: int) -> Text:
    return Text(b"".join(b"line %d\n" % n for n in range(1, count + 1)))


# --- the text and its store --------------------------------------------------------------------------


def start(temporary: Path, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "raftx", "demo", *arguments],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=stdin,
    )


def run(
    temporary: Path, *arguments: str, stdin: bytes | None = None, expected: int = 0
) -> subprocess.CompletedProcess[bytes]:
    with start(temporary, *arguments, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE) as process:
        try:
            out, errors = process.communicate(stdin, timeout=WAIT)
        finally:
            process.kill()
    assert process.returncode == expected, (out[-2000:].decode(), errors[-2000:].decode())
    assert list(temporary.iterdir()) == []
    return subprocess.CompletedProcess([], process.returncode, out, errors)
