"""``raftx serve``: a key-value server with etcd's JSON API, from the file of a cluster or from etcd's flags.

Reads arguments and makes the node; what it does is in raftx/kv/, which needs the extra ``server``.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..cluster_file import ClusterFile, read_keys
from ..config import Config, cluster_id
from ..errors import ConfigError
from ..node.node import Node
from ..storage.file import FileStorage
from ..transport.address import parse
from ..transport.nng import NngTransport
from ..transport.sockets import Keys, is_local
from ..transport.tcp import PATHS, TcpTransport
from ..transport.tls import Tls
from .base import NATURAL, PATH, Command, Told
from .codes import NOT_INSTALLED
from .output import say

if TYPE_CHECKING:
    from ..kv.server import Server
    from ..kv.settings import Settings

CLIENT_URL = "http://localhost:2379"
PEER_URL = "http://localhost:2380"
TOKEN = "etcd-cluster"
ENTRY_BYTES = 4096  # around a request in the log, and around that in a frame, at most
FRAME_BYTES = 4 << 20  # what a frame may have at least
NEEDED = ("starlette", "uvicorn", "sortedcontainers")
#: flags of etcd that are taken, so that its command lines work, and mean nothing here
WITHOUT_EFFECT = (
    "peer-client-cert-auth",
    "enable-v2",
    "logger",
    "log-outputs",
    "initial-election-tick-advance",
)


def _flags() -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Those of etcd."""
    table: tuple[tuple[str, str, Any, str], ...] = (
        ("name", "NAME", str, "Of this member. [default: default]"),
        ("data-dir", "PATH", PATH, "Its directory. [default: NAME.raftx]"),
        ("listen-client-urls", "URLS", str, f"Where it listens for clients. [default: {CLIENT_URL}]"),
        ("advertise-client-urls", "URLS", str, "Where clients reach it. [default: where it listens]"),
        ("listen-peer-urls", "URL", str, "Where it listens for members. [default: where they reach it]"),
        ("initial-advertise-peer-urls", "URL", str, f"Where members reach it. [default: {PEER_URL}]"),
        ("initial-cluster", "NAME=URL,...", str, "The first members. [default: this one alone]"),
        ("initial-cluster-token", "TEXT", str, f"The name of the cluster. [default: {TOKEN}]"),
        ("initial-cluster-state", "new|existing", click.Choice(["new", "existing"]), "Whether it begins with this."),
        ("heartbeat-interval", "MS", click.IntRange(1, 60_000), "Between heartbeats. [default: 50]"),
        ("election-timeout", "MS", click.IntRange(10, 600_000), "Without a leader. [default: 500]"),
        ("snapshot-count", "N", click.IntRange(1, 1 << 40), "Entries between snapshots. [default: 10000]"),
        ("max-request-bytes", "N", int, "Of a request. [default: 1572864]"),
        ("max-txn-ops", "N", int, "Of a transaction. [default: 128]"),
        ("quota-backend-bytes", "N", int, "Beyond which nothing is put. [default: 2147483648]"),
        ("auto-compaction-mode", "MODE", click.Choice(["revision", "periodic"]), "Keep revisions, or a time."),
        ("auto-compaction-retention", "N", str, "How many revisions, or how long: 8h. 0: everything."),
        ("cert-file", "FILE", PATH, "TLS for clients: the certificate."),
        ("key-file", "FILE", PATH, "TLS for clients: its key."),
        ("trusted-ca-file", "FILE", PATH, "Whose certificates clients show."),
        ("peer-cert-file", "FILE", PATH, "TLS between members, whose urls are https then: the certificate."),
        ("peer-key-file", "FILE", PATH, "TLS between members: its key."),
        ("peer-trusted-ca-file", "FILE", PATH, "TLS between members: whose certificates they show."),
        ("cluster-key-file", "FILE", PATH, "Not of etcd: the key by which members seal what they send."),
        ("log-level", "LEVEL", str, "debug, info, warn or error. [default: info]"),
    )
    options = [click.option(f"--{name}", metavar=meta, type=kind, help=text) for name, meta, kind, text in table]
    options.append(click.option("--client-cert-auth", is_flag=True, help="Clients must show a certificate."))
    options.append(click.option("--insecure", is_flag=True, help="Not of etcd: only members reach the peer urls."))
    options += [
        click.option(f"--{name}", hidden=True, is_flag=False, flag_value="true", help="Nothing.")
        for name in WITHOUT_EFFECT
    ]

    def add(command: Callable[..., int]) -> Callable[..., int]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command("serve", cls=Command)
