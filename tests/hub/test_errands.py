"""Work that nobody waits for: never lost, ended with its owner, and its failures are told in words of ours."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn, cast

import pytest
from structlog.testing import capture_logs

from ostler.app import reload
from ostler.app.hub_parts import HubParts
from ostler.config.settings import LoadedProfile
from ostler.config.watch import ProfileWatcher
from ostler.domain.commands import Command, Result
from ostler.domain.tasks import Task
from ostler.hub.attempt_keys import AttemptKeys
from ostler.hub.errands import Errands
from ostler.hub.gateway_desk import GatewayDesk
from ostler.hub.loader import Loader
from ostler.hub.plan_desk import PlanDesk
from ostler.hub.pump import Pump
from ostler.scheduling.effects import Replan, UnloadModel
from ostler.store.errors import StoreError
from ostler.store.memory import MemoryStore
from ostler.workers.timing import SystemTiming
from tests.scheduling.rig import local

GONE = StoreError("the database does not answer")


@pytest.fixture
def pythons_words() -> Iterator[list[str]]:
    """What the event loop itself would tell people."""
    found: list[str] = []
    yield found
    gc.collect()
    assert found == []


def heard(found: list[str]) -> None:
    def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        found.append(str(context))

    asyncio.get_running_loop().set_exception_handler(note)


async def failing(*_: object, **__: object) -> NoReturn:
    raise GONE


def one_load() -> None:
    loader = Loader(cast("Any", object()), lambda _: local("box"), failing, SystemTiming())
    loader.begin(UnloadModel(host="box", endpoint="box", model="m"))


def one_revocation() -> None:
    class Desk:
        class ring:  # noqa: N801 -- stands for an object
            close = staticmethod(lambda _name: True)

        revoke_key = staticmethod(failing)

    task = cast("Task", type("Task", (), {"id": "t1"}))
    AttemptKeys(cast("GatewayDesk", Desk()), MemoryStore()).ended(task, 1)


def one_plan() -> None:
    class GonePump:
        clock = SystemTiming()

        async def apply(self, _commands: list[Command]) -> list[Result]:
            raise GONE

    PlanDesk(cast("Pump", GonePump()), MemoryStore(), failing).ask(Replan(batch="run", version=2, reason="late"))


def one_profile(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def begin() -> None:
        async def poll_once(self: ProfileWatcher) -> None:
            self._on_refused("no profile")
            await asyncio.Event().wait()

        class Hub:
            reload_refused = staticmethod(failing)

        monkeypatch.setattr(ProfileWatcher, "run", poll_once)
        parts = cast("HubParts", type("Parts", (), {"hub": Hub()}))
        profile = cast("LoadedProfile", type("Profile", (), {"path": __import__("pathlib").Path(__file__)}))
        tasks.append(asyncio.ensure_future(reload.watch_profile(parts, profile, None)))

    tasks: list[asyncio.Future[None]] = []
    return begin


@pytest.mark.parametrize("work", ["load", "revocation", "plan", "profile"])
async def test_a_store_that_fails_is_told_in_our_words(
    work: str, pythons_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of the log for each, not a report of Python's that some task was looked after by nobody."""
    begins = {"load": one_load, "revocation": one_revocation, "plan": one_plan, "profile": one_profile(monkeypatch)}
    heard(pythons_words)
    with capture_logs() as lines:
        begins[work]()
        for _ in range(10):
            await asyncio.sleep(0)
        gc.collect()
    told = [line for line in lines if "in the background" in line["event"]]
    assert [line["error"] for line in told] == [str(GONE)]
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def test_what_is_begun_is_kept_until_it_is_over() -> None:
    """Also when nobody else holds it."""
    errands, ended = Errands("an errand"), list[str]()

    async def work(name: str) -> None:
        await asyncio.sleep(0)
        ended.append(name)

    for name in ("a", "b"):
        _ = errands.begin(work(name))
    gc.collect()
    await errands.wait()
    await asyncio.sleep(0)
    assert ended == ["a", "b"]
    assert errands._under_way == set()


@pytest.mark.parametrize("turns", range(3))
async def test_a_stop_ends_all(turns: int) -> None:
    """However few turns of the loop after they began, and without a word."""
    errands = Errands("an errand")

    def begun() -> Coroutine[Any, Any, None]:
        return asyncio.Event().wait()  # type: ignore[return-value]

    for _ in range(2):
        _ = errands.begin(begun())
    for _ in range(turns):
        await asyncio.sleep(0)
    with capture_logs() as lines:
        await errands.stop()
        await errands.stop()
    await asyncio.sleep(0)
    assert (errands._under_way, lines) == (set(), [])
