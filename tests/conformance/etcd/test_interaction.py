"""The runner for interaction scripts: how it prints, what it refuses, and scripts in both modes.

The scripts under tests/data/scripts/interaction are raftx's own; what they expect was printed by etcd's environment
(rafttest of go.etcd.io/raft/v3 3.7.0), but for its log.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from interop import datadriven, describe, interaction
from interop.confchange_scripts import ChangeError, parse_changes
from interop.datadriven import Block, ScriptError, parse_command
from interop.interaction import normal
from interop.interaction_members import protobuf_size
from raftx.types import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_READ_INDEX,
    MSG_SNAP,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPLY_RESP,
    MSG_TRANSFER_LEADER,
    MSG_VOTE_RESP,
)
from tests.helpers.implementations import module
from tests.helpers.script_files import SCRIPTS, peer_scripts


def agrees(path: Path, impl: ModuleType) -> None:
    """The script prints what it says, but for its log."""
    differences = datadriven.run(path, interaction.make(impl), normal)
    assert not [str(difference) for difference in differences]


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("interaction/*.txt")), ids=lambda path: path.stem)
def test_scripts(impl: ModuleType, path: Path) -> None:
    agrees(path, impl)


def test_peer_scripts(impl: ModuleType) -> None:
    for path in peer_scripts("interaction"):
        agrees(path, impl)


# --- commands ------------------------------------------------------------------------------------


class Session:
    """Commands one by one."""

    def __init__(self, impl: ModuleType, *lines: str) -> None:
        self.environment = interaction.Environment(impl)
        for line in lines:
            self(line)

    def __call__(self, line: str, given: str = "") -> str:
        command, arguments = parse_command(line)
        return self.environment.handle(Block("", 1, command, arguments, given, "", (0, 0)))


def test_the_newest_snapshot_is_the_data_that_were_applied(impl: ModuleType) -> None:
    session = Session(impl, "add-nodes 1 voters=(1) index=4 content=before", "campaign 1", "stabilize")
    session("propose 1 ,one")
    session("propose 1 ,two")
    session("propose-conf-change 1", "l7")
    session("stabilize")
    newest = session.environment.members[0].history[-1]
    assert (newest.index, newest.term, newest.data) == (8, 1, b"before,one,two")
    assert newest.conf_state == impl.ConfState(voters=(1,), learners=(7,))
    assert session("send-snapshot 1 7") == (
        "1->7 MsgSnap Term:1 Log:0/0\n"
        "  Snapshot: Index:8 Term:1 ConfState:Voters:[1] VotersOutgoing:[] Learners:[7] LearnersNext:[] AutoLeave:false"
    )


def test_messages_from_who_is_no_member_are_refused(impl: ModuleType) -> None:
    session = Session(impl, "add-nodes 3 voters=(1,2) index=4", "campaign 1", "stabilize")
    session.environment.messages += [
        impl.Message(MSG_APP_RESP, to=1, sender=3, term=1, index=5),
        impl.Message(interaction.KINDS["MsgHup"], to=2, sender=1),
    ]
    assert session("deliver-msgs 1 2") == (
        "3->1 MsgAppResp Term:1 Log:0/5\nraft: cannot step as peer not found\n"
        "1->2 MsgHup Term:0 Log:0/0\nraft: cannot step raft local message\n"
    )


def test_an_answer_to_itself_is_refused_once_it_has_removed_itself(impl: ModuleType) -> None:
    session = Session(impl, "add-nodes 2 voters=(1,2) index=4 async-storage-writes=true", "campaign 1", "stabilize")
    session("propose-conf-change 1", "r1")
    session("process-ready 1")
    session("process-append-thread 1")
    session("deliver-msgs 1")
    session("stabilize 2")
    session("deliver-msgs 1")
    session("propose 1 late")
    session("process-ready 1")
    session("process-append-thread 1")
    session("process-append-thread 1")
    session("process-apply-thread 1")
    assert "raft: cannot step as peer not found" in session("deliver-msgs 1").splitlines()


def test_reads_are_shown(impl: ModuleType) -> None:
    session = Session(impl, "add-nodes 1 voters=(1) index=4", "campaign 1", "stabilize")
    session.environment.members[0].node.read_index(b"ctx")
    session.environment.members[0].node.read_index(b"")
    assert session("process-ready 1") == "Ready MustSync=false:\nReadStates [{5 [99 116 120]} {5 []}]\n"


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("add-nodes", ""),
        ("add-nodes x", ""),
        ("add-nodes 1 voters=(x) index=2", ""),
        ("add-nodes 1 voters=(1) index=2 prevote=maybe", ""),
        ("campaign 9", ""),
        ("campaign 0", ""),
        ("compact 1", ""),
        ("compact 1 100", ""),
        ("deliver-msgs x", ""),
        ("deliver-msgs 1 drop=(1)", ""),
        ("deliver-msgs 1 type=MsgUnheardOf", ""),
        ("propose 1", ""),
        ("propose 1 a b", ""),
        ("propose 1 a=b", ""),
        ("propose-conf-change 1 v1=true", ""),
        ("report-unreachable 1 9", ""),
        ("send-snapshot 1", ""),
        ("set-randomized-election-timeout 1", ""),
        ("set-randomized-election-timeout 1 timeout=0", ""),
        ("transfer-leadership from=1", ""),
        ("transfer-leadership from=1 to=9", ""),
    ],
)
def test_arguments_that_a_command_does_not_take(impl: ModuleType, line: str, given: str) -> None:
    session = Session(impl, "add-nodes 1 voters=(1) index=2")
    with pytest.raises(ScriptError):
        session(line, given)


def test_output_is_hidden_at_the_highest_level_but_errors_are_not(impl: ModuleType) -> None:
    session = Session(impl, "add-nodes 1 voters=(1) index=2")
    assert session("raft-state") != "ok"
    assert session("LOG-level NONE") == "unknown command"
    assert session("log-level NONE") == "ok"
    assert session("raft-state") == "ok"
    assert session("propose 1 a") == "raft proposal dropped"
    assert session("log-level loud") == "log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]"


@pytest.mark.once
def test_lines_of_a_log_do_not_count() -> None:
    assert normal("INFO 1 became follower at term 0\n  DEBUG x\n") == normal("ok\n") == normal("") == "ok\n"
    assert normal("a\nWARN b\nINFORMATION\n  ERROR c\n b\n") == "a\nINFORMATION\n b\n"


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", '""'),
        (b"plain text", '"plain text"'),
        (b'"\\', r'"\"\\"'),
        (b"\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        (b"\x00\x1b\x7f", r'"\x00\x1b\x7f"'),
        ("ä€😀".encode(), '"ä€😀"'),
        ("\u0080\u00a0\u00ad\u200b".encode(), r'"\u0080\u00a0\u00ad\u200b"'),
        ("\u2028\ufeff\ue000\uffff".encode(), r'"\u2028\ufeff\ue000\uffff"'),
        ("\U000e0001\U0010ffff".encode(), r'"\U000e0001\U0010ffff"'),
        ("\ufffd".encode(), '"\ufffd"'),
        (b"\x80\xff\xc3", r'"\x80\xff\xc3"'),
        (b"\xe2\x82A\xf0\x9f\x98", r'"\xe2\x82A\xf0\x9f\x98"'),
        (b"\xed\xa0\x80\xc0\x80", r'"\xed\xa0\x80\xc0\x80"'),
    ],
)
def test_quoted_data(data: bytes, text: str) -> None:
    assert describe.quote(data) == text


class Text:
    """describe's functions with the objects of one implementation."""

    def __init__(self, impl: ModuleType) -> None:
        self.impl = impl
        self.types = module(impl, "types")

    def message(self, kind: int, **fields: Any) -> Any:
        return self.impl.Message(kind, **fields)

    def __call__(self, m: Any, **options: Any) -> str:
        return describe.message(m, self.types.ConfChange.decode, **options)