@click.option("--config", metavar="FILE", type=PATH, help="The file of the cluster.")
@click.option("--id", type=NATURAL, help="Of the member in that file.")
@click.option("--create", is_flag=True, help="Found the member if its directory does not exist.")
@_flags()
def serve(config: str | None, id: int | None, create: bool, programs: bool, **flags: Any) -> int:
    """Serve keys and values to clients of etcd: Patroni, etcd3gw, tooz and others that speak its JSON API.

    With --config FILE --id ID it is a member of that cluster; the file says where clients reach it (docs/server.md).
    Without, it takes the flags of etcd. It ends on SIGTERM and SIGINT, and hands leadership over first.
    """
    for name in WITHOUT_EFFECT:
        flags.pop(name.replace("-", "_"))
    given = {name: value for name, value in flags.items() if value not in (None, False)}
    _check_installed()
    _log(given.pop("log_level", "info"))
    if config is not None:
        if id is None:
            raise click.UsageError("--config needs --id, the member that this is")
        if given:
            raise click.UsageError(
                f"--{next(iter(given)).replace('_', '-')} does not go with --config: the file says it"
            )
        made = _of_file(ClusterFile.load(config), id, create)
    elif id is not None or create:
        raise click.UsageError("--id and --create need --config, the file of the cluster")
    else:
        made = _of_flags(given)
    return _run(_serving(*made, programs))


def _check_installed() -> None:
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise Told(
                f"raftx serve needs {name}, which is not installed: pip install 'raftx[server]'", NOT_INSTALLED
            ) from error


