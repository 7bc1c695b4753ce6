"""What all commands share: the options ``--json`` and ``--debug``, the types of arguments, and how a refusal is told.

Reads arguments only; touches no file and no network.
"""

from __future__ import annotations

from typing import Any

import click

from ..cluster_file import cluster_named

# In the meta of a context: whether a traceback is wanted, and whether JSON is.
DEBUG, PROGRAMS = "raftx.debug", "raftx.programs"
ACCEPT = "--accept-loss"
HIGH = 1 << 63


class Refused(Exception):
    """It is not done, because of what it would do; the text says what, and how to ask for it all the same."""


class Told(Exception):
    """It did not work: a sentence for people, and the exit code. detail: for programs, printed with ``--json``."""

    def __init__(self, text: str, code: int, detail: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.detail = detail


def _note_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[DEBUG] = True


def _note_programs(context: click.Context, _: click.Parameter, value: bool) -> bool:
    context.meta[PROGRAMS] = value
    return value


def common() -> list[click.Parameter]:
    """The options that every command has."""
    return [
        click.Option(
            ["--json", "programs"],
            is_flag=True,
            callback=_note_programs,
            help="For programs: JSON, whose keys stay as they are.",
        ),
        debug(),
    ]


def debug() -> click.Option:
    """The option for whoever looks for a mistake in raftx itself."""
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=_note_debug, help="Show where an error comes from."
    )


class Command(click.Command):
    """A command; it has ``--json`` and ``--debug`` at the end of its own options."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params += common()


class Group(click.Group):
    """Commands under one word, in the order in which they were added."""

    command_class = Command
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Not by name: what belongs together stands together."""
        return list(self.commands)


# --- types of arguments --------------------------------------------------------------------------------


class PathText(click.Path):
    """A path, of any bytes that a name may have."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As text. Whether it is there is for those who use it to find out."""
        if not value:
            self.fail("must not be empty", param, ctx)
        if "\0" in value:
            self.fail("must not have a NUL in it", param, ctx)
        return str(value)


def natural(text: str) -> int:
    """A positive integer. Raises ValueError."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) < HIGH:
        raise ValueError(f"must be an integer in 1..2^63-1, not {text!r}")
    return int(text)


class Natural(click.ParamType):  # type: ignore[type-arg]
    """An id, an index, a number of bytes."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """As an integer."""
        try:
            return value if isinstance(value, int) else natural(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ClusterName(click.ParamType):  # type: ignore[type-arg]
    """The name of a cluster, or its bytes in hex."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """As bytes."""
        if isinstance(value, bytes):
            return value
        try:
            return cluster_named(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Members(click.ParamType):  # type: ignore[type-arg]
    """Ids, or addresses by id: 1,2,3 or 1=tcp://a:5600,2=tcp://b:5600."""

    name = "members"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A list of ids, or a dict."""
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",")]
        if len({separator for _, separator, _ in pairs}) != 1:
            self.fail("must have an address for every member, or for none", param, ctx)
        try:
            ids = [natural(id.strip()) for id, _, _ in pairs]
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if len(set(ids)) != len(ids):
            self.fail(f"must not name a member twice: {value!r}", param, ctx)
        if not pairs[0][1]:
            return ids
        addresses = {id: url.strip() for id, (_, _, url) in zip(ids, pairs)}
        if not all(addresses.values()):
            self.fail("must have an address for every member, or for none", param, ctx)
        return addresses


class Pair(click.ParamType):  # type: ignore[type-arg]
    """A member and its address: 4=d:5600, which is 4=tcp://d:5600."""

    name = "member"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, str]:
        """The id, and the address with its scheme."""
        if isinstance(value, tuple):
            return value
        id, separator, url = value.partition("=")
        try:
            number = natural(id.strip())
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not separator or not url.strip():
            self.fail(f"must be an id and an address, such as 4=host:5600, not {value!r}", param, ctx)
        return number, with_scheme(url.strip())


def with_scheme(url: str) -> str:
    """An address; without a scheme it is one of TCP."""
    return url if "://" in url else f"tcp://{url}"


PATH = PathText()
NATURAL = Natural()
CLUSTER = ClusterName()
MEMBERS = Members()
PAIR = Pair()
