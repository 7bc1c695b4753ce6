"""PostgreSQL kept available by Patroni on three raftx servers, all on this machine, in one directory.

    python examples/patroni/scene.py

It starts three ``raftx serve`` and three Patroni, each of which runs a PostgreSQL; it prints who is what whenever that
changes, and ends everything on Ctrl-C. It needs PostgreSQL's programs (15 or newer) and
``pip install 'raftx[server]' 'patroni[etcd3]' psycopg2-binary``. PostgreSQL refuses to run as root: where this program
does, Patroni runs as the user postgres. docs/patroni.md says how to do it on three machines.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SCOPE = "demo"
IDS = (1, 2, 3)
TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 5, 5  # seconds: loop_wait + 2 * retry_timeout is at most ttl
USER = "postgres"


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below those that the kernel gives to connections."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randint(12_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return list(found)


def bin_dir() -> str:
    """Where PostgreSQL's programs are."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
    if found:
        return found[-1]
    program = shutil.which("postgres")
    if program is None:
        sys.exit("PostgreSQL's programs are not here: install postgresql")
    return os.path.dirname(program)


def asked(port: int, method: str, path: str, body: Any = None, timeout: float = 3.0) -> tuple[int, Any]:
    """Status and body of an answer over HTTP; (0, None) for none."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        connection.request(method, path, json.dumps(body).encode() if body is not None else None)
        response = connection.getresponse()
        data = response.read()
        connection.close()
    except (OSError, http.client.HTTPException):
        return 0, None
    try:
        return response.status, json.loads(data)
    except ValueError:
        return response.status, data.decode("utf-8", "replace")


class Scene:
    """Three servers that hold the state of the cluster, and three Patroni. ``store``: "raftx", or the path of etcd."""

    def __init__(self, directory: Path, store: str = "raftx", python: str = sys.executable, **dcs: Any) -> None:
        self.directory, self.store = directory, store
        #: whose raftx is started; Patroni is that of this program's own Python
        self.python = python
        ports = free_ports(12)
        self.client_ports = dict(zip(IDS, ports[:3]))
        self.peer_ports = dict(zip(IDS, ports[3:6]))
        self.rest_ports = dict(zip(IDS, ports[6:9]))
        self.postgres_ports = dict(zip(IDS, ports[9:]))
        self.stores: dict[int, subprocess.Popen[bytes]] = {}
        self.patronis: dict[int, subprocess.Popen[bytes]] = {}
        #: where each Patroni reaches the three, when that is not where they listen
        self.through: dict[int, list[int]] = {}
        self.dcs = {"ttl": TTL, "loop_wait": LOOP_WAIT, "retry_timeout": RETRY_TIMEOUT, **dcs}
        self.user = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
        if self.user:
            shutil.chown(directory, USER, USER)

    # --- the store ---------------------------------------------------------------------------------

    def start_store(self, id: int) -> None:
        """One of the three."""
        cluster = ",".join([f"n{each}=http://127.0.0.1:{port}" for each, port in self.peer_ports.items()])
        url, peer = f"http://127.0.0.1:{self.client_ports[id]}", f"http://127.0.0.1:{self.peer_ports[id]}"
        flags = [
            "--name", f"n{id}", "--data-dir", str(self.directory / f"store-{id}"), "--listen-client-urls", url,
            "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", cluster,
        ]  # fmt: skip
        command = [self.python, "-m", "raftx", "serve"] if self.store == "raftx" else [self.store]
        with (self.directory / f"store-{id}.log").open("ab") as log:
            self.stores[id] = subprocess.Popen([*command, *flags], stdout=log, stderr=log)

    def store_leader(self) -> int:
        """Which of them leads; 0: nobody is known to."""
        for port in self.client_ports.values():
            status, found = asked(port, "POST", "/v3/maintenance/status", {})
            if status == 200 and found.get("leader", "0") != "0":
                for id, other in self.client_ports.items():
                    status, own = asked(other, "POST", "/v3/maintenance/status", {})
                    if status == 200 and own["header"]["member_id"] == found["leader"]:
                        return id
        return 0

    # --- Patroni -----------------------------------------------------------------------------------

    def configuration(self, id: int) -> dict[str, Any]:
        """Of one Patroni."""
        superuser = {"username": USER, "password": "only for loopback"}
        trusted = [f"host {what} all 127.0.0.1/32 trust" for what in ("all", "replication")]
        rest = f"127.0.0.1:{self.rest_ports[id]}"
        postgres = f"127.0.0.1:{self.postgres_ports[id]}"
        return {
            "scope": SCOPE,
            "name": f"p{id}",
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": self._store_of(id),
            "bootstrap": {
                "dcs": {
                    **self.dcs,
                    "synchronous_mode": True,
                    "postgresql": {"use_pg_rewind": True, "parameters": {"shared_buffers": "16MB"}},
                },
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
                "pg_hba": trusted,
            },
            "postgresql": {
                "listen": postgres,
                "connect_address": postgres,
                "bin_dir": bin_dir(),
                "data_dir": str(self.directory / f"postgres-{id}"),
                "pg_hba": trusted,
                "authentication": {"superuser": superuser, "replication": superuser, "rewind": superuser},
                "parameters": {"unix_socket_directories": ""},
                "pgpass": str(self.directory / f"pgpass-{id}"),
            },
        }

    def _store_of(self, id: int) -> dict[str, Any]:
        if id in self.through:  # it would go on to where the servers say they are
            return {"hosts": [f"127.0.0.1:{port}" for port in self.through[id]], "use_proxies": True}
        return {"hosts": [f"127.0.0.1:{port}" for port in self.client_ports.values()]}

    def start_patroni(self, id: int) -> None:
        """One of the three."""
        path = self.directory / f"patroni-{id}.yml"
        path.write_text(json.dumps(self.configuration(id), indent=1))  # JSON is YAML
        with (self.directory / f"patroni-{id}.log").open("ab") as log:
            self.patronis[id] = subprocess.Popen(
                [sys.executable, "-m", "patroni", str(path)], stdout=log, stderr=log, cwd=self.directory, **self.user
            )

    def kill_patroni(self, id: int) -> None:
        """With its PostgreSQL, at once."""
        self.patronis[id].kill()
        self.patronis[id].wait()
        try:
            pid = int((self.directory / f"postgres-{id}" / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return
        for each in [pid, *_children(pid)]:  # the parent first: it would start its children again
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def cluster(self) -> list[dict[str, Any]]:
        """The members, as one Patroni sees them; [] if nobody answers."""
        for port in self.rest_ports.values():
            status, found = asked(port, "GET", "/cluster")
            if status == 200:
                return list(found["members"])
        return []

    def members(self) -> dict[int, tuple[str, str]]:
        """Role and state of each Patroni."""
        return {int(each["name"][1:]): (each["role"], each["state"]) for each in self.cluster()}

    def primary(self) -> int:
        """Who says of itself that it is the primary; 0: nobody."""
        for id, port in self.rest_ports.items():
            if asked(port, "GET", "/primary")[0] == 200:
                return id
        return 0

    def is_complete(self) -> bool:
        """Whether there are a leader and two replicas that follow it, of which one is synchronous."""
        found = self.cluster()
        states = sorted([(each["role"], each["state"]) for each in found])
        wanted = [("leader", "running"), ("replica", "streaming"), ("sync_standby", "streaming")]
        return states == wanted and len({each.get("timeline") for each in found}) == 1

    # --- all of it ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Everything."""
        for id in IDS:
            self.start_store(id)
        for id in IDS:
            self.start_patroni(id)

    def close(self) -> None:
        """End everything that was started."""
        for process in self.patronis.values():
            if process.poll() is None:
                process.terminate()
        for id, process in self.patronis.items():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            self.kill_patroni(id)
        for process in self.stores.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--etcd", metavar="PATH", help="use this etcd in place of raftx")
    parser.add_argument("--raftx-python", metavar="PATH", default=sys.executable, help="the Python that has raftx")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="raftx-patroni-"))
    scene = Scene(directory, options.etcd or "raftx", options.raftx_python)
    print(f"everything is in {directory}; Ctrl-C ends it")
    seen: dict[int, tuple[str, str]] = {}
    try:
        scene.start()
        while True:
            now = scene.members()
            if now != seen:
                shown = [f"p{id} ({scene.postgres_ports[id]}): {', '.join(now[id])}" for id in sorted(now)]
                print(time.strftime("%H:%M:%S"), "  ".join(shown), flush=True)
                seen = now
            time.sleep(1)
    except KeyboardInterrupt:
        return 0
    finally:
        scene.close()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
