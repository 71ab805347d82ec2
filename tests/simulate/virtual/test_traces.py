"""Traces as workloads: what is kept, what is decided, and what is said of it."""

import statistics
from random import Random

import pytest

from ostler.domain.errors import InvalidInputError
from ostler.simulate.virtual.fleet import Fleet, fleet_of
from ostler.simulate.virtual.jobs import Workload
from ostler.simulate.virtual.requests import Scale, offered_ms
from ostler.simulate.virtual.traces import trace_workload
from tests.simulate.virtual.worlds import policy

WEEK_S = 7 * 24 * 3600


@pytest.fixture
def fleet() -> Fleet:
    return fleet_of(policy({"box": 24, "twin": 24}))


def requests(count: int = 400, *, unit: str = "t_s") -> str:
    """A made trace: gaps as they come in bursts, lengths of all sizes."""
    dice = Random(7)
    lines, at_s = [f"{unit},in_tokens,out_tokens,extra"], 0.0
    for _ in range(count):
        at_s += dice.lognormvariate(-1, 1.2)
        at = at_s if unit == "t_s" else round(at_s * 1000)
        lines.append(f"{at},{dice.randint(10, 20_000)},{dice.randint(1, 800)},x")
    return "\n".join(lines)


def rates(*, days: int = 7, cv: float = 2.0) -> str:
    """A made trace of rates: day and night, a large tier that is silent for half a day."""
    lines = ["window_start_s,tier,rate_rps,active_clients,mean_cv,top_client_share"]
    for window in range(days * 144):
        hour = window / 6 % 24
        busy = 100 + (200 if 8 <= hour < 20 else 0)
        lines.append(f"{window * 600},m-small,{busy},9,{cv},0.5")
        lines.append(f"{window * 600},m-large,{0 if 100 <= window < 172 else busy / 4},9,{cv},0.5")
    return "\n".join(lines)


def gaps(work: Workload) -> list[int]:
    return [b.arrival_ms - a.arrival_ms for a, b in zip(work.jobs, work.jobs[1:], strict=False)]


def test_time_is_stretched_to_the_wanted_load(fleet: Fleet) -> None:
    """The work offered is the wanted share of what the fleet carries."""
    for load in (0.2, 0.8):
        work = trace_workload(requests(), "made.csv", fleet, Scale(load=load))

        assert offered_ms(work.jobs, fleet) / work.jobs[-1].arrival_ms == pytest.approx(load, rel=0.01)


def test_the_shape_of_the_gaps_is_kept(fleet: Fleet) -> None:
    """Each gap is as much of the mean as it was: one factor for all."""
    text = requests()
    times = [float(line.split(",")[0]) for line in text.splitlines()[1:]]
    mean_s = (times[-1] - times[0]) / (len(times) - 1)
    work = trace_workload(text, "made.csv", fleet, Scale())
    mean_ms = statistics.mean(gaps(work))

    for ours, first_s, second_s in zip(gaps(work), times, times[1:], strict=False):
        assert ours / mean_ms == pytest.approx((second_s - first_s) / mean_s, abs=0.01)


def test_lengths_are_those_of_the_trace(fleet: Fleet) -> None:
    """In the order of the trace."""
    text = requests(50)
    work = trace_workload(text, "made.csv", fleet, Scale())

    assert [f"{job.prompt_tokens},{job.output_tokens}" for job in work.jobs] == [
        ",".join(line.split(",")[1:3]) for line in text.splitlines()[1:]
    ]


def test_milliseconds_and_seconds_mean_the_same(fleet: Fleet) -> None:
    """A trace with `t_ms` gives the workload of its twin with `t_s`."""
    seconds, milliseconds = (
        trace_workload(requests(unit=unit), "made.csv", fleet, Scale()) for unit in ("t_s", "t_ms")
    )

    for first, second in zip(seconds.jobs, milliseconds.jobs, strict=True):
        assert first.arrival_ms == pytest.approx(second.arrival_ms, rel=1e-3, abs=100)


def test_models_are_drawn_by_seed_and_said(fleet: Fleet) -> None:
    """The smallest gets the most; the rule stands in the output; another seed gives another draw."""
    first, again, other = (trace_workload(requests(), "made.csv", fleet, Scale(seed=s)) for s in (1, 1, 2))
    names = [job.spec.model for job in first.jobs]

    assert first == again
    assert names != [job.spec.model for job in other.jobs]
    assert names.count("small") > names.count("big") > 0
    assert names.count("other") > 0
    assert any("drawn with seed 1: small 57 %, big 29 %, other 14 %" in rule for rule in first.rules)


def test_a_request_that_fits_no_window_is_left_out_and_counted(fleet: Fleet) -> None:
    """The windows of the fleet end at 32,768 tokens."""
    work = trace_workload("t_s,in_tokens,out_tokens\n0,10,5\n1,90000,5\n2,10,5\n", "made.csv", fleet, Scale())

    assert len(work.jobs) == 2
    assert "1 requests left out: longer than every window of the fleet" in work.rules


