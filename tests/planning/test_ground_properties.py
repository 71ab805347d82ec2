"""Problems posed from generated profiles and tasks: whatever they say, what comes out can be planned or is refused."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, HostSpec, ModelSpec, Speeds, TierSpec
from ostler.domain.tasks import TaskSpec
from ostler.planning.ground import WORKERS, Ground, Machine, ground, holds_memory, with_copies, with_machines
from ostler.planning.instance import can_host, checked
from ostler.planning.plan_checker import check_plan
from ostler.planning.problem import Posed, Wanted, pose
from ostler.planning.strategies import planned

GB = 1000**3
MODELS = ("a:3b", "b:7b", "c:32b", "d")
SIZES = st.integers(1, 40).map(lambda size: size * GB)


@st.composite
def model_specs(draw: st.DrawFn) -> dict[str, ModelSpec]:
    """Models of known and unknown size, with and without a price."""
    return {
        name: ModelSpec(
            name=name,
            memory_bytes=draw(st.none() | SIZES),
            input_usd_per_mtok=draw(st.none() | st.sampled_from([0.0, 2.5])),
            output_usd_per_mtok=draw(st.none() | st.sampled_from([0.0, 10.0])),
            speeds=Speeds(load_s=draw(st.integers(0, 60)), unload_s=draw(st.integers(0, 30))),
        )
        for name in MODELS
    }


@st.composite
def endpoints(draw: st.DrawFn, name: str) -> EndpointSpec:
    """An endpoint of one of two machines, or of a cloud; some list their models, some are switched off."""
    local = draw(st.booleans())
    return EndpointSpec(
        name=name,
        kind=EndpointKind.OLLAMA if local else EndpointKind.OPENAI,
        url=f"http://{name}:1",
        provider=draw(st.sampled_from(["ollama", "other"])),
        host=draw(st.sampled_from(["box", "mac"])) if local else f"{name}.example",
        local=local,
        slots=draw(st.integers(1, 8)),
        slots_per_model=draw(st.dictionaries(st.sampled_from(MODELS), st.integers(1, 8), max_size=2)),
        models=tuple(draw(st.lists(st.sampled_from(MODELS), unique=True, min_size=0 if local else 1))),
        enabled=draw(st.integers(0, 5)) > 0,
    )


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """A profile with up to four endpoints."""
    hosts = {
        name: HostSpec(
            name=name,
            memory_bytes=draw(st.none() | SIZES),
            reserve_bytes=draw(st.integers(0, 4)) * GB,
            max_resident_models=draw(st.none() | st.integers(1, 3)),
            pinned=tuple(draw(st.lists(st.sampled_from(MODELS), unique=True, max_size=1))),
            preload=tuple(draw(st.lists(st.sampled_from(MODELS), unique=True, max_size=2))),
        )
        for name in ("box", "mac")
        if draw(st.booleans())
    }
    named = [draw(endpoints(f"e{number}")) for number in range(draw(st.integers(1, 4)))]
    return Catalog(
        tiers=(TierSpec(name="direct", rank=0), TierSpec(name="own", rank=1, models=MODELS[:3], cost=CostClass.LOCAL)),
        models=draw(model_specs()),
        endpoints={spec.name: spec for spec in named},
        hosts=hosts,
    )


def laid(catalog: Catalog, resident: Mapping[str, tuple[str, ...]] | None = None) -> Ground:
    return ground(catalog, slots={"a:3b": 2}, sizes={"a:3b": 2 * GB}, resident=resident, command_slots=2)


@given(catalogs(), st.none() | st.just({}) | st.just({"box": MODELS}))
def test_what_is_in_memory_at_the_start_fits(catalog: Catalog, resident: Mapping[str, tuple[str, ...]] | None) -> None:
    """Within the memory and the limit of residents, each once, and only models that the host has."""
    for host in laid(catalog, resident).hosts:
        assert len(set(host.resident)) == len(host.resident), "no model is in memory twice"
        assert set(host.resident) <= set(host.models), "only what the host has is in its memory"
        if host.memory_bytes is not None:
            held = sum(host.models[model].memory_bytes for model in host.resident)
            assert held <= host.memory_bytes, "what is in memory fits"
        if host.max_resident is not None:
            assert len(host.resident) <= host.max_resident, "no more than the limit of residents"
        pinned = {model for model, serving in host.models.items() if serving.pinned}
        assert pinned <= set(host.resident), "what is pinned is there"


@given(catalogs())
def test_hosts_are_told_apart_and_stand_for_every_enabled_endpoint(catalog: Catalog) -> None:
    """Names are unique; each enabled endpoint has a host, a disabled one has none; the least slots count."""
    found = laid(catalog)
    hosts = {host.name: host for host in found.hosts}

    assert len(hosts) == len(found.hosts), "no two hosts have one name"
    assert set(found.endpoints) == {name for name, spec in catalog.endpoints.items() if spec.enabled}
    for name, place in found.endpoints.items():
        assert catalog.endpoints[name].provider in found.providers[place], "a host knows whose endpoints it has"
        assert set(catalog.endpoints[name].models) <= set(hosts[place].models), "what an endpoint lists is there"
    for host in found.hosts:
        assert all(serving.slots >= 1 for serving in host.models.values()), "every model has a slot"
        if "a:3b" in host.models:
            assert host.models["a:3b"].slots <= 2, "the pipeline's own limit holds"
        if host.cloud:
            assert not any(serving.memory_bytes or serving.load_ms for serving in host.models.values())


@given(catalogs())
def test_the_same_profile_gives_the_same_machines(catalog: Catalog) -> None:
    """Whatever the order in which the profile names things."""
    turned = Catalog(
        tiers=catalog.tiers,
        models=dict(reversed(list(catalog.models.items()))),
        endpoints=dict(reversed(list(catalog.endpoints.items()))),
        hosts=dict(reversed(list(catalog.hosts.items()))),
    )

    assert laid(turned) == laid(catalog)


@given(catalogs(), st.integers(1, 5))
def test_copies_add_machines_and_nothing_else(catalog: Catalog, count: int) -> None:
    """So many of each machine; clouds and workers stay as they are."""
    base = laid(catalog)
    copied = with_copies(base, count)
    machines = [host for host in base.hosts if holds_memory(host)]

    assert len([host for host in copied.hosts if holds_memory(host)]) == count * len(machines)
    assert [host for host in copied.hosts if not holds_memory(host)] == [
        host for host in base.hosts if not holds_memory(host)
    ]
    assert len({host.name for host in copied.hosts}) == len(copied.hosts), "no two hosts have one name"


@given(catalogs(), SIZES)
def test_other_machines_have_every_model_of_the_declared_ones(catalog: Catalog, memory_bytes: int) -> None:
    """One machine instead of all: it knows what any of them knew."""
    base = laid(catalog)
    machines = [host for host in base.hosts if holds_memory(host)]
    if not machines:
        return
    (other, *rest) = with_machines(base, [Machine(name="other", memory_bytes=memory_bytes)]).hosts

    assert set(other.models) == {model for host in machines for model in host.models}
    assert (other.memory_bytes, other.resident) == (memory_bytes, ())
    assert not any(holds_memory(host) for host in rest)


@st.composite
def wishes(draw: st.DrawFn) -> list[Wanted]:
    """Tasks with needs among them: for models, some that nobody has, and commands."""
    names = [f"t{number}" for number in range(draw(st.integers(1, 6)))]
    return [
        Wanted(
            spec=TaskSpec(
                id=name,
                prompt="x",
                needs=tuple(draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=2))) if index else (),
                expected_ms=draw(st.none() | st.integers(1, 10**6)),
                local_only=draw(st.booleans()),
            ),
            models=tuple(draw(st.lists(st.sampled_from((*MODELS, "nobody")), max_size=3))),
            prompt_tokens=draw(st.integers(0, 10**5)),
            output_tokens=draw(st.integers(1, 10**4)),
        )
        for index, name in enumerate(names)
    ]


def put(catalog: Catalog, wanted: list[Wanted]) -> Posed:
    return pose(wanted, laid(catalog, {}), catalog, minute_price_micro_usd=50_000)


@given(catalogs(), wishes())
def test_a_task_has_a_choice_or_is_refused_by_name(catalog: Catalog, wanted: list[Wanted]) -> None:
    """Nothing disappears: each task can run somewhere, or one problem says where it is wrong."""
    found = put(catalog, wanted)
    refused = {problem.where.partition(".")[0] for problem in found.problems}

    for task, item in zip(found.instance.tasks, wanted, strict=True):
        assert task.choices or task.id in refused, "a task without a choice is refused"
        for choice in task.choices:
            able = [host for host in found.instance.hosts if can_host(choice, host)]
            assert able, "every choice has a host"
            assert choice.duration_ms >= 1, "nothing takes no time"
            if item.spec.local_only and item.models:
                assert not any(host.cloud for host in able), "what must stay never leaves"
            if choice.cost_micro_usd:
                assert all(host.cloud for host in able), "only a cloud costs money"
            if item.spec.expected_ms is not None:
                assert choice.duration_ms == item.spec.expected_ms, "the author's word counts"


@given(catalogs(), wishes())
def test_a_problem_without_mistakes_can_be_planned(catalog: Catalog, wanted: list[Wanted]) -> None:
    """What was posed and not refused passes the check of instances, and a plan of it holds."""
    found = put(catalog, wanted)
    if found.problems:
        return
    pinned = any(serving.pinned for host in found.instance.hosts for serving in host.models.values())
    instance = checked(found.instance)
    if pinned:
        return  # a pinned model may leave no room; that is told when a plan is made
    plan = planned(instance, "hybrid")

    assert check_plan(instance, plan) == ()
    used = {row.host for row in plan.placements}
    assert used <= {host.name for host in instance.hosts}
    assert (WORKERS in used) == any(not item.models for item in wanted)
