"""The command ``raftx``: looks at what members keep on disk, and moves it by hand. See docs/cli.md."""
