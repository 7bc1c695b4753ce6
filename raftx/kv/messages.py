"""Requests and responses of etcd's v3 API: their fields, by name, number and kind. Values only.

A message is a dict from the names of fields to values; what is zero is left out. An entry of the log has its bytes
(wire.py), a request over HTTP its JSON (json_format.py), and both go by the tables here.
"""

from __future__ import annotations

from typing import Any

BYTES, STRING, INT64, UINT64, BOOL, ENUM, MESSAGE = range(7)
_KINDS = {"bytes": BYTES, "string": STRING, "int64": INT64, "uint64": UINT64, "bool": BOOL}

Message = dict[str, Any]


class Field:
    """One field. ``kind``: one of the above; ``values``: names of an enum by number; ``type``: of a message."""

    __slots__ = ("kind", "name", "number", "numbers", "repeated", "type", "values")

    def __init__(
        self, name: str, number: int, kind: int, repeated: bool, type: Type | None, values: dict[int, str] | None
    ) -> None:
        self.name, self.number, self.kind, self.repeated = name, number, kind, repeated
        self.type = type
        self.values = values or {}
        self.numbers = {text: value for value, text in self.values.items()}


class Type:
    """One type of message."""

    __slots__ = ("by_name", "by_number", "fields", "name")

    def __init__(self, called: str, /, **fields: tuple[Any, int]) -> None:
        self.name = called
        self.fields: list[Field] = []
        self.by_name: dict[str, Field] = {}
        self.by_number: dict[int, Field] = {}
        self.add(**fields)

    def add(self, /, **fields: tuple[Any, int]) -> None:
        """More fields, by name: kind and number. A list of one kind: repeated."""
        for name, (kind, number) in fields.items():
            repeated = isinstance(kind, list)
            of = kind[0] if repeated else kind
            if isinstance(of, Type):
                field = Field(name, number, MESSAGE, repeated, of, None)
            elif isinstance(of, dict):
                field = Field(name, number, ENUM, repeated, None, of)
            else:
                field = Field(name, number, _KINDS[of], repeated, None, None)
            self.fields.append(field)
            self.by_number[number] = self.by_name[name] = field
            self.by_name.setdefault(_camel(name), field)

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join([part[:1].upper() + part[1:] for part in rest])


# --- values --------------------------------------------------------------------------------------

NONE, ASCEND, DESCEND = range(3)
KEY, VERSION, CREATE, MOD, VALUE = range(5)
EQUAL, GREATER, LESS, NOT_EQUAL = range(4)
#: what a compare looks at
C_VERSION, C_CREATE, C_MOD, C_VALUE, C_LEASE = range(5)
PUT, DELETE = range(2)

SORT_ORDER = {NONE: "NONE", ASCEND: "ASCEND", DESCEND: "DESCEND"}
SORT_TARGET = {KEY: "KEY", VERSION: "VERSION", CREATE: "CREATE", MOD: "MOD", VALUE: "VALUE"}
RESULT = {EQUAL: "EQUAL", GREATER: "GREATER", LESS: "LESS", NOT_EQUAL: "NOT_EQUAL"}
TARGET = {C_VERSION: "VERSION", C_CREATE: "CREATE", C_MOD: "MOD", C_VALUE: "VALUE", C_LEASE: "LEASE"}
FILTER = {PUT: "NOPUT", DELETE: "NODELETE"}
EVENT = {PUT: "PUT", DELETE: "DELETE"}

# --- keys and values -----------------------------------------------------------------------------

HEADER = Type("ResponseHeader", cluster_id=("uint64", 1), member_id=("uint64", 2), revision=("int64", 3),
              raft_term=("uint64", 4))  # fmt: skip
KEY_VALUE = Type("KeyValue", key=("bytes", 1), create_revision=("int64", 2), mod_revision=("int64", 3),
                 version=("int64", 4), value=("bytes", 5), lease=("int64", 6))  # fmt: skip
RANGE = Type(
    "RangeRequest", key=("bytes", 1), range_end=("bytes", 2), limit=("int64", 3), revision=("int64", 4),
    sort_order=(SORT_ORDER, 5), sort_target=(SORT_TARGET, 6), serializable=("bool", 7), keys_only=("bool", 8),
    count_only=("bool", 9), min_mod_revision=("int64", 10), max_mod_revision=("int64", 11),
    min_create_revision=("int64", 12), max_create_revision=("int64", 13),
)  # fmt: skip
RANGE_DONE = Type("RangeResponse", header=(HEADER, 1), kvs=([KEY_VALUE], 2), more=("bool", 3), count=("int64", 4))
PUT_ONE = Type("PutRequest", key=("bytes", 1), value=("bytes", 2), lease=("int64", 3), prev_kv=("bool", 4),
               ignore_value=("bool", 5), ignore_lease=("bool", 6))  # fmt: skip
