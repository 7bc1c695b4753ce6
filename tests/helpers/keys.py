"""Keys and certificates for tests of TLS: made as ``raftx certs`` makes them, or by trustme. Not a test."""

import datetime
import os

import trustme

from tests.helpers.sockets import CLUSTER


class Files:
    """An authority of ``raftx certs``, and the files of members, in a directory."""

    def __init__(self, impl, directory, cluster=CLUSTER, **settings):
        from raftx.cli.certs import Authority

        self.impl, self.directory, self.cluster, self.settings = impl, directory, cluster, settings
        self.authority = Authority(directory)
        self.authority.open()

    def issue(self, id, days=30, cluster=None):
        """New files for a member."""
        self.authority.issue(id, self.cluster if cluster is None else cluster, days)

    def tls(self, id, who=None, **settings):
        """What a node is given; who: another member, whose files it uses."""
        cert, key = self.authority.paths(id if who is None else who)
        if not cert.exists():
            self.issue(id if who is None else who)
        given = {"cert": cert, "key": key, "ca": self.directory / "ca.pem", **self.settings, **settings}
        return self.impl.Tls(**given)


class Named:
    """An authority of trustme, and members that are told apart by DNS names."""

    def __init__(self, impl, directory, ids=(1, 2, 3)):
        self.impl, self.directory = impl, directory
        self.names = {id: f"member-{id}.example" for id in ids}
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(directory / "ca.pem"))

    def issue(self, id, *names, days=30):
        """New files for a member, with these names."""
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
        made = self.authority.issue_cert(*(names or (self.names[id],)), not_after=end)
        cert, key = self.paths(id)
        made.cert_chain_pems[0].write_to_path(str(cert))
        made.private_key_pem.write_to_path(str(key))
        os.chmod(key, 0o600)

    def paths(self, id):
        """The certificate of a member and its key."""
        return self.directory / f"{id}.pem", self.directory / f"{id}.key"

    def tls(self, id, **settings):
        """What a node is given."""
        cert, key = self.paths(id)
        if not cert.exists():
            self.issue(id)
        given = {"cert": cert, "key": key, "ca": self.directory / "ca.pem", "names": self.names, **settings}
        return self.impl.Tls(**given)
