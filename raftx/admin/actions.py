"""What may be changed: a request's body becomes a call of the node, and its outcome becomes an answer.

200 done, 409 not done (and why), 504 unknown, 400 for a body that is none, with the field's name. Nothing that a caller
sends is logged.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from ..errors import NotDone, RaftError, Stopped, Unknown, UsageError
from ..node.changer import place
from ..node.plain import to_plain
from ..types import is_id

BODY_MAX = 64 << 10
TIMEOUT = 60.0  # seconds, where a request names none
TIMEOUT_MAX = 3600.0
LOOK_SECONDS = 2.0  # for the answers of the other members
PIECE = 256 << 10  # bytes of a backup that are sent at once


class Wrong(Exception):
    """A request that is none; the text names the field."""


class Body:
    """The fields of a request's body."""

    def __init__(self, fields: dict[str, Any], known: tuple[str, ...]) -> None:
        self.fields = fields
        for name in fields:
            if name not in known:
                raise Wrong(f"{name[:50]!r} is no field here: there are {', '.join(known)}")

    def id(self, name: str) -> int:
        """The id of a member."""
        value = self.fields.get(name)
        if not is_id(value):
            raise Wrong(f"{name} must be an integer in 1..2^63-1, not {_shown(value)}")
        return int(value)  # type: ignore[arg-type]  # one by now

    def id_or_none(self, name: str) -> int | None:
        """The same, or None where it is null or missing."""
        return None if self.fields.get(name) is None else self.id(name)

    def url(self, name: str) -> str:
        """An address."""
        value = self.fields.get(name)
        if not isinstance(value, str) or not value:
            raise Wrong(f"{name} must be an address, such as 'tcp://10.0.0.4:5604', not {_shown(value)}")
        return value

    def yes(self, name: str) -> bool:
        """Yes or no; no where it is missing."""
        value = self.fields.get(name, False)
        if not isinstance(value, bool):
            raise Wrong(f"{name} must be true or false, not {_shown(value)}")
        return value

    @property
    def timeout(self) -> float:
        """Seconds."""
        value = self.fields.get("timeout", TIMEOUT)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= TIMEOUT_MAX:
            raise Wrong(f"timeout must be a number of seconds in 0..{TIMEOUT_MAX:g}, not {_shown(value)}")
        return float(value)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


