"""Arguments of the wrong kind or size: an error of raftx's that names the argument, the range, and what was given."""

import os
import re
from types import SimpleNamespace

import pytest

from tests.helpers.implementations import module
from tests.helpers.life import Machine, Storage, make
from tests.helpers.storages import founded
from tests.helpers.waiting import WAIT, eventually

ADDRESS = "tcp://127.0.0.1:0"
OTHER = "tcp://127.0.0.1:5601"
SMALL = SimpleNamespace(max_frame_bytes=1000)
RAISE = "lower it, or raise max_frame_bytes of the transport"


def nothing(impl, **other):
    """What a Node is made of."""
    network = module(impl, "transport.memory").MemoryNetwork()
    made = {"config": impl.Config(id=1), "storage": Storage(impl), "transport": network.transport()}
    return {**made, "state_machine": Machine(), **other}


def node(**wrong):
    return lambda impl, path: impl.Node(**nothing(impl, **wrong))


def config(**wrong):
    return lambda impl, path: impl.Config(**{"id": 1, **wrong})


def storage(*members, **options):
    return lambda impl, path: impl.MemoryStorage(*members, **options)


def directory(*members, **options):
    return lambda impl, path: impl.FileStorage.create(
        **{"path": path, "id": 1, "members": [1], **options, **dict(zip(("members", "learners"), members))}
    )


def transport(*arguments, **options):
    return lambda impl, path: impl.NngTransport(*arguments, **options)


def raw(**wrong):
    return lambda impl, path: impl.RawNode(**{"config": impl.Config(id=1), **wrong})


class Gives(os.PathLike):
    """A path-like object that gives this."""

    def __init__(self, given):
        self.given = given

    def __fspath__(self):
        return self.given

    def __repr__(self):
        return f"Gives({self.given!r})"


def opened(make, id, cluster):
    """A storage of this kind is opened."""

    def made(impl, path):
        make(impl, path).open(id, impl.Config(id=1).cluster if cluster is None else cluster)

    return made


def network(call, **options):
    return lambda impl, path: call(module(impl, "transport.memory").MemoryNetwork(**options))


def moved(what, **options):
    """A directory that is moved by hand."""
    return lambda impl, path: getattr(module(impl, f"storage.{what}"), what)(**options)


class Half(Machine):
    """With this besides."""

    def __init__(self, **more):
        super().__init__()
        vars(self).update(more)

    def __repr__(self):
        return "half"


async def waits(*_):
    return b""


def yields(*_):
    yield b""


async def streams(*_):
    yield b""


def timeouts(call):
    """A call of a node that is not started, with a timeout."""

    def made(impl, path):
        one = make(impl)
        call(impl, one)

    return made


