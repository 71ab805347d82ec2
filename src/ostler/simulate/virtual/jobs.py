"""A workload: pieces of work with their instants, their true lengths, and in words how they were made.

What the scheduler is told of a job is what the hub would know at submit: the task, and the length of its prompt. The
true length of the answer, or the true duration, is known to the simulated machine alone.
"""

from random import Random

import msgspec

from ostler.domain.catalog import ModelSpec, Speeds
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskFacts, TaskSpec
from ostler.routing.facts import describe

COMMAND_MS = 1_000
"""How long a command takes of which nothing is known."""
_DEFAULT_SPEEDS = Speeds()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A task with what only the simulation knows of it."""

    spec: TaskSpec
    arrival_ms: int = 0
    """From the start of the workload."""
    prompt_tokens: int | None = None
    """`None` = as the hub estimates from the text."""
    output_tokens: int | None = None
    """True length of the answer; `None` = the policy's usual length."""
    duration_ms: int | None = None
    """True duration of the work once it runs; `None` = it follows from tokens and speeds."""
    duration_on: str | None = None
    """The model that `duration_ms` holds for; `None` = for every one."""

    @property
    def id(self) -> str:
        """The id of its task."""
        return self.spec.id


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs in order of arrival."""

    name: str
    jobs: tuple[Job, ...]
    rules: tuple[str, ...] = ()
    """What was decided to make it, in sentences: scale, models, seed, what was left out."""


def facts_of(job: Job, policy: Policy) -> TaskFacts:
    """What routing knows of a job at submit. Raises `InvalidInputError` as the hub would."""
    return told_of(job, describe(job.spec, policy), policy)


def told_of(job: Job, facts: TaskFacts, policy: Policy) -> TaskFacts:
    """The facts of a task with the length of its prompt, where the job says it."""
    if job.prompt_tokens is None:
        return facts
    room = job.spec.max_output_tokens or policy.routing.default_output_tokens
    window = job.spec.context_tokens or job.prompt_tokens + room
    return msgspec.structs.replace(facts, prompt_tokens=job.prompt_tokens, context_tokens=window)


class Lengths(msgspec.Struct, frozen=True):
    """How long jobs take: from tokens and speeds, or as stated, times seeded noise.

    Noise is log-normal with median 1 and belongs to the job, so that every policy meets the same surprises.
    """

    seed: int = 0
    sigma: float = 0.0

    def service_ms(self, job: Job, facts: TaskFacts, model: ModelSpec | None, policy: Policy) -> int:
        """Time on the machine once the model is loaded and a slot is free; at least a millisecond."""
        nominal = nominal_ms(job, facts, model, policy)
        if not self.sigma:
            return nominal
        factor = Random(f"{self.seed}/{job.id}").lognormvariate(0.0, self.sigma)
        return max(1, round(nominal * factor))


def output_tokens_of(job: Job, facts: TaskFacts, policy: Policy) -> int:
    """True length of the answer in tokens."""
    if job.output_tokens is not None:
        return job.output_tokens
    return facts.output_tokens if facts.output_tokens is not None else policy.routing.default_output_tokens


def nominal_ms(job: Job, facts: TaskFacts, model: ModelSpec | None, policy: Policy) -> int:
    """The duration of a job on a model without noise; at least a millisecond."""
    there = model.name if model is not None else None
    if job.duration_ms is not None and job.duration_on in (None, there):
        return max(1, job.duration_ms)
    if model is None:
        return COMMAND_MS
    speeds = model.speeds
    prefill_s = facts.prompt_tokens / speeds.prefill_tokens_per_s if speeds.prefill_tokens_per_s > 0 else 0.0
    decoded = output_tokens_of(job, facts, policy)
    decode_s = decoded / speeds.decode_tokens_per_s if speeds.decode_tokens_per_s > 0 else 0.0
    return max(1, speeds.first_token_ms + round(1000 * (prefill_s + decode_s)))


def spec_of(name: str, policy: Policy) -> ModelSpec:
    """The model of that name, with default speeds when the profile does not know it."""
    return policy.catalog.models.get(name) or ModelSpec(name=name, speeds=_DEFAULT_SPEEDS)
