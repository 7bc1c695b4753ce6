"""Facts about this machine and this process: file systems, limits, memory, how late threads wake. Linux tells most."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from .loads import burn_python

#: file systems whose content a power cut takes, that belong to a container, and that are somewhere else
VOLATILE = {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"}
LAYERED = {"overlay", "aufs", "fuse.fuse-overlayfs"}
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs"}
#: libraries that make a sync do nothing
SKIPPERS = ("eatmydata", "nosync", "libnofsync")


@dataclass(frozen=True)
class FileSystem:
    """What a directory is on. Empty: the system does not tell."""

    kind: str = ""
    device: str = ""
    mount: str = ""
    options: str = ""


def existing(path: str | os.PathLike[str]) -> Path:
    """The path, or the nearest directory above it that is there."""
    where = Path(path).absolute()
    while not where.is_dir() and where != where.parent:
        where = where.parent
    return where


def file_system(path: str | os.PathLike[str], mounts: str | None = None) -> FileSystem:
    """What a directory is on. mounts: what /proc/self/mountinfo says."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return FileSystem()
    where = os.path.realpath(path)
    found = FileSystem()
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(kinds) < 3:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        within = where == mount or where.startswith(mount.rstrip("/") + "/")
        if within and len(mount) >= len(found.mount):  # of two in one place the later one counts
            found = FileSystem(kinds[0], kinds[1], mount, f"{fields[5]},{kinds[2]}")
    return found


def sync_skipper() -> str:
    """The library in this process that makes a sync do nothing; "": none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
            name = line.rpartition("/")[2]
            if any(each in name for each in SKIPPERS):
                return name
    loaded = os.environ.get("LD_PRELOAD", "")
    return loaded if any(each in loaded for each in SKIPPERS) else ""


def open_files() -> int:
    """How many descriptors this process may have; -1: as many as it likes."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return -1 if limit == resource.RLIM_INFINITY else limit


def free_bytes(path: str | os.PathLike[str]) -> int:
    """Room on the disk for this user."""
    return shutil.disk_usage(existing(path)).free


def free_memory() -> int | None:
    """Bytes that this process can have; of a container, what is left of its share. None: the system does not tell."""
    found = []
    with contextlib.suppress(OSError):
        match = re.search(r"^MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
        if match:
            found.append(int(match[1]) << 10)
    for most, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path(most).read_text(encoding="ascii")) - int(Path(used).read_text(encoding="ascii")))
    return max(min(found), 0) if found else None


def wake_delays(seconds: float, busy: bool) -> list[float]:
    """How late, in us, a thread of Python is that sleeps for a millisecond; busy: beside one that computes."""
    stop = threading.Event()
    other = threading.Thread(target=burn_python, args=(stop,), daemon=True)
    if busy:
        other.start()
    try:
        late = []
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            time.sleep(0.001)
            late.append(max(time.perf_counter() - now - 0.001, 0.0) * 1e6)
        return late
    finally:
        stop.set()
        if busy:
            other.join()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def interpreter() -> str:
    """Which Python this is."""
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    name = f"{sys.implementation.name} {sys.version.split()[0]}"
    return name if has_gil else f"{name}, without the GIL"
