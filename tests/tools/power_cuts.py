"""Power cuts of a real file system: ext4 in an image on a loop device, shut down without flushing its journal.

    python -m tests.tools.power_cuts [--cycles 200] [--seed 1]

A member alone writes, rotates, snapshots and compacts on it, until the file system is shut down (FS_IOC_SHUTDOWN):
what was not synced is gone then, and writes fail. It is mounted again, and what was acknowledged has to be there. Needs
root, losetup and mkfs.ext4. Prints a table; exits with 1 when something is missing, with 2 where this cannot be done.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import fcntl
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter

import raftx
from tests.helpers.programs import Program, look
from tests.helpers.writer import Judge

FS_IOC_SHUTDOWN = 0x8004587D
WITHOUT_LOG_FLUSH = 2
IMAGE_BYTES = 192 << 20
SEGMENT = 1 << 20


class CannotCut(Exception):
    """Something that is needed is not to be had here."""


def run(*command: str) -> str:
    """Raises CannotCut."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CannotCut(f"{command[0]}: {error}") from error
    if done.returncode:
        raise CannotCut(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


class FileSystem:
    """A file system of its own, whose power can be cut. Raises CannotCut."""

    def __init__(self, directory: pathlib.Path) -> None:
        if os.geteuid() != 0:
            raise CannotCut("it takes root to mount a file system and to shut it down")
        for program in ("losetup", "mkfs.ext4", "mount"):
            if shutil.which(program) is None:
                raise CannotCut(f"there is no {program}")
        self.path = directory / "mounted"
        self.path.mkdir()
        image = directory / "image"
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        run("mkfs.ext4", "-q", "-F", str(image))
        self.device = run("losetup", "--find", "--show", str(image))
        try:
            self.mount()
        except CannotCut:
            self.close()
            raise

    def mount(self) -> None:
        run("mount", "-t", "ext4", self.device, str(self.path))

    def cut(self) -> None:
        """What was not synced is gone; every operation fails from now on."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", WITHOUT_LOG_FLUSH))
        except OSError as error:
            raise CannotCut(f"the file system cannot be shut down: {error}") from error
        finally:
            os.close(fd)

    def mount_again(self) -> None:
        """The power is back."""
        run("umount", str(self.path))
        self.mount()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], capture_output=True, check=False)
        subprocess.run(["losetup", "-d", self.device], capture_output=True, check=False)


def cut_power(directory: pathlib.Path, cycles: int, draw: random.Random) -> Counter[str]:
    """So many cycles. Raises AssertionError, CannotCut."""
    system = FileSystem(directory)
    judge = Judge()
    path = str(system.path / "member")
    try:
        raftx.FileStorage.create(path, id=1, members=[1], segment_bytes=SEGMENT)
        for _ in range(cycles):
            program = Program(judge, path, "--go", "--size", draw.choice((400, 3000, 20000)))
            try:
                program.hear("done")
                time.sleep(draw.random() ** 2 * 0.6)
                system.cut()
                # Its next write fails, and the node ends by itself; what it says of that is not acknowledged.
                time.sleep(draw.random() * 0.02)
            finally:
                program.kill()
            system.mount_again()
            state = look(raftx, path)
            judge.counts["in doubt"] += state["doubt"] != ""
            judge.judge([state])
            judge.counts["cuts"] += 1
        judge.counts["snapshot at entry"] = state["snapshot"]["index"]
        judge.counts["newest segment"] = max(int(each.name[4:20], 16) for each in pathlib.Path(path).glob("wal-*.log"))
    finally:
        system.close()
    return judge.counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        try:
            counts = cut_power(pathlib.Path(directory), options.cycles, random.Random(options.seed))
        except CannotCut as error:
            print(f"the power cannot be cut here: {error}", file=sys.stderr)
            return 2
        except AssertionError as error:
            print(error)
            return 1
    counts["seconds"] = round(time.monotonic() - began)
    for name in ("cuts", "done", "checked", "unknown", "in doubt", "snapshot at entry", "newest segment", "seconds"):
        print(f"{name:<20}{counts[name]:>12,}")
    print("nothing acknowledged is missing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
