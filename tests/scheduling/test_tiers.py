"""Alerts about tiers: one for an outage that lasts, one for its end, and no flood from a tier that comes and goes."""

import msgspec

from ostler.domain.fleet import ProbeStatus
from ostler.domain.policy import SchedulerPolicy
from ostler.scheduling import signals as sig
from tests.scheduling.rig import Rig, cloud, local, three_tiers


def rig_with(**rules: int) -> Rig:
    """A rig whose alerts follow other rules."""
    return Rig(msgspec.structs.replace(three_tiers(), scheduler=msgspec.structs.replace(SchedulerPolicy(), **rules)))


def alerts(rig: Rig) -> list[tuple[str, object, object]]:
    return [
        (event.name, event.metadata["tier"], event.measurements["down_ms"])
        for event in rig.events
        if event.name.startswith("alert.")
    ]


def test_without_a_threshold_an_outage_is_told_at_once_and_so_is_its_end() -> None:
    """In the same turn as the listing that found it."""
    rig = rig_with(tier_alert_ms=0)
    rig.up(local("gpu"))
    rig.down("gpu")
    assert alerts(rig) == [("alert.tier_down", "standard", 0)]
    rig.up(local("gpu"))

    assert alerts(rig)[1:] == [("alert.tier_up", "standard", 0)]


def test_a_second_outage_soon_after_the_first_is_told_after_the_pause() -> None:
    """Counted from the alert before, not from the outage; and only if it still lasts."""
    rig = rig_with(tier_alert_ms=1_000, tier_alert_cooldown_ms=60_000)
    rig.up(local("gpu"))
    rig.down("gpu")
    rig.pass_ms(1_000)
    rig.up(local("gpu"))
    for _ in range(3):
        rig.pass_ms(1)
        rig.down("gpu")
        rig.pass_ms(1_999)
        rig.up(local("gpu"))
    told = alerts(rig)
    assert [name for name, _, _ in told] == ["alert.tier_down", "alert.tier_up"], "blips in the pause are silent"
    rig.down("gpu")
    rig.pass_ms(53_999)
    assert alerts(rig) == told
    rig.pass_ms(1)
    assert alerts(rig)[2:] == [("alert.tier_down", "standard", 54_000)]


def test_a_tier_is_up_while_one_of_its_endpoints_is() -> None:
    """Each tier for itself; an endpoint nobody has checked yet is no outage."""
    rig = rig_with(tier_alert_ms=1_000)
    rig.up(local("a"))
    rig.up(local("b"))
    rig.up(cloud(), models=("claude",))
    rig.down("a")
    rig.pass_ms(10_000)
    assert alerts(rig) == []
    rig.probe("b", ProbeStatus.KEY_INVALID)
    rig.pass_ms(10_000)

    assert alerts(rig) == [("alert.tier_down", "standard", 1_000)]


def test_a_tier_whose_last_endpoint_is_removed_is_no_outage_any_more() -> None:
    """Nobody is waited for."""
    rig = rig_with(tier_alert_ms=1_000)
    rig.up(local("gpu"))
    rig.down("gpu")
    rig.pass_ms(5_000)
    rig.tell(sig.EndpointRemoved(name="gpu"))

    assert [name for name, _, _ in alerts(rig)] == ["alert.tier_down", "alert.tier_up"]
    assert rig.scheduler.books.tier_down_since == {}
    rig.pass_ms(600_000)
    assert len(alerts(rig)) == 2


def test_an_outage_that_ends_by_itself_with_time_is_seen_to_end() -> None:
    """A rate limit is over without any listing."""
    rig = rig_with(tier_alert_ms=1_000)
    rig.up(local("gpu"))
    rig.probe("gpu", ProbeStatus.RATE_LIMITED, retry_after_ms=7_000)
    rig.pass_ms(6_999)
    assert alerts(rig) == [("alert.tier_down", "standard", 1_000)]
    rig.pass_ms(1)

    assert alerts(rig)[1:] == [("alert.tier_up", "standard", 7_000)]
