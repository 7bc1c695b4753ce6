"""What a debugger shows of the core's structures, the same in both modes; and the names of segments."""

import inspect

import pytest

from tests.helpers.implementations import module


def test_what_a_log_shows(core):
    log = core.EntryLog()
    assert repr(log) == "<EntryLog empty, behind 0 of term 0>"
    for index in range(1, 6):
        assert log.py_append(2, b"x") == index
    assert repr(log) == "<EntryLog 1..5, behind 0 of term 0>"
    log.py_compact(3)
    assert repr(log) == "<EntryLog 4..5, behind 3 of term 2>"
    log.py_restore(9, 4)
    assert repr(log) == "<EntryLog empty, behind 9 of term 4>"


def test_what_windows_show(core):
    windows = core.Inflights(8, 100)
    assert repr(windows) == "<Inflights capacity=8 max_bytes=100 by slot: {}>"
    for slot, index in ((3, 1), (3, 2), (63, 1)):
        windows.py_add(slot, index, 10)
    assert repr(windows) == "<Inflights capacity=8 max_bytes=100 by slot: {3: 2, 63: 1}>"


def test_what_reads_show(impl):
    node = impl.RawNode(impl.Config(id=1, pre_vote=False), conf_state=impl.ConfState(voters=(1, 2)))
    assert repr(node.core.reads) == "<PendingReads 0 unconfirmed behind 0>"
    assert repr(module(impl, "consensus.reads").PendingReads()) == "<PendingReads 0 unconfirmed behind 0>"


def test_what_a_clock_shows(impl):
    clock = impl.ManualClock(1.5)
    clock.advance(0.25)
    assert repr(clock) == "<raftx.ManualClock at 1.750 s>"


def test_help_for_an_entry_says_how_to_make_one(impl):
    signature = inspect.signature(impl.Entry)
    assert list(signature.parameters) == ["index", "term", "data", "kind", "time", "session", "session_sequence"]
    assert {name: each.default for name, each in signature.parameters.items() if each.default is not each.empty} == {
        "kind": 0, "time": 0, "session": None, "session_sequence": 0,
    }  # fmt: skip
    assert all(f"{name}: " in impl.Entry.__doc__ for name in signature.parameters if not name.startswith("session"))
    assert "session, session_sequence: " in impl.Entry.__doc__
    # The bounds that it gives.
    most = 2**64 - 1
    made = impl.Entry(index=most, term=most, data=b"", kind=255, time=most, session=b"s" * 16, session_sequence=most)
    assert (made.index, made.term, made.kind, made.time) == (most, most, 255, most // 256 * 256)
    assert (made.session, made.session_sequence) == (b"s" * 16, most)
    assert impl.Entry(index=1, term=1, data=b"x").time == 0
    for name in ("index", "term", "kind", "time", "session_sequence"):
        for wrong in (-1, 256 if name == "kind" else 2**64):
            with pytest.raises(OverflowError):
                impl.Entry(**{"index": 1, "term": 1, "data": b"", name: wrong})
    for name, wrong in (("index", 1.0), ("data", "x"), ("data", bytearray(b"x")), ("time", None), ("session", "x")):
        with pytest.raises(TypeError):
            impl.Entry(**{"index": 1, "term": 1, "data": b"", name: wrong})


def test_names_of_segments(mod):
    files, form = mod("_native.files"), mod("storage.wal_format")
    for number in (0, 1, 255, 2**64 - 1):
        name = files.segment_name(number)
        assert name == f"wal-{number:016x}.log"
        assert form.segment_number(name) == number
    for other in ("wal.mark", "wal-1.log", "wal-000000000000000A.log", "wal-0000000000000001.log.new", "", "x"):
        assert form.segment_number(other) is None
    for wrong in (-1, 2**64):
        with pytest.raises(OverflowError):
            files.segment_name(wrong)
