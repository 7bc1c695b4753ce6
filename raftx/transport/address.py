"""Addresses of members: what they may look like, and their parts. Looks no name up and opens nothing."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from ..errors import ConfigError

TCP = ("tcp", "tcp4", "tcp6")
#: NNG's own: with a host and a port, and with a path or a name
HOSTED = ("tls+tcp", "tls+tcp4", "tls+tcp6", "ws", "ws4", "ws6", "wss", "wss4", "wss6")
NAMED = ("ipc", "unix", "abstract", "inproc")
EXAMPLE = "tcp://127.0.0.1:5601"
HOST = re.compile(r"[^\W]([\w.-]*[\w.])?")


@dataclass(frozen=True)
class Address:
    """One address. ``host`` is without brackets and empty for every interface; ``family`` is 4, 6 or 0 for either."""

    url: str
    scheme: str
    host: str = ""
    port: int = 0
    family: int = 0

    @property
    def is_tcp(self) -> bool:
        """Whether raftx makes and accepts its connections itself."""
        return self.scheme in TCP

    def with_port(self, port: int) -> str:
        """The url of the same address at another port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{port}"


def parse(url: object, field: str, *, listen: bool = False) -> Address:
    """Take an address apart. Raises ConfigError, which names ``field``, the fault and the remedy.

    listen: port 0 (any) and every interface (an empty host, ``*``, ``0.0.0.0`` or ``[::]``) are allowed.
    """
    if not isinstance(url, str):
        raise ConfigError(f"{field} must be an address such as {EXAMPLE}, not {url!r}")

    def wrong(what: str) -> ConfigError:
        return ConfigError(f"{field} has the address {url!r}: {what}, as in {EXAMPLE}")

    try:
        text = url.encode()
    except UnicodeEncodeError:
        raise wrong("it must be text that UTF-8 can hold") from None
    if b"\0" in text:
        raise wrong("it must not have a NUL in it")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in (*TCP, *HOSTED, *NAMED):
        raise wrong("it must begin with tcp://, tcp4://, tcp6://, ipc:// or inproc://")
    if scheme in NAMED:
        if not rest:
            raise wrong("a path or name must follow")
        return Address(url, scheme)
    place = rest if scheme in TCP else rest.split("/", 1)[0]
    host, separator, digits = place.rpartition(":")
    if not separator or (place.endswith("]") and place.startswith("[")):
        raise wrong("the port is missing")
    if not re.fullmatch(r"[0-9]{1,5}", digits, re.ASCII) or not (0 if listen else 1) <= int(digits) <= 65535:
        raise wrong(f"the port must be in {0 if listen else 1}..65535")
    family = {"4": 4, "6": 6}.get(scheme[-1], 0)
    if host in ("", "*"):
        if not listen:
            raise wrong("the host is missing")
        host = ""
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise wrong("what is in brackets must be an IPv6 address") from None
        if family == 4:
            raise wrong("the host must be an IPv4 address or a name")
    elif not HOST.fullmatch(host) or not _is_name(host):
        raise wrong("the host must be a name, an IPv4 address or an IPv6 address in brackets")
    elif re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise wrong("the host is not an IPv4 address") from None
        if family == 6:
            raise wrong("the host must be an IPv6 address in brackets or a name")
    if not listen and is_everywhere(host):
        raise wrong(f"{host} is where a member listens, not where others reach it: the host must be its own")
    return Address(url, scheme, host, int(digits), family)


def _is_name(host: str) -> bool:
    """Whether it has a form in which it can be looked up."""
    try:
        return len(host if host.isascii() else host.encode("idna")) <= 253
    except UnicodeError:  # a part that is empty, or longer than 63
        return False


def is_everywhere(host: str) -> bool:
    """Whether it is every interface of the machine that listens there: another one would dial itself."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine can reach what listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen_on(address: Address, backlog: int = 128) -> socket.socket:
    """A socket that listens there. Raises OSError, also when the host is a name that cannot be looked up."""
    kind = {4: socket.AF_INET, 6: socket.AF_INET6}.get(address.family, socket.AF_UNSPEC)
    if not address.host and not address.family:
        kind = socket.AF_INET
    found = socket.getaddrinfo(address.host or None, address.port, kind, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    made = socket.socket(found[0][0], socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(found[0][4])
        made.listen(backlog)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
