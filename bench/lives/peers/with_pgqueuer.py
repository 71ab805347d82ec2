"""PgQueuer on asyncpg, as its documentation starts it; see `rig`. Batches of 100 from 100 in flight on, which is where
it is fastest; its default (10) below, and for the worker that is killed.
"""

import asyncio
import sys

import asyncpg
import rig  # type: ignore[import-not-found]  # beside this program, which runs alone
from pgqueuer import AsyncpgDriver, AsyncpgPoolDriver, Job, Queries, QueueManager, __version__

BATCH = 100


async def lives(url: str) -> None:
    """Orders in, readings out."""
    async with asyncpg.create_pool(url, min_size=4, max_size=16) as pool:
        putting = Queries(AsyncpgPoolDriver(pool))
        await putting.install()
        claiming = await asyncpg.connect(url)
        manager = QueueManager(Queries(AsyncpgDriver(claiming)))
        held = rig.Lives()

        @manager.entrypoint("noop")  # type: ignore[untyped-decorator]
        async def noop(job: Job) -> None:
            held.ran((job.payload or b"").decode())

        async def put(name: str) -> None:
            await putting.enqueue("noop", name.encode())

        async def settled() -> bool:
            return not await pool.fetchval("SELECT EXISTS (SELECT FROM pgqueuer)")

        running = asyncio.create_task(manager.run(batch_size=BATCH))
        await held.serve(put, settled)
        manager.shutdown.set()
        await running


async def work(url: str, file: str) -> None:
    """A worker until it is killed."""
    manager = QueueManager(Queries(AsyncpgDriver(await asyncpg.connect(url))))

    @manager.entrypoint("slow")  # type: ignore[untyped-decorator]
    async def slow(_job: Job) -> None:
        rig.interrupted(file)
        await asyncio.sleep(rig.JOB_S)

    await manager.run()


async def put_one(url: str) -> None:
    """One job that takes long."""
    queries = Queries(AsyncpgDriver(await asyncpg.connect(url)))
    await queries.enqueue("slow", None)


async def install(url: str) -> None:
    """Its tables."""
    await Queries(AsyncpgDriver(await asyncpg.connect(url))).install()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["version"]:
            print(f"pgqueuer {__version__} (asyncpg {asyncpg.__version__})")
        case ["lives", url]:
            asyncio.run(lives(url))
        case ["install", url]:
            asyncio.run(install(url))
        case ["work", url, file]:
            asyncio.run(work(url, file))
        case ["put", url]:
            asyncio.run(put_one(url))
