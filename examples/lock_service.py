"""A lock service: three members, and clients in any language that speak lines of text over TCP.

    python lock_service.py                             a demo: three members, one of which is killed
    python lock_service.py found DIRECTORY ID URL...   set a member up, once; URL...: of all members, in order
    python lock_service.py serve DIRECTORY ID PORT URL...

A client connects to any member and sends lines; each has one answer:

    lock NAME [SECONDS]    ok TOKEN, or busy when it could not be had in that time (without one: it waits)
    unlock NAME            ok, or lost
    holder NAME            held TOKEN, or free
    check NAME TOKEN       yes while that token is in force, else no: for a resource that is to refuse old holders

A connection is a holder: its locks go when it is closed, and, when its member dies, with the lease of the connection.
Exit status of the demo: 0 when all went well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import raftx
import raftx.recipes

TTL = 2.0  # seconds: of a dead member's connections
SECONDS = 60.0  # for each step of the demo; never needed
LINE_MAX = 1 << 10


class Connection:
    """One client of the service: a client of recipes, and the locks that it holds."""

    def __init__(self, node: raftx.Node[Any]) -> None:
        self.recipes = raftx.recipes.aio.Client(node, ttl=TTL)
        self.locks: dict[str, raftx.recipes.aio.Lock] = {}

    async def answer(self, line: str) -> str:
        """What a line comes to."""
        command, *rest = line.split()
        method = getattr(self, f"do_{command}", None)
        if method is None:
            return f"error: {command} is not known: lock, unlock, holder and check are"
        try:
            return str(await method(*rest))
        except TypeError:
            return f"error: {command} has other arguments"
        except (ValueError, raftx.RaftError) as error:
            return f"error: {type(error).__name__}: {error}"

    async def do_lock(self, name: str, seconds: str | None = None) -> str:
        """Wait for a lock."""
        lock = self.locks.setdefault(name, self.recipes.lock(name))
        if await lock.acquire(None if seconds is None else float(seconds)):
            return f"ok {lock.token}"
        return "busy"

    async def do_unlock(self, name: str) -> str:
        """Give a lock back."""
        lock = self.locks.pop(name, None)
        if lock is None:
            return "error: this connection does not hold it"
        try:
            await lock.release()
        except raftx.recipes.LockLost:
            return "lost"
        return "ok"

    async def do_holder(self, name: str) -> str:
        """Whether anybody holds it."""
        holders = await self.recipes.lock(name).holders()
        return f"held {holders[0].token}" if holders else "free"

    async def do_check(self, name: str, token: str) -> str:
        """Whether a token is in force."""
        holders = await self.recipes.lock(name).holders()
        return "yes" if int(token) in [holder.token for holder in holders] else "no"


async def converse(node: raftx.Node[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one client, until it goes. It may go while it waits for a lock, so lines are read meanwhile."""
    connection = Connection(node)
    lines: asyncio.Queue[str] = asyncio.Queue(16)

    async def work() -> None:
        while True:
            line = await lines.get()
            if line.strip():
                writer.write((await connection.answer(line) + "\n").encode())
                await writer.drain()

    worker = asyncio.ensure_future(work())
    try:
        with contextlib.suppress(OSError, ValueError):  # a line that is too long, or no text
            while line := await reader.readline():
                await lines.put(line.decode())
    finally:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await worker
        await connection.recipes.close()
        writer.close()


async def serve(directory: str, id: int, port: int, urls: dict[int, str]) -> None:
    """A member and its service, until SIGTERM."""
    node = raftx.Node(
        raftx.Config(id=id), raftx.FileStorage(directory), raftx.NngTransport(urls[id], urls), raftx.recipes.Recipes()
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with node:
        await asyncio.to_thread(node.wait_ready)
        conversations: set[asyncio.Task[None]] = set()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            conversations.add(task)
            try:
                await converse(node, reader, writer)
            finally:
                conversations.discard(task)

        server = await asyncio.start_server(accepted, "127.0.0.1", port, limit=LINE_MAX)
        print("ready", flush=True)
        await stop.wait()
        server.close()
        for task in list(conversations):
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)


# --- the demo ----------------------------------------------------------------------------------------


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Person:
    """Somebody who is connected to a member."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.file = self.socket.makefile("rw")

    def send(self, line: str) -> None:
        """A line; its answer comes later."""
        self.file.write(line + "\n")
        self.file.flush()

    def answer(self) -> str:
        """The next answer."""
        return self.file.readline().strip()

    def ask(self, line: str) -> str:
        """A line, and its answer."""
        self.send(line)
        return self.answer()

    def close(self) -> None:
        """Go."""
        self.file.close()
        self.socket.close()


def demo(place: Path) -> None:
    """Three members; two people want one lock, and the member of the one that has it is killed."""
    ports = free_ports(6)
    urls = [f"tcp://127.0.0.1:{port}" for port in ports[:3]]
    this = [sys.executable, str(Path(__file__).resolve())]
    members: dict[int, subprocess.Popen[str]] = {}
    try:
        for id in (1, 2, 3):
            directory = str(place / str(id))
            subprocess.run([*this, "found", directory, str(id), *urls], check=True)
            arguments = [*this, "serve", directory, str(id), str(ports[2 + id]), *urls]
            members[id] = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        for member in members.values():
            assert member.stdout is not None
            assert member.stdout.readline().strip() == "ready"
        ada, bob, printer = Person(ports[3]), Person(ports[4]), Person(ports[5])
        first = ada.ask("lock printer").split()[1]
        in_force = printer.ask(f"check printer {first}")
        print(f"Ada has the printer, token {first}; it asks whether that is in force: {in_force}")
        print(f"Bob tries: {bob.ask('lock printer 0')}; now he waits")
        bob.send("lock printer")
        begun = time.monotonic()
        members[1].kill()
        members[1].wait()
        second = bob.answer().split()[1]
        took = time.monotonic() - begun
        print(f"Ada's member was killed; Bob has the printer {'soon' if took < 20 else 'late'}, token {second}")
        answers = [printer.ask(f"check printer {token}") for token in (first, second)]
        print(f"the printer asks about token {first}: {answers[0]}; about token {second}: {answers[1]}")
        assert int(second) > int(first) and answers == ["no", "yes"]
        print(f"Bob gives it back: {bob.ask('unlock printer')}; then it is {printer.ask('holder printer')}")
        third = bob.ask("lock printer").split()[1]
        bob.close()
        ended = time.monotonic() + SECONDS
        while printer.ask("holder printer") != "free":
            assert time.monotonic() < ended
            time.sleep(0.05)
        print(f"Bob has taken it again, token {third}, and hung up: the printer is free")
        for person in (ada, printer):
            person.close()
    finally:
        for member in members.values():
            if member.poll() is None:
                member.terminate()
        for member in members.values():
            try:
                member.wait(SECONDS)
            finally:
                if member.poll() is None:
                    member.kill()
                    member.wait()
                assert member.stdout is not None
                member.stdout.close()


def main(arguments: Sequence[str]) -> int:
    """The command."""
    logging.basicConfig(level=logging.ERROR)
    if not arguments:
        with tempfile.TemporaryDirectory() as place:
            demo(Path(place))
        print("all went well")
        return 0
    match arguments:
        case ["found", directory, id, *urls] if urls:
            raftx.FileStorage.create(directory, id=int(id), members=dict(enumerate(urls, 1)))
            return 0
        case ["serve", directory, id, port, *urls] if urls:
            asyncio.run(serve(directory, int(id), int(port), dict(enumerate(urls, 1))))
            return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
