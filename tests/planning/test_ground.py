"""The machines of a plan: what a catalogue says of memory, models, slots and clouds, and what has to be assumed."""

import msgspec
import pytest

from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, HostSpec, ModelSpec, Speeds, TierSpec
from ostler.planning.ground import (
    COMMAND,
    WORKERS,
    Ground,
    Machine,
    ground,
    holds_memory,
    with_copies,
    with_machines,
    workers,
)
from ostler.planning.instance import PlanHost, Serving

GB = 1000**3
BIG, SMALL, FAR = "big:32b", "small:7b", "far"


def endpoint(name: str, *, local: bool = True, host: str = "", **fields: object) -> EndpointSpec:
    base = EndpointSpec(
        name=name,
        kind=EndpointKind.OLLAMA if local else EndpointKind.OPENAI,
        url=f"http://{name}:1",
        provider="ollama" if local else "openai",
        host=host or name,
        local=local,
    )
    return msgspec.structs.replace(base, **fields)


def catalog(*endpoints: EndpointSpec, hosts: tuple[HostSpec, ...] = ()) -> Catalog:
    speeds = Speeds(load_s=22.5, unload_s=17.5)
    return Catalog(
        tiers=(
            TierSpec(name="direct", rank=0, cost=CostClass.FREE),
            TierSpec(name="own", rank=1, models=(BIG, SMALL)),
            TierSpec(name="cloud", rank=2, models=(FAR,), cost=CostClass.METERED),
        ),
        models={
            BIG: ModelSpec(name=BIG, memory_bytes=32 * GB, speeds=speeds),
            SMALL: ModelSpec(name=SMALL, memory_bytes=8 * GB),
            FAR: ModelSpec(name=FAR),
        },
        endpoints={spec.name: spec for spec in endpoints},
        hosts={spec.name: spec for spec in hosts},
    )


def laid(
    found: Catalog,
    *,
    slots: dict[str, int] | None = None,
    sizes: dict[str, int] | None = None,
    resident: dict[str, tuple[str, ...]] | None = None,
) -> Ground:
    return ground(found, slots=slots or {}, sizes=sizes or {}, resident=resident, command_slots=2)


BOX = HostSpec(name="box", memory_bytes=36 * GB, reserve_bytes=4 * GB, max_resident_models=1, preload=(BIG,))
OLLAMA = endpoint("ollama", host="box", slots=4)
CLOUD = endpoint("openai", local=False, slots=9, models=(FAR,))


def test_a_machine_has_its_memory_without_the_reserve_and_its_models() -> None:
    """Sizes, speeds and slots are the profile's; what a cloud lists is not a local model."""
    found = laid(catalog(OLLAMA, CLOUD, hosts=(BOX,)))

    assert found.hosts == (
        PlanHost(
            name="box",
            memory_bytes=32 * GB,
            models={
                BIG: Serving(memory_bytes=32 * GB, load_ms=22_500, unload_ms=17_500, slots=4),
                SMALL: Serving(memory_bytes=8 * GB, load_ms=20_000, unload_ms=10_000, slots=4),
            },
            resident=(BIG,),
            max_resident=1,
        ),
        PlanHost(name="openai", models={FAR: Serving(slots=9)}, cloud=True),
        PlanHost(name=WORKERS, models={COMMAND: Serving(slots=2)}, cloud=True),
    )
    assert found.notes == ()
    assert found.endpoints == {"ollama": "box", "openai": "openai"}
    assert found.providers == {"box": {"ollama"}, "openai": {"openai"}}


def test_the_start_may_be_cold_or_as_a_hub_sees_it() -> None:
    """What is in memory is told host by host; preloading is only a plan without a word on it."""
    found = catalog(OLLAMA, hosts=(BOX,))

    assert laid(found, resident={}).hosts[0].resident == ()
    assert laid(found, resident={"box": (SMALL,)}).hosts[0].resident == (SMALL,)


def test_a_pinned_model_is_always_there() -> None:
    """A plan that begins cold still has it, and may not unload it."""
    host = msgspec.structs.replace(BOX, pinned=(SMALL,), max_resident_models=None)
    (box, _) = laid(catalog(OLLAMA, hosts=(host,)), resident={}).hosts

    assert (box.resident, box.models[SMALL].pinned, box.models[BIG].pinned) == ((SMALL,), True, False)


def test_what_does_not_fit_at_the_start_is_told() -> None:
    """The pinned model stays, the preloaded one that has no room beside it is left out."""
    host = msgspec.structs.replace(BOX, pinned=(SMALL,), max_resident_models=None)
    found = laid(catalog(OLLAMA, hosts=(host,)))

    assert found.hosts[0].resident == (SMALL,)
    assert found.notes == (f"host box: {BIG} does not fit beside {SMALL} at the start",)


