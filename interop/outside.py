"""Messages in the neutral form of protocol.md ("Mixed clusters"), and a harness around raftx that takes and gives them.

``Neutral`` translates between raftx's messages and JSON values that no library's encoding shows in.
``Hosted`` is the harness for some members of a scenario; ``python -m interop.outside`` is the interactive session
around it, one harness among others. Everything else about a member is cluster.py's. No randomness and no clock.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import IO, Any

import raftx

from .cluster import PANIC, Cluster
from .cluster_member import Packet
from .implementation import CLUSTER, implementation

Json = dict[str, Any]

# Kinds of messages, with etcd's numbers
_PROP, _APP, _APP_RESP, _VOTE, _VOTE_RESP, _SNAP, _HEARTBEAT, _HEARTBEAT_RESP = 2, 3, 4, 5, 6, 7, 8, 9
_TRANSFER_LEADER, _TIMEOUT_NOW, _READ_INDEX, _READ_INDEX_RESP, _PRE_VOTE, _PRE_VOTE_RESP = 13, 14, 15, 16, 17, 18
_REQUESTS = (_VOTE, _PRE_VOTE)
# ``from`` is somebody else than the sender of the frame; raftx has the name in ``hint``.
_NAMING = (_TRANSFER_LEADER, _READ_INDEX)
_REJECT = 1
_TRANSFER = 2

#: what a message of each kind that travels may say, besides ``type``, ``from`` and ``to``
USES: dict[int, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        _PROP: "entries",
        _APP: "term log_term index commit entries",
        _APP_RESP: "term log_term index reject hint",
        _VOTE: "term log_term index context",
        _VOTE_RESP: "term reject",
        _SNAP: "term snapshot",
        _HEARTBEAT: "term commit context",
        _HEARTBEAT_RESP: "term context",
        _TRANSFER_LEADER: "term",
        _TIMEOUT_NOW: "term",
        _READ_INDEX: "entries",
        _READ_INDEX_RESP: "term index entries",
        _PRE_VOTE: "term log_term index context",
        _PRE_VOTE_RESP: "term reject",
    }.items()
}
_ADDRESS = frozenset(("type", "from", "to"))
_ENTRY_FIELDS = frozenset(("term", "index", "kind", "data"))
# Names of the sets of a configuration, there and here
_SETS = {"voters": "voters", "outgoing": "voters_outgoing", "learners": "learners", "learners_next": "learners_next"}
_SNAPSHOT_FIELDS = frozenset(("index", "term", "auto_leave", "data", *_SETS))


class NoNeutralForm(ValueError):
    """A message that has no neutral form, or JSON that is none."""


def _used(value: Json) -> int:
    """The kind of a message that says nothing but what its kind may say."""
    kind: int = value["type"]
    if kind not in USES:
        raise NoNeutralForm(f"a message of kind {kind} does not travel")
    _known(value, USES[kind] | _ADDRESS, f"a message of kind {kind}")
    return kind


def _known(value: Json, fields: frozenset[str], what: str) -> None:
    unknown = set(value) - fields
    if unknown:
        raise NoNeutralForm(f"{what} has no {', '.join(sorted(unknown))}")


def _without_zeros(value: Json) -> Json:
    """What is zero or empty is left out."""
    return {name: each for name, each in value.items() if each}


class Neutral:
    """Translates for one copy of raftx. Frames stand between the two forms of ``pack`` and ``unpack``: what comes from
    outside has to pass the checks of the wire like anything else."""

    def __init__(self, package: ModuleType) -> None:
        self.impl = implementation(package)
        self.Message = package.Message
        self.Entry = package.Entry

    def unpack(self, packet: Packet) -> Json:
        """The neutral form of a message in a frame."""
        (m,) = self.impl.Codec(CLUSTER, packet.to).decode(packet.frame)
        return self.to_json(m)

    def pack(self, sender: int, value: Json) -> Packet:
        """A message of the neutral form in a frame, as ``sender`` would have sent it."""
        m = self.from_json(value)
        frame = self.impl.Codec(CLUSTER, sender).encode(m.to, [m])
        return Packet(frame, sender, m.to, m.kind, m.term)

    def to_json(self, m: Any) -> Json:
        """A message of raftx in the neutral form. Raises NoNeutralForm for what no other library knows."""
        kind = m.kind
        context, hint, sender = m.context, m.hint, m.sender
        flags = m.flags
        if kind in _REQUESTS:
            # Priority and commit index, which raftx's own options bring, are refused below.
            if context:
                raise NoNeutralForm("a request for votes with a commit index")
            context = 1 if flags & _TRANSFER else 0
            flags &= ~_TRANSFER
        elif kind in _NAMING:
            sender, hint = hint or sender, 0
        if flags & ~_REJECT:
            raise NoNeutralForm(f"flags {m.flags} of a message of kind {kind}")
        out = {
            "from": sender,
            "term": m.term,
            "log_term": m.log_term,
            "index": m.index,
            "commit": m.commit,
            "vote": m.vote,
            "reject": bool(flags & _REJECT),
            "hint": hint,
            "context": context,
        }
        if kind == _SNAP:
            out["snapshot"] = self._snapshot_to_json(m.snapshot)
        elif m.count:
            out["entries"] = [self._entry_to_json(entry) for entry in m.entries]
        out = {"type": kind, "to": m.to, **_without_zeros(out)}
        _used(out)
        return out

    def _entry_to_json(self, entry: Any) -> Json:
        data = self.impl.change_text(entry.data, entry.kind) if entry.kind else entry.data.hex()
        return _without_zeros({"term": entry.term, "index": entry.index, "kind": entry.kind, "data": data})

    def _snapshot_to_json(self, snapshot: Any) -> Json:
        conf = snapshot.conf_state
        sets = {name: list(getattr(conf, ours)) for name, ours in _SETS.items()}
        rest = _without_zeros({**sets, "auto_leave": conf.auto_leave, "data": snapshot.data.hex()})
        return {"index": snapshot.index, "term": snapshot.term, **rest}

    def from_json(self, value: Json) -> Any:
        """The message of raftx that a neutral form stands for. Raises NoNeutralForm."""
        kind = _used(value)
        context = value.get("context", 0)
        flags = _REJECT if value.get("reject") else 0
        if kind in _REQUESTS and context:
            if context != 1:
                raise NoNeutralForm(f"context {context} of a request for votes")
            flags |= _TRANSFER
            context = 0
        if kind == _SNAP and "snapshot" not in value:
            raise NoNeutralForm("a MsgSnap without a snapshot")
        m = self.Message(
            kind,
            to=value["to"],
            sender=value.get("from", 0),
            term=value.get("term", 0),
            log_term=value.get("log_term", 0),
            index=value.get("index", 0),
            commit=value.get("commit", 0),
            hint=value.get("from", 0) if kind in _NAMING else value.get("hint", 0),
            context=context,
            flags=flags,
            entries=[self._entry_from_json(entry) for entry in value.get("entries", ())],
        )
        if kind == _SNAP:
            m.snapshot = self._snapshot_from_json(value["snapshot"])
        return m

    def _entry_from_json(self, value: Json) -> Any:
        _known(value, _ENTRY_FIELDS, "an entry")
        kind = value.get("kind", 0)
        text = value.get("data", "")
        if kind not in (0, 1, 2):
            raise NoNeutralForm(f"an entry of kind {kind}")
        if kind:
            transition, _, changes = text.partition(":")
            data = self.impl.ConfChange.parse(changes, int(transition), kind == 1).encode()
        else:
            data = bytes.fromhex(text)
        return self.Entry(value.get("index", 0), value.get("term", 0), data, kind)

    def _snapshot_from_json(self, value: Json) -> Any:
        _known(value, _SNAPSHOT_FIELDS, "a snapshot")
        sets = {ours: tuple(value.get(name, ())) for name, ours in _SETS.items()}
        conf = self.impl.ConfState(**sets, auto_leave=value.get("auto_leave", False))
        return self.impl.Snapshot(value["index"], value["term"], conf, bytes.fromhex(value.get("data", "")))


class Hosted:
    """The members of a scenario that live here. A step answers; messages for the others leave."""

    def __init__(self, head: Json, package: ModuleType = raftx) -> None:
        hosted = head.get("hosted")
        here = [spec for spec in head["nodes"] if hosted is None or spec["id"] in hosted]
        self.cluster = Cluster({**head, "nodes": here}, package)
        self.neutral = Neutral(package)
        #: messages that the last step sent to members that live elsewhere
        self.left: list[Packet] = []
        self._everybody_is_here = hosted is None

    @property
    def error(self) -> BaseException | None:
        """What ended the scenario."""
        return self.cluster.error

    def step(self, step: list[Any]) -> str:
        """Take a step, ``give`` included, and return its answer."""
        if step[0] == "give":
            return self.give(self.neutral.pack(step[1], step[2]))
        return self._step(step)

    def give(self, packet: Packet) -> str:
        """Step a message from outside into its recipient."""
        network = self.cluster.network
        network.append(packet)
        return self._step(["deliver", len(network) - 1])

    def _step(self, step: list[Any]) -> str:
        answer = self.cluster.step(step)
        if not self._everybody_is_here:
            network, members = self.cluster.network, self.cluster.members
            self.left = [packet for packet in network if packet.to not in members]
            if self.left:
                network[:] = [packet for packet in network if packet.to in members]
        return answer


def main(source: Iterable[str] = sys.stdin, target: IO[str] = sys.stdout, package: ModuleType = raftx) -> None:
    """Answer interactive scenarios until the end of the input."""
    hosted: Hosted | None = None
    over = False
    for line in source:
        value = json.loads(line)
        if hosted is None:
            if not value.get("interactive"):
                raise ValueError("only interactive scenarios are served here")
            hosted, over = Hosted(value, package), False
            continue
        if value[0] == "end":
            hosted = None
        elif not over:
            answer = hosted.step(value)
            line_out: list[Any] = [answer, [hosted.neutral.unpack(packet) for packet in hosted.left]]
            over = hosted.cluster.over
            if over:
                line_out.append(f"{type(hosted.error).__name__}: {hosted.error}")
                if not answer.startswith(PANIC):
                    line_out[0] = "panic|||"
            target.write(json.dumps(line_out) + "\n")
            target.flush()


if __name__ == "__main__":
    main()
