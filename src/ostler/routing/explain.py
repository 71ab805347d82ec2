"""A decision in words: for `ostler route` and `ostler why`, the task page and the API.

`explain` needs the record alone, so a decision of last month reads like one of now. It returns sections of lines and
tables without any markup; `plain` lays them out for a terminal of any width.
"""

from collections.abc import Iterator, Sequence

import msgspec

from ostler.domain.decision import Adjustment, Candidate, Decision, Hold, Rejection, TargetType, Verdict
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.states import WaitCode
from ostler.routing import wording

_TOTALS = ("finish_s", "load_score", "money_s", "cost_s")
_FACTORS = ("load", "capacity", "vram", "warm", "affinity")
_TIMES = ("queue_s", "load_time_s", "prefill_s", "decode_s")


class Table(msgspec.Struct, frozen=True):
    """Cells as text; every row has as many as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the explanation. `title` is empty for the first one, the summary."""

    title: str = ""
    lines: tuple[str, ...] = ()
    table: Table | None = None


def explain(verdict: Verdict | Decision) -> tuple[Section, ...]:
    """All sections that have something to say, in the order in which the decision was made."""
    decision = verdict if isinstance(verdict, Decision) else verdict.decision
    hold = verdict if isinstance(verdict, Hold) else None
    sections = (
        Section(lines=(decision.summary,)),
        Section(title="Classification", lines=_classification(decision)),
        Section(title="Results", lines=_results(decision)),
        Section(title="Ladder", lines=_ladder(decision)),
        _outcomes(decision),
        _tabled("Candidates", _totals(decision), "cost_s = finish_s / load_score + money_s; score = 1 / cost_s"),
        _tabled(
            "Terms", _parts(decision), "load_score is the product of the first five, finish_s the sum of the others"
        ),
        Section(title="Budget", lines=(decision.budget,) if decision.budget else ()),
        Section(title="Loading", lines=_loads(decision)),
        Section(title="Not possible", lines=_refusals(decision)),
        Section(title="Not recorded", lines=_omitted(decision)),
        Section(title="What would change it", lines=_changes(decision, hold)),
    )
    return tuple(section for section in sections if section.lines or section.table is not None)


def _tabled(title: str, table: Table | None, legend: str) -> Section:
    return Section(title=title, table=table, lines=(legend,) if table is not None else ())


def plain(sections: Sequence[Section]) -> list[str]:
    """The sections as lines of text: titles, indented lines, tables in aligned columns."""
    lines: list[str] = []
    for section in sections:
        if section.title:
            lines += ["", section.title]
        indent = "  " if section.title else ""
        if section.table is not None:
            lines += [indent + row for row in _aligned(section.table)]
        lines += [indent + line for line in section.lines]
    return lines


