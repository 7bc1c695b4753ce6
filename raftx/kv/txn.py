"""What requests of keys do, as etcd evaluates them: ranges, puts, deletions and transactions. Deterministic.

``check_*`` look at a request alone, before it is proposed. ``Work`` does requests on a store: a request that is refused
has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

from . import messages as m
from .errors import (
    COMPACTED,
    DUPLICATE_KEY,
    EMPTY_KEY,
    FUTURE_REVISION,
    KEY_NOT_FOUND,
    LEASE_NOT_FOUND,
    LEASE_PROVIDED,
    SORT_OPTION,
    TOO_MANY_OPS,
    VALUE_PROVIDED,
)
from .messages import Message
from .store import Store, Version, Writing

OPERATIONS_MAX = 128


class Attached(Protocol):
    """Who knows which lease a key belongs to."""

    def knows(self, lease: int) -> bool:
        """Whether there is that lease."""

    def move(self, key: bytes, before: int, after: int) -> None:
        """A key belongs to another lease; 0: to none."""


# --- requests alone ------------------------------------------------------------------------------


def check_range(request: Message) -> None:
    """Raise KvError for a range that is refused whatever the store has."""
    if not request.get("key"):
        raise EMPTY_KEY
    if request.get("sort_order", 0) not in m.SORT_ORDER or request.get("sort_target", 0) not in m.SORT_TARGET:
        raise SORT_OPTION


def check_put(request: Message) -> None:
    """Likewise."""
    if not request.get("key"):
        raise EMPTY_KEY
    if request.get("ignore_value") and request.get("value"):
        raise VALUE_PROVIDED
    if request.get("ignore_lease") and request.get("lease"):
        raise LEASE_PROVIDED


def check_delete(request: Message) -> None:
    """Likewise."""
    if not request.get("key"):
        raise EMPTY_KEY


def check_txn(request: Message, most: int = OPERATIONS_MAX) -> None:
    """Likewise."""
    _check_lists(request, most)
    _check_keys(request.get("success", ()))
    _check_keys(request.get("failure", ()))


def _check_lists(request: Message, most: int) -> None:
    count = max(len(request.get(name, ())) for name in ("compare", "success", "failure"))
    if count > most:
        raise TOO_MANY_OPS
    for compare in request.get("compare", ()):
        if not compare.get("key"):
            raise EMPTY_KEY
    for name in ("success", "failure"):
        for operation in request.get(name, ()):
            _check_operation(operation, most - count)


def _check_operation(operation: Message, most: int) -> None:
    kind, request = chosen(operation)
    if kind == "request_range":
        check_range(request)
    elif kind == "request_put":
        check_put(request)
    elif kind == "request_delete_range":
        check_delete(request)
    elif kind == "request_txn":
        _check_lists(request, most)
    else:
        raise KEY_NOT_FOUND


def chosen(operation: Message) -> tuple[str, Message]:
    """What an operation is, and its request; ("", {}) for none."""
    for kind, request in operation.items():
        return kind, request
    return "", {}


class _Touched:
    """Keys that a list of operations puts, and ranges that it deletes."""

    def __init__(self) -> None:
        self.puts: set[bytes] = set()
        self.deletes: list[tuple[bytes, bytes]] = []

    def put(self, key: bytes, allowed: set[bytes] | None = None) -> None:
        if key in self.puts and (allowed is None or key not in allowed):
            raise DUPLICATE_KEY
        if any(first <= key < end for first, end in self.deletes):
            raise DUPLICATE_KEY
        self.puts.add(key)


def _check_keys(operations: Sequence[Message]) -> _Touched:
    """No key is put twice, or put and deleted, but by branches that exclude each other.

    A deletion without an end (range_end b"\\0") is not looked at, as in etcd: there it ends before it begins.
    """
    touched = _Touched()
    nested = []
    puts = []
    for operation in operations:
        kind, request = chosen(operation)
        key = request.get("key", b"")
        if kind == "request_delete_range":
            touched.deletes.append((key, request.get("range_end") or key + b"\0"))
        elif kind == "request_txn":
            nested.append(request)
        elif kind == "request_put":
            puts.append(key)
    for request in nested:
        then, otherwise = _check_keys(request.get("success", ())), _check_keys(request.get("failure", ()))
        for key in sorted(then.puts):
            touched.put(key)
        for key in sorted(otherwise.puts):
            touched.put(key, then.puts)
        touched.deletes += then.deletes + otherwise.deletes
    for key in puts:
        touched.put(key)
    return touched


def puts(request: Message) -> bool:
    """Whether a transaction may put a key."""
    for name in ("success", "failure"):
        for operation in request.get(name, ()):
            kind, inner = chosen(operation)
            if kind == "request_put" or (kind == "request_txn" and puts(inner)):
                return True
    return False


def only_reads(request: Message) -> bool:
    """Whether a transaction has nothing but ranges in it, none of them nested."""
    return all(
        chosen(operation)[0] == "request_range"
        for name in ("success", "failure")
        for operation in request.get(name, ())
    )


def is_serializable(request: Message) -> bool:
    """Whether a transaction that only reads may be answered without asking a quorum."""
    return all(
        chosen(operation)[1].get("serializable", False)
        for name in ("success", "failure")
        for operation in request.get(name, ())
    )


# --- values --------------------------------------------------------------------------------------


def key_value(version: Version, value: bool = True) -> Message:
    """As a response has it."""
    return {
        "key": version.key,
        "create_revision": version.create,
        "mod_revision": version.mod,
        "version": version.version,
        "value": version.value if value else b"",
        "lease": version.lease,
    }


def end_of(request: Message) -> bytes | None:
    """The end of a range as the store takes it."""
    end: bytes | None = request.get("range_end") or None
    return b"" if end == b"\0" else end


_SORTED_BY: dict[int, Callable[[Version], Any]] = {
    m.KEY: lambda each: each.key,
    m.VERSION: lambda each: each.version,
    m.CREATE: lambda each: each.create,
    m.MOD: lambda each: each.mod,
    m.VALUE: lambda each: each.value,
}
_BOUNDS: tuple[tuple[str, Callable[[Version, int], bool]], ...] = (
    ("max_mod_revision", lambda each, bound: each.mod <= bound),
    ("min_mod_revision", lambda each, bound: each.mod >= bound),
    ("max_create_revision", lambda each, bound: each.create <= bound),
    ("min_create_revision", lambda each, bound: each.create >= bound),
)


# --- doing them ----------------------------------------------------------------------------------


class Work:
    """Requests on a store, now. ``leases``: who knows which keys belong to leases; None where nothing is written."""

    def __init__(self, store: Store, leases: Attached | None = None) -> None:
        self.store = store
        self.leases = leases
        self.writing: Writing | None = None

    @property
    def revision(self) -> int:
        """The revision that is read."""
        return self.store.revision if self.writing is None else self.writing.revision

    def end(self) -> int:
        """It is done: the newest revision."""
        return self.store.revision if self.writing is None else self.writing.end()

    def _write(self) -> Writing:
        if self.writing is None:
            self.writing = self.store.write()
        return self.writing

    # --- one at a time -----------------------------------------------------------------------------

    def range(self, request: Message) -> Message:
        """A range. Raises COMPACTED, FUTURE_REVISION."""
        at = self.store.check(request.get("revision", 0), self.revision)
        found: Iterator[Version] = self.store.range(request["key"], end_of(request), at)
        done: Message = {"header": {"revision": self.revision}}
        if request.get("count_only"):
            done["count"] = sum(1 for _ in found)
            return done
        limit = min(request.get("limit", 0), len(self.store.keys))  # beyond that it cuts nothing
        order, target = request.get("sort_order", m.NONE), request.get("sort_target", m.KEY)
        bounds = [(request[name], within) for name, within in _BOUNDS if request.get(name)]
        if limit > 0 and order == m.NONE and not bounds:
            # As etcd does: what is cut is cut in the order of keys, also where another order follows.
            versions = list(islice(found, limit + 1))
            count = len(versions) + sum(1 for _ in found)
        else:
            versions = list(found)
            count = len(versions)
        for bound, within in bounds:
            versions = [each for each in versions if within(each, bound)]
        if order == m.NONE and target != m.KEY:
            order = m.ASCEND
        if order != m.NONE and (order, target) != (m.ASCEND, m.KEY):
            versions.sort(key=_SORTED_BY[target], reverse=order == m.DESCEND)
        if 0 < limit < len(versions):
            del versions[limit:]
            done["more"] = True
        with_value = not request.get("keys_only")
        done["kvs"] = [key_value(each, with_value) for each in versions]
        done["count"] = count
        return done

    def check_put(self, request: Message) -> None:
        """Raise KvError where a put in a transaction is refused for what there is: its key is looked at first."""
        self._check_key(request)
        self._check_lease(request)

    def check_single_put(self, request: Message) -> None:
        """Likewise, of a put alone: its lease is looked at first."""
        self._check_lease(request)
        self._check_key(request)

    def _check_key(self, request: Message) -> None:
        if request.get("ignore_value") or request.get("ignore_lease"):
            if self.store.get(request["key"], self.revision) is None:
                raise KEY_NOT_FOUND

    def _check_lease(self, request: Message) -> None:
        lease = request.get("lease", 0)
        if lease and (self.leases is None or not self.leases.knows(lease)):
            raise LEASE_NOT_FOUND

    def put(self, request: Message) -> Message:
        """A put that was checked."""
        writing, key = self._write(), request["key"]
        value, lease = request.get("value", b""), request.get("lease", 0)
        before = self.store.get(key, writing.next)
        if request.get("ignore_value"):
            value = before.value if before is not None else b""
        if request.get("ignore_lease"):
            lease = before.lease if before is not None else 0
        writing.put(key, value, lease)
        self._moved(key, before, lease)
        done: Message = {"header": {"revision": writing.revision}}
        if request.get("prev_kv") and before is not None:
            done["prev_kv"] = key_value(before)
        return done

    def delete(self, request: Message) -> Message:
        """A deletion."""
        writing = self._write()
        there = list(self.store.range(request["key"], end_of(request), writing.next))
        writing.delete(there)
        for each in there:
            self._moved(each.key, each, 0)
        done: Message = {"header": {"revision": writing.revision}, "deleted": len(there)}
        if request.get("prev_kv"):
            done["prev_kvs"] = [key_value(each) for each in there]
        return done

    def _moved(self, key: bytes, before: Version | None, lease: int) -> None:
        was = before.lease if before is not None else 0
        if was != lease and self.leases is not None:
            self.leases.move(key, was, lease)

    # --- transactions ------------------------------------------------------------------------------

    def txn(self, request: Message) -> Message:
        """A transaction. Raises KvError, and has changed nothing then."""
        path = self._path(request)
        self._check(path, "request_put")
        self._check(path, "request_range")
        done = self._do(path)
        done["header"] = {"revision": self.end()}
        return done

    def _path(self, request: Message) -> list[Any]:
        """Whether the compares hold, and what is to be done: (kind, request), or a path for a nested transaction.

        All compares are of the state before the transaction.
        """
        holds = all(self._holds(compare) for compare in request.get("compare", ()))
        path: list[Any] = [holds]
        for operation in request.get("success" if holds else "failure", ()):
            kind, inner = chosen(operation)
            path.append((kind, self._path(inner) if kind == "request_txn" else inner))
        return path

    def _holds(self, compare: Message) -> bool:
        there = list(self.store.range(compare["key"], end_of(compare), self.store.revision))
        if not there:
            return compare.get("target", 0) != m.C_VALUE and _compare(compare, None)
        return all(_compare(compare, each) for each in there)

    def _check(self, path: list[Any], kind: str) -> None:
        for each, request in path[1:]:
            if each == "request_txn":
                self._check(request, kind)
            elif each == kind == "request_put":
                self.check_put(request)
            elif each == kind == "request_range":
                self._check_revision(request.get("revision", 0))

    def _check_revision(self, at: int) -> None:
        if at == 0:
            return
        if at > self.store.revision:
            raise FUTURE_REVISION
        if at < self.store.compacted:
            raise COMPACTED

    def _do(self, path: list[Any]) -> Message:
        done: list[Message] = []
        for kind, request in path[1:]:
            if kind == "request_range":
                done.append({"response_range": self.range(request)})
            elif kind == "request_put":
                done.append({"response_put": self.put(request)})
            elif kind == "request_delete_range":
                done.append({"response_delete_range": self.delete(request)})
            else:
                done.append({"response_txn": self._do(request)})
        return {"header": {}, "succeeded": path[0], "responses": done}


def _compare(compare: Message, there: Version | None) -> bool:
    """Whether it holds of a key; None: of one that is not there, all of whose numbers are zero."""
    target = compare.get("target", 0)
    have: Any
    want: Any
    if target == m.C_VALUE:
        have, want = there.value if there is not None else b"", compare.get("value", b"")
    elif target == m.C_VERSION:
        have, want = there.version if there is not None else 0, compare.get("version", 0)
    elif target == m.C_CREATE:
        have, want = there.create if there is not None else 0, compare.get("create_revision", 0)
    elif target == m.C_MOD:
        have, want = there.mod if there is not None else 0, compare.get("mod_revision", 0)
    elif target == m.C_LEASE:
        have, want = there.lease if there is not None else 0, compare.get("lease", 0)
    else:
        have = want = 0
    result = compare.get("result", 0)
    if result == m.EQUAL:
        return bool(have == want)
    if result == m.GREATER:
        return bool(have > want)
    if result == m.LESS:
        return bool(have < want)
    return result != m.NOT_EQUAL or bool(have != want)
