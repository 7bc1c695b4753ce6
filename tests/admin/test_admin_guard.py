"""Who may ask an admin server, and what for: tokens, names of hosts, addresses that are not loopback."""

import asyncio
import socket
import subprocess
import sys

import pytest

from tests.helpers.admin import TOKEN, Group, ask
from tests.helpers.implementations import module
from tests.helpers.ports import ports

CHANGES = ("add", "promote", "demote", "remove", "move", "replace")


@pytest.fixture(scope="module")
def group(impl):
    made = Group(impl, 1)
    made.leader()
    yield made
    made.close()


def application(impl, **settings):
    node = impl.Node(impl.Config(id=1), impl.MemoryStorage([1]), impl.MemoryNetwork().transport())
    return node.admin(**settings)


def call(app, path="/status", method="GET", root="", **headers):
    """One request to an ASGI application: (code, headers, body)."""
    sent = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "127.0.0.1", **headers}.items()
    ]
    got = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        got.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": root + path,
        "raw_path": path.encode(), "root_path": root, "query_string": b"", "headers": sent, "scheme": "http",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in got[0]["headers"]}
    return got[0]["status"], found, b"".join(each.get("body", b"") for each in got[1:]).decode()


@pytest.mark.parametrize("path", [*[f"/members/{name}" for name in CHANGES], "/transfer", "/snapshot"])
@pytest.mark.parametrize("token", [None, "", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ä" * 20])
def test_nothing_changes_without_the_token(group, path, token):
    header = {} if token is None else {"Authorization": f"Bearer {token}".encode()}
    answer = ask(group.leader().admin_url, path, "POST", {"id": 9, "url": "tcp://127.0.0.1:9"}, **header)
    assert answer.code == 403 and "Authorization: Bearer TOKEN" in answer.text
    assert answer.headers["www-authenticate"] == "Bearer"
    assert group.leader().configuration.voters == (1,)


def test_other_ways_to_send_a_token_do_not_count(impl):
    app = application(impl, token=TOKEN)
    for header in (TOKEN, f"Basic {TOKEN}", f"Bearer{TOKEN}", f"Token {TOKEN}"):
        assert call(app, "/snapshot", "POST", authorization=header)[0] == 403
    # It was let in, and the node does not run.
    for header in (f"Bearer {TOKEN}", f"bearer  {TOKEN} "):
        assert call(app, "/snapshot", "POST", authorization=header)[0] == 409


def test_without_a_token_it_is_shown_only(impl):
    app = application(impl)
    for header in ({}, {"authorization": "Bearer x"}, {"authorization": "Bearer None"}, {"authorization": "Bearer "}):
        code, _, text = call(app, "/snapshot", "POST", **header)
        assert code == 403 and "no admin_token" in text
    assert call(app, "/backup")[0] == 403
    assert call(app)[0] == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "localhost", "LOCALHOST:8080", "10.1.2.3:1"]
)
def test_addresses_lead_nowhere_else(impl, host):
    assert call(application(impl), host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil", "[::1", "a b"]
)
def test_names_may_so_they_are_refused(impl, host):
    """A page of a stranger, whose name was made to lead to this machine."""
    app = application(impl, token=TOKEN)
    code, _, text = call(app, host=host)
    assert code == 421 and "name the host in hosts" in text
    assert call(app, "/snapshot", "POST", host=host, authorization=f"Bearer {TOKEN}")[0] == 421
    assert call(app, "/livez", host=host)[0] == 421


def test_names_that_are_named(impl):
    app = application(impl, hosts=["Raft.example.org"])
    assert call(app, host="raft.example.org")[0] == call(app, host="RAFT.example.org:443")[0] == 200
    assert call(app, host="other.example.org")[0] == 421


def test_reads_may_need_the_token_too(impl):
    app = application(impl, token=TOKEN, protect_reads=True)
    for path in ("/status", "/cluster", "/events", "/metrics", "/nothing"):
        assert call(app, path)[0] == 403
        assert call(app, path, authorization=f"Bearer {TOKEN}")[0] in (200, 404)
    # What probes ask for, and the page, which asks for the token.
    assert call(app, "/livez")[0] == 503 and call(app, "/")[0] == 200
    assert call(app, "/status", root="/raft")[0] == 403 and call(app, "/", root="/raft")[0] == 200


def test_headers_let_nobody_else_read(impl):
    for path in ("/", "/status", "/nothing"):
        _, headers, _ = call(application(impl), path, origin="http://evil.example")
        assert not [name for name in headers if name.startswith("access-control")]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    policy = call(application(impl), "/")[1]["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"admin": 8080}, "admin must be an address"),
        ({"admin": "127.0.0.1"}, "admin must be an address"),
        ({"admin": ":8080"}, "admin must be an address"),
        ({"admin": "127.0.0.1:99999"}, "admin must be an address"),
        ({"admin": "127.0.0.1:x"}, "admin must be an address"),
        ({"admin": "127.0.0.1:0", "admin_token": "short"}, "admin_token must have 8 characters"),
        ({"admin": "127.0.0.1:0", "admin_token": "with a space"}, "admin_token must be a str"),
        ({"admin": "127.0.0.1:0", "admin_token": b"12345678"}, "admin_token must be a str"),
        ({"admin": "127.0.0.1:0", "admin_insecure": 1}, "admin_insecure must be True or False"),
        ({"admin": "0.0.0.0:0"}, "can be reached from other machines"),
        ({"admin": "[::]:0"}, "can be reached from other machines"),
        ({"admin": "10.0.0.1:0"}, "can be reached from other machines"),
        ({"admin": "raft.example.org:0"}, "can be reached from other machines"),
        ({"admin_token": TOKEN}, "admin_token is for a node with an admin server"),
        ({"admin_insecure": True}, "admin_insecure is for a node with an admin server"),
    ],
)
def test_settings_that_are_refused(impl, settings, names):
    with pytest.raises(impl.ConfigError, match=names):
        impl.Node(impl.Config(id=1), impl.MemoryStorage([1]), impl.MemoryNetwork().transport(), **settings)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"token": "short"}, "8 characters"),
        ({"protect_reads": True}, "protect_reads needs a token"),
        ({"hosts": "raft.example.org"}, "hosts must be names"),
        ({"hosts": ["http://raft.example.org"]}, "hosts must be names"),
        ({"hosts": [""]}, "hosts must be names"),
    ],
)
def test_settings_of_an_application_that_are_refused(impl, settings, names):
    with pytest.raises(impl.ConfigError, match=names):
        application(impl, **settings)


