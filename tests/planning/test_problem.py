"""From tasks and machines to an instance: choices, durations, prices, and what has no place."""

import msgspec
import pytest

from ostler.domain.catalog import Catalog, ModelSpec, Speeds, TierSpec
from ostler.domain.tasks import Priority, TaskKind, TaskSpec
from ostler.planning.ground import COMMAND, WORKERS, Ground, workers
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving, checked
from ostler.planning.problem import COMMAND_MS, Posed, Wanted, pose

GB = 1000**3
CATALOG = Catalog(
    tiers=(TierSpec(name="direct", rank=0),),
    models={
        "big": ModelSpec(
            name="big", speeds=Speeds(prefill_tokens_per_s=1000, decode_tokens_per_s=10, first_token_ms=50)
        ),
        "far": ModelSpec(name="far", input_usd_per_mtok=2.0, output_usd_per_mtok=10.0),
        "both": ModelSpec(name="both", input_usd_per_mtok=1.0, output_usd_per_mtok=1.0),
        "free": ModelSpec(name="free"),
    },
    model_aliases={"large": "big"},
)
BOX = PlanHost(
    name="box",
    memory_bytes=32 * GB,
    models={
        "big": Serving(memory_bytes=32 * GB),
        "both": Serving(memory_bytes=GB),
        "huge": Serving(memory_bytes=64 * GB),
    },
)
NOBODY = "a.model: no host has the model 'zzz' (is this the right --profile? valid: big, both, far, free, huge, large)"
CLOUD = PlanHost(name="cloud", models={"far": Serving(), "both": Serving(), "free": Serving()}, cloud=True)
GROUND = Ground(
    hosts=(BOX, CLOUD, workers(2)),
    notes=("something was assumed",),
    endpoints={"ollama": "box", "openai": "cloud"},
    providers={"box": frozenset({"ollama"}), "cloud": frozenset({"openai"})},
)


def posed(*wanted: Wanted) -> Posed:
    return pose(wanted, GROUND, CATALOG, minute_price_micro_usd=7, name="p")


def want(*models: str, **fields: object) -> Wanted:
    spec = msgspec.structs.replace(TaskSpec(id="a", prompt="x", expected_ms=60_000), **fields)
    return Wanted(spec=spec, models=models, prompt_tokens=1000, output_tokens=100)


def ways(wanted: Wanted) -> tuple[Choice, ...]:
    return posed(wanted).instance.tasks[0].choices


def test_a_task_keeps_what_planning_needs_of_it() -> None:
    """Needs, importance, label, phase; the price of a minute is the instance's."""
    spec = TaskSpec(
        id="a", prompt="x", expected_ms=5, needs=("b",), priority=Priority.URGENT, optional=True, title="A", phase="p"
    )
    found = posed(Wanted(spec=spec, models=("big",)), want("big", id="b")).instance

    assert found.tasks[0] == PlanTask(
        id="a",
        choices=(Choice(models=("big",), duration_ms=5),),
        needs=("b",),
        weight=8,
        optional=True,
        label="A",
        phase="p",
    )
    assert (found.minute_price_micro_usd, found.name, checked(found)) == (7, "p", found)


def test_choices_are_the_models_in_their_order() -> None:
    """The first model first; one named twice is one choice."""
    assert [way.models for way in ways(want("big", "far", "big"))] == [("big",), ("far",)]


def test_a_cloud_has_a_price_and_a_machine_has_none() -> None:
    """A thousand tokens in at $2, a hundred out at $10 for a million: 3,000 micro-dollars."""
    assert ways(want("far")) == (Choice(models=("far",), duration_ms=60_000, hosts=("cloud",), cost_micro_usd=3_000),)


def test_a_model_that_is_here_and_there_is_two_choices() -> None:
    """The local way first: the same model, and only one of them costs."""
    assert [(way.hosts, way.cost_micro_usd) for way in ways(want("both"))] == [(("box",), 0), (("cloud",), 1_100)]


