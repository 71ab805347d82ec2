"""Procrastinate on psycopg 3; see `rig`. Up to 100 jobs at once; the worker that is killed has its defaults."""

import asyncio
import sys
from importlib.metadata import version

import procrastinate
import rig  # type: ignore[import-not-found]  # beside this program, which runs alone

CONCURRENCY = 100


def made(url: str) -> procrastinate.App:
    """An application on a database."""
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=16))


async def lives(url: str) -> None:
    """Orders in, readings out."""
    app = made(url)
    held = rig.Lives()

    @app.task(name="noop")  # type: ignore[untyped-decorator]
    async def noop(name: str) -> None:
        held.ran(name)

    async def put(name: str) -> None:
        await noop.defer_async(name=name)

    async def settled() -> bool:
        found = await app.connector.execute_query_one_async(
            "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing')) AS is_left"
        )
        return not found["is_left"]

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        running = asyncio.create_task(app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False))
        await held.serve(put, settled)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def other(verb: str, url: str, file: str = "") -> None:
    """A worker until it is killed, one job for it, or its tables."""
    app = made(url)

    @app.task(name="slow")  # type: ignore[untyped-decorator]
    async def slow() -> None:
        rig.interrupted(file)
        await asyncio.sleep(rig.JOB_S)

    async with app.open_async():
        if verb == "install":
            await app.schema_manager.apply_schema_async()
        elif verb == "put":
            await slow.defer_async()
        else:
            await app.run_worker_async()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["version"]:
            print(f"procrastinate {version('procrastinate')} (psycopg {version('psycopg')})")
        case ["lives", url]:
            asyncio.run(lives(url))
        case [verb, *rest]:
            asyncio.run(other(verb, *rest))
