"""From what was asked (`TaskSpec`) to what routing needs to know (`TaskFacts`), once, at submit.

Names are resolved here: whatever the caller wrote, facts hold the tier's own name and the normalised model name. An
unknown tier or endpoint is refused with the nearest valid one. An unknown model is taken as it is, because an endpoint
may list what the profile does not name; if none does, the decision says `not served`.

Tokens are estimated as characters / 4, rounded up, system prompt included: close enough for English and code to choose
a window and a place, and never used to bill.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache

import msgspec

from ostler.domain.catalog import DIRECT, Capability, normal_model
from ostler.domain.errors import InvalidInputError, NotFoundError, nearest
from ostler.domain.fleet import EndpointView
from ostler.domain.policy import Policy
from ostler.domain.talk import ROLES
from ostler.domain.tasks import AGENT_CAPABILITY, TaskFacts, TaskKind, TaskSpec
from ostler.learning.kinds import Reader
from ostler.routing.call_facts import ANSWER_ROOM_TOKENS, EXPLICIT, classify_call, step_up
from ostler.routing.classify import classify
from ostler.routing.handing import check_names, handed_needs
from ostler.routing.keywords import KEYWORDS, Keywords
from ostler.routing.ladder import Ladder, Same, ladder_of
from ostler.routing.signature import signature

CHARACTERS_PER_TOKEN = 4
CALL = "call"
"""The id in the facts of every live call: equal calls have equal facts."""
AUTO = "auto"
"""A model name that leaves the choice to us."""
TIER_PREFIX = "tier:"
AGENT_CONTEXT_TOKENS = 32_768
"""Window an agent needs when its task says nothing: the instructions and tools of its program alone take a third of it.
In a smaller one it forgets its tools and only talks, without an error.
"""
_AGENT_NEEDS = frozenset({Capability.TOOLS})
"""A model that is known to call no tools cannot be an agent's; one of which nothing is known is tried."""


def estimate_tokens(text: str) -> int:
    """Estimated length of a text in tokens.

    >>> estimate_tokens(""), estimate_tokens("four"), estimate_tokens("five!")
    (0, 1, 2)
    """
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def describe(
    spec: TaskSpec,
    policy: Policy,
    *,
    endpoints: Collection[str] = (),
    keywords: Keywords = KEYWORDS,
    reader: Reader | None = None,
) -> TaskFacts:
    """Derive the facts of a task. `endpoints` names those registered beside the profile; `reader`: what texts of known
    types teach; it reads what a model may read, and no command.

    Raises `InvalidInputError` for a task that cannot be run as written; `where` is the field.
    """
    _check_content(spec)
    ladder = ladder_of(policy.catalog)
    tier, model = _target(spec, policy, ladder)
    if spec.endpoint is not None and spec.endpoint not in policy.catalog.endpoints and spec.endpoint not in endpoints:
        remedy = nearest(spec.endpoint, (*policy.catalog.endpoints, *endpoints))
        raise InvalidInputError(f"there is no endpoint '{spec.endpoint}'", where="endpoint", remedy=remedy)
    prompt_tokens, output_tokens, context_tokens = _lengths(spec, policy)
    reader = None if spec.kind is TaskKind.COMMAND else reader
    return TaskFacts(
        id=spec.id,
        kind=spec.kind,
        classification=classify(spec, type_ranks=_type_ranks(Same(policy)), keywords=keywords, reader=reader),
        has_command=bool(spec.argv),
        tier=tier,
        model=model,
        fallback_models=_fallback_models(spec, model, policy, ladder),
        endpoint=spec.endpoint,
        local_only=spec.local_only,
        capabilities=spec.capabilities | _AGENT_NEEDS if spec.kind is TaskKind.AGENT else spec.capabilities,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        expected_ms=spec.expected_ms,
        context_tokens=context_tokens,
        window_stated=spec.context_tokens is not None,
        takes=handed_needs(spec) if spec.kind is not TaskKind.COMMAND else (),
        requires=_requires(spec),
        worker=spec.worker,
        owner=spec.owner or "",
        answer_within_ms=spec.answer_within_ms,
        repo=spec.repo,
        critical=spec.critical,
        session=spec.session,
        tick=spec.tick,
        recent_errors=tuple(map(signature, spec.recent_errors)),
        batch=spec.batch,
        batch_limit=spec.batch_limit,
        batch_slots={_model_name(name, policy): slots for name, slots in sorted(spec.batch_slots.items())},
    )


class CallWish(msgspec.Struct, frozen=True, kw_only=True):
    """A live call as a gateway peeks it."""

    model: str
    """A model, an alias, a tier, `tier:NAME`, or `auto`."""
    prompt_tokens: int = 0
    max_output_tokens: int | None = None
    context_tokens: int | None = None
    """The window as the caller states it."""
    capabilities: frozenset[Capability] = frozenset()
    local_only: bool = False
    only_models: frozenset[str] = frozenset()
    """What its key may use, under any of their names; empty = any."""
    only_tiers: frozenset[str] = frozenset()
    text: str = ""
    """The last words of the user; looked at for `auto` alone."""


