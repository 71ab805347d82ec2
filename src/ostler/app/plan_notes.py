"""What a plan takes for granted that the profile does not give it, said beside the plan."""

from collections.abc import Mapping

from ostler.domain.catalog import Catalog
from ostler.planning.plan import Plan


def over_slots(plan: Plan, catalog: Catalog) -> tuple[str, ...]:
    """Places where a plan has more calls at once than their endpoints take together, a sentence for each.

    A plan counts the slots of each model; an endpoint also has a number for all of them. O(n log n) in placements.
    """
    slots = _slots(catalog)
    return tuple(
        f"on {host} the plan has {count} calls at once, but the profile lets its endpoints take {slots[host]} together:"
        f" set `slots` to {count} there, and `slots_per_model` to what each model takes, or it will take longer"
        for host, count in sorted(calls_at_once(plan).items())
        if count > slots.get(host, count)
    )


def calls_at_once(plan: Plan) -> dict[str, int]:
    """Host -> the most tasks that run there at once."""
    events: dict[str, list[tuple[int, int]]] = {}
    for row in plan.placements:
        events.setdefault(row.host, []).extend(((row.start_ms, 1), (row.end_ms, -1)))
    most: dict[str, int] = {}
    for host, changes in events.items():
        running = most[host] = 0
        for _, change in sorted(changes):
            running += change
            most[host] = max(most[host], running)
    return most


def _slots(catalog: Catalog) -> Mapping[str, int]:
    """Host, or endpoint of a cloud -> calls at once over all its endpoints."""
    found: dict[str, int] = {}
    for spec in catalog.endpoints.values():
        if spec.enabled:
            machine = catalog.hosts.get(spec.host)
            holds_models = spec.local or (machine is not None and machine.memory_bytes is not None)
            place = spec.host if holds_models else spec.name
            found[place] = found.get(place, 0) + spec.slots
    return found
