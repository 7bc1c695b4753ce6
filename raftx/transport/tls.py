"""Mutual TLS for NngTransport: which files, what has to be in them, whom a certificate may name, and when they change.

``Tls`` is what a user says. ``Keys`` reads the files and makes NNG's configurations of them; ``KeyWatch`` is a thread
that reads them again when they change and tells when they end. The TLS itself is NNG's. A configuration that NNG was
given is never freed: NNG ends the process when one in use is. Nothing here shows what is in a key.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .._native.identity import Identities
from ..errors import ConfigError, UsageError
from ..report import report
from ..types import MEMBERS_MAX, is_id
from .certificate import Certificate, certificates

VERSIONS = {"1.2": "NNG_TLS_1_2", "1.3": "NNG_TLS_1_3"}
NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
DAY = 86_400
WARN_DAYS = (30, 7, 1, 0)
LOOK_SECONDS = 1.0  # between two looks at the times of the files
SHORT_SECONDS = 0.05  # until the next try after a shortage
HINT = "the command raftx certs makes such files"

# NNG's configurations, for as long as the process lives.
_kept: list[Any] = []


def member_uri(cluster: bytes, id: int) -> str:
    """The name of a member in its certificate: ``raftx://`` with the cluster's name, or its digits, and the id."""
    return f"{cluster_uri(cluster)}{id}"


def cluster_uri(cluster: bytes) -> str:
    """What the names of all members of a cluster begin with."""
    from urllib.parse import quote

    bare = cluster.rstrip(b"\0")
    try:
        name = bare.decode()
    except UnicodeDecodeError:
        name = ""
    good = name.isprintable() and name and b"\0" not in bare
    return f"raftx://{quote(name, safe='') if good else cluster.hex()}/"


@dataclass(frozen=True)
class Tls:
    """Mutual TLS: every connection needs a certificate that one of ``ca`` has signed and that names its member.

    cert, key, ca: files in PEM. ``cert`` may be followed by intermediate certificates; ``key`` has no password and
    nobody but its owner may read it; ``ca`` may have several certificates, while one is replaced by another.
    min_version: "1.2" or "1.3".
    names: DNS names of the members, by id, if their certificates have these as subject alternative names. Without it,
    the certificate of member 1 of cluster "flags" has the name ``raftx://flags/1``, as a URI.
    renew_s: how long a connection may go on with a certificate that has been replaced, in seconds, 1..10^9.

    The files are read when a node starts, and again when they change. Raises ConfigError, which names the field.
    """

    cert: str | os.PathLike[str]
    key: str | os.PathLike[str]
    ca: str | os.PathLike[str]
    min_version: str = "1.2"
    names: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    renew_s: int = 3600

    def __post_init__(self) -> None:
        for name in ("cert", "key", "ca"):
            value = getattr(self, name)
            if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
                raise ConfigError(f"tls: {name} must be the path of a file in PEM, not {value!r}; {HINT}")
        if self.min_version not in VERSIONS:
            raise ConfigError(f'tls: min_version must be "1.2" or "1.3", not {self.min_version!r}')
        if not isinstance(self.names, Mapping) or len(self.names) > MEMBERS_MAX:
            raise ConfigError(f"tls: names must be a mapping of at most {MEMBERS_MAX} ids to DNS names")
        for id, name in self.names.items():
            if not is_id(id) or not isinstance(name, str) or not NAME.fullmatch(name):
                raise ConfigError(
                    f"tls: names must be DNS names by ids, such as {{1: 'a.example'}}, not {id!r}: {name!r}"
                )
        if len({name.lower() for name in self.names.values()}) < len(self.names):
            raise ConfigError("tls: names must be different ones: two members have the same")
        good = isinstance(self.renew_s, int) and not isinstance(self.renew_s, bool) and 1 <= self.renew_s <= 10**9
        if not good:
            raise ConfigError(f"tls: renew_s must be an integer in 1..10^9, not {self.renew_s!r}")
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))


