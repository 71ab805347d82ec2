"""The comparison of a hub's last tasks with first-in-first-out, on its own machines."""

import sys

import msgspec
import pytest

from ostler.app.comparing import Answer, Asked, answered, saved_by, saved_in_process
from ostler.domain.errors import InvalidInputError
from ostler.domain.fleet import EndpointView
from ostler.domain.ports import TaskDetail
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.history import Past, minutes_saved
from tests.config.support import EVERYTHING, loaded
from tests.scheduling.rig import three_tiers
from tests.simulate.virtual.pasts import past
from tests.simulate.virtual.worlds import policy

ONE = policy(slots=1)
VIEWS = [
    EndpointView(spec=spec, models=frozenset(spec.models or ONE.catalog.models))
    for spec in ONE.catalog.endpoints.values()
]


def detail(one: Past) -> TaskDetail:
    """A task as the store gives it: earlier attempts are there too, and only the last one counts."""
    assert one.attempt is not None
    return TaskDetail(
        task=one.task, spec=one.spec, attempts=(one.attempt, one.attempt), decisions=(), events=(), output="x"
    )


def test_the_history_of_the_store_is_compared_on_the_machines_of_the_hub() -> None:
    """The same as the comparison itself says of the same tasks; and it says that it is simulated."""
    history = [past("a", began_ms=90_000, work_ms=60_000), past("b", began_ms=200_000, work_ms=60_000)]
    found = saved_by([detail(one) for one in history], ONE, VIEWS)

    assert found == minutes_saved(history, fleet_of(ONE))
    assert found.tasks == 2
    assert "first-in-first-out, simulated" in found.said


def test_without_a_task_there_is_nothing_to_compare() -> None:
    """An idle hour is no saving."""
    found = saved_by([], ONE, VIEWS)

    assert (found.tasks, found.minutes) == (0, 0.0)
    assert found.said == "no task ended in this time, so there is nothing to compare"


def test_machines_that_cannot_be_simulated_are_an_error_with_a_reason() -> None:
    """No endpoint, no comparison."""
    with pytest.raises(InvalidInputError, match="no endpoint to simulate"):
        saved_by([], three_tiers(), [])


HISTORY = [
    detail(past("a", began_ms=90_000, work_ms=60_000)),
    detail(past("b", began_ms=200_000, work_ms=60_000)),
]


async def test_a_process_of_its_own_says_the_same() -> None:
    """The real one, started as a hub starts it; without a task none is started."""
    assert await saved_in_process(HISTORY, ONE, VIEWS) == saved_by(HISTORY, ONE, VIEWS)
    assert (await saved_in_process([], ONE, VIEWS, command=("no such program",))).tasks == 0


def test_what_is_asked_reaches_it_whole() -> None:
    """A profile with everything in it reads back as it was written."""
    asked = Asked(history=tuple(HISTORY), policy=loaded(EVERYTHING).policy, views=tuple(VIEWS))

    assert msgspec.json.decode(msgspec.json.encode(asked), type=Asked) == asked


def test_what_it_refuses_is_an_answer() -> None:
    """In the words of the comparison itself."""
    asked = Asked(history=tuple(HISTORY), policy=three_tiers(), views=())

    found = answered(msgspec.json.encode(asked))

    assert found.saved is None
    assert "no endpoint to simulate" in found.refused


SAYS = "import sys; sys.stdin.readline(); print({!r})"


async def test_what_goes_wrong_with_the_process_is_told() -> None:
    """It refuses, it does not end in time and is killed, it says something odd, or nothing is there."""
    refused = msgspec.json.encode(Answer(refused="too little is known")).decode()
    scenes = {
        "too little is known": (sys.executable, "-c", SAYS.format(refused)),
        "killed": (sys.executable, "-c", "import time; time.sleep(60)"),
        "JSON": (sys.executable, "-c", SAYS.format("what?")),
        "did not start": ("no such program",),
    }
    for said, command in scenes.items():
        with pytest.raises(InvalidInputError, match=said):
            await saved_in_process(HISTORY, ONE, VIEWS, command=command, limit_s=0.5 if said == "killed" else 30.0)
