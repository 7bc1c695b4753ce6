"""The targets of coverage_fuzz.py take their corpus, and can fail. Without atheris; both packages at once."""

import asyncio

import pytest

import raftx
from raftx import _pure
from raftx.kv.http import Face
from raftx.kv.machine import KeyValues
from tests.tools import coverage_fuzz, fuzz_http

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
    try:
        for file in files:
            target.run(file.read_bytes())
        target.run(b"")
    finally:
        target.close()


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


# --- requests ------------------------------------------------------------------------------------


def test_a_text_becomes_requests():
    text = (
        b"POST /a%20b?x=1\nHost: h\nA: TOKEN \nno header\n\nfirst\n--\n@3 more\n====\nGET /\n====\nGET / HTTP/1.1\n"
        b"====\n@ /\n====\nGET \xff"
    )
    one, two = fuzz_http.read(text, b"mine")
    assert (one.scope["method"], one.scope["path"], one.scope["query_string"]) == ("POST", "/a b", b"x=1")
    assert one.scope["headers"] == [(b"host", b"h"), (b"a", b"mine")]
    assert one.parts == [(b"first", 1), (b"more", 3)]
    assert two.scope["headers"] == [(b"host", b"127.0.0.1")]
    (large,) = fuzz_http.read(b"GET /\n\n" + b"\n--\n".join([b"@4096 " + bytes(1 << 20)] * 2), b"")
    assert sum(len(part) * times for part, times in large.parts) == fuzz_http.SENT_MAX


def answered(*messages):
    """What is found in an answer."""
    exchange = fuzz_http.Exchange(fuzz_http.read(b"GET /", b"")[0])

    async def told():
        for message in messages:
            await exchange.send(message)

    asyncio.run(told())
    exchange.judge()


def test_what_must_not_be_is_found_in_answers():
    def start(status=200, **headers):
        return {"type": "http.response.start", "status": status, "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}  # fmt: skip

    body = {"type": "http.response.body", "body": b"ab"}
    answered(start(404, content_length="2"), body)
    for messages, what in (
        ((), "no answer"), ((start(),), "no end"), ((body,), "before its head"), ((start(), start()), "twice"),
        ((start(), body, body), "after its end"), ((start(500), body), "500"),
        ((start(content_length="3"), body), "announced"),
    ):  # fmt: skip
        with pytest.raises(coverage_fuzz.Finding, match=what):
            answered(*messages)
    with pytest.raises(ValueError, match="Expecting value"):
        answered(start(content_type="application/json"), body)


@pytest.mark.parametrize("name", ["kv", "admin"])
def test_mistakes_of_a_server_are_found(packages, tmp_path, name, monkeypatch):
    target = coverage_fuzz.TARGETS[name](packages, tmp_path)

    def fail(*_, **__):
        raise ZeroDivisionError("a mistake")

    async def forget(*_):
        """It does not answer."""

    try:
        target.run(b"GET /status")
        if name == "kv":
            monkeypatch.setattr(KeyValues, "apply_batch", fail)
            with pytest.raises(coverage_fuzz.Finding, match="a mistake"):
                target.run(b'POST /v3/kv/put\n\n{"key":"YQ=="}')
            monkeypatch.setattr(Face, "_call", forget)
            with pytest.raises(coverage_fuzz.Finding, match="no answer"):
                target.run(b"POST /v3/kv/put\n\nx")
        else:
            monkeypatch.setattr(target.node, "cluster_status", fail)
            with pytest.raises(ZeroDivisionError):
                target.run(b"GET /cluster")
    finally:
        target.close()
