"""Endpoints from listings and calls: health, breaker, rate limits, slots, and each change said exactly once."""

import pytest

from ostler.domain.event import Event
from ostler.domain.fleet import BreakerState, EndpointView, Health, Probe, ProbeStatus, Resident
from ostler.domain.policy import SchedulerPolicy
from ostler.scheduling.endpoints import Endpoints
from tests.scheduling.rig import cloud, local

START_MS = 1_000_000


class Box:
    """The books of one endpoint, asked for one slot more than it has, at instants set by hand."""

    def __init__(self, slots: int = 8, policy: SchedulerPolicy | None = None) -> None:
        self.books = Endpoints(policy or SchedulerPolicy())
        self.now_ms = START_MS
        self.events: list[Event] = []
        self.take(self.books.add(local("gpu", slots=slots), self.now_ms))

    def take(self, events: list[Event]) -> None:
        self.events += events

    def view(self) -> EndpointView:
        return self.books.views["gpu"]

    @property
    def names(self) -> list[str]:
        """Names of the events since the registration."""
        return [event.name for event in self.events[1:]]

    def listed(
        self,
        status: ProbeStatus = ProbeStatus.AVAILABLE,
        *,
        models: tuple[str, ...] = ("qwen",),
        residents: tuple[str, ...] | None = None,
        retry_after_ms: int | None = None,
        times: int = 1,
    ) -> None:
        loaded = None if residents is None else tuple(Resident(model=model) for model in residents)
        for _ in range(times):
            probe = Probe(
                endpoint="gpu",
                status=status,
                at_ms=self.now_ms,
                models=models if status is ProbeStatus.AVAILABLE else (),
                residents=loaded,
                message="" if status is ProbeStatus.AVAILABLE else f"said {status.value}",
                retry_after_ms=retry_after_ms,
            )
            self.take(self.books.probed(probe, self.now_ms))

    def fails(self, times: int = 1) -> None:
        for _ in range(times):
            self.take(self.books.call_failed("gpu", self.now_ms, "HTTP 500"))

    def succeeds(self) -> None:
        self.take(self.books.call_ok("gpu", self.now_ms))

    def pass_ms(self, duration_ms: int) -> None:
        self.now_ms += duration_ms
        self.take(self.books.advance("gpu", self.now_ms))

    def opened_for_ms(self) -> int:
        """How long the breaker stays open from now on."""
        due_ms = self.books.next_due_ms("gpu")
        assert due_ms is not None
        return due_ms - self.now_ms


@pytest.mark.parametrize(("to_down", "to_up"), [(2, 1), (1, 1), (3, 2), (5, 4)])
def test_so_many_listings_in_a_row_change_the_health_and_no_fewer(to_down: int, to_up: int) -> None:
    """Down after `failures_to_down`, up after `successes_to_up`, both counted in a row."""
    box = Box(policy=SchedulerPolicy(failures_to_down=to_down, successes_to_up=to_up))
    box.listed(times=to_up)
    assert box.view().health is Health.UP
    box.listed(ProbeStatus.UNAVAILABLE, times=to_down - 1)
    assert box.view().health is Health.UP
    box.listed()
    box.listed(ProbeStatus.UNAVAILABLE, times=to_down - 1)
    assert box.view().health is Health.UP, "the good listing between starts the count anew"
    box.listed(ProbeStatus.UNAVAILABLE)
    assert box.view().health is Health.DOWN
    assert box.books.bad_probes("gpu") == to_down
    box.listed(times=to_up - 1)
    assert box.view().health is Health.DOWN
    box.listed()
    assert box.view().health is Health.UP
    assert box.names == ["endpoint.up", "endpoint.down", "endpoint.up"]