#: by what the text begins with: the call, the words of the text (range, remedy), and what was given
WRONG = [
    ("id must be an integer", config(id="1"), "in 1..9223372036854775807", "'1'"),
    ("cluster must be text without NUL, or 1..16", config(cluster=""), "the same for all members", "''"),
    ("cluster must be text without NUL, or 1..16", config(cluster=b""), "", "b''"),
    ("cluster must be text without NUL, or 1..16", config(cluster="a\0"), "", r"'a\x00'"),
    ("cluster must be text without NUL, or 1..16", config(cluster="\ud800"), "", r"'\ud800'"),
    ("cluster must be text without NUL, or 1..16", config(cluster=bytes(17)), "", repr(bytes(17))),
    ("cluster must be text without NUL, or 1..16", config(cluster=7), "", "7"),
    ("election_ticks must", config(election_ticks=1), "in 2..100000 (more than heartbeat_ticks)", "1"),
    ("max_inflight_bytes must", config(max_inflight_bytes=9), "(at least max_message_bytes)", "9"),
    ("max_waiting_bytes must", config(max_waiting_bytes=None), "(at least max_entry_bytes)", "None"),
    ("pre_vote must be True or False", config(pre_vote=1), "", "1"),
    ("lease_reads=True needs check_quorum=True", config(lease_reads=True, check_quorum=False), "", ""),
    ("config must be a raftx.Config", node(config={"id": 1}), "", "dict"),
    ("state_machine must be an object with a method apply", node(state_machine=5), "", "int"),
    ("state_machine has snapshot() and no restore()", node(state_machine=Half(snapshot=bytes)), "Give", "neither"),
    ("state_machine has restore() and no snapshot()", node(state_machine=Half(restore=print)), "grow", "neither"),
    ("state_machine.snapshot must be a method", node(state_machine=Half(snapshot=b"x", restore=print)), "", "b'x'"),
    ("state_machine.restore must be an ordinary", node(state_machine=Half(snapshot=bytes, restore=waits)), "await", ""),
    ("state_machine.restore must be an ordinary", node(state_machine=Half(snapshot=bytes, restore=yields)), "", "run"),
    ("state_machine.apply must be an ordinary", node(state_machine=Half(apply=yields)), "nothing of it would run", ""),
    ("state_machine.apply_batch must be an ordinary", node(state_machine=Half(apply_batch=yields)), "yield", ""),
    ("state_machine.snapshot must be an ordinary", node(state_machine=Half(snapshot=streams)), "async def", ""),
    ("state_machine.version must be an integer", node(state_machine=Half(version="2")), "63-1, not '2'", "changes"),
    ("state_machine.version must be an integer", node(state_machine=Half(version=True)), "not True: raise it", ""),
    ("clock must be", node(clock=5), "ManualClock", "int"),
    ("executor must have the methods", node(executor=5), "", "5"),
    ("storage must be", node(storage="data"), "open, append, sync, close", "str"),
    ("max_entry_bytes must be at most", node(transport=SMALL), "max_frame_bytes=1000 can carry, not 1048576", RAISE),
    ("the transport's max_frame_bytes must be", node(transport=SimpleNamespace(max_frame_bytes="4M")), "", "'4M'"),
    ("voters must be the ids of members", storage(5), "such as [1, 2, 3]", "5"),
    ("voters must be the ids of members", storage(None), "", "None"),
    ("voters must be the ids of members", storage("123"), "", "'123'"),
    ("learners must be the ids of members", storage([1], 2), "", "2"),
    ("voters must be ids", storage([1, "2"]), "in 1..9223372036854775807", "'2'"),
    ("voters must be ids", storage([1.0]), "", "1.0"),
    ("learners must be ids", directory([1], [0]), "", "0"),
    ("members and learners must be different ids", directory([1, 2], [2]), "", "2 is there more than once"),
    ("voters must name at least one", storage(), "", "none"),
    ("sync_delay must be", storage([1], sync_delay="1"), "at least 0", "'1'"),
    ("path must be", directory([1], path=5), "pathlib.Path", "5"),
    ("path must be", directory([1], path=None), "", "None"),
    ("path must be", directory([1], path=Gives(b"here")), "a str or a pathlib.Path", "Gives(b'here')"),
    ("path must be", directory([1], path=Gives("")), "", "Gives('')"),
    ("path must be", directory([1], path=Gives(5)), "", "Gives(5)"),
    ("path must not have a NUL", directory([1], path="a\0b"), "no file name has", repr("a\0b")),
    ("path must be text that a file name can hold", directory([1], path="\ud800"), "without lone", repr("\ud800")),
    ("path must be", moved("rebuild", path=""), "a member's directory", "''"),
    ("path must be", moved("recover", path="", accept_loss=True), "a member's directory", "''"),
    ("path must be", moved("look", given=""), "a member's directory", "''"),
    ("path must be", lambda impl, path: impl.FileStorage.restore("", "f", id=1, members=[1]), "a directory", "''"),
    ("path must be", moved("rebuild", path=None), "pathlib.Path", "None"),
    ("path must not have a NUL", moved("recover", path="a\0b"), "no file name has", repr("a\0b")),
    ("disk must be None or have the methods", directory([1], disk=5), "raftx.storage.disk.Disk", "5"),
    ("disk must be None or have the methods", directory([1], disk=SimpleNamespace(exists=len)), "", "len>)"),
    ("segment_bytes must be", directory([1], segment_bytes=True), "65536..1099511627776", "True"),
    ("segment_bytes must be", directory([1], segment_bytes=100), "", "100"),
    ("accept_loss must be", directory([1], accept_loss="no"), "", "'no'"),
    ("id must be an integer", opened(directory([1]), 0, None), "as Config.id", "0"),
    ("id must be an integer", opened(directory([1]), True, None), "in 1..9223372036854775807, as Config", "True"),
    ("id must be an integer", opened(storage([1]), "1", None), "as Config.id", "'1'"),
    ("id must be an integer", opened(storage([1]), 2**63, None), "as Config.id", str(2**63)),
    ("cluster must be 16 bytes", opened(directory([1]), 1, -1), "as Config.cluster", "-1"),
    ("cluster must be 16 bytes", opened(directory([1]), 1, b"short"), "as Config", "b'short'"),
    ("cluster must be 16 bytes", opened(storage([1]), 1, "x" * 16), "as Config.cluster", repr("x" * 16)),
    ("cluster must be 16 bytes", opened(storage([1]), 1, b""), "as Config", "b''"),
    ("listen must be an address", transport(5601, {}), "such as tcp://", "5601"),
    ("peers must be a mapping", transport(ADDRESS, [OTHER]), "such as {2: 'tcp://", repr([OTHER])),
    ("peers must be a mapping", transport(ADDRESS, None), "", "None"),
    ("peers: 2 must be an address", transport(ADDRESS, {2: 5}), "", "5"),
    ("peers: at most 64", transport(ADDRESS, dict.fromkeys(range(2, 67), OTHER)), "", "65"),
    ("reconnect_ms must be two integers", transport(ADDRESS, {}, reconnect_ms=5), "1 <= shortest", "5"),
    ("reconnect_ms must be two integers", transport(ADDRESS, {}, reconnect_ms=(1.5, 9)), "", "(1.5, 9)"),
    ("max_strangers must", transport(ADDRESS, {}, max_connections=4, max_strangers=4), "1..3 (less than", "4"),
    ("use_gil must be True or False", transport(ADDRESS, {}, use_gil="no"), "", "'no'"),
    ("use_gil must be True or False", transport(ADDRESS, {}, use_gil=None), "", "None"),
    ("id must be an integer", lambda impl, path: impl.NngTransport(ADDRESS, {}).remove_peer([]), "in 1..", "[]"),
    ("id must be an integer", lambda impl, path: impl.NngTransport(ADDRESS, {}).remove_peer(0), "", "0"),
    ("id must be an integer", lambda impl, path: impl.NngTransport(ADDRESS, {}).add_peer("2", OTHER), "", "'2'"),
    ("id must be an integer", network(lambda net: net.transport().remove_peer([])), "in 1..", "[]"),
    ("id must be an integer", network(lambda net: net.transport().add_peer(None, "")), "", "None"),
    ("id must be an integer", network(lambda net: net.cut(1, "2")), "", "'2'"),
    ("id must be an integer", network(lambda net: net.partition([1], [2.0])), "", "2.0"),
    ("groups must be ids of members", network(lambda net: net.partition(1, 2)), "such as [1, 2]", "1"),
    ("groups must be ids of members", network(lambda net: net.partition("12")), "", "'12'"),
    ("seed must be an integer", network(lambda net: None, seed=None), "", "None"),
    ("loss must be a probability", network(lambda net: net.set_faults(loss="0.1")), "a number in 0..1", "'0.1'"),
    ("duplicate must be a probability", network(lambda net: net.set_faults(duplicate=float("nan"))), "", "nan"),
    ("delay must be two numbers of seconds", network(lambda net: net.set_faults(delay=0.1)), "0 <= shortest", "0.1"),
    ("delay must be two numbers of seconds", network(lambda net: net.set_faults(delay=(1, "2"))), "", "(1, '2')"),
    ("config must be a raftx.Config", raw(config=None), "", "None"),
    ("log must be an object of the class EntryLog", raw(log=[]), "", "[]"),
    ("hard_state must be", raw(hard_state=5), "HardState", "5"),
    ("conf_state must be", raw(conf_state=[1, 2]), "ConfState", "[1, 2]"),
    ("snapshot must be", raw(snapshot=b"state"), "Snapshot", "b'state'"),
    ("applied must be an integer in 0..2^63-1", raw(applied="1"), "", "'1'"),
    ("async_storage_writes must be True or False", raw(async_storage_writes=1), "", "1"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: one.close("5")), "", "'5'"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: one.close(None)), "", "None"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: one.wait("5")), "or None for no limit", "'5'"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: one.wait(float("nan"))), "", "nan"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: one.wait(10**400)), "", "0000"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: one.committed.next("5")), "", "'5'"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: one.committed.next(float("nan"))), "", "nan"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: one.state_changes.next(True)), "", "True"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: one.state_changes.next([])), "", "[]"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: impl.Future().result("5")), "", "'5'"),
    ("timeout must be a number of seconds", timeouts(lambda impl, one: impl.Future().exception([])), "", "[]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("begins", "call", "has", "given"),
    [pytest.param(*each, id=f"{number} {each[0]}") for number, each in enumerate(WRONG)],
)
def test_what_is_wrong_is_named(impl, tmp_path, begins, call, has, given):
    kind = impl.UsageError if begins.startswith("timeout") or "as Config" in has else impl.ConfigError
    with pytest.raises(kind, match="^" + re.escape(begins)) as raised:
        call(impl, tmp_path / "n")
    text = str(raised.value)
    assert has in text
    assert text.endswith(given), text