@pytest.fixture
def text(impl: ModuleType) -> Text:
    return Text(impl)


def test_messages(text: Text, impl: ModuleType) -> None:
    assert text(text.message(MSG_HEARTBEAT, to=17, sender=255, term=3, commit=9)) == (
        "ff->11 MsgHeartbeat Term:3 Log:0/0 Commit:9"
    )
    assert text(text.message(MSG_VOTE_RESP, to=2, sender=1, term=3, flags=1)) == (
        "1->2 MsgVoteResp Term:3 Log:0/0 Rejected (Hint: 0)"
    )
    assert text(text.message(MSG_APP_RESP, to=2, sender=1, term=3, log_term=2, index=7, hint=5, flags=1)) == (
        "1->2 MsgAppResp Term:3 Log:2/7 Rejected (Hint: 5)"
    )
    # Who leadership is passed to is the sender in etcd, and so is who asks for a read.
    assert text(text.message(MSG_TRANSFER_LEADER, to=2, sender=1, hint=3)) == "3->2 MsgTransferLeader Term:0 Log:0/0"
    assert text(text.message(MSG_READ_INDEX, to=2, sender=1, entries=[impl.Entry(0, 0, b"c")])) == (
        '1->2 MsgReadIndex Term:0 Log:0/0 Entries:[0/0 EntryNormal "c"]'
    )


