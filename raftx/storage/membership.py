"""The membership that a log leads to: that at its base, and the committed changes in it. Values in, values out.

A storage hands records on as they are; this is the one thing that it has to understand of them, because who the members
are decides whether a node with doubts about its disk may be helped by others.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..consensus.confchange import Changer, Progress
from ..errors import ConfChangeError
from ..types import ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, ConfChange, ConfState

CHANGES = (ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2)  # kinds of entries that change the membership


def membership_after(conf_state: ConfState, changes: Iterable[tuple[int, bytes]]) -> ConfState:
    """The membership after some entries (kind, data), each of a kind in CHANGES, all committed, in their order.

    What does not fit the membership before it changes nothing, as when it is applied.
    """
    for kind, data in changes:
        learners = {*conf_state.learners}
        ids = {*conf_state.voters, *conf_state.voters_outgoing, *learners}
        progress = {id: Progress(0, 1, id in learners) for id in ids}
        try:
            change = ConfChange.decode(data, kind == ENTRY_CONF_CHANGE)
            conf_state, _ = Changer(conf_state, progress, 0).change(change)
        except ConfChangeError:
            continue
    return conf_state
