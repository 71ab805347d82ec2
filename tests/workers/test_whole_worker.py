"""A whole worker over HTTP: real daemon, real link, real reaper, real commands; only hub and model are played."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ostler.domain.calls import Completion, Delta, ModelCall
from ostler.domain.catalog import EndpointSpec
from ostler.domain.states import FailureClass, Outcome
from ostler.domain.tasks import TaskKind, Usage
from ostler.workers.attempts import Abilities
from ostler.workers.commands import CommandHost
from ostler.workers.daemon import Worker, WorkerSettings
from ostler.workers.guard import ReaperGuard
from ostler.workers.link_http import HttpLink
from ostler.workers.rules import WorkerRules
from ostler.workers.runners.chat import ChatRunner
from ostler.workers.runners.command import CommandRunner
from ostler.workers.timing import SystemTiming
from ostler.workers.verification import Verifier
from tests.workers.fake_hub import FakeHub
from tests.workers.http_hub import TOKEN, HttpHub
from tests.workers.tagged import Tagged, tagged, until
from tests.workers.test_chat_runner import PlayedDriver
from tests.workers.work_made import OFFER, chat, command, route

__all__ = ["tagged"]


class Parrot(PlayedDriver):
    """A model that repeats the prompt."""

    async def chat(
        self, spec: EndpointSpec, call: ModelCall, may_send: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[Delta | Completion]:
        yield Delta(text=call.messages[-1].text)
        yield Completion(finish_reason="stop", usage=Usage(output_tokens=1))


@asynccontextmanager
async def working(tagged: Tagged, http: HttpHub) -> AsyncIterator[Worker]:
    """A worker joined to a hub."""
    rules = WorkerRules(kinds=frozenset({TaskKind.CHAT, TaskKind.COMMAND}), commands=("sh", "sleep", "grep"))
    guard = ReaperGuard(tagged.identity)
    host = CommandHost(rules, guard, environ=dict(os.environ))
    link = HttpLink(http.url, token=TOKEN)
    abilities = Abilities(
        rules=rules,
        runners={TaskKind.COMMAND: CommandRunner(host), TaskKind.CHAT: ChatRunner(lambda _kind: Parrot())},
        verifier=Verifier(host),
    )
    settings = WorkerSettings(identity=tagged.identity)
    worker = Worker(link, OFFER, abilities, settings, timing=SystemTiming(), guard=guard)
    worker.start()
    await until(lambda: "poll" in http.hub.calls)
    try:
        yield worker
    finally:
        await worker.stop(0)
        await link.close()


async def test_every_kind_of_work_comes_back(tagged: Tagged) -> None:
    """A command, a model call with a check, a refused command and a cancelled one each end as they should."""
    hub = FakeHub(lease_ms=3_000)
    async with HttpHub(hub).serving() as http, working(tagged, http):
        hub.give(command("sh", "-c", "echo done", task_id="good"))
        hub.give(
            chat("say cheese", task_id="asked", route=route(), verify=[["sh", "-c", 'grep cheese "$OSTLER_OUTPUT"']])
        )
        hub.give(command("rm", "-r", "x", task_id="bad"))
        await until(lambda: len(hub.ends()) == 3)
        hub.give(command("sleep", "60", task_id="long"))
        await until(lambda: hub.is_started("long"))
        hub.cancel("long", 1)
        await until(lambda: len(hub.ends()) == 4)

    ends = {task_id: end for (task_id, _), end in hub.ends().items()}
    assert ends["good"].output == "done\n"
    assert (ends["asked"].ok, ends["asked"].outcome, ends["asked"].output) == (True, Outcome.VERIFIED, "say cheese")
    assert ends["bad"].failure is not None
    assert ends["bad"].failure.kind is FailureClass.POLICY
    assert ends["long"].failure is not None
    assert ends["long"].failure.kind is FailureClass.CANCELLED
    assert hub.left == ["s1"]


async def test_many_short_commands_all_come_back(tagged: Tagged) -> None:
    """Commands that follow each other quickly each end once, good and bad, with nothing left over."""
    hub = FakeHub(lease_ms=3_000)
    async with HttpHub(hub).serving() as http, working(tagged, http) as worker:
        for number in range(30):
            hub.give(command("sh", "-c", f"echo {number}; exit {number % 2}", task_id=f"t{number}"))
        await until(lambda: len(hub.ends()) == 30)
        assert worker.running == 0
        assert tagged.count() == 0

    assert {end.output for end in hub.ends().values()} == {f"{number}\n" for number in range(30)}
    assert [end.ok for (task_id, _), end in hub.ends().items()].count(True) == 15


async def test_a_worker_finds_its_hub_again(tagged: Tagged) -> None:
    """When the hub is restarted and knows nothing, the worker kills what ran, joins again and serves on."""
    hub = FakeHub(lease_ms=900)
    async with HttpHub(hub).serving() as http, working(tagged, http):
        hub.give(command("sleep", "60", task_id="before"))
        await tagged.until(lambda count: count == 2)

        hub.forget("s1")
        await until(lambda: "s2" in hub.sessions)
        assert tagged.count() == 0
        hub.give(command("sh", "-c", "true", task_id="after"))
        await until(lambda: ("after", 1) in hub.ends())

        before = hub.ends()["before", 1]
        assert before.failure is not None
        assert before.failure.kind is FailureClass.WORKER_LOST
