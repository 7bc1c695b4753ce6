"""What a node says of a storage and a transport that have less than the protocols, and of addresses that are none."""

import logging
import types
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from tests.helpers.implementations import module
from tests.helpers.paths import ROOT
from tests.helpers.waiting import WAIT, eventually

URL = "tcp://127.0.0.1:5601"
OTHER = "tcp://127.0.0.1:5602"


def handed_on(inner, *names):
    """An object with these methods of another one, and no other."""
    return type("Partial", (), {name: staticmethod(getattr(inner, name)) for name in names})()


SNAPSHOTS = ("begin_snapshot", "open_snapshot", "receive_snapshot", "begin_behind")
BASIC = ("open", "append", "sync", "compact", "close")


class Counts:
    """A state machine; ``Keeps`` has snapshots, too."""

    def __init__(self):
        self.value = 0

    def apply(self, entry):
        self.value += 1
        return self.value


class Keeps(Counts):
    def snapshot(self):
        return b"%d" % self.value

    def restore(self, reader):
        self.value = int(reader.read())


def started(impl, storage, transport=None, machine=None, **settings):
    transport = transport or impl.MemoryNetwork().transport()
    return impl.Node(impl.Config(id=1, tick_ms=10, **settings), storage, transport, machine or Counts()).start()


# --- storages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "machine", "said"),
    [
        ((), Counts, ["keep_addresses()", "remember() and forgotten()"]),
        (("remember", "forgotten"), Counts, ["keep_addresses()"]),
        (("keep_addresses",), Counts, ["remember() and forgotten()"]),
        (("keep_addresses", "remember", "forgotten"), Counts, []),
        # Its log begins behind snapshots, which have the addresses.
        (SNAPSHOTS, Keeps, ["remember() and forgotten()"]),
        (SNAPSHOTS, Counts, ["keep_addresses()", "remember() and forgotten()"]),
    ],
)
def test_a_node_says_what_its_storage_lacks(impl, caplog, more, machine, said):
    with caplog.at_level(logging.WARNING, "raftx"):
        started(impl, handed_on(impl.MemoryStorage([1]), *BASIC, *more), machine=machine()).close()
    lines = [record.getMessage() for record in caplog.records if " has no " in record.getMessage()]
    assert len(lines) == len(said)
    for line, name in zip(lines, said):
        assert line.startswith(f"node 1: the storage, Partial, has no {name}: ") and "raftx.storage.protocol." in line


def test_a_node_says_that_its_log_stays_for_ever(impl, caplog):
    with caplog.at_level(logging.WARNING, "raftx"):
        started(impl, handed_on(impl.MemoryStorage([1]), "open", "append", "sync", "close")).close()
    assert "node 1: the storage, Partial, has no compact(): the log stays on disk for ever" in caplog.text


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        (("begin_snapshot", "open_snapshot"), "receive_snapshot, begin_behind"),
        (("remember",), "forgotten"),
        (("forgotten",), "remember"),
    ],
)
def test_a_half_of_what_belongs_together_is_refused(impl, more, missing):
    storage = handed_on(impl.MemoryStorage([1]), *BASIC, *more)
    with pytest.raises(impl.ConfigError, match=f"storage must have all of the methods .*, or none, .*lacks {missing}"):
        impl.Node(impl.Config(id=1), storage, impl.MemoryNetwork().transport())


@pytest.mark.parametrize(("has", "lacks"), [("add_peer", "remove_peer"), ("remove_peer", "add_peer")])
def test_a_half_of_what_a_transport_needs_for_members_that_come(impl, has, lacks):
    transport = handed_on(impl.MemoryNetwork().transport(), "start", "send", "close", has)
    with pytest.raises(impl.ConfigError, match=f"transport must have all of the methods .*Partial lacks {lacks}"):
        impl.Node(impl.Config(id=1), impl.MemoryStorage([1]), transport)


