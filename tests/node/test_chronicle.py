"""What people and programs hear of a node: a line and an event for each thing that happens, and not too many."""

import logging
import re
import types

import pytest

from tests.helpers.implementations import module
from tests.helpers.ports import port as free_port
from tests.helpers.stepped import World
from tests.helpers.waiting import WAIT, eventually


def events(caplog, *names):
    """What was said, in order: (event, fields)."""
    return [
        (record.raftx_event, record.raftx_fields)
        for record in caplog.records
        if record.name == "raftx" and (not names or record.raftx_event in names)
    ]


def of(caplog, node, *names):
    return [(event, fields) for event, fields in events(caplog, *names) if fields["node"] == node]


class Keeps:
    """A state machine with snapshots."""

    def __init__(self):
        self.given = []

    def apply(self, entry):
        self.given.append(bytes(entry.data))

    def snapshot(self):
        return b"|".join(self.given)

    def restore(self, reader):
        self.given = reader.read().split(b"|")


def test_elections_and_transfers(impl, caplog):
    """Of whoever wins and whoever loses; candidates are no news."""
    with caplog.at_level(logging.DEBUG, "raftx"):
        world = World(impl, 3)
        leader = world.leader()
        world.until(lambda: all(of(caplog, id, "leader_elected") for id in world.ids))
        term = leader.term
        for node in world.nodes.values():
            last = of(caplog, node.id, "leader_elected")[-1][1]
            assert last["leader"] == leader.id and last["term"] == term
            assert last["role"] == ("leader" if node is leader else "follower")
        texts = [record.getMessage() for record in caplog.records if record.raftx_event == "leader_elected"]
        assert f"node {leader.id}: leads in term {term}" in texts
        other = next(node for node in world.nodes.values() if node is not leader)
        assert f"node {other.id}: follows member {leader.id}, which leads in term {term}" in texts
        caplog.clear()
        handed = leader.transfer_leadership(other.id)
        world.until(handed.done)
        world.until(lambda: of(caplog, leader.id, "leader_elected"))
        assert of(caplog, leader.id, "transfer_begun") == [("transfer_begun", {"node": leader.id, "to": other.id})]
        assert of(caplog, leader.id, "leader_elected")[-1][1]["leader"] == other.id
        levels = {record.raftx_event: record.levelno for record in caplog.records}
        assert levels["leader_elected"] == levels["transfer_begun"] == logging.INFO
        assert levels.get("state", logging.DEBUG) == logging.DEBUG
        caplog.clear()
        world.executors[other.id].kill()
        world.receive.pop(other.id)
        world.nodes.pop(other.id)
        world.leader()
        world.until(lambda: events(caplog, "leader_lost"))
        lost = [fields for _, fields in events(caplog, "leader_lost")]
        assert lost and all(fields["leader"] == 0 for fields in lost)
        world.close()


def test_a_transfer_that_is_given_up(impl, caplog):
    with caplog.at_level(logging.INFO, "raftx"):
        world = World(impl, 3)
        leader = world.leader()
        other = next(node for node in world.nodes.values() if node is not leader)
        world.receive.pop(other.id)
        handed = leader.transfer_leadership(other.id)
        world.until(handed.done)
        world.until(lambda: of(caplog, leader.id, "transfer_given_up"))
        assert of(caplog, leader.id, "transfer_given_up")[0][1]["to"] == other.id
        world.close()


@pytest.mark.slow
def test_members_and_snapshots_and_connections(impl, caplog, tmp_path):
    """A member is added, fetches a snapshot, and all of it is told on the members that it concerns."""
    network = impl.MemoryNetwork()
    nodes = {}

    def start(id):
        storage = impl.FileStorage(tmp_path / str(id))
        config = impl.Config(id=id, tick_ms=10, snapshot_entries=0, keep_entries=0)
        nodes[id] = impl.Node(config, storage, network.transport(), Keeps()).start()

    with caplog.at_level(logging.INFO, "raftx"):
        try:
            impl.FileStorage.create(tmp_path / "1", id=1, members={1: "mem:1"})
            start(1)
            nodes[1].wait_leader(WAIT)
            for number in range(20):
                nodes[1].propose(b"%d" % number).result(WAIT)
            made = nodes[1].snapshot().result(WAIT)
            eventually(lambda: nodes[1].status().first > 1)
            impl.FileStorage.create(tmp_path / "2", id=2, join=["mem:1"])
            start(2)
            nodes[1].add_voter(2, "mem:2").result(WAIT)
            assert nodes[2].wait_ready(WAIT)
            eventually(lambda: of(caplog, 1, "peer_connected") and of(caplog, 2, "peer_connected"))
            assert of(caplog, 1, "snapshot_made") == [
                ("snapshot_made", {"node": 1, "index": made.index, "size": made.size})
            ]
            for event in ("snapshot_received", "snapshot_restored"):
                assert of(caplog, 2, event)[0][1]["index"] == made.index
            last = of(caplog, 1, "members_changed")[-1][1]
            assert (last["voters"], last["learners"], last["outgoing"]) == ([1, 2], [], [])
            assert last["index"] == nodes[1]._parts.members.now.index
            assert of(caplog, 1, "peer_connected") == [
                ("peer_connected", {"node": 1, "peer": 2, "address": "an unknown address"})
            ]
        finally:
            for node in nodes.values():
                node.close()


