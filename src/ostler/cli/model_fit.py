"""How models fit a task, for `ostler models compare --task`: what type of work it is, how often each did such work, and
what it would cost there.

A single word is a type of work where outcomes of that type are known; any other text is a prompt that the hub
classifies, as it would if it were handed in.
"""

from typing import TYPE_CHECKING

import msgspec

from ostler.cli import words
from ostler.domain.money import tokens_cost_micro_usd, usd_text
from ostler.domain.tasks import TaskSpec
from ostler.hub.fleet_views import ModelList, ModelRow

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient

ANSWER_TOKENS = 400
"""Length of the answer that costs are told for."""
_CHARACTERS_PER_TOKEN = 4


class ModelFit(msgspec.Struct, frozen=True, kw_only=True):
    """One model for the task. Rates from 0 to 1; `None` = no outcome of such work is known, or no price."""

    model: str
    successes: int = 0
    failures: int = 0
    rate: float | None = None
    rate_low: float | None = None
    """It is at least that, at the confidence of the policy."""
    cost_micro_usd: int | None = None
    chosen: bool = False
    """It would run there now."""


class TaskFit(msgspec.Struct, frozen=True, kw_only=True):
    """What the task is, and the models for it in the order of the comparison."""

    task_type: str
    complexity: str
    prompt_tokens: int
    answer_tokens: int
    where: str
    """What the hub would do with it now."""
    models: tuple[ModelFit, ...]

    def of(self, model: str) -> ModelFit:
        """The fit of a model of the comparison."""
        return next(fit for fit in self.models if fit.model == model)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Models side by side, for a task."""

    models: tuple[ModelRow, ...]
    now_ms: int
    counted: int
    task: TaskFit


def fit_of(client: "HubClient", text: str, compared: ModelList) -> TaskFit:
    """Ask the hub about a task."""
    is_type = len(text.split()) == 1
    known = client.patterns(text).patterns if is_type else ()
    spec = TaskSpec(id="compare", prompt=text, task_type=text if known else None)
    answer = client.route(spec)
    found = answer.verdict.decision.classification
    rows = {row.model: row for row in known or client.patterns(found.task_type).patterns}
    tokens = 0 if known else -(-len(text) // _CHARACTERS_PER_TOKEN)
    fits = []
    for model in compared.models:
        row = rows.get(model.name)
        fits.append(
            ModelFit(
                model=model.name,
                successes=row.successes if row is not None else 0,
                failures=row.failures if row is not None else 0,
                rate=row.mean if row is not None else None,
                rate_low=row.low if row is not None else None,
                cost_micro_usd=cost_on(model, tokens),
                chosen=model.name == answer.verdict.decision.selected_model,
            )
        )
    return TaskFit(
        task_type=found.task_type,
        complexity=found.complexity.value,
        prompt_tokens=tokens,
        answer_tokens=ANSWER_TOKENS,
        where=answer.verdict.decision.summary,
        models=tuple(fits),
    )


def success_text(fit: ModelFit) -> str:
    """How often a model did such work: what came, and what is believed of it."""
    if fit.rate is None or fit.rate_low is None:
        return words.NONE
    done = f"{fit.successes} of {fit.successes + fit.failures}"
    return f"{done}, {fit.rate:.0%} (at least {fit.rate_low:.0%})"


def cost_text(fit: ModelFit) -> str:
    """What the task would cost on a model."""
    return words.NONE if fit.cost_micro_usd is None else usd_text(fit.cost_micro_usd)


def cost_on(model: ModelRow, prompt_tokens: int) -> int | None:
    """What a prompt and a usual answer cost on a model, in micro-dollars; `None` = no price is known."""
    if any(place.local for place in model.places):
        return 0
    if model.input_usd_per_mtok is None or model.output_usd_per_mtok is None:
        return None
    into = tokens_cost_micro_usd(prompt_tokens, model.input_usd_per_mtok)
    return into + tokens_cost_micro_usd(ANSWER_TOKENS, model.output_usd_per_mtok)