def test_entries(text: Text, impl: ModuleType) -> None:
    change = text.types.ConfChange.parse("v1 l16 r3 u4")
    old = text.types.ConfChange.parse("r3", v1=True)
    leave = text.types.ConfChange()
    entries = [
        impl.Entry(4, 2, b"a\n"),
        impl.Entry(5, 2, change.encode(), change.entry_kind),
        impl.Entry(6, 2, old.encode(), old.entry_kind),
        impl.Entry(7, 3, leave.encode(), leave.entry_kind),
    ]
    m = text.message(MSG_APP, to=2, sender=1, term=3, log_term=1, index=3, commit=2, entries=entries)
    assert text(m, indent="  ") == (
        "  1->2 MsgApp Term:3 Log:1/3 Commit:2 Entries:[\n"
        '    2/4 EntryNormal "a\\n"\n'
        "    2/5 EntryConfChangeV2 v1 l16 r3 u4\n"
        "    2/6 EntryConfChange r3\n"
        "    3/7 EntryConfChangeV2\n"
        "  ]"
    )


def test_snapshots_and_responses(text: Text, impl: ModuleType) -> None:
    snapshot = text.types.Snapshot(9, 2, impl.ConfState((3, 1), (4,), (1, 2), (2,), True), b"data")
    where = "Index:9 Term:2 ConfState:Voters:[1 3] VotersOutgoing:[1 2] Learners:[4] LearnersNext:[2] AutoLeave:true"
    ordered = text.types.Snapshot(9, 2, impl.ConfState((1, 3), (4,), (1, 2), (2,), True), b"data")
    assert text(text.message(MSG_SNAP, to=2, sender=1, term=3, snapshot=ordered)) == (
        f"1->2 MsgSnap Term:3 Log:0/0\n  Snapshot: {where}"
    )
    assert describe.snapshot(snapshot) == where.replace("[1 3]", "[3 1]")
    m = text.message(MSG_STORAGE_APPEND, to=LOCAL_APPEND_THREAD, sender=1, term=3, commit=9, vote=2, snapshot=ordered)
    done = text.message(
        MSG_STORAGE_APPLY_RESP, to=1, sender=LOCAL_APPLY_THREAD, index=5, entries=[impl.Entry(5, 2, b"")]
    )
    m.responses = [text.message(MSG_APP_RESP, to=2, sender=1, term=3, index=9), done]
    head = f"1->AppendThread MsgStorageAppend Term:3 Log:0/0 Commit:9 Vote:2\n  Snapshot: {where}"
    assert text(m, responses=False) == head
    assert text(m) == (
        f"{head} Responses:[\n"
        "  1->2 MsgAppResp Term:3 Log:0/9\n"
        '  ApplyThread->1 MsgStorageApplyResp Term:0 Log:0/0 Entries:[2/5 EntryNormal ""]\n'
        "]"
    )


