"""Arguments of the wrong kind or size: an error of raftx's that names the argument, the range, and what was given."""

import re
from types import SimpleNamespace

import pytest

from tests.helpers.implementations import module
from tests.helpers.life import Machine, Storage, make

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


def timeouts(call):
    """A call of a node that is not started, with a timeout."""

    def made(impl, path):
        one = make(impl)
        call(impl, one)

    return made


#: by what the text begins with: the call, the words of the text (range, remedy), and what was given
WRONG = [
    ("id must be an integer", config(id="1"), "in 1..9223372036854775807", "'1'"),
    ("cluster must be 16 bytes", config(cluster="raftx"), "the same for all members", "'raftx'"),
    ("cluster must be 16 bytes", config(cluster=b"short"), "", "b'short'"),
    ("election_ticks must", config(election_ticks=1), "in 2..100000 (more than heartbeat_ticks)", "1"),
    ("max_inflight_bytes must", config(max_inflight_bytes=9), "(at least max_message_bytes)", "9"),
    ("max_waiting_bytes must", config(max_waiting_bytes=None), "(at least max_entry_bytes)", "None"),
    ("pre_vote must be True or False", config(pre_vote=1), "", "1"),
    ("lease_reads=True needs check_quorum=True", config(lease_reads=True, check_quorum=False), "", ""),
    ("config must be a raftx.Config", node(config={"id": 1}), "", "dict"),
    ("state_machine must be an object with a method apply", node(state_machine=5), "", "int"),
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
    ("segment_bytes must be", directory([1], segment_bytes=True), "65536..1099511627776", "True"),
    ("segment_bytes must be", directory([1], segment_bytes=100), "", "100"),
    ("accept_loss must be", directory([1], accept_loss="no"), "", "'no'"),
    ("listen must be an address", transport(5601, {}), "such as tcp://", "5601"),
    ("peers must be a mapping", transport(ADDRESS, [OTHER]), "such as {2: 'tcp://", repr([OTHER])),
    ("peers must be a mapping", transport(ADDRESS, None), "", "None"),
    ("peers: 2 must be an address", transport(ADDRESS, {2: 5}), "", "5"),
    ("peers: at most 64", transport(ADDRESS, dict.fromkeys(range(2, 67), OTHER)), "", "65"),
    ("reconnect_ms must be two integers", transport(ADDRESS, {}, reconnect_ms=5), "1 <= shortest", "5"),
    ("reconnect_ms must be two integers", transport(ADDRESS, {}, reconnect_ms=(1.5, 9)), "", "(1.5, 9)"),
    ("max_strangers must", transport(ADDRESS, {}, max_connections=4, max_strangers=4), "1..3 (less than", "4"),
    ("config must be a raftx.Config", raw(config=None), "", "None"),
    ("log must be an object of the class EntryLog", raw(log=[]), "", "[]"),
    ("hard_state must be", raw(hard_state=5), "HardState", "5"),
    ("conf_state must be", raw(conf_state=[1, 2]), "ConfState", "[1, 2]"),
    ("snapshot must be", raw(snapshot=b"state"), "Snapshot", "b'state'"),
    ("applied must be an integer in 0..2^63-1", raw(applied="1"), "", "'1'"),
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
    kind = impl.UsageError if begins.startswith("timeout") else impl.ConfigError
    with pytest.raises(kind, match="^" + re.escape(begins)) as raised:
        call(impl, tmp_path / "n")
    text = str(raised.value)
    assert has in text
    assert text.endswith(given), text
