"""raftx serve beside etcd: random sequences of requests, answered by both. See __main__.py."""
