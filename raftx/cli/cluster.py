"""Commands for a cluster that runs: what it is, who is in it, who leads, and backups of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .base import NATURAL, PAIR, PATH, Command, Refused, Told
from .codes import DAMAGED, FINE, NOT_DONE
from .output import (
    BAD,
    DOUBTFUL,
    GOOD,
    PALE,
    Cell,
    as_json,
    complain,
    fields,
    progress,
    say,
    show,
    shown,
    size_shown,
    time_shown,
)
from .remote import admin_of, reached
from .snapshot import commands as snapshots

NAMES = ("ID", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG", "PEER", "DISK", "FSYNC-p99", "SEEN")
LEFT = ("ROLE", "PEER")
ROLES = {"leader": GOOD, "candidate": DOUBTFUL, "pre_candidate": DOUBTFUL, "none": BAD}


# --- looking -------------------------------------------------------------------------------------------


@click.command("status", cls=Command)
@reached
def status(urls: tuple[str, ...], config: str | None, token: str | None, timeout: float | None, programs: bool) -> int:
    """How each member of a cluster stands, as one of them sees it.

    The exit code is 1 where there is no leader, or a member is down, has failed, is in doubt or cannot take part.
    """
    found = admin_of(urls, config, token, timeout).cluster()
    problems = problems_of(found)
    if programs:
        say(as_json({**found, "problems": problems}))
    else:
        show(NAMES, rows_of(found), LEFT)
        for each in problems:
            complain(each)
    return DAMAGED if problems else FINE


def rows_of(found: dict[str, Any]) -> list[list[Cell]]:
    """A row for each member."""
    members = found["members"]
    heads = [each["status"]["commit"] for each in members if each.get("status")]
    newest = max(heads, default=None)
    return [row_of(each, newest) for each in members]


def row_of(member: dict[str, Any], newest: int | None) -> list[Cell]:
    """One of them."""
    status = member.get("status") or {}
    role = str(member.get("role") or status.get("role") or "?")
    if member.get("learner"):
        role = "learner"
    applied, lag = status.get("applied"), None
    if applied is not None and newest is not None:
        lag = max(newest - applied, 0)
    return [
        str(member["id"]),
        (role, ROLES.get(role, "")),
        number(status.get("term")),
        number(status.get("commit")),
        number(applied),
        number(lag) if not lag else (number(lag), DOUBTFUL),
        peer_shown(member),
        size_shown(at(status, "disk", "used")),
        sync_shown(status),
        seen_shown(member.get("seen_ms")),
    ]


def at(status: dict[str, Any], *path: str) -> Any:
    """A value of a status; None where there is none."""
    found: Any = status
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def number(value: int | None) -> str:
    """A number, or that it is not known."""
    return "?" if value is None else shown(value)


def sync_shown(status: dict[str, Any]) -> str:
    """How long it takes until the log is durable, at the 99th percentile; with "~": on average, which is all there is.

    A member counts rounds by how long they took, in buckets, while it leads: it is at most what is shown.
    """
    bounds, counts = at(status, "latency", "bounds"), at(status, "latency", "wal", "counts")
    if bounds and counts and sum(counts):
        rest = sum(counts) * 99 // 100
        for bucket, count in enumerate(counts):
            if rest < count:
                return time_shown(bounds[bucket]) if bucket < len(bounds) else f">{time_shown(bounds[-1])}"
            rest -= count
    syncs = at(status, "disk", "syncs")
    return f"~{time_shown(at(status, 'disk', 'sync_ns') / 1e9 / syncs)}" if syncs else "?"


def seen_shown(milliseconds: float | None) -> Cell:
    """How long ago a member was heard of."""
    if milliseconds is None:
        return ("never", PALE)
    return "now" if milliseconds < 1 else time_shown(milliseconds / 1e3)


def problems_of(found: dict[str, Any]) -> list[str]:
    """What is wrong, each in a sentence."""
    problems = [] if found.get("leader") else ["there is no leader: nothing is acknowledged"]
    if found["id"] not in [each["id"] for each in found["members"]]:
        problems.append(
            f"member {found['id']}, which was asked, is in no cluster: it was removed, or is to be added yet"
        )
    for each in found["members"]:
        if each["reachable"]:
            what = problem_of(each.get("status") or {})
        else:
            what = "is down" + (f": {each['error']}" if each.get("error") else "")
        if what:
            problems.append(f"member {each['id']} {what}")
    return problems


def problem_of(status: dict[str, Any]) -> str:
    """What is wrong with a member that answers, the gravest of it; "": nothing."""
    if status.get("failure"):
        return f"has failed: {status['failure']}"
    if status.get("diverged"):
        return f"contradicts its leader: {status['diverged']}"
    if at(status, "disk", "full"):
        return "has no room on its disk"
    if status.get("stuck"):
        return f"cannot catch up: {status['stuck']}"
    if status.get("unled"):
        return f"knows no leader: {status['unled']}"
    if status.get("in_doubt"):
        return "is in doubt: it does not vote and is not counted before a leader has brought it up to date"
    if status.get("waits_for"):
        missing = ", ".join([str(id) for id in status["waits_for"]])
        return f"takes no part yet: it waits for members {missing}, who do not know yet that it was started again"
    return ""


def peer_shown(member: dict[str, Any]) -> Cell:
    """Whether a member answers, and takes part."""
    if not member["reachable"]:
        return ("down", BAD)
    status = member.get("status") or {}
    if status.get("failure"):
        return ("failed", BAD)
    if status.get("in_doubt"):
        return ("in doubt", DOUBTFUL)
    return ("up", GOOD) if not problem_of(status) else ("ill", DOUBTFUL)


@click.command("members", cls=Command)
@reached
def members(urls: tuple[str, ...], config: str | None, token: str | None, timeout: float | None, programs: bool) -> int:
    """Who is in a cluster, as a voter or a learner, and where."""
    found = admin_of(urls, config, token, timeout).cluster()
    kept = [
        {"id": each["id"], "url": each["url"], "voter": each["voter"], "learner": each["learner"]}
        for each in found["members"]
    ]
    if programs:
        say(as_json({"cluster": found["cluster"], "members": kept}))
        return FINE
    kinds = ["voter" if each["voter"] else "learner" if each["learner"] else "leaving" for each in kept]
    show(
        ("ID", "KIND", "URL"),
        [[str(each["id"]), kind, shown(each["url"])] for each, kind in zip(kept, kinds)],
        ("KIND", "URL"),
    )
    return FINE


# --- changing ------------------------------------------------------------------------------------------


def request(programs: bool, done: str, result: Any) -> int:
    """Say that something was done."""
    say(as_json({"outcome": "done", "result": result}) if programs else done)
    return FINE


@click.command("add", cls=Command)
@click.argument("member", metavar="ID=HOST:PORT", type=PAIR)
@click.option("--learner", is_flag=True, help="Without a vote; raftx promote gives it one.")
@reached
def add(member: tuple[int, str], learner: bool, programs: bool, **options: Any) -> int:
    """Add a member, which was founded with raftx join and runs. It counts once it has caught up."""
    id, url = member
    result = admin_of(**options).post("/members/add", id=id, url=url, learner=learner)
    return request(programs, f"member {id} is a {'learner' if learner else 'voter'} at {url}", result)


@click.command("promote", cls=Command)
@click.argument("id", type=NATURAL)
@reached
def promote(id: int, programs: bool, **options: Any) -> int:
    """Make a learner a voter, once it has caught up."""
    return request(programs, f"member {id} is a voter", admin_of(**options).post("/members/promote", id=id))


@click.command("demote", cls=Command)
@click.argument("id", type=NATURAL)
@reached
def demote(id: int, programs: bool, **options: Any) -> int:
    """Make a voter a learner."""
    return request(programs, f"member {id} is a learner", admin_of(**options).post("/members/demote", id=id))


@click.command("remove", cls=Command)
@click.argument("id", type=NATURAL)
@reached
def remove(id: int, programs: bool, **options: Any) -> int:
    """Remove a member for good: it ends, and its directory is of no use any more.

    Who is no member is not removed (exit code 5), also where it was one: nobody remembers who was.
    """
    return request(programs, f"member {id} is removed", admin_of(**options).post("/members/remove", id=id))


@click.command("move", cls=Command)
@click.argument("member", metavar="ID=HOST:PORT", type=PAIR)
@reached
def move(member: tuple[int, str], programs: bool, **options: Any) -> int:
    """Tell all members that one of them is reached elsewhere from now on. It keeps its directory."""
    id, url = member
    return request(programs, f"member {id} is at {url}", admin_of(**options).post("/members/move", id=id, url=url))


@click.command("replace", cls=Command)
@click.argument("member", metavar="ID=HOST:PORT", type=PAIR)
@reached
def replace(member: tuple[int, str], programs: bool, **options: Any) -> int:
    """Put a member with an empty directory in the place of one whose disk is lost.

    Found its new directory (raftx join), then give this command, then start the new member: this removes the old one,
    adds the new one with the same id as a learner, and waits for it; it votes once it has caught up. At the address of
    the old one the new one must not be started before, or its directory is refused for good. Given again it goes on:
    a new member that is there already is not removed.
    """
    id, url = member
    admin = admin_of(**options)
    result = admin.post("/members/replace", id=id, url=url, learner=True)
    if id in (at(result, "conf_state", "learners") or ()):
        before = "the old one is removed" if result.get("removed") else "no other one was removed"
        progress(
            f"member {id} is a learner at {url}, and {before}. Start the new one now, if it does not run: it votes "
            f"once it has caught up. Is the directory of this one lost? raftx remove {id}, and repeat this"
        )
        result = admin.post("/members/promote", id=id)
    return request(programs, f"member {id} is replaced by the one at {url}", result)


@click.command("transfer", cls=Command)
@click.argument("id", type=NATURAL, required=False)
@reached
def transfer(id: int | None, programs: bool, **options: Any) -> int:
    """Hand leadership to a member; without an ID, to the voter that answers and has most of the log."""
    admin = admin_of(**options)
    if id is None:
        id = successor(admin.cluster())
    return request(programs, f"member {id} leads", admin.post("/transfer", to=id))


def successor(found: dict[str, Any]) -> int:
    """Who should lead next. Raises Told."""
    others = [
        (each["status"].get("last", 0), -each["id"])
        for each in found["members"]
        if each["voter"] and each["id"] != found["leader"] and each["reachable"] and each["status"]
    ]
    if not others:
        reason = "there is no other voter that answers"
        raise Told(f"not done: {reason}. It is safe to repeat it", NOT_DONE, {"outcome": "not done", "reason": reason})
    return -int(max(others)[1])


# --- snapshots and backups -----------------------------------------------------------------------------


@snapshots.command("save")
@reached
def save(programs: bool, **options: Any) -> int:
    """Let a member that runs take a snapshot now, in its own directory. Its log may be shortened then."""
    return request(programs, "the member has taken a snapshot", admin_of(**options).post("/snapshot"))


@click.command("backup", cls=Command)
@click.argument("file", type=PATH)
@click.option("--force", is_flag=True, help="Replace the file.")
@reached
def backup(file: str, force: bool, programs: bool, **options: Any) -> int:
    """Write a consistent backup of a cluster that runs to FILE. raftx restore begins a new cluster with it."""
    from ..storage.paths import check_foreign
    from ..storage.snapshot_copy import snapshot_file

    check_foreign(file, "FILE", Refused)
    if os.path.lexists(file) and not force:
        raise Refused(f"{file} is there already. Nothing was changed. To replace it: --force")
    admin = admin_of(**options)
    part = _part(file)
    try:
        with open(part, "wb") as out:
            with _bar() as progress:

                def take(data: bytes, total: int | None) -> None:
                    out.write(data)
                    progress(out.tell(), total)

                size = admin.download("/backup", take)
            out.flush()
            os.fsync(out.fileno())
        with snapshot_file(part, "FILE") as reader:
            seen = reader.verify()
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    directory = os.open(Path(file).resolve().parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    if programs:
        say(
            as_json(
                {"file": file, "bytes": size, "index": seen.index, "term": seen.term, "cluster": seen.cluster.hex()}
            )
        )
        return FINE
    say(fields([("backup", file), ("bytes", size), ("after entry", f"{seen.index:,} of term {seen.term:,}")]))
    return FINE


def _part(file: str) -> Path:
    """A new file beside the one that is wanted."""
    target = Path(file)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.resolve().parent)
    os.close(descriptor)
    return Path(name)


class _bar:
    """A bar on standard error, where that is a terminal."""

    def __enter__(self) -> Callable[[int, int | None], None]:
        from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

        from .output import console

        where = console(errors=True)
        self.progress = Progress(
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=where,
            transient=True,
            disable=not where.is_terminal,
        )
        self.progress.start()
        task = self.progress.add_task("backup", total=None)

        def update(done: int, total: int | None) -> None:
            self.progress.update(task, completed=done, total=total)

        return update

    def __exit__(self, *_: object) -> None:
        self.progress.stop()


COMMANDS: tuple[click.Command, ...] = (
    status, members, add, promote, demote, remove, move, replace, transfer, backup,
)  # fmt: skip