class Keys:
    """What is in the files now, for one member. ``load`` may be called again; it changes nothing when it raises."""

    def __init__(self, tls: Tls, cluster: bytes, id: int) -> None:
        self.tls = tls
        self.id = id
        self.prefix = cluster_uri(cluster)
        self.identities = Identities(
            self.prefix.encode(), {member: name.encode() for member, name in tls.names.items()}
        )
        #: when the certificate, or the last of the authorities, is not valid any more; seconds since the epoch
        self.not_after = 0
        self.stamp: object = None
        self._texts = (b"", b"", b"")
        #: NNG's configurations for those who are dialled, and of which files: what NNG was given stays for ever
        self._clients: dict[int, tuple[object, int]] = {}

    def __repr__(self) -> str:
        return f"<raftx TLS files of member {self.id}, valid until {self.not_after}>"

    def name_of(self, member: int) -> str:
        """The name that a member's certificate has; empty when it is to have one and none is known."""
        return self.tls.names.get(member, "") if self.tls.names else f"{self.prefix}{member}"

    def stamps(self) -> object:
        """What changes when one of the files does."""
        found = []
        for path in (self.tls.cert, self.tls.key, self.tls.ca):
            try:
                at = os.stat(path)
                found.append((at.st_mtime_ns, at.st_size, at.st_ino, at.st_dev))
            except OSError:
                found.append((0, 0, 0, 0))
        return found

    def load(self) -> bool:
        """Read and check the files; whether something in them is new. Raises ConfigError, and all is as before."""
        stamp = self.stamps()
        cert, key, ca = _read(self.tls.cert, "cert"), _read_key(self.tls.key), _read(self.tls.ca, "ca")
        _check_pair(self.tls)
        own, authorities = _parsed(cert, self.tls.cert, "cert"), _parsed(ca, self.tls.ca, "ca")
        self._check_name(own[0])
        if stamp != self.stamps():
            raise ConfigError("tls: the files have changed while they were read: they are read again in a moment")
        self.not_after = min(own[0].not_after, max([each.not_after for each in authorities]))
        new = (cert, key, ca) != self._texts
        if new:
            self._texts = (cert, key, ca)
        self.stamp = stamp
        return new

    def held(self) -> tuple[tuple[bytes, bytes, bytes], object, int]:
        """What ``load`` has read last, for ``hold``."""
        return self._texts, self.stamp, self.not_after

    def hold(self, held: tuple[tuple[bytes, bytes, bytes], object, int]) -> None:
        """Go back to what was read before."""
        self._texts, self.stamp, self.not_after = held

    def _check_name(self, own: Certificate) -> None:
        name = self.name_of(self.id)
        there = [each.lower() for each in own.dns] if self.tls.names else list(own.uris)
        if not name:
            raise ConfigError(f"tls: names has no name of this member, {self.id}: give that of each member")
        if (name.lower() if self.tls.names else name) not in there:
            kind = "DNS name" if self.tls.names else "URI"
            raise ConfigError(
                f"tls: the certificate {os.fspath(self.tls.cert)} is not that of member {self.id}: it must have the "
                f"{kind} {name} as a subject alternative name, and has {', '.join(there) or 'none'}; {HINT}"
            )
        texts = [each.encode() for each in (*own.dns, *own.uris)]
        if self.identities.py_member(texts) != self.id:
            raise ConfigError(
                f"tls: the certificate {os.fspath(self.tls.cert)} names more than one member: it must "
                f"name {self.id} only"
            )

    def server(self) -> Any:
        """NNG's configuration for those who connect. Raises ConfigError."""
        return self._made("NNG_TLS_MODE_SERVER", "")

    def client(self, member: int) -> int:
        """NNG's configuration for connections to a member, as an address; 0 when that one has no name."""
        import pynng

        name = self.name_of(member)
        if not name:
            return 0
        texts, made = self._clients.get(member, (None, 0))
        if texts is not self._texts:
            made = int(pynng.ffi.cast("uintptr_t", self._made("NNG_TLS_MODE_CLIENT", name)))
            self._clients[member] = (self._texts, made)
        return made

    def _made(self, mode: str, name: str) -> Any:
        import pynng

        ffi, lib = pynng.ffi, pynng.lib
        made = ffi.new("nng_tls_config **")
        cert, key, ca = self._texts
        steps: list[tuple[str, Callable[[], int]]] = [
            ("tls", lambda: int(lib.nng_tls_config_alloc(made, getattr(lib, mode)))),
            ("ca", lambda: int(lib.nng_tls_config_ca_chain(made[0], ca, ffi.NULL))),
            ("cert and key", lambda: int(lib.nng_tls_config_own_cert(made[0], cert, key, ffi.NULL))),
            ("tls", lambda: int(lib.nng_tls_config_auth_mode(made[0], lib.NNG_TLS_AUTH_MODE_REQUIRED))),
            (
                "min_version",
                lambda: int(
                    lib.nng_tls_config_version(made[0], getattr(lib, VERSIONS[self.tls.min_version]), lib.NNG_TLS_1_3)
                ),
            ),
        ]
        if name:
            steps.append(("names", lambda: int(lib.nng_tls_config_server_name(made[0], name.encode()))))
        for what, step in steps:
            code = step()
            if code:
                text = ffi.string(lib.nng_strerror(code)).decode()
                raise ConfigError(f"tls: NNG does not take {what}: {text}")
            if not _kept or _kept[-1] is not made:
                _kept.append(made)
        return made[0]


