"""Members that run, over the HTTP of their admin pages: where they are, what is asked, and what became of it.

A question goes to one member after the other until one answers. A request that changes something goes on to the next
one only while nothing of it was sent: what was sent may have been done.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import click

from ..cluster_file import ClusterFile
from .base import PATH, Told
from .codes import NOT_DONE, REFUSED, UNKNOWN, UNREADABLE, USAGE

DEFAULT_FILE = "cluster.toml"
CONNECT_S = 3.0  # to one member, before the next one is asked
LOOK_S, CHANGE_S = 10.0, 60.0  # for an answer, and until something is done, unless --timeout says otherwise
GRACE_S = 15.0  # beyond the time that a member has for its answer
CHUNK = 1 << 20
TEXT_MAX = 64 << 10  # bytes of a refusal
NOT_BEGUN = (404, 405, 421, 503)  # answers of a server that has begun nothing
ADDRESSES, TOKEN = "RAFTX_ADMIN", "RAFTX_TOKEN"  # in the environment


class Unreachable(Exception):
    """A member cannot be asked, and has not been asked anything."""


class Unanswered(Exception):
    """A member was asked, and there is no answer."""


class Admin:
    """The members of a cluster, of which any will do.

    urls: where their admin pages are. token: for what changes something; "": there is none. timeout: seconds for an
    answer, and until something is done; None: LOOK_S and CHANGE_S.
    """

    def __init__(self, urls: list[str], token: str, timeout: float | None) -> None:
        self.urls = urls
        self.token = token
        self.patience = timeout or LOOK_S
        self.timeout = timeout or CHANGE_S
        #: who answered last
        self.answered = ""

    def only(self, url: str) -> Admin:
        """One of the members alone."""
        one = Admin([url], self.token, None)
        one.patience, one.timeout = self.patience, self.timeout
        return one

    def get(self, path: str, **query: Any) -> Any:
        """What a member says. Raises Told."""
        return next(self._each(path, **query))

    def _each(self, path: str, **query: Any) -> Iterator[Any]:
        """What one member after the other says, as far as they answer. Raises Told if none does."""
        where = f"{path}?{urlencode(query)}" if query else path
        refusals = []
        for url in self.urls:
            try:
                document = _Answer(url, "GET", where, self._headers(), None, self.patience).document()
            except (Unreachable, Unanswered) as error:
                refusals.append(str(error))
                continue
            self.answered = url
            yield document
        if len(refusals) == len(self.urls):
            raise nobody(refusals)

    def cluster(self) -> dict[str, Any]:
        """What a member says of all: the first whose node runs, else the first that answers. Raises Told.

        One that was removed, or whose disk has failed, may go on answering, and knows nothing of the others any more.
        """
        first: tuple[dict[str, Any], str] | None = None
        for found in self._each("/cluster"):
            checked = self._checked(found)
            if runs(checked):
                return checked
            first = first or (checked, self.answered)
        assert first is not None
        found, self.answered = first
        return found

    def _checked(self, found: Any) -> dict[str, Any]:
        known = ("cluster", "id", "leader", "term", "members")
        of_each = ("id", "url", "role", "voter", "learner", "reachable", "error", "seen_ms", "status")
        good = isinstance(found, dict) and all([key in found for key in known]) and isinstance(found["members"], list)
        if not good or not all([isinstance(each, dict) and each.keys() >= {*of_each} for each in found["members"]]):
            raise Told(f"{self.answered} answers something else than a member of this version of raftx", UNREADABLE)
        return dict(found)

    def post(self, path: str, **body: Any) -> Any:
        """The result of a request that was done. Raises Told, with the code for what became of it."""
        body = {**body, "timeout": self.timeout}
        refusals = []
        for url in self.urls:
            try:
                document = _Answer(url, "POST", path, self._headers(), body, self.timeout + GRACE_S).document()
            except Unreachable as error:
                refusals.append(str(error))
                continue
            except Unanswered as error:
                reason = f"{error}, after the request was sent"
                raise Told(
                    f"{reason}: it may have been done. Look (raftx status) before you repeat it",
                    UNKNOWN,
                    {"outcome": "unknown", "reason": reason},
                ) from error
            return document.get("result")
        raise nobody(refusals)

    def download(self, path: str, take: Callable[[bytes, int | None], object]) -> int:
        """Give ``take`` what a member sends, and the number of bytes of all or None; how many came. Raises Told."""
        where = f"{path}?{urlencode({'timeout': self.timeout})}"
        refusals = []
        for url in self.urls:
            try:
                answer = _Answer(url, "GET", where, self._headers(), None, self.timeout + GRACE_S)
            except (Unreachable, Unanswered) as error:
                refusals.append(str(error))
                continue
            try:
                count = 0
                for part in answer.parts():
                    count += len(part)
                    take(part, answer.length)
                return count
            except Unanswered as error:
                raise Told(f"{error}. Nothing was kept; ask again", UNREADABLE) from error
        raise nobody(refusals)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


class _Answer:
    """One request to one member, and its answer. Raises Unreachable, Unanswered, and Told for what is refused."""

    def __init__(
        self, url: str, method: str, path: str, headers: dict[str, str], body: dict[str, Any] | None, timeout: float
    ) -> None:
        self.url = url
        parts = urlsplit(url)
        https = parts.scheme == "https"
        port = parts.port or (443 if https else 80)
        host = parts.hostname or ""
        if https:
            context = ssl.create_default_context()
            self.connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=min(CONNECT_S, timeout), context=context
            )
        else:
            self.connection = http.client.HTTPConnection(host, port, timeout=min(CONNECT_S, timeout))
        try:
            self.connection.connect()
        except OSError as error:
            self.connection.close()
            raise Unreachable(f"{url} cannot be reached: {why(error)}") from error
        data = json.dumps(body).encode() if body is not None else None
        headers = {**headers, "Accept": "*/*", **({"Content-Type": "application/json"} if data is not None else {})}
        try:
            self.connection.sock.settimeout(timeout)
            self.connection.request(method, parts.path.rstrip("/") + path, data, headers)
            self.response = self.connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            raise Unanswered(f"{url} does not answer: {why(error)}") from error
        length = self.response.headers.get("Content-Length", "")
        self.length = int(length) if length.isdecimal() else None
        if self.response.status != 200:
            self._refused(path)

    def document(self) -> Any:
        """The answer, of JSON."""
        try:
            data = self.response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"{self.url} does not answer to the end: {why(error)}") from error
        finally:
            self.connection.close()
        try:
            return json.loads(data)
        except ValueError as error:
            raise Unanswered(f"{self.url} answers something else than a member of raftx") from error

    def parts(self) -> Iterator[bytes]:
        """The answer, of bytes, as they come."""
        count = 0
        try:
            while part := self.response.read(CHUNK):
                count += len(part)
                yield part
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"{self.url} does not answer to the end: {why(error)}") from error
        finally:
            self.connection.close()
        if self.length is not None and count < self.length:
            raise Unanswered(f"{self.url} does not answer to the end: {count:,} of {self.length:,} bytes came")

    def _refused(self, path: str) -> None:
        """An answer that is none of the wanted ones."""
        status, text = self.response.status, ""
        with contextlib.suppress(OSError, http.client.HTTPException):
            text = self.response.read(TEXT_MAX).decode("utf-8", "replace")
        self.connection.close()
        try:
            found = json.loads(text)
        except ValueError:
            found = {}
        found = found if isinstance(found, dict) else {}
        said = " ".join(str(found.get("error") or text).split())
        if status in (401, 403):
            # Whether a token was wanted, or the node has none, it says itself.
            how = "" if "no admin_token" in said else f". Give it with --token or in {TOKEN}"
            raise Told(f"{self.url} refuses: {said or 'the token is wrong'}{how}", REFUSED, {"error": said})
        if status in NOT_BEGUN:
            hint = (
                f": it has no {path}; is it the address of admin pages?"
                if status == 404
                else f": {said}"
                if said
                else ""
            )
            raise Unreachable(f"{self.url} answers {status} {self.response.reason}{hint}")
        if status == 409:
            raise Told(f"not done: {ended(found.get('reason'))} It is safe to repeat it", NOT_DONE, found)
        if status == 504:
            said = ended(found.get("reason"))
            raise Told(f"unknown: {said} Look (raftx status) before you repeat it", UNKNOWN, found)
        if status == 400:
            raise Told(str(found.get("error", "the request is wrong")), USAGE, found)
        raise Unanswered(f"{self.url} answers {status} {self.response.reason}")


def runs(found: dict[str, Any]) -> bool:
    """Whether the member that says this of the cluster is in it, and its node runs."""
    own = [each["status"] for each in found["members"] if each["id"] == found["id"]]
    return bool(own and own[0] and own[0].get("state") == "running")


def ended(reason: object) -> str:
    """A reason as a sentence that others may follow."""
    text = str(reason or "no reason was given")
    return text if text[-1] in ".?!" else f"{text}."


def why(error: BaseException) -> str:
    """In few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__