async def body_of(request: Request, *known: str) -> Body:
    """The body of a request: a JSON object, or nothing. Raises Wrong."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > BODY_MAX:
            raise Wrong(f"the body must have {BODY_MAX} bytes at most")
    if not data:
        return Body({}, (*known, "timeout"))
    try:
        found = json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise Wrong("the body must be a JSON object") from None
    if not isinstance(found, dict):
        raise Wrong("the body must be a JSON object")
    return Body(found, (*known, "timeout"))


def done(result: object) -> JSONResponse:
    """It was done."""
    return JSONResponse({"outcome": "done", "result": to_plain(result)})


def not_done(reason: str) -> JSONResponse:
    """It certainly was not."""
    return JSONResponse({"outcome": "not done", "reason": reason}, 409)


def unknown(reason: str) -> JSONResponse:
    """It may have been, or may be later."""
    return JSONResponse({"outcome": "unknown", "reason": reason}, 504)


def wrong(reason: str) -> JSONResponse:
    """It was no request."""
    return JSONResponse({"error": reason}, 400)


async def outcome(make: Callable[[], Any], seconds: float) -> tuple[Response | None, Any]:
    """What becomes of a request to the node: an answer for what did not succeed, else its result.

    make: gives the future. It is waited for by ``seconds`` at most, and goes on then.
    """
    try:
        future = asyncio.wrap_future(make())
        future.add_done_callback(_seen)  # also of one that nobody waits for any more
        return None, await asyncio.wait_for(asyncio.shield(future), seconds)
    except NotDone as error:
        return not_done(str(error)), None
    except Unknown as error:
        return unknown(str(error)), None
    except Stopped as error:
        return not_done(str(error)), None
    except (UsageError, TypeError, ValueError) as error:
        return wrong(str(error)), None
    except (TimeoutError, asyncio.TimeoutError):
        return unknown(f"it has not ended within {seconds:g} s, and goes on"), None
    except RaftError as error:
        return not_done(f"{type(error).__name__}: {error}"), None


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


class Actions:
    """Of one node. Each method is an endpoint."""

    def __init__(self, node: Any) -> None:
        self.node = node

    async def _change(self, make: Callable[[float], Any], seconds: float) -> Response:
        # The node ends it in time by itself, and knows better what has become of it.
        answer, result = await outcome(lambda: make(seconds), seconds + 5)
        return answer if answer is not None else done(result)

    async def add(self, request: Request) -> Response:
        """POST /members/add"""
        body = await body_of(request, "id", "url", "learner")
        id, url, seconds = body.id("id"), body.url("url"), body.timeout
        method = self.node.add_learner if body.yes("learner") else self.node.add_voter
        return await self._change(lambda timeout: method(id, url, timeout=timeout), seconds)

    async def promote(self, request: Request) -> Response:
        """POST /members/promote"""
        return await self._of_one(request, self.node.promote)

    async def demote(self, request: Request) -> Response:
        """POST /members/demote"""
        return await self._of_one(request, self.node.demote)

    async def remove(self, request: Request) -> Response:
        """POST /members/remove: who is no member is told, for it may be a slip."""
        return await self._of_one(request, lambda id, timeout: self.node.remove(id, missing_ok=False, timeout=timeout))

    async def _of_one(self, request: Request, method: Callable[..., Any]) -> Response:
        body = await body_of(request, "id")
        id, seconds = body.id("id"), body.timeout
        return await self._change(lambda timeout: method(id, timeout=timeout), seconds)

    async def move(self, request: Request) -> Response:
        """POST /members/move"""
        body = await body_of(request, "id", "url")
        id, url, seconds = body.id("id"), body.url("url"), body.timeout
        return await self._change(lambda timeout: self.node.move(id, url, timeout=timeout), seconds)

    async def replace(self, request: Request) -> Response:
        """POST /members/replace: the member of a dead disk goes, and comes again with an empty one.

        With ``learner`` it is done when the new one is added, and need not run yet. To be repeated: who stands there
        in the place of the old one already stays, and is not removed.
        """
        body = await body_of(request, "id", "url", "learner")
        id, url, learner, seconds = body.id("id"), body.url("url"), body.yes("learner"), body.timeout
        until = time.monotonic() + seconds
        stands = await run_in_threadpool(self._stands, id, url)
        # As this member knows: it is told only, and goes on where the old one was removed and that was all.
        known = bool(stands) or id in [each.id for each in self.node.members]
        if not stands:
            answer, _ = await outcome(lambda: self.node.remove(id, timeout=seconds), seconds + 5)
            if answer is not None:
                return answer
        rest = max(0.0, until - time.monotonic())
        add = self.node.add_learner if learner and stands != "voter" else self.node.add_voter
        answer, result = await outcome(lambda: add(id, url, timeout=rest), rest + 5)
        if answer is None:
            return done({**to_plain(result), "removed": known and not stands})
        said = json.loads(bytes(answer.body))
        began = f"was not removed, as it is a {stands} there already" if stands else "was removed"
        began = began if known else "was not there"
        reason = said.get("reason") or said.pop("error")
        said["reason"] = f"member {id} {began}, and the new one does not vote yet: {reason}"
        return JSONResponse({"outcome": "not done", **said}, 409 if answer.status_code == 400 else answer.status_code)

    def _stands(self, id: int, url: str) -> str:
        """As what the new member stands there already: "voter", "learner"; "": it does not.

        It does when it runs, or when it was added and has not run yet. A learner that has run and is gone does not. In
        doubt about a learner it does: who was removed can never take part again, and what waits can be repeated.
        """
        seen = self.node.cluster_status(LOOK_SECONDS)
        known = {each.id: each for each in seen.members}
        there = known.get(id)
        if there is None or place(there.url) != place(url) or not (there.voter or there.learner):
            return ""
        kind = "learner" if there.learner else "voter"
        status = there.status
        if status is not None and status.state == "running" and not status.failure and not status.in_doubt:
            return kind
        leader = known.get(seen.leader)
        if kind == "voter" or leader is None or leader.status is None:
            return "" if kind == "voter" else kind
        return "" if any(each.match for each in leader.status.peers if each.id == id) else kind

    async def transfer(self, request: Request) -> Response:
        """POST /transfer"""
        body = await body_of(request, "to")
        to, seconds = body.id_or_none("to"), body.timeout
        if to is None and not self.node.is_leader:
            return not_done("this member does not lead: ask the leader, or say to whom leadership is to go")
        answer, result = await outcome(lambda: self.node.transfer_leadership(to), seconds)
        return answer if answer is not None else done({"leader": result.leader, "term": result.term})

    async def snapshot(self, request: Request) -> Response:
        """POST /snapshot"""
        body = await body_of(request)
        answer, result = await outcome(self.node.snapshot, body.timeout)
        return answer if answer is not None else done(_described(result))

    async def backup(self, request: Request) -> Response:
        """GET /backup: the file of a backup, which is removed here when it was sent."""
        try:
            seconds = float(request.query_params.get("timeout", TIMEOUT))
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= TIMEOUT_MAX:
            return wrong(f"timeout must be a number of seconds in 0..{TIMEOUT_MAX:g}")
        folder = await run_in_threadpool(tempfile.mkdtemp, prefix="raftx-backup-")
        path = Path(folder) / "backup"
        try:
            answer, made = await outcome(lambda: self.node.backup(path), seconds)
            if answer is not None:
                return answer
            size = path.stat().st_size
        except BaseException:
            made = answer = None
            raise
        finally:
            if made is None:
                await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
        name = f"raftx-{self.node.id}-{made.index}.snapshot"
        headers = {"content-length": str(size), "content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(_pieces(path, folder), media_type="application/octet-stream", headers=headers)


async def _pieces(path: Path, folder: str) -> AsyncIterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := await run_in_threadpool(file.read, PIECE):
                yield piece
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _described(made: Any) -> dict[str, Any]:
    return {name: getattr(made, name) for name in ("index", "term", "size", "version")}
