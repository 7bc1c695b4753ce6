"""docs/wire-format.md held against the code: its tables are read, and what they say is looked for in real bytes.

Layouts, kinds, flags, limits and reasons come from the document; a table that says something else than the code
fails here, and so does a field that a member fills in and the document leaves empty.
"""

from __future__ import annotations

import inspect
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest

from tests.helpers import wire_samples
from tests.helpers.core_net import Network
from tests.helpers.machines import Machine
from tests.helpers.meetings import KNOWN, MEET, begun, introduction, life
from tests.helpers.nogil_probe import reach
from tests.helpers.paths import ROOT
from tests.helpers.stepped import World
from tests.helpers.waiting import eventually

PRE_VOTE_RESP, CHANGE, CHANGED, LOOK, SEEN = 18, 40, 41, 42, 43  # messages
DOCUMENT = ROOT / "docs" / "wire-format.md"
FIELDS = ("term", "index", "log term", "commit", "hint", "context")
LARGEST = 2**63 - 1


def tables(heading: str) -> list[list[list[str]]]:
    """The tables under a heading: rows of cells, the row of titles first."""
    text = DOCUMENT.read_text(encoding="ascii").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    out: list[list[list[str]]] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("|"):
            if not inside:
                out.append([])
            if not line.startswith("|---"):
                out[-1].append([cell.strip() for cell in line.strip().strip("|").split("|")])
        inside = line.startswith("|")
    return out


def layout(heading: str, number: int = 0) -> dict[str, tuple[int, int]]:
    """Offset and size of each field of a fixed layout, which has no gaps; reserved ones are called by their offset."""
    fields: dict[str, tuple[int, int]] = {}
    at = 0
    for offset, size, name, note in tables(heading)[number][1:]:
        if not offset.isdecimal() or not size.isdecimal():
            break
        assert int(offset) == at, f"{heading}: {name} is not at {at}"
        fields[name or f"reserved {at}"] = (at, int(size))
        assert bool(name) or note == "reserved", f"{heading}: a field at {at} without a name"
        at += int(size)
    return fields


def values(data: bytes, fields: dict[str, tuple[int, int]]) -> dict[str, int]:
    """What the fields of a layout hold."""
    return {name: int.from_bytes(data[at : at + size], "little") for name, (at, size) in fields.items()}


def end(fields: dict[str, tuple[int, int]]) -> int:
    """How many bytes a layout has."""
    return sum([size for _, size in fields.values()])


# --- layouts ---------------------------------------------------------------------------------------


def test_frame_header(core: ModuleType) -> None:
    fields = layout("Frame header")
    assert end(fields) == wire_samples.FRAME_HEADER
    frame = core.Codec(bytes(range(100, 116)), LARGEST - 1, 2**64 - 2, 2**64 - 3).encode(2**64 - 4, [])
    assert len(frame) == end(fields)
    assert values(frame, fields) == {
        "magic": int.from_bytes(b"RXF1", "little"), "version": 1, "flags": 0, "limit": 0,
        "cluster": int.from_bytes(bytes(range(100, 116)), "little"), "group": 2**64 - 3, "sender": LARGEST - 1,
        "recipient": 2**64 - 4, "incarnation": 2**64 - 2, "length": 0, "crc": zlib.crc32(frame[:60]),
    }  # fmt: skip
    notes = {row[2]: row[3] for row in tables("Frame header")[0][1:]}
    assert (notes["magic"], notes["version"], notes["flags"].split(":")[0]) == ("`RXF1`", "1", "1")


