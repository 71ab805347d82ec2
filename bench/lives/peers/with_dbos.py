"""DBOS on PostgreSQL; see `rig`. A workflow without steps is a life. It looks for work once in an interval: 20 ms here,
where its default is a second, at which no life could be shorter; where it is killed, it has its defaults.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import rig  # type: ignore[import-not-found]  # beside this program, which runs alone
from dbos import DBOS

INTERVAL_S = 0.02
APP_VERSION = "bench"


def launch(url: str, executor: str) -> None:
    """Start it under a name of its own, as each of several workers has."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "executor_id": executor,
            "application_version": APP_VERSION,
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )


async def lives(url: str) -> None:
    """Orders in, readings out."""
    launch(url, "one")
    held = rig.Lives()
    told: Callable[[str], None] = held.ran_in_thread

    @DBOS.workflow(name="noop")  # type: ignore[untyped-decorator]
    def noop(name: str) -> None:
        told(name)

    DBOS.launch()
    await DBOS.register_queue_async("queue", polling_interval_sec=INTERVAL_S)
    last = [""]

    async def put(name: str) -> None:
        last[0] = (await DBOS.enqueue_workflow_async("queue", noop, name)).workflow_id

    async def settled() -> bool:
        left = await DBOS.list_workflows_async(status=["PENDING", "ENQUEUED"], limit=1)
        return not left

    await held.serve(put, settled)
    DBOS.destroy()


def other(verb: str, url: str, file: str = "") -> None:
    """A worker until it is killed, one job for it, or its tables."""
    launch(url, f"{verb}-{time.time_ns()}")

    @DBOS.workflow(name="slow")  # type: ignore[untyped-decorator]
    def slow() -> None:
        rig.interrupted(file)
        time.sleep(rig.JOB_S)

    if verb == "put":
        DBOS.listen_queues([])
    DBOS.launch()
    DBOS.register_queue("queue")
    if verb == "put":
        DBOS.enqueue_workflow("queue", slow)
    elif verb == "work":
        time.sleep(1_000)
    DBOS.destroy()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["version"]:
            print(f"dbos {version('dbos')}")
        case ["lives", url]:
            asyncio.run(lives(url))
        case [verb, *rest]:
            other(verb, *rest)
