"""Whatever comes from outside, looked for by coverage: frames, what follows from them, the log, files, requests.

    python -m tests.tools.coverage_fuzz [--seconds 30] [--only TARGET ...] [--corpus DIRECTORY] [--runs N]

Each target takes bytes and does with them what a member does. atheris chooses the bytes by what they reach in the
interpreted package; the compiled one gets the same, and both have to come to the same. Where a checksum or a length
would stop everything, it is put right first, three times of four. A target fails when something else is raised than
what is promised, when both packages differ, when a message that is refused changes anything, or when the process ends.

Each runs in a process of its own with at most 2 GB of memory. What it finds is kept in build/fuzz/TARGET, beside a
corpus that grows; a small one is in tests/data/fuzz. Exits with 1 for a finding, 2 without atheris.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import base64
import contextlib
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.helpers.implementations import module
from tests.helpers.paths import ROOT
from tests.tools import fuzz_sanitized
from tests.tools.fuzz_http import Admin, Kv
from tests.tools.fuzz_target import Finding, Target, outcome, same

CORPUS = ROOT / "tests" / "data" / "fuzz"
FOUND = ROOT / "build" / "fuzz"
CLUSTER = b"fuzz".ljust(16, b"\0")
MEMORY_MB = 2048
#: what a key-value server is told besides its table in a cluster's file
LISTENS = {"name": "m", "listen": ("http://127.0.0.1:1",), "advertise": ()}
#: what is interpreted
INSTRUMENTED = ("raftx_pure", "raftx.admin.", "raftx.kv.")
FRAME, HEAD = 64, 64
#: what a step may raise of what was let in; nothing has changed then
STEPPED = ("UnknownPeer", "ProposalDropped", "ConfChangeError")
#: what opening a directory may raise
OPENED = (
    "WalDamaged",
    "StorageError",
    "StorageFailed",
    "NotFounded",
    "WrongDirectory",
    "SnapshotDamaged",
    "Corruption",
)

#: what reading a snapshot's header may raise, and its parts
READ = ("SnapshotDamaged", "StorageError", "ConfChangeError", "UnicodeDecodeError", "error")


def whole(data: bytes) -> bytes:
    """A frame of member 2 for member 1, whose lengths and checksums are right, with what is given as the rest."""
    body = bytearray(data)
    at, crc_of = 0, []
    while len(body) - at >= HEAD:
        size = min(struct.unpack_from("<I", body, at + 8)[0], len(body) - at - HEAD)
        struct.pack_into("<I", body, at + 8, size)
        crc_of.append(bytes(body[at : at + HEAD]))
        seal(body, at + HEAD, size)
        at += HEAD + size
    body = body[:at]
    head = struct.pack("<4sBBH16sQQQQI", b"RXF1", 1, 0, 64, CLUSTER, 0, 2, 1, 2**33, len(body))
    crc = zlib.crc32(head)
    for each in crc_of:
        crc = zlib.crc32(each, crc)
    return head + struct.pack("<I", crc) + bytes(body)


def seal(body: bytearray, at: int, size: int) -> None:
    """Put the checksums of records right."""
    end = at + size
    while end - at >= 32:
        length = min(struct.unpack_from("<I", body, at + 4)[0], end - at - 32)
        struct.pack_into("<I", body, at + 4, length)
        struct.pack_into("<I", body, at, zlib.crc32(bytes(body[at + 4 : at + 32 + length])))
        at += 32 + length


class Frames(Target):
    """The codec, and then the algorithm, in each role."""

    def run(self, data: bytes) -> None:
        frame = whole(data[1:]) if data[:1] > b"\x3f" else data[1:]
        seen = []
        for impl in self.packages:
            codec = impl._core.Codec(CLUSTER, 1, 2**33)
            codec.connection = 2 if data[:1] < b"\x80" else 0
            found = outcome(lambda codec=codec: codec.decode(frame), "FrameError")
            seen.append(found if isinstance(found, str) else [fields(each) for each in found])
        if isinstance(same("what the codecs make of a frame", seen), str):
            return
        role = data[0] % 3
        same("what members do with a frame", [self.stepped(impl, frame, role) for impl in self.packages])

    def stepped(self, impl: ModuleType, frame: bytes, role: int) -> list[Any]:
        from tests.helpers.core_net import Member

        member = Member(impl, voters=(1, 2, 3), terms=(1, 1, 2), hard=(2, 0, 2), pre_vote=True, check_quorum=True)
        if role == 0:
            member.lead_with(2)
        elif role == 1:
            member.campaign()
        said = []
        for message in impl._core.Codec(CLUSTER, 1, 2**33).decode(frame):
            if message.kind >= 35:
                continue
            before = state(member)
            reason = member.node.refusal(message)
            if reason and state(member) != before:
                raise Finding(f"a message that was refused has changed something: {message}")
            if not reason:
                reason = outcome(lambda message=message: member.node.step(message), *STEPPED) or ""
            said.append((reason, state(member)))
            if member.node.core.term - before[0] > 2**32:
                raise Finding(f"one message has raised the term to {member.node.core.term}")
        return said


def state(member: Any) -> tuple[int, ...]:
    core = member.node.core
    return core.term, core.vote, core.lead, core.role, core.committed, core.log.last


def fields(m: Any) -> tuple[Any, ...]:
    names = ("kind", "flags", "sender", "term", "log_term", "index", "commit", "hint", "context")
    return (*[getattr(m, name) for name in names], [(e.index, e.term, e.kind, e.data) for e in m.entries])


class Seals(Target):
    """Seals and names in certificates."""

    def run(self, data: bytes) -> None:
        key = bytes(range(32))
        seen = []
        for impl in self.packages:
            own = module(impl, "_native.seal").Seal([key, bytes(32)])
            made = own.py_close(data)
            seen.append((own.py_open(data), made, own.py_open(made), own.py_open(made)))
        same("seals", seen)
        texts = data.split(b"\n")
        identities = [module(impl, "_native.identity").Identities for impl in self.packages]
        same("names", [made(b"raftx://c/", {}).py_member(texts) for made in identities])
        same("names", [made(b"", {1: b"a.example", 7: b"b.example"}).py_member(texts) for made in identities])


class Certificates(Target):
    """What is read of a certificate."""

    def run(self, data: bytes) -> None:
        pem = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(data) + b"\n-----END CERTIFICATE-----\n"
        for text in (pem, data):
            read = [module(impl, "transport.certificate").certificates for impl in self.packages]
            seen = [outcome(lambda each=each, text=text: each(text), "ValueError") for each in read]
            same("certificates", [str(each) for each in seen])


class Log(Target):
    """A directory with a segment in which bytes were changed: opened, or refused. data: places and bytes."""

    def run(self, data: bytes) -> None:
        seen = []
        for number, impl in enumerate(self.packages):
            path = self.scratch / f"log-{number}"
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(self.made(number, impl), path)
            change(max(path.glob("*.wal"), key=lambda each: each.stat().st_size, default=path / "founding"), data)
            storage = impl.FileStorage(path)
            found = outcome(lambda storage=storage: storage.open(1, CLUSTER), *OPENED)
            seen.append(found if isinstance(found, str) else (found.hard_state.term, len(list(found.records))))
            storage.close()
        same("what a log has", seen)

    def made(self, number: int, impl: ModuleType) -> Path:
        path = self.scratch / f"whole-{number}"
        if not path.exists():
            storage = impl.FileStorage.create(path, id=1, members=[1, 2], cluster=CLUSTER, segment_bytes=64 << 10)
            storage.open(1, CLUSTER)
            for index in range(1, 30):
                entry = impl.Entry(index, 1 + index // 10, bytes(index * 7))
                storage.append(impl.HardState(entry.term, 2, index - 1), [encoded(entry)])
                storage.sync()
            storage.close()
        return path


def encoded(entry: Any) -> bytes:
    """The record of an entry."""
    rest = struct.pack("<IQQQ", len(entry.data), entry.index, entry.term, entry.kind) + entry.data
    return struct.pack("<I", zlib.crc32(rest)) + rest


def change(path: Path, data: bytes) -> None:
    """Write bytes over others: four for the place, one for how many, and these."""
    content = bytearray(path.read_bytes())
    at = 0
    while len(data) - at >= 5 and content:
        place, size = struct.unpack_from("<IB", data, at)
        piece = data[at + 5 : at + 5 + size]
        place %= min(len(content), 16 << 10)
        content[place : place + len(piece)] = piece
        at += 5 + size
    path.write_bytes(content)


class Snapshots(Target):
    """The header of a snapshot's file, and the memberships in it."""

    def run(self, data: bytes) -> None:
        formats = [module(impl, "storage.snapshot_format") for impl in self.packages]
        for name, text in (
            ("decode", header(data)),
            ("decode", data),
            ("decode_members", data),
            ("decode_addresses", data),
        ):
            calls = [getattr(each, name) for each in formats]
            seen = [outcome(lambda call=call, text=text: call(text), *READ) for call in calls]
            same(name, [str(each) for each in seen])


