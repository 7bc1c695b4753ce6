"""What a key-value server is told: values, checked when they are made. Opens nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from .auth import is_hashed
from .txn import OPERATIONS_MAX

REQUEST_BYTES_MAX = 3 << 19  # 1.5 MiB, as etcd
QUOTA_BYTES = 2 << 30  # as etcd
QUOTA_MAX = 1 << 50
MODES = ("revision", "periodic", "off")
TEXTS = ("name", "token_secret", "cert_file", "key_file", "client_ca_file", "admin_token")
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Settings:
    """Of one server. Raises ConfigError, which names the field and what it may be."""

    #: what clients are told the member is called, and where they reach it; none: where it listens
    name: str
    advertise: tuple[str, ...]
    #: where it listens for clients: urls with host and port
    listen: tuple[str, ...]
    #: seconds in which a request is answered, also while there is no leader
    request_timeout: float = 2.5
    max_request_bytes: int = REQUEST_BYTES_MAX
    max_txn_ops: int = OPERATIONS_MAX
    #: bytes of memory beyond which nothing is put; the history of keys counts
    quota_bytes: int = QUOTA_BYTES
    #: what is compacted: "revision": all but the newest so many; "periodic": what is older than so many seconds; "off"
    compaction: str = "revision"
    retention: float = 10_000
    #: users and their passwords, as they are or as scrypt$SALT$HASH; none: everybody may do everything
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: what tokens are signed with, the same on all servers; "": drawn from the users' passwords
    token_secret: str = field(default="", repr=False)
    token_seconds: float = 3600.0
    #: files in PEM: TLS for clients where there are a certificate and a key
    cert_file: str = ""
    key_file: str = ""
    #: whose certificates clients are to show; "": they need none
    client_ca_file: str = ""
    #: for the admin pages, where others than this machine may reach them
    admin_token: str | None = field(default=None, repr=False)
    progress_seconds: float = 600.0

    def __post_init__(self) -> None:
        for what in TEXTS:
            value = getattr(self, what)
            if not isinstance(value, str) and not (value is None and what == "admin_token"):
                raise ConfigError(f"{what} must be text in quotes, not {type(value).__name__}")
        if not self.name or not self.name.isprintable():
            raise ConfigError(f"name must be text that can be printed, not {self.name!r}")
        if not self.listen:
            raise ConfigError("listen must have at least one url, such as http://127.0.0.1:2379")
        for what in ("listen", "advertise"):
            for url in getattr(self, what):
                address_of(url, what)
        self._number("request_timeout", 0.1, 60)
        self._number("max_request_bytes", 1024, 1 << 29, whole=True)
        self._number("max_txn_ops", 1, 1 << 20, whole=True)
        self._number("quota_bytes", 1 << 20, QUOTA_MAX, whole=True)
        self._number("token_seconds", 1, 1e9)
        self._number("progress_seconds", 0.1, 1e9)
        if self.compaction not in MODES:
            raise ConfigError(f"compaction must be one of {', '.join(MODES)}, not {self.compaction!r}")
        self._number("retention", 1, 1e12)
        if bool(self.cert_file) != bool(self.key_file):
            raise ConfigError("cert_file and key_file must both be given, or neither")
        if self.client_ca_file and not self.cert_file:
            raise ConfigError("client_ca_file needs cert_file and key_file: clients show certificates in TLS alone")
        secure = {address_of(url, "listen")[0] for url in self.listen}
        if secure != {"https" if self.cert_file else "http"}:
            raise ConfigError(
                "listen must have urls with https:// where cert_file and key_file are given, and with http:// elsewhere"
            )
        if not isinstance(self.users, Mapping):
            raise ConfigError(f"users must be a table of names and passwords, not {type(self.users).__name__}")
        for user, password in self.users.items():
            if not user or not isinstance(password, str) or not password:
                raise ConfigError(f"users must have a password in quotes for each name, which {user!r} has not")
            try:
                is_hashed(password)
            except ValueError as error:
                raise ConfigError(f"users: {user!r}: {error}") from error

    def _number(self, name: str, low: float, high: float, whole: bool = False) -> None:
        value = getattr(self, name)
        good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not good or not low <= value <= high:
            what = "whole number" if whole else "number"
            raise ConfigError(f"{name} must be a {what} in {low:g}..{high:g}, not {value!r}")

    @classmethod
    def from_table(cls, table: Mapping[str, Any], **given: Any) -> Settings:
        """Of the table [server] in a cluster's file, and what is known from elsewhere."""
        known = {each.name for each in dataclasses.fields(cls)} - {"name", "advertise", "listen"}
        for key in table:
            if key not in known:
                raise ConfigError(f"server.{key} is not known; there are {', '.join(sorted(known))}")
        return cls(**{**table, **{name: value for name, value in given.items() if value is not None}})


def address_of(url: object, what: str) -> tuple[str, str, int]:
    """Scheme, host and port of a url. Raises ConfigError."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.scheme not in ("http", "https") or parts.path.rstrip("/") or parts.query:
        raise ConfigError(f"{what} must be a url with host and port, such as http://10.0.0.1:2379, not {url!r}")
    return parts.scheme, host, port


def seconds_of(text: str, what: str) -> float:
    """A time as etcd's flags have it: 10s, 1h30m; a number alone is hours. Raises ConfigError."""
    if text.isascii() and text.isdigit():
        return int(text) * 3600.0
    total, digits, unit = 0.0, "", ""
    for each in text + "0":
        if each in "0123456789.":
            if unit:
                if unit not in UNITS or not digits.strip(".") or digits.count(".") > 1:
                    break
                total += float(digits) * UNITS[unit]
                digits, unit = "", ""
            digits += each
        else:
            unit += each
    else:
        if total > 0 and digits == "0":
            return total
    raise ConfigError(f"{what} must be a time such as 30m or 8h, not {text!r}")