def describe_call(wish: CallWish, policy: Policy, views: Mapping[str, EndpointView]) -> TaskFacts:
    """Derive the facts of a live call; equal wishes give equal facts. `views`: whose models may be named too.

    O(1) for a model of the profile. Raises `NotFoundError` for a name that nobody knows, `InvalidInputError` for none.
    """
    model, tier = _named(wish.model, policy, views)
    is_open = model is None and tier is None
    asked, usual = wish.max_output_tokens, policy.routing.default_output_tokens
    prompt, window = step_up(wish.prompt_tokens), wish.context_tokens
    room = step_up(min(asked, ANSWER_ROOM_TOKENS)) if asked is not None else usual
    return TaskFacts(
        id=CALL,
        kind=TaskKind.CHAT,
        classification=classify_call(wish.text, _type_ranks(Same(policy))) if is_open else EXPLICIT,
        tier=tier,
        model=model,
        local_only=wish.local_only,
        capabilities=wish.capabilities,
        prompt_tokens=prompt,
        output_tokens=step_up(asked) if asked is not None and asked < usual else None,
        context_tokens=window if window is not None else prompt + room,
        window_stated=window is not None,
        only_models=frozenset(_model_name(name, policy) for name in wish.only_models),
        only_tiers=frozenset(policy.catalog.tier_aliases.get(name, name) for name in wish.only_tiers),
    )


def _named(model: str, policy: Policy, views: Mapping[str, EndpointView]) -> tuple[str | None, str | None]:
    """The model or the tier that a call names, neither for `auto`."""
    catalog, name = policy.catalog, normal_model(model)
    if name in catalog.models:
        return name, None
    own = catalog.model_aliases.get(name)
    if own is not None:
        return own, None
    tier = ladder_of(catalog).find(name.removeprefix(TIER_PREFIX))
    if tier is not None and tier.name != DIRECT:
        return None, tier.name
    if name.lower() == AUTO:
        return None, None
    if any(view.serves(name) for view in views.values()):
        return name, None
    known = {*catalog.models, *catalog.model_aliases, *catalog.tier_aliases, AUTO}
    known.update(tier.name for tier in catalog.tiers if tier.name != DIRECT)
    known -= {alias for alias, own in catalog.tier_aliases.items() if own == DIRECT}
    known.update(name for view in views.values() for name in view.models)
    if not name:
        raise InvalidInputError("the call names no model", where="model", remedy=nearest(name, known))
    raise NotFoundError(f"there is no model '{model}'", where="model", remedy=nearest(name, known))


def _check_content(spec: TaskSpec) -> None:
    check_names(spec)
    _check_limits(spec)
    _check_talk(spec)
    if spec.kind is TaskKind.COMMAND:
        if not spec.argv:
            remedy = "give the program and its arguments as a list, or use kind 'chat' or 'agent' with a prompt"
            raise InvalidInputError("a command needs argv", where="argv", remedy=remedy)
        for field, value in (
            ("model", spec.model),
            ("fallback_models", spec.fallback_models or None),
            ("endpoint", spec.endpoint),
        ):
            if value is not None:
                remedy = "leave it out, or use kind 'chat' or 'agent'"
                raise InvalidInputError(f"a command uses no {field}", where=field, remedy=remedy)
    elif not spec.prompt.strip():
        remedy = "say what to do, or use kind 'command' with argv"
        raise InvalidInputError(f"kind '{spec.kind}' needs a prompt", where="prompt", remedy=remedy)


def _check_talk(spec: TaskSpec) -> None:
    """Refuse a talk that no model could be told, or that nobody would be."""
    if spec.talk and spec.kind is not TaskKind.CHAT:
        remedy = "put what it needs to know into the prompt, or use kind 'chat'"
        raise InvalidInputError(f"kind '{spec.kind}' takes no talk", where="talk", remedy=remedy)
    for at, message in enumerate(spec.talk):
        if message.role not in ROLES:
            remedy = nearest(message.role, ROLES)
            raise InvalidInputError(f"'{message.role}' is no role", where=f"talk[{at}].role", remedy=remedy)
        if not message.text.strip():
            raise InvalidInputError("is empty", where=f"talk[{at}].text", remedy="leave the message out")