def test_message_header(core: ModuleType) -> None:
    fields = layout("Message header")
    assert end(fields) == wire_samples.MESSAGE_HEADER
    numbers = {name: LARGEST - at for at, name in enumerate(wire_samples.FIELDS)}
    records = [core.Entry(LARGEST - 1, 1, b"abc"), core.Entry(5, 6, b"")]
    message = core.Message(200, flags=250, entries=records, vote=3, to=4, sender=5, **numbers)
    frame = core.Codec(bytes(16), 1).encode(2, [message])
    head = frame[end(layout("Frame header")) :]
    assert values(head, fields) == {
        "kind": 200, "flags": 250, "reserved 2": 0, "count": 2, "size": 67, "reserved 12": 0,
        **{name.replace("_", " "): number for name, number in numbers.items()},
    }  # fmt: skip
    assert head[end(fields) :] == b"".join([record.encode() for record in records])
    whole = values(frame, layout("Frame header"))
    assert whole["length"] == len(head)
    assert whole["crc"] == zlib.crc32(head[: end(fields)], zlib.crc32(frame[:60]))


def test_entry_record(core: ModuleType) -> None:
    fields = layout("Entry record")
    assert end(fields) == wire_samples.RECORD_HEADER
    record = core.Entry(2**64 - 2, 2**64 - 3, b"data", 255, (2**56 - 4) << 8).encode()
    assert values(record, fields) == {
        "crc": zlib.crc32(record[4:]), "length": 4, "index": 2**64 - 2, "term": 2**64 - 3, "kind": 255,
        "time": 2**56 - 4,
    }  # fmt: skip
    assert record[end(fields) :] == b"data"
    assert tables("Entry record")[0][-1][:3] == [str(end(fields)), "length", "data"]


