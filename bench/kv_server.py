"""raftx serve beside etcd's JSON gateway: python -m bench.kv_server [--seconds S] [--clients 1,16] [--directory D]

Three servers of each, durable, on this machine, in rounds in which they take turns: puts, ranges and transactions by
so many clients with keep-alive, spread over the servers; the first one is on another server in each round, so that one
client is on the leader as often as on each of the others. Requests a second and processor time: means of the rounds;
how long requests took: medians. etcd is taken from PATH, or named by ETCD in the environment; without it raftx is
measured alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from interop.etcd_kv.sides import etcd_binary, free_port

KEY = "YmVuY2gtMDAwMQ=="  # bench-0001
VALUE = "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"
REQUESTS = {
    "put": ("/v3/kv/put", {"key": KEY, "value": VALUE}),
    "range": ("/v3/kv/range", {"key": KEY}),
    "serializable": ("/v3/kv/range", {"key": KEY, "serializable": True}),
    "txn": (
        "/v3/kv/txn",
        {
            "compare": [{"key": KEY, "target": "VERSION", "result": "GREATER", "version": "0"}],
            "success": [{"request_put": {"key": KEY, "value": VALUE}}],
        },
    ),
}
ROUNDS = 6  # a multiple of the number of servers


class Servers:
    """Three of a kind."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        peers = [free_port() for _ in range(3)]
        self.ports = [free_port() for _ in range(3)]
        cluster = ",".join([f"n{at}=http://127.0.0.1:{peer}" for at, peer in enumerate(peers)])
        binary = [etcd_binary() or "etcd", "--log-level", "error", "--enable-v2=false"]
        command = binary if kind == "etcd" else [sys.executable, "-m", "raftx", "serve", "--log-level", "error"]
        self.processes = []
        for at, (peer, port) in enumerate(zip(peers, self.ports)):
            url = f"http://127.0.0.1:{port}"
            flags = [
                "--name", f"n{at}", "--data-dir", str(directory / f"{kind}-{at}"), "--listen-client-urls", url,
                "--advertise-client-urls", url, "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster", cluster,
            ]  # fmt: skip
            self.processes.append(
                subprocess.Popen([*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
        for port in self.ports:
            _wait(port)

    def cpu(self) -> float:
        """Seconds of processor time of all three."""
        ticks = os.sysconf("SC_CLK_TCK")
        total = 0
        for process in self.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / ticks

    def memory(self) -> float:
        """MiB that all three have in memory."""
        pages = sum(int(Path(f"/proc/{each.pid}/statm").read_text().split()[1]) for each in self.processes)
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def _wait(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as found,
        ):
            if found.status == 200:
                return
        if time.monotonic() > until:
            raise TimeoutError(f"nobody is healthy at {port}")
        time.sleep(0.05)


class Connection(asyncio.Protocol):
    """One client: a request, its answer, and the next one."""

    def __init__(self, request: bytes, until: float, took: list[float], ended: asyncio.Future[None]) -> None:
        self.request, self.until, self.took, self.ended = request, until, took, ended
        self.data = b""
        self.began = 0.0
        self.failed = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._next()

    def _next(self) -> None:
        self.began = time.perf_counter()
        if self.began >= self.until:
            self.transport.close()
            return
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, separator, body = self.data.partition(b"\r\n\r\n")
        if not separator:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        if at >= 0:
            if len(body) < int(lower[at + 15 :].split(b"\r\n", 1)[0]):
                return
        elif not body.endswith(b"0\r\n\r\n"):
            return
        self.took.append(time.perf_counter() - self.began)
        self.failed += b" 200 " not in head[:20]
        self.data = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def load(ports: list[int], what: str, clients: int, seconds: float) -> tuple[float, float, float, int]:
    """Requests a second, median and 99th percentile in ms, and how many were refused."""
    path, body = REQUESTS[what]
    data = json.dumps(body).encode()
    request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
    loop = asyncio.get_running_loop()
    took: list[float] = []
    began = time.perf_counter()
    until = began + seconds
    ended, made = [], []
    for at in range(clients):
        future: asyncio.Future[None] = loop.create_future()
        ended.append(future)
        _, protocol = await loop.create_connection(
            lambda future=future: Connection(request, until, took, future), "127.0.0.1", ports[at % len(ports)]
        )
        made.append(protocol)
    await asyncio.gather(*ended)
    spent = time.perf_counter() - began
    took.sort()
    failed = sum(each.failed for each in made)
    return len(took) / spent, took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--clients", default="1,16,64,256")
    parser.add_argument("--directory", default=None, help="where the servers keep what they have")
    options = parser.parse_args()
    kinds = ["etcd", "raftx"] if etcd_binary() else ["raftx"]
    directory = Path(tempfile.mkdtemp(prefix="bench-kv-", dir=options.directory))
    running: dict[str, Servers] = {}
    try:
        for kind in kinds:
            running[kind] = Servers(kind, directory)
        print(
            f"{'':>14}{'clients':>8}"
            + "".join([f"{kind:>10}{'p50 ms':>8}{'p99 ms':>8}{'cpu us':>8}" for kind in kinds])
        )
        for what in REQUESTS:
            for clients in [int(each) for each in options.clients.split(",")]:
                found: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in kinds}
                for at in range(ROUNDS):
                    for kind in kinds:
                        ports = running[kind].ports
                        ports = ports[at % len(ports) :] + ports[: at % len(ports)]
                        cpu = running[kind].cpu()
                        rate, middle, high, failed = asyncio.run(load(ports, what, clients, options.seconds / ROUNDS))
                        spent = (running[kind].cpu() - cpu) * 1e6 / max(1, rate * options.seconds / ROUNDS)
                        found[kind].append((rate, middle, high, spent, failed))
                line = f"{what:>14}{clients:>8}"
                for kind in kinds:
                    rates, middles, highs, spents, refused = zip(*found[kind])
                    rate, spent, failed = statistics.mean(rates), statistics.mean(spents), sum(refused)
                    middle, high = statistics.median(middles), statistics.median(highs)
                    line += f"{rate:>10.0f}{middle:>8.2f}{high:>8.2f}{spent:>8.0f}"
                    if failed:
                        line += f" ({failed:.0f} refused)"
                print(line, flush=True)
        for kind in kinds:
            print(f"{kind}: {running[kind].memory():.0f} MiB in memory, three servers")
    finally:
        for each in running.values():
            each.close()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
