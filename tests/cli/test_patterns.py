"""`ostler patterns`: each verb asks the hub one thing and says what came back."""

from pathlib import Path

import msgspec
import pytest

from ostler.domain.errors import ExitCode
from ostler.domain.event import Event
from ostler.domain.observations import Observation, ObservationQuery, Origin, Says
from ostler.domain.policy import HistoryRule, Learned
from ostler.domain.states import Outcome
from ostler.domain.tasks import TaskSpec
from ostler.hub.pattern_views import CheckRow, LearnedRow, PatternReport, PatternRow
from ostler.hub.views import EventPage, HubStatus, TaskAnswer
from ostler.learning.lessons import label_of, revision_of
from tests.cli.conftest import Ostler
from tests.web.recording_hub import OUTCOME, RecordingHub, ServedHub

ROW = PatternRow(
    task_type="docs", model="qwen", tier="low", successes=9, failures=1, mean=0.85, low=0.7, mean_duration_ms=1_500
)
REPORT = PatternReport(
    history=HistoryRule.OBSERVE,
    rate=0.75,
    confidence=0.9,
    outcomes=10,
    patterns=(ROW,),
    learned=(LearnedRow(task_type="docs", learned=Learned(enough="low", evidence={"low": "qwen 9 of 10"})),),
    checks=CheckRow(accepted=12, accepted_bad=2, looked_at=2, false_accept=0.05, false_accept_high=0.09),
)


