"""Money: how fast it goes against what limits it, where it went, and what is not known of it."""

from typing import NamedTuple

from ostler.budget.limits import Standing
from ostler.domain.limits import Unit
from ostler.hub.api import HubApi
from ostler.hub.board_views import DaySpent
from ostler.web.pages import wording
from ostler.web.pages.view import Ask, View

WIDTH, HEIGHT = 700, 160
GAP = 8


class Column(NamedTuple):
    """A day of the chart."""

    day: DaySpent
    x: float
    width: float
    height: float
    fallback_height: float


class Gauge(NamedTuple):
    """A limit as a bar, in thousandths of its ceiling."""

    standing: Standing
    used: float
    held: float
    elsewhere: float
    soft: float | None
    used_text: str
    held_text: str
    elsewhere_text: str
    kept_text: str
    whole_text: str


async def money(api: HubApi, ask: Ask) -> View:
    """Burn, limits, shares, subscriptions, unknown prices, fallbacks, savings."""
    del ask
    found = await api.board.money()
    return View(
        template="money.html",
        title="Money",
        section="money",
        data={
            "money": found,
            "gauges": [gauge(one) for one in found.limits],
            "columns": columns(found.days),
            "width": WIDTH,
            "height": HEIGHT,
            "highest": max((day.micro_usd for day in found.days), default=0),
            "fallback_total": sum(day.fallback_micro_usd for day in found.days),
            "days_total": sum(day.micro_usd for day in found.days),
            "unknown_calls": sum(row.calls for row in found.unknown),
        },
        regions=("money/summary.html", "money/limits.html", "money/days.html", "money/shares.html"),
        every_s=10.0,
    )


def gauge(one: Standing) -> Gauge:
    """A limit to be drawn."""
    whole = one.ceiling if one.ceiling is not None else one.limit.soft
    scale = 1000 / whole if whole else 0.0
    used = min(1000.0, one.used * scale)
    held = min(1000.0 - used, one.held * scale)
    kept = one.part.kept if one.part is not None else 0
    soft = one.limit.soft
    return Gauge(
        standing=one,
        used=used,
        held=held,
        elsewhere=min(1000.0 - used - held, one.elsewhere * scale),
        soft=min(1000.0, soft * scale) if soft is not None and whole and soft != whole else None,
        used_text=amount(one.used, one.limit.unit),
        held_text=amount(one.held, one.limit.unit) if one.held else "",
        elsewhere_text=amount(one.elsewhere, one.limit.unit) if one.part is not None and one.part.pools else "",
        kept_text=amount(kept, one.limit.unit) if kept else "",
        whole_text=amount(whole, one.limit.unit) if whole is not None else "",
    )


def amount(number: int, unit: Unit) -> str:
    """A quantity in the unit of a limit."""
    return wording.money(number) if unit is Unit.USD else f"{wording.count(number)} {unit.value}"


def columns(days: tuple[DaySpent, ...]) -> list[Column]:
    """The days as columns, the highest as high as the chart."""
    highest = max((day.micro_usd for day in days), default=0)
    step = WIDTH / max(1, len(days))
    return [
        Column(
            day,
            number * step + GAP / 2,
            step - GAP,
            HEIGHT * day.micro_usd / highest if highest else 0.0,
            HEIGHT * min(day.fallback_micro_usd, day.micro_usd) / highest if highest else 0.0,
        )
        for number, day in enumerate(days)
    ]
