"""Draft -> the rules of routing, and the checks of numbers that must agree with each other."""

from collections.abc import Mapping
from itertools import pairwise

from ostler.config.draft import Draft
from ostler.config.ladder import Ladder, tier_reference
from ostler.config.mistakes import SettingPath
from ostler.config.units import duration_text
from ostler.config.vocabulary import CONTEXT_SIZES, TYPE_MINIMUMS, misspelt_task_type
from ostler.domain.catalog import DIRECT
from ostler.domain.errors import InvalidInputError, nearest
from ostler.domain.policy import RoutingPolicy
from ostler.domain.schedules import check
from ostler.domain.tasks import AGENT_NAMES, Complexity, TaskKind

MAY_BE_ZERO = frozenset(
    {
        "answer_within",
        "task_ttl",
        "retry_base",
        "retry_cap",
        "tier_alert",
        "tier_alert_cooldown",
        "breaker_cooldown",
    }
)
"""Settings of the scheduler that mean something at 0; any other would stop it or make it spin."""


_ENABLED: SettingPath = ("routing", "enabled")


def resolve_rules(draft: Draft, ladder: Ladder) -> RoutingPolicy:
    """The rules of a draft. Reports references to tiers that do not exist and complexities in the wrong order."""
    section = draft.file.routing
    complexity = _complexity_tiers(draft, ladder)
    written = _reference(draft, ladder, section.unclassified, ("routing", "unclassified"))
    draft.note(("routing", "unclassified"), "the tier of standard work")
    unclassified = written or complexity[Complexity.STANDARD]
    minimums = _type_minimums(draft, ladder)
    overrides = _by_type(draft, ladder, section.task_overrides, ("routing", "task_overrides"))
    by_tier = {
        tier: direction
        for name, direction in section.fallback.by_tier.items()
        if (tier := tier_reference(draft, ladder, name, ("routing", "fallback", "by_tier", name))) is not None
    }
    if not section.enabled:
        complexity, minimums, overrides = dict.fromkeys(complexity, unclassified), {}, {}
        for level in complexity:
            draft.overrule(("routing", "complexity", level), f"routing.enabled is false ({draft.origin(_ENABLED)})")
    return RoutingPolicy(
        fallback_wait_ms=section.fallback.wait_ms,
        fallback_direction=section.fallback.direction,
        fallback_by_tier=by_tier,
        unclassified_tier=unclassified,
        complexity_tiers=complexity,
        type_minimums=minimums,
        task_overrides=overrides,
        max_availability_steps=section.max_availability_steps,
        max_quality_steps=section.max_quality_steps,
        repeated_error_threshold=section.repeated_error_threshold,
        minute_price_usd=section.minute_price_usd,
        default_output_tokens=section.default_output_tokens,
        report_stale_ms=section.report_stale_ms,
        health_stale_ms=section.health_stale_ms,
        max_recorded_candidates=section.max_recorded_candidates,
        weights=section.weights,
    )