def test_an_unchecked_endpoint_is_neither_up_nor_down_and_says_nothing() -> None:
    """Registered only; one failed listing is not yet a verdict."""
    box = Box()
    box.listed(ProbeStatus.UNAVAILABLE)

    assert box.view().health is Health.UNKNOWN
    assert box.view().unusable_since_ms == START_MS
    assert box.names == []
    box.listed(ProbeStatus.UNAVAILABLE)
    assert box.view().health is Health.DOWN
    assert box.view().unusable_since_ms == START_MS
    assert box.names == ["endpoint.down"]


def test_each_change_is_announced_once_however_often_it_is_confirmed() -> None:
    """With how long it was away, and why it went."""
    box = Box()
    box.listed(times=3)
    box.listed(ProbeStatus.UNAVAILABLE, times=4)
    box.now_ms += 90_000
    box.listed(times=3)

    up, down, again = box.events[1:]
    assert (up.name, up.measurements, up.metadata) == (
        "endpoint.up",
        {"down_ms": 0},
        {"endpoint": "gpu", "models": "qwen"},
    )
    assert (down.name, down.metadata) == ("endpoint.down", {"endpoint": "gpu", "reason": "said unavailable"})
    assert (again.name, again.measurements) == ("endpoint.up", {"down_ms": 90_000})


def test_a_refused_key_takes_it_out_at_once_and_one_good_listing_brings_it_back_whole() -> None:
    """No ramp: nobody waits for a recovering machine here."""
    box = Box(slots=8)
    box.listed()
    box.listed(ProbeStatus.KEY_INVALID)
    assert box.view().health is Health.KEY_INVALID
    assert box.view().message == "said key_invalid"
    box.listed()

    assert (box.view().health, box.view().slots, box.view().message) == (Health.UP, 8, "")
    assert box.names == ["endpoint.up", "endpoint.down", "endpoint.up"]


def test_a_call_that_is_refused_for_its_key_counts_as_a_listing_that_was() -> None:
    """The next task does not run into the same wall."""
    box = Box()
    box.listed()
    box.take(box.books.key_refused("gpu", box.now_ms, "401"))

    assert box.view().health is Health.KEY_INVALID
    assert box.events[-1].metadata == {"endpoint": "gpu", "reason": "401"}


@pytest.mark.parametrize(("said_ms", "kept_ms"), [(7_000, 7_000), (None, 60_000)])
def test_a_rate_limit_seen_by_a_listing_ends_at_its_instant(said_ms: int | None, kept_ms: int) -> None:
    """Not a millisecond before, and a good listing in between does not end it."""
    box = Box()
    box.listed()
    box.listed(ProbeStatus.RATE_LIMITED, retry_after_ms=said_ms)
    assert box.view().health is Health.UP, "it answers"
    assert box.view().blocked_until_ms == START_MS + kept_ms == box.books.next_due_ms("gpu")
    box.listed()
    box.pass_ms(kept_ms - 1)
    assert box.view().blocked_until_ms is not None
    box.pass_ms(1)

    assert box.view().blocked_until_ms is None
    assert box.books.next_due_ms("gpu") is None
    assert box.names == ["endpoint.up", "endpoint.down", "endpoint.up"]
    assert box.events[-1].measurements == {"down_ms": kept_ms}


def test_of_two_rate_limits_of_calls_the_later_instant_holds() -> None:
    """Calls that were under way together come back with different words."""
    box = Box()
    box.listed()
    box.take(box.books.block("gpu", START_MS + 9_000, box.now_ms, "429"))
    box.now_ms += 1_000
    box.take(box.books.block("gpu", START_MS + 4_000, box.now_ms, "429"))

    assert box.view().blocked_until_ms == START_MS + 9_000
    said = [event.measurements["retry_after_ms"] for event in box.events if event.name == "endpoint.rate_limited"]
    assert said == [9_000, 3_000]
    assert box.names.count("endpoint.down") == 1


def test_the_breaker_opens_at_the_third_failure_in_a_row() -> None:
    """A success in between starts the count anew."""
    box = Box()
    box.listed()
    box.fails(2)
    box.succeeds()
    box.fails(2)
    assert box.view().breaker is BreakerState.CLOSED
    box.fails()

    assert box.view().breaker is BreakerState.OPEN
    assert box.view().message == "HTTP 500"
    assert box.names == ["endpoint.up", "endpoint.breaker", "endpoint.down"]


