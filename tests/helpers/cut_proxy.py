"""A program between members that cuts the network between any two of them, one way or both. Not a test.

    python -m tests.helpers.cut_proxy '[[12001, 12101], ...]'

Each pair is a port to listen on and the port to pass on to. A line on stdin is a list of pairs of ids, JSON: nothing
that the first says reaches the second any more, until another line comes; ``ok`` on stdout answers it. Who speaks, and
to whom, is in the first frame of a connection. What is held back arrives late, if both ends are still there then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys

# Eight bytes of greeting, eight of length, and the frame's header up to the recipient.
IDS = struct.Struct("<8x8x4s28xqq")
GREETING = 8


class Cuts:
    """Which pairs are cut."""

    def __init__(self) -> None:
        self.now: set[tuple[int, int]] = set()
        self.changed = asyncio.Event()

    def set(self, pairs: list[list[int]]) -> None:
        self.now = {(sender, recipient) for sender, recipient in pairs}
        self.changed.set()
        self.changed = asyncio.Event()

    async def open(self, pair: tuple[int, int]) -> None:
        while pair in self.now:
            await self.changed.wait()


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cuts: Cuts) -> None:
    """What the one who dialled says."""
    writer.write(await reader.readexactly(GREETING))
    first = await reader.readexactly(IDS.size - GREETING)
    magic, *ids = IDS.unpack(bytes(GREETING) + first)
    pair = (ids[0], ids[1])
    assert magic == b"RXF1", magic
    data = first
    while data:
        await cuts.open(pair)
        writer.write(data)
        await writer.drain()
        data = await reader.read(1 << 16)


async def back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, cuts: Cuts) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                tasks = [
                    asyncio.create_task(forward(reader, to_writer, cuts)),
                    asyncio.create_task(back(to_reader, writer)),
                ]
                _, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in rest:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                to_writer.close()
        finally:
            writer.close()


async def run(pairs: list[list[int]]) -> None:
    cuts = Cuts()
    servers = [
        await asyncio.start_server(lambda r, w, target=target: connection(r, w, target, cuts), "127.0.0.1", port)
        for port, target in pairs
    ]
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("ok", flush=True)  # noqa: T201 - it answers
    while line := await commands.readline():
        cuts.set(json.loads(line))
        print("ok", flush=True)  # noqa: T201 - it answers
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
