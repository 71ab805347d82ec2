"""A profile with machines whose memory is declared: two models that exclude each other and a small one, on a rig."""

from msgspec.structs import replace

from ostler.domain.catalog import Catalog, CostClass, HostSpec, ModelSpec, Speeds, TierSpec
from ostler.domain.fleet import GIB
from ostler.domain.policy import FallbackDirection, Policy, ResidencyPolicy, RoutingPolicy, SchedulerPolicy
from tests.scheduling.rig import Rig, local

MODELS = ("big", "other", "small")
SPEEDS = Speeds(load_s=20.0, unload_s=10.0, prefill_tokens_per_s=1000.0, decode_tokens_per_s=40.0)


def policy(*hosts: HostSpec, **residency: object) -> Policy:
    """Each model has a tier of its own name, so that a task picks its model by its tier."""
    catalog = Catalog(
        tiers=(
            TierSpec(name="direct", rank=0, cost=CostClass.FREE),
            *(TierSpec(name=name, rank=rank, models=(name,)) for rank, name in enumerate(MODELS, start=1)),
        ),
        models={
            "big": ModelSpec(name="big", context_tokens=32_768, memory_bytes=20 * GIB, speeds=SPEEDS),
            "other": ModelSpec(name="other", context_tokens=32_768, memory_bytes=20 * GIB, speeds=SPEEDS),
            "small": ModelSpec(name="small", context_tokens=8_192, memory_bytes=5 * GIB, speeds=SPEEDS),
        },
        hosts={host.name: host for host in hosts or (host("box"),)},
    )
    return Policy(
        catalog=catalog,
        routing=RoutingPolicy(
            complexity_tiers={"trivial": "direct", "standard": "big", "complex": "big"},
            fallback_direction=FallbackDirection.NONE,
        ),
        # Nobody beats the heart of a rig's worker, and tests of minutes are not about that.
        scheduler=SchedulerPolicy(heartbeat_ms=10**8, session_dead_ms=10**9, assign_timeout_ms=10**9),
        residency=ResidencyPolicy(**{"turn_per_change": 0.0} | residency),  # type: ignore[arg-type]
        version="hosts",
    )


def host(name: str, memory_gib: int = 32, **fields: object) -> HostSpec:
    """A machine with 2 GiB of its memory reserved."""
    spec = HostSpec(name=name, memory_bytes=memory_gib * GIB, reserve_bytes=2 * GIB)
    return replace(spec, **fields)


def rig_with(*names: str, slots: int = 1, rules: Policy | None = None, loaded: tuple[str, ...] = ()) -> Rig:
    """A rig with a worker and an Ollama on each of these machines, `box` by default; `loaded` is in memory there."""
    rig = Rig(rules or policy(*(host(name) for name in names)))
    furnish(rig, *names, slots=slots, loaded=loaded)
    return rig


def furnish(rig: Rig, *names: str, slots: int = 1, loaded: tuple[str, ...] = ()) -> None:
    """Give a rig a worker and these machines."""
    rig.worker(chat=64)
    for name in names or ("box",):
        rig.up(local(name, slots=slots), models=MODELS, residents=loaded)


def ask(rig: Rig, task_id: str, model: str, **fields: object) -> str:
    """Submit work for a model."""
    return rig.chat(task_id, None, tier=model, **fields)
