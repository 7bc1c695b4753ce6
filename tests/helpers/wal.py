"""Directories of FileStorage for tests: written, read, damaged, opened elsewhere. Not a test."""

import shutil
import subprocess
import sys
import threading

from tests.helpers.implementations import module, structures
from tests.helpers.paths import ROOT
from tests.helpers.storages import founded

CLUSTER = b"wal-test-cluster"
BLOCK = 4096
SMALL = 64 << 10


def opened(impl, path, **settings):
    storage = founded(impl, path, **{"segment_bytes": SMALL, "cluster": CLUSTER, **settings})
    return storage, storage.open(1, CLUSTER)


def contents(impl, loaded):
    log = structures(impl).EntryLog()
    for piece in loaded.records:
        log.py_extend(piece)
    return [(e.index, e.term, e.data) for e in log.entries(log.first, log.last)]


def records(impl, first, items):
    """Records of consecutive entries: (term, data) each."""
    core = structures(impl)
    log = core.EntryLog()
    if first > 1:
        log.py_restore(first - 1, 1)
    for term, data in items:
        log.py_append(term, data)
    return log.records(first, log.last)


def write(impl, path, batches):
    """Write batches of (hard state, first index, items); the states that each of them leads to, oldest first."""
    storage, _ = opened(impl, path)
    states = [(impl.HardState(), [])]
    held = []
    for hard_state, first, items in batches:
        storage.append(hard_state, [records(impl, first, items)] if items else [])
        storage.sync()
        held = held[: first - 1] + [(first + i, term, data) for i, (term, data) in enumerate(items)]
        states.append((hard_state, list(held)))
    end = storage.wal.write_offset
    storage.close()
    return states, end


def small_log(impl, path):
    """A few batches of every sort, in few blocks."""
    h = impl.HardState
    return write(
        impl,
        path,
        [
            (h(1, 2, 0), 1, []),
            (h(1, 2, 0), 1, [(1, b"one"), (1, b""), (1, b"three" * 30)]),
            (h(2, 3, 2), 3, [(2, b"replaced")]),
            (h(2, 3, 3), 4, [(2, bytes(range(256)) * 5), (2, b"\0" * 1500)]),
        ],
    )


def segment(path, number=1):
    return path / f"wal-{number:016x}.log"


def marks(impl, path):
    """The mark as it was after each batch of the first segment; before them what a new directory has."""
    format = module(impl, "storage.wal_format")
    data = segment(path).read_bytes()
    found = [format.Mark(0, 0, 0, 0)]
    at = BLOCK
    while data[at : at + 4] == b"RXWB":
        chain, number, length = (
            int.from_bytes(data[at + a : at + b], "little") for a, b in ((4, 8), (16, 24), (32, 40))
        )
        at += -(-(96 + length) // BLOCK) * BLOCK
        found.append(format.Mark(number, 1, at, chain))
    return found


def put_mark(impl, path, *slots):
    """A mark whose slots say this; None for one that says nothing."""
    format = module(impl, "storage.wal_format")
    founding = module(impl, "storage.founding").decode((path / "founding").read_bytes())
    owner = format.Owner(founding.cluster, founding.id, founding.store)
    data = [b"" if mark is None else format.encode_mark(mark, slot, owner) for slot, mark in enumerate(slots)]
    (path / "wal.mark").write_bytes(b"".join([each.ljust(BLOCK, b"\0") for each in data]))


def damaged(impl, whole, path, content, mark=None):
    """A directory like another one, with this content of its segment; ``mark``: the mark lags so far behind."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    segment(path).write_bytes(content)
    shutil.copy(whole / "wal.mark", path)
    shutil.copy(whole / "founding", path)
    shutil.copy(whole / "lives", path)
    if mark is not None:
        put_mark(impl, path, mark, mark)


def recover(impl, path):
    """(hard state, entries) or the error that refused it."""
    storage = impl.FileStorage(path)
    try:
        loaded = storage.open(1, CLUSTER)
        return loaded.hard_state, contents(impl, loaded)
    finally:
        storage.close()


def opened_elsewhere(path):
    """What a process of its own says that opens this directory, in the mode of the package that is installed."""
    code = "import sys, raftx\ntry: raftx.FileStorage(sys.argv[1]).open(1, sys.argv[2].encode())\n"
    code += "except raftx.WrongDirectory as e: print(e)"
    return subprocess.run(
        [sys.executable, "-c", code, str(path), CLUSTER.decode()],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )


def serving(impl, storage, queue, gauges, event):
    """The two threads of a log, started, as a node has them."""
    wal = storage.wal

    def run():
        wal.begin_serving(queue, gauges, event, impl.Clock())
        try:
            wal.run()
        finally:
            wal.end_serving()

    threads = [
        threading.Thread(target=wal.reserve.run, name="raftx-wal-test-reserve"),
        threading.Thread(target=run, name="raftx-wal-test"),
    ]
    for thread in threads:
        thread.start()
    return threads


def served(impl, storage, queue, gauges, event):
    """Let the threads of a log write what the queue holds, up to its end or a failure."""
    for thread in serving(impl, storage, queue, gauges, event):
        thread.join(30)
        assert not thread.is_alive()


def segments(directory):
    """The numbers of its segments."""
    return sorted(int(each.name[4:20], 16) for each in directory.iterdir() if each.name.startswith("wal-"))


def files_of(path):
    """The names and contents of a directory's files."""
    return {each.name: each.read_bytes() for each in path.iterdir()}


def damage(path):
    """Turn a bit of the first batch of a log over."""
    data = bytearray(segment(path).read_bytes())
    data[4096 + 40] ^= 1
    segment(path).write_bytes(data)


def create(impl, path, **changed):
    """Found a member."""
    settings = {"id": 1, "members": [1, 2, 3], "cluster": CLUSTER, "segment_bytes": SMALL, **changed}
    return impl.FileStorage.create(path, **settings)
