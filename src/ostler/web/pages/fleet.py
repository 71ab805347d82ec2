"""The fleet: hosts with what is in their memory, what waits for which model, endpoints, workers, and hubs where there
are several.
"""

from typing import NamedTuple

from ostler.domain.errors import OstlerError
from ostler.domain.hubs import HubList, HubRow
from ostler.domain.managed import ResidentView
from ostler.hub.api import HubApi
from ostler.hub.fleet_views import HostList, HostRow
from ostler.hub.views import EndpointRow, WorkerRow
from ostler.web.pages import wording
from ostler.web.pages.view import Ask, View

WIDTH = 1000
"""Units of a memory bar."""
HOSTS = 60
"""Hosts on one page."""


class Piece(NamedTuple):
    """A stretch of a memory bar."""

    kind: str
    """`reserve`, `model`."""
    name: str
    x: float
    width: float
    phase: str = ""


class HostCard(NamedTuple):
    """A host with its endpoints, its workers and the bar of its memory."""

    row: HostRow
    endpoints: tuple[EndpointRow, ...]
    workers: tuple[WorkerRow, ...]
    pieces: tuple[Piece, ...]


class PoolCard(NamedTuple):
    """A pool of the database with its hubs."""

    name: str
    own: bool
    hubs: tuple[HubRow, ...]


async def fleet(api: HubApi, ask: Ask) -> View:
    """Hosts by name, found by words."""
    text = ask.word("q").casefold()
    hosts = await api.residency.hosts(saved=True)
    endpoints, workers = api.endpoints.rows(), await api.workers()
    cards = [
        HostCard(
            row,
            tuple(one for one in endpoints.endpoints if one.view.spec.host == row.name),
            tuple(
                one for one in workers.workers if row.name in (one.session.offer.host, *one.session.offer.host_aliases)
            ),
            bar(row),
        )
        for row in hosts.hosts
    ]
    found = [card for card in cards if _has(card, text)]
    start = min(ask.number("from") or 0, max(0, len(found) - 1))
    placed = {worker.session.id for card in cards for worker in card.workers}
    counted = [row.last_hour for row in hosts.hosts if row.last_hour is not None]
    return View(
        template="fleet.html",
        title="Fleet",
        section="fleet",
        data={
            "hosts": hosts,
            "cards": found[start : start + HOSTS],
            "start": start,
            "total": len(found),
            "page": HOSTS,
            "q": ask.word("q"),
            "elsewhere": [worker for worker in workers.workers if worker.session.id not in placed],
            "swaps": sum(one.swaps for one in counted),
            "loads": sum(one.loads for one in counted),
            "lost_ms": sum(one.lost_ms for one in counted),
            "up": sum(one.view.health.value == "up" for one in endpoints.endpoints),
            "endpoints": len(endpoints.endpoints),
            "workers": workers,
            "hues": hues(hosts),
            "pools": pools(await _hubs(api)),
        },
        regions=("fleet/summary.html", "fleet/hubs.html", "fleet/hosts.html"),
    )


async def _hubs(api: HubApi) -> HubList:
    """None while the database does not tell: the rest of the page stands without them."""
    try:
        return await api.hubs()
    except OstlerError:
        return HubList(hubs=())


def pools(found: HubList) -> tuple[PoolCard, ...]:
    """The pool that was asked first, the others by name; none where one hub is alone."""
    if len(found.hubs) + len(found.others) <= 1:
        return ()
    names = sorted({row.pool for row in found.others})
    others = (PoolCard(name, False, tuple(row for row in found.others if row.pool == name)) for name in names)  # noqa: FBT003
    return (PoolCard(found.pool, True, found.hubs), *others)  # noqa: FBT003


def _has(card: HostCard, text: str) -> bool:
    names = [card.row.name, *card.row.endpoints, *(one.model for one in card.row.residents)]
    return not text or any(text in name.casefold() for name in names)


def hues(hosts: HostList) -> dict[str, int]:
    """Model -> its colour on this page: neighbours in the alphabet differ."""
    names = {one.model for row in hosts.hosts for one in row.residents}
    names |= {one.model for row in hosts.hosts for one in row.queues}
    return {name: number % wording.HUES for number, name in enumerate(sorted(names))}


def bar(row: HostRow) -> tuple[Piece, ...]:
    """The memory of a host from left to right: what models never get, then the residents."""
    if not row.total_bytes:
        return ()
    pieces, x = [], 0.0
    if row.reserve_bytes:
        pieces.append(Piece("reserve", "kept free of models", x, WIDTH * row.reserve_bytes / row.total_bytes))
        x += pieces[-1].width
    for resident in row.residents:
        width = min(WIDTH - x, WIDTH * _bytes_of(resident) / row.total_bytes)
        pieces.append(Piece("model", resident.model, x, width, resident.phase.value))
        x += width
    return tuple(pieces)


def _bytes_of(resident: ResidentView) -> int:
    return resident.memory_bytes or 0
