"""One file for a whole cluster: who its members are, where each is reached, and their settings.

Reads and checks; opens nothing but the file itself. What it has becomes a Config, a FileStorage and a transport; a
member is founded from it only where that is asked for. Everything is checked when it is loaded, for all members, and
an error names the file, the line and the field.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from .config import Config
from .errors import ConfigError, NotFounded, UsageError
from .storage.file import FileStorage
from .storage.paths import check_path
from .storage.snapshot_format import URL_MAX
from .transport.address import parse
from .transport.nng import NngTransport
from .transport.sockets import checked_keys, is_local
from .transport.tls import Tls, check_private
from .types import MEMBERS_MAX, NUMBER_MAX

CLUSTER_BYTES = 16
TOP_KEYS = ("cluster", "data", "tls", "cluster_key_file", "insecure", "config", "server", "members")
TLS_KEYS = ("cert", "key", "ca", "min_version", "names", "renew_s")
MEMBER_KEYS = ("url", "bind", "admin", "name", "client", "client_bind", "data", "config", "learner", "join")
SETTINGS = tuple([field.name for field in dataclasses.fields(Config) if field.name not in ("id", "cluster")])
#: settings of the whole cluster's, which stand elsewhere
ELSEWHERE = {
    "id": "an id is the name of a table, [members.1]",
    "cluster": "the cluster's name stands at the top of the file",
}
PLACEHOLDER = "{id}"
NEW = (
    "If the member was there before, look whether its disk is mounted: it must not start without what it acknowledged. "
    "If that disk is lost for good: raftx wal rebuild --id {id}, while the others run. "
    "If it is new, found it once, with the command raftx create or with create=True at its first start"
)

Key = tuple[str, ...]


def cluster_named(name: str) -> bytes:
    """The 16 bytes of a cluster from its name, or from 32 hexadecimal digits. Raises ValueError, whose text follows
    the name of a field."""
    if re.fullmatch(r"[0-9a-fA-F]{32}", name):
        return bytes.fromhex(name)
    data = name.encode(errors="surrogatepass")
    if not 0 < len(data) <= CLUSTER_BYTES or not name.isprintable():
        raise ValueError(
            f"must be a name of 1..{CLUSTER_BYTES} bytes in UTF-8, or {2 * CLUSTER_BYTES} hexadecimal digits, "
            f"not {name!r}"
        )
    return data.ljust(CLUSTER_BYTES, b"\0")


@dataclass(frozen=True)
class ClusterMember:
    """One member, as the file has it."""

    id: int
    #: where others reach it
    url: str
    #: where it listens: its url, unless the file says something else
    bind: str
    #: where its admin pages are served, as the file has it; None: nowhere
    admin: str | None
    #: its directory, absolute
    data: Path
    #: founded without a vote
    learner: bool
    #: founded to be added to the cluster later (``Node.add_voter``): it is none of the first members
    join: bool
    #: what clients of ``raftx serve`` are told that it is called; "": nothing
    name: str = ""
    #: the url at which they reach it, and the one at which it listens for them; None: the file has none
    client: str | None = None
    client_bind: str | None = None


class ClusterFile:
    """What a file says of a cluster: ``ClusterFile.load("cluster.toml")``. Values only; it never changes.

    docs/cluster-file.md has every field.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        cluster: bytes,
        members: Mapping[int, ClusterMember],
        configs: Mapping[int, Config],
        tls: Mapping[int, Tls],
        insecure: bool = False,
        key_file: Path | None = None,
        server: Mapping[str, Any] | None = None,
    ) -> None:
        #: the file
        self.path = path
        #: the cluster's name as it is written, and the 16 bytes that members know it by
        self.name = name
        self.cluster = cluster
        #: by id, in order
        self.members = members
        self._configs = configs
        #: the table [server], which ``raftx serve`` reads and checks
        self.server: Mapping[str, Any] = server or {}
        self._tls = tls
        #: whether others than members may reach them, without TLS or a key
        self.insecure = insecure
        #: the file of the keys by which frames are sealed; read when a transport is made
        self.key_file = key_file

    def __repr__(self) -> str:
        return f"<raftx.ClusterFile {str(self.path)!r} cluster={self.name!r} members={sorted(self.members)}>"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ClusterFile:
        """Read and check a file. Any thread.

        Raises ConfigError, which names the file, the line, the field, what it may be and the remedy; UsageError where
        this Python has no reader for TOML (before 3.11 without the extra ``toml``).
        """
        where = Path(check_path(path, "path", "a file", ConfigError))
        try:
            data = where.read_bytes()
        except OSError as error:
            raise ConfigError(f"{where} cannot be read: {error.strerror or error}") from error
        return cls.of(where, data)

    @classmethod
    def of(cls, path: Path, data: bytes) -> ClusterFile:
        """What ``load`` would make of a file with this in it, and raise. Touches no file."""
        return _Reader(path, data).cluster_file()

    def member(self, id: int) -> ClusterMember:
        """The member of this id. Raises ConfigError, which names those that there are."""
        found = self.members.get(id) if isinstance(id, int) and not isinstance(id, bool) else None
        if found is None:
            names = ", ".join([str(each) for each in self.members])
            raise ConfigError(f"{self.path}: id must be that of a member, one of {names}, not {id!r}")
        return found

    def config(self, id: int) -> Config:
        """The settings of a member. Raises ConfigError for an id that is not in the file."""
        return self._configs[self.member(id).id]

    def transport(self, id: int) -> NngTransport:
        """A transport that listens where the file says. Raises ConfigError for an id that is not in the file.

        It is told no peers: where the others are reached the membership says, which began with the urls of this file
        and has followed every change since.
        """
        return NngTransport(
            self.member(id).bind,
            tls=self._tls.get(id),
            insecure=self.insecure,
            cluster_key=None if self.key_file is None else read_keys(self.key_file),
        )

    def tls(self, id: int) -> Tls | None:
        """The files of keys and certificates of a member; None without TLS. Raises ConfigError for an unknown id."""
        return self._tls.get(self.member(id).id)

    def create(self, id: int) -> FileStorage:
        """Found a member in its directory, and return its storage, not opened; once, when its machine is set up.

        The first members of the cluster are those of the file that neither have ``join`` nor are learners; learners
        take part without a vote. One with ``join`` waits until it is added. Every member is founded from the same
        file. Raises what FileStorage.create raises, AlreadyFounded for one; ConfigError for an id that is not in the
        file.
        """
        return FileStorage.create(self.member(id).data, id=id, cluster=self.cluster, **self.founders(id))

    def founders(self, id: int) -> dict[str, Any]:
        """What a member is founded with: ``members`` and ``learners``, or ``join``, as FileStorage.create takes them.

        Raises ConfigError for an id that is not in the file.
        """
        first = [each for each in self.members.values() if not each.join]
        if self.member(id).join:
            return {"join": [each.url for each in first]}
        return {
            "members": {each.id: each.url for each in first if not each.learner},
            "learners": {each.id: each.url for each in first if each.learner},
        }

    def storage(self, id: int, *, create: bool = False) -> FileStorage:
        """The storage of a member, not opened.

        create: found it if its directory does not exist. One that is there and empty is not taken for a new member's:
        it may be the place of a disk that is not mounted. Raises NotFounded, with the remedy, where nothing is that
        could be opened; what ``create`` raises; UsageError for what is neither True nor False.
        """
        if not isinstance(create, bool):
            raise UsageError(f"create must be True or False, not {create!r}")
        data = self.member(id).data
        if not os.path.lexists(data):
            if create:
                return self.create(id)
            raise NotFounded(
                f"{data}, the directory of member {id} in {self.path}, does not exist. {NEW.format(id=id)}"
            )
        if _is_empty(data):
            raise NotFounded(
                f"{data}, the directory of member {id} in {self.path}, is empty, as one whose disk is not mounted. If "
                "the member is new, remove the directory, or found it with the command raftx create"
            )
        return FileStorage(data)