def test_addresses_outlast_the_entries_that_said_them(impl):
    """A MemoryStorage keeps them: a member is reached after a restart, and it is known which entry has added it."""
    storage = impl.MemoryStorage([1])
    node = started(impl, storage)
    node.wait_leader(WAIT)
    node.add_learner(2, "mem:2").result(WAIT)
    index = node.propose(b"a").result(WAIT).index
    assert node.compact(index).result(WAIT) == index
    node.propose(b"b").result(WAIT)
    joined = node._parts.members.now.joined
    node.close()
    node = started(impl, storage)
    try:
        assert node._parts.members.now.addresses == {2: "mem:2"} and node._parts.members.now.joined == joined
        eventually(lambda: node.status().first == index + 1)
    finally:
        node.close()


# --- transports ---------------------------------------------------------------------------------------


def test_a_transport_with_a_fixed_set_of_peers_is_named_when_that_is_not_enough(impl, caplog):
    transport = handed_on(impl.MemoryNetwork().transport(), "start", "send", "close")
    transport.peers = {1: "mem:1", 2: "mem:2"}
    with caplog.at_level(logging.WARNING, "raftx"):
        node = started(impl, impl.MemoryStorage([1]), transport)
        try:
            node.wait_leader(WAIT)
            node.add_learner(2, "mem:2").result(WAIT)
            assert "add_peer" not in caplog.text  # it was told of that one
            node.add_learner(3, "mem:3").result(WAIT)
            eventually(lambda: "add_peer" in caplog.text)
            node.move(2, "mem:22").result(WAIT)
            node.add_learner(4, "mem:4").result(WAIT)
            node.propose(b"").result(WAIT)
        finally:
            node.close()
    lines = [record.getMessage() for record in caplog.records if "add_peer" in record.getMessage()]
    assert len(lines) == 1 and "member 3 is at 'mem:3'" in lines[0]
    assert "has no add_peer(id, address) and remove_peer(id)" in lines[0] and "raftx.Transport" in lines[0]


WRONG = ("http://10.0.0.4:80", "tcp://10.0.0.4", "tcp://10.0.0.4:0", "tcp://:5600", "tcp://a b:1", "10.0.0.4:5600")


@pytest.mark.parametrize("url", WRONG)
def test_an_address_that_cannot_be_one_is_refused_where_it_is_given(impl, url):
    """It names the field, the fault and the remedy, and nothing is changed."""
    kinds = impl.ConfChangeKind
    node = started(impl, impl.MemoryStorage([1]), impl.NngTransport("tcp://127.0.0.1:0"))
    try:
        node.wait_leader(WAIT)
        for call in (
            lambda: node.add_voter(4, url),
            lambda: node.add_learner(4, url),
            lambda: node.move(1, url),
        ):
            with pytest.raises(impl.ConfigError, match=r"^url has the address .*, as in tcp://"):
                call()
        with pytest.raises(impl.ConfigError, match=r"^addresses: 4 has the address .*, as in tcp://"):
            node.change_configuration([impl.ConfChangeSingle(kinds.ADD_LEARNER, 4)], {4: url})
        assert node.configuration == impl.ConfState(voters=(1,))
        # What can be one is taken, and so is none: every transport may know.
        node.add_learner(4, "tcp://127.0.0.1:1").result(WAIT)
        node.add_learner(5).result(WAIT)
    finally:
        node.close()


class Particular:
    """A transport on a memory network that takes certain addresses only."""

    def __init__(self, inner):
        self.inner = inner
        self.start, self.send, self.close = inner.start, inner.send, inner.close
        self.add_peer, self.remove_peer = inner.add_peer, inner.remove_peer

    def check_address(self, address, field):
        if not address.startswith("mem:"):
            error = module_of(self.inner).ConfigError
            raise error(f"{field} has the address {address!r}: it must begin with mem:")


def module_of(transport):
    """The implementation that an object is of."""
    import sys

    return sys.modules[type(transport).__module__.partition(".")[0]]


