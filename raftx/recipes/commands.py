"""Commands of recipes as bytes, and what each may hold. Values only; docs/recipes.md has the format.

A command is ``MAGIC``, a version, and a tuple as ``encode_value`` writes it: what is to be done, and its arguments.
What does not fit the table is no command: ``decode`` says why, and raises nothing whatever the bytes are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import UsageError
from ..node.session_format import DEPTH_MAX, decode_value, encode_value

#: in front of every command: what begins with this is no command of the user's own state machine
MAGIC = b"\xf7raftx\xf7recipes"
FORMAT = 1
HEAD = MAGIC + bytes([FORMAT])

NAME_MAX = 255  # bytes of a name
KEY_MAX = 1024  # bytes of a key
VALUE_MAX = 256 << 10  # bytes of a value, encoded
DATA_MAX = 4 << 10  # bytes of what a holder or a member says of itself, encoded
COMMAND_MAX = 768 << 10  # bytes of a command
CHANGES_MAX = 10_000  # in one update
LEASE_BYTES = 16
TTL_MIN_MS, TTL_MAX_MS = 100, 86_400_000
NUMBER = 2**63  # numbers are below
LIMIT_MAX = 1_000_000  # permits, parties, places in a queue, tokens of a bucket
EVERYBODY = 2**62  # the limit of a line that has none

#: kinds of objects that are a line of holders and of those who wait
LOCK, RWLOCK, SEMAPHORE, ELECTION, PARTY = "lock", "rwlock", "semaphore", "election", "party"
LINES = (LOCK, RWLOCK, SEMAPHORE, ELECTION, PARTY)
DICT, COUNTER, QUEUE, BARRIER, LIMITER, ANSWER = "dict", "counter", "queue", "barrier", "limiter", "answer"

Check = Callable[[Any], bool]


def text_of(most: int) -> Check:
    """A str of 1..most bytes."""

    def check(value: Any) -> bool:
        try:
            return type(value) is str and 0 < len(value.encode()) <= most
        except UnicodeEncodeError:
            return False

    return check


def within(low: int, high: int) -> Check:
    """An int in low..high."""
    return lambda value: type(value) is int and low <= value <= high


def blob(most: int, least: int = 0) -> Check:
    """So many bytes."""
    return lambda value: type(value) is bytes and least <= len(value) <= most


def one_of(*values: Any) -> Check:
    """One of these strings."""
    return lambda value: type(value) is str and value in values


def optional(check: Check) -> Check:
    """None, or that."""
    return lambda value: value is None or check(value)


def truth(value: Any) -> bool:
    """A bool."""
    return type(value) is bool


NAME = text_of(NAME_MAX)
KEY = text_of(KEY_MAX)
LEASE = blob(LEASE_BYTES, LEASE_BYTES)
CLAIM = within(1, NUMBER - 1)
TOKEN = optional(within(1, NUMBER - 1))
VERSION = optional(within(0, NUMBER - 1))
SIGNED = within(-NUMBER, NUMBER - 1)
LIMIT = within(1, EVERYBODY)
FEW = within(1, LIMIT_MAX)
VALUE = blob(VALUE_MAX)


def changes(value: Any) -> bool:
    """Of an update: (key, value or None, version or None) each, no key twice."""
    if type(value) is not tuple or not 0 < len(value) <= CHANGES_MAX:
        return False
    for each in value:
        if type(each) is not tuple or len(each) != 3:
            return False
        if not (KEY(each[0]) and optional(VALUE)(each[1]) and VERSION(each[2])):
            return False
    return len({each[0] for each in value}) == len(value)


#: by what is to be done: what its arguments are
TABLE: dict[str, tuple[Check, ...]] = {
    "tick": (),
    # lease, its time-to-live in milliseconds
    "open": (LEASE, within(TTL_MIN_MS, TTL_MAX_MS)),
    "keep": (LEASE,),
    "end": (LEASE,),
    # kind, name, lease, claim, how much of the limit, the limit, whether to wait, what the holder says of itself
    "claim": (one_of(*LINES), NAME, LEASE, CLAIM, LIMIT, LIMIT, truth, blob(DATA_MAX)),
    # kind, name, lease, claim: give back what is held, or wait no more; "cancel": only wait no more
    "leave": (one_of(*LINES, QUEUE, BARRIER), NAME, LEASE, CLAIM),
    "cancel": (one_of(*LINES, QUEUE, BARRIER), NAME, LEASE, CLAIM),
    # name, changes, token; and to delete everything
    "update": (NAME, changes, TOKEN),
    "clear": (NAME, TOKEN),
    # name, by how much, token; name, expected value or None, new value, token
    "add": (NAME, SIGNED, TOKEN),
    "swap": (NAME, optional(SIGNED), SIGNED, TOKEN),
    # name, value, how many may be in it, token; name, lease, claim, whether to wait; name, lease, claim, token
    "push": (NAME, VALUE, FEW, TOKEN),
    "pull": (NAME, LEASE, CLAIM, truth),
    "ack": (NAME, LEASE, CLAIM, within(1, NUMBER - 1)),
    # name, lease, claim, parties, whether it has two phases; name, lease, claim
    "arrive": (NAME, LEASE, CLAIM, FEW, truth),
    "depart": (NAME, LEASE, CLAIM),
    # name, nanoseconds for one, burst, how many, nanoseconds that the client would wait; "once": and for which request
    "take": (NAME, within(1, 10**18), FEW, FEW, within(0, NUMBER - 1)),
    "once": (NAME, within(1, 10**18), FEW, FEW, within(0, NUMBER - 1), NAME),
}


def is_ours(data: bytes) -> bool:
    """Whether these bytes are for recipes, and not for the user's own state machine."""
    return data.startswith(MAGIC)


