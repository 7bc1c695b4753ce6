"""Where the file of a cluster has its members, against where the cluster reaches them.

The membership counts, and the file is what it began with. Somebody who changes an address in the file alone has changed
nothing for the other members, and is to hear of it. Reads published values only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .._native.threads import Clock
from .members import Membership

SETTLE_NS = 3_000_000_000  # a membership that has not changed for so long is no old one that is being read


class Planned:
    """Of one node. urls: by id, of the file ``name``; empty where the node was made without one. Any thread."""

    def __init__(
        self, id: int, name: str, urls: Mapping[int, str], membership: Callable[[], Membership], clock: Clock
    ) -> None:
        self.id = id
        self.name = name
        self.urls = urls
        self.membership = membership
        self.clock = clock
        #: the membership that was seen last, and since when it is the same
        self._since = (membership(), clock.py_now())

    def off(self) -> dict[int, str]:
        """A sentence for each member that the file has somewhere else; none before the membership has settled."""
        if not self.urls:
            return {}
        now, seen = self.membership(), self._since
        if seen[0] is not now:
            self._since = (now, self.clock.py_now())
            return {}
        if self.clock.py_now() - seen[1] < SETTLE_NS:
            return {}
        found = {}
        for id, url in self.urls.items():
            known = now.addresses.get(id, "")
            if not known or known == url:
                continue
            where = "it" if id != self.id else "this member, which may listen there,"
            found[id] = (
                f"{self.name} has {where} at {url}, and the members look for it at {known}, which counts: tell all of "
                f"them (raftx move {id}={url.removeprefix('tcp://')}), or correct the file"
            )
        return found