def nobody(refusals: list[str]) -> Told:
    """None of the members could be asked."""
    hint = "" if len(refusals) > 1 else ". Another member would do, too: --url or --config"
    return Told(f"no member answers: {'; '.join(refusals)}{hint}", UNREADABLE)


# --- where they are ------------------------------------------------------------------------------------


def reached(function: Any) -> Any:
    """The options that say where members are; the command is given ``admin``."""
    options = (
        click.option(
            "--url",
            "urls",
            metavar="URL",
            multiple=True,
            help=f"Of a member's admin pages; or {ADDRESSES}. May be repeated.",
        ),
        click.option(
            "--config",
            metavar="FILE",
            type=PATH,
            help=f"The file of the cluster; default: {DEFAULT_FILE}, if it is there.",
        ),
        click.option("--token", metavar="TOKEN", help=f"For what changes something; better in {TOKEN}."),
        click.option(
            "--timeout",
            metavar="SECONDS",
            type=click.FloatRange(0, 3600, min_open=True),
            help=f"How long a member may take; default: {LOOK_S:.0f} to answer, {CHANGE_S:.0f} to change something.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def admin_of(urls: tuple[str, ...], config: str | None, token: str | None, timeout: float | None) -> Admin:
    """The members that the options, the environment or a file here name. Raises click.UsageError, ConfigError."""
    found = [*urls]
    if not found and config is None:
        found = [each for each in re.split(r"[,\s]+", os.environ.get(ADDRESSES, "")) if each]
    if config is not None or (not found and Path(DEFAULT_FILE).is_file()):
        name = config or DEFAULT_FILE
        found += [each.admin for each in ClusterFile.load(name).members.values() if each.admin]
        if not found:
            raise click.UsageError(
                f"{name} says of no member where its admin pages are: give it an admin, or use --url"
            )
    if not found:
        raise click.UsageError(f"say where a member is: --url http://HOST:PORT, --config FILE, or {ADDRESSES}")
    token = token if token is not None else os.environ.get(TOKEN, "")
    if not token.isascii() or not token.isprintable():
        raise click.UsageError("--token must be of printable ASCII")
    return Admin([with_http(each) for each in found], token, timeout)


def with_http(url: str) -> str:
    """An address of admin pages; without a scheme it is one of HTTP. Raises click.UsageError."""
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise click.UsageError(f"the address of admin pages must be like http://host:8080, not {url!r}")
    return full.rstrip("/")
