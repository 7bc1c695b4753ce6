"""A sample of what ``make bits`` does: single bits that are turned over are noticed, or do no harm."""

from collections import Counter

from tests.tools import bits

EVERY = 3989  # a prime: so all bits of a byte come


def test_a_sample_of_bits(impl):
    """Whatever the damage, what is opened is what was acknowledged, or the member knows that it may not be."""
    seen, wrong = Counter(), []
    for name in bits.SCRIPTS:
        found = bits.left(impl, name)
        for what, file, cases in bits.cases(name, found):
            every = EVERY if file.startswith("wal") else EVERY // 8
            more, texts = bits.count(impl, name, what, file, range(len(seen), cases, every))
            seen += more
            wrong += texts
            assert sum(more.values()) > 0
    assert not wrong
    assert seen["wrong"] == 0
    # The mark is a small part, and doubt comes from nothing else.
    assert min(seen["same"], seen["refused"], seen["older"]) > 20 and seen["doubt"] > 0


def test_every_bit_is_turned_over_once(impl):
    """The cases of a file are as many as it has bits, and each is another one."""
    found = bits.left(impl, "one segment")
    cases = {(what, file): count for what, file, count in bits.cases("one segment", found)}
    assert cases["bit", "wal-0000000000000001.log"] == 524_288
    assert cases["bit", "wal.mark"] == 8 * 8192 and cases["bit", "founding"] > 800
    content = found.image.files[found.names["founding"]]
    made = {bits.changed("bit", content, number) for number in range(8 * len(content))}
    assert len(made) == 8 * len(content) and content not in made
    assert all([sum([one != other for one, other in zip(each, content)]) == 1 for each in made])


def test_the_judge_sees_what_is_wrong(impl):
    """A state that was not acknowledged, and another exception."""
    found = bits.left(impl, "one segment")
    file = "wal-0000000000000001.log"
    content = found.image.files[found.names[file]]
    assert bits.outcome(impl, found, file, content) == ("same", "")
    log = found.promise.logs[-1]
    for other in (log._replace(commit=log.commit - 1), log._replace(rows={**log.rows, 20: (6, 1)})):
        word, text = bits.outcome(impl, found._replace(promise=found.promise._replace(logs=(other,))), file, content)
        assert word == "wrong" and "none that was written" in text
    broken = found._replace(promise=found.promise._replace(logs=()))
    assert bits.outcome(impl, broken, file, content)[0] == "wrong"