def test_a_peer_that_nobody_listens_for_and_one_whose_host_has_no_name(impl, caplog):
    """With the reason, once each; and when it can be reached."""
    with caplog.at_level(logging.INFO, "raftx"):
        urls = {1: "tcp://127.0.0.1:0", 2: "tcp://127.0.0.1:9", 3: "tcp://no-such-host.invalid:5600"}
        transport = impl.NngTransport(urls[1], peers={2: urls[2], 3: urls[3]}, dial_ms=100)
        node = impl.Node(impl.Config(id=1, tick_ms=10), impl.MemoryStorage([1, 2, 3]), transport, Keeps()).start()
        try:
            eventually(lambda: len({fields["peer"] for _, fields in events(caplog, "peer_lost")}) == 2, 20)
        finally:
            node.close()
    reasons = {fields["peer"]: fields["reason"] for _, fields in events(caplog, "peer_lost")}
    assert "refused" in reasons[2] and "name" in reasons[3]
    assert all(record.levelno == logging.WARNING for record in caplog.records if record.raftx_event == "peer_lost")


def test_who_was_removed_and_cannot_be_reached_is_no_warning(impl, caplog, tmp_path):
    """It is dialled so that it hears of it. A start dials it, too: the log has its addition and its removal."""
    gone = f"tcp://127.0.0.1:{free_port()}"
    storage = impl.FileStorage.create(tmp_path / "1", id=1, members=[1])

    def node_on(storage):
        transport = impl.TcpTransport("tcp://127.0.0.1:0", {}, reconnect_ms=(20, 200))
        return impl.Node(impl.Config(id=1, tick_ms=10), storage, transport, Keeps())

    def levels():
        return [record.levelno for record in caplog.records if getattr(record, "raftx_event", "") == "peer_lost"]

    with caplog.at_level(logging.INFO, "raftx"):
        with node_on(storage) as node:
            node.add_learner(2, gone).result(WAIT)
            eventually(lambda: levels() == [logging.WARNING], 20)
            node.remove(2).result(WAIT)
        caplog.clear()
        with node_on(impl.FileStorage(tmp_path / "1")):
            eventually(levels, 20)
    assert levels() == [logging.INFO]
    (said,) = [record.getMessage() for record in caplog.records if "member 2" in record.getMessage()]
    assert said.startswith(f"node 1: member 2 at {gone}, which is no member here, cannot be reached: ")


def test_what_is_noted_of_connections_waits_until_the_log_is_applied(impl, caplog):
    """Or for some seconds, where it cannot be: nobody leads."""
    assembly, limits, channels = (module(impl, name) for name in ("node.assembly", "_native.limits", "node.channels"))
    notes, gauges, clock = limits.Notes(), channels.ApplyGauges(), impl.ManualClock()
    members = types.SimpleNamespace(tell=lambda: None, hellos=None, ids=lambda: {1, 3})
    chronicle = types.SimpleNamespace(look_at_peers=lambda *_: None)
    peers = {2: "tcp://b:1", 3: "tcp://c:1"}

    def said(replays):
        caplog.clear()
        for id in peers:
            notes.py_put(1, id, 111)
        link, transport = types.SimpleNamespace(notes=notes), types.SimpleNamespace(peers=peers)
        assembly.tell_news(1, transport, link, members, chronicle, replays)
        return [(record.raftx_fields["peer"], record.levelno) for record in caplog.records]

    with caplog.at_level(logging.INFO, "raftx"):
        replays = assembly.replaying(gauges, 7, clock)
        gauges.index = 6
        assert said(replays) == []
        gauges.index = 7
        assert said(replays) == [(2, logging.INFO), (3, logging.WARNING)] * 2
        # Who knows no members yet warns of all.
        members.ids = set
        gauges.index = 0
        clock.advance(5)
        assert said(replays) == [(2, logging.WARNING), (3, logging.WARNING)]