def encode(do: str, *arguments: Any) -> bytes:
    """A command. Raises UsageError where it is too large."""
    encoded = encode_value((do, *arguments), COMMAND_MAX - len(HEAD))
    if encoded is None:
        raise UsageError(f"a command may have {COMMAND_MAX >> 10} KiB: give fewer or smaller values at once")
    return HEAD + encoded


def decode(data: bytes) -> tuple[Any, ...] | str:
    """What is to be done and its arguments; or why it is no command."""
    if len(data) > COMMAND_MAX:
        return f"a command has at most {COMMAND_MAX} bytes, not {len(data)}"
    if not data.startswith(HEAD):
        return f"commands of format {FORMAT} are known here, and this is none"
    try:
        command = decode_value(data[len(HEAD) :])
    except ValueError:
        return "its bytes are damaged"
    if type(command) is not tuple or not command or type(command[0]) is not str:
        return "it does not say what is to be done"
    checks = TABLE.get(command[0])
    if checks is None:
        return "what is to be done is not known here"
    if len(command) != len(checks) + 1:
        return f"{command[0]} has {len(checks)} arguments"
    for number, (check, value) in enumerate(zip(checks, command[1:]), 1):
        if not check(value):
            return f"argument {number} of {command[0]} is out of its range"
    # An int may be written in several ways; a command has one.
    return command if encode_value(command, COMMAND_MAX) == data[len(HEAD) :] else "its bytes are damaged"


def to_bytes(value: Any, most: int = VALUE_MAX, what: str = "value") -> bytes:
    """A user's value. Raises UsageError."""
    encoded = encode_value(value, most)
    if encoded is None:
        raise UsageError(
            f"{what} must be None, a bool, an int, a float, bytes, a str, or tuples, lists and dicts of these, at most "
            f"{DEPTH_MAX} deep and {most >> 10} KiB in all, not {type(value).__name__}: encode anything else to bytes"
        )
    return encoded


def check_text(value: Any, what: str, most: int = NAME_MAX) -> str:
    """A name or a key of the user's. Raises UsageError."""
    if not text_of(most)(value):
        raise UsageError(f"{what} must be a str of 1..{most} bytes in UTF-8, not {value!r}")
    return str(value)


def check_int(value: Any, what: str, low: int, high: int, none: bool = False) -> None:
    """A number of the user's. Raises UsageError."""
    if not (none and value is None) and not within(low, high)(value):
        or_none = " or None" if none else ""
        raise UsageError(f"{what} must be an integer in {low}..{high}{or_none}, not {value!r}")