class _Reader:
    """Takes one file apart."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.parse = _toml()
        try:
            self.text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{path}, line {line}: it must be text in UTF-8") from error
        # As the reader of TOML counts them.
        self.lines = self.text.replace("\r\n", "\n").split("\n")
        try:
            self.tree: dict[str, Any] = self.parse(self.text)
        except (ValueError, RecursionError) as error:
            found = re.search(r"^(.*?) \(at (?:line (\d+)|end of document)", str(error), re.DOTALL)
            what, line = (found[1], int(found[2] or len(self.lines))) if found else (str(error), 0)
            place = f"{path}, line {line}" if line else f"{path}"
            raise ConfigError(f"{place}: it is not TOML: {what}") from error

    def cluster_file(self) -> ClusterFile:
        """All that there is, checked."""
        self.keys((), self.tree, TOP_KEYS)
        name, cluster = self.cluster()
        data = self.text_at(("data",), self.tree) if "data" in self.tree else None
        if data is not None:
            self.check_data(("data",), data)
        shared = self.settings(("config",), self.tree)
        tables = self.table(("members",), self.tree)
        if not tables:
            self.wrong(("members",), "must name at least one member, as the table [members.1] with its url")
        if len(tables) > MEMBERS_MAX:
            self.wrong(("members",), f"must be at most {MEMBERS_MAX}, not {len(tables)}")
        members, configs = {}, {}
        for key in sorted(tables, key=lambda key: (len(key), key)):
            member = self.member(key, tables, data)
            members[member.id] = member
            own = self.settings(("members", key, "config"), tables[key])
            configs[member.id] = self.config(member.id, cluster, shared, own)
        self.check_all(members)
        tls = {id: self.tls(id) for id in members} if "tls" in self.tree else {}
        key_file = None
        if "cluster_key_file" in self.tree:
            text = self.text_at(("cluster_key_file",), self.tree, "the path of a file with a key")
            self.check_data(("cluster_key_file",), text)
            key_file = Path(os.path.abspath(Path(os.path.abspath(self.path)).parent / text))
        insecure = self.flag(("insecure",), self.tree)
        for id, member in members.items():
            if not (tls or insecure or key_file or is_local(parse(member.bind, "bind", listen=True))):
                name = "bind" if member.bind != member.url else "url"
                self.wrong(
                    ("members", str(id), name),
                    f"is {member.bind!r}, which others can reach, and whoever reaches it could speak in any member's "
                    "name: add the table [tls] or a cluster_key_file, or insecure = true if only members can reach the "
                    "network (raftx init writes them with --tls and --insecure)",
                )
        server = self.table(("server",), self.tree)
        return ClusterFile(self.path, name, cluster, members, configs, tls, insecure, key_file, server)

    def cluster(self) -> tuple[str, bytes]:
        """The name, and its bytes."""
        name = self.text_at(("cluster",), self.tree, f'a name such as "flags", of 1..{CLUSTER_BYTES} bytes')
        try:
            return name, cluster_named(name)
        except ValueError as error:
            self.wrong(("cluster",), str(error))

    def member(self, key: str, tables: dict[str, Any], shared_data: str | None) -> ClusterMember:
        """One member's table."""
        at = ("members", key)
        if not re.fullmatch(r"[1-9][0-9]{0,18}", key, re.ASCII) or int(key) > NUMBER_MAX:
            self.wrong(at, "must be named by the member's id, an integer in 1..2^63-1, as in [members.1]")
        id = int(key)
        table = self.table(at, tables)
        self.keys(at, table, MEMBER_KEYS)
        url = self.address((*at, "url"), table)
        bind = self.address((*at, "bind"), table, listen=True) if "bind" in table else url
        admin = self.text_at((*at, "admin"), table, 'an address such as "127.0.0.1:8081"') if "admin" in table else None
        data = self.text_at((*at, "data"), table) if "data" in table else shared_data
        if data is None:
            self.wrong(
                (*at, "data"), f'is missing: write data = "data/{PLACEHOLDER}" at the top of the file, or one for each'
            )
        self.check_data((*at, "data"), data)
        learner, join = self.flag((*at, "learner"), table), self.flag((*at, "join"), table)
        if learner and join:
            self.wrong((*at, "learner"), "must not be there beside join: whoever adds the member says what it is to be")
        folder = Path(os.path.abspath(self.path)).parent
        directory = Path(os.path.abspath(folder / data.replace(PLACEHOLDER, str(id))))
        texts = {what: self.text_at((*at, what), table) for what in ("name", "client", "client_bind") if what in table}
        return ClusterMember(id, url, bind, admin, directory, learner, join, **texts)

    def tls(self, id: int) -> Tls:
        """The table of keys and certificates, for one member."""
        at = ("tls",)
        table = self.table(at, self.tree)
        self.keys(at, table, TLS_KEYS)
        folder = Path(os.path.abspath(self.path)).parent
        files: dict[str, Any] = {}
        for name in ("cert", "key", "ca"):
            text = self.text_at((*at, name), table, f'the path of a file in PEM, such as "certs/{PLACEHOLDER}.pem"')
            self.check_data((*at, name), text)
            files[name] = os.path.abspath(folder / text.replace(PLACEHOLDER, str(id)))
        names = {}
        for key, name in self.table((*at, "names"), table).items():
            if not re.fullmatch(r"[1-9][0-9]{0,18}", key, re.ASCII):
                self.wrong((*at, "names", key), "must be named by a member's id")
            names[int(key)] = name
        rest = {key: table[key] for key in ("min_version", "renew_s") if key in table}
        try:
            return Tls(**files, names=names, **rest)
        except ConfigError as error:
            name, what = str(error).removeprefix("tls: ").split(" ", 1)
            self.wrong((*at, name), what, error)

    def check_all(self, members: Mapping[int, ClusterMember]) -> None:
        """What no member can tell alone."""
        seen: dict[object, int] = {}
        for id, member in members.items():
            for name, url in (("url", member.url), ("bind", member.bind)):
                if url.startswith("tls+") != ("tls" in self.tree):
                    what = (
                        "with the table [tls] it must be tls+tcp://"
                        if "tls" in self.tree
                        else "it needs the table [tls]"
                    )
                    self.wrong(("members", str(id), name), f"is {url!r}: {what}")
            address = parse(member.url, "url", listen=True)
            place = (address.host.lower(), address.port) if address.is_tcp else member.url
            other = seen.setdefault(place, id)
            if other != id:
                self.wrong(("members", str(id), "url"), f"must be its own: {member.url!r} is that of member {other}")
        if not any([not member.learner and not member.join for member in members.values()]):
            self.wrong(("members",), "must have one that neither is a learner nor has join: somebody has to vote first")

    def config(self, id: int, cluster: bytes, shared: Mapping[str, Any], own: Mapping[str, Any]) -> Config:
        """The settings of a member."""
        try:
            return Config(id=id, cluster=cluster, **{**shared, **own})
        except ConfigError as error:
            name, what = re.split(r"\b", str(error), maxsplit=2)[1:]
            at: Key = ("members", str(id), "config") if name in own else ("config",)
            self.wrong((*at, name), what.strip(), error)

    # --- values ------------------------------------------------------------------------------------

    def wrong(self, key: Key, what: str, cause: BaseException | None = None) -> NoReturn:
        """Raise ConfigError about a field, at its line or at that of the table where it is missing."""
        line = 0
        for end in range(len(key), 0, -1):
            line = self.line_of(key[:end])
            if line:
                break
        place = f"{self.path}, line {line}" if line else str(self.path)
        gap = "" if what.startswith("=") else " "
        raise ConfigError(f"{place}: {'.'.join(key)}{gap}{what}") from cause

    def line_of(self, key: Key) -> int:
        """The line in which it begins, from 1 on; 0 when it is not there.

        The first part of the file that has it ends there. A part that ends within a value is none.
        """
        low, high = 0, len(self.lines)
        if not _has(self.tree, key):
            return 0
        while high - low > 1:
            middle = (low + high) // 2
            end = middle
            part: Any = None
            while part is None and end < high:
                try:
                    part = self.parse("\n".join(self.lines[:end]) + "\n")
                except ValueError:
                    end += 1
            if part is None or _has(part, key):
                high = middle  # or the value that cannot be cut begins here or before
            else:
                low = end
        return low + 1

    def keys(self, at: Key, table: Mapping[str, Any], known: Iterable[str]) -> None:
        """Nothing is in a table that nobody knows."""
        for key in table:
            if key not in known:
                import difflib  # for errors alone

                near = difflib.get_close_matches(key, known, 1)
                hint = f": is it {near[0]}?" if near else f"; there are {', '.join(known)}"
                self.wrong((*at, key), f"is not known{hint}")

    def settings(self, at: Key, table: Mapping[str, Any]) -> dict[str, Any]:
        """A table of settings, whose values Config checks."""
        if at[-1] not in table:
            return {}
        found = self.table(at, table)
        for key in found:
            if key in ELSEWHERE:
                self.wrong((*at, key), f"does not belong here: {ELSEWHERE[key]}")
        self.keys(at, found, SETTINGS)
        return found

    def table(self, at: Key, table: Mapping[str, Any]) -> dict[str, Any]:
        """A table in a table."""
        found = table.get(at[-1], {})
        if not isinstance(found, dict):
            self.wrong(at, f"must be a table, [{'.'.join(at)}], not {found!r}")
        return found

    def text_at(self, at: Key, table: Mapping[str, Any], what: str = "text in quotes") -> str:
        """Text that is there and not empty."""
        if at[-1] not in table:
            self.wrong(at, f"is missing: it must be {what}")
        found = table[at[-1]]
        if not isinstance(found, str) or not found:
            self.wrong(at, f"must be {what}, not {found!r}")
        return found

    def flag(self, at: Key, table: Mapping[str, Any]) -> bool:
        """true or false; false where there is nothing."""
        found = table.get(at[-1], False)
        if not isinstance(found, bool):
            self.wrong(at, f"must be true or false, not {found!r}")
        return found

    def address(self, at: Key, table: Mapping[str, Any], listen: bool = False) -> str:
        """Where somebody is reached, or listens."""
        url = self.text_at(at, table, 'an address such as "tcp://10.0.0.1:5601"')
        if len(url.encode()) > URL_MAX:
            self.wrong(at, f"must be an address of at most {URL_MAX} bytes")
        try:
            parse(url, "it", listen=listen)
        except ConfigError as error:
            self.wrong(at, str(error).partition(" ")[2].replace("has the address", "is", 1), error)
        return url

    def check_data(self, at: Key, data: str) -> None:
        """A directory, in which nothing but the id is filled in."""
        if any(brace in data.replace(PLACEHOLDER, "") for brace in "{}"):
            self.wrong(at, f"may have {PLACEHOLDER} in it and no other braces, not {data!r}")
        try:
            check_path(data, "it", "a directory", ConfigError)
        except ConfigError as error:
            self.wrong(at, str(error).partition(" ")[2], error)