class KeyWatch:
    """Looks at the files once a second, on a thread; ``reload`` is called when they have changed.

    each: called more often than that, and says after how many seconds again.
    """

    def __init__(self, keys: Keys, reload: Callable[[], object], each: Callable[[], float]) -> None:
        self.keys = keys
        self.reload = reload
        self.each = each
        self.warned: tuple[int, int] = (0, 0)
        self._tried: object = keys.stamp
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self.run, name=f"raftx-tls-{self.keys.id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; returns when nothing is called any more. May be called twice."""
        self._end.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)

    def run(self) -> None:
        """The body of the thread."""
        due = 0.0
        while True:
            now = time.monotonic()
            if now >= due:
                due = now + LOOK_SECONDS
                self.look(time.time())
            try:
                again = self.each()
            except OSError:  # no descriptors, say: that passes, and this thread is needed then
                again = SHORT_SECONDS
            if self._end.wait(min(again, max(due - now, 0.01))):
                return

    def look(self, now: float) -> None:
        """Read the files again if they have changed, and warn of what ends soon. now: seconds since the epoch."""
        stamps = self.keys.stamps()
        if stamps not in (self.keys.stamp, self._tried):
            self._tried = stamps
            try:
                self.reload()
            except ConfigError as error:
                text = "node %d: the TLS files have changed and cannot be used; those of before stay in use: %s"
                report(logging.WARNING, text, self.keys.id, error, event="tls_refused", node=self.keys.id)
            except UsageError:
                return  # it is being closed
        self.warn(now)

    def warn(self, now: float) -> None:
        """Say that a certificate ends: 30, 7 and 1 days before, and then; each once."""
        end = self.keys.not_after
        left = end - now
        due = [days for days in WARN_DAYS if left <= days * DAY]
        if not due or (end, min(due)) == self.warned:
            return
        self.warned = (end, min(due))
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(end))
        if left > 0:
            text = (
                "node %d: its TLS certificate, or its authority's, ends in %.1f days, at %s: replace the files in time"
            )
            values: tuple[Any, ...] = (self.keys.id, left / DAY, when)
        else:
            text = (
                "node %d: its TLS certificate, or its authority's, has ended at %s: no new connection is made with it"
            )
            values = (self.keys.id, when)
        report(logging.WARNING, text, *values, event="tls_expires", node=self.keys.id, expires=end)


def _read(path: str | os.PathLike[str], name: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"tls: {name}, {os.fspath(path)}, cannot be read: {reason}") from None


def _read_key(path: str | os.PathLike[str]) -> bytes:
    check_private(path, "tls: key")
    text = _read(path, "key")
    if b"ENCRYPTED" in text:
        raise ConfigError(
            f"tls: key, {os.fspath(path)}, has a password: give one without, which only its owner can read"
        )
    return text


def check_private(path: str | os.PathLike[str], name: str) -> None:
    """Raise ConfigError unless a file is this user's, or root's, and nobody else may read or write it."""
    try:
        at = os.stat(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{name}, {os.fspath(path)}, cannot be read: {reason}") from None
    if stat.S_IMODE(at.st_mode) & 0o077:
        raise ConfigError(
            f"{name}, {os.fspath(path)}, can be read or written by others (mode {stat.S_IMODE(at.st_mode):o}): "
            "chmod 600"
        )
    if at.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{name}, {os.fspath(path)}, belongs to another user: chown it to the user of this process")


def _check_pair(tls: Tls) -> None:
    """Whether the key is that of the certificate: OpenSSL says so."""
    import ssl  # here: who uses no TLS need not wait for it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.cert, tls.key, password=lambda: b"")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "they are not in PEM"
        raise ConfigError(
            f"tls: cert and key, {os.fspath(tls.cert)} and {os.fspath(tls.key)}, do not belong together: {reason}"
        ) from None


def _parsed(text: bytes, path: str | os.PathLike[str], name: str) -> list[Certificate]:
    try:
        found = certificates(text)
    except ValueError as error:
        raise ConfigError(f"tls: {name}, {os.fspath(path)}: {error}") from None
    if not found:
        raise ConfigError(f"tls: {name}, {os.fspath(path)}, has no certificate in it: it must be in PEM")
    return found
