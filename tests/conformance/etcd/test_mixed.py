"""The mixed cluster (interop/mixed.py) judged: the neutral form of messages, the sessions, the schedules, the watch.

Everything runs without Go: a third raftx behind a session of its own stands in for etcd. Where Go and the modules of
the harness around etcd are here, some schedules run with etcd itself.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import raftx
from interop import mixed, outside, toolchains
from interop.cluster_member import Packet
from interop.mixed_hosts import Flight, Local, Remote, Session
from interop.mixed_schedule import KINDS, Home, Schedule, Stalemate
from interop.mixed_watch import Conf, Disagreement, Seat, Watch
from interop.outside import Hosted, Neutral, NoNeutralForm
from tests.helpers.implementations import IMPLEMENTATIONS

pytestmark = pytest.mark.slow

FORMS = [json.loads(line) for line in (toolchains.GO_SOURCES / "testdata" / "messages.jsonl").read_text().splitlines()]
OUTSIDE = [sys.executable, "-m", "interop.outside"]
THREE = {
    "scenario": 1,
    "seed": 17,
    "interactive": True,
    "nodes": [{"id": id, "voters": [1, 2, 3], "start": 5} for id in (1, 2, 3)],
}


# --- the neutral form ------------------------------------------------------------------------------


@pytest.mark.once
def test_there_is_a_form_of_every_kind() -> None:
    assert {form["type"] for form in FORMS} == set(outside.USES) == set(KINDS)


@pytest.mark.parametrize("form", FORMS, ids=[f"{KINDS[form['type']]}-{at}" for at, form in enumerate(FORMS)])
def test_neutral_form_there_and_back(impl: ModuleType, form: dict[str, Any]) -> None:
    neutral = Neutral(impl)
    m = neutral.from_json(form)
    assert neutral.to_json(m) == form
    # In a frame, which only has the address of who passed the message on.
    packet = neutral.pack(form["from"], form)
    assert (packet.sender, packet.to, packet.kind, packet.term) == (form["from"], form["to"], m.kind, m.term)
    assert neutral.unpack(packet) == form


@pytest.mark.once
@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="one implementation only")
def test_both_implementations_pack_the_same_frames() -> None:
    one, other = [Neutral(impl) for impl in IMPLEMENTATIONS.values()]
    for form in FORMS:
        assert one.pack(form["from"], form).frame == other.pack(form["from"], form).frame
        assert one.unpack(other.pack(form["from"], form)) == form


def test_neutral_form_means_what_raftx_means(impl: ModuleType) -> None:
    neutral = Neutral(impl)
    types = importlib.import_module(impl.__name__ + ".types")
    vote = neutral.from_json({"type": 5, "from": 2, "to": 1, "term": 4, "index": 9, "context": 1})
    assert (vote.flags, vote.context, vote.sender, vote.index) == (types.FLAG_TRANSFER, 0, 2, 9)
    refused = neutral.from_json({"type": 4, "from": 2, "to": 1, "log_term": 2, "index": 9, "reject": True, "hint": 5})
    assert (refused.flags, refused.hint, refused.log_term) == (types.FLAG_REJECT, 5, 2)
    # Whose message it is stands in the hint: a frame names who passed it on.
    packet = neutral.pack(3, {"type": 15, "from": 1, "to": 1, "entries": [{"data": "61"}]})
    (read,) = neutral.impl.Codec(b"raftx interop\0\0\0", 1).decode(packet.frame)
    assert (read.sender, read.hint, read.entries[0].data) == (3, 1, b"a")
    change = {"term": 4, "index": 1, "kind": 2, "data": "1:v1 l2"}
    m = neutral.from_json({"type": 3, "from": 2, "to": 1, "term": 4, "entries": [change]})
    assert types.ConfChange.decode(m.entries[0].data) == types.ConfChange.parse("v1 l2", 1)
    m = neutral.from_json({"type": 3, "from": 2, "to": 1, "term": 4, "entries": [{**change, "data": "0:"}]})
    assert m.entries[0].data == b""


@pytest.mark.parametrize(
    "form",
    [
        {"type": 19, "to": 1},
        {"type": 10, "to": 1},
        {"type": 32, "to": 1},
        {"type": 3, "to": 1, "priority": 1},
        {"type": 3, "to": 1, "vote": 1},
        {"type": 3, "to": 1, "hint": 1},
        {"type": 3, "to": 1, "context": 1},
        {"type": 3, "to": 1, "reject": True},
        {"type": 5, "to": 1, "context": 2},
        {"type": 7, "to": 1},
        {"type": 7, "to": 1, "snapshot": {"index": 1, "term": 1, "hash": 1}},
        {"type": 3, "to": 1, "snapshot": {"index": 1, "term": 1}},
        {"type": 3, "to": 1, "entries": [{"kind": 3}]},
        {"type": 3, "to": 1, "entries": [{"crc": 3}]},
        {"type": 3, "to": 1, "entries": [{"data": "6"}]},
        {"type": 3, "to": 1, "entries": [{"kind": 2, "data": "v1"}]},
        {"type": 3, "to": 1, "entries": [{"kind": 2, "data": "0:x1"}]},
        {"type": 3, "to": 1, "entries": [{"kind": 2, "data": "3:v1"}]},
        {"type": 3, "to": 1, "entries": [{"kind": 1, "data": "0:"}]},
    ],
)
def test_neutral_form_refused(impl: ModuleType, form: dict[str, Any]) -> None:
    # NoNeutralForm, bytes that are not hexadecimal, a change that is none.
    with pytest.raises(ValueError):
        Neutral(impl).from_json(form)


def test_messages_without_a_neutral_form(impl: ModuleType) -> None:
    neutral = Neutral(impl)
    message = neutral.Message
    for m in (
        message(5, to=1, hint=7),  # priority
        message(5, to=1, commit=3, context=2),  # commit_by_vote
        message(6, to=1, flags=1, commit=3),
        message(4, to=1, flags=5, context=4),  # request_snapshot
        message(2, to=1, log_term=3, hint=1, context=9),  # a Node's proposals
        message(32, to=1),
        message(19, to=1),
        message(0, to=1),
    ):
        with pytest.raises(NoNeutralForm):
            neutral.to_json(m)


# --- members that live elsewhere -------------------------------------------------------------------


def test_messages_leave_and_are_given(impl: ModuleType) -> None:
    head = {**THREE, "nodes": [*THREE["nodes"][:2], {**THREE["nodes"][2], "async": True}]}  # type: ignore[index]
    parts = {id: Hosted({**head, "hosted": [id]}, impl) for id in (1, 2, 3)}
    whole = Hosted(head, impl)
    network: list[Packet] = []

    def do(*step: Any) -> bool:
        if step[0] == "deliver":
            packet = network.pop(step[1])
            form = json.loads(json.dumps(parts[packet.sender].neutral.unpack(packet)))
            part = parts[packet.to]
            answer = part.step(["give", packet.sender, form])
        else:
            part = parts[step[1]]
            answer = part.step(list(step))
        network.extend(part.left)
        assert answer == whole.step(list(step))
        assert [packet.frame for packet in network] == [packet.frame for packet in whole.cluster.network]
        return answer.startswith("ok")

    def settle() -> None:
        while any([do(name, id) for id in parts for name in ("ready", "persist", "apply")]) or network:
            while network:
                do("deliver", 0)

    for step in (["campaign", 1], ["propose", 2, "a", ""], ["read", 3, "r"], ["change", 2, "l3", 0, True]):
        assert do(*step)
        settle()
    assert not whole.left
    for part in parts.values():
        member = next(iter(part.cluster.members.values()))
        assert member.core.lead == 1
        assert member.core.applied == 9


def test_a_message_for_nobody_is_lost(impl: ModuleType) -> None:
    hosted = Hosted({**THREE, "hosted": [1]}, impl)
    form = {"type": 8, "from": 2, "to": 3, "term": 4}
    assert hosted.step(["give", 2, form]) == "lost|||"
    assert hosted.step(["crash", 1]) == "ok|||"
    assert hosted.step(["give", 2, {**form, "to": 1}]) == "lost|||"
    assert hosted.step(["tick", 3]) == "down|||"
    assert hosted.cluster.network == []


def test_what_comes_from_outside_passes_the_checks_of_the_wire(impl: ModuleType) -> None:
    hosted = Hosted({**THREE, "hosted": [1]}, impl)
    # Entries that do not follow their place in the log.
    entries = [{"term": 1, "index": 9}]
    answer = hosted.step(["give", 2, {"type": 3, "from": 2, "to": 1, "term": 4, "index": 5, "entries": entries}])
    assert answer.startswith("raised FrameError")
    assert hosted.cluster.over


def test_interactive_session(impl: ModuleType) -> None:
    here = {**THREE, "hosted": [1]}
    won = ["give", 2, {"type": 6, "from": 2, "to": 1, "term": 2}]
    works = [["ready", 1], ["persist", 1], ["apply", 1]]
    bad = ["give", 2, {"type": 3, "from": 2, "to": 1, "term": 4, "index": 5, "entries": [{"term": 1, "index": 9}]}]
    lines = [here, ["campaign", 1], *works, won, ["end"], here, ["tick", 2], bad, ["tick", 1], ["end"], here, ["end"]]
    out = io.StringIO()
    outside.main([json.dumps(line) for line in lines], out, impl)
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(answers) == 5 + 2
    assert [left for _, left in answers[:2]] == [[], []]
    vote = {"type": 5, "from": 1, "term": 2, "log_term": 1, "index": 5}
    assert answers[2][1] == [{**vote, "to": 2}, {**vote, "to": 3}]
    assert answers[4][0].split("|")[3].startswith("1 2 1 1 2 ")
    assert answers[5] == ["down|||", []]
    assert answers[6] == ["panic|||", [], "FrameError: invalid frame: records"]
    with pytest.raises(ValueError, match="only interactive scenarios"):
        outside.main([json.dumps({"scenario": 1, "nodes": []})], out, impl)


# --- schedules -------------------------------------------------------------------------------------


@pytest.fixture
def third() -> Iterator[Session]:
    """Another raftx in a process of its own, in the place of etcd."""
    session = Session(OUTSIDE)
    yield session
    session.close()


def local(transform: Callable[[str], str] | None = None) -> dict[str, Home]:
    """Three members in this process; the answers of the third are changed."""

    class Lying(Local):
        def _after(self, answer: str) -> str:
            answer = super()._after(answer)
            return transform(answer) if transform else answer

    return mixed.homes(lambda head: Lying(head, raftx))


def answers_of(seed: int, homes: dict[str, Home]) -> list[str]:
    return mixed.run(seed, homes, Counter())


@pytest.mark.once
def test_schedules_agree_and_exercise_everything(third: Session) -> None:
    counts: Counter[str] = Counter()
    for seed in range(1, 9):
        mixed.run(seed, mixed.homes(lambda head: Remote(head, third)), counts)
    assert counts["schedules"] == 8
    assert mixed.missing(counts) == []


@pytest.mark.once
def test_a_seed_makes_one_schedule(third: Session) -> None:
    for seed in (11, 12):
        steps = answers_of(seed, local())
        assert steps == answers_of(seed, mixed.homes(lambda head: Remote(head, third)))
        assert len(steps) > 200
    assert answers_of(11, local()) != answers_of(12, local())


@pytest.mark.once
def test_a_stalemate_is_drawn_anew() -> None:
    # A removed leader whose log is longer than those of the members that need its vote.
    counts: Counter[str] = Counter()
    mixed.run(28, local(), counts)
    assert (counts["schedules"], counts["stalemates, drawn anew"]) == (1, 1)
    schedule = Schedule(28, local(), Counter())
    with pytest.raises(Stalemate):
        schedule.run()
    assert not any([seat.leads for seat in schedule.seats.values()])


@pytest.mark.once
@pytest.mark.parametrize(
    ("pattern", "instead", "complaint"),
    [
        (r"(committed=\d+/\d+/0/70)3", r"\g<1>4", "applies"),
        (r"committed=\d+/(\d+)/0/7\d+[^;]*;", "committed=", r"applies \d+ behind"),
        (r"reads=\d+:", "reads=1:", "committed was"),
        (r"reads=(\d+):63", r"reads=\1:64", "which nobody asked for"),
        (r"^ok\|[^|]*\|[^|]*\|\d+ \d+ \d+ \d+ 2 .*", "panic|||", "gave up"),
        (r"^(ok\|[^|]*\|[^|]*\|\d+ (?:[3-9]|\d\d) \d+ )\d+ 0 ", r"\g<1>1 2 ", "lead in term"),
        (r"(snap=\d+),\d+,", r"\1,99,", "takes a snapshot of"),
        (r"(snap=\d+,\d+,)[\d,]+/", r"\g<1>7/", "has configuration"),
        (r" 1,2,3////0 ", " 1,2////0 ", "has configuration"),
    ],
)
def test_what_must_hold_is_noticed(pattern: str, instead: str, complaint: str) -> None:
    with pytest.raises(mixed.Failed, match=complaint):
        for seed in range(1, 40):
            mixed.run(seed, local(lambda answer: re.sub(pattern, instead, answer)), Counter())


@pytest.mark.once
def test_a_message_that_changes_on_its_way_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Flight.json

    def other(flight: Flight) -> dict[str, Any]:
        form = json.loads(json.dumps(original(flight)))
        for entry in form.get("entries", ()):
            if flight.kind == 3 and entry.get("data", "").startswith("7031"):
                entry["data"] = "7039" + entry["data"][4:]
        return form  # type: ignore[no-any-return]

    class Through(Local):
        def give(self, flight: Flight) -> str:
            return self._after(self.hosted.step(["give", flight.sender, flight.json()]))

    monkeypatch.setattr(Flight, "json", other)
    with pytest.raises(mixed.Failed, match="applies"):
        for seed in range(1, 10):
            mixed.run(seed, mixed.homes(lambda head: Through(head, raftx)), Counter())


class Silent:
    """A host that does nothing."""

    left: list[Flight] = []  # noqa: RUF012
    reason = "because"

    def step(self, step: list[Any]) -> str:
        raise NotImplementedError

    def give(self, flight: Flight) -> str:
        raise NotImplementedError

    def end(self) -> None:
        pass


def watched(*changes: tuple[int, str]) -> tuple[Watch, Seat, str]:
    """A watch of one seat, and a state with some words changed."""
    spec = {"id": 1, "election": 10, "start": 5}
    seat = Seat(1, "etcd", Silent(), spec)
    words = ["0"] * 28
    words[0], words[1], words[11], words[13], words[23] = "1", "1", "5", "5", "1////0"
    words[25], words[27] = "1,5,6,0,0,0,0,0,0,0", "1,0,5,5,1,6,5,1,5"
    for at, word in changes:
        words[at] = word
    return Watch({1: seat}, Counter()), seat, " ".join(words)


@pytest.mark.once
def test_watch_follows_what_the_state_machine_is_given() -> None:
    watch, seat, state = watched()
    assert watch.saw(seat, ["tick", 1], f"ok|||{state}") == "ok"
    assert (seat.term, seat.committed, seat.machine, seat.conf.voters) == (1, 5, 5, (1,))
    watch.saw(seat, ["ready", 1], f"ok|committed=1/6/0/70;1/7/2/1:v2 l3 sync ||{state}")
    assert not seat.takes_snapshot()
    watch.saw(seat, ["persist", 1], f"ok|||{state}")
    assert seat.todo() == ["apply"]
    moved = state.replace("1////0", "1,2/1/3//1").replace(" 5 0 5 ", " 7 0 7 ")[:-1] + "7"
    watch.saw(seat, ["apply", 1], f"ok|||{moved}")
    assert watch.log == {6: "1/0/70", 7: "1/2/1:v2 l3"}
    assert watch.counts["joint configurations"] == watch.counts["changes applied, joint"] == 1
    assert watch.confs == {5: "1////0", 7: "1,2/1/3//1"}
    assert seat.takes_snapshot()
    watch.complete(seat)
    watch.acknowledged.add("71")
    with pytest.raises(Disagreement, match="lacks"):
        watch.complete(seat)
    with pytest.raises(Disagreement, match="gave up: because"):
        watch.saw(seat, ["tick", 1], "panic|||")


@pytest.mark.once
def test_watch_notices_a_state_machine_that_is_elsewhere() -> None:
    watch, seat, state = watched((27, "1,0,5,5,1,6,5,1,4"))
    with pytest.raises(Disagreement, match="the state machine is at 4"):
        watch.saw(seat, ["tick", 1], f"ok|||{state}")


@pytest.mark.once
def test_configurations() -> None:
    conf = Conf("1,2/1,3/4/3/1")
    assert (conf.voters, conf.outgoing, conf.learners, conf.learners_next) == ((1, 2), (1, 3), (4,), (3,))
    assert conf.auto_leave
    assert conf.members == {1, 2, 3, 4}
    form = {"voters": [1, 2], "outgoing": [1, 3], "learners": [4], "learners_next": [3], "auto_leave": True}
    assert Conf.of(form).text == conf.text
    assert Conf.of({}).text == "////0"


# --- the command -----------------------------------------------------------------------------------


@pytest.mark.once
def test_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["--seeds", "3..4", "--jobs", "2", "--with", " ".join(OUTSIDE)]
    assert mixed.main(command) in (0, 1)
    monkeypatch.setattr(mixed, "REQUIRED", ("proposals applied", "miracles"))
    assert mixed.main(command) == 1
    out, err = capsys.readouterr()
    assert "        2 schedules" in out
    assert err.endswith("mixed: in 2 schedules there was no: miracles\n")
    monkeypatch.setattr(mixed, "REQUIRED", ("proposals applied",))
    assert mixed.main(command) == 0
    assert "2 schedules of raftx" in capsys.readouterr().out
    assert mixed.main(["--replay", "3", "--with", " ".join(OUTSIDE)]) == 0
    assert "--- the end" in capsys.readouterr().out


@pytest.mark.once
def test_command_with_a_harness_that_dies(capsys: pytest.CaptureFixture[str]) -> None:
    dies = f"{sys.executable} -c \"raise SystemExit('not today')\""
    assert mixed.main(["--seeds", "1..3", "--jobs", "1", "--with", dies]) == 1
    assert "not today" in capsys.readouterr().err
    assert mixed.main(["--seeds", "1", "--go", "/nowhere/go", "--replay", "1", "--with", "/nowhere/harness"]) == 2


# --- etcd itself -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def etcd() -> Iterator[Session]:
    """The harness around etcd's Raft."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    command = [go, "list", "-deps", "."]
    offline = {**os.environ, "GOPROXY": "off"}
    if (
        shutil.which(go) is None
        or subprocess.run(command, cwd=toolchains.GO_SOURCES, env=offline, capture_output=True, check=False).returncode
    ):
        pytest.skip("there is no go, or it would have to download modules")
    session = Session([str(toolchains.build_go())])
    yield session
    session.close()