def header(data: bytes) -> bytes:
    """The header of a snapshot whose checksum, length and version are right, with what is given as the rest."""
    from raftx.storage import snapshot_format as form

    head = bytearray(form.MAGIC.ljust(form.MEMBERS_AT, b"\0") + data)
    head[form.FLAGS_AT : form.FLAGS_AT + len(data)] = data
    for at, value in (
        (form.USED_AT, len(head)),
        (form.VERSION_AT, form.VERSION),
        (form.VERSION_AGAIN_AT, form.VERSION),
    ):
        struct.pack_into("<I", head, at, value)
    struct.pack_into("<I", head, form.CRC_AT, zlib.crc32(head[form.USED_AT :]))
    return bytes(head)


class Files(Target):
    """A cluster's file with what its server is told, and addresses."""

    def run(self, data: bytes) -> None:
        path = self.scratch / "cluster.toml"
        path.write_bytes(data)
        for impl in self.packages:
            found = outcome(lambda impl=impl: impl.ClusterFile.load(path), "ConfigError")
            if not isinstance(found, str):
                repr([found, *found.members.values()])
                settings = module(impl, "kv.settings").Settings
                outcome(lambda made=settings, file=found: made.from_table(file.server, **LISTENS), "ConfigError")
        text = data.decode("utf-8", "surrogateescape")
        for impl in self.packages:
            for listen in (False, True):
                outcome(
                    lambda impl=impl, listen=listen: module(impl, "transport.address").parse(text, "x", listen=listen),
                    "ConfigError",
                )