def read_keys(path: Path) -> tuple[bytes, ...]:
    """One or two keys of 32 bytes, each a line of 64 hexadecimal digits; the first one seals. Raises ConfigError."""
    check_private(path, "cluster_key_file")
    try:
        lines = path.read_text(encoding="ascii").split()
        return checked_keys([bytes.fromhex(line) for line in lines])
    except OSError as error:
        raise ConfigError(f"cluster_key_file, {path}, cannot be read: {error.strerror or error}") from None
    except (ValueError, ConfigError):
        # What is in it is not shown.
        raise ConfigError(
            f"cluster_key_file, {path}, must have one key, or two while one takes the other's place: a line of 64 "
            "hexadecimal digits for each, as python -c 'import secrets; print(secrets.token_hex(32))' makes them"
        ) from None


def _is_empty(directory: Path) -> bool:
    try:
        return not any(directory.iterdir())
    except OSError:  # whoever opens it says what is wrong with it
        return False


def _has(tree: Any, key: Key) -> bool:
    for part in key:
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def _toml() -> Callable[[str], dict[str, Any]]:
    """What reads TOML. Raises UsageError where there is nothing."""
    for name in ("tomllib", "tomli"):
        try:
            loads: Callable[[str], dict[str, Any]] = importlib.import_module(name).loads
            return loads
        except ImportError:
            continue
    raise UsageError("Python before 3.11 does not read TOML: pip install 'raftx[toml]', which brings tomli")
