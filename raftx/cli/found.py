"""``raftx init``, ``create`` and ``join``: the file of a cluster, and the directories of its members.

Founds; opens nothing that is there already, and replaces nothing that it was not told to.
"""

from __future__ import annotations

import os
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
@click.option("--force", is_flag=True, help="Replace the file.")
def init(
    members: tuple[tuple[int, str], ...],
    name: str,
    learners: tuple[int, ...],
    data: str,
    admin_port: int,
    output: str,
    force: bool,
    programs: bool,
) -> int:
    """Write the file of a cluster, cluster.toml.

    One file for all: every member is founded from it (raftx create), starts with it, and is found through it by the
    other commands.
    """
    ids = [id for id, _ in members]
    if len(set(ids)) != len(ids):
        raise click.UsageError("a member must be named once")
    unknown = [id for id in learners if id not in ids]
    if unknown:
        raise click.UsageError(f"--learner must be one of the members, {', '.join(map(str, ids))}, not {unknown[0]}")
    text = written(members, name, learners, data, admin_port)
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


def written(members: Any, name: str, learners: Any, data: str, admin_port: int) -> str:
    """The text of the file."""
    lines = [f"cluster = {quoted(name)}", f"data = {quoted(data)}"]
    taken: dict[str, int] = {}
    for id, url in sorted(members):
        lines += ["", f"[members.{id}]", f"url = {quoted(url)}"]
        host = url.partition("://")[2].rpartition(":")[0]
        if admin_port and host and url.startswith("tcp"):
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
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "cluster.toml")
        path.write_text(text, encoding="utf-8")
        try:
            return ClusterFile.load(path)
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
    return founded(storage, id, cluster.cluster, waits, programs)


@click.command("join", cls=Command)
@click.argument("directory", type=PATH)
@click.option("--id", type=NATURAL, required=True, help="Of the new member; no other member ever had it.")
@click.option("--config", metavar="FILE", type=PATH, help="The file of the cluster: its name, and where members are.")
@click.option("--peer", "peers", metavar="URL", multiple=True, help="Where a member is; may be repeated.")
@click.option("--cluster", metavar="NAME", type=CLUSTER, help="Of the cluster, or 32 hex digits.")
def join(
    directory: str, id: int, config: str | None, peers: tuple[str, ...], cluster: bytes | None, programs: bool
) -> int:
    """Found a member that waits until a running cluster adds it.

    The other members are named by --config, or by --peer and --cluster. Start the new member, then add it: raftx add.
    """
    urls = [with_scheme(each) for each in peers]
    if config is not None:
        file = ClusterFile.load(config)
        if cluster is not None and cluster != file.cluster:
            raise click.UsageError(f"--cluster must be that of {config}, {file.name}, or be left out")
        cluster = file.cluster
        urls = urls or [each.url for each in file.members.values() if each.id != id and not each.join]
    if not urls or cluster is None:
        raise click.UsageError("say which cluster it is: with --config FILE, or with --peer URL and --cluster NAME")
    for url in urls:
        parse(url, "--peer")
    storage = FileStorage.create(directory, id=id, join=urls, cluster=cluster)
    return founded(storage, id, cluster, True, programs)


def founded(storage: FileStorage, id: int, cluster: bytes, waits: bool, programs: bool) -> int:
    """Say what was made."""
    directory = os.fspath(storage.path)
    if programs:
        say(as_json({"directory": directory, "id": id, "cluster": cluster.hex(), "waits": waits}))
        return 0
    say(fields([("founded", directory), ("member", str(id)), ("cluster", cluster_shown(cluster))]))
    if waits:
        say(f"\nIt waits to be added. Start the member, then: raftx add {id}=HOST:PORT")
    return 0