def test_the_cool_down_doubles_to_eight_times_and_starts_anew_after_a_success() -> None:
    """30, 60, 120, 240, 240 seconds; failures of calls that were still under way prolong nothing."""
    box = Box()
    box.listed()
    box.fails(3)
    seen = []
    for _ in range(5):
        seen.append(box.opened_for_ms())
        box.fails()  # a call that was under way when it opened
        assert box.opened_for_ms() == seen[-1]
        box.pass_ms(seen[-1] - 1)
        assert box.view().breaker is BreakerState.OPEN
        box.pass_ms(1)
        assert (box.view().breaker, box.view().slots) == (BreakerState.HALF_OPEN, 1)
        box.fails()
    assert seen == [30_000, 60_000, 120_000, 240_000, 240_000]
    box.pass_ms(240_000)
    box.succeeds()
    assert box.view().breaker is BreakerState.CLOSED
    box.fails(3)

    assert box.opened_for_ms() == 30_000


def test_a_half_open_breaker_says_each_of_its_states_once() -> None:
    """Open, half open, closed, each with its reason; down and up around them."""
    box = Box()
    box.listed()
    box.fails(3)
    box.pass_ms(30_000)
    box.succeeds()

    told = [(event.metadata.get("state"), event.metadata.get("reason")) for event in box.events[2:]]
    assert box.names == [
        "endpoint.up",
        "endpoint.breaker",
        "endpoint.down",
        "endpoint.breaker",
        "endpoint.up",
        "endpoint.breaker",
    ]
    assert [state for state, _ in told if state] == ["open", "half_open", "closed"]
    assert [reason for state, reason in told if state] == ["HTTP 500", "cool-down is over", "a call succeeded"]


def test_a_server_that_came_back_starts_with_a_closed_breaker() -> None:
    """Failures of the old process say nothing about the new one."""
    box = Box()
    box.listed()
    box.fails(3)
    box.listed(ProbeStatus.UNAVAILABLE, times=2)
    box.listed()

    assert (box.view().health, box.view().breaker) == (Health.UP, BreakerState.CLOSED)
    assert box.books.next_due_ms("gpu") is None
    box.fails(3)
    assert box.opened_for_ms() == 30_000


@pytest.mark.parametrize(
    ("slots", "start", "seen"), [(8, 1, [1, 2, 4, 8, 8]), (6, 1, [1, 2, 4, 6]), (8, 3, [3, 6, 8]), (1, 1, [1, 1])]
)
def test_slots_open_by_doubling_after_an_outage(slots: int, start: int, seen: list[int]) -> None:
    """From `ramp_start`, with each success, to all of them and never beyond."""
    box = Box(slots=slots, policy=SchedulerPolicy(ramp_start=start))
    box.listed()
    assert box.view().slots == slots, "a first start is no recovery"
    box.listed(ProbeStatus.UNAVAILABLE, times=2)
    box.listed()

    found = [box.view().slots]
    for _ in seen[1:]:
        box.succeeds()
        found.append(box.view().slots)
    assert found == seen


def test_once_all_slots_are_open_more_of_them_open_at_once() -> None:
    """The recovery is over: a larger spec is no new one."""
    box = Box(slots=2)
    box.listed()
    box.listed(ProbeStatus.UNAVAILABLE, times=2)
    box.listed()
    box.succeeds()
    assert box.view().slots == 2
    box.take(box.books.add(local("gpu", slots=9), box.now_ms))

    assert box.view().slots == 9