def test_without_a_word_the_duration_is_that_of_the_tokens() -> None:
    """First token, prompt and answer at the speeds of the model; and it is said that this is a guess."""
    found = posed(want("big", expected_ms=None))

    assert found.instance.tasks[0].choices[0].duration_ms == 50 + 1_000 + 10_000
    assert found.notes == ("something was assumed", "no expected duration, guessed from tokens and speeds: a")


def test_a_price_nobody_stated_is_told() -> None:
    """It cannot be counted, and is not passed off as free."""
    assert "no price is stated, counted as $0: free" in posed(want("free")).notes


def test_a_command_runs_on_the_workers() -> None:
    """It needs no model, and a minute when nobody says how long."""
    spec = TaskSpec(id="a", argv=("make",))

    assert ways(Wanted(spec=spec)) == (Choice(models=(COMMAND,), duration_ms=COMMAND_MS, hosts=(WORKERS,)),)


def test_local_only_never_leaves() -> None:
    """The cloud way of the same model is no choice."""
    assert [way.hosts for way in ways(want("both", local_only=True))] == [("box",)]


@pytest.mark.parametrize(("endpoint", "host"), [("ollama", "box"), ("openai", "cloud")])
def test_a_named_endpoint_is_the_only_place(endpoint: str, host: str) -> None:
    """The explicit choice wins over everything."""
    assert [way.hosts for way in ways(want("both", endpoint=endpoint))] == [(host,)]


def test_a_tier_may_allow_only_some_providers() -> None:
    """Its endpoints are those of the providers it names."""
    assert [way.hosts for way in ways(msgspec.structs.replace(want("both"), providers=("openai",)))] == [("cloud",)]


def test_hosts_that_no_task_can_use_are_left_out() -> None:
    """A plan does not show machines that have nothing to do with it."""
    assert [host.name for host in posed(want("big")).instance.hosts] == ["box"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (want("zzz"), NOBODY),
        (want("larg"), "a.model: no host has the model 'larg' (did you mean 'large'?)"),
        (
            want("huge"),
            "a: no host has enough memory for huge (add a host or memory, or allow another model with `fallback:`)",
        ),
        (want("far", local_only=True), "a: no host that it may use has far (see its `local_only` and `endpoint`)"),
        (want("far", endpoint="ollama"), "a: no host that it may use has far (see its `local_only` and `endpoint`)"),
    ],
)
def test_what_has_no_place_is_told_with_a_remedy(wanted: Wanted, message: str) -> None:
    """Each task that nothing could run, and why."""
    assert [str(problem) for problem in posed(wanted).problems] == [message]


def test_the_same_mistake_at_several_places_is_advised_on_once() -> None:
    """Every place is named; fourteen times the list of all models is not read by anyone."""
    problems = pose([want("zzz"), want("zzz"), want("larg")], GROUND, CATALOG, minute_price_micro_usd=0).problems

    assert [str(problem) for problem in problems] == [
        NOBODY,
        "a.model: no host has the model 'zzz'",
        "a.model: no host has the model 'larg' (did you mean 'large'?)",
    ]


def test_a_model_of_the_profile_without_an_endpoint_is_told_so() -> None:
    """The name is right; what is missing is a place."""
    only_box = msgspec.structs.replace(GROUND, hosts=(BOX,))
    (problem,) = pose([want("far")], only_box, CATALOG, minute_price_micro_usd=0).problems

    assert str(problem) == "a.model: no host has the model 'far' (add an endpoint that serves it)"


def test_slots_of_workers_for_agents_are_said_not_to_count() -> None:
    """A plan that needs more agents at once than workers take is not passed off as certain."""
    said = "slots of the workers for agents are not counted: enough workers have to be there"

    assert said in posed(want("big", kind=TaskKind.AGENT)).notes
    assert said not in posed(want("big")).notes


def test_every_homeless_task_is_told() -> None:
    """All at once, in the order of the file."""
    found = posed(want("x1", id="one"), want("big", id="two"), want("x3", id="three"))

    assert [problem.where for problem in found.problems] == ["one.model", "three.model"]
    assert isinstance(found.instance, Instance)
