"""A call of the gateway in words: what was asked, who answered, what it took and cost, and every attempt on the way.

All from the stored record, so a call of last week reads like one of now. A price that is not known is called unknown.
"""

from ostler.domain.decision import Decision
from ostler.domain.live import CallAttempt, CallRecord
from ostler.domain.money import exact_usd_text
from ostler.hub.explaining import seconds
from ostler.hub.windows import instant_text
from ostler.routing.explain import Section, Table, explain, plain

_COLUMNS = ("", "place", "tier", "took", "in", "out", "cost", "ended")
_CANCELLED = 499


def cost_text(cost_micro_usd: int | None, basis: str) -> str:
    """An amount with what it is founded on.

    >>> cost_text(10_484, "priced"), cost_text(0, "local"), cost_text(None, "unknown"), cost_text(None, "local")
    ('$0.010484 (priced)', '$0.00 (local)', 'unknown', 'unknown (local)')
    """
    amount = "unknown" if cost_micro_usd is None else exact_usd_text(cost_micro_usd)
    return amount if basis in ("", "unknown") else f"{amount} ({basis})"


def call_headline(record: CallRecord) -> str:
    """One sentence that says how a call ended."""
    place = f"{record.model} on {record.endpoint}" if record.endpoint else "no endpoint"
    cost = cost_text(record.cost_micro_usd, record.cost_basis)
    if record.failure is None:
        by = ", by fallback" if record.fallback else ""
        return (
            f"{record.id} was answered by {place}{by} in {seconds(record.duration_ms)},"
            f" tier {record.tier or 'none'}, cost {cost}"
        )
    tries = f"{len(record.attempts)} attempt" + ("" if len(record.attempts) == 1 else "s")
    how = "ended when the client hung up" if record.status == _CANCELLED else f"failed with status {record.status}"
    message = f": {record.message}" if record.message else ""
    return f"{record.id} {how} after {tries} in {seconds(record.duration_ms)}{message} [{record.failure.value}]"


def call_lines(record: CallRecord, decision: Decision | None, now_ms: int) -> tuple[str, ...]:
    """Everything after the headline: the call, its attempts, then the decision behind it."""
    sections = [
        Section(title="Call", lines=_facts(record, now_ms)),
        Section(title="Attempts", table=_attempts(record), lines=() if record.attempts else ("none was begun",)),
    ]
    lines = plain([section for section in sections if section.lines or section.table is not None])
    if decision is None:
        return (*lines, "", "The decision behind it is not kept." if record.decision_key else "No decision was made.")
    age = seconds(max(0, now_ms - decision.decided_ms))
    own = record.id in {record.decision_key, decision.task_id}
    shared = "" if own else ", shared with other calls that asked the same"
    return (*lines, "", f"Decision, made {age} ago{shared}", *plain(explain(decision)))


def _facts(record: CallRecord, now_ms: int) -> tuple[str, ...]:
    first = "" if record.first_token_ms is None else f", first token after {_ms(record.first_token_ms)}"
    streamed = ", streamed" if record.stream else ""
    age = seconds(max(0, now_ms - record.at_ms))
    pairs = (
        ("asked", f"{record.asked_model or 'no model'}, {record.path} ({record.format}){streamed}"),
        ("came in", f"{instant_text(record.at_ms)}, {age} ago"),
        ("from", _whose(record)),
        ("answer", f"status {record.status}{first}, {_ms(record.duration_ms)} in all"),
        ("tokens", _tokens(record.attempts)),
        ("cost", cost_text(record.cost_micro_usd, record.cost_basis)),
        ("queue", _ms(record.wait_ms)),
        ("overhead", f"{record.overhead_us / 1000:.3g} ms of our own"),
        ("fallback", record.fallback),
        ("dropped", ", ".join(record.dropped) + " (the endpoint's format cannot say it)" if record.dropped else ""),
        ("prompt", "kept with the record" if record.prompt is not None else ""),
    )
    return tuple(f"{name.ljust(8)}  {value}" for name, value in pairs if value)


def _whose(record: CallRecord) -> str:
    parts = (("key", record.key), ("task", record.task), ("client", record.client))
    return ", ".join(f"{name} {value}" for name, value in parts if value)


def _tokens(attempts: tuple[CallAttempt, ...]) -> str:
    if not attempts:
        return ""
    total = {
        name: sum(getattr(attempt, f"{name}_tokens") for attempt in attempts)
        for name in ("input", "output", "cache_read", "cache_write", "reasoning")
    }
    text = f"{total['input']} in, {total['output']} out"
    text += f", {total['reasoning']} of reasoning" if total["reasoning"] else ""
    text += f"; cache: {total['cache_read']} read, {total['cache_write']} written"
    return text + (" (estimated)" if any(attempt.estimated for attempt in attempts) else "")


def _attempts(record: CallRecord) -> Table | None:
    if not record.attempts:
        return None
    rows = tuple(_attempt(number, attempt) for number, attempt in enumerate(record.attempts, 1))
    return Table(columns=_COLUMNS, rows=rows)


def _attempt(number: int, attempt: CallAttempt) -> tuple[str, ...]:
    status = f"status {attempt.status}, " if attempt.status is not None and attempt.failure is not None else ""
    message = f": {attempt.message}" if attempt.message else ""
    ended = "good" if attempt.failure is None else f"{status}{attempt.failure.value}{message}"
    return (
        f"{number}.",
        f"{attempt.model} on {attempt.endpoint}",
        attempt.tier,
        _ms(attempt.duration_ms),
        str(attempt.input_tokens),
        str(attempt.output_tokens),
        cost_text(attempt.cost_micro_usd, ""),
        ended,
    )


def _ms(duration_ms: int) -> str:
    return f"{duration_ms} ms" if duration_ms < 1000 else seconds(duration_ms)  # noqa: PLR2004 - below a second
