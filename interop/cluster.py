"""The harness around raftx: runs the steps of a scenario and answers what it sees (protocol.md).

``Cluster`` is for those who choose the steps in the same process (the generator, the tests);
``python -m interop.cluster`` is the session on standard input and output, one harness among others. What a member
has on disk, the network and the state machines are kept here: raftx sees RawNode's contract only.

No randomness and no clock. An answer is built for every step and is most of the work, so the code below prefers
few calls to short functions.
"""

from __future__ import annotations

import contextlib
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import IO, Any, Protocol

import raftx

from .cluster_member import MASK64, SCENARIO, Member, Packet
from .implementation import CLUSTER, implementation

# Results of a step
OK = "ok"
DOWN = "down"
NOTHING = "nothing"
LOST = "lost"
DROPPED = "dropped"
UNKNOWN = "unknown"
LOCAL = "local"
PANIC = "panic"

# Kinds of messages, with etcd's numbers
_VOTE, _STORAGE_APPEND, _STORAGE_APPLY = 5, 19, 21
_LOCAL_APPEND = MASK64


def checksums(answers: Iterable[str]) -> str:
    """The line that stands for answers where the full ones are not asked for: their checksums, back to back."""
    return "".join([f"{zlib.crc32(answer.encode()):08x}" for answer in answers])


