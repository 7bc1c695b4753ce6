"""What a disk can do alone: writes of one block, each with a sync."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SPAWN = multiprocessing.get_context("spawn")
BLOCK = 4096
LENGTH = 16 << 20
FILLED_S = 1.5  # until others have filled their files


@contextlib.contextmanager
def scratch(directory: str | os.PathLike[str], prefix: str) -> Iterator[Path]:
    """A directory of its own in ``directory``, which is made if need be; it is removed at the end."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def syncs(path: str | os.PathLike[str], seconds: float, size: int = BLOCK, length: int = LENGTH) -> list[float]:
    """Latencies in us of writes of one block with an fdatasync each, in a file that is written already.

    The file is made at ``path`` and removed. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with contextlib.suppress(OSError):  # not every file system reserves
            os.posix_fallocate(descriptor, 0, length)
        for at in range(0, length, 1 << 20):
            os.pwrite(descriptor, bytes(min(1 << 20, length - at)), at)
        os.fsync(descriptor)
        block = os.urandom(size)
        at, latencies = 0, []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            os.pwrite(descriptor, block, at)
            os.fdatasync(descriptor)
            latencies.append((time.perf_counter() - started) * 1e6)
            at = (at + size) % (length - size)
        return latencies
    finally:
        os.close(descriptor)
        os.unlink(path)


def start(process: Any) -> None:
    """Start a process that Ctrl-C never reaches, from its first moment on: it is for whoever started it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()  # it inherits what is blocked
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _other(pipe: Connection, path: str, seconds: float) -> None:
    pipe.send(syncs(path, seconds))


def syncs_beside(directory: str | os.PathLike[str], seconds: float = 2.0, processes: int = 1) -> list[float]:
    """Latencies in us of one-block syncs in ``directory``, while ``processes - 1`` others do the same."""
    with scratch(directory, "sync-") as path:
        pipes, running = [], []
        for number in range(1, processes):
            ours, theirs = SPAWN.Pipe()
            arguments = (theirs, str(path / f"other{number}"), seconds + 2)
            process = SPAWN.Process(target=_other, args=arguments, daemon=True)
            start(process)
            pipes.append(ours)
            running.append(process)
        if running:
            time.sleep(FILLED_S)
        latencies = syncs(path / "own", seconds)
        for pipe, process in zip(pipes, running):
            pipe.recv()
            process.join()
        return latencies
