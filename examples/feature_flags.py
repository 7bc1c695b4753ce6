"""Feature flags over HTTP: a Starlette service whose state is replicated by raftx. Three processes, one file.

    python feature_flags.py cluster.toml 1 8001 --create     # the first time; likewise 2 8002 and 3 8003
    python feature_flags.py cluster.toml 1 8001

    curl localhost:8001/flags/dark-mode
    curl -X POST localhost:8002/flags/dark-mode -d '{"old": null, "new": {"on": true}}'

A flag is any JSON value. It changes by compare-and-set: the change is made if the flag still is what the caller
believes it to be. Any member takes any request. Needs starlette and uvicorn: pip install 'raftx[service]'.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import raftx
import raftx.aio

SECONDS = 2.0  # in which a request is answered


class Flags:
    """A dict that changes by compare-and-set. The same commands lead to the same dict on every member."""

    def __init__(self) -> None:
        self.flags: dict[str, Any] = {}

    def apply(self, entry: raftx.Entry) -> dict[str, Any]:
        """Make a change if the flag is what its author has seen; tell what it is now."""
        command = json.loads(entry.data)
        name = command["name"]
        changes = self.flags.get(name) == command["old"]
        if changes:
            self.flags[name] = command["new"]
        return {"changed": changes, "value": self.flags.get(name)}

    def snapshot(self) -> bytes:
        """All of it, so that the log can end."""
        return json.dumps(self.flags).encode()

    def restore(self, reader: Any) -> None:
        """The other way."""
        self.flags = json.loads(reader.read())


async def end_with(node: raftx.aio.Node[Any], end: Callable[[], None]) -> None:
    """A member that was removed, or whose disk has failed, is of no use to anybody: its service ends, too."""
    with suppress(Exception):  # what has ended it is in its log
        await node.wait()
    end()


def service(node: raftx.aio.Node[dict[str, Any]], end: Callable[[], None]) -> Starlette:
    """The application of one member. end: called when the node has ended by itself."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with node:
            watcher = asyncio.create_task(end_with(node, end))
            yield
            watcher.cancel()

    async def read(request: Request) -> JSONResponse:
        name = request.path_params["name"]
        try:
            # Behind a read that asks the leader: nobody sees an older value than somebody has seen before.
            value = await node.query(lambda machine: machine.flags.get(name))
        except (raftx.NotDone, raftx.Stopped) as error:
            return JSONResponse({"error": str(error)}, 503)
        return JSONResponse({"value": value})

    async def change(request: Request) -> JSONResponse:
        try:
            asked = await request.json()
            command = {"name": request.path_params["name"], "old": asked["old"], "new": asked["new"]}
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"error": 'send {"old": what the flag is, "new": what it is to be}'}, 400)
        try:
            # What is not done is proposed again within the time: without a leader, say.
            done = await node.propose(json.dumps(command).encode(), timeout=SECONDS)
        except raftx.EntryTooLarge as error:
            return JSONResponse({"error": str(error)}, 413)
        except raftx.Unknown:
            return JSONResponse({"error": "it may have been changed, or may be yet: read it"}, 504)
        except (raftx.NotDone, raftx.Stopped) as error:
            return JSONResponse({"error": str(error)}, 503)
        return JSONResponse(done.result, 200 if done.result["changed"] else 409)

    async def ready(request: Request) -> JSONResponse:
        try:
            return JSONResponse({"leader": await node.wait_ready(SECONDS)})
        except (TimeoutError, raftx.Stopped) as error:
            return JSONResponse({"error": str(error)}, 503)

    return Starlette(
        routes=[
            Route("/flags/{name}", read),
            Route("/flags/{name}", change, methods=["POST"]),
            Route("/ready", ready),
        ],
        lifespan=lifespan,
    )


def main() -> None:
    """Run one member."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="the cluster's file")
    parser.add_argument("id", type=int, help="which of its members this is")
    parser.add_argument("port", type=int, help="where HTTP is served, on 127.0.0.1")
    parser.add_argument("--create", action="store_true", help="found the member, the first time it runs")
    options = parser.parse_args()
    node = raftx.aio.Node.from_file(options.file, id=options.id, state_machine=Flags(), create=options.create)

    def end() -> None:
        server.should_exit = True

    # One process a member: the server is given the application itself, so it starts no further workers.
    server = uvicorn.Server(
        uvicorn.Config(service(node, end), host="127.0.0.1", port=options.port, log_level="warning")
    )
    server.run()
    if not server.started:
        sys.exit(3)  # its lifespan has told why
    if node.failure is not None:
        sys.exit(f"member {options.id} has ended: {node.failure}")


if __name__ == "__main__":
    main()
