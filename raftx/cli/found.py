"""``raftx init``, ``create`` and ``join``: the file of a cluster, and the directories of its members.

Founds; opens nothing that is there already, and replaces nothing that it was not told to.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from ..cluster_file import ClusterFile
from ..errors import ConfigError
from ..storage.file import FileStorage
from ..storage.paths import check_foreign
from ..transport.address import parse
from .base import CLUSTER, NATURAL, PAIR, PATH, Command, Refused, with_scheme
from .output import as_json, cluster_shown, fields, say
from .remote import DEFAULT_FILE

ADMIN_PORT = 8080


# --- init ----------------------------------------------------------------------------------------------


@click.command("init", cls=Command)
@click.argument("members", metavar="ID=HOST:PORT...", type=PAIR, nargs=-1, required=True)
@click.option(
    "--cluster", "name", metavar="NAME", required=True, help="Of the cluster: at most 16 bytes, or 32 hex digits."
)
@click.option("--learner", "learners", metavar="ID", type=NATURAL, multiple=True, help="Has no vote; may be repeated.")
@click.option("--data", metavar="PATH", default="data/{id}", show_default=True, help="Directory of a member.")
@click.option(
    "--admin-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=ADMIN_PORT,
    show_default=True,
    help="Where a member serves its admin pages; members on one host take this one and the next. 0: they do not.",
)
@click.option(
    "--output", "-o", type=PATH, default="cluster.toml", show_default=True, help="The file; -: standard output."
)
@click.option("--tls", "tls", is_flag=True, help="Members speak TLS, with the files that raftx certs makes.")
@click.option("--insecure", is_flag=True, help="Only members can reach the network, so they need no keys.")
@click.option("--force", is_flag=True, help="Replace the file.")
def init(
    members: tuple[tuple[int, str], ...],
    name: str,
    learners: tuple[int, ...],
    data: str,
    admin_port: int,
    output: str,
    tls: bool,
    insecure: bool,
    force: bool,
    programs: bool,
) -> int:
    """Write the file of a cluster, cluster.toml.

    One file for all: every member is founded from it (raftx create), starts with it, and is found through it by the
    other commands. Members on several machines need --tls, or --insecure.
    """
    ids = [id for id, _ in members]
    if len(set(ids)) != len(ids):
        raise click.UsageError("a member must be named once")
    unknown = [id for id in learners if id not in ids]
    if unknown:
        raise click.UsageError(f"--learner must be one of the members, {', '.join(map(str, ids))}, not {unknown[0]}")
    if tls:
        members = tuple([(id, f"tls+{url}" if url.startswith("tcp") else url) for id, url in members])
    text = written(members, name, learners, data, admin_port, tls, insecure)
    if output == "-":
        checked(text, output)
        say(text.rstrip())
        return 0
    found = checked(text, output)
    check_foreign(output, "--output", Refused)
    try:
        with open(output, "w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise Refused(f"{output} is there already. Nothing was changed. To replace it: --force") from error
    if programs:
        say(as_json(described(found, output)))
        return 0
    say(fields([("written", output), ("cluster", cluster_shown(found.cluster)), *member_rows(found)]))
    say(f"\nCopy it to every machine, and found each member there, once: raftx create --config {output} --id {ids[0]}")
    return 0


def written(members: Any, name: str, learners: Any, data: str, admin_port: int, tls: bool, insecure: bool) -> str:
    """The text of the file."""
    lines = [f"cluster = {quoted(name)}", f"data = {quoted(data)}"]
    if insecure:
        lines.append("insecure = true")
    if tls:
        files = [("cert", "certs/{id}.pem"), ("key", "certs/{id}.key"), ("ca", "certs/ca.pem")]
        lines += ["", "[tls]", *[f"{key} = {quoted(path)}" for key, path in files]]
    taken: dict[str, int] = {}
    for id, url in sorted(members):
        lines += ["", f"[members.{id}]", f"url = {quoted(url)}"]
        host = url.partition("://")[2].rpartition(":")[0]
        if admin_port and host and url.removeprefix("tls+").startswith("tcp"):
            port = taken.get(host, admin_port)
            taken[host] = port + 1
            lines.append(f"admin = {quoted(f'{host}:{port}')}")
        if id in learners:
            lines.append("learner = true")
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """As a basic string of TOML."""
    plain = {'"': '\\"', "\\": "\\\\"}
    return (
        '"' + "".join([plain.get(each, each if each.isprintable() else f"\\U{ord(each):08x}") for each in text]) + '"'
    )


def checked(text: str, output: str) -> ClusterFile:
    """What a reader of the file would make of it. Raises ConfigError."""
    try:
        return ClusterFile.of(Path(output), text.encode())
    except ConfigError as error:
        # The line says nothing to whoever gave arguments.
        raise ConfigError(str(error).partition(": ")[2] or str(error)) from error


def described(found: ClusterFile, output: str) -> dict[str, Any]:
    """The file, for programs."""
    members = {
        str(id): {"url": each.url, "admin": each.admin, "learner": each.learner} for id, each in found.members.items()
    }
    return {"file": output, "cluster": found.cluster.hex(), "name": found.name, "members": members}


def member_rows(found: ClusterFile) -> list[tuple[str, Any]]:
    """Likewise, for people."""
    return [
        (
            f"member {id}",
            each.url + (f", admin {each.admin}" if each.admin else "") + (", learner" if each.learner else ""),
        )
        for id, each in found.members.items()
    ]


# --- create and join -----------------------------------------------------------------------------------

CONFIG = click.option(
    "--config", metavar="FILE", type=PATH, default="cluster.toml", show_default=True, help="The file of the cluster."
)


@click.command("create", cls=Command)
@CONFIG
@click.option("--id", type=NATURAL, required=True, help="Of the member.")
def create(config: str, id: int, programs: bool) -> int:
    """Found a member in its directory, once, when its machine is set up.

    The file of the cluster says where the directory is and who the first members are. A member that is marked with
    join = true there is founded to wait until it is added (raftx add).
    """
    cluster = ClusterFile.load(config)
    storage = cluster.create(id)
    waits = cluster.member(id).join
    return founded(storage, id, cluster.cluster, waits, programs, cluster)


@click.command("join", cls=Command)
@click.argument("directory", type=PATH, required=False)
@click.option("--id", type=NATURAL, required=True, help="Of the new member; no other member ever had it.")
@click.option("--url", metavar="HOST:PORT", help="Where it will be: is written into the file of the cluster.")
@click.option(
    "--config", metavar="FILE", type=PATH, help=f"The file of the cluster; default: {DEFAULT_FILE}, if it is there."
)
@click.option(
    "--peer", "peers", metavar="URL", multiple=True, help="Without a file: where a member is; may be repeated."
)
@click.option("--cluster", metavar="NAME", type=CLUSTER, help="Without a file: of the cluster, or 32 hex digits.")
def join(
    directory: str | None,
    id: int,
    url: str | None,
    config: str | None,
    peers: tuple[str, ...],
    cluster: bytes | None,
    programs: bool,
) -> int:
    """Found a member that waits until a running cluster adds it.

    The file of the cluster says where the others are, and where its DIRECTORY is; --url adds the new member to it.
    Without the file, --peer and --cluster say it. Start the new member, then add it: raftx add.
    """
    urls = [with_scheme(each) for each in peers]
    if config is None and not peers and cluster is None and Path(DEFAULT_FILE).is_file():
        config = DEFAULT_FILE
    if config is None:
        if url is not None:
            raise click.UsageError("--url is written into the file of the cluster: say which one with --config FILE")
        if not urls or cluster is None or directory is None:
            raise click.UsageError(
                "say which cluster it is: with --config FILE, or with a DIRECTORY, --peer URL and --cluster NAME"
            )
        for each in urls:
            parse(each, "--peer")
        storage = FileStorage.create(directory, id=id, join=urls, cluster=cluster)
        return founded(storage, id, cluster, True, programs)
    file = ClusterFile.load(config)
    if cluster is not None and cluster != file.cluster:
        raise click.UsageError(f"--cluster must be that of {config}, {file.name}, or be left out")
    longer = None
    if url is not None:
        secure = "://" not in url and any([file.tls(each) for each in file.members])
        longer, file = with_member(file, id, f"tls+tcp://{url}" if secure else with_scheme(url))
    place = directory or (os.fspath(file.member(id).data) if id in file.members else None)
    if place is None:
        raise click.UsageError(f"{config} has no member {id}: say where it will be, with --url HOST:PORT")
    others = [each.url for each in file.members.values() if each.id != id and not each.join]
    storage = FileStorage.create(place, id=id, join=urls or others, cluster=file.cluster)
    if longer is not None:
        replaced(file.path, longer)
    return founded(storage, id, file.cluster, True, programs, file)


def with_member(file: ClusterFile, id: int, url: str) -> tuple[str | None, ClusterFile]:
    """The text of a file with one member more, and what it says; None where it has it. Raises ConfigError."""
    known = file.members.get(id)
    if known is not None:
        if known.url != url:
            raise click.UsageError(f"{file.path} has member {id} at {known.url}: leave --url out, or change the file")
        return None, file
    text = file.path.read_text(encoding="utf-8")
    lines = ["", f"[members.{id}]", f"url = {quoted(url)}", "join = true"]
    host = url.partition("://")[2].rpartition(":")[0]
    admins = {each.admin for each in file.members.values() if each.admin}
    if admins and host and url.removeprefix("tls+").startswith("tcp"):
        port = min([int(each.rpartition(":")[2]) for each in admins])
        while f"{host}:{port}" in admins:
            port += 1
        lines.insert(3, f"admin = {quoted(f'{host}:{port}')}")
    longer = text.rstrip("\n") + "\n" + "\n".join(lines) + "\n"
    try:
        return longer, ClusterFile.of(file.path, longer.encode())
    except ConfigError as error:
        raise ConfigError(f"member {id} does not fit into the file: {error}") from error


def replaced(path: Path, text: str) -> None:
    """Put a text in the place of a file's, as a whole."""
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.resolve().parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, part)
        os.replace(part, path.resolve())
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def founded(
    storage: FileStorage, id: int, cluster: bytes, waits: bool, programs: bool, file: ClusterFile | None = None
) -> int:
    """Say what was made."""
    directory = os.fspath(storage.path)
    if programs:
        say(as_json({"directory": directory, "id": id, "cluster": cluster.hex(), "waits": waits}))
        return 0
    say(fields([("founded", directory), ("member", str(id)), ("cluster", cluster_shown(cluster))]))
    if not waits:
        return 0
    known = file.members.get(id) if file is not None else None
    place = known.url.removeprefix("tcp://") if known is not None else "HOST:PORT"
    if known is not None and not known.join:
        say(
            f"\nMember {id} is one of the first members of {file.path if file else ''}: this is to take its place.\n"
            f"First: raftx replace {id}={place}\nThen start this one, while that waits for it. Not before: its "
            "directory would be refused for good"
        )
        return 0
    say(f"\nIt waits to be added. Start the member, then: raftx add {id}={place}")
    if known is None:
        say(
            f"If it is to take the place of a member {id} whose disk is lost: raftx replace {id}={place}\n"
            "first, and start this one while that waits for it"
        )
    return 0