def test_one_of_another_cluster_is_refused_with_the_reason(impl, caplog):
    network = impl.MemoryNetwork()
    nodes = []
    with caplog.at_level(logging.INFO, "raftx"):
        try:
            for id, cluster in ((1, "mine"), (2, "another")):
                config = impl.Config(id=id, cluster=cluster, tick_ms=10)
                nodes.append(impl.Node(config, impl.MemoryStorage([1, 2]), network.transport(), Keeps()).start())
            eventually(lambda: of(caplog, 1, "peer_refused"))
        finally:
            for node in nodes:
                node.close()
    assert of(caplog, 1, "peer_refused")[0][1]["reason"] == "cluster"


def test_what_happens_again_and_again_is_counted(impl, caplog):
    """Twenty lines in ten seconds, and then how many were left out."""
    chronicle = module(impl, "node.chronicle")
    clock = impl.ManualClock()
    made = chronicle.Chronicle(1, clock, module(impl, "node.timeline").Timeline(clock))
    change = impl.StateChange
    with caplog.at_level(logging.INFO, "raftx"):
        for term in range(1, 101):
            made.state(change(term, 2, impl.Role.FOLLOWER))
            made.state(change(term, 0, impl.Role.CANDIDATE))
            clock.advance(0.01)
        assert len(events(caplog, "leader_elected")) == len(events(caplog, "leader_lost")) == 20
        clock.advance(10)
        made.state(change(101, 2, impl.Role.FOLLOWER))
    text = caplog.records[-1].getMessage()
    assert re.search(r"follows member 2, which leads in term 101 \(80 lines of this kind were left out before\)", text)


def test_every_record_has_what_programs_look_for(impl, caplog):
    """A formatter may use both attributes on any line."""
    report = module(impl, "report")
    with caplog.at_level(logging.INFO, "raftx"):
        report.report(logging.INFO, "for %s", "people")
        lines = report.Lines()
        with lines.taken_over():
            report.report(logging.INFO, "later", event="e", node=7)
        lines.write()
    assert [(each.raftx_event, each.raftx_fields) for each in caplog.records] == [("", {}), ("e", {"node": 7})]


@pytest.mark.parametrize("how", ["apply", "snapshot"])
def test_nothing_of_an_entry_is_in_a_line_or_an_exception(impl, caplog, how):
    secret = b"correct-horse-battery"

    class Fails(Keeps):
        def apply(self, entry):
            if how == "apply" and entry.data == secret:
                raise ValueError("cannot take it")

        def snapshot(self):
            raise ValueError("no snapshot")

    with caplog.at_level(logging.DEBUG, "raftx"):
        node = impl.Node(
            impl.Config(id=1, tick_ms=10), impl.MemoryStorage([1]), impl.MemoryNetwork().transport(), Fails()
        ).start()
        node.wait_leader(WAIT)
        future = node.propose(secret)
        error = future.exception(WAIT)
        if how == "snapshot":
            error = node.snapshot().exception(WAIT)
        node.close()
    said = [caplog.text, repr(error), str(error), repr(error.__cause__), repr(node), str(node.failure)]
    assert len(caplog.text) > 50 and "ValueError" in "".join(said)
    assert not [text for text in said if secret.decode() in text]


def test_that_nothing_is_compiled_is_said_once_in_a_process(impl, caplog, monkeypatch):
    """By the first node that is started: as information where somebody wanted it so, else with the remedy."""
    contracts = module(impl, "node.contracts")
    with caplog.at_level(logging.INFO, "raftx"):
        for compiled, pure, levels in ((True, "", []), (False, "1", [logging.INFO])):
            monkeypatch.setitem(contracts._told, "mode", compiled)
            monkeypatch.setenv("RAFTX_PURE", pure)
            for _ in range(2):
                impl.Node(impl.Config(id=1), impl.MemoryStorage([1]), impl.MemoryNetwork().transport()).start().close()
            found = [record for record in caplog.records if record.raftx_event == "interpreted"]
            assert [record.levelno for record in found] == levels
    assert "runs interpreted" in found[0].getMessage() and "RAFTX_PURE" in found[0].getMessage()
    if impl.__name__ == "raftx":
        caplog.clear()
        monkeypatch.setitem(contracts._told, "mode", False)
        monkeypatch.setenv("RAFTX_PURE", "0")
        contracts.tell_mode(3)
        assert caplog.records[-1].levelno == logging.WARNING and "C compiler" in caplog.records[-1].getMessage()
    assert (module(impl, "_core").__file__.endswith(".so")) == impl.COMPILED
