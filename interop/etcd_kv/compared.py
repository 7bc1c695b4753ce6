"""Runs a sequence on a side, and makes what came of it comparable: what differs by right is taken out, nothing else.

Taken out: ids of cluster and member, terms, texts of errors of the parser; what is left of a lease may differ by a
second. A failed precondition is 400 in etcd's own builds and 412 in Debian's, which has an older gateway.
"""

from __future__ import annotations

import json
import time
from typing import Any

from .draws import b64
from .sides import Client

HEADER = ("cluster_id", "member_id", "raft_term")
FAILED_PRECONDITION = 9
SYNC_SECONDS = 0.25  # in which etcd brings a watch that begins in the past up to date


def normal(value: Any) -> Any:
    """A body without what differs by right."""
    if isinstance(value, list):
        return [normal(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: normal(each) for key, each in value.items()}
    if "header" in found:
        found["header"] = {key: each for key, each in found["header"].items() if key not in HEADER}
    if "code" in found and not str(found.get("error", "")).startswith("etcdserver:"):
        found["error"] = found["message"] = "of the parser"
    if "grantedTTL" in found:
        found["TTL"] = "about"
    if isinstance(found.get("keys"), list):
        found["keys"].sort()
    if isinstance(found.get("leases"), list):
        found["leases"].sort(key=str)
    return found


def answered(status: int, body: Any) -> list[Any]:
    """One answer."""
    if isinstance(body, dict) and body.get("code") == FAILED_PRECONDITION:
        status = 400
    if isinstance(body, str):
        body = body.strip()
    return [status, normal(body)]


def run(client: Client, steps: list[dict[str, Any]]) -> list[Any]:
    """What came of each step; at the end what each watch was told."""
    found: list[Any] = []
    opened: list[dict[str, Any]] = []
    busy_until = 0.0
    for step in steps:
        if "watch" in step:
            watch = client.watch(step["watch"])
            opened.append(step["watch"])
            watch.wait(bool)
            found.append(flat(watch.told[:1]))
            busy_until = time.monotonic() + SYNC_SECONDS
            continue
        if "compaction" in step["path"]:
            # A watch that is not up to date by then is told of it or not, as it happens.
            time.sleep(max(0.0, busy_until - time.monotonic()))
        found.append(answered(*client.ask(step)))
    found.append(_watched(client, opened))
    return found


def flat(told: list[Any]) -> list[Any]:
    """What a watch was told: answers as they are, events one by one."""
    found: list[Any] = []
    for message in told:
        result = dict(normal(message.get("result", message)))
        events = result.pop("events", [])
        if not events or result.get("created") or result.get("canceled"):
            found.append(result)
        found += events
    return found


def _watched(client: Client, opened: list[dict[str, Any]]) -> list[Any]:
    """What each has been told when it has seen a last put and a last deletion of its key."""
    enough = {"path": "/v3/kv/put", "body": json.dumps({"key": b64(b"enough")})}
    beginning = max([int(request.get("start_revision", 0)) for request in opened], default=0)
    newest = 0
    while newest <= beginning:  # past those that begin in the future
        newest = int(client.ask(enough)[1]["header"]["revision"])
    for request in opened:
        client.ask({"path": "/v3/kv/put", "body": f'{{"key":"{request["key"]}","value":"{b64(b"last")}"}}'})
        client.ask({"path": "/v3/kv/deleterange", "body": f'{{"key":"{request["key"]}"}}'})
    _, body = client.ask({"path": "/v3/kv/range", "body": f'{{"key":"{b64(b"enough")}"}}'})
    newest = int(body["header"]["revision"])
    found = []
    for at, (watch, request) in enumerate(zip(client.watches, opened)):
        revision = newest - 2 * (len(opened) - at) + 2
        only = {0: 1, "NOPUT": 1, 1: 2, "NODELETE": 2}.get(request.get("filters", [None])[0], 0)
        wanted = revision - 1 if only == 2 else revision

        def is_over(told: list[Any], wanted: int = wanted) -> bool:
            for message in told:
                result = message.get("result", message)
                if "error" in message or result.get("canceled"):
                    return True
                if any(int(event["kv"]["mod_revision"]) >= wanted for event in result.get("events", ())):
                    return True
            return False

        over = watch.wait(is_over)
        told = [each for each in flat(watch.told) if int(each.get("kv", {}).get("mod_revision", 0)) <= wanted]
        found.append([over, told])
    return found
