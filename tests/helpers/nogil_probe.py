"""The functions of the core that only compiled code can call, for tests in both modes.

``reach(impl, directory)`` gives them as functions whose first argument is the object. For the compiled package
they are a small extension that is compiled into ``directory``; for the interpreted one they are its methods.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

SOURCE = """
from libc.stdint cimport uint8_t
from raftx._core cimport EntryLog, Inflights, Peers
from raftx._native.memory cimport Buffer, Spans
from raftx._native.outbox cimport Message, Outbox

def set_spans(Outbox box, Spans spans, count): return box.set_spans(spans, count)
def share_body(Outbox box, Outbox other, row): return box.share_body(other, row)
def fill(EntryLog log, Outbox box, low, high): return log.fill(box, low, high)
def find(Outbox box, kind, to): return box.find(kind, to)
def extend(EntryLog log, Outbox box, row, high, commit): return log.extend(box, row, high, commit)
def discard(Outbox box, rows): box.discard(rows)
def length(Outbox box): return box.length()
def index_at(Outbox box, row): return box.index_at(row)
def count_at(Outbox box, row): return box.count_at(row)
def size_at(Outbox box, row): return box.size_at(row)
def has_changes(Message m): return bool(m.has_changes())
def origin(Message m): return m.origin()
def sequence(Message m): return m.sequence()
def add(Inflights window, slot, index, size): return window.add(slot, index, size)
def put_proposal(Buffer buffer, kind, origin, incarnation, sequence, bytes data):
    return buffer.put_proposal(kind, origin, incarnation, sequence, <const uint8_t*><const char*>data, len(data))

def fill_peer(Peers peers, slot, values, state, paused, active):
    cdef int at = slot
    (peers.match[at], peers.next[at], peers.sent_commit[at], peers.pending_snapshot[at],
     peers.requested_snapshot[at], peers.commit_group[at]) = values
    peers.state[at] = state
    peers.set_paused(at, paused)
    peers.set_recent_active(at, active)
"""

BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import Distribution, Extension
directory, package = sys.argv[1:]
extension = Extension(
    "raftx_probe", [directory + "/raftx_probe.pyx"], include_dirs=[package + "/raftx"], extra_compile_args=["-O0"]
)
modules = cythonize([extension], include_path=[package], language_level=3, quiet=True)
command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
command.build_lib = command.build_temp = directory
command.ensure_finalized()
command.run()
"""


#: What was loaded: an extension is initialised once in a process.
loaded: dict[Path, Any] = {}


class Methods:
    """The interpreted classes have these functions as methods."""

    def __getattr__(self, name: str) -> Any:
        return lambda each, *arguments: getattr(each, name)(*arguments)

    @staticmethod
    def put_proposal(buffer: Any, kind: int, origin: int, incarnation: int, sequence: int, data: bytes) -> int:
        size: int = buffer.put_proposal(kind, origin, incarnation, sequence, data, len(data))
        return size

    @staticmethod
    def fill_peer(peers: Any, slot: int, values: tuple[int, ...], state: int, paused: bool, active: bool) -> None:
        names = ("match", "next", "sent_commit", "pending_snapshot", "requested_snapshot", "commit_group")
        for name, value in zip(names, values):
            getattr(peers, name)[slot] = value
        peers.state[slot] = state
        peers.set_paused(slot, paused)
        peers.set_recent_active(slot, active)


def reach(impl: ModuleType, directory: Path) -> Any:
    """The functions for ``impl``; the compiled ones are made when ``directory`` is first used."""
    if not impl.COMPILED:
        return Methods()
    if directory not in loaded:
        loaded[directory] = build(impl, directory)
    return loaded[directory]


def build(impl: ModuleType, directory: Path) -> ModuleType:
    """Compile the extension against the package's own declarations, and load it."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    directory.mkdir(parents=True, exist_ok=True)
    directory.joinpath("raftx_probe.pyx").write_text(SOURCE, encoding="ascii")
    package = Path(impl.__file__ or "").resolve().parent.parent
    # Against other declarations than those of the build, calls would go to wrong places.
    for name in ("_native/memory", "_native/outbox", "_core"):
        stale = (package / f"raftx/{name}.pxd").stat().st_mtime > (package / f"raftx/{name}{suffix}").stat().st_mtime
        assert not stale, f"raftx/{name} is older than its declarations: make build"
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(directory), str(package)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    spec = importlib.util.spec_from_file_location("raftx_probe", directory / f"raftx_probe{suffix}")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
