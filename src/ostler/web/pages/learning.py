"""Learning: how often which model succeeds at which work, with the interval of the true rate, and what that changed."""

from collections.abc import Iterable
from typing import NamedTuple

from ostler.domain.observations import ObservationQuery
from ostler.hub.api import HubApi
from ostler.hub.pattern_views import LearnedRow, PatternRow
from ostler.web.pages.view import Ask, View


class Kind(NamedTuple):
    """A type of work: its models, and what is proven of it."""

    name: str
    rows: tuple[PatternRow, ...]
    learned: LearnedRow | None


async def learning(api: HubApi, ask: Ask) -> View:
    """Standings by type of work, narrowed by type and model."""
    kind, model = ask.word("type"), ask.word("model")
    report = await api.patterns.report(ObservationQuery(task_type=kind, model=model))
    changes = await api.board.changes()
    return View(
        template="learning.html",
        title="Learning",
        section="learning",
        data={
            "report": report,
            "kinds": kinds(report.patterns, report.learned),
            "changes": changes,
            "type": kind,
            "model": model,
        },
        regions=("learning/kinds.html", "learning/changes.html"),
        every_s=30.0,
    )


def kinds(rows: Iterable[PatternRow], learned: Iterable[LearnedRow]) -> list[Kind]:
    """Rows by type of work, the model that is most likely the best first."""
    proven = {row.task_type: row for row in learned}
    found: dict[str, list[PatternRow]] = {}
    for row in rows:
        found.setdefault(row.task_type, []).append(row)
    return [
        Kind(name, tuple(sorted(group, key=lambda row: (-row.mean, row.model))), proven.get(name))
        for name, group in sorted(found.items())
    ]
