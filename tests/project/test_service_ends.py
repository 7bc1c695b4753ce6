"""A web service whose member was removed: its health checks say so, and it ends, as the documents have it."""

import asyncio

import httpx

import raftx
import raftx.aio
from examples.feature_flags import Flags, service
from tests.helpers.waiting import WAIT


def member(network, id, storage):
    return raftx.aio.Node(raftx.Config(id=id, tick_ms=10), storage, network.transport(), Flags())


def test_it_ends_with_its_member():
    async def main():
        network = raftx.MemoryNetwork()
        ended = asyncio.Event()
        async with member(network, 1, raftx.MemoryStorage(voters=[1, 2])) as first:
            second = member(network, 2, raftx.MemoryStorage(voters=[1, 2]))
            app = service(second, ended.set)
            async with app.router.lifespan_context(app):
                await second.wait_ready(WAIT)
                assert not ended.is_set()
                await asyncio.wait_for(first.remove(2), WAIT)
                await asyncio.wait_for(ended.wait(), WAIT)
                assert isinstance(second.failure, raftx.Removed)
                # Who still asks is told so: no 500, and health checks that name the cause.
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
                    answers = [await client.get("/flags/a"), await client.get("/ready")]
                    answers.append(await client.post("/flags/a", json={"old": None, "new": 1}))
                for answer in answers:
                    assert answer.status_code == 503 and "removed" in answer.text, answer.text
                admin = httpx.ASGITransport(second.node.admin())
                async with httpx.AsyncClient(transport=admin, base_url="http://localhost") as client:
                    for path in ("/livez", "/readyz"):
                        answer = await client.get(path)
                        assert answer.status_code == 503
                        assert "[-]running failed: the node has failed: Removed: " in answer.text

    asyncio.run(main())


def test_a_service_that_is_closed_is_not_told_that_its_member_has_ended():
    async def main():
        ended = asyncio.Event()
        app = service(member(raftx.MemoryNetwork(), 1, raftx.MemoryStorage(voters=[1])), ended.set)
        async with app.router.lifespan_context(app):
            pass
        assert not ended.is_set()

    asyncio.run(main())