def test_what_is_refused_leaves_nothing_behind(impl, tmp_path):
    """A storage that was opened with what is no id or no cluster can be opened as before, and nothing is changed."""
    path = tmp_path / "n"
    for one in (founded(impl, path, [1], cluster=bytes(16)), impl.MemoryStorage([1])):
        before = {each.name: each.read_bytes() for each in path.iterdir()}
        with pytest.raises(impl.UsageError):
            one.open(0, bytes(16))
        assert {each.name: each.read_bytes() for each in path.iterdir()} == before
        assert one.open(1, bytes(16)).incarnation == 1
        one.close()


@pytest.mark.parametrize("path", ["\udc80", b"\xff".decode("utf-8", "surrogateescape")])
def test_a_path_that_the_system_has_is_taken(impl, tmp_path, path):
    """Bytes that are no UTF-8 are names all the same."""
    one = founded(impl, tmp_path / path, [1], cluster=bytes(16))
    assert one.open(1, bytes(16)).incarnation == 1
    one.close()


@pytest.fixture
def leader(impl):
    with impl.Node(**nothing(impl, config=impl.Config(id=1, tick_ms=10, max_entry_bytes=100))) as one:
        eventually(lambda: one.is_leader)
        yield one


def released():
    made = memoryview(b"abc")
    made.release()
    return made