def test_a_leader_refuses_an_address_that_its_transport_cannot_take(impl, caplog):
    """Another member whose own transport takes everything asks for it: it is not done, at once, with the reason."""
    network = impl.MemoryNetwork()
    nodes = {}
    kinds = impl.ConfChangeKind
    try:
        for id in (1, 2, 3):
            transport = network.transport()
            config = impl.Config(id=id, tick_ms=10, priority=5 if id == 1 else 0)
            transport = Particular(transport) if id == 1 else transport
            nodes[id] = impl.Node(config, impl.MemoryStorage([1, 2, 3]), transport, Counts()).start()
        eventually(lambda: nodes[1].is_leader and nodes[2].leader_id == 1)
        with caplog.at_level(logging.WARNING, "raftx"):
            for future in (
                nodes[2].add_learner(4, "http://x", timeout=WAIT),
                nodes[2].add_voter(4, "http://x", timeout=WAIT),
                nodes[2].move(3, "http://x", timeout=WAIT),
                nodes[2].change_configuration(
                    [impl.ConfChangeSingle(kinds.ADD_LEARNER, 4)], {4: "http://x"}, timeout=WAIT
                ),
            ):
                with pytest.raises(impl.NotDone, match=r"the leader's transport says that an address in it cannot be"):
                    future.result(WAIT / 2)
        assert "a change of membership is refused: the address of member 4 has the address 'http://x'" in caplog.text
        assert nodes[1].configuration == nodes[2].configuration == impl.ConfState(voters=(1, 2, 3))
        # Good ones, and changes without addresses, go on as ever.
        nodes[2].add_learner(4, "mem:4").result(WAIT)
        nodes[2].move(3, "mem:3").result(WAIT)
        nodes[2].remove(4).result(WAIT)
        assert nodes[2].configuration == impl.ConfState(voters=(1, 2, 3))
        assert nodes[1]._parts.members.now.addresses[3] == "mem:3"
    finally:
        for node in nodes.values():
            node.close()


def test_a_leader_judges_what_it_does_not_understand_as_none(impl):
    """Bytes that are no change of a Node's are left to those who understand them."""
    members, changes = module(impl, "node.members"), module(impl, "node.changer")
    directory = members.Directory(1, Particular(impl.MemoryNetwork().transport()))
    step = changes.Step(((3, 4),), {4: "mem:4"})
    assert directory.fits(step.record())
    assert not directory.fits(changes.Step(((3, 4),), {4: "tcp:4"}).record())
    assert not directory.fits(b"no record")
    assert members.Directory(1, object()).fits(b"no record")


# --- first voters ----------------------------------------------------------------------------------------


def test_a_first_voter_that_cannot_be_reached_is_an_error_of_the_constructor(impl, tmp_path):
    urls = {1: URL, 2: "tcp://127.0.0.1:5602"}
    storages = [impl.MemoryStorage([1, 2, 3])]
    storages.append(impl.FileStorage.create(tmp_path / "n", id=1, members=[1, 2, 3]))
    for storage in storages:
        with pytest.raises(impl.ConfigError, match=r"peers must have an address for each .*and has none for 3: add it"):
            impl.Node(impl.Config(id=1), storage, impl.NngTransport(URL, peers=urls))
    # Where nobody is named they come later; this node's own address is needed by others only; a learner may be told of.
    impl.Node(impl.Config(id=1), impl.MemoryStorage([1, 2, 3]), impl.NngTransport(URL))
    impl.Node(impl.Config(id=1), impl.MemoryStorage([1, 2]), impl.NngTransport(URL, peers={2: urls[2]}))
    impl.Node(impl.Config(id=1), impl.MemoryStorage([1], [9]), impl.NngTransport(URL, peers={2: urls[2]}))


def test_an_address_of_the_founding_that_cannot_be_dialled_is_one_too(impl, tmp_path):
    members = {1: URL, 2: "http://127.0.0.1:5602"}
    storage = impl.FileStorage.create(tmp_path / "n", id=1, members=members)
    with pytest.raises(
        impl.ConfigError,
        match=r"member 2 was founded with has the address 'http:.*No node has opened .*n yet: remove it, and found",
    ):
        impl.Node(impl.Config(id=1), storage, impl.NngTransport(URL))
    impl.Node(impl.Config(id=1), storage, impl.MemoryNetwork().transport())


