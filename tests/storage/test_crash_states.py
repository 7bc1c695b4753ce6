"""A sample of the states of a power cut that ``make crash`` opens. And that states are what they are said to be."""

import random
from types import SimpleNamespace

import pytest

from tests.tools.crash import judge, runs, states
from tests.tools.crash.sweep import missing, sweep

STATES = 70  # of each run
FILE = 7


def step(kind, node=FILE, position=0, data=b"", name="", child=0):
    return SimpleNamespace(kind=kind, node=node, position=position, data=data, name=name, child=child)


def disk(*steps):
    made = states.Disk()
    for each in [step("make", 0, name="file", child=FILE), *steps]:
        made.follow(each)
    return made


def images(made, most=0):
    """What may be left of the file: its bytes, None without a name, with the kinds of loss."""
    found = {}
    for each in states.states(made, random.Random(3), most):
        number = each.image.names[0].get("file")
        data = None if number is None else each.image.files[number]
        found.setdefault(data, set()).add(each.kinds)
    return found


@pytest.mark.slow
def test_a_sample(impl):
    """Of every run: nothing is lost, invented or in doubt. Every kind of state is among them."""
    results = [sweep(impl, name, STATES, seed=1) for name in runs.SCRIPTS]
    assert [text for each in results for text in each.wrong] == []
    assert not missing(results)
    assert sum([each.states for each in results]) > 0.8 * STATES * len(results)


def test_what_is_synced_is_durable():
    """Contents with the file, a name with the directory."""
    written = step("write", data=b"abc")
    assert set(images(disk(written, step("sync", position=1)))) == {None, b"abc"}
    assert set(images(disk(written, step("sync", position=1), step("sync names", 0)))) == {b"abc"}
    assert set(images(disk(step("sync names", 0), step("sync"), written))) == {b"", b"abc", b"\0\0\0"}
    # A sync covers what was there when it began.
    half = disk(step("sync names", 0), written, step("write", position=3, data=b"def"), step("sync", position=1))
    assert set(images(half)) == {b"abc\0\0\0", b"abcdef"}


def test_writes_are_lost_and_kept_in_any_order():
    base = disk(step("sync names", 0), step("stretch", position=2), step("sync"))
    for data in (b"ab", b"cd"):
        base.follow(step("write", data=data[:1], position=0))
        base.follow(step("write", data=data[1:], position=1))
    found = images(base)
    assert set(found) == {bytes([one, two]) for one in b"\0ac" for two in b"\0bd"}
    assert any(["reordered" in kinds for kinds in found[b"ad"]])
    assert found[b"cd"] >= {frozenset({"all kept"})}


def test_writes_are_torn():
    base = disk(step("sync names", 0), step("stretch", position=2048), step("sync"))
    base.follow(step("write", data=b"x" * 2048))
    found = images(base, most=300)
    sectors = {data for data in found if all(len(set(data[at : at + 512])) == 1 for at in range(0, 2048, 512))}
    assert len(sectors) == 16
    assert all([kinds != {frozenset({"torn at byte"})} for data in sectors for kinds in [found[data]]])
    within = set(found) - sectors
    assert len(within) > 50
    assert all(["torn at byte" in kinds for data in within for kinds in found[data]])


def test_behind_a_lost_write_are_zeros_or_garbage():
    base = disk(step("sync names", 0), step("write", data=b"x" * 100))
    found = images(base, most=200)
    assert {b"", b"x" * 100, bytes(100), states.GARBAGE[:100]} <= set(found)
    assert any(["zero tail" in each for each in found[bytes(100)]])
    assert any(["garbage tail" in each for each in found[states.GARBAGE[:100]]])
    # Room that was reserved holds zeros.
    base = disk(step("sync names", 0), step("stretch", position=100), step("write", data=b"x" * 100))
    assert states.GARBAGE[:100] not in images(base, most=200)


def test_names_are_lost_and_kept_each_by_itself():
    base = disk(step("sync"), step("sync names", 0))
    base.follow(step("rename", 0, name="other", child=FILE))
    base.follow(step("rename", 0, name="file"))
    found = {(tuple(sorted(each.image.names[0])), each.kinds) for each in states.states(base, random.Random(1), 0)}
    assert found == {
        (("other",), frozenset({"all kept"})),
        (("file",), frozenset({"all lost", "lost rename"})),
        (("file", "other"), frozenset({"half a rename", *()})),
        ((), frozenset({"half a rename", "reordered"})),
    }


def test_the_judge_sees_what_is_wrong(impl):
    """Held against another promise, a state that is whole is not."""
    run = runs.traced(impl, "append")
    made = states.Disk()
    for each in run.journal:
        made.follow(each)
    image, promise = made.image(), run.promises[-1]
    assert judge.opened(impl, judge.disk_of(impl, image), promise)[2] == run.log
    log = promise.logs[0]
    wrong = {
        "the log is none": {"logs": (log._replace(vote=log.vote + 1),)},
        "it does not": {"logs": (log,)},
        "begins behind 0": {"bases": frozenset([3])},
        "was there before": {"incarnation": 2},
        "one of 3 was finished": {"logs": (log._replace(snapshot=3),)},
    }
    for text, changes in wrong.items():
        damaged = image
        if text == "it does not":
            number = judge.folder_of(image)["founding"]
            damaged = image._replace(files={**image.files, number: b"x"})
        with pytest.raises(judge.Wrong, match=text):
            judge.opened(impl, judge.disk_of(impl, damaged), promise._replace(**changes))