def test_data_that_cannot_be_proposed(impl, leader):
    """The call raises, nothing is taken, and the node goes on."""
    proposed = [
        (leader.propose, None, TypeError, "data must be bytes, bytearray or memoryview, not NoneType"),
        (leader.propose, released(), impl.UsageError, "data must be a memoryview that has not been released"),
        (leader.propose, bytes(101), impl.EntryTooLarge, "max_entry_bytes=100: split them, or raise Config.max_entry"),
        (leader.propose_many, None, TypeError, "datas must be several commands, such as a list of bytes, not NoneType"),
        (leader.propose_many, b"abc", TypeError, "datas must be .* not bytes: a single command goes to propose"),
        (leader.propose_many, memoryview(b"abc"), TypeError, "datas must be .* not memoryview"),
        (leader.propose_many, "abc", TypeError, "datas must be .* not str"),
        (leader.propose_many, 5, TypeError, "datas must be .* not int"),
        (leader.propose_many, [b"a", 5], TypeError, r"datas\[1\] must be bytes, bytearray or memoryview, not int"),
        (
            leader.propose_many,
            [b"a", released()],
            impl.UsageError,
            r"datas\[1\] must be a memoryview that has not",
        ),
        (leader.propose_many, [b"a", bytes(101)], impl.EntryTooLarge, "on every member"),
    ]
    for call, given, kind, text in proposed:
        with pytest.raises(kind, match=text):
            call(given)
    assert leader.propose(memoryview(b"abcdef")[::2]).result(WAIT).index == leader.applied_index
    assert len(leader.propose_many(iter([b"a", bytearray(b"b"), memoryview(b"c")])).result(WAIT)) == 3
    assert leader.status().pending == 0


def test_what_a_future_does_not_take(impl):
    future = impl.Future()
    with pytest.raises(TypeError, match="error must be an exception, not 'no'"):
        future.set_exception("no")
    with pytest.raises(TypeError, match="fn must be something to call with the future, not 5"):
        future.add_done_callback(5)
    assert not future.done()
    future.set_result(5)
    assert future.result(0) == 5


def test_which_of_several_commands_is_none_is_said(impl, leader):
    with pytest.raises(TypeError, match=r"datas\[1\] must be bytes, bytearray or memoryview, not int"):
        leader.propose_many([b"a", 5])
    with pytest.raises(TypeError, match=r"datas\[2\] must be bytes"):
        leader.propose_many([b"a", bytearray(b"b"), "c"], timeout=1)


def test_more_commands_than_one_call_may_have_are_told_as_that(impl):
    node = impl.Node(
        impl.Config(id=1, tick_ms=10, max_open_proposals=4), impl.MemoryStorage([1]), impl.MemoryNetwork().transport()
    )
    with node:
        node.wait_ready(20)
        for timeout in (None, 5):
            future = node.propose_many([b"x"] * 5, timeout=timeout)
            with pytest.raises(
                impl.NotDone, match=r"5 proposals .* at most max_open_proposals=4: propose fewer at once"
            ):
                future.result(20)


def test_an_empty_name_of_a_session_is_shown_as_it_was_given(impl, leader):
    for name in ("", b""):
        with pytest.raises(impl.UsageError, match=f"not {name!r}$"):
            leader.session(name)
