"""The membership that a log leads to: that at its base, and the committed changes in it. Values in, values out.

A storage hands records on as they are; this is the one thing that it has to understand of them, because who the members
are decides whether a node with doubts about its disk may be helped by others. A node uses the same functions for what
it applies.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..consensus.confchange import configuration_after
from ..consensus.configuration import Configuration
from ..errors import ConfChangeError
from ..types import ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, ConfChange, ConfState
from .snapshot_format import decode_addresses, encode_addresses

CHANGES = (ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2)  # kinds of entries that change the membership
MAGIC = b"RXC1"  # begins the context of a change that a Node has proposed


@dataclass(frozen=True)
class Context:
    """What goes with a change that a Node proposes.

    founders: the membership without this change. The first members are in no entry, so one of them says once who they
    are: a member that joins, and begins with nothing, learns it from there.
    """

    #: addresses that it sets, by member
    addresses: Mapping[int, str] = field(default_factory=dict)
    founders: ConfState | None = None

    def encode(self) -> bytes:
        """Its bytes: the context of the change."""
        founders = b"" if self.founders is None else self.founders.encode()
        return MAGIC + len(founders).to_bytes(2, "little") + founders + encode_addresses(self.addresses, {})

    @staticmethod
    def decode(data: bytes) -> Context | None:
        """The other way; None for what no Node has proposed."""
        if not data.startswith(MAGIC) or len(data) < len(MAGIC) + 2:
            return None
        at = len(MAGIC) + 2
        end = at + int.from_bytes(data[len(MAGIC) : at], "little")
        try:
            founders, rest = (None, b"") if at == end else ConfState.decode(data[at:end])
            addresses, _ = decode_addresses(data[end:])
        except (ConfChangeError, UnicodeDecodeError, struct.error):
            return None
        return None if rest else Context(addresses, founders)


def change_after(before: ConfState, index: int, kind: int, data: bytes) -> tuple[Configuration, Context | None]:
    """What a committed change leads to, and what goes with it.

    Raises ConfChangeError when it is none, or does not fit.
    """
    change = ConfChange.decode(data, kind == ENTRY_CONF_CHANGE)
    context = Context.decode(change.context)
    if context is not None and context.founders is not None and not before.voters:
        ids = {*context.founders.voters, *context.founders.voters_outgoing, *context.founders.learners}
        return Configuration(context.founders, ids, index, Configuration(before)), context
    return configuration_after(before, change, index), context


#: what the only voter of a group does about a doubt: it does not start before one of these is done
ALONE_REMEDY = (
    "No other voter has a copy: look for what happened to the disk, begin a new cluster with a backup, if there is one "
    "(raftx restore), or accept the loss of the newest entries with FileStorage(accept_loss=True)"
)


def is_alone(conf_state: ConfState, id: int) -> bool:
    """Whether this member is the only voter: nobody else can bring it up to date."""
    return conf_state.voters == (id,) and not conf_state.voters_outgoing


def membership_after(conf_state: ConfState, changes: Iterable[tuple[int, bytes]]) -> ConfState:
    """The membership after some entries (kind, data), each of a kind in CHANGES, all committed, in their order.

    What does not fit the membership before it changes nothing, as when it is applied.
    """
    for kind, data in changes:
        try:
            configuration, _ = change_after(conf_state, 0, kind, data)
        except ConfChangeError:
            continue
        conf_state = configuration.conf_state()
    return conf_state
