"""The systems that are compared: how each is had, its members started, and one of them asked for a load.

Programs are put under build/peers; nothing else is written. Peers that cannot be had raise Missing with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interop.toolchains import ROOT, BuildFailed, build_go
from raftx.measure.network import free_ports

HERE = Path(__file__).resolve().parent
BUILT = ROOT / "build" / "peers"
MEMBERS = (1, 2, 3)
PYSYNCOBJ = "0.3.17"
START_S = 60.0
SLACK_S = 90.0  # beyond the time of a load


class Missing(Exception):
    """A system cannot be had here; the text says why."""


class Failed(Exception):
    """A system does not do what it must; the text says what."""


class Process:
    """A program that takes a JSON object a line and answers with one."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=env
            )
        self.rest = b""

    def _line(self, timeout: float) -> bytes:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        end = time.monotonic() + timeout
        while b"\n" not in self.rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise Failed(f"no answer within {timeout:.0f} s\n{self.last_words()}")
            got = os.read(descriptor, 1 << 16)
            if not got:
                raise Failed(f"it has ended\n{self.last_words()}")
            self.rest += got
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-1000:]

    def answer(self, timeout: float = START_S) -> dict[str, Any]:
        while True:
            line = self._line(timeout)
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                if isinstance(answer, dict):
                    return answer
            # A library may print lines of its own.

    def ask(self, timeout: float = START_S, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        return self.answer(timeout)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@dataclass
class System:
    """One system with one transport, as its members are started."""

    name: str
    transport: str
    durable: bool
    heading: str
    #: what can be asked of it: (role, mode)
    loads: tuple[tuple[str, str], ...] = (("leader", "future"),)
    version: str = ""
    processes: list[Process] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"{self.name}-{self.transport}" if self.transport else self.name

    def get(self) -> None:
        """Build or install it. Raises Missing."""

    def commands(self, directory: Path) -> list[list[str]]:
        """One for each process that answers."""
        raise NotImplementedError

    def start(self, directory: Path) -> None:
        """Raises Failed when no member leads in time."""
        directory.mkdir(parents=True)
        self.processes = []
        for command in self.commands(directory):
            self.processes.append(Process(command, directory / f"log{len(self.processes)}"))
        for process in self.processes:
            process.answer()
        self.find("leader")

    def find(self, role: str) -> Process:
        """A process of that role, once exactly one leads."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            leading = [process.ask(do="role")["leads"] for process in self.processes]
            if sum(leading) == 1:
                return self.processes[leading.index(role == "leader")]
            time.sleep(0.1)
        raise Failed("no leader")

    def load(self, role: str, mode: str, outstanding: int, seconds: float, size: int) -> dict[str, Any]:
        """What came of one load."""
        command = {"do": "load", "outstanding": outstanding, "seconds": seconds, "bytes": size, "mode": mode}
        return self.find(role).ask(seconds + SLACK_S, **command)

    def stop(self) -> None:
        for process in self.processes:
            process.end()
        self.processes = []


def _each(program: list[str], directory: Path, flags: bool) -> list[list[str]]:
    ports = ",".join(map(str, free_ports(len(MEMBERS))))
    if flags:
        return [[*program, "-id", str(id), "-dir", str(directory / str(id)), "-ports", ports] for id in MEMBERS]
    return [[*program, str(id), str(directory / str(id)), ports] for id in MEMBERS]


class Raftx(System):
    """This library; each member is a process of Python that proposes to itself."""

    def __init__(self, transport: str) -> None:
        both = tuple((role, mode) for role in ("leader", "follower") for mode in ("future", "many"))
        super().__init__("raftx", transport, True, f"raftx over {transport.upper()}", both)

    def get(self) -> None:
        import raftx

        self.version = f"{raftx.__version__}, {'compiled' if raftx.COMPILED else 'interpreted'}"

    def commands(self, directory: Path) -> list[list[str]]:
        program = [sys.executable, "-m", "bench.peers.raftx_member"]
        return [[*command, self.transport] for command in _each(program, directory, False)]


class Go(System):
    """A library for Go; each member is a process that proposes to itself."""

    module = ""

    def get(self) -> None:
        sources = HERE / self.name
        try:
            self.program = build_go(sources=sources, program=BUILT / self.name)
        except BuildFailed as error:
            raise Missing(str(error)) from error
        for line in (sources / "go.mod").read_text(encoding="utf-8").splitlines():
            if line.strip().removeprefix("require ").startswith(self.module + " "):
                self.version = line.split()[-1] if "//" not in line else line.split()[1]

    def commands(self, directory: Path) -> list[list[str]]:
        return _each([str(self.program)], directory, True)


class Hashicorp(Go):
    """Its followers pass nothing on."""

    module = "github.com/hashicorp/raft"

    def __init__(self) -> None:
        super().__init__("hashicorp", "", True, "hashicorp/raft, raft-wal")


class Dragonboat(Go):
    """Its followers pass proposals on."""

    module = "github.com/lni/dragonboat/v3"

    def __init__(self) -> None:
        loads = (("leader", "future"), ("follower", "future"))
        super().__init__("dragonboat", "", True, "dragonboat", loads)


class Etcd(Go):
    """Debian's package, unpacked under build/; a client process for each member puts the load on it."""

    module = "go.etcd.io/etcd/client/v3"

    def __init__(self) -> None:
        loads = (("leader", "future"), ("follower", "future"))
        super().__init__("etcd", "", True, "etcd, by a client process", loads)
        self.servers: list[subprocess.Popen[bytes]] = []

    def get(self) -> None:
        super().get()
        server = shutil.which("etcd") or BUILT / "etcd-server" / "usr" / "bin" / "etcd"
        if not Path(server).exists():
            self._unpack()
        self.server = str(server)
        told = subprocess.run([self.server, "--version"], capture_output=True, text=True, check=False).stdout
        self.version = f"{told.split()[2] if told else '?'}, client {self.version}"

    def _unpack(self) -> None:
        BUILT.mkdir(parents=True, exist_ok=True)
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise Missing("no etcd on PATH, and no apt-get to get Debian's package etcd-server with")
        done = subprocess.run(["apt-get", "download", "etcd-server"], cwd=BUILT, capture_output=True, text=True)
        packages = sorted(BUILT.glob("etcd-server_*.deb"))
        if done.returncode or not packages:
            raise Missing(f"apt-get download etcd-server: {done.stderr.strip()[-300:]}")
        subprocess.run(["dpkg", "-x", str(packages[-1]), str(BUILT / "etcd-server")], check=True)

    def commands(self, directory: Path) -> list[list[str]]:
        ports = free_ports(2 * len(MEMBERS))
        clients, peers = ports[::2], ports[1::2]
        everybody = ",".join([f"m{id}=http://127.0.0.1:{port}" for id, port in zip(MEMBERS, peers)])
        for id, client, peer in zip(MEMBERS, clients, peers):
            own, public = f"http://127.0.0.1:{peer}", f"http://127.0.0.1:{client}"
            with (directory / f"server{id}").open("wb") as log:
                server = [
                    self.server, "--name", f"m{id}", "--data-dir", str(directory / str(id)),
                    "--listen-client-urls", public, "--advertise-client-urls", public,
                    "--listen-peer-urls", own, "--initial-advertise-peer-urls", own,
                    "--initial-cluster", everybody, "--initial-cluster-state", "new", "--log-level", "error",
                ]  # fmt: skip
                env = {**os.environ, "ETCD_UNSUPPORTED_ARCH": os.uname().machine}
                self.servers.append(subprocess.Popen(server, stdout=log, stderr=log, env=env))
        return [[str(self.program), "-endpoint", f"127.0.0.1:{port}"] for port in clients]

    def stop(self) -> None:
        super().stop()
        for server in self.servers:
            server.kill()
            server.wait()
        self.servers = []


class PySyncObj(System):
    """Pure Python, installed under build/; its journal is written and never synced."""

    def __init__(self, batch: bool) -> None:
        heading = f"PySyncObj, {'batching' if batch else 'not batching'}"
        loads = (("leader", "future"), ("follower", "future"))
        super().__init__("pysyncobj", "batching" if batch else "plain", False, heading, loads)
        self.batch = batch

    def get(self) -> None:
        where = BUILT / "pysyncobj"
        self.version = PYSYNCOBJ
        if (where / "pysyncobj").exists():
            return
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        done = subprocess.run(
            [*command, "--target", str(where), f"pysyncobj=={PYSYNCOBJ}"], capture_output=True, text=True
        )
        if done.returncode:
            raise Missing(f"pip install pysyncobj=={PYSYNCOBJ}: {done.stderr.strip()[-300:]}")

    def commands(self, directory: Path) -> list[list[str]]:
        run = "import sys; sys.path.insert(0, sys.argv.pop(1)); from bench.peers.pysyncobj_member import main; main()"
        program = [sys.executable, "-c", run, str(BUILT / "pysyncobj")]
        return [[*command, str(int(self.batch))] for command in _each(program, directory, False)]


def everything() -> list[System]:
    """All that can be asked for, in the order of the tables."""
    return [
        Raftx("tcp"),
        Raftx("nng"),
        Hashicorp(),
        Dragonboat(),
        Etcd(),
        PySyncObj(False),
        PySyncObj(True),
    ]
