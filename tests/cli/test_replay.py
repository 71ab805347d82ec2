"""`ostler replay`: history is read page by page and handed on; what comes back is shown side by side."""

import msgspec
import pytest

from ostler.app.options import ReplayOptions
from ostler.domain.errors import ExitCode
from ostler.domain.ports import TaskQuery
from ostler.hub.simulated import Comparison, OffPolicy
from ostler.hub.views import HubStatus, TaskList
from ostler.learning.offline import Answer
from tests.cli.conftest import Ostler, RecordingApp
from tests.cli.test_what_if import COMPARISON
from tests.web import samples
from tests.web.recording_hub import OUTCOME, RecordingHub, ServedHub


@pytest.fixture(autouse=True)
def _answer(app: RecordingApp) -> None:
    app.comparison = COMPARISON


def told(app: RecordingApp) -> ReplayOptions:
    (call,) = app.calls
    options = call[1]
    assert isinstance(options, ReplayOptions)
    return options


def test_the_hubs_history_is_handed_on(ostler: Ostler, app: RecordingApp, served: ServedHub) -> None:
    """Its tasks with all that is known of them, its endpoints, and the profile it runs with."""
    code, out, _ = ostler("replay", "--since", "365d", "--policy", "fifo", "--policy", "other.yaml")

    options = told(app)
    assert code == 0
    assert options.policies == ("fifo", "other.yaml")
    assert options.name == f"the last 365d of {served.url}"
    assert options.endpoints.endpoints
    assert len(options.history) == len(served.asked("task")) == 2
    assert "makespan" in out


def test_a_time_that_cannot_be_read_is_told_before_the_hub_is_asked(ostler: Ostler, served: ServedHub) -> None:
    """What to mend first is the flag, whether a hub answers or not."""
    code, _, err = ostler("replay", "--since", "yesterdayy", "--policy", "fifo")

    assert code == ExitCode.USAGE
    assert err.startswith("ostler: --since: ")
    assert served.asked("status") == []


def test_json_is_the_comparison(ostler: Ostler, app: RecordingApp, served: ServedHub) -> None:
    """And nothing else."""
    code, out, err = ostler("replay", "--policy", "fifo", "--json")

    assert (code, err) == (0, "")
    assert msgspec.json.decode(out, type=Comparison) == COMPARISON


def test_the_profile_is_the_hubs_unless_another_is_named(
    ostler: Ostler, app: RecordingApp, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file if it has one, else its name."""
    status: HubStatus = samples.STATUS
    for path, flags, expected in (
        ("/srv/ostler.yaml", (), "/srv/ostler.yaml"),
        (None, (), status.profile),
        ("/srv/ostler.yaml", ("--profile", "mine.yaml"), "mine.yaml"),
    ):
        app.calls.clear()
        monkeypatch.setattr(samples, "STATUS", msgspec.structs.replace(status, profile_path=path))

        ostler("replay", "--policy", "fifo", *flags)

        assert told(app).profile == expected


def listing(monkeypatch: pytest.MonkeyPatch, *ages_ms: int) -> list[TaskQuery]:
    """Have the hub list tasks of these ages, newest first; returns the questions it is asked."""
    tasks = [
        samples.task(f"t-{number}", seq=len(ages_ms) - number, created_ms=samples.NOW_MS - age_ms)
        for number, age_ms in enumerate(ages_ms)
    ]
    asked: list[TaskQuery] = []

    async def listed(hub: RecordingHub, query: TaskQuery) -> TaskList:
        asked.append(query)
        found = [task for task in tasks if query.before_seq is None or task.seq < query.before_seq]
        return TaskList(tasks=tuple(found[: query.limit]), now_ms=samples.NOW_MS)

    monkeypatch.setattr(RecordingHub, "tasks", listed)
    return asked


def test_only_the_wanted_time_is_read(
    ostler: Ostler, app: RecordingApp, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is older than `--since` is not asked for in detail."""
    listing(monkeypatch, 60_000, 1_800_000, 7_200_000)

    ostler("replay", "--since", "1h", "--policy", "fifo")

    assert served.asked("task") == [("t-0",), ("t-1",)]
    assert len(told(app).history) == 2


def test_a_long_history_is_read_page_by_page(
    ostler: Ostler, app: RecordingApp, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page goes on where the last one ended, and no more than asked for is read."""
    monkeypatch.setattr("ostler.cli.replay.PAGE", 2)
    asked = listing(monkeypatch, *range(1_000, 8_000, 1_000))

    ostler("replay", "--policy", "fifo", "--tasks", "5")

    assert [(query.limit, query.before_seq) for query in asked] == [(2, None), (2, 6), (1, 4)]
    assert served.asked("task") == [(f"t-{number}",) for number in range(5)]


def test_a_policy_must_be_named(ostler: Ostler, app: RecordingApp, served: ServedHub) -> None:
    """There is nothing to ask without one."""
    code, _, err = ostler("replay", "--since", "1h")

    assert code == ExitCode.USAGE
    assert "--policy" in err


def test_a_bad_duration_is_refused(ostler: Ostler, app: RecordingApp, served: ServedHub) -> None:
    """Before the history is read."""
    code, _, err = ostler("replay", "--since", "yesterday", "--policy", "fifo")

    assert code == ExitCode.USAGE
    assert "--since: 'yesterday' is no duration" in err
    assert served.asked("tasks") == []


def test_no_hub_has_no_history(ostler: Ostler, app: RecordingApp, no_hub: str) -> None:
    """Exit code 3, as everywhere."""
    assert ostler("replay", "--policy", "fifo").code == ExitCode.UNREACHABLE


ANSWER = Answer(decisions=200, same=60, effective=58.4, support=1.0, ips=0.7, snips=0.7, dr=0.71, low=0.6, high=0.82)
SILENT = Answer(
    decisions=200, same=0, effective=0.0, support=0.0, ips=0.0, snips=0.0, dr=0.0, low=0.0, high=1.0,
    cannot_say="100% of its choices were never tried here",
)  # fmt: skip
CHEAP = msgspec.structs.replace(ANSWER, dr=0.002, low=0.001, high=0.003)


def test_what_the_log_says_stands_below(ostler: Ostler, app: RecordingApp, served: ServedHub) -> None:
    """A figure with its interval for what can be told, the reason for what cannot; the outcomes are the hub's own."""
    logged = (
        OffPolicy(policy="as configured now", success=ANSWER, cost_usd=CHEAP, happened_success=0.65),
        OffPolicy(policy="bold", success=SILENT, cost_usd=SILENT, happened_success=0.65),
    )
    app.comparison = msgspec.structs.replace(COMPARISON, logged=logged)
    code, out, _ = ostler("replay", "--policy", "fifo")
    assert code == 0
    assert told(app).outcomes == (OUTCOME,)
    for text in (
        "not simulated",
        "65.0% succeeded",
        "71.0%",
        "60% to 82%",
        "$0.0020",
        "cannot say",
        "never tried here",
    ):
        assert text in out


def test_without_a_log_nothing_is_said_of_it(ostler: Ostler, app: RecordingApp, served: ServedHub) -> None:
    """No empty table."""
    nothing = msgspec.structs.replace(SILENT, decisions=0, cannot_say="no decision was logged")
    logged = (OffPolicy(policy="p", success=nothing, cost_usd=nothing),)
    app.comparison = msgspec.structs.replace(COMPARISON, logged=logged)
    assert "what the log says" not in ostler("replay", "--policy", "fifo")[1]