def test_readys(text: Text, impl: ModuleType) -> None:
    decode = text.types.ConfChange.decode
    ready = SimpleNamespace(
        soft_state=None, hard_state=None, read_states=[], entries=[], snapshot=None, committed_entries=[], messages=[],
        must_sync=False,
    )  # fmt: skip
    assert describe.ready(ready, decode) == "<empty Ready>"
    ready.soft_state = (3, text.types.Role.PRE_CANDIDATE)
    ready.hard_state = impl.HardState(2, 0, 7)
    ready.read_states = [text.types.ReadState(7, b"\x00\xff")]
    ready.entries = [impl.Entry(8, 2, b"x")]
    ready.snapshot = text.types.Snapshot(7, 2, impl.ConfState((1,)))
    ready.committed_entries = [impl.Entry(7, 2, b"")]
    ready.messages = [text.message(MSG_HEARTBEAT, to=2, sender=1, term=2)]
    ready.must_sync = True
    assert describe.ready(ready, decode) == (
        "Ready MustSync=true:\n"
        "Lead:3 State:StatePreCandidate\n"
        "HardState Term:2 Commit:7\n"
        "ReadStates [{7 [0 255]}]\n"
        "Entries:\n"
        '2/8 EntryNormal "x"\n'
        "Snapshot Index:7 Term:2 ConfState:Voters:[1] VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false\n"
        "CommittedEntries:\n"
        '2/7 EntryNormal ""\n'
        "Messages:\n"
        "1->2 MsgHeartbeat Term:2 Log:0/0\n"
    )


@pytest.mark.once
def test_progress() -> None:
    assert describe.progress(3, 4) == "StateProbe match=3 next=4"
    assert describe.progress(
        0, 8, 2, learner=True, paused=True, pending_snapshot=7, recent_active=False, inflight=2, full=True
    ) == ("StateSnapshot match=0 next=8 learner paused pendingSnap=7 inactive inflight=2[full]")
    assert describe.progress(3, 6, 1, inflight=2) == "StateReplicate match=3 next=6 inflight=2"


def test_configurations(impl: ModuleType) -> None:
    assert describe.configuration(impl.ConfState()) == "voters=()"
    assert describe.configuration(impl.ConfState((16, 1), (3,), (1, 2), (2,), True)) == (
        "voters=(1 10)&&(1 2) learners=(3) learners_next=(2) autoleave"
    )


@pytest.mark.once
def test_changes() -> None:
    assert parse_changes(" v1 l2 r3 u18446744073709551615\n") == [(0, 1), (3, 2), (1, 3), (2, 2**64 - 1)]
    assert parse_changes("") == []
    for text, message in (
        ("v1  v2", "unknown token "),
        ("v", "unknown token v"),
        ("w1", "unknown input: w1"),
        ("v1x", 'strconv.ParseUint: parsing "1x": invalid syntax'),
    ):
        with pytest.raises(ChangeError) as caught:
            parse_changes(text)
        assert str(caught.value) == message


def test_sizes_in_protobuf(text: Text, impl: ModuleType) -> None:
    assert protobuf_size(impl.Entry(3, 1, b""), None, False) == 4
    assert protobuf_size(impl.Entry(3, 1, b"")) == 4 + 2
    assert protobuf_size(impl.Entry(3, 1, b"x")) == protobuf_size(impl.Entry(3, 1, b"x"), None, False) == 7
    assert protobuf_size(impl.Entry(128, 300, b"x" * 128), None, False) == 3 + 3 + 3 + 128
    for change, data in (
        (text.types.ConfChange.parse("v2", v1=True), 4),
        (text.types.ConfChange.parse("v2"), 2 + 6),
        (text.types.ConfChange.parse("v2 l300"), 2 + 6 + 7),
        (text.types.ConfChange(), 2),
    ):
        assert protobuf_size(impl.Entry(3, 1, change.encode(), change.entry_kind), change) == 4 + 2 + 2 + data
    assert protobuf_size(impl.Entry(3, 1, b"", change.entry_kind), change, False) == 4 + 2