def _complexity_tiers(draft: Draft, ladder: Ladder) -> dict[str, str]:
    """A tier for each complexity: as written, else the tier of that name or alias, else by position.

    By position trivial work runs directly, complex work on the last tier, standard work in the middle and never on the
    last of several. On a ladder with the four classic names the type of work alone says where it starts: all else than
    trivial work begins at the bottom.
    """
    section = draft.file.routing.complexity
    path = ("routing", "complexity")
    tiers = draft.file.routing.tiers
    enabled = [name for name in ladder.order if tiers[name].enabled] or list(ladder.order) or [DIRECT]
    by_position = {
        Complexity.TRIVIAL: DIRECT,
        Complexity.STANDARD: enabled[(len(enabled) - 1) // 2],
        Complexity.COMPLEX: enabled[-1],
    }
    if all(name in ladder.names for name in CONTEXT_SIZES):
        by_position |= dict.fromkeys((Complexity.STANDARD, Complexity.COMPLEX), enabled[0])
    found: dict[str, str] = {}
    for level, fallback in by_position.items():
        written = _reference(draft, ladder, getattr(section, level), (*path, level))
        draft.note((*path, level), "the tier of that name" if level in ladder.names else "position on the ladder")
        found[level.value] = written or ladder.names.get(level) or fallback
    if not draft.is_written(*path, Complexity.STANDARD) and Complexity.STANDARD not in ladder.names:
        found[Complexity.STANDARD] = min(found[Complexity.STANDARD], found[Complexity.COMPLEX], key=ladder.rank)
    levels = list(found)
    for easier, harder in pairwise(levels):
        if ladder.rank(found[easier]) > ladder.rank(found[harder]) and not draft.mistakes.is_damaged(path):
            what = f"{harder} work goes to '{found[harder]}', below '{found[easier]}' of {easier} work"
            draft.mistakes.add((*path, harder), what, "name a tier that is as high or higher")
    return found


def _type_minimums(draft: Draft, ladder: Ladder) -> dict[str, str]:
    path = ("routing", "type_minimums")
    minimums = {kind: ladder.names[word] for kind, word in TYPE_MINIMUMS.items() if word in ladder.names}
    for kind in minimums:
        draft.note((*path, kind), f"default of a ladder with '{TYPE_MINIMUMS[kind]}'")
    return {**minimums, **_by_type(draft, ladder, draft.file.routing.type_minimums, path)}


def _by_type(draft: Draft, ladder: Ladder, written: Mapping[str, str], path: SettingPath) -> dict[str, str]:
    for kind in written:
        meant = misspelt_task_type(kind)
        if meant is not None:
            what = f"'{kind}' is no known task type"
            remedy = f"did you mean '{meant}'?"
            draft.mistakes.add((*path, kind), what, remedy)
    found = {kind: tier_reference(draft, ladder, name, (*path, kind)) for kind, name in written.items()}
    return {kind: tier for kind, tier in found.items() if tier is not None}


def _reference(draft: Draft, ladder: Ladder, name: str | None, path: SettingPath) -> str | None:
    return None if name is None else tier_reference(draft, ladder, name, path)


def check_numbers(draft: Draft) -> None:
    """Report numbers that cannot work, alone or together."""
    _check_scheduler(draft)
    if draft.file.residency.patience_ms == 0 and not draft.mistakes.is_damaged(("residency",)):
        what = "without any patience every task would swap the models"
        draft.mistakes.add(("residency", "patience"), what, "remove the line to keep the default of 3 minutes")
    _check_context(draft)
    _check_loop(draft)
    _check_worker(draft)
    for name, model in draft.file.models.items():
        half = (model.input_usd_per_mtok is None) != (model.output_usd_per_mtok is None)
        if half and not draft.mistakes.is_damaged(("models", name)):
            missing = "output_usd_per_mtok" if model.output_usd_per_mtok is None else "input_usd_per_mtok"
            draft.mistakes.add(("models", name), "has half a price", f"add {missing}, or remove the other")


def _check_scheduler(draft: Draft) -> None:
    scheduler = draft.file.scheduler
    damaged = draft.mistakes.is_damaged(("scheduler",))
    for attribute in scheduler.__struct_fields__:
        key = attribute.removesuffix("_ms")
        if getattr(scheduler, attribute) == 0 and key not in MAY_BE_ZERO:
            draft.mistakes.add(("scheduler", key), "must be more than 0", "remove the line to keep the default")
    pairs = (
        ("retry_base", scheduler.retry_base_ms, "retry_cap", scheduler.retry_cap_ms),
        ("heartbeat", scheduler.heartbeat_ms, "session_dead", scheduler.session_dead_ms),
        ("probe_timeout", scheduler.probe_timeout_ms, "probe_interval", scheduler.probe_interval_ms),
    )
    for low, low_ms, high, high_ms in pairs:
        if low_ms > high_ms and not damaged:
            written = high if draft.is_written("scheduler", high) else low
            what = f"{low} ({duration_text(low_ms)}) is above {high} ({duration_text(high_ms)})"
            draft.mistakes.add(("scheduler", written), what, f"{low} must be at most {high}")


def _check_worker(draft: Draft) -> None:
    worker = draft.file.worker
    if draft.mistakes.is_damaged(("worker",)):
        return
    if TaskKind.COMMAND in worker.allow and not worker.commands:
        what = "commands are allowed, but no program"
        draft.mistakes.add(("worker", "allow"), what, "add worker.commands, such as [git, make], or ['*'] for any")
    # The checks of an agent's work are commands, too.
    if not {TaskKind.COMMAND, TaskKind.AGENT} & set(worker.allow) and worker.commands:
        what = "programs are listed, but commands are not allowed"
        draft.mistakes.add(("worker", "commands"), what, "add command to worker.allow")
    if TaskKind.AGENT in worker.allow and not worker.agents:
        remedy = "add worker.agents, such as [opencode]"
        draft.mistakes.add(("worker", "allow"), "agents are allowed, but none is listed", remedy)
    for name in worker.agents:
        if name not in AGENT_NAMES:
            draft.mistakes.add(("worker", "agents"), f"there is no agent '{name}'", nearest(name, AGENT_NAMES))


def _check_loop(draft: Draft) -> None:
    """As a loop is checked that is made of it: not only then should it be said."""
    loop = draft.file.agi_loop
    if draft.mistakes.is_damaged(("agi_loop",)):
        return
    if loop.interval_hours == 0 and loop.interval_minutes == 0 and not loop.cron:
        what = "an interval of nothing would run without a pause"
        draft.mistakes.add(("agi_loop", "interval_minutes"), what, "say at least a part of a minute, such as 0.5")
        return
    try:
        check(loop.schedule)
    except InvalidInputError as error:
        setting, _, part = error.where.partition(", ")
        draft.mistakes.add(("agi_loop", setting), f"{part}: {error.what}" if part else error.what, error.remedy)


def _check_context(draft: Draft) -> None:
    if draft.mistakes.is_damaged(("context",)):
        return
    budget = draft.file.context.budget
    sizes = (("small", budget.small_tokens), ("moderate", budget.moderate_tokens), ("large", budget.large_tokens))
    for (low, low_tokens), (high, high_tokens) in pairwise(sizes):
        if low_tokens > high_tokens:
            path = ("context", "budget")
            written = high if draft.is_written(*path, high) else low
            what = f"{low} ({low_tokens}) is above {high} ({high_tokens})"
            draft.mistakes.add((*path, written), what, f"{low} must be at most {high}")
