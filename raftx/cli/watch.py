"""``raftx watch``: a cluster as it goes on. A picture on a terminal, lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any

import click

from .base import Command, Told
from .cluster import LEFT, NAMES, peer_shown, problems_of, rows_of
from .codes import FINE
from .output import BAD, PALE, complain, console, grid, say
from .remote import Admin, admin_of, reached

EVENTS_SHOWN = 12


@click.command("watch", cls=Command)
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    show_default=True,
    help="Between two looks.",
)
@click.option("--count", metavar="N", type=click.IntRange(1), help="End after so many looks; default: never.")
@reached
def watch(interval: float, count: int | None, programs: bool, **options: Any) -> int:
    """Watch a cluster: elections, members that go and come, lag. Ctrl-C ends it.

    On a terminal a picture is drawn; elsewhere a line is printed when something happens; with --json each look is a
    line.
    """
    watcher = Watcher(admin_of(**options))
    screen = console()
    if programs:
        for seen in looks(watcher, interval, count):
            say(json.dumps({"cluster": seen.cluster, "events": seen.events, "error": seen.error}), flush=True)
    elif screen.is_terminal:
        from rich.live import Live

        with Live(console=screen, auto_refresh=False, transient=False) as live:
            for seen in looks(watcher, interval, count):
                live.update(picture(watcher, seen), refresh=True)
    else:
        lines = Lines()
        for seen in looks(watcher, interval, count):
            lines.tell(seen)
    return FINE


class Seen:
    """What one look found."""

    def __init__(self) -> None:
        self.cluster: dict[str, Any] | None = None
        self.events: list[dict[str, Any]] = []  # since the last look
        self.error: str | None = None


class Watcher:
    """Looks, and remembers which events were seen. Each member counts its own, in each of its lives from 1 on.

    Events are those of the member that tells of the cluster, and ``node`` is added to each: who that is.
    """

    def __init__(self, admin: Admin) -> None:
        self.admin = admin
        self.source: tuple[str, Any] = ("", None)  # who tells, and in which life
        self.after = 0
        self.time = 0.0
        self.recent: deque[dict[str, Any]] = deque(maxlen=EVENTS_SHOWN)

    def look(self) -> Seen:
        """One look. Raises nothing for members that do not answer."""
        seen = Seen()
        try:
            seen.cluster = self.admin.cluster()
            own = [each["status"] for each in seen.cluster["members"] if each["id"] == seen.cluster["id"]]
            self._events(seen, seen.cluster["id"], own[0].get("life") if own and own[0] else None)
        except Told as error:
            seen.error = str(error)
        return seen

    def _events(self, seen: Seen, id: int, life: Any) -> None:
        source = (self.admin.answered, life)
        other = source != self.source
        # Of that member: another one may stand before it that answers as well, and knows nothing of the cluster.
        found = self.admin.only(source[0]).get("/events", after=0 if other else self.after)
        for each in found:
            if not other or float(each["time"]) > self.time:
                seen.events.append({"node": id, **each})
        if not self.source[0]:
            seen.events = seen.events[-EVENTS_SHOWN:]
        self.source = source
        if found:
            self.after, self.time = found[-1]["n"], float(found[-1]["time"])
        elif other:
            self.after = 0
        self.recent.extend(seen.events)


def looks(watcher: Watcher, interval: float, count: int | None) -> Any:
    """One look after the other, at their times."""
    due = time.monotonic()
    done = 0
    while True:
        yield watcher.look()
        done += 1
        if count is not None and done >= count:
            return
        due = max(due + interval, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0.0))


def picture(watcher: Watcher, seen: Seen) -> Any:
    """For a terminal."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    if seen.cluster is not None:
        leader = seen.cluster["leader"] or "none"
        head = f"cluster {seen.cluster['cluster']}   term {seen.cluster['term']:,}   leader {leader}"
        parts += [Text(head, style="bold"), Text(), grid(NAMES, rows_of(seen.cluster), LEFT)]
        parts += [Text(each, style=BAD) for each in problems_of(seen.cluster)]
    if seen.error is not None:
        parts.append(Text(seen.error, style=BAD))
    if watcher.recent:
        parts.append(Text())
    parts += [Text(event_shown(each), style=PALE) for each in watcher.recent]
    return Group(*parts)


class Lines:
    """For a pipe: what has changed since the last look."""

    def __init__(self) -> None:
        self.head: tuple[Any, ...] = ()
        self.members: dict[int, str] = {}
        self.error: str | None = None

    def tell(self, seen: Seen) -> None:
        """A line for each change, and for each event."""
        if seen.error != self.error and seen.error is not None:
            complain(seen.error)
        self.error = seen.error
        if seen.cluster is not None:
            head = (seen.cluster["term"], seen.cluster["leader"])
            if head != self.head:
                self._line(f"term {head[0]:,}, leader {head[1] or 'none'}")
            self.head = head
            members = {each["id"]: state_of(each) for each in seen.cluster["members"]}
            for id, state in members.items():
                if self.members.get(id) != state:
                    self._line(f"member {id}: {state}")
            for id in self.members.keys() - members.keys():
                self._line(f"member {id}: no member any more")
            self.members = members
        for each in seen.events:
            say(event_shown(each), flush=True)

    def _line(self, text: str) -> None:
        say(f"{clock_shown(time.time())}  {text}", flush=True)


def state_of(member: dict[str, Any]) -> str:
    """What of a member is told when it changes."""
    role = "learner" if member["learner"] else member["role"] or "unknown"
    return f"{role}, {peer_shown(member)[0]}"


def event_shown(event: dict[str, Any]) -> str:
    """An event in a line; its text is of the member: "leads in term 7"."""
    return f"{clock_shown(float(event['time']))}  member {event['node']}: {event['text']}"


def clock_shown(seconds: float) -> str:
    """A time of day, here."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))
