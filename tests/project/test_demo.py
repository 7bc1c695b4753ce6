"""The parts of the demo in raftx/demo/: text, store, check, sender, display. No node runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raftx.cli.main import main
from raftx.demo import client, run
from raftx.demo.client import Connection, GaveUp, Sender
from raftx.demo.display import Display
from raftx.demo.run import LINE_MAX, Demo, Result, Signals
from raftx.demo.store import COMMAND, Text, TextStore, check, pack, standard_library, unpack
from tests.helpers.demo import KEYS, numbered

pytestmark = pytest.mark.once


@dataclass
class Committed:
    """An entry as the store sees it."""

    index: int
    data: bytes
    session: bytes | None = b"session-1"


def sent(number: int, line: bytes) -> bytes:
    return COMMAND.pack(b"client-1", number) + line


def command(sequence: int, *lines: bytes) -> bytes:
    return pack(sequence, list(lines) or [b"line"])


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"\n\n", [b"", b""]),
        (b"a", [b"a"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\n\nb\n", [b"a", b"", b"b"]),
        (b"\xff\x00\r\n\x0c\x85\n", [b"\xff\x00\r", b"\x0c\x85"]),
    ],
)
def test_text_splits_at_newlines_only(data: bytes, lines: list[bytes]) -> None:
    text = Text(data)
    assert len(text) == len(lines)
    assert list(text) == lines
    assert [text[n] for n in range(1, len(text) + 1)] == lines
    assert sum(len(line) + 1 for line in lines) == (text.size(1, len(text)) if lines else 0)


def test_text_finds_the_first_line_that_is_too_long() -> None:
    text = Text(b"1234\n12345\n123456\n1234567")
    assert [text.longer_than(limit) for limit in (3, 4, 5, 6, 7)] == [1, 2, 3, 4, 0]


def test_digest_tells_apart_where_lines_end() -> None:
    texts = [b"", b"\n", b"ab\n", b"a\nb\n", b"a\nb\n\n", b"b\na\n"]
    assert len({Text(data).digest() for data in texts}) == len(texts)
    assert Text(b"a\nb").digest() == Text(b"a\nb\n").digest()


def test_standard_library_is_text_enough() -> None:
    text = standard_library(50_000)
    assert len(text) >= 50_000
    assert text.longer_than(LINE_MAX) == 0
    assert text.data == standard_library(50_000).data


def test_store_ends_with_the_digest_of_its_text() -> None:
    text = Text(b"a\n\n\xff\xfe\nlast")
    store = TextStore()
    for number, line in enumerate(text, 1):
        assert store.apply(Committed(number + 1, command(number, line))) == number
    assert store.summary() == {
        "count": 4,
        "digest": text.digest(),
        "misplaced": 0,
    }
    assert store.lines(0) == [(1, b"a"), (2, b""), (3, b"\xff\xfe"), (4, b"last")]
    assert store.lines(2, max_bytes=1) == [(3, b"\xff\xfe")]
    assert store.lines(4) == []


def test_store_takes_several_lines_at_once() -> None:
    store = TextStore()
    assert store.apply(Committed(1, command(1, b"1", b"", b"3"))) == 3
    assert store.apply(Committed(2, command(4, b"4"))) == 4
    assert store.lines(0) == [(1, b"1"), (2, b""), (3, b"3"), (4, b"4")]
    assert unpack(command(7, b"a", b"", b"bc")) == (7, [b"a", b"", b"bc"])


def test_store_keeps_clients_apart() -> None:
    store = TextStore()
    for index, (session, sequence) in enumerate([(b"a", 1), (b"b", 1), (b"a", 2)], 1):
        assert store.apply(Committed(index, command(sequence), session)) == sequence
    assert (store.count(b"a"), store.count(b"b"), store.count(b"c")) == (2, 1, 0)


def test_store_leaves_what_is_of_no_session() -> None:
    store = TextStore()
    assert store.apply(Committed(1, b"", None)) == 0
    assert store.summary()["count"] == 0


@pytest.mark.parametrize("indexes", [[1, 2, 2], [1, 3, 2]])
def test_store_notices_entries_that_come_twice_or_out_of_order(indexes: list[int]) -> None:
    store = TextStore()
    for sequence, index in enumerate(indexes, 1):
        store.apply(Committed(index, command(sequence)))
    assert store.summary()["misplaced"] == 1


# --- the check at the end ----------------------------------------------------------------------------

TEXT = Text(b"one\ntwo\nthree\nfour\n")
ALL = list(enumerate(TEXT, 1))


def test_check_has_nothing_against_the_text_itself() -> None:
    assert check(TEXT, 4, ALL).problem == ""
    assert check(Text(), 0, []).problem == ""


@pytest.mark.parametrize(
    ("held", "lost", "duplicated", "out_of_order", "problem"),
    [
        ([], 4, 0, 0, "line 1 was acknowledged and is missing"),
        (ALL[:3], 1, 0, 0, "line 4 was acknowledged and is missing"),
        (ALL[:1] + ALL[2:], 1, 0, 0, "at position 2: line 3 where line 2 belongs"),
        ([*ALL, ALL[1]], 0, 1, 0, "at position 5: line 2 for the second time"),
        (ALL[:2] + ALL[1:], 0, 1, 0, "at position 3: line 2 for the second time"),
        ([ALL[0], ALL[2], ALL[1], ALL[3]], 0, 0, 1, "at position 2: line 3 where line 2 belongs"),
        ([ALL[0], (2, b"twO"), *ALL[2:]], 1, 0, 0, "at position 2: line 2 is b'twO', sent was b'two'"),
        ([*ALL, (5, b"five")], 0, 0, 1, "at position 5: line 5, which was never sent"),
        ([(0, b""), *ALL], 0, 0, 1, "at position 1: line 0, which was never sent"),
    ],
)
def test_check_finds(
    held: list[tuple[int, bytes]], lost: int, duplicated: int, out_of_order: int, problem: str
) -> None:
    findings = check(TEXT, 4, held)
    assert (findings.lost, findings.duplicated, findings.out_of_order) == (lost, duplicated, out_of_order)
    assert findings.problem.startswith(problem)


def test_check_calls_lost_only_what_was_acknowledged() -> None:
    findings = check(TEXT, 3, ALL[:3])
    assert findings.lost == 0
    assert findings.problem == "line 4 and what follows is missing"


class FakeCluster:
    """Three nodes that hold what they are told to."""

    ids = [1, 2, 3]  # noqa: RUF012

    def __init__(self, held: dict[int, list[tuple[int, bytes]]], **status: Any) -> None:
        self.kept = held
        self.status: dict[str, Any] = {"digest": TEXT.digest(), "misplaced": 0} | status
        self.lives = dict.fromkeys(self.ids, self)

    def ask(self) -> dict[str, Any]:
        return self.status

    def held(self, id: int) -> Iterator[tuple[int, bytes]]:
        return iter(self.kept[id])

    def total(self, key: str, ids: list[int]) -> int:
        return int(self.status[key])


def compared(cluster: FakeCluster) -> Result:
    demo = Demo.__new__(Demo)
    demo.text = TEXT
    demo.cluster = cluster  # type: ignore[assignment]
    demo.sender = Sender(TEXT, dict, int)
    demo.sender.acknowledged = 4
    result = Result(4)
    demo.compare(result)
    return result


def test_comparison_of_three_nodes() -> None:
    assert compared(FakeCluster({1: ALL, 2: ALL, 3: ALL})).problem == ""
    result = compared(FakeCluster({1: ALL, 2: ALL[:3], 3: [*ALL, ALL[0]]}))
    assert (result.lost, result.duplicated) == (1, 1)
    assert result.problem == (
        "node 2: line 4 was acknowledged and is missing or altered; node 3: at position 5: line 1 for the second time"
    )
    assert "digest is 00" in compared(FakeCluster({1: ALL, 2: ALL, 3: ALL}, digest="00")).problem
    result = compared(FakeCluster({1: ALL, 2: ALL, 3: ALL}, misplaced=2))
    assert result.duplicated == 6
    assert "node 1: 2 entries were applied twice or out of order" in result.problem


@pytest.mark.parametrize("problem", ["", "node 2: line 4 is missing"])
def test_exit_status_and_files_tell_the_result(
    problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "raftx.cli.demo.demo", lambda text, stream: Result(len(text), lost=len(problem), problem=problem)
    )
    path, out = tmp_path / "text", tmp_path / "out.json"
    path.write_bytes(b"a\nb\n")
    assert main(["demo", str(path), "--save", str(out)]) == (1 if problem else 0)
    assert list(json.loads(out.read_text())) == KEYS
    assert json.loads(out.read_text())["lost"] == len(problem)
    assert (problem in capsys.readouterr().out.splitlines()[-1]) and len(list(tmp_path.iterdir())) == 2


# --- the client --------------------------------------------------------------------------------------


class Door:
    """A node's door for clients with a store behind it; ``misbehave`` gets each batch first and may raise OSError."""

    def __init__(self, misbehave: Callable[[int, int], str]) -> None:
        self.misbehave = misbehave
        self.store = TextStore()
        self.batches = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = Connection(self.listener.accept()[0])
                with contextlib.suppress(OSError):
                    self.serve(connection)
                connection.close()

    def serve(self, connection: Connection) -> None:
        while (frame := connection.receive()) is not None:
            assert frame[0] == client.COMMANDS
            self.batches += 1
            commands = client.unpack_commands(frame[1])
            reason = self.misbehave(self.batches, len(commands))
            # As a session does: what is here already is not taken again, and nothing that leaves one out.
            last = self.store.count(b"session-1")
            for each in commands[: len(commands) // 2 if reason else None]:
                if COMMAND.unpack_from(each)[1] == last + 1:
                    line = each[COMMAND.size :]
                    last = self.store.apply(Committed(self.store.index + 1, pack(last + 1, [line])))
            connection.send(client.ANSWER, client.OUTCOME.pack(last, 1) + reason.encode())

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def send_through(text: Text, misbehave: Callable[[int, int], str]) -> tuple[Sender, Door]:
    door = Door(misbehave)
    sender = Sender(text, lambda: {1: door.port}, lambda: 0)
    try:
        sender.advance(len(text))
    finally:
        sender.close()
        door.close()
    return sender, door


def hang_up(batch: int, count: int) -> str:
    if batch in (1, 3, 4):
        raise ConnectionError
    return ""


def refuse_half(batch: int, count: int) -> str:
    return "busy" if batch in (2, 5) else ""


@pytest.mark.parametrize("misbehave", [lambda batch, count: "", hang_up, refuse_half])
def test_sender_goes_back_to_what_was_acknowledged(misbehave: Callable[[int, int], str]) -> None:
    text = numbered(3000)
    sender, door = send_through(text, misbehave)
    assert sender.acknowledged == 3000
    assert door.store.summary()["digest"] == text.digest()
    assert sender.latencies.total() == 3000
    assert (sender.retries > 0) == (misbehave in (hang_up, refuse_half))


def test_sender_gives_up_when_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "GIVE_UP_S", 0.2)
    with pytest.raises(GaveUp, match=r"line \d has not been acknowledged"):
        send_through(numbered(3), lambda batch, count: "never")
    with pytest.raises(GaveUp):
        Sender(numbered(3), dict, int).advance(1)


