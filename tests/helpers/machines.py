"""State machines with snapshots, and with a durable state of their own. Not a test."""


class Machine:
    """Counts and remembers; its state is what it was given, joined."""

    version = 3

    def __init__(self):
        self.items = []
        self.applied = []
        self.restored = None

    def apply(self, entry):
        self.items.append(bytes(entry.data))
        self.applied.append(entry.index)
        return len(self.items)

    def snapshot(self):
        return b"".join(item + b"\n" for item in self.items)

    def restore(self, reader):
        self.items = reader.read().split(b"\n")[:-1]
        self.restored = (reader.index, reader.version)


class Durable(Machine):
    """Keeps its state itself."""

    snapshot = restore = None

    def __init__(self, applied_index=0):
        super().__init__()
        self.applied_index = applied_index

    def apply(self, entry):
        super().apply(entry)
        self.applied_index = entry.index
