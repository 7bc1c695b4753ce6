"""``raftx certs``: an authority and certificates of members, for tests and small installations.

Needs the extra ``certs`` (cryptography). Writes files and nothing else; never replaces a key that it was not told to.
The authority's key should not stay on a member's machine.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import click

from ..config import cluster_id
from ..errors import ConfigError
from ..transport.tls import member_uri
from .base import NATURAL, PATH, Command, Refused, Told
from .codes import NOT_INSTALLED
from .output import as_json, fields, say

CA_DAYS = 3650


@click.command("certs", cls=Command)
@click.argument("ids", metavar="ID...", type=NATURAL, nargs=-1, required=True)
@click.option("--cluster", "name", metavar="NAME", required=True, help="Of the cluster, as its file has it.")
@click.option("--out", metavar="DIR", type=PATH, default="certs", show_default=True, help="Where the files go.")
@click.option(
    "--days",
    metavar="N",
    type=click.IntRange(1, CA_DAYS),
    default=365,
    show_default=True,
    help="How long the certificates of members are valid.",
)
@click.option("--force", is_flag=True, help="Replace certificates and keys of these members; never the authority's.")
def certs(ids: tuple[int, ...], name: str, out: str, days: int, force: bool, programs: bool) -> int:
    """Make an authority and certificates of members, for TLS between them.

    Writes ca.pem and ca.key, unless they are there already, and ID.pem and ID.key for each member. Copy ca.pem and a
    member's own two files to its machine. Keep ca.key elsewhere: whoever has it can speak as any member.
    """
    try:
        cluster = cluster_id(bytes.fromhex(name) if len(name) == 32 and _is_hex(name) else name)
    except ConfigError as error:
        raise click.UsageError(f"--cluster: {error}") from error
    try:
        maker = Authority(Path(out))
    except ModuleNotFoundError as error:
        raise Told(
            "certificates need cryptography, which is not installed: pip install 'raftx[certs]'", NOT_INSTALLED
        ) from error
    there = [path for id in ids for path in maker.paths(id) if path.exists()]
    if there and not force:
        raise Refused(f"{there[0]} is there already. Nothing was changed. To replace it: --force")
    maker.open()
    for id in sorted(set(ids)):
        maker.issue(id, cluster, days)
    if programs:
        names = {str(id): member_uri(cluster, id) for id in sorted(set(ids))}
        say(as_json({"directory": os.fspath(maker.directory), "authority_made": maker.made, "names": names}))
        return 0
    rows = [("written to", out), ("authority", "made" if maker.made else "was there already")]
    say(fields([*rows, *[(f"member {id}", member_uri(cluster, id)) for id in sorted(set(ids))]]))
    say("\nKeep ca.key away from the members: whoever has it can speak as any of them.")
    return 0


def _is_hex(text: str) -> bool:
    return all([each in "0123456789abcdefABCDEF" for each in text])


class Authority:
    """Signs certificates of members in one directory. Raises ModuleNotFoundError without cryptography."""

    def __init__(self, directory: Path) -> None:
        import cryptography.hazmat.primitives.asymmetric.ec
        import cryptography.x509  # noqa: F401  # both: missing now, or never

        self.directory = directory
        self.made = False
        self._key: Any = None
        self._own: Any = None

    def paths(self, id: int) -> tuple[Path, Path]:
        """The certificate of a member and its key."""
        return self.directory / f"{id}.pem", self.directory / f"{id}.key"

    def open(self) -> None:
        """Take the authority that is there, or make one. Raises Refused when only half of one is there."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization

        cert, key = self.directory / "ca.pem", self.directory / "ca.key"
        self.directory.mkdir(parents=True, exist_ok=True)
        if cert.exists() != key.exists():
            missing = key if cert.exists() else cert
            raise Refused(f"{missing} is missing beside its other half: put it there, or choose another directory")
        if cert.exists():
            try:
                self._own = x509.load_pem_x509_certificate(cert.read_bytes())
                self._key = serialization.load_pem_private_key(key.read_bytes(), None)
            except (ValueError, TypeError) as error:
                raise Refused(f"{cert} and {key} are not an authority in PEM without a password") from error
            if self._own.public_key() != self._key.public_key():
                raise Refused(f"{cert} and {key} do not belong together")
            return
        self._key = _new_key()
        name = _name("raftx authority")
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = _begun(name, name, self._key.public_key(), CA_DAYS)
        made = made.add_extension(x509.BasicConstraints(True, 0), True).add_extension(usage, True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False)
        self._own = _signed(made, self._key)
        self.made = True
        _write(key, _key_text(self._key), 0o600)
        _write(cert, self._own.public_bytes(serialization.Encoding.PEM), 0o644)

    def issue(self, id: int, cluster: bytes, days: int) -> None:
        """A certificate for a member, with a new key."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = _new_key()
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        uri = x509.UniformResourceIdentifier(member_uri(cluster, id))
        made = _begun(_name(f"raftx member {id}"), self._own.subject, key.public_key(), days)
        made = made.add_extension(x509.BasicConstraints(False, None), True).add_extension(uses, False)
        made = made.add_extension(x509.SubjectAlternativeName([uri]), False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        own = _signed(made.add_extension(issuer, False), self._key)
        cert_path, key_path = self.paths(id)
        _write(key_path, _key_text(key), 0o600)
        _write(cert_path, own.public_bytes(serialization.Encoding.PEM), 0o644)


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begun(subject: Any, issuer: Any, key: Any, days: int) -> Any:
    from cryptography import x509

    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    # From an hour ago: the members' clocks may be behind this one's.
    made = made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=days))
    return made.serial_number(x509.random_serial_number())


def _signed(made: Any, key: Any) -> Any:
    from cryptography.hazmat.primitives import hashes

    return made.sign(key, hashes.SHA256())


def _key_text(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    plain = serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))


def _write(path: Path, text: bytes, mode: int) -> None:
    """In place of what is there, whole: a node that reads it meanwhile has the one or the other."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
