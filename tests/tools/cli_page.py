"""The examples of docs/cli.md, run: each block of the page is what the commands in it print.

    python -m tests.tools.cli_page            compare, and say what differs
    python -m tests.tools.cli_page --write    put into the page what is printed now

Blocks run one after the other in one directory, in which there are members, whole and damaged, and with the admin pages
of a made-up cluster. Nothing but loopback is contacted: other addresses are only written down. Two outputs are the same
if they differ in numbers and times only. What measures the machine is run only to be written: ``raftx doctor``,
``bench`` and ``demo`` have tests of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import raftx
from tests.helpers.admin_server import TOKEN, Made, serving
from tests.helpers.implementations import module
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports
from tests.helpers.wal import records, segment

PAGE = ROOT / "docs" / "cli.md"
BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
MEASURING = ("doctor", "bench", "demo")
SHOWN = "/srv/flags"  # for the directory in which it runs
CLUSTER = b"flags".ljust(16, b"\0")
URLS = {1: "tcp://10.0.0.1:5601", 2: "tcp://10.0.0.2:5601", 3: "tcp://10.0.0.3:5601"}
COLUMNS = 100


def blocks(page: str) -> list[str]:
    """The examples of a page."""
    return BLOCK.findall(page)


def commands(block: str) -> list[str]:
    """The commands in an example."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def keys_of(name: str) -> set[str]:
    """The keys of JSON in the first row of that name; what stands in brackets is about them."""
    row = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)[0]
    plain = re.sub(r"\([^)]*\)", "", row).replace("of each", "")
    return set(re.findall(r"`(\w+)`", plain))


def measures(block: str) -> bool:
    """Whether what it prints depends on the machine."""
    return any(command.split()[1] in MEASURING for command in commands(block))


def skeleton(text: str) -> str:
    """What stays the same from run to run."""
    text = re.sub(r"\d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"-\d{8}-\d{6}\S*|-\d{4}-\d\d-\d\d\S*", "-TIME", text)
    text = re.sub(r"\b[0-9a-f]{16,}\b", "HEX", text)
    text = re.sub(r"\d[\d,.]*\d|\d", "N", text)
    return "\n".join([" ".join(line.split()) for line in text.strip().splitlines()])


# --- the world in which it runs --------------------------------------------------------------------------


def member(path: Path, id: int) -> None:
    """A member with some entries."""
    storage = raftx.FileStorage.create(path, id=id, members=URLS, cluster=CLUSTER, segment_bytes=1 << 20)
    storage.open(id, CLUSTER)
    # Proposals are told apart by member, its life, and a number.
    data = [b""] + [
        b"".join([number.to_bytes(8, "little") for number in (1, 1 << 32, at)]) + text
        for at, text in enumerate((b'{"dark": true}', b'{"beta": true}', b'{"dark": false}'), 1)
    ]
    for index, each in enumerate(data, 1):
        storage.append(raftx.HardState(2, id, index - 1), [records(raftx, index, [(2, each)])])
        storage.sync()
    storage.close()


def backup(path: Path) -> bytes:
    """A backup of the cluster."""
    made = module(raftx, "storage.snapshot_format").Descriptor
    descriptor = made(3, 2, raftx.ConfState(voters=tuple(URLS)), URLS, CLUSTER, incarnation=1, version=1)
    writer = module(raftx, "storage.snapshot_copy").BackupWriter(path, descriptor, False)
    writer.write(b'{"dark": true, "beta": true}')
    writer.finish()
    return path.read_bytes()


def local(port: int) -> str:
    """A cluster on loopback: a member for this machine, one that answers on a port, and one that does not run."""
    (gone,) = ports(1)
    members = {1: ("127.0.0.1:1", ""), 2: (f"127.0.0.1:{port}", f"127.0.0.1:{port}"), 3: (f"127.0.0.1:{gone}", "")}
    parts = ['cluster = "local"', 'data = "members/{id}"']
    for id, (url, admin) in members.items():
        parts += [f"[members.{id}]", f'url = "tcp://{url}"', *([f'admin = "{admin}"'] if admin else [])]
    return "\n".join(parts) + "\n"


@contextlib.contextmanager
def world() -> Iterator[tuple[Path, dict[str, str]]]:
    """The directory and the environment of the examples."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        where = Path(directory)
        for id in (1, 2, 3):
            member(where / "members" / str(id), id)
        damaged = segment(where / "members" / "3")
        data = bytearray(damaged.read_bytes())
        data[2 * 4096 + 40] ^= 1
        damaged.write_bytes(data)
        cluster = Made()
        for id, url in URLS.items():
            cluster.members[id]["url"] = url
        cluster.backup = backup(where / "made")
        (where / "made").unlink()
        url = stack.enter_context(serving(cluster))
        (where / "local.toml").write_text(local(int(url.rpartition(":")[2])), encoding="utf-8")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAFTX_")},
            "RAFTX_ADMIN": url,
            "RAFTX_TOKEN": TOKEN,
            "PYTHONPATH": str(ROOT),
            "COLUMNS": str(COLUMNS),
            "PYTHONIOENCODING": "utf-8",
        }
        yield where, environment


def run(command: str, where: Path, environment: dict[str, str]) -> str:
    """What a command prints, errors included, as a terminal would have it."""
    words = shlex.split(command)
    assert words[0] == "raftx", command
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=where,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stdout, done.stdout
    text = done.stdout.replace(os.path.realpath(where), SHOWN).replace(str(where), SHOWN)
    return "\n".join([line.rstrip() for line in text.rstrip().splitlines()])


def ran(page: str, measuring: bool) -> list[str]:
    """The examples as they are printed now. measuring: also those that measure the machine."""
    found = []
    with world() as (where, environment):
        for block in blocks(page):
            if measures(block) and not measuring:
                found.append(block)
                continue
            parts = [f"$ {each}\n{run(each, where, environment)}".rstrip() for each in commands(block)]
            found.append("\n".join(parts) + "\n")
    return found


def main() -> int:
    """Compare or write; the exit status."""
    write = sys.argv[1:] == ["--write"]
    page = PAGE.read_text(encoding="utf-8")
    now = ran(page, write)
    if write:
        fresh = iter(now)
        PAGE.write_text(BLOCK.sub(lambda _: next(fresh), page), encoding="utf-8")
        return 0
    different = 0
    for block, printed in zip(blocks(page), now, strict=True):
        if skeleton(block) != skeleton(printed):
            different += 1
            sys.stdout.write(f"--- the page\n{block}\n+++ now\n{printed}\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