def _log(level: str) -> None:
    """Lines for people on standard error."""
    names = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
    if level not in names:
        raise click.UsageError(f"--log-level must be one of {', '.join(names)}, not {level!r}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("raftx")
    logger.addHandler(handler)
    logger.setLevel(names[level])


# --- from a file ---------------------------------------------------------------------------------------

Transport = NngTransport | TcpTransport
Made = tuple[Config, FileStorage, Transport, "Settings"]


def _of_file(file: ClusterFile, id: int, create: bool) -> Made:
    from ..kv.settings import Settings

    member = file.member(id)
    if member.client is None and member.client_bind is None:
        raise ConfigError(
            f"{file.path}: members.{id}.client is missing: it must be the url at which clients reach the member, such "
            "as http://10.0.0.1:2379"
        )
    listen = member.client_bind or member.client
    assert listen is not None
    try:
        settings = Settings.from_table(
            _with_paths(file),
            name=member.name or f"member-{id}",
            listen=(listen,),
            advertise=(member.client,) if member.client else (),
        )
    except ConfigError as error:
        raise ConfigError(f"{file.path}: [server]: {error}") from error
    config = _roomy(file.config(id), settings)
    keys = None if file.key_file is None else read_keys(file.key_file)
    transport = _transport(member.bind, file.tls(id), file.insecure, keys, config)
    return config, file.storage(id, create=create), transport, settings


def _transport(bind: str, tls: Tls | None, insecure: bool, keys: Keys, config: Config) -> Transport:
    """Without TLS one without threads between the engine and its sockets: a write takes a third less with it."""
    frame = max(FRAME_BYTES, config.max_entry_bytes + ENTRY_BYTES)
    at = parse(bind, "url", listen=True)
    if tls is None and (at.is_tcp or at.scheme in PATHS):
        return TcpTransport(bind, max_frame_bytes=frame, insecure=insecure, cluster_key=keys)
    return NngTransport(bind, max_frame_bytes=frame, tls=tls, insecure=insecure, cluster_key=keys)


def _with_paths(file: ClusterFile) -> Mapping[str, Any]:
    """The table [server]; files begin at the folder of the cluster's file."""
    folder = Path(os.path.abspath(file.path)).parent
    return {
        name: os.fspath(folder / value) if name.endswith("_file") and isinstance(value, str) and value else value
        for name, value in file.server.items()
    }


def _roomy(config: Config, settings: Settings) -> Config:
    """Settings under which a request of the largest size fits into an entry."""
    least = int(settings.max_request_bytes) + ENTRY_BYTES
    if config.max_entry_bytes >= least:
        return config
    return dataclasses.replace(
        config, max_entry_bytes=least, max_waiting_bytes=max(config.max_waiting_bytes, 8 * least)
    )


# --- from flags ----------------------------------------------------------------------------------------


def member_id(token: str, name: str) -> int:
    """The id of a member that has a name alone: the same wherever it is computed, whoever the others are."""
    return int.from_bytes(hashlib.sha256(f"{token}\0{name}".encode()).digest()[:8], "big") >> 1 or 1


def _of_flags(given: dict[str, Any]) -> Made:
    from ..kv.settings import QUOTA_MAX, Settings, seconds_of

    name = given.get("name", "default")
    token = given.get("initial_cluster_token", TOKEN)
    own = _peer(given.get("initial_advertise_peer_urls", PEER_URL), "--initial-advertise-peer-urls")
    members = _members(given, name, own)
    if name not in members:
        raise ConfigError(f"--initial-cluster must have this member, {name}; there are {', '.join(members)}")
    ids = {each: member_id(token, each) for each in members}
    retention = given.get("auto_compaction_retention")
    table: dict[str, Any] = {
        "cert_file": given.get("cert_file", ""),
        "key_file": given.get("key_file", ""),
        "client_ca_file": given.get("trusted_ca_file", "") if given.get("client_cert_auth") else "",
    }
    if given.get("client_cert_auth") and not given.get("trusted_ca_file"):
        raise ConfigError("--client-cert-auth needs --trusted-ca-file")
    table |= {key: given[key] for key in ("max_request_bytes", "max_txn_ops") if key in given}
    if "quota_backend_bytes" in given:  # below 0: none, as with etcd
        quota = given["quota_backend_bytes"]
        table["quota_bytes"] = quota if quota > 0 else QUOTA_MAX
    mode = given.get("auto_compaction_mode", "periodic")
    if retention == "0":
        table["compaction"] = "off"
    elif retention is not None and mode == "periodic":
        table |= {"compaction": mode, "retention": seconds_of(retention, "--auto-compaction-retention")}
    elif retention is not None:
        if not retention.isascii() or not retention.isdigit():
            raise ConfigError(f"--auto-compaction-retention must be a number of revisions, not {retention!r}")
        table |= {"compaction": mode, "retention": int(retention)}
    listen = tuple(given.get("listen_client_urls", CLIENT_URL).split(","))
    advertise = tuple(given["advertise_client_urls"].split(",")) if "advertise_client_urls" in given else ()
    settings = Settings.from_table(table, name=name, listen=listen, advertise=advertise)
    bind = _peer(given["listen_peer_urls"], "--listen-peer-urls") if "listen_peer_urls" in given else members[name]
    config = _roomy(_config(given, ids[name], token), settings)
    transport = _transport_of_flags(given, bind, {ids[each]: url for each, url in members.items()}, config)
    return config, _storage(given, name, ids, members, token), transport, settings


def _transport_of_flags(given: Mapping[str, Any], bind: str, urls: Mapping[int, str], config: Config) -> Transport:
    """Where members hear each other; with TLS each of them has a certificate of its host's name, as with etcd."""
    files = [given.get(f"peer_{what}_file") for what in ("cert", "key", "trusted_ca")]
    secure = [url.startswith("tls+") for url in (bind, *urls.values())]
    if all(files) != all(secure) or any(files) != any(secure):
        raise ConfigError(
            "TLS between members needs --peer-cert-file, --peer-key-file and --peer-trusted-ca-file, and https in the "
            "url of each member"
        )
    tls = None
    if all(files):
        hosts = {id: parse(url, "--initial-cluster").host for id, url in urls.items()}
        if len(set(hosts.values())) < len(hosts) or any(host.replace(".", "").isdigit() for host in hosts.values()):
            raise ConfigError(
                "--initial-cluster must have a host name of its own for each member, which its certificate names; for "
                "others use a file (--config), whose certificates raftx certs makes"
            )
        cert, key, ca = map(str, files)
        tls = Tls(cert, key, ca, names=hosts)
    seal = given.get("cluster_key_file")
    insecure = bool(given.get("insecure"))
    if not (tls or seal or insecure or is_local(parse(bind, "--listen-peer-urls", listen=True))):
        raise ConfigError(
            f"--listen-peer-urls: others can reach {bind}, and whoever reaches it could speak in any member's name: "
            "give --peer-cert-file and its like, or --cluster-key-file, or --insecure if only members can reach it"
        )
    return _transport(bind, tls, insecure, None if seal is None else read_keys(Path(seal)), config)


def _members(given: Mapping[str, Any], name: str, own: str) -> dict[str, str]:
    """Addresses by name."""
    if "initial_cluster" not in given:
        return {name: own}
    members = {}
    for part in given["initial_cluster"].split(","):
        one, separator, url = part.strip().partition("=")
        if not separator or not one or one in members:
            raise ConfigError(f"--initial-cluster must be NAME=URL,... with each name once, not {part!r}")
        members[one] = _peer(url, "--initial-cluster")
    return members


def _peer(url: str, flag: str) -> str:
    """An address of a member as raftx has it."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("http", "https", "tcp") or "," in url:
        raise ConfigError(f"{flag} must be one url such as http://10.0.0.1:2380, not {url!r}")
    return f"{'tls+' if scheme == 'https' else ''}tcp://{rest.rstrip('/')}"


def _config(given: Mapping[str, Any], id: int, token: str) -> Config:
    """Ticks of half a heartbeat's length at most, so that elections are not far apart."""
    more: dict[str, Any] = {}
    if "heartbeat_interval" in given or "election_timeout" in given:
        tick = given.get("heartbeat_interval", 50)
        more = {"tick_ms": tick, "election_ticks": max(2, given.get("election_timeout", 10 * tick) // tick)}
    if "snapshot_count" in given:
        more["snapshot_entries"] = given["snapshot_count"]
    return Config(id=id, cluster=cluster_id(token), **more)


def _storage(
    given: Mapping[str, Any], name: str, ids: Mapping[str, int], members: Mapping[str, str], token: str
) -> FileStorage:
    directory = given.get("data_dir", f"{name}.raftx")
    if os.path.lexists(directory) and os.listdir(directory):
        return FileStorage(directory)
    cluster = cluster_id(token)
    if given.get("initial_cluster_state") == "existing":
        others = [url for each, url in members.items() if each != name]
        return FileStorage.create(directory, id=ids[name], join=others, cluster=cluster)
    first = {ids[each]: url for each, url in members.items()}
    return FileStorage.create(directory, id=ids[name], members=first, cluster=cluster)


# --- running -------------------------------------------------------------------------------------------


def _run(coroutine: Any) -> int:
    _raise_descriptors()
    try:
        run = importlib.import_module("uvloop").run
    except ModuleNotFoundError:
        run = asyncio.run
    return int(run(coroutine))


def _raise_descriptors() -> None:
    """As many as may be: what a shell gives is 1,024, and each client needs one."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        resource = importlib.import_module("resource")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serving(
    config: Config, storage: FileStorage, transport: Transport, settings: Settings, programs: bool
) -> int:
    from .. import aio
    from ..kv.machine import KeyValues
    from ..kv.server import Server

    machine = KeyValues()
    server = Server(aio.Node.of(Node(config, storage, transport, machine)), machine, settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.start()
    try:
        _tell(server, programs)
        await server.serve()
    finally:
        await server.close()
    return 0


def _tell(server: Server, programs: bool) -> None:
    urls = server.urls
    if programs:
        from .output import as_json

        say(as_json({"id": server.node.id, "name": server.settings.name, "urls": urls}))
    else:
        say(f"member {server.node.id} ({server.settings.name}) serves {', '.join(urls)}")
    sys.stdout.flush()
