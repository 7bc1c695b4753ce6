"""What a request to the key-value server may end with: etcd's texts, gRPC's codes, HTTP's statuses. Values only."""

from __future__ import annotations

from ..errors import RaftError

PREFIX = "etcdserver: "

# gRPC's codes, as far as they are used.
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
UNAVAILABLE = 14
UNAUTHENTICATED = 16

STATUS = {
    UNKNOWN: 500,
    INVALID_ARGUMENT: 400,
    DEADLINE_EXCEEDED: 504,
    NOT_FOUND: 404,
    PERMISSION_DENIED: 403,
    RESOURCE_EXHAUSTED: 429,
    FAILED_PRECONDITION: 400,
    OUT_OF_RANGE: 400,
    UNIMPLEMENTED: 501,
    UNAVAILABLE: 503,
    UNAUTHENTICATED: 401,
}
PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class KvError(RaftError):
    """A request is refused, or could not be done. ``text`` and ``code`` are etcd's, ``status`` is HTTP's.

    Each refusal that etcd has is a class of its own below, so that raising one makes a new exception: one that is
    raised again and again would keep every place in which it ever was.
    """

    code = UNKNOWN
    text = ""

    def __init__(self, code: int | None = None, text: str | None = None) -> None:
        super().__init__(code, text)
        if code is not None:
            self.code = code
        if text is not None:
            self.text = text

    def __str__(self) -> str:
        return self.text

    @property
    def status(self) -> int:
        """What it is in HTTP."""
        return STATUS[self.code]


def _etcd(code: int, text: str) -> type[KvError]:
    name = "".join([word.capitalize() for word in text.replace(":", "").replace(",", "").split()])
    return type(name, (KvError,), {"code": code, "text": PREFIX + text, "__module__": __name__})


EMPTY_KEY = _etcd(INVALID_ARGUMENT, "key is not provided")
KEY_NOT_FOUND = _etcd(INVALID_ARGUMENT, "key not found")
VALUE_PROVIDED = _etcd(INVALID_ARGUMENT, "value is provided")
LEASE_PROVIDED = _etcd(INVALID_ARGUMENT, "lease is provided")
DUPLICATE_KEY = _etcd(INVALID_ARGUMENT, "duplicate key given in txn request")
TOO_MANY_OPS = _etcd(INVALID_ARGUMENT, "too many operations in txn request")
TOO_LARGE = _etcd(INVALID_ARGUMENT, "request is too large")
SORT_OPTION = _etcd(INVALID_ARGUMENT, "invalid sort option")
USER_EMPTY = _etcd(INVALID_ARGUMENT, "user name is empty")
AUTH_FAILED = _etcd(INVALID_ARGUMENT, "authentication failed, invalid user ID or password")
LEASE_NOT_FOUND = _etcd(NOT_FOUND, "requested lease not found")
LEASE_EXISTS = _etcd(FAILED_PRECONDITION, "lease already exists")
AUTH_NOT_ENABLED = _etcd(FAILED_PRECONDITION, "authentication is not enabled")
COMPACTED = _etcd(OUT_OF_RANGE, "mvcc: required revision has been compacted")
FUTURE_REVISION = _etcd(OUT_OF_RANGE, "mvcc: required revision is a future revision")
TTL_TOO_LARGE = _etcd(OUT_OF_RANGE, "too large lease TTL")
INVALID_TOKEN = _etcd(UNAUTHENTICATED, "invalid auth token")
TIMED_OUT = _etcd(UNAVAILABLE, "request timed out")
NO_LEADER = _etcd(UNAVAILABLE, "no leader")
LEADER_CHANGED = _etcd(UNAVAILABLE, "leader changed")
SERVER_STOPPED = _etcd(UNAVAILABLE, "server stopped")
#: of memory; the other one is of the disk, and passes
QUOTA_EXCEEDED = _etcd(RESOURCE_EXHAUSTED, "mvcc: database space exceeded")
NO_SPACE = _etcd(UNAVAILABLE, "mvcc: database space exceeded")
UNSUPPORTED = _etcd(UNIMPLEMENTED, "this server does not have that call")
MALFORMED_ENTRY = _etcd(INVALID_ARGUMENT, "the log has an entry that is no request")

# Of watches: reasons in words, without a code.
EMPTY_RANGE = "mvcc: watcher range is empty"
DUPLICATE_WATCH = "mvcc: duplicate watch ID provided on the WatchStream"