def test_what_is_not_loopback_needs_a_token_or_consent(impl):
    server = module(impl, "admin.server")
    node = impl.Node(impl.Config(id=1), impl.MemoryStorage([1]), impl.MemoryNetwork().transport())
    for settings, protected in (
        ({"token": TOKEN, "insecure": False}, True),
        ({"token": None, "insecure": True}, False),
        ({"token": TOKEN, "insecure": True}, False),
    ):
        made = server.server(node, "0.0.0.0:0", **settings)
        guard = made._server.config.app.app.app
        assert (guard.protect_reads, guard.token) == (protected, settings["token"])
    for address in ("127.0.0.1:0", "[::1]:0", "localhost:0", "127.8.9.10:0"):
        assert not server.server(node, address, token=TOKEN, insecure=False)._server.config.app.app.app.protect_reads


def test_a_port_that_is_taken_keeps_the_node_from_starting(impl):
    (port,) = ports(1)
    with socket.create_server(("127.0.0.1", port)):
        node = impl.Node(
            impl.Config(id=1), impl.MemoryStorage([1]), impl.MemoryNetwork().transport(), admin=f"127.0.0.1:{port}"
        )
        assert node.admin_url == ""
        with pytest.raises(impl.TransportError, match=f"admin server cannot listen on 127.0.0.1:{port}"):
            node.start()
        node.close()


def test_without_the_extra_it_says_what_to_install(impl, monkeypatch):
    serving = module(impl, "node.serving")

    def missing(name, package):
        raise ModuleNotFoundError("No module named 'starlette'", name="starlette")

    monkeypatch.setattr(serving.importlib, "import_module", missing)
    with pytest.raises(impl.ConfigError, match=r"pip install 'raftx\[service\]'"):
        application(impl)
    with pytest.raises(impl.ConfigError, match=r"starlette is not installed"):
        impl.Node(impl.Config(id=1), impl.MemoryStorage([1]), impl.MemoryNetwork().transport(), admin="127.0.0.1:0")


def test_importing_raftx_imports_no_extra(impl):
    text = "import raftx, sys; print([n for n in ('starlette', 'uvicorn', 'prometheus_client') if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", text], text=True).strip() == "[]"
