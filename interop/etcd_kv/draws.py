"""Random sequences of requests to etcd's JSON gateway. The same seed gives the same sequence; nothing is sent here.

A step is a dict of JSON: {"path": ..., "body": text} for a request, {"watch": {...}} for a watch that is opened. Leases
have ids of their own choice and long times: what depends on a clock is compared elsewhere.
"""

from __future__ import annotations

import base64
import json
import random
from typing import Any

KEYS = [b"a", b"b", b"ab", b"abc", b"b\x00", b"a\xff", b"\x00", b"\xff\xff"]
ENDS = [b"", b"\x00", b"b", b"a", b"c", b"ac", b"\xff", b"a\xff\x00"]
VALUES = [b"", b"1", b"2", b"x" * 40]
LEASES = [7, 11, 1 << 40]
WEIGHTS = {
    "put": 25, "range": 25, "txn": 25, "delete": 10, "lease": 8, "compaction": 2, "malformed": 5, "watch": 2,
}  # fmt: skip
WATCHES_MAX = 5


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


class Draw:
    """One sequence."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        #: about the revision that the stores have by now
        self.revision = 1
        self.compacted = 0
        self.watches = 0

    def steps(self, count: int) -> list[dict[str, Any]]:
        """So many steps."""
        names, weights = list(WEIGHTS), list(WEIGHTS.values())
        return [getattr(self, "_" + self.random.choices(names, weights)[0])() for _ in range(count)]

    # --- parts -------------------------------------------------------------------------------------

    def maybe(self, chance: float) -> bool:
        return self.random.random() < chance

    def pick(self, values: list[Any]) -> Any:
        return self.random.choice(values)

    def number(self, value: int) -> Any:
        """In one of the forms that a number may have."""
        return value if self.maybe(0.5) else str(value)

    def enum(self, names: list[str]) -> Any:
        at = self.random.randrange(len(names))
        return at if self.maybe(0.4) else names[at]

    def span(self) -> dict[str, Any]:
        """A key, perhaps with an end."""
        found: dict[str, Any] = {"key": b64(self.pick(KEYS))} if self.maybe(0.97) else {}
        if self.maybe(0.5):
            found[self.pick(["range_end", "rangeEnd"])] = b64(self.pick(ENDS))
        return found

    def range(self) -> dict[str, Any]:
        request = self.span()
        if self.maybe(0.3):
            request["limit"] = self.number(self.pick([-1, 0, 1, 2, 3]))
        if self.maybe(0.25):
            request["revision"] = self.number(self.random.randint(self.compacted - 1, self.revision + 1))
        if self.maybe(0.3):
            request["sort_order"] = self.enum(["NONE", "ASCEND", "DESCEND"])
        if self.maybe(0.3):
            request["sort_target"] = self.enum(["KEY", "VERSION", "CREATE", "MOD", "VALUE"])
        for name, chance in (("serializable", 0.2), ("keys_only", 0.15), ("count_only", 0.1)):
            if self.maybe(chance):
                request[name] = self.maybe(0.8)
        for name in ("min_mod_revision", "max_mod_revision", "min_create_revision", "maxCreateRevision"):
            if self.maybe(0.08):
                request[name] = self.number(self.random.randint(0, self.revision))
        return request

    def put(self) -> dict[str, Any]:
        request: dict[str, Any] = {"key": b64(self.pick(KEYS))} if self.maybe(0.97) else {}
        if self.maybe(0.85):
            request["value"] = b64(self.pick(VALUES))
        if self.maybe(0.25):
            request["lease"] = self.number(self.pick([*LEASES, 99]))
        if self.maybe(0.25):
            request[self.pick(["prev_kv", "prevKv"])] = True
        for name in ("ignore_value", "ignore_lease"):
            if self.maybe(0.07):
                request[name] = True
        return request

    def delete(self) -> dict[str, Any]:
        request = self.span()
        if self.maybe(0.4):
            request["prev_kv"] = True
        return request

    def compare(self) -> dict[str, Any]:
        request: dict[str, Any] = {"key": b64(self.pick(KEYS))} if self.maybe(0.98) else {}
        if self.maybe(0.85):
            request["result"] = self.enum(["EQUAL", "GREATER", "LESS", "NOT_EQUAL"])
        target = self.random.randrange(5)
        names = ["VERSION", "CREATE", "MOD", "VALUE", "LEASE"]
        if target or self.maybe(0.5):
            request["target"] = target if self.maybe(0.4) else names[target]
        if self.maybe(0.9):
            field = ["version", "create_revision", "mod_revision", "value", "lease"][target]
            if target == 3:
                request[field] = b64(self.pick(VALUES))
            elif target == 4:
                request[field] = self.number(self.pick([0, *LEASES]))
            else:
                request[field] = self.number(self.random.randint(0, 4 if target == 0 else self.revision))
        if self.maybe(0.15):
            request["range_end"] = b64(self.pick(ENDS))
        return request

    def operation(self, depth: int, writes_deleted: list[bool]) -> dict[str, Any]:
        kind = self.random.choices(["range", "put", "delete", "txn", "none"], [30, 40, 15, 13 if depth else 0, 1])[0]
        if kind == "range":
            return {self.pick(["request_range", "requestRange"]): self.range()}
        if kind == "put":
            request = self.put()
            if writes_deleted[0]:
                # Behind a deletion without an end etcd lets a put of the same key pass, and ends where it then ignores
                # a value that is gone.
                request.pop("ignore_value", None)
                request.pop("ignore_lease", None)
            return {"request_put": request}
        if kind == "delete":
            writes_deleted[0] = True
            return {"request_delete_range": self.delete()}
        if kind == "txn":
            return {"request_txn": self.txn(depth - 1, writes_deleted)}
        return {}

    def txn(self, depth: int, writes_deleted: list[bool] | None = None) -> dict[str, Any]:
        deleted = [False] if writes_deleted is None else writes_deleted
        request: dict[str, Any] = {}
        if self.maybe(0.8):
            request["compare"] = [self.compare() for _ in range(self.random.randint(1, 2))]
        for name in ("success", "failure"):
            if self.maybe(0.8):
                request[name] = [self.operation(depth, deleted) for _ in range(self.random.randint(1, 3))]
        return request

    # --- steps ---------------------------------------------------------------------------------------

    def step(self, path: str, request: Any) -> dict[str, Any]:
        prefix = "/v3" if self.maybe(0.9) else "/v3beta"
        return {"path": prefix + path, "body": json.dumps(request)}

    def _put(self) -> dict[str, Any]:
        self.revision += 1
        return self.step("/kv/put", self.put())

    def _range(self) -> dict[str, Any]:
        return self.step("/kv/range", self.range())

    def _delete(self) -> dict[str, Any]:
        self.revision += self.maybe(0.5)
        return self.step("/kv/deleterange", self.delete())

    def _txn(self) -> dict[str, Any]:
        self.revision += self.maybe(0.5)
        if self.maybe(0.02):
            many = [{"request_put": {"key": b64(b"m%d" % at)}} for at in range(129)]
            return self.step("/kv/txn", {"success": many})
        return self.step("/kv/txn", self.txn(2))

    def _lease(self) -> dict[str, Any]:
        id = self.number(self.pick([*LEASES, 99]))
        kind = self.random.choices(["grant", "revoke", "keep", "ttl", "leases"], [40, 15, 20, 20, 5])[0]
        if kind == "grant":
            ttl = self.number(self.pick([60, 100, 5000, 9_000_000_000, 9_000_000_001]))
            return self.step("/lease/grant", {"TTL": ttl, "ID": self.number(self.pick(LEASES))})
        if kind == "revoke":
            self.revision += 1
            return self.step(self.pick(["/lease/revoke", "/kv/lease/revoke"]), {"ID": id})
        if kind == "keep":
            return self.step("/lease/keepalive", {"ID": id})
        if kind == "ttl":
            keys = {"keys": True} if self.maybe(0.5) else {}
            return self.step(self.pick(["/lease/timetolive", "/kv/lease/timetolive"]), {"ID": id, **keys})
        return self.step("/lease/leases", {})

    def _compaction(self) -> dict[str, Any]:
        revision = self.random.randint(max(0, self.compacted - 1), self.revision + 1)
        if revision <= self.revision:
            self.compacted = max(self.compacted, revision)
        return self.step("/kv/compaction", {"revision": self.number(revision), "physical": True})

    def _malformed(self) -> dict[str, Any]:
        path = self.pick(["/kv/put", "/kv/range", "/kv/txn", "/kv/deleterange", "/lease/grant"])
        texts = [
            "", "{", "[]", "null", "7", '"a"', '{"key":', '{"key":"*"}', '{"key":"YQ"}', '{"key":7}', '{"key":null}',
            '{"key":"YQ==","limit":"x"}', '{"key":"YQ==","limit":1.5}', '{"key":"YQ==","limit":"1.5"}',
            '{"key":"YQ==","lease":true}', '{"key":"YQ==","prev_kv":"true"}', '{"key":"YQ==","nothing":{"a":[1]}}',
            '{"key":"YQ==","sort_order":"UP"}', '{"key":"YQ==","revision":99999999999999999999}',
            '{"TTL":""}', '{"compare":{}}', '{"success":[7]}', '{"success":[{}]}',
            '{"compare":[{"key":"YQ==","result":"MORE"}]}', '{"key":"YQ=="} trailing', '{"key":"YQ==",}',
            '{"key":"YWI","value":"YQ=="}', '{"key":"YQ==","value":"Y Q=="}', "nope", '{"key":"YQ==","limit":1e3}',
        ]  # fmt: skip
        text = self.pick(texts)
        if path == "/lease/grant":
            # An id of its own, and a time that is not over before the sequence is.
            text = text.replace("{", '{"ID":5,"TTL":60,', 1) if text.startswith("{") else "[]"
        return {"path": "/v3" + path, "body": text}

    def _watch(self) -> dict[str, Any]:
        if self.watches >= WATCHES_MAX:
            return self._range()
        self.watches += 1
        request: dict[str, Any] = {"key": b64(self.pick(KEYS))}
        if self.maybe(0.6):
            request["range_end"] = b64(self.pick(ENDS))
        if self.maybe(0.7):
            start = self.random.choice([self.random.randint(1, self.revision), self.revision + 3, self.compacted])
            request["start_revision"] = self.number(max(0, start))
        if self.maybe(0.2):
            request["filters"] = [self.enum(["NOPUT", "NODELETE"])]
        if self.maybe(0.4):
            request["prev_kv"] = True
        return {"watch": request}


def sequence(seed: int, count: int) -> list[dict[str, Any]]:
    """The steps of that seed."""
    return Draw(seed).steps(count)