def _check_limits(spec: TaskSpec) -> None:
    """Refuse limits of a batch that nothing could run under, or that belong to no batch."""
    limits = {"batch_limit": spec.batch_limit} if spec.batch_limit is not None else {}
    limits |= {f"batch_slots.{model}": slots for model, slots in spec.batch_slots.items()}
    for field, limit in limits.items():
        if limit < 1:
            raise InvalidInputError(f"at most {limit} tasks at once", where=field, remedy="use a number from 1 up")
        if spec.batch is None:
            raise InvalidInputError("the limit of a batch, but no batch", where=field, remedy="name the batch")


def _fallback_models(spec: TaskSpec, model: str | None, policy: Policy, ladder: Ladder) -> tuple[str, ...]:
    """The other models by their own names, each once, without the one they stand in for. A tier's name means its
    models.
    """
    for name in spec.fallback_models:
        if name == AUTO or name.startswith(TIER_PREFIX) or not name.strip():
            remedy = "name models; the tier's own fallback needs no word here"
            raise InvalidInputError(f"'{name}' is no model", where="fallback_models", remedy=remedy)
    names = dict.fromkeys(own for name in spec.fallback_models for own in _model_names(name, policy, ladder))
    return tuple(name for name in names if name != model)


def _model_names(name: str, policy: Policy, ladder: Ladder) -> tuple[str, ...]:
    """The models that a name means: the one of that name or alias, else those of the tier of that name."""
    own = _model_name(name, policy)
    tier = None if own in policy.catalog.models else ladder.find(name.strip())
    return (own,) if tier is None else tier.models


def _model_name(name: str, policy: Policy) -> str:
    """A model's own name, whatever the caller wrote."""
    normal = normal_model(name)
    return policy.catalog.model_aliases.get(normal, normal)


def _target(spec: TaskSpec, policy: Policy, ladder: Ladder) -> tuple[str | None, str | None]:
    """The stated tier and model by their own names. `model` may also name a tier, or be `auto`."""
    tier = ladder.resolve(spec.tier).name if spec.tier is not None else None
    model = normal_model(spec.model) if spec.model is not None else AUTO
    by_model = None
    if model.startswith(TIER_PREFIX):
        by_model = ladder.resolve(model.removeprefix(TIER_PREFIX), where="model")
    elif model != AUTO:
        catalog = policy.catalog
        if model in catalog.models or model in catalog.model_aliases or (found := ladder.find(model)) is None:
            return tier, catalog.model_aliases.get(model, model)
        by_model = found
    if by_model is not None and tier is not None and by_model.name != tier:
        what = f"model '{spec.model}' means tier {by_model.name}, but tier says {tier}"
        raise InvalidInputError(what, where="model", remedy="give one of the two")
    stated = by_model.name if by_model is not None else tier
    if stated == DIRECT and not spec.argv:
        remedy = "give argv, or leave the tier out"
        raise InvalidInputError("tier 'direct' runs a command, and there is none", where="tier", remedy=remedy)
    if stated not in (None, DIRECT) and spec.kind is TaskKind.COMMAND:
        raise InvalidInputError(f"a command uses no tier but '{DIRECT}'", where="tier", remedy="leave the tier out")
    return stated, None


@lru_cache(maxsize=8)
def _type_ranks(same: Same[Policy]) -> Mapping[str, int] | None:
    """Where each type's minimum is on the ladder; `None` when the profile names none."""
    policy = same.value
    ladder = ladder_of(policy.catalog)
    minimums = {**policy.routing.type_minimums, **policy.routing.task_overrides}
    tiers = ((name, ladder.find(tier)) for name, tier in minimums.items())
    return {name: ladder.position(tier.name) for name, tier in tiers if tier is not None} or None


def read_tokens(spec: TaskSpec) -> int:
    """Tokens of all that the model reads of a task itself, estimated; results of needs come on top."""
    return sum(map(estimate_tokens, (spec.system, *(message.text for message in spec.talk), spec.prompt)))


def _lengths(spec: TaskSpec, policy: Policy) -> tuple[int, int | None, int]:
    """Prompt, expected answer (`None` = as usual) and needed window.

    An asked limit makes room for a long answer. As an expectation it only counts where it is shorter than usual:
    callers ask for far more than they get.
    """
    if spec.kind is TaskKind.COMMAND:
        return 0, None, spec.context_tokens or 0
    usual = policy.routing.default_output_tokens
    asked = spec.max_output_tokens
    prompt = read_tokens(spec)
    room = asked if asked is not None else usual
    window = spec.context_tokens if spec.context_tokens is not None else prompt + room
    if spec.kind is TaskKind.AGENT and spec.context_tokens is None:
        window = max(window, AGENT_CONTEXT_TOKENS)
    return prompt, asked if asked is not None and asked < usual else None, window


def _requires(spec: TaskSpec) -> frozenset[str]:
    """What its worker must have: an agent that names its command line needs a worker with that one."""
    if spec.kind is TaskKind.AGENT and spec.runner is not None:
        return spec.requires | {AGENT_CAPABILITY + spec.runner}
    return spec.requires
