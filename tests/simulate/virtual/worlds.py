"""Small fleets and workloads for runs in virtual time, with figures that are easy to add up by hand."""

from collections.abc import Mapping
from random import Random

from msgspec.structs import replace

from ostler.domain.catalog import (
    Catalog,
    CostClass,
    EndpointKind,
    EndpointSpec,
    HostSpec,
    ModelSpec,
    Speeds,
    TierSpec,
)
from ostler.domain.policy import Policy, SchedulerPolicy
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.simulate.virtual.jobs import Job, Workload

GB = 1000**3
MINUTE_MS = 60_000
SIZES_GB = {"big": 20, "other": 20, "small": 4}
LOAD_S = {"big": 20.0, "other": 20.0, "small": 5.0}
UNLOAD_S = {"big": 10.0, "other": 10.0, "small": 2.0}


def model(name: str) -> ModelSpec:
    """10 tokens/s written, 1,000 read; loads and sizes as in the tables above."""
    return ModelSpec(
        name=name,
        context_tokens=32_768,
        memory_bytes=SIZES_GB[name] * GB,
        speeds=Speeds(prefill_tokens_per_s=1000, decode_tokens_per_s=10, load_s=LOAD_S[name], unload_s=UNLOAD_S[name]),
    )


CLOUD_MODEL = ModelSpec(
    name="claude",
    context_tokens=200_000,
    input_usd_per_mtok=1.0,
    output_usd_per_mtok=10.0,
    speeds=Speeds(prefill_tokens_per_s=10_000, decode_tokens_per_s=100, first_token_ms=500),
)


def endpoint(host: str, *, slots: int = 2, models: tuple[str, ...] = ()) -> EndpointSpec:
    """An Ollama of a host."""
    return EndpointSpec(
        name=f"{host}-ollama",
        kind=EndpointKind.OLLAMA,
        url=f"http://{host}:11434",
        provider="ollama",
        host=host,
        local=True,
        slots=slots,
        models=models,
    )


def policy(hosts: Mapping[str, int] | None = None, *, slots: int = 2, cloud: bool = False, **rules: int) -> Policy:
    """Hosts with so many GB each that serve `big`, `other` and `small`; with `cloud`, a provider for `claude`."""
    hosts = {"box": 24} if hosts is None else hosts
    endpoints = [endpoint(host, slots=slots) for host in hosts]
    tiers = [
        TierSpec(name="direct", rank=0, cost=CostClass.FREE),
        TierSpec(name="local", rank=1, models=("small", "big", "other"), cost=CostClass.LOCAL),
    ]
    models = {name: model(name) for name in SIZES_GB}
    if cloud:
        spec = EndpointSpec(
            name="sky",
            kind=EndpointKind.ANTHROPIC,
            url="https://sky.example",
            provider="anthropic",
            host="sky",
            local=False,
            slots=4,
            models=("claude",),
        )
        endpoints.append(spec)
        tiers.append(TierSpec(name="cloud", rank=2, models=("claude",), cost=CostClass.METERED))
        models["claude"] = CLOUD_MODEL
    catalog = Catalog(
        tiers=tuple(tiers),
        models=models,
        endpoints={spec.name: spec for spec in endpoints},
        hosts={name: HostSpec(name=name, memory_bytes=memory * GB) for name, memory in hosts.items()},
    )
    scheduler = replace(SchedulerPolicy(task_ttl_ms=0), **rules)
    return Policy(catalog=catalog, scheduler=scheduler, version="test", profile="test")


def job(name: str, model: str | None = "big", *, at_ms: int = 0, minutes: float = 1, **fields: object) -> Job:
    """A chat task that runs for so many minutes."""
    spec = TaskSpec(id=name, prompt="do it", model=model, **fields)  # type: ignore[arg-type]
    return Job(spec=spec, arrival_ms=at_ms, duration_ms=round(minutes * MINUTE_MS))


def command(name: str, *, at_ms: int = 0, minutes: float = 1, needs: tuple[str, ...] = ()) -> Job:
    """A command that runs for so many minutes."""
    spec = TaskSpec(id=name, kind=TaskKind.COMMAND, argv=("true",), needs=needs)
    return Job(spec=spec, arrival_ms=at_ms, duration_ms=round(minutes * MINUTE_MS))


def workload(*jobs: Job) -> Workload:
    """Jobs as a workload."""
    return Workload(name="test", jobs=jobs)


def random_workload(seed: int, count: int, *, models: tuple[str, ...] = ("big", "other", "small")) -> Workload:
    """Tasks with needs on earlier ones, some of them commands, some optional; about as many as two hosts carry."""
    dice = Random(seed)
    jobs: list[Job] = []
    at_ms = 0
    for index in range(count):
        at_ms += round(dice.expovariate(1 / 40_000))
        earlier = [job.id for job in jobs[-5:]]
        needs = tuple(sorted(dice.sample(earlier, min(len(earlier), dice.choice((0, 0, 0, 1, 2))))))
        minutes = dice.choice((0.2, 0.5, 1, 3))
        if dice.random() < 0.1:
            jobs.append(command(f"t{index:03d}", at_ms=at_ms, minutes=minutes, needs=needs))
        else:
            jobs.append(
                job(
                    f"t{index:03d}",
                    dice.choice(models),
                    at_ms=at_ms,
                    minutes=minutes,
                    needs=needs,
                    optional=dice.random() < 0.2,
                )
            )
    return workload(*jobs)