@pytest.mark.once
def test_schedules_with_etcd(etcd: Session) -> None:
    counts: Counter[str] = Counter()
    homes = mixed.homes(lambda head: Remote(head, etcd))
    for seed in range(1, 9):
        # Its member does, step by step, what raftx would do in its place.
        assert mixed.run(seed, homes, counts) == answers_of(seed, local())
    assert mixed.missing(counts) == []


@pytest.mark.once
def test_etcd_reads_the_forms_and_writes_them(etcd: Session) -> None:
    """A message that etcd passes on comes back as it was given."""
    head = {**THREE, "hosted": [3]}
    remote = Remote(head, etcd)
    flight = Flight(1, 3, 8, 4, value={"type": 8, "from": 1, "to": 3, "term": 4, "commit": 5})
    assert remote.give(flight).startswith("ok|")
    entries = next(form["entries"] for form in FORMS if form["type"] == 2)
    remote.give(Flight(2, 3, 2, 0, value={"type": 2, "from": 2, "to": 3, "entries": entries}))
    for step in ("ready", "persist"):
        remote.step([step, 3])
    assert {"type": 9, "from": 3, "to": 1, "term": 4} in [flight.json() for flight in remote.left]
    assert {"type": 2, "from": 2, "to": 1, "entries": entries} in [flight.json() for flight in remote.left]
    remote.end()