def test_a_reset_forgets_breaker_rate_limit_and_ramp() -> None:
    """By hand: what the person saw is fixed."""
    box = Box()
    box.listed()
    box.listed(ProbeStatus.UNAVAILABLE, times=2)
    box.listed()
    box.fails(3)
    box.take(box.books.block("gpu", START_MS + 9_000, box.now_ms, "429"))
    box.take(box.books.reset("gpu", box.now_ms))

    view = box.view()
    assert (view.breaker, view.blocked_until_ms, view.slots) == (BreakerState.CLOSED, None, 8)
    assert box.names[-2:] == ["endpoint.breaker", "endpoint.up"]
    before = list(box.events)
    box.take(box.books.reset("gpu", box.now_ms))
    assert box.events == before, "nothing to forget, nothing to say"


def test_resident_models_are_told_by_what_came_and_went_between_listings() -> None:
    """The first listing is no change; models that our own calls load are seen loading too."""
    box = Box()
    box.listed(residents=("a",))
    box.listed(residents=("a",))
    assert "endpoint.resident" not in box.names
    box.listed(residents=("b", "c"))
    told = box.events[-1]
    assert (told.name, told.metadata) == (
        "endpoint.resident",
        {"endpoint": "gpu", "loaded": "b, c", "unloaded": "a"},
    )
    box.books.mark_resident("gpu", "d")
    assert box.view().is_warm("d")
    box.listed(residents=("b", "c", "d"))

    assert box.events[-1].metadata == {"endpoint": "gpu", "loaded": "d", "unloaded": ""}


def test_a_model_that_was_expected_and_never_loaded_did_not_leave() -> None:
    """The call failed before the load: no listing ever saw the model."""
    box = Box()
    box.listed(residents=())
    box.books.mark_resident("gpu", "a")
    box.listed(residents=())

    assert not box.view().is_warm("a")
    assert "endpoint.resident" not in box.names


def test_an_endpoint_that_does_not_say_what_it_holds_is_never_marked() -> None:
    """A cloud has no memory of its own to fill."""
    box = Box()
    box.listed(residents=None)
    box.books.mark_resident("gpu", "qwen")

    assert box.view().residents is None
    assert box.view().is_warm("anything")


def test_a_replaced_spec_keeps_what_is_known() -> None:
    """A changed number of slots does not send the endpoint back to unchecked, and is no second registration."""
    box = Box(slots=2)
    box.listed()
    box.take(box.books.add(local("gpu", slots=5), box.now_ms))

    assert (box.view().health, box.view().slots) == (Health.UP, 5)
    assert box.names == ["endpoint.up"]


def test_declared_models_hide_listed_ones_under_their_one_spelling() -> None:
    """What the profile declares is what is offered."""
    books = Endpoints(SchedulerPolicy())
    books.add(cloud(), 0)
    books.probed(Probe(endpoint="anthropic", status=ProbeStatus.AVAILABLE, at_ms=0, models=("claude", "other")), 0)
    books.add(local("gpu"), 0)
    books.probed(Probe(endpoint="gpu", status=ProbeStatus.AVAILABLE, at_ms=0, models=("llama3:latest", "claude")), 0)

    assert books.by_model == {"claude": ("anthropic", "gpu"), "llama3": ("gpu",)}


@pytest.mark.parametrize("status", list(ProbeStatus))
def test_what_nobody_registered_is_no_error_and_no_event(status: ProbeStatus) -> None:
    """A listing or a report may come after the endpoint was removed."""
    box = Box()
    box.take(box.books.remove("gpu", box.now_ms))
    assert box.names == ["endpoint.removed"]
    box.listed(status)
    box.fails(3)
    box.succeeds()
    box.take(box.books.block("gpu", START_MS + 1, box.now_ms, ""))
    box.take(box.books.key_refused("gpu", box.now_ms, ""))
    box.take(box.books.advance("gpu", box.now_ms))
    box.take(box.books.reset("gpu", box.now_ms))
    box.take(box.books.remove("gpu", box.now_ms))
    box.books.mark_resident("gpu", "qwen")

    assert box.names == ["endpoint.removed"]
    assert "gpu" not in box.books
    assert (box.books.views, box.books.by_model, box.books.next_due_ms("gpu")) == ({}, {}, None)