def _aligned(table: Table) -> list[str]:
    rows = (table.columns, *table.rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _classification(decision: Decision) -> tuple[str, ...]:
    found = decision.classification
    if decision.target_type is TargetType.DIRECT and not found.signals:
        return ()
    how = {"explicit": "as stated", "heuristic": f"by its words and counts, confidence {found.confidence:.2f}"}
    sure = f", {found.type_confidence:.0%} sure" if found.type_confidence else ""
    type_how = {
        "explicit": "as stated",
        "heuristic": "by its words",
        "learned": f"as texts of that type that are known{sure}",
    }
    lines = [
        f"complexity {found.complexity} ({how.get(found.source, 'nothing to go by: routed as standard')})",
        f"type {found.task_type} ({type_how.get(found.type_source, 'unknown: no word of any other type')})",
    ]
    if found.type_source == "learned":
        lines.append(f"rules of the profile hold for {found.named_type or 'no type'}, by its words")
    if found.disagrees:
        lines.append(f"the stated complexity differs from the heuristic's ({found.inferred_complexity})")
    return (*lines, *(f"signal: {signal}" for signal in found.signals))


def _ladder(decision: Decision) -> tuple[str, ...]:
    steps = [f"{_way(step)} ({step.cause}): {step.reason}" for step in decision.adjustments]
    if decision.requested_tier == decision.minimum_tier:
        asked = f"asks for {decision.requested_tier}"
    else:
        asked = f"asks for {decision.requested_tier}; its classification alone would ask for {decision.minimum_tier}"
    return (asked, *steps, f"decided on {decision.effective_tier}")


def _way(step: Adjustment) -> str:
    return step.to_tier if step.from_tier == step.to_tier else f"{step.from_tier} -> {step.to_tier}"


def _results(decision: Decision) -> tuple[str, ...]:
    """The results of needed tasks that become part of the prompt."""
    if not decision.handed_tokens:
        return ()
    said = f"about {decision.handed_tokens} tokens of results become part of the prompt"
    return (f"{said}; no model has room for all of them, so they are cut" if decision.results_trimmed else said,)


def _outcomes(decision: Decision) -> Section:
    """How outcomes chose among tiers."""
    found = decision.weighing
    if found is None:
        return Section()
    rows = tuple(
        (
            "*" if one.name == found.chosen else "",
            one.name,
            f"{one.chance:.0%}",
            str(one.trials),
            f"${one.cost_micro_usd / MICRO_USD_PER_USD:.4f}",
            f"${one.worth_micro_usd / MICRO_USD_PER_USD:.4f}",
            "-" if one.gain_per_usd is None else f"{one.gain_per_usd:.2f}",
            f"{one.propensity:.1%}",
            one.barred,
        )
        for one in found.options
    )
    columns = ("", "tier", "chance", "outcomes", "cost", "worth", "gain/$", "propensity", "cannot win because")
    how = "to find out" if found.explored else "for its figures"
    said = [f"worth = value of a success x chance - cost; {found.chosen} was chosen {how} ({found.propensity:.1%})"]
    if found.spared:
        said.append(f"left out while another model of the tier can be used: {', '.join(found.spared)}")
    return Section(title="Outcomes", table=Table(columns, rows), lines=tuple(said))


def _offers(decision: Decision) -> list[Candidate]:
    """The places that could take it, best first."""
    return [candidate for candidate in decision.candidates if candidate.score is not None]


def _totals(decision: Decision) -> Table | None:
    """What decided, the chosen place marked."""
    rows = tuple(
        (
            "*" if offer.rejection is None else "",
            offer.endpoint,
            offer.model,
            *_terms(offer, _TOTALS),
            f"{offer.score or 0.0:.4f}",
            wording.cost(offer.estimate) if offer.estimate is not None else "-",
        )
        for offer in _offers(decision)
    )
    return Table(("", "endpoint", "model", *_TOTALS, "score", "price"), rows) if rows else None


def _parts(decision: Decision) -> Table | None:
    """What the totals are made of."""
    names = (*_FACTORS, *_TIMES)
    rows = tuple((offer.endpoint, offer.model, *_terms(offer, names)) for offer in _offers(decision))
    return Table(("endpoint", "model", *names), rows) if rows else None


def _terms(offer: Candidate, names: tuple[str, ...]) -> list[str]:
    return [f"{offer.terms[name]:.3g}" if name in offer.terms else "-" for name in names]


def _loads(decision: Decision) -> tuple[str, ...]:
    """What the swap of each place that needs one consists of."""
    return tuple(f"{_place(offer)} {offer.detail}" for offer in _offers(decision) if "load_s" in offer.terms)


def _omitted(decision: Decision) -> tuple[str, ...]:
    count = decision.candidates_omitted
    return (f"{count} more were looked at",) if count else ()


def _refusals(decision: Decision) -> tuple[str, ...]:
    refused = [candidate for candidate in decision.candidates if candidate.score is None]
    return tuple(f"{_place(candidate)} {candidate.detail} [{candidate.tier}]" for candidate in refused)


def _place(candidate: Candidate) -> str:
    return f"{candidate.endpoint}/{candidate.model}" if candidate.endpoint else candidate.model


def _changes(decision: Decision, hold: Hold | None) -> tuple[str, ...]:
    if hold is not None:
        return _changes_of_hold(decision, hold)
    if decision.target_type is TargetType.DIRECT:
        return ()
    if decision.target_type is TargetType.WORKER:
        return ("an endpoint that is registered: then places are compared and chosen",)
    lines = list(_rivals_by_outcomes(decision))
    if decision.fallback_used and decision.fallback_from_model is None:
        lines.append(f"an endpoint of {decision.fallback_from_tier} that comes back: the next task goes there again")
    offers = _offers(decision)
    chosen = next((offer for offer in offers if offer.rejection is None), None)
    rivals = [offer for offer in offers if offer.rejection is Rejection.NOT_CHOSEN]
    if chosen is not None and rivals:
        lines.append(_margin(chosen, max(rivals, key=lambda offer: offer.score or 0.0)))
    elif chosen is not None:
        lines.append("nothing else could take it now")
    return tuple(lines)


def _rivals_by_outcomes(decision: Decision) -> Iterator[str]:
    """What outcomes would have to say for another tier to be chosen."""
    found = decision.weighing
    chosen = next((one for one in found.options if one.name == found.chosen), None) if found is not None else None
    if found is None or chosen is None or found.explored or chosen.chance <= 0.0:
        return
    value = (chosen.worth_micro_usd + chosen.cost_micro_usd) / chosen.chance
    for one in found.options:
        needed = (chosen.worth_micro_usd + one.cost_micro_usd) / value if value else 1.0
        if one is chosen or one.dominated_by:
            continue
        if one.barred:
            yield f"{one.name} cannot win yet: {one.barred}"
        elif needed < 1.0:
            yield f"{one.name} wins when its expected success is above {needed:.0%} (now {one.chance:.0%})"
        elif one.chance > chosen.chance:
            more = (one.cost_micro_usd - chosen.cost_micro_usd) / (one.chance - chosen.chance) / MICRO_USD_PER_USD
            yield f"{one.name} wins when a success is worth more than ${more:.2f} (learning.value_usd)"


def _margin(chosen: Candidate, rival: Candidate) -> str:
    """How much nearer the runner-up would have to come."""
    name = f"{rival.endpoint}/{rival.model}"
    if (rival.score or 0.0) > (chosen.score or 0.0):
        return f"{name} scores higher, but its model comes later in the tier's order"
    if not rival.score or not chosen.score:
        return f"{name} is next; its host has no free capacity"
    behind = 1.0 / rival.score - 1.0 / chosen.score
    return f"{name} is next, {wording.seconds(int(behind * 1000))} behind in seconds and money together"


_ENDINGS = {
    WaitCode.NO_ROUTE: "another profile: a model or tier that meets the need, or another requirement of the task",
    WaitCode.CAPACITY: "a slot that becomes free",
    WaitCode.ENDPOINT_DOWN: "an endpoint that comes back",
    WaitCode.BUDGET: "a limit that is raised, or an attempt that ends below what it holds",
    WaitCode.MODEL_SWAP: "the end of the load, or another place that becomes better",
}


def _changes_of_hold(decision: Decision, hold: Hold) -> tuple[str, ...]:
    lines = []
    if hold.wait.next_check_ms is not None:
        left = wording.seconds(max(0, hold.wait.next_check_ms - decision.decided_ms))
        what = "the end of the rate limit"
        if hold.fallback_tier is not None:
            what = f"the step to {hold.fallback_model or hold.fallback_tier}"
        elif hold.wait.code is WaitCode.MODEL_SWAP:
            what = "the next try to load it"
        elif hold.wait.code is WaitCode.BUDGET:
            what = "the limit that moves"
        lines.append(f"{what}, in {left}")
    else:
        lines.append(_ENDINGS.get(hold.wait.code, "a change of the fleet"))
    if hold.blocked_on:
        shown = ", ".join(hold.blocked_on[: wording.NAMED])
        more = len(hold.blocked_on) - wording.NAMED
        lines.append(f"it looks again when one of these changes: {shown}" + (f" and {more} more" if more > 0 else ""))
    return tuple(lines)
