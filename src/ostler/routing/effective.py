"""What a task asks for at this point of its life: its facts, the results it is handed, the models that have failed.

`chain` is the order in which its own models are tried: the pinned one (or none: the tier's choice), then its fallback
models. A step never goes back: what is decided at step n concerns `chain[n:]` alone.

Handed results make the prompt longer and ask for a larger window, unless the task states the window that it needs in
all. `whole=False` asks for no window for them: they are cut to what is left.
"""

from msgspec.structs import replace

from ostler.domain.tasks import TaskFacts


def chain(facts: TaskFacts) -> tuple[str | None, ...]:
    """The models that a task names, in the order in which they are tried. Never empty; `None` = the tier chooses."""
    return (facts.model, *facts.fallback_models)


def step_of(facts: TaskFacts, model_step: int) -> int:
    """The step within the chain: whoever has failed on all its models stays with the last one."""
    return min(max(0, model_step), len(facts.fallback_models))


def effective(facts: TaskFacts, *, model_step: int = 0, handed_tokens: int = 0, whole: bool = True) -> TaskFacts:
    """The facts that a decision is made on; the very same object when nothing adds to them."""
    step = step_of(facts, model_step)
    if step:
        models = chain(facts)
        facts = replace(facts, model=models[step], fallback_models=facts.fallback_models[step:])
    if handed_tokens:
        room = handed_tokens if whole and not facts.window_stated else 0
        facts = replace(
            facts,
            prompt_tokens=facts.prompt_tokens + handed_tokens,
            context_tokens=facts.context_tokens + room,
        )
    return facts
