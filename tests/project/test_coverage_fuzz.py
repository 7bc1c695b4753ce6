"""The targets of coverage_fuzz.py take their corpus, and can fail. Without atheris; both packages at once."""

import pytest

import raftx
from raftx import _pure
from tests.tools import coverage_fuzz

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def packages():
    pure = _pure.load()
    return [raftx, pure] if raftx.COMPILED else [pure]


@pytest.mark.parametrize("name", coverage_fuzz.TARGETS)
def test_the_corpus_is_taken(packages, tmp_path, name):
    target = coverage_fuzz.TARGETS[name](packages, tmp_path)
    files = sorted((coverage_fuzz.CORPUS / name).iterdir())
    assert files
    for file in files:
        target.run(file.read_bytes())
    target.run(b"")


def test_frames_of_the_corpus_are_let_in_or_refused_for_what_they_are(packages, tmp_path):
    """Most are whole: a target that repairs nothing would see only checksums."""
    bodies = [file.read_bytes() for file in (coverage_fuzz.CORPUS / "frames").iterdir()]
    codecs = [packages[0]._core.Codec(coverage_fuzz.CLUSTER, 1, 2**33) for _ in bodies]
    seen = [
        coverage_fuzz.outcome(lambda codec=codec, body=body: codec.decode(coverage_fuzz.whole(body[1:])), "FrameError")
        for codec, body in zip(codecs, bodies)
    ]
    assert sum([not isinstance(each, str) for each in seen]) > 25


def test_what_must_not_be_is_found(packages, tmp_path):
    with pytest.raises(coverage_fuzz.Finding, match="differ"):
        coverage_fuzz.same("numbers", [1, 2])
    with pytest.raises(ZeroDivisionError):
        coverage_fuzz.outcome(lambda: 1 // 0, "ValueError")
    target = coverage_fuzz.TARGETS["frames"](packages, tmp_path)
    target.stepped = lambda impl, frame, role: [id(impl), frame]  # as if the two packages did not agree
    body = (coverage_fuzz.CORPUS / "frames" / "heartbeat").read_bytes()
    if len(packages) == 2:
        with pytest.raises(coverage_fuzz.Finding, match="what members do"):
            target.run(body)
