"""Small hosts, queues and a question to the rule, for tests of it."""

from ostler.residency.rule import LIVE, Considered, Load, Params, Recheck, next_move
from ostler.residency.state import Footprint, HostState, Resident, State, Want

NOW = 1_000_000
CATALOG = {
    "small": Footprint(5, 50, 10, 4),
    "large": Footprint(20, 200, 60, 2),
    "other": Footprint(20, 200, 60, 2),
    "huge": Footprint(99, 900, 90, 1),
}


def box(*models: str, name: str = "box", memory: int | None = 24, **more: int) -> HostState:
    residents = [Resident(model, CATALOG[model]) for model in models]
    return HostState(name, memory, CATALOG, residents=residents, max_resident=more.get("max_resident"))


def waiting(model: str, work_ms: int = 10_000, urgency: int = 10_000, **more: int) -> Want:
    oldest_ms = more.get("oldest_ms", NOW)
    return Want((model,), waiting=1, work_ms=work_ms, urgency=urgency, oldest_ms=oldest_ms, later=0)


def queue(model: str, count: int, work_ms: int) -> Want:
    return Want((model,), waiting=count, work_ms=work_ms, urgency=1_000, oldest_ms=NOW, later=0)


def overdue(model: str, oldest_ms: int = 0) -> Want:
    return Want((model,), waiting=1, work_ms=10, urgency=1, overdue=True, oldest_ms=oldest_ms, later=0)


def ask(state: State, params: Params = LIVE) -> tuple[Load | Recheck | None, dict[str, int]]:
    """The move, and the verdict of each pair as `model@host`."""
    considered: list[Considered] = []
    move = next_move(state, params, NOW, considered)
    assert move == next_move(state, params, NOW), "keeping a record changes no decision"
    return move, {f"{'+'.join(one.models)}@{one.host}": one.verdict for one in considered}