def test_slots_of_a_model_and_of_the_pipeline_bound_each_other() -> None:
    """The least of endpoint, endpoint and model, and pipeline; never none."""
    spec = msgspec.structs.replace(OLLAMA, slots_per_model={BIG: 3})
    models = laid(catalog(spec, hosts=(BOX,)), slots={SMALL: 2, BIG: 9}).hosts[0].models

    assert (models[BIG].slots, models[SMALL].slots) == (3, 2)


def test_two_endpoints_of_one_machine_are_one_host() -> None:
    """Their models are in one memory; the better offer of slots counts."""
    other = endpoint("llamacpp", host="box", slots=7, models=(BIG,))
    (box, _) = laid(catalog(OLLAMA, other, hosts=(BOX,))).hosts

    assert {name: serving.slots for name, serving in box.models.items()} == {BIG: 7, SMALL: 4}


def test_a_model_of_unknown_size_is_guessed_or_takes_the_whole_host() -> None:
    """Too much rather than too little, and never unsaid."""
    spec = msgspec.structs.replace(OLLAMA, models=("odd", "new:7b"))
    found = laid(catalog(spec, hosts=(BOX,)), sizes={"new:7b": 5 * GB})

    sizes = {name: serving.memory_bytes for name, serving in found.hosts[0].models.items()}
    assert sizes == {"odd": 32 * GB, "new:7b": 5 * GB}
    assert found.notes == (
        "model new:7b: its memory is not stated; taken as 5.0 GB",
        "model odd: its memory is not stated; taken as all of box",
    )


def test_a_machine_of_unknown_memory_holds_everything_and_says_so() -> None:
    """Nothing is invented: there is no limit to plan with."""
    found = laid(catalog(OLLAMA))

    assert found.hosts[0].memory_bytes is None
    assert not found.hosts[0].cloud
    assert found.notes == ("host box: its memory is not stated; all its models count as fitting at once",)


def test_an_endpoint_elsewhere_with_stated_memory_is_a_machine() -> None:
    """A server of one's own behind a public address still swaps models."""
    spec = endpoint("far-box", local=False, models=(BIG,))
    (host, _) = laid(catalog(spec, hosts=(HostSpec(name="far-box", memory_bytes=40 * GB),))).hosts

    assert (host.cloud, host.memory_bytes, host.models[BIG].memory_bytes) == (False, 40 * GB, 32 * GB)


def test_a_disabled_endpoint_is_no_place() -> None:
    """What the operator switched off is not planned with."""
    assert laid(catalog(msgspec.structs.replace(OLLAMA, enabled=False))).hosts == (workers(2),)


def test_a_cloud_called_like_a_machine_gets_another_name() -> None:
    """Two hosts of one name could not be told apart in a plan."""
    cloud = msgspec.structs.replace(CLOUD, name="box", host="elsewhere")

    assert [host.name for host in laid(catalog(OLLAMA, cloud, hosts=(BOX,))).hosts] == ["box", "box (cloud)", WORKERS]


def test_copies_of_a_machine_are_alike() -> None:
    """Clouds and commands are not copied."""
    base = laid(catalog(OLLAMA, CLOUD, hosts=(BOX,)))
    copied = with_copies(base, 3)

    assert [host.name for host in copied.hosts] == ["box", "box-2", "box-3", "openai", WORKERS]
    assert msgspec.structs.replace(copied.hosts[2], name="box") == base.hosts[0]
    assert copied.providers["box-3"] == {"ollama"}
    assert with_copies(base, 1) == base


def test_other_machines_have_the_models_of_the_declared_ones() -> None:
    """With their own memory, cold, and without the limit of residents, which is of the declared machine."""
    base = laid(catalog(OLLAMA, CLOUD, hosts=(BOX,)))
    other = with_machines(base, (Machine(name="a", memory_bytes=64 * GB), Machine(name="b", memory_bytes=16 * GB)))

    assert [(host.name, host.memory_bytes, host.resident) for host in other.hosts if holds_memory(host)] == [
        ("a", 64 * GB, ()),
        ("b", 16 * GB, ()),
    ]
    assert other.hosts[0].models == base.hosts[0].models
    assert other.hosts[0].max_resident is None
    assert "ollama" not in other.endpoints
    assert other.providers["a"] == {"ollama"}


def test_other_machines_need_a_declared_one() -> None:
    """A profile of clouds has no models that a machine could hold."""
    with pytest.raises(ValueError, match="no machine of the profile holds models"):
        with_machines(laid(catalog(CLOUD)), (Machine(name="a", memory_bytes=GB),))