def test_frames_carry_everything() -> None:
    commands = [sent(1, b""), sent(2, b"\x00" * 3), sent(3, b"x" * 70_000)]
    assert client.unpack_commands(client.pack_commands(commands)) == commands
    lines = [(1, b""), (2**63, b"\xff\n"), (3, b"y" * 70_000)]
    assert client.unpack_lines(client.pack_lines(lines)) == lines


@pytest.mark.parametrize(
    "body", [b"\0", client.pack_commands([b"short"]), client.pack_commands([sent(1, b"line")])[:-1]]
)
def test_bodies_that_are_no_commands_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="a command"):
        client.unpack_commands(body)


# --- the display -------------------------------------------------------------------------------------

STATUSES: dict[int, dict[str, Any]] = {
    1: {"state": "running", "role": "follower", "term": 2, "commit": 1200, "applied": 1100},
    2: {"state": "running", "role": "leader", "term": 2, "commit": 1234, "applied": 1234},
    3: {"state": "killed"},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_display_has_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftx.demo.display.PLAIN_S", 0.0)
    out = io.StringIO()
    display = Display(out, 5000)
    for done in (0, 1234, 1234, 5000):
        display.update(done, STATUSES)
    display.event("something")
    display.close()
    lines = out.getvalue().splitlines()
    assert out.getvalue().isprintable() or set(out.getvalue()) - set("\n") <= set(map(chr, range(32, 127)))
    assert lines[1].startswith("1,234 of 5,000 lines, ")
    assert lines[1].endswith("; 1: term 2 commit 1,200 applied 1,100; 2*: term 2 commit 1,234 applied 1,234; 3: killed")
    assert lines[-1].endswith("s  something")


@pytest.mark.parametrize(("term", "codes"), [("xterm", True), ("dumb", False), ("", False)])
def test_terminal_display_draws_in_place(term: str, codes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("raftx.demo.display.TERMINAL_S", 0.0)
    out = Terminal()
    display = Display(out, 5000)
    display.update(0, STATUSES)
    assert ("\x1b[" in out.getvalue()) == codes
    if codes:
        first = out.getvalue()
        assert max(len(line) for line in first.replace("\x1b[K", "").splitlines()) < 60
        display.update(2500, STATUSES)
        assert out.getvalue()[len(first) :].startswith("\x1b[4A\r\x1b[J[" + "#" * 15 + "." * 15)
        assert "\n* node 2" in out.getvalue()


# --- signals ----------------------------------------------------------------------------------------


def test_signals_are_noted_once_and_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        signals.check()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(run.Interrupted) as raised:
            signals.check()
        assert raised.value.args == (signal.SIGTERM,)
    assert signal.getsignal(signal.SIGTERM) is before


# --- standard input ---------------------------------------------------------------------------------


def test_which_standard_input_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "SILENCE_S", 0.0)
    path = tmp_path / "text"
    path.write_bytes(b"text")

    def counts(descriptor: int) -> bool:
        with open(descriptor) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            return run.is_piped()

    assert counts(os.open(path, os.O_RDONLY))
    assert not counts(os.open(os.devnull, os.O_RDONLY))
    reading, writing = os.pipe()
    os.close(writing)
    assert counts(reading)  # nothing, but said by somebody
    assert capsys.readouterr().err == ""
    reading, writing = os.pipe()
    assert not counts(reading)
    os.close(writing)
    assert "silent and not used" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", None)
    assert not run.is_piped()
