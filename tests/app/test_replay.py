"""A hub's history beside simulations of it: which machines they run on, and what is said."""

from pathlib import Path

import pytest

from ostler.app import replay
from ostler.app.options import ReplayOptions
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.errors import InvalidInputError
from ostler.domain.fleet import EndpointView, Health
from ostler.domain.states import TaskState
from ostler.hub.views import EndpointList, EndpointRow, TaskAnswer
from tests.simulate.virtual.pasts import NOW_MS, past

PROFILE = """\
name: mine
routing:
  tiers:
    local: {models: [big, other]}
endpoints:
  - {name: box-ollama, provider: ollama, url: "http://box:11434", host: box, slots: 1}
hosts:
  box: {memory: 24GB}
models:
  big: {memory: 20GB, speeds: {load_s: 20, unload_s: 10}}
  other: {memory: 20GB, speeds: {load_s: 20, unload_s: 10}}
"""


@pytest.fixture(autouse=True)
def _profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(PROFILE, encoding="utf-8")


def endpoints(*names: str, models: tuple[str, ...] = ("big", "other")) -> EndpointList:
    """Endpoints of a hub, each on a host of its own but for the one of the profile."""
    rows = [
        EndpointRow(
            view=EndpointView(
                spec=EndpointSpec(
                    name=name,
                    kind=EndpointKind.OLLAMA,
                    url=f"http://{name}:11434",
                    provider="ollama",
                    host="box" if name == "box-ollama" else name,
                    local=True,
                ),
                health=Health.UP,
                models=frozenset(models),
            ),
            in_flight=0,
            source="profile",
        )
        for name in names
    ]
    return EndpointList(endpoints=tuple(rows), now_ms=NOW_MS)


def answer(name: str, **fields: object) -> TaskAnswer:
    made = past(name, **fields)  # type: ignore[arg-type]
    assert made.attempt is not None
    return TaskAnswer(
        task=made.task,
        spec=made.spec,
        attempts=(made.attempt,),
        decisions=(),
        events=(),
        output=None,
        now_ms=NOW_MS,
    )


HISTORY = (
    answer("a", at_ms=0, began_ms=20_000),
    answer("b", at_ms=1_000, began_ms=110_000, model="other"),
    answer("c", at_ms=2_000, began_ms=200_000),
)


def options(**fields: object) -> ReplayOptions:
    plain = {"history": HISTORY, "endpoints": endpoints("box-ollama"), "profile": "mine.yaml", "policies": ("drain",)}
    return ReplayOptions(**{**plain, **fields})  # type: ignore[arg-type]


def test_history_stands_first_then_the_profile_of_the_hub_then_the_others() -> None:
    """Only the first column is real, and the rules say so."""
    comparison = replay(options())

    assert [(result.policy, result.kind) for result in comparison.results] == [
        ("as it happened", "history"),
        ("as configured now", "policy"),
        ("drain", "rival"),
    ]
    assert comparison.rules[-1] == "the first column is what happened; the others are simulated"
    assert all(result.tasks == 3 for result in comparison.results)


def test_grouping_would_have_saved_a_swap() -> None:
    """It happened in order of arrival, 260 s long; serving both tasks of a model first takes one swap, not two."""
    happened, _, drain = replay(options()).results

    assert (happened.makespan_ms, happened.swaps) == (260_000, None)
    assert (drain.makespan_ms, drain.swaps) == (230_000, 1)


def test_the_machines_are_those_of_the_hub() -> None:
    """An endpoint that was added to the running hub is simulated too: with a second machine nothing is swapped."""
    results = replay(options(endpoints=endpoints("box-ollama", "added"))).results

    assert [host.name for host in results[1].hosts] == ["added", "box"]
    assert results[1].swaps == 0


def test_other_profiles_run_on_the_machines_of_the_hub() -> None:
    """A candidate is judged by what it decides, not by machines it imagines."""
    Path("other.yaml").write_text(PROFILE.replace("24GB", "96GB").replace("name: mine", "name: other"), "utf-8")
    result = replay(options(policies=("other.yaml",))).results[2]

    assert (result.policy, result.fleet) == ("other", "mine")
    assert result.swaps


def test_a_history_without_ended_tasks_is_refused() -> None:
    """With what to change."""
    running = (answer("a", state=TaskState.RUNNING),)
    for history in ((), running):
        with pytest.raises(InvalidInputError) as refused:
            replay(options(history=history))

        assert refused.value.where == "--since"


def test_a_machine_that_cannot_be_simulated_is_refused() -> None:
    """A model that the hub serves and the profile gives no size."""
    with pytest.raises(InvalidInputError) as refused:
        replay(options(endpoints=endpoints("box-ollama", models=("big", "unsized"))))

    assert refused.value.where == "models.unsized.memory"


def test_an_unknown_policy_is_refused_before_anything_runs() -> None:
    """With the nearest one."""
    with pytest.raises(InvalidInputError, match="there is no policy 'drian'") as refused:
        replay(options(policies=("drian",)))

    assert "drain" in refused.value.remedy
