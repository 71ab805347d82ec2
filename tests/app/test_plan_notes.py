"""What a plan takes for granted: more calls at once than the endpoints of a host take together is said."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.app.options import PlanOptions
from ostler.app.plan_notes import calls_at_once, over_slots
from ostler.app.plans import plan
from ostler.cli.taskfile import parse_task_file
from ostler.domain.catalog import Catalog, EndpointKind, EndpointSpec, HostSpec
from ostler.planning.plan import Placement, Plan

PROFILE = """\
routing:
  tiers:
    local: {models: [big, small]}
endpoints:
  - {name: ollama, provider: ollama, url: "http://box:11434", host: box, slots: SLOTS, models: [big, small]}
hosts:
  box: {memory: 26GB}
models:
  big: {memory: 20GB, context: 32k, speeds: {load_s: 20, unload_s: 10}}
  small: {memory: 4GB, context: 32k, speeds: {load_s: 5, unload_s: 2}}
"""
TASKS = """\
tasks:
  - {id: a, prompt: x, model: big, expected: 1m}
  - {id: b, prompt: x, model: small, expected: 1m}
"""


def endpoint(name: str, host: str, slots: int, *, local: bool = True, enabled: bool = True) -> EndpointSpec:
    return EndpointSpec(
        name=name,
        kind=EndpointKind.OLLAMA,
        url="http://x",
        provider="p",
        host=host,
        local=local,
        slots=slots,
        enabled=enabled,
    )


def made(*rows: tuple[str, int, int]) -> Plan:
    """Tasks as (host, start, end)."""
    placements = tuple(
        Placement(task=f"t{index}", host=host, start_ms=start, end_ms=end)
        for index, (host, start, end) in enumerate(rows)
    )
    return Plan(strategy="by hand", episodes=(), placements=placements)


def catalog(*specs: EndpointSpec, **hosts: HostSpec) -> Catalog:
    return Catalog(tiers=(), models={}, endpoints={spec.name: spec for spec in specs}, hosts=hosts)


def test_more_calls_than_the_endpoints_of_a_host_take_are_said() -> None:
    """All of its endpoints together; one that is off takes none."""
    two = made(("box", 0, 10), ("box", 5, 15), ("box", 9, 20))
    ollama, other = endpoint("ollama", "box", 1), endpoint("other", "box", 1)

    (said,) = over_slots(two, catalog(ollama, other))
    assert said.startswith("on box the plan has 3 calls at once, but the profile lets its endpoints take 2 together: ")
    assert "set `slots` to 3" in said
    assert over_slots(two, catalog(ollama, other, endpoint("third", "box", 1))) == ()
    assert over_slots(two, catalog(ollama, other, endpoint("third", "box", 9, enabled=False))) != ()


def test_what_ends_makes_room_at_the_same_instant() -> None:
    """Intervals are half open, as in the whole planner."""
    assert over_slots(made(("box", 0, 10), ("box", 10, 20)), catalog(endpoint("ollama", "box", 1))) == ()


def test_a_cloud_is_an_endpoint_and_other_machines_have_no_number() -> None:
    """A cloud goes by the endpoint's name, unless its host states its memory; the unknown is free."""
    busy = made(("sky", 0, 10), ("sky", 0, 10), ("elsewhere", 0, 10), ("elsewhere", 0, 10), ("rented", 0, 1))
    far = endpoint("sky", "api.example", 1, local=False)
    rented = endpoint("vllm", "rented", 1, local=False)

    (said,) = over_slots(busy, catalog(far))
    assert said.startswith("on sky ")
    held = catalog(rented, rented=HostSpec(name="rented", memory_bytes=1))
    assert over_slots(made(("rented", 0, 10), ("rented", 0, 10)), held)[0].startswith("on rented ")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 9)), max_size=12))
def test_calls_at_once_are_the_most_at_any_instant(rows: list[tuple[str, int, int]]) -> None:
    """Counted millisecond by millisecond."""
    plan = made(*((host, start, start + lasts) for host, start, lasts in rows))

    counted = {
        host: max(
            sum(row.host == host and row.start_ms <= at_ms < row.end_ms for row in plan.placements)
            for at_ms in range(30)
        )
        for host in {row.host for row in plan.placements}
    }
    assert calls_at_once(plan) == counted


@pytest.mark.parametrize(("slots", "notes"), [(1, 1), (2, 0)])
def test_a_plan_for_a_profile_says_so(tmp_path: Path, slots: int, notes: int) -> None:
    """Two models beside each other, one call on each: an endpoint with one slot has them one after the other."""
    file = tmp_path / "ostler.yaml"
    file.write_text(PROFILE.replace("SLOTS", str(slots)), encoding="utf-8")
    pipeline = parse_task_file(TASKS, "tasks.yaml").pipeline

    report = plan(pipeline, PlanOptions(profile=str(file), strategy="hybrid"), lambda _: None)

    said = [note for note in report.notes if "calls at once" in note]
    assert len(said) == notes
    assert msgspec.json.encode(report)
