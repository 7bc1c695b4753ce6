"""Clients of recipes on nodes of one process, over memory. Not a test."""

from __future__ import annotations

import contextlib

from tests.helpers.cluster import Cluster
from tests.helpers.implementations import module


class RecipeCluster(Cluster):
    """Nodes with recipes, and clients that are closed with it."""

    def __init__(self, impl, n=3, **settings):
        self.recipes = module(impl, "recipes")
        self.clients = []
        super().__init__(impl, n, **settings)

    def start(self, id):
        self.machines[id] = self.recipes.Recipes()
        config = self.impl.Config(id=id, seed=id, **self.settings)
        node = self.impl.Node(config, self.storages[id], self.network.transport(), self.machines[id])
        self.nodes[id] = node.start()
        return node

    def client(self, id=1, ttl=1.0, **more):
        """A client for threads, on that member."""
        self.nodes[id].wait_ready(30)
        self.clients.append(self.recipes.Client(self.nodes[id], ttl=ttl, **more))
        return self.clients[-1]

    def die(self, client):
        """From now on nothing is heard of this client, and it hears nothing: as if its process were stopped."""
        client.hub._round = lambda: 60.0
        client.hub._wake.set()

    def close(self):
        for client in self.clients:
            client.hub.__dict__.pop("_round", None)
            client.hub._wake.set()
            with contextlib.suppress(self.impl.RaftError):
                client.close()
        super().close()