class Commands(Target):
    """Arguments of the command line."""

    def run(self, data: bytes) -> None:
        import click

        text = data.decode("utf-8", "replace").replace("\0", "")
        for impl in self.packages:
            base = module(impl, "cli.base")
            for kind in (base.MEMBERS, base.PAIR, base.NATURAL, base.CLUSTER):
                with contextlib.suppress(click.ClickException):
                    kind.convert(text, None, None)


TARGETS: dict[str, type[Target]] = {
    "frames": Frames, "seals": Seals, "certificates": Certificates, "log": Log, "snapshots": Snapshots, "files": Files,
    "commands": Commands, "kv": Kv, "admin": Admin,
}  # fmt: skip


# --- running them --------------------------------------------------------------------------------------


def child(name: str, options: list[str]) -> None:
    """Run one target in this process, which atheris ends."""
    import atheris

    import raftx
    from raftx import _pure

    pure = _pure.load()
    target = TARGETS[name]([raftx, pure] if raftx.COMPILED else [pure], Path(tempfile.mkdtemp(prefix="raftx-fuzz-")))
    target.run(b"")
    for each in list(sys.modules.values()):
        if getattr(each, "__name__", "").startswith(INSTRUMENTED) and hasattr(each, "__dict__"):
            instrument(atheris, each)
    atheris.Setup([sys.argv[0], *options], target.run)
    atheris.Fuzz()


def instrument(atheris: Any, found: ModuleType) -> None:
    """Let atheris see which lines of a module are run."""
    for value in list(vars(found).values()):
        if getattr(value, "__module__", None) != found.__name__:
            continue
        if isinstance(value, type):
            for name, each in list(vars(value).items()):
                if hasattr(each, "__code__"):
                    setattr(value, name, atheris.instrument_func(each))
        elif hasattr(value, "__code__"):
            atheris.instrument_func(value)


def run(name: str, seconds: int, corpus: Path, runs: int) -> bool:
    """One target for so long; whether nothing was found."""
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    own = corpus / name
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={found}/",
        "-max_len=2048",
    ]
    options += [f"-runs={runs}"] if runs else []
    options += [str(found), *([str(own)] if own.is_dir() else [])]
    command = [sys.executable, "-m", "tests.tools.coverage_fuzz", "--child", name, *options]
    with tempfile.TemporaryDirectory(prefix="raftx-fuzz-") as directory:  # a child ends without clearing up
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **fuzz_sanitized.environment(Path(directory)), "TMPDIR": directory},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds * 3 + 300,
        )
    lines = done.stderr.splitlines()
    last = [line for line in lines if line.startswith("Done ")] or [line for line in lines if "exec/s" in line][-1:]
    print(
        f"{name:<14} {'nothing found' if done.returncode == 0 else 'FOUND'}   {last[0].strip() if last else ''}",
        flush=True,
    )
    if done.returncode:
        print("\n".join(lines[-40:]))
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Run what is asked for; the exit status."""
    if arguments[:1] == ["--child"]:
        child(arguments[1], arguments[2:])
        return 0
    parser = argparse.ArgumentParser(prog="python -m tests.tools.coverage_fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="for each target (default: 30)")
    parser.add_argument("--runs", type=int, default=0, help="executions of each target at most (default: no limit)")
    parser.add_argument("--only", action="append", choices=list(TARGETS), metavar="TARGET")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    given = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris (Linux and macOS; Python up to 3.13)")
        return 2
    os.environ.pop("RAFTX_PURE", None)
    good = [run(name, given.seconds, given.corpus, given.runs) for name in given.only or TARGETS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