PUT_DONE = Type("PutResponse", header=(HEADER, 1), prev_kv=(KEY_VALUE, 2))
DELETE_RANGE = Type("DeleteRangeRequest", key=("bytes", 1), range_end=("bytes", 2), prev_kv=("bool", 3))
DELETE_DONE = Type("DeleteRangeResponse", header=(HEADER, 1), deleted=("int64", 2), prev_kvs=([KEY_VALUE], 3))
COMPARE = Type("Compare", result=(RESULT, 1), target=(TARGET, 2), key=("bytes", 3), version=("int64", 4),
               create_revision=("int64", 5), mod_revision=("int64", 6), value=("bytes", 7), lease=("int64", 8),
               range_end=("bytes", 64))  # fmt: skip
OPERATION = Type(
    "RequestOp", request_range=(RANGE, 1), request_put=(PUT_ONE, 2), request_delete_range=(DELETE_RANGE, 3)
)
TXN = Type("TxnRequest", compare=([COMPARE], 1), success=([OPERATION], 2), failure=([OPERATION], 3))
OPERATION.add(request_txn=(TXN, 4))
OPERATION_DONE = Type("ResponseOp", response_range=(RANGE_DONE, 1), response_put=(PUT_DONE, 2),
                      response_delete_range=(DELETE_DONE, 3))  # fmt: skip
TXN_DONE = Type("TxnResponse", header=(HEADER, 1), succeeded=("bool", 2), responses=([OPERATION_DONE], 3))
OPERATION_DONE.add(response_txn=(TXN_DONE, 4))
COMPACT = Type("CompactionRequest", revision=("int64", 1), physical=("bool", 2))
HEADER_ONLY = Type("Header only", header=(HEADER, 1))

# --- leases --------------------------------------------------------------------------------------

GRANT = Type("LeaseGrantRequest", TTL=("int64", 1), ID=("int64", 2))
GRANT_DONE = Type("LeaseGrantResponse", header=(HEADER, 1), ID=("int64", 2), TTL=("int64", 3))
LEASE_ID = Type("Lease request", ID=("int64", 1))
KEEP_DONE = Type("LeaseKeepAliveResponse", header=(HEADER, 1), ID=("int64", 2), TTL=("int64", 3))
TIME_TO_LIVE = Type("LeaseTimeToLiveRequest", ID=("int64", 1), keys=("bool", 2))
TIME_TO_LIVE_DONE = Type("LeaseTimeToLiveResponse", header=(HEADER, 1), ID=("int64", 2), TTL=("int64", 3),
                         grantedTTL=("int64", 4), keys=(["bytes"], 5))  # fmt: skip
LEASES_DONE = Type("LeaseLeasesResponse", header=(HEADER, 1), leases=([LEASE_ID], 2))
EMPTY = Type("Empty")

# --- watches -------------------------------------------------------------------------------------

CREATE_WATCH = Type("WatchCreateRequest", key=("bytes", 1), range_end=("bytes", 2), start_revision=("int64", 3),
                    progress_notify=("bool", 4), filters=([FILTER], 5), prev_kv=("bool", 6), watch_id=("int64", 7),
                    fragment=("bool", 8))  # fmt: skip
CANCEL_WATCH = Type("WatchCancelRequest", watch_id=("int64", 1))
WATCH = Type("WatchRequest", create_request=(CREATE_WATCH, 1), cancel_request=(CANCEL_WATCH, 2),
             progress_request=(EMPTY, 3))  # fmt: skip
WATCH_EVENT = Type("Event", type=(EVENT, 1), kv=(KEY_VALUE, 2), prev_kv=(KEY_VALUE, 3))
WATCH_DONE = Type("WatchResponse", header=(HEADER, 1), watch_id=("int64", 2), created=("bool", 3),
                  canceled=("bool", 4), compact_revision=("int64", 5), cancel_reason=("string", 6),
                  events=([WATCH_EVENT], 11))  # fmt: skip

# --- the cluster ---------------------------------------------------------------------------------

MEMBER = Type("Member", ID=("uint64", 1), name=("string", 2), peerURLs=(["string"], 3), clientURLs=(["string"], 4),
              isLearner=("bool", 5))  # fmt: skip
MEMBERS_DONE = Type("MemberListResponse", header=(HEADER, 1), members=([MEMBER], 2))
STATUS_DONE = Type("StatusResponse", header=(HEADER, 1), version=("string", 2), dbSize=("int64", 3),
                   leader=("uint64", 4), raftIndex=("uint64", 5), raftTerm=("uint64", 6),
                   raftAppliedIndex=("uint64", 7), errors=(["string"], 8), dbSizeInUse=("int64", 9),
                   isLearner=("bool", 10))  # fmt: skip
AUTHENTICATE = Type("AuthenticateRequest", name=("string", 1), password=("string", 2))
AUTHENTICATE_DONE = Type("AuthenticateResponse", header=(HEADER, 1), token=("string", 2))
#: what a leader has seen of a lease that it takes for run out
EXPIRE = Type("Expiry", ID=("int64", 1), renewed=("int64", 2))
