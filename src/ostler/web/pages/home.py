"""The start page: what needs you, what runs, what waits, and why nothing runs when nothing does."""

from ostler.domain.alerts import AlertState
from ostler.domain.states import WaitCode
from ostler.hub.alert_views import AlertList, AlertRow
from ostler.hub.api import HubApi
from ostler.hub.board_views import Home
from ostler.web.pages.view import Ask, View

ADVICE = {
    WaitCode.BUDGET: ("a limit of the budget is reached", "money", "Look at the limits"),
    WaitCode.ENDPOINT_DOWN: ("every endpoint that could take the work is down", "fleet", "Look at the fleet"),
    WaitCode.NO_WORKER: ("no worker has joined that may do the work", "fleet", "Look at the workers"),
    WaitCode.CAPACITY: ("all slots are taken", "fleet", "Look at the fleet"),
    WaitCode.MODEL_SWAP: ("a model is being loaded", "fleet", "Watch it load"),
    WaitCode.QUOTA_UNTIL: ("the provider said when to come back", "fleet", "Look at the fleet"),
    WaitCode.FALLBACK_WAIT: ("the preferred tier is away; in a moment the tier beside it is used", "fleet", "Look"),
    WaitCode.PAUSED: ("everything that waits is paused", "tasks?state=queued", "Look at the paused tasks"),
    WaitCode.NO_ROUTE: ("no model of the profile can take the work", "tasks?state=queued", "Look at the tasks"),
}
"""What binds when nothing runs: in words, where to look, and what that link says."""

SHOWN_ANYWAY = frozenset({"budget_hard", "budget_soft", "needs_human", "tier_down", "unanswered"})
"""Rules of alerts whose subject has a row of its own, with a better answer than to acknowledge it."""


async def start(api: HubApi, ask: Ask) -> View:
    """The three bands."""
    del ask
    home, told = await api.board.home(), await api.alerts.alerts()
    return View(
        template="home.html",
        title="Home",
        section="home",
        data={"home": home, "alerts": news(told), "ranks": ranks(home), "idle": idle(home)},
        regions=("home/banner.html", "home/needs.html", "home/running.html", "home/waiting.html"),
    )


def news(told: AlertList) -> tuple[AlertRow, ...]:
    """Alerts that nobody has acknowledged and that no other row of the band is about."""
    return tuple(
        row for row in told.alerts if row.alert.state is AlertState.ACTIVE and row.alert.rule not in SHOWN_ANYWAY
    )


def ranks(home: Home) -> dict[str, int]:
    """Tier -> its step on the ladder."""
    return {tier.name: tier.rank for tier in home.status.tiers}


def idle(home: Home) -> dict[str, str] | None:
    """Why nothing runs although work waits; `None` = something runs, or nothing waits."""
    if home.running_count or home.status.calls_running or not home.waiting:
        return None
    first = home.waiting[0]
    words, path, label = ADVICE.get(first.wait.code, ("", "tasks?state=queued", "Look at what waits"))
    return {"words": words, "detail": first.wait.detail, "path": path, "label": label, "also": home.status.idle_because}


async def new(api: HubApi, ask: Ask) -> View:
    """A form for one task."""
    del ask
    return View(template="new.html", title="New task", section="tasks", data={"tiers": api.board.tiers()})