class Cluster:
    """Members and a network, moved by the steps of a scenario. ``step`` answers each of them."""

    def __init__(self, head: dict[str, Any], package: ModuleType = raftx) -> None:
        if head.get("scenario") != SCENARIO:
            raise ValueError(f"a scenario of version {head.get('scenario')!r}, not {SCENARIO}")
        self.impl = implementation(package)
        seed = head.get("seed", 0) & MASK64
        self.members = {spec["id"]: Member(self.impl, spec, seed) for spec in head["nodes"]}
        self.network: list[Packet] = []
        self.decoders = {id: self.impl.Codec(CLUSTER, id) for id in self.members}
        self.over = False
        #: what ended the scenario, for those who look into a difference
        self.error: BaseException | None = None
        self._steps = {
            "tick": self._tick,
            "campaign": self._campaign,
            "propose": self._propose,
            "change": self._change,
            "ready": self._ready,
            "persist": self._persist,
            "apply": self._apply,
            "crash": self._crash,
            "snapshot": self._snapshot,
            "compact": self._compact,
            "read": self._read,
            "transfer": self._transfer,
            "forget": self._forget,
            "unreachable": self._unreachable,
            "report": self._report,
        }
        for member in self.members.values():
            member.state_text()

    def step(self, step: list[Any]) -> str:
        """Do one step; returns its answer. After a panic there are no more steps."""
        name = step[0]
        impl = self.impl
        member = None
        if name == "deliver":
            k = step[1]
            if not 0 <= k < len(self.network):
                return "nothing|||"
            packet = self.network.pop(k)
            member = self.members.get(packet.to)
            if member is None or member.raw is None:
                return "lost|||"
            call: Any = self._deliver
            step = [name, k, packet]
        elif name in ("drop", "duplicate", "move"):
            return self._shuffle(step)
        else:
            member = self.members.get(step[1])
            if name == "restart":
                if member is None or member.raw is not None:
                    return "nothing|||"
                call = self._restart
            else:
                if member is None or member.raw is None:
                    return "down|||"
                call = self._steps[name]
        shown = sent = ""
        try:
            shown, sent = call(member, step)
            result = OK
        except impl.ConfChangeRefused:
            # An empty entry stands in its place, as in etcd, which says nothing.
            result = OK
        except impl.ProposalDropped:
            result = DROPPED
        except impl.ReadDropped:
            result = OK
        except impl.UnknownPeer:
            result = UNKNOWN
        except impl.StepLocalMessage:
            result = LOCAL
        except _Nothing:
            return "nothing|||"
        except impl.gives_up as error:
            self.over = True
            self.error = error
            return "panic|||"
        except Exception as error:
            # Not what the library promises: an answer that nobody else gives.
            self.over = True
            self.error = error
            return f"raised {type(error).__name__}: {error}|||"
        core = member.core
        if core is None:
            return "ok|||"
        core.randomized_timeout = member.timeout()
        return f"{result}|{shown}|{sent}|{member.state_text()}"

    # --- the network -----------------------------------------------------------------------------

    def _send(self, member: Member, m: Any) -> str:
        """A message enters the network, encoded."""
        to: int = m.to
        self.network.append(Packet(member.encoder.encode(to, [m]), member.id, to, m.kind, m.term))
        return self.impl.message_text(m)

    def _shuffle(self, step: list[Any]) -> str:
        name, k = step[0], step[1]
        network = self.network
        if not 0 <= k < len(network):
            return "nothing|||"
        if name == "drop":
            del network[k]
        elif name == "duplicate":
            p = network[k]
            network.append(Packet(p.frame, p.sender, p.to, p.kind, p.term))
        else:
            if not 0 <= step[2] < len(network):
                return "nothing|||"
            network.insert(step[2], network.pop(k))
        return "ok|||"

    def _deliver(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.raw.step(self.decoders[member.id].decode(step[2].frame)[0])
        return "", ""

    # --- calls of the library --------------------------------------------------------------------

    def _tick(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.raw.tick()
        return "", ""

    def _campaign(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.raw.campaign()
        return "", ""

    def _propose(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.raw.propose(*[data.encode() for data in step[2:]])
        return "", ""

    def _change(self, member: Member, step: list[Any]) -> tuple[str, str]:
        _, _, changes, transition, v1 = step
        member.raw.propose_conf_change(self.impl.ConfChange.parse(changes, transition, v1))
        return "", ""

    def _read(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.raw.read_index(step[2].encode())
        return "", ""

    def _transfer(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.raw.transfer_leader(step[2])
        return "", ""

    def _forget(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.raw.forget_leader()
        return "", ""

    def _unreachable(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.raw.report_unreachable(step[2])
        return "", ""

    def _report(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.raw.report_snapshot(step[2], step[3])
        return "", ""

    # --- work ------------------------------------------------------------------------------------

    def _ready(self, member: Member, step: list[Any]) -> tuple[str, str]:
        if member.work is not None or not member.raw.has_ready():
            raise _NOTHING
        ready = member.raw.ready()
        if not member.asynchronous:
            member.work = ready
            member.persisted = False
            return member.ready_text(ready), ""
        # The one write of a Ready comes behind the messages that may wait for it.
        for m in ready.messages:
            if m.to == _LOCAL_APPEND:
                member.appends.append((m, []))
        sent = []
        for m in ready.messages:
            kind = m.kind
            if kind == _STORAGE_APPLY:
                member.applies.append(m)
            elif kind == _VOTE and member.appends:
                # A request for votes waits for the term and the vote that it announces.
                member.appends[-1][1].append(m)
            elif kind != _STORAGE_APPEND:
                sent.append(self._send(member, m))
                continue
            sent.append(self.impl.message_text(m))
        return member.ready_text(ready), "".join(sent)

    def _persist(self, member: Member, step: list[Any]) -> tuple[str, str]:
        if not member.asynchronous:
            ready = member.work
            if ready is None or member.persisted:
                raise _NOTHING
            member.store(ready.snapshot, ready.entries, ready.hard_state)
            member.persisted = True
            return "", "".join([self._send(member, m) for m in ready.messages])
        if not member.appends:
            raise _NOTHING
        m, votes = member.appends.popleft()
        hard = self.impl.HardState(m.term, m.vote, m.commit) if m.term or m.vote or m.commit else None
        snapshot = m.snapshot
        member.store(snapshot, m.entries, hard)
        if snapshot is not None:
            member.take_snapshot(snapshot)
        sent = []
        for response in m.responses or ():
            if response.to == member.id:
                self._answer(member, response)
            else:
                sent.append(self._send(member, response))
        sent.extend([self._send(member, vote) for vote in votes])
        return "", "".join(sent)

    def _apply(self, member: Member, step: list[Any]) -> tuple[str, str]:
        if not member.asynchronous:
            ready = member.work
            if ready is None or not member.persisted:
                raise _NOTHING
            if ready.snapshot is not None:
                member.take_snapshot(ready.snapshot)
            if ready.committed_entries:
                member.apply(ready.committed_entries)
            member.work = None
            member.raw.advance()
            return "", ""
        if not member.applies:
            raise _NOTHING
        m = member.applies.popleft()
        member.apply(m.entries)
        for response in m.responses or ():
            self._answer(member, response)
        return "", ""

    def _answer(self, member: Member, response: Any) -> None:
        """The storage answers; what the library thinks of it does not concern the storage."""
        with contextlib.suppress(self.impl.UnknownPeer):
            member.raw.step(response)

    # --- the disk --------------------------------------------------------------------------------

    def _crash(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.crash()
        return "", ""

    def _restart(self, member: Member, step: list[Any]) -> tuple[str, str]:
        member.restart(bool(step[2]))
        return "", ""

    def _snapshot(self, member: Member, step: list[Any]) -> tuple[str, str]:
        core = member.core
        index = min(core.applied, member.applied, member.hard.commit, core.stable)
        if index <= member.snapshot.index:
            raise _NOTHING
        member.make_snapshot(index)
        return "", ""

    def _compact(self, member: Member, step: list[Any]) -> tuple[str, str]:
        index = step[2]
        core = member.core
        limit = min(member.snapshot.index, core.stable, core.applied)
        if not member.base < index <= limit:
            raise _NOTHING
        member.compact(index)
        return "", ""


class _Nothing(Exception):
    """A step that found nothing to do."""


_NOTHING = _Nothing()


# --- the session ---------------------------------------------------------------------------------


class Runs(Protocol):
    """What takes steps: a Cluster, or that of quiet schedules."""

    over: bool

    def step(self, step: list[Any]) -> str:
        """Take one step; returns its answer."""


def answers_of(cluster: Runs, steps: Iterable[list[Any]]) -> list[str]:
    """All answers, up to a panic."""
    answers = []
    for step in steps:
        answers.append(cluster.step(step))
        if cluster.over:
            break
    return answers


def run(head: dict[str, Any], steps: Iterable[list[Any]], package: ModuleType = raftx) -> list[str]:
    """All answers of a scenario, up to a panic."""
    return answers_of(Cluster(head, package), steps)


def scenarios(lines: Iterable[str]) -> Iterator[tuple[dict[str, Any], list[list[Any]], bool]]:
    """(head, steps, whether the full answers are wanted) of each scenario in a session."""
    head: dict[str, Any] | None = None
    steps: list[list[Any]] = []
    for line in lines:
        value = json.loads(line)
        if head is None:
            head = value
        elif value[0] == "end":
            yield head, steps, value[1:] == ["full"]
            head, steps = None, []
        else:
            steps.append(value)


def main(
    source: IO[str] = sys.stdin,
    target: IO[str] = sys.stdout,
    package: ModuleType = raftx,
    run: Callable[[dict[str, Any], list[list[Any]], ModuleType], list[str]] = run,
) -> None:
    """Answer scenarios until the end of the input."""
    for head, steps, full in scenarios(source):
        answers = run(head, steps, package)
        target.write(json.dumps(answers) if full else checksums(answers))
        target.write("\n")
        target.flush()


if __name__ == "__main__":
    main()