def test_founders_are_told_until_a_node_has_opened_it(impl, tmp_path):
    conf_state = impl.ConfState(voters=(1,), learners=(2,))
    file = impl.FileStorage.create(tmp_path / "n", id=1, members={1: URL}, learners={2: OTHER})
    assert file.founders() == (conf_state, {1: URL, 2: OTHER})
    memory = impl.MemoryStorage([1], [2])
    assert memory.founders() == (conf_state, {})
    for storage in (file, memory):
        started(impl, storage).close()
        assert storage.founders() is None
    assert impl.FileStorage(tmp_path / "none").founders() is None
    (tmp_path / "n" / "founding").write_bytes(b"?")
    assert impl.FileStorage(tmp_path / "n").founders() is None
    assert impl.FileStorage.create(tmp_path / "j", id=4, join=[URL]).founders() is None


# --- the interpreter ----------------------------------------------------------------------------------


def test_a_python_without_the_gil_is_refused(impl, monkeypatch):
    """Two threads at once in what counts on the lock would lose outcomes, and nobody would notice."""
    monkeypatch.setattr("sys._is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(impl.UsageError, match=r"start it with PYTHON_GIL=1, or -X gil=1"):
        impl.Node(impl.Config(id=1), impl.MemoryStorage(voters=[1]), impl.MemoryNetwork().transport(), Counts())
    monkeypatch.setattr("sys._is_gil_enabled", lambda: True, raising=False)
    started(impl, impl.MemoryStorage(voters=[1])).close()


def test_an_installed_package_that_is_hidden_is_named(impl, tmp_path, monkeypatch, caplog):
    """Beside a clone Python imports the clone: what to do is another thing than to install it once more."""
    interpreted, contracts = module(impl, "interpreted"), module(impl, "node.contracts")
    site = tmp_path / "site"
    (site / "raftx").mkdir(parents=True)
    monkeypatch.setenv("RAFTX_PURE", "")
    monkeypatch.setattr("sys.path", [str(ROOT), str(tmp_path / "none"), "", str(site)])
    # What another Python has compiled does not count, and neither does what is imported here.
    (site / "raftx" / "_core.cpython-20-x86_64-linux-gnu.so").touch()
    wanted, why = interpreted.why("raftx")
    assert not wanted and f"imported from {ROOT / 'raftx'}. Install it where there is a C compiler" in why
    (site / "raftx" / f"_core{EXTENSION_SUFFIXES[0]}").touch()
    wanted, why = interpreted.why("raftx")
    assert not wanted and "C compiler" not in why
    assert f"{ROOT / 'raftx'}, which is not compiled, hides the installed one in {site / 'raftx'}" in why
    assert f"keep your program outside of {ROOT} and start it elsewhere" in why
    # The copy that is loaded interpreted beside the other one, and whoever asks for it, want it so.
    assert interpreted.why("raftx_pure")[0] and "RAFTX_PURE" in interpreted.why("raftx_pure")[1]
    monkeypatch.setitem(contracts._told, "mode", False)
    contracts.tell_mode(3)
    (said,) = [record for record in caplog.records if record.levelno == logging.WARNING] or [None]
    assert (said is None) == (impl.__name__ != "raftx")
    assert said is None or (why in said.getMessage() and said.raftx_event == "interpreted")
    monkeypatch.setenv("RAFTX_PURE", "1")
    assert interpreted.why("raftx") == interpreted.why("raftx_pure")


def test_another_python_and_another_system_are_refused(impl, monkeypatch):
    """PyPy changes threads anywhere; and where there is no eventfd, nothing could wake anybody."""
    outside = impl.Config(id=1), impl.MemoryStorage(voters=[1]), impl.MemoryNetwork().transport(), Counts()
    with monkeypatch.context() as patched:
        patched.setattr("sys.implementation", types.SimpleNamespace(name="pypy"))
        with pytest.raises(impl.UsageError, match=r"a node needs CPython on Linux, and this is pypy on linux: run it"):
            impl.Node(*outside)
    with monkeypatch.context() as patched:
        patched.delattr("os.eventfd")
        with pytest.raises(impl.UsageError, match=r"a node needs CPython on Linux"):
            impl.Node(*outside)
    impl.Node(*outside)