@pytest.fixture
def _reporting(served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    async def report(query: ObservationQuery) -> PatternReport:
        served.hub.record("report", query)
        return REPORT

    # On the very hub, not on its class: a test of another file may have done so before.
    monkeypatch.setattr(served.hub, "report", report)


def test_an_outcome_is_written_by_hand(ostler: Ostler, served: ServedHub) -> None:
    """With all that is known of it; ids are new each time."""
    flags = ("--failure", "--verified", "--tier", "low", "--attempt", "2", "--duration", "1.5", "--cost", "0.01")
    code, out, _ = ostler("patterns", "record", "docs", "qwen", *flags, "--note", "broke")
    code_again, _, _ = ostler("patterns", "record", "docs", "qwen", "--success")
    ((first,),), ((second,),) = served.asked("add")
    assert (code, code_again) == (0, 0)
    assert "kept 1 outcome" in out
    assert (first.success, first.proof, first.tier, first.attempt, first.note) == (
        False,
        Outcome.VERIFIED,
        "low",
        2,
        "broke",
    )
    assert (first.duration_ms, first.cost_micro_usd, first.origin) == (1_500, 10_000, Origin.HAND)
    assert (second.success, second.proof) == (True, Outcome.REPORTED)
    assert first.id != second.id


@pytest.mark.parametrize("flag", ["--cost", "--duration"])
def test_what_is_no_number_is_not_kept(ostler: Ostler, served: ServedHub, flag: str) -> None:
    """Python takes `nan` for a number, and no range keeps it out."""
    before = len(served.asked("add"))
    code, _, err = ostler("patterns", "record", "docs", "qwen", "--success", flag, "nan")
    assert (code, "'nan' is not a number to count with" in err) == (ExitCode.USAGE, True)
    assert len(served.asked("add")) == before


def test_an_outcome_must_be_one_or_the_other(ostler: Ostler, served: ServedHub) -> None:
    """Neither is assumed."""
    code, _, err = ostler("patterns", "record", "docs", "qwen")
    assert code == ExitCode.USAGE
    assert "--success" in err
    assert served.asked("add") == []


@pytest.mark.usefixtures("_reporting")
@pytest.mark.parametrize(
    ("verb", "shown", "hidden"),
    [
        (("report",), ("outcomes", "85%", "qwen 9 of 10", "no (observe)"), ()),
        (("stats",), ("outcomes", "90%", "12, of which 2 proved bad later", "at most 9.0%"), ("85%",)),
        (("analyze",), ("85%", "1.5 s"), ("9 of 10",)),
        (("recommend",), ("9 of 10",), ("85%",)),
        (("suggest", "docs"), ("9 of 10", "85%"), ()),
    ],
)
def test_each_part_is_shown(
    ostler: Ostler, served: ServedHub, verb: tuple[str, ...], shown: tuple[str, ...], hidden: tuple[str, ...]
) -> None:
    """In words for people; as the hub says it for programs."""
    code, out, _ = ostler("patterns", *verb)
    assert code == 0
    assert all(text in out for text in shown)
    assert not any(text in out for text in hidden)
    code, out, _ = ostler("patterns", *verb, "--json")
    assert msgspec.json.decode(out, type=PatternReport) == REPORT


@pytest.mark.usefixtures("_reporting")
def test_filters_are_handed_on(ostler: Ostler, served: ServedHub) -> None:
    """Type, model, tier and version."""
    flags = ("--type", "docs", "--model", "qwen2.5:7b", "--tier", "low", "--version", "845d")
    ostler("patterns", "analyze", *flags)
    expected = ObservationQuery(task_type="docs", model="qwen2.5:7b", tier="low", version="845d")
    assert served.asked("report") == [(expected,)]


def test_what_is_exported_can_be_imported(ostler: Ostler, served: ServedHub, tmp_path: Path) -> None:
    """One outcome a line, nothing lost; the copy says that it was imported."""
    code, out, _ = ostler("patterns", "export")
    assert code == 0
    assert msgspec.json.decode(out, type=Observation) == OUTCOME
    file = tmp_path / "outcomes.jsonl"
    file.write_text(out, encoding="utf-8")
    code, out, _ = ostler("patterns", "import", str(file))
    (((copy,),),) = served.asked("add")
    assert (code, "docs" in out) == (0, True)
    assert copy == msgspec.structs.replace(OUTCOME, origin=Origin.IMPORT)


def test_a_line_that_is_no_outcome_is_named(ostler: Ostler, served: ServedHub, tmp_path: Path) -> None:
    """File and line, and nothing is imported."""
    file = tmp_path / "outcomes.jsonl"
    file.write_bytes(msgspec.json.encode(OUTCOME) + b'\n{"id": 3}\n')
    for path, where in ((file, "outcomes.jsonl:2"), (tmp_path / "none", "none")):
        code, _, err = ostler("patterns", "import", str(path))
        assert (code, where in err) == (ExitCode.USAGE, True)
    assert served.asked("add") == []


def test_forgetting_asks_for_a_name_or_for_all(ostler: Ostler, served: ServedHub) -> None:
    """Nothing is forgotten by a slip."""
    for flags in ((), ("--all", "--model", "qwen")):
        code, _, err = ostler("patterns", "forget", *flags)
        assert (code, "--all" in err) == (ExitCode.USAGE, True)
    assert served.asked("forget") == []
    assert ostler("patterns", "forget", "--model", "qwen")[0] == 0
    code, out, _ = ostler("patterns", "forget", "--all")
    assert (code, "forgot 2 outcomes" in out) == (0, True)
    assert served.asked("forget") == [
        (ObservationQuery(model="qwen"),),
        (ObservationQuery(),),
    ]


def test_a_task_is_given_a_type(ostler: Ostler, served: ServedHub) -> None:
    """Its words go along, so that texts like them are told by it."""
    code, out, _ = ostler("patterns", "label", "t-1", "docs")
    (((label,),),) = served.asked("add")
    assert (code, "t-1 is docs" in out) == (0, True)
    assert (label.says, label.task_type, label.origin) == (Says.LABEL, "docs", Origin.HAND)
    assert label.text


def test_what_a_task_was_in_truth_is_said(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """One or the other, with how it came to light; only of a task that a model worked on."""
    whole = RecordingHub.task

    async def worked_on(hub: RecordingHub, task_id: str) -> TaskAnswer:
        answer = await whole(hub, task_id)
        return msgspec.structs.replace(answer, task=msgspec.structs.replace(answer.task, model="qwen"))

    code, _, err = ostler("patterns", "revise", "t-1", "--failure")
    assert (code, "no model" in err) == (ExitCode.REFUSED, True)
    monkeypatch.setattr(RecordingHub, "task", worked_on)
    code, _, err = ostler("patterns", "revise", "t-1")
    assert (code, "--success" in err) == (ExitCode.USAGE, True)
    code, out, _ = ostler("patterns", "revise", "t-1", "--failure", "--note", "reverted")
    (((revision,),),) = served.asked("add")
    assert (code, "t-1 was a failure" in out) == (0, True)
    assert (revision.says, revision.success, revision.note) == (Says.REVISION, False, "reverted")


def test_labels_and_revisions_go_there_and_back(ostler: Ostler, served: ServedHub, tmp_path: Path) -> None:
    """A file of another hub may have both; nothing of them is lost."""
    label = label_of(TaskSpec(id="t-1", prompt="feed the cat"), "pets", 7, by_hand=True)
    revision = revision_of("t-1", "pets", "meta/llama", 8, success=False)
    file = tmp_path / "outcomes.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, (label, revision))))
    assert ostler("patterns", "import", str(file))[0] == 0
    ((copies,),) = served.asked("add")
    assert copies == tuple(msgspec.structs.replace(one, origin=Origin.IMPORT) for one in (label, revision))


def change(seq: int, kind: str, enough: str) -> Event:
    fields = {"enough_before": "", "enough": enough, "poor_before": "", "poor": "", "dominated": "low/hollow"}
    metadata = {
        "task_type": kind,
        **fields,
        "evidence": "qwen 20 of 20",
        "undo": f"ostler patterns forget --type {kind}",
    }
    return Event(name="learning.changed", at_ms=1_000 * seq, seq=seq, metadata=metadata)


@pytest.fixture
def _changed(monkeypatch: pytest.MonkeyPatch) -> None:
    log = [change(1, "docs", "low"), Event(name="task.started", at_ms=5, seq=2), change(1_500, "bugfix", "mid")]
    whole = RecordingHub.status

    async def status(hub: RecordingHub) -> HubStatus:
        return msgspec.structs.replace(await whole(hub), last_event_seq=1_500)

    async def events(hub: RecordingHub, after_seq: int, limit: int, task_id: str | None = None) -> EventPage:
        page = [event for event in log if (event.seq or 0) > after_seq][:limit]
        return EventPage(events=tuple(page), last_seq=1_500)

    monkeypatch.setattr(RecordingHub, "status", status)
    monkeypatch.setattr(RecordingHub, "events", events)


@pytest.mark.usefixtures("_changed")
def test_changes_are_listed_the_newest_first(ostler: Ostler, served: ServedHub) -> None:
    """Each once, with evidence and the way back, however many pages of other events lie between."""
    code, out, _ = ostler("patterns", "changes")
    assert code == 0
    assert out.index("bugfix") < out.index("docs")
    assert "- -> mid" in out
    found = msgspec.json.decode(ostler("patterns", "changes", "--json")[1], type=list[Event])
    assert [event.seq for event in found] == [1_500, 1]
    assert found[0].metadata["undo"] == "ostler patterns forget --type bugfix"


@pytest.mark.usefixtures("_changed")
def test_changes_of_one_type_or_so_many(ostler: Ostler, served: ServedHub) -> None:
    """As the flags say; nothing is said to be nothing."""
    assert "bugfix" not in ostler("patterns", "changes", "--type", "docs")[1]
    assert "docs" not in ostler("patterns", "changes", "--limit", "1")[1]
    assert "none yet" in ostler("patterns", "changes", "--type", "poetry")[1]