def test_envelope(impl: ModuleType, core: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> None:
    probe = reach(impl, tmp_path_factory.getbasetemp() / "nogil_probe")
    fields = layout("Envelope")
    buffer = core.Buffer()
    probe.put_proposal(buffer, 0, LARGEST, LARGEST - 1, LARGEST - 2, b"data")
    (entry,) = core.Entry.decode_all(buffer.tobytes(), unsealed=True)
    assert values(entry.data, fields) == {"origin": LARGEST, "incarnation": LARGEST - 1, "sequence": LARGEST - 2}
    assert entry.data[end(fields) :] == b"data"


def test_header_of_a_session(mod: Callable[[str], ModuleType]) -> None:
    header = mod("node.session_format").HEADER
    fields = layout("Header of a session")
    assert end(fields) == header.size
    data = header.pack(b"i" * 16, LARGEST, LARGEST - 1, LARGEST - 2, 2)
    assert values(data, fields) == {
        "session": int.from_bytes(b"i" * 16, "little"), "opening": LARGEST, "sequence": LARGEST - 1,
        "acknowledged": LARGEST - 2, "what": 2, "reserved 41": 0,
    }  # fmt: skip


def test_membership_change(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    types = mod("types")
    rows = tables("Membership change")[0][1:]
    part = layout("Membership change", 1)
    assert [row[:3] for row in rows] == [
        ["0", "1", "transition"], ["1", "1", "count"], ["2", f"{end(part)} each", "parts"], ["", "the rest", "context"]
    ]  # fmt: skip
    parts = tuple([impl.ConfChangeSingle(kind, LARGEST - kind) for kind in range(4)])
    data = impl.ConfChange(parts, 2, b"context").encode()
    assert data[:2] == bytes((2, 4))
    for at, single in enumerate(parts):
        assert values(data[2 + at * end(part) :], part) == {"kind": single.kind, "id": single.id}
    assert data[2 + 4 * end(part) :] == b"context"
    assert impl.ConfChange().encode() == b""
    words = [f"{kind.value}: {kind.name.replace('_', ' a ').lower()}" for kind in types.ConfChangeKind]
    assert tables("Membership change")[1][1][3] == "; ".join(words)
    numbers = (types.TRANSITION_AUTO, types.TRANSITION_IMPLICIT, types.TRANSITION_EXPLICIT)
    starts = ("joint only if necessary", "joint, left automatically", "joint, left by a proposed change")
    assert rows[0][3] == "; ".join([f"{number}: {start}" for number, start in zip(numbers, starts)])


def test_membership(impl: ModuleType) -> None:
    fields = layout("Membership")
    conf = impl.ConfState((1, 2, 3, 4), (5, 6), (1, 2, 7), (7,), True)
    data = conf.encode()
    expected = {"voters": 4, "learners": 2, "outgoing voters": 3, "next learners": 1, "auto-leave": 1, "reserved 5": 0}
    assert values(data, fields) == expected
    ids = struct.pack("<10Q", 1, 2, 3, 4, 5, 6, 1, 2, 7, 7)
    assert tables("Membership")[0][-1][:3] == [str(end(fields)), "8 each", "ids"]
    assert data[end(fields) :] == ids


# --- numbers and names -----------------------------------------------------------------------------


def test_kinds(mod: Callable[[str], ModuleType], core: ModuleType) -> None:
    types = mod("types")
    rows = tables("Kinds")[0][1:]
    assert {int(number): name for number, name, _, _ in rows} == types.MESSAGE_NAMES
    assert {int(row[0]) for row in rows if row[2] == "local"} == types.LOCAL_KINDS
    assert {row[2] for row in rows} == {"local", "none", "any number", "none or one", "exactly one"}
    sender, receiver = core.Codec(bytes(16), 1), core.Codec(bytes(16), 2)
    bodies = (
        {},
        {"entries": [core.Entry(0, 0, b"")]},
        {"entries": [core.Entry(0, 0, b"")] * 2},
        {"entries": [core.Entry(1, 1, b"")]},
        {"entries": [core.Entry(1, 1, b""), core.Entry(2, 1, b"")]},
        {"entries": [core.Entry(1, 1, core.ConfState((1,)).encode(), 3)]},
        {"entries": [core.Entry(1, 1, core.ConfState((1,)).encode(), 3)] * 2},
    )
    expected = {"none": {0}, "none or one": {0, 1}, "any number": {0, 1, 2}, "exactly one": {1}, "local": set()}
    for number, name, body, _ in rows:
        taken, reasons = set(), set()
        for given in bodies:
            try:
                (message,) = receiver.decode(sender.encode(2, [core.Message(int(number), term=1, **given)]))
                taken.add(message.count)
            except core.FrameError as error:
                reasons.add(error.reason)
        assert taken == expected[body], name
        assert reasons == {"kind" if body == "local" else "records"}, name


def test_kinds_of_entries(mod: Callable[[str], ModuleType]) -> None:
    types = mod("types")
    rows = tables("Entry record")[1][1:]
    kinds = [types.ENTRY_NORMAL, types.ENTRY_CONF_CHANGE, types.ENTRY_CONF_CHANGE_V2, types.ENTRY_SNAPSHOT]
    kinds.append(types.ENTRY_SESSION)
    # And what stands in messages that do not reach the algorithm.
    others = [types.ENTRY_NORMAL] * 4 + [types.ENTRY_CONF_CHANGE_V2]
    assert [int(row[0]) for row in rows] == kinds + others
    names = {row[1]: int(row[0]) for row in tables("Kinds")[0][1:]}
    where = {name for row in rows for name in row[1].split(", ")}
    assert {names[name] for name in where} == set(wire_samples.BODY_KINDS)


def test_flags(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    types = mod("types")
    rows = tables("Flags")[0][1:]
    assert [int(row[0]) for row in rows] == [
        types.FLAG_REJECT,
        types.FLAG_TRANSFER,
        types.FLAG_REQUEST_SNAPSHOT,
        types.FLAG_NEW_CONNECTION,
    ]
    names = {row[1]: int(row[0]) for row in tables("Kinds")[0][1:]}
    documented: dict[int, int] = {}
    for row in rows:
        for name in row[1].split(", "):
            documented[names[name]] = documented.get(names[name], 0) | int(row[0])
    seen: dict[int, int] = {}
    for message in [*traffic(impl), *between_nodes(impl, mod), *of_a_transfer(impl), *of_lives(impl, mod)]:
        seen[message.kind] = seen.get(message.kind, 0) | message.flags
    assert {kind: flags for kind, flags in seen.items() if flags} == documented


def test_limits(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    rows = dict(tables("Limits")[0][1:])
    types = mod("types")
    largest = "2^63 - 1"
    assert types.NUMBER_MAX == LARGEST
    assert rows.pop("term, index, log term, commit, hint, context of a message") == largest
    assert rows.pop("id of a member") == largest
    assert int(rows.pop("members of a cluster")) == types.MEMBERS_MAX
    most = int(rows.pop("ids in one set of a membership"))
    assert len(types.ConfState.decode(wire_samples.membership(tuple(range(1, most + 1))))[0].voters) == most == 0xFF
    most = int(rows.pop("parts of a membership change"))
    assert types.ConfChange((types.ConfChangeSingle(0, 1),) * most).encode()[1] == most == 0xFF
    assert rows.pop("data of one entry record") == "2^31 bytes"
    closed = wire_samples.replaced(wire_samples.record(b""), 4, struct.pack("<I", 2**31 + 1))
    with pytest.raises(impl.FrameError):
        impl.Message(entries=[closed])
    source = inspect.getsource(mod("node.dispatch")) if not impl.COMPILED else ""
    assert rows.pop("frame that takes a further message") == "512 KiB"
    assert impl.COMPILED or "\nFRAME_CLOSE = 512 << 10" in source
    default = inspect.signature(impl.NngTransport).parameters["max_frame_bytes"].default
    whole = rows.pop("whole frame, `max_frame_bytes` of the transport")
    assert whole == f"{default >> 20} MiB by default, at most 1 GiB"
    assert not rows


def test_reasons_of_refused_proposals(mod: Callable[[str], ModuleType]) -> None:
    named = mod("node.rows")
    told = (named.REFUSED_NOT_LEADER, named.REFUSED_TRANSFER, named.REFUSED_REMOVED, named.REFUSED_UNCOMMITTED)
    told += (named.REFUSED_LEADER_FULL,)
    rows = {int(number): text for number, text in tables("Fields")[1][1:]}
    assert tuple(rows) == told
    same = {
        named.REFUSED_NOT_LEADER: "the member asked is not the leader",
        named.REFUSED_LEADER_FULL: "the disk of the member asked is full",
    }
    assert rows == {number: same.get(number, named.REFUSALS[number]) for number in told}


# --- what is refused -------------------------------------------------------------------------------


def faulty(faults: set[int]) -> bytes:
    """A frame for member 2 of a cluster of zeros with these rows of the table of reasons wrong, all at once."""
    body = wire_samples.record(b"")
    size = 2**32 - 1 if 12 in faults else len(body)
    number = 2**63 if 11 in faults else 1
    head = struct.pack("<BBHIIIQQQQQQ", 11 if 10 in faults else 8, 0, 0, 1, size, 0, number, 0, 0, 0, 0, 0)
    if 13 not in faults and 12 not in faults:
        head, body = struct.pack("<BBHIIIQQQQQQ", head[0], 0, 0, 0, 0, 0, number, 0, 0, 0, 0, 0), b""
    front = struct.pack(
        "<4sBBH16sQQQQ",
        b"RXF0" if 1 in faults else b"RXF1", 2 if 2 in faults else 1, 0, 0, bytes([3 in faults]) * 16, 4 in faults,
        2 if 8 in faults else 1, 7 if 5 in faults else 2, 0,
    )  # fmt: skip
    frame = front + bytes(8) + (head[:63] if 9 in faults else head + body)
    frame = bytearray(wire_samples.reseal(frame))
    if 6 in faults:
        struct.pack_into("<I", frame, 56, 5)
        frame = bytearray(frame[:60]) + struct.pack("<I", zlib.crc32(frame[:60])) + frame[64:]
    if 7 in faults:
        frame[60] ^= 1
    return bytes(frame[:63] if 0 in faults else frame)


def test_reasons_and_their_order(core: ModuleType) -> None:
    """Each row alone, and each with all that may follow it wrong as well."""
    reasons = [row[0].strip("`") for row in tables("What is refused")[0][1:]]
    brought = [row[0].strip("`") for row in tables("What is refused")[1][1:]]
    assert tuple(brought) == core.REASONS[-3:] and set(reasons) == set(core.REASONS[1:-3])
    receiver = core.Codec(bytes(16), 2)
    assert len(receiver.decode(faulty(set()))) == 1
    for row, reason in enumerate(reasons):
        for faults in ({row}, set(range(row, len(reasons))), {row, len(reasons) - 1}):
            with pytest.raises(core.FrameError) as caught:
                receiver.decode(faulty(faults))
            assert caught.value.reason == reason, (row, faults)


def test_reasons_to_refuse_a_message(mod: Callable[[str], ModuleType]) -> None:
    rows = tables("What no honest member can have sent")[0][1:]
    assert tuple([row[0].strip("`") for row in rows]) == mod("node.senders").REASONS[1:]
    assert mod("node.senders").REASONS[1:7] == mod("consensus.admission").REASONS[1:]


# --- what members write ----------------------------------------------------------------------------


def traffic(impl: ModuleType) -> list[Any]:
    """Messages that members sent: elections, replication, repair, snapshots, reads and transfers."""
    sent: list[Any] = []

    def network(**settings: Any) -> Network:
        made = Network(impl, **settings)
        made.sent = sent
        return made

    usual = network(pre_vote=True, check_quorum=True, priority=3)
    usual.campaign(1)
    usual.propose(1)
    usual.propose(2)  # passed on
    usual[3].node.read_index(b"context")
    usual.deliver()
    usual[2].node.transfer_leader(3)
    usual.deliver()
    usual.tick(3)
    usual[2].node.request_snapshot()
    usual.deliver()
    lease = network(check_quorum=True, lease_reads=True)
    lease.campaign(1)
    lease[2].node.read_index(b"context")
    lease.deliver()
    # A log that lags behind, asked for votes and pre-votes; one that differs.
    for settings in (
        {"pre_vote": True},
        {"pre_vote": False},
        {"pre_vote": True, "commit_by_vote": True},
        {"pre_vote": False, "commit_by_vote": True},
    ):
        hards = {1: (3, 0, 2), 2: (3, 0, 1), 3: (3, 0, 2)}
        behind = network(logs={1: (1, 1, 3), 2: (1,), 3: (1, 1, 2, 2)}, hards=hards, **settings)
        behind.campaign(2)
        behind.campaign(1)
        behind.campaign(1)
    far = network()
    far.campaign(1)
    far.isolate(3)
    for _ in range(3):
        far.propose(1)
    far[1].node.set_snapshot(impl.Snapshot(far[1].applied[-1].index, far[1].term, impl.ConfState((1, 2, 3))))
    far[1].node.compact(far[1].applied[-1].index)
    far.heal()
    far.tick(1)
    doubtful = network(hards={3: (1, 0, 0, True)})
    doubtful.campaign(1)
    for _ in range(40):
        doubtful.tick(1)
        doubtful.tick(3)
    return sent


class Wire:
    """A transport that keeps what was sent."""

    def __init__(self) -> None:
        self.deliver: Callable[[bytes], object] = lambda frame: None
        self.frames: list[tuple[int, bytes]] = []

    def attach(self, deliver_from: Callable[[bytes], object], connected: Callable[[int], object]) -> None:
        self.connected = connected

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        self.deliver = deliver

    def send(self, to: int, frame: bytes) -> bool:
        self.frames.append((to, frame))
        return True

    def close(self) -> None:
        pass


def received(wire: Wire, codec: Any, kind: int, flags: int | None = None) -> Any:
    """The first message of a kind, with these flags, that a node sends to member 2."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for to, frame in list(wire.frames):
            for message in codec.decode(frame) if to == codec.id else ():
                if message.kind == kind and flags in (None, message.flags):
                    return message
        time.sleep(0.005)
    raise AssertionError(f"no message of kind {kind} was sent")


def between_nodes(impl: ModuleType, mod: Callable[[str], ModuleType]) -> list[Any]:
    """What a Node passes on to its leader, and what it answers to proposals that it does not take."""
    wire = Wire()
    config = impl.Config(id=1, election_ticks=1000, seed=1)
    storage = mod("storage.memory").MemoryStorage(voters=[1, 2, 3])
    codec = impl._core.Codec(config.cluster, 2, 44)

    class Machine:
        def apply(self, entry: Any) -> None:
            pass

    with impl.Node(config, storage, wire, Machine()) as node:
        # Both others introduce themselves, and then say that they know this life, too.
        for id in (2, 3):
            other = impl._core.Codec(config.cluster, id, 44)
            wire.deliver(other.encode(1, [introduction(impl, bytes([id] * 16))]))
            received(wire, other, KNOWN)
            wire.deliver(other.encode(1, [impl.Message(KNOWN, index=life(node))]))
        eventually(lambda: begun([node]))
        wire.deliver(codec.encode(1, [impl.Message(8, term=5)]))
        deadline = time.monotonic() + 20
        while node.leader_id != 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        future = node.propose(b"data")
        proposed = received(wire, codec, 2)
        own = impl.Entry(0, 0, struct.pack("<QQQ", 2, 44, 7) + b"data")
        wire.deliver(codec.encode(1, [impl.Message(2, log_term=4, hint=1, context=7, entries=[own])]))
        refused = received(wire, codec, 32)
        hello = received(wire, codec, 35, 0)
        wire.connected(2)
        first = received(wire, codec, 35, 8)
    with pytest.raises(impl.RaftError):
        future.result(timeout=20)
    assert (proposed.log_term, proposed.hint, proposed.context) == (5, 1, 1)
    assert proposed.entries[0].data == struct.pack("<QQQ", 1, life(node), 1) + b"data"
    assert (refused.index, refused.log_term, refused.hint, refused.context, refused.flags) == (2, 44, 1, 7, 1)
    for said in (hello, first):
        told = (said.log_term, said.index, said.commit, said.hint, said.context)
        assert told == (1000 * 50, 50, 3, 1 << 20, 1 << 30)
    return [proposed, refused, hello, first]


def of_a_transfer(impl: ModuleType) -> list[Any]:
    """What two Nodes send each other when one fetches the snapshot of the other; and a refusal."""
    world = World(impl, 3, snapshot_entries=20, keep_entries=0, proposal_timeout_ms=10**6)
    world.close()
    for id in world.ids:
        world.start(id, machine=Machine())
    leader = world.leader()
    away = next(id for id in world.ids if id != leader.id)
    world.nodes[away].close()
    for _ in range(4):
        futures = [leader.propose(bytes(10_000)) for _ in range(20)]
        world.until(lambda futures=futures: all(future.done() for future in futures))
        world.for_rounds(30)
    world.start(away, machine=Machine())
    world.until(lambda: world.nodes[away].status().transfers.fetched)
    config = leader.config
    wanted = impl.Message(36, log_term=1, index=1, commit=1, hint=1, context=99)
    frame = impl._core.Codec(config.cluster, away, life(world.nodes[away])).encode(leader.id, [wanted])
    world.frames.append((leader.id, frame))
    world.for_rounds(20)
    world.close()
    found = []
    for _, to, frame, _ in world.trace:
        found += [m for m in impl._core.Codec(config.cluster, to, 99).decode(frame) if m.kind in (36, 37)]
    whole = b"".join([m.entries[0].data for m in found if m.kind == 37 and not m.reject])
    assert len(whole) > 10_000 and [m.context for m in found if m.reject] == [99]
    return found


def of_lives(impl: ModuleType, mod: Callable[[str], ModuleType]) -> list[Any]:
    """What members say to each other of their lives, when one was founded anew, and when it was rebuilt."""
    sim, rebuild = mod("testing.disk"), mod("storage.rebuild").rebuild
    disks = {id: sim.SimDisk(random.Random(id)) for id in (1, 2, 3)}

    def founded(id: int) -> Any:
        return impl.FileStorage.create(f"/{id}", id=id, members=[1, 2, 3], segment_bytes=64 << 10, disk=disks[id])

    world = World(impl, 3, {id: founded(id) for id in disks})
    world.until(lambda: begun(world.nodes.values()))
    world.nodes[3].close()
    for name in disks[3].files("/3"):
        disks[3].delete(f"/3/{name}")
    world.storages[3] = founded(3)
    world.start(3)
    world.until(lambda: world.nodes[3].failure)
    world.nodes[3].close()
    rebuild("/3", disk=disks[3])
    world.start(3)
    world.until(lambda: begun(world.nodes.values()))
    cluster = world.nodes[1].config.cluster
    found = []
    for _, to, frame, _ in world.trace:
        found += [m for m in impl._core.Codec(cluster, to, 99).decode(frame) if m.kind in (MEET, KNOWN)]
    world.close()
    return found


def of_members(impl: ModuleType) -> list[Any]:
    """What members say of changes: asked on a follower, and not taken while a learner is not there."""
    storages = {id: impl.MemoryStorage(voters=[1, 2]) for id in (1, 2)}
    world = World(impl, 2, storages)
    world.until(lambda: begun(world.nodes.values()))
    world.nodes[1].campaign()
    world.until(lambda: world.nodes[1].is_leader and world.nodes[2].leader_id == 1)
    world.until(world.nodes[2].add_learner(3, "mem:3").done)
    future = world.nodes[2].promote(3, timeout=1.0)
    world.until(future.done)
    found = []
    for _, to, frame, _ in world.trace:
        messages = impl._core.Codec(world.nodes[1].config.cluster, to, 99).decode(frame)
        found += [m for m in messages if m.kind in (CHANGE, CHANGED)]
    # What a learner has that is behind is 0 as long as it has nothing.
    found.append(impl.Message(CHANGED, commit=1))
    world.close()
    return found


def of_looks(impl: ModuleType) -> list[Any]:
    """What members say when one asks how they are."""
    world = World(impl, 2)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    assert all([each.reachable for each in leader.cluster_status().members])
    found = []
    for _, to, frame, _ in world.trace:
        messages = impl._core.Codec(leader.config.cluster, to, 99).decode(frame)
        found += [m for m in messages if m.kind in (LOOK, SEEN)]
    world.close()
    return found


def of_who_leads(impl: ModuleType) -> list[Any]:
    """What followers answer to a pre-vote of one that its leader does not reach."""
    world = World(impl, 3)
    leader = world.leader()
    world.until(lambda: begun(world.nodes.values()))
    cut = next(node for node in world.nodes.values() if node is not leader)
    deliver = world.receive[cut.id]

    def from_others(frame: bytes) -> None:
        if int.from_bytes(bytes(frame[32:40]), "little") != leader.id:
            deliver(frame)

    world.receive[cut.id] = from_others
    world.until(lambda: bool(cut.status().unled), 500)
    found = []
    for _, to, frame, _ in world.trace:
        messages = impl._core.Codec(leader.config.cluster, to, 99).decode(frame)
        found += [m for m in messages if m.kind == PRE_VOTE_RESP]
    world.close()
    return found


def filled(messages: Iterable[Any]) -> dict[int, set[str]]:
    """The fields that are not always 0, by kind."""
    out: dict[int, set[str]] = {}
    for message in messages:
        found = {name for name in FIELDS if getattr(message, name.replace(" ", "_"))}
        out[message.kind] = out.get(message.kind, set()) | found
    return out


def test_fields_of_every_kind(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    """A member fills in just what the document says."""
    names = {row[1]: int(row[0]) for row in tables("Kinds")[0][1:]}
    titles, *rows = tables("Fields")[0]
    assert titles == ["kind", *FIELDS]
    documented = {names[row[0]]: {name for name, cell in zip(FIELDS, row[1:]) if cell} for row in rows}
    assert set(documented) == set(wire_samples.WIRE_KINDS)
    # The document says of which messages the commit index in votes is.
    messages = traffic(impl)
    for message in messages:
        if message.kind in (6, 18) and not message.reject:
            assert (message.commit, message.context) == (0, 0)
    between = [
        *between_nodes(impl, mod),
        *of_a_transfer(impl),
        *of_lives(impl, mod),
        *of_members(impl),
        *of_looks(impl),
        *of_who_leads(impl),
    ]
    assert filled([*messages, *between]) == documented
