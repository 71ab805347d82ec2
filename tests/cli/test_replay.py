"""`ostler replay`: history is read page by page and handed on; what comes back is shown side by side."""

import msgspec
import pytest

from ostler.app.options import ReplayOptions
from ostler.domain.errors import ExitCode
from ostler.domain.ports import TaskQuery
from ostler.hub.simulated import Comparison
from ostler.hub.views import HubStatus, TaskList
from tests.cli.conftest import Ostler, RecordingApp
from tests.cli.test_what_if import COMPARISON
from tests.web import samples
from tests.web.recording_hub import RecordingHub, ServedHub


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