def test_at_most_so_many_tasks_are_taken(fleet: Fleet) -> None:
    """The first ones."""
    assert len(trace_workload(requests(), "made.csv", fleet, Scale(tasks=30)).jobs) == 30


def test_a_time_to_live_is_handed_on(fleet: Fleet) -> None:
    """To each task; without one the policy's holds."""
    with_ttl = trace_workload(requests(5), "made.csv", fleet, Scale(ttl_ms=0))
    without = trace_workload(requests(5), "made.csv", fleet, Scale())

    assert {job.spec.ttl_ms for job in with_ttl.jobs} == {0}
    assert {job.spec.ttl_ms for job in without.jobs} == {None}


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("t_s,in_tokens,out_tokens\n0,10,5\n1,many,5\n", "made.csv:3", "in_tokens is 'many'"),
        ("t_s,in_tokens,out_tokens\n0,10\n", "made.csv:2", "out_tokens is missing"),
        ("t_ms,in_tokens,out_tokens\n-4,10,5\n", "made.csv:2", "t_ms is '-4'"),
        ("t_ms,in_tokens,out_tokens\nnan,10,5\n", "made.csv:2", "t_ms is 'nan'"),
        ("window_start_s,tier,rate_rps\n0,a,1\n600,a,fast\n", "made.csv:3", "rate_rps is 'fast'"),
        ("window_start_s,tier,rate_rps\n0,a,0\n", "made.csv", "the trace has no traffic"),
        ("t_s,in_tokens,out_tokens\n", "made.csv", "the trace has no request that fits a model"),
        ("a,b,c\n1,2,3\n", "made.csv:1", "these are not the columns of a trace"),
        ("", "made.csv:1", "these are not the columns of a trace"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(fleet: Fleet, text: str, where: str, what: str) -> None:
    """And with what is expected there."""
    with pytest.raises(InvalidInputError) as refused:
        trace_workload(text, "made.csv", fleet, Scale())

    assert (refused.value.where, refused.value.what) == (where, what)
    assert refused.value.remedy


def test_rates_give_about_as_many_tasks_as_wanted(fleet: Fleet) -> None:
    """Over the whole week, in order of arrival."""
    work = trace_workload(rates(), "week.csv", fleet, Scale(tasks=3_000))

    arrivals = [job.arrival_ms for job in work.jobs]
    assert len(arrivals) == pytest.approx(3_000, rel=0.1)
    assert arrivals == sorted(arrivals)
    assert 0.95 * WEEK_S * 1000 < arrivals[-1] <= WEEK_S * 1000


def test_rates_keep_the_shape_of_the_day(fleet: Fleet) -> None:
    """Days have three times the traffic of nights."""
    work = trace_workload(rates(), "week.csv", fleet, Scale(tasks=6_000))

    hours = [job.arrival_ms / 3_600_000 % 24 for job in work.jobs if job.spec.model == "small"]
    day = sum(8 <= hour < 20 for hour in hours)
    assert day / (len(hours) - day) == pytest.approx(3.0, rel=0.15)


def test_rates_keep_their_variation(fleet: Fleet) -> None:
    """The coefficient of variation of the gaps is that of the trace, where the rate is even."""
    lines = ["window_start_s,tier,rate_rps,mean_cv", *(f"{window * 600},m-small,50,{{cv}}" for window in range(1008))]
    for cv in (0.5, 1.0, 3.0):
        text = "\n".join(lines).replace("{cv}", str(cv))
        found = gaps(trace_workload(text, "week.csv", fleet, Scale(tasks=6_000)))

        assert statistics.pstdev(found) / statistics.mean(found) == pytest.approx(cv, rel=0.15)


def test_an_outage_of_the_trace_is_one_of_the_workload(fleet: Fleet) -> None:
    """The large tier is silent from window 100 to 172, and comes back."""
    work = trace_workload(rates(), "week.csv", fleet, Scale(tasks=6_000))

    windows = [job.arrival_ms // 600_000 for job in work.jobs if job.spec.model != "small"]
    assert not [window for window in windows if 100 <= window < 172]
    assert [window for window in windows if window >= 172]


def test_answers_are_scaled_to_the_wanted_load(fleet: Fleet) -> None:
    """The trace has no lengths; what was drawn is said."""
    work = trace_workload(rates(), "week.csv", fleet, Scale(tasks=2_000, load=0.6))

    assert offered_ms(work.jobs, fleet) / (WEEK_S * 1000) == pytest.approx(0.6, rel=0.05)
    assert "60 % of what the fleet carries" in " ".join(work.rules)
    assert "m-small -> small, m-large -> other" in " ".join(work.rules) or "m-large -> big" in " ".join(work.rules)


def test_equal_seeds_draw_equal_weeks(fleet: Fleet) -> None:
    """And other seeds others."""
    first, again, other = (trace_workload(rates(days=1), "day.csv", fleet, Scale(tasks=200, seed=s)) for s in (1, 1, 2))

    assert first == again
    assert first.jobs != other.jobs
