"""What raftx has to know of a certificate in PEM: until when it is valid, and whom it names. Verifies nothing.

Whether a certificate can be trusted is the TLS library's to say; here only the two fields are read that people are told
of. Opens no file. What cannot be read raises ValueError.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
ALTERNATIVE_NAME = bytes.fromhex("0603551d11")  # the identifier of the extension, as it stands in a certificate
SEQUENCE, OCTETS, UTC_TIME, LONG_TIME = 0x30, 0x04, 0x17, 0x18
VERSION, EXTENSIONS = 0xA0, 0xA3
DNS, URI = 0x82, 0x86


@dataclass(frozen=True)
class Certificate:
    """not_after: seconds since the epoch. dns, uris: subject alternative names of these two types."""

    not_after: int
    dns: tuple[str, ...]
    uris: tuple[str, ...]


def certificates(pem: bytes) -> list[Certificate]:
    """Those in a file, in its order. Raises ValueError."""
    found = []
    for body in PEM.findall(pem):
        try:
            found.append(_certificate(base64.b64decode(b"".join(body.split()), validate=True)))
        except (binascii.Error, IndexError, UnicodeDecodeError) as error:
            raise ValueError("it is no certificate") from error
    return found


def _certificate(data: bytes) -> Certificate:
    signed = _parts(_only(_only(data, SEQUENCE), SEQUENCE, whole=False))
    if signed and signed[0][0] == VERSION:
        signed = signed[1:]
    # Serial number, algorithm, issuer, validity, subject, key; then what is optional.
    validity = _parts(_checked(signed[3], SEQUENCE))
    tag, end = validity[1]
    dns: list[str] = []
    uris: list[str] = []
    for kind, body in signed[6:]:
        if kind != EXTENSIONS:
            continue
        for _, extension in _parts(_only(body, SEQUENCE)):
            if not extension.startswith(ALTERNATIVE_NAME):
                continue
            held = _checked(_parts(extension)[-1], OCTETS)
            for what, name in _parts(_only(held, SEQUENCE)):
                if what in (DNS, URI):
                    (dns if what == DNS else uris).append(name.decode("ascii"))
    return Certificate(_time(tag, end), tuple(dns), tuple(uris))


def _time(tag: int, text: bytes) -> int:
    digits = text.decode("ascii")
    if tag == UTC_TIME:
        # Two digits of the year: up to 49 they are of this century.
        digits = ("20" if int(digits[:2]) < 50 else "19") + digits
    elif tag != LONG_TIME:
        raise ValueError("a certificate has an end of another kind than a time")
    import datetime

    made = datetime.datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    return int(made.timestamp())


def _part(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Its tag and content, and where the next part begins."""
    tag, size = data[at], data[at + 1]
    at += 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("a length in a certificate is not one")
        if at + count > len(data):
            raise ValueError("a certificate ends too soon")
        size = int.from_bytes(data[at : at + count], "big")
        at += count
    if at + size > len(data):
        raise ValueError("a certificate ends too soon")
    return tag, data[at : at + size], at + size


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        tag, content, at = _part(data, at)
        found.append((tag, content))
    return found


def _only(data: bytes, tag: int, whole: bool = True) -> bytes:
    """The content of the first part, behind which nothing may be if ``whole``."""
    found, content, end = _part(data, 0)
    if found != tag or (whole and end != len(data)):
        raise ValueError("a part of a certificate is not what it should be")
    return content


def _checked(part: tuple[int, bytes], tag: int) -> bytes:
    if part[0] != tag:
        raise ValueError("a part of a certificate is not what it should be")
    return part[1]
