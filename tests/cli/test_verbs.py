"""Every verb that asks the hub: what is asked, what is printed for people, and the JSON for programs."""

import json
import re
from typing import Any

import msgspec
import pytest

from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.errors import ExitCode, NotFoundError
from ostler.domain.hubs import HubList, Leader
from ostler.domain.ports import TaskQuery
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task
from ostler.hub.fleet_views import HostList, HostRow, LoadOrder, ModelChange, ModelList, UnloadOrder
from ostler.hub.views import (
    EndpointList,
    EventPage,
    HubStatus,
    SettingList,
    SubmitAnswer,
    TaskAnswer,
    TaskList,
    TokenList,
    TokenMade,
    Why,
    WorkerList,
)
from ostler.web.bodies import Done, RouteAnswer
from tests.cli.conftest import Ostler
from tests.cli.gateway_rows import GATEWAY
from tests.web import samples
from tests.web.recording_hub import ServedHub

OPEN = tuple(
    state for state in TaskState if state.value not in ("succeeded", "failed", "expired", "cancelled", "dead_letter")
)

ASKING: list[tuple[tuple[str, ...], tuple[Any, ...], type, list[str]]] = [
    # words, what the hub is asked, what it answers, what a person reads
    (
        ("status",),
        ("status",),
        HubStatus,
        ["started 1 h ago", "nothing runs: no endpoint", "1 of 2 endpoints up", "standard"],
    ),
    (
        ("tasks", "list"),
        ("tasks", TaskQuery(limit=50)),
        TaskList,
        ["t-one", "verified after 10 s", "2 tasks: 1 queued"],
    ),
    (
        ("tasks", "list", "--state", "queued", "--state", "running", "--batch", "r-1", "--limit", "9", "--before", "7"),
        ("tasks", TaskQuery(states=(TaskState.QUEUED, TaskState.RUNNING), batch="r-1", limit=9, before_seq=7)),
        TaskList,
        ["no tasks"],
    ),
    (("tasks", "list", "--open"), ("tasks", TaskQuery(states=OPEN, limit=50)), TaskList, ["t-one"]),
    (("tasks", "show", "t-one"), ("task", "t-one"), TaskAnswer, ["waits for its tier", "attempts", "the first half"]),
    (("tasks", "show", "a:b@c"), ("task", "a:b@c"), TaskAnswer, ["parser"]),
    (("tasks", "cancel", "t-1", "--reason", "late"), ("cancel", "t-1", "late"), Task, ["t-1  cancelled"]),
    (("tasks", "retry", "t-1"), ("retry", "t-1"), Task, ["t-1  queued"]),
    (("tasks", "pause", "t-1"), ("pause", "t-1"), Task, ["t-1  queued (paused)"]),
    (("tasks", "resume", "t-1"), ("resume", "t-1"), Task, ["t-1  queued"]),
    (("why", "t-one"), ("why", "t-one"), Why, ["It runs on stable", "  asked for standard"]),
    (("events",), ("events", 0, 500, None), EventPage, ["task.submitted t-one state=queued"]),
    (
        ("events", "--after", "1", "--limit", "3", "--task", "t-one"),
        ("events", 1, 3, "t-one"),
        EventPage,
        ["task.assigned"],
    ),
    (("endpoints", "list"), ("endpoints",), EndpointList, ["stable", "1/1", "qwen2.5:7b", "9 s ago"]),
    (("endpoints", "remove", "stable"), ("remove_endpoint", "stable"), Done, ["removed stable"]),
    (("endpoints", "reset", "stable"), ("reset_endpoint", "stable"), Done, ["reset stable"]),
    (("hosts",), ("hosts", True), HostList, ["box: 25.0 GiB used", "not managed: a cloud", "simulated"]),
    (("models", "list"), ("models",), ModelList, ["box (leaving, 1 busy)", "qwen-quality", "4 (1 min 35 s)"]),
    (
        ("models", "compare"),
        ("models",),
        ModelList,
        ["38 s (30-48, 6x)", "24/s (21-28, 11x)", "$3 in, $15 out", "12 of 13"],
    ),
    (
        ("models", "load", "qwen-quality", "--evict", "qwen", "--drain"),
        ("load_model", "any", LoadOrder(model="qwen-quality", evict=("qwen",), drain=True, wait_ms=20_000)),
        ModelChange,
        ["loaded qwen-quality on box after 41 s, qwen-latest went for it"],
    ),
    (
        ("models", "unload", "qwen-fast", "--on", "box", "--no-wait"),
        ("unload_model", "box", UnloadOrder(model="qwen-fast")),
        ModelChange,
        ["on box"],
    ),
    (("models", "pin", "q", "--on", "box"), ("pin_model", "box", "q", True), HostRow, ["pinned on box: qwen-fast"]),
    (("models", "unpin", "q", "--on", "box"), ("pin_model", "box", "q", False), HostRow, ["pinned on box"]),
    (
        ("hubs",),
        ("hubs",),
        HubList,
        [
            "lab    box:7433",
            "leads",
            "1234",
            "1 min",
            "stands by",
            "2 s ago",
            "night  mill:7433",
            "silent",
            "`ostler budget status`",
        ],
    ),
    (("workers", "list"), ("workers",), WorkerList, ["box-worker", "chat 1/4, command 0/2", "25 %", "t-one"]),
    (("config", "show", "--running"), ("settings",), SettingList, ["routing.fallback_wait_ms", "ostler.yaml:4"]),
    (("tokens", "create", "mac"), ("make_token", "mac", "worker"), TokenMade, ["ostler-secret"]),
    (("tokens", "create", "ci", "--scope", "admin"), ("make_token", "ci", "admin"), TokenMade, ["ostler-secret"]),
    (
        ("tokens", "list"),
        ("tokens",),
        TokenList,
        ["NAME      SCOPE   MADE", "ci        admin   2 d ago", "mac-mini  worker  now"],
    ),
    *GATEWAY,
    (("tokens", "revoke", "mac"), ("revoke_token", "mac"), Done, ["revoked mac"]),
]
IDS = [" ".join(row[0]) for row in ASKING]


@pytest.mark.parametrize(("words", "call", "kind", "shown"), ASKING, ids=IDS)
def test_a_verb_asks_the_hub_and_tells_a_person(
    ostler: Ostler, served: ServedHub, words: tuple[str, ...], call: tuple[Any, ...], kind: type, shown: list[str]
) -> None:
    """One question, and the answer in words; nothing is complained about."""
    code, out, err = ostler(*words)

    assert (code, err) == (0, "")
    asked = [one for one in served.hub.calls if one[0] != "follow"]  # a listener of a test before may come late
    assert asked == [call]
    assert [text for text in shown if text not in out] == []


@pytest.mark.parametrize(("words", "call", "kind", "shown"), ASKING, ids=IDS)
def test_a_verb_prints_the_view_as_json(
    ostler: Ostler, served: ServedHub, words: tuple[str, ...], call: tuple[Any, ...], kind: type, shown: list[str]
) -> None:
    """`--json` is the view of the hub on one line, and nothing else."""
    code, out, err = ostler(*words, "--json")

    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1
    msgspec.json.decode(out, type=kind)


@pytest.mark.parametrize(("words", "call", "kind", "shown"), ASKING, ids=IDS)
def test_a_refusal_is_the_same_for_every_verb(
    ostler: Ostler, served: ServedHub, words: tuple[str, ...], call: tuple[Any, ...], kind: type, shown: list[str]
) -> None:
    """Exit code 4 and one line with the hub's own words."""
    served.fails_with(NotFoundError("it is not there", where="here", remedy="look elsewhere"))

    code, out, err = ostler(*words)

    assert (code, out) == (ExitCode.REFUSED, "")
    assert err.removeprefix("ostler: ") == "here: it is not there (look elsewhere)\n"


@pytest.mark.parametrize(("words", "call", "kind", "shown"), ASKING, ids=IDS)
def test_without_a_hub_every_verb_says_so(
    ostler: Ostler, no_hub: str, words: tuple[str, ...], call: tuple[Any, ...], kind: type, shown: list[str]
) -> None:
    """Exit code 3, and how to start a hub."""
    code, out, err = ostler(*words)

    assert (code, out) == (ExitCode.UNREACHABLE, "")
    assert "ostler up" in err


def test_json_is_byte_for_byte_what_the_hub_means(ostler: Ostler, served: ServedHub) -> None:
    """Decoding and printing again loses nothing: the view is equal."""
    _, out, _ = ostler("tasks", "show", "t-one", "--json")

    assert msgspec.json.decode(out, type=TaskAnswer) == samples.ANSWER


def test_everything_about_a_task_can_be_shown(ostler: Ostler, served: ServedHub) -> None:
    """`--all` adds the refused candidate and the events."""
    _, out, _ = ostler("tasks", "show", "t-one", "--all")

    assert "big on cloud: rate_limited, for 30 s" in out
    assert "task.assigned t-one" in out


def test_short_why_is_one_line(ostler: Ostler, served: ServedHub) -> None:
    """Only the headline is left."""
    assert ostler("why", "t-one", "--short").out == samples.WHY.headline + "\n"


def test_several_tasks_are_acted_on_one_by_one(ostler: Ostler, served: ServedHub) -> None:
    """Each task gets its own line, so that a script can read which is done."""
    code, out, _ = ostler("tasks", "cancel", "t-1", "t-2", "--json")

    assert code == 0
    assert [msgspec.json.decode(line, type=Task).id for line in out.splitlines()] == ["t-1", "t-2"]


def test_a_refused_task_among_several_is_named(ostler: Ostler, served: ServedHub) -> None:
    """The first refusal ends it and says which task it was about."""
    served.fails_with(NotFoundError("no such task"))

    assert ostler("tasks", "retry", "t-1", "t-2").err == "ostler: t-1: no such task\n"


def test_a_whole_batch_is_cancelled_as_far_as_it_is_open(ostler: Ostler, served: ServedHub) -> None:
    """Tasks that have ended are left alone."""
    for task_id, state in [("r-1.a", TaskState.SUCCEEDED), ("r-1.b", TaskState.RUNNING), ("r-1.c", TaskState.QUEUED)]:
        ended = {"finished_ms": 5} if state is TaskState.SUCCEEDED else {}
        served.hub.tasks_by_id[task_id] = samples.task(task_id, state, batch="r-1", **ended)

    code, out, _ = ostler("tasks", "cancel", "--batch", "r-1")

    assert code == 0
    assert sorted(out.splitlines()) == ["r-1.b  cancelled", "r-1.c  cancelled"]


def test_what_runs_is_said_to_be_stopped(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker has to end it first: 'running' alone would look as if nothing had been done."""

    async def cancel(_hub: object, task_id: str, _reason: str = "") -> Task:
        return samples.task(task_id, TaskState.RUNNING, started_ms=samples.NOW_MS)

    monkeypatch.setattr(type(served.hub), "cancel", cancel)

    assert ostler("tasks", "cancel", "t-1").out == "t-1  running (being stopped)\n"
    assert ostler("tasks", "retry", "t-1").out == "t-1  queued\n"


def test_a_batch_that_is_done_leaves_nothing_to_cancel(ostler: Ostler, served: ServedHub) -> None:
    """That is said, and is no error."""
    assert ostler("tasks", "cancel", "--batch", "r-none") == (0, "no task to act on\n", "")


@pytest.mark.parametrize("words", [("tasks", "cancel"), ("tasks", "cancel", "t-1", "--batch", "r-1")])
def test_cancel_needs_tasks_or_a_batch(ostler: Ostler, served: ServedHub, words: tuple[str, ...]) -> None:
    """Neither and both are refused before the hub is asked."""
    code, _, err = ostler(*words)

    assert (code, served.hub.calls) == (ExitCode.USAGE, [])
    assert "give ids, or --batch NAME" in err


def test_open_and_state_exclude_each_other(ostler: Ostler, served: ServedHub) -> None:
    """Two ways to say which states would contradict each other."""
    assert ostler("tasks", "list", "--open", "--state", "failed").code == ExitCode.USAGE


def test_a_full_page_says_how_to_go_on(ostler: Ostler, served: ServedHub) -> None:
    """A list that may have more names the next page; one that is complete does not."""
    assert "go on with --before 6" in ostler("tasks", "list", "--limit", "2").out
    assert "--before" not in ostler("tasks", "list", "--limit", "3").out


def test_a_full_page_of_events_says_how_to_go_on(ostler: Ostler, served: ServedHub) -> None:
    """On standard error, so that the events alone are piped on."""
    result = ostler("events", "--limit", "2")

    assert result.err == "more: --after 2\n"


def test_warnings_of_endpoints_are_shown(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub warns of stands below the table, whole."""
    row = msgspec.structs.replace(samples.ENDPOINTS.endpoints[0], warnings=("context is cut to 4096 tokens",))
    monkeypatch.setattr(samples, "ENDPOINTS", EndpointList(endpoints=(row,), now_ms=samples.NOW_MS))

    assert "stable: context is cut to 4096 tokens\n" in ostler("endpoints", "list").out


ADDED = [
    (
        ("mini", "--kind", "ollama", "--url", "http://mini:11434/", "--slots", "2"),
        EndpointSpec(
            name="mini",
            kind=EndpointKind.OLLAMA,
            url="http://mini:11434",
            provider="ollama",
            host="mini",
            local=True,
            slots=2,
        ),
    ),
    (
        (
            "work",
            "--kind",
            "openai",
            "--url",
            "https://api.example.com/v1",
            "--key-env",
            "WORK_KEY",
            "--provider",
            "acme",
        ),
        EndpointSpec(
            name="work",
            kind=EndpointKind.OPENAI,
            url="https://api.example.com/v1",
            provider="acme",
            host="api.example.com",
            local=False,
            api_key_env="WORK_KEY",
        ),
    ),
    (
        (
            "x",
            "--kind",
            "openai",
            "--url",
            "http://10.0.0.7:8000",
            "--cloud",
            "--host",
            "gpu",
            "--model",
            "a:latest",
            "--model",
            "b",
        ),
        EndpointSpec(
            name="x",
            kind=EndpointKind.OPENAI,
            url="http://10.0.0.7:8000",
            provider="openai",
            host="gpu",
            local=False,
            models=("a", "b"),
        ),
    ),
]


@pytest.mark.parametrize(("words", "spec"), ADDED, ids=[row[0][0] for row in ADDED])
def test_an_endpoint_is_registered_as_described(
    ostler: Ostler, served: ServedHub, words: tuple[str, ...], spec: EndpointSpec
) -> None:
    """What is not said follows from the address: its host, and whether the data stays at home."""
    assert ostler("endpoints", "add", *words) == (0, f"added {words[0]}\n", "")
    assert served.hub.calls == [("add_endpoint", spec)]


BAD_ENDPOINTS = [
    (("--url", "mini:11434"), "'mini:11434' is no address", "write it like http://mac-mini:11434"),
    (("--url", "ftp://mini"), "'ftp://mini' is no address", "write it like"),
    (("--url", "http://mini:x"), "'http://mini:x' is no address", "write it like"),
    (("--url", "http://user:pw@mini"), "an address must not hold a key", "use --key-env"),
    (("--url", "http://mini", "--key-env", "sk-12345"), "no name of an environment variable", "such as OPENAI_API_KEY"),
]


@pytest.mark.parametrize(("words", "what", "remedy"), BAD_ENDPOINTS, ids=[row[0][-1] for row in BAD_ENDPOINTS])
def test_a_bad_endpoint_is_refused_before_the_hub_is_asked(
    ostler: Ostler, served: ServedHub, words: tuple[str, ...], what: str, remedy: str
) -> None:
    """What, which flag, and what to write instead."""
    code, _, err = ostler("endpoints", "add", "x", "--kind", "ollama", *words)

    assert (code, served.hub.calls) == (ExitCode.USAGE, [])
    assert what in err
    assert remedy in err


def test_a_key_given_by_mistake_is_not_repeated(ostler: Ostler, served: ServedHub) -> None:
    """Who gives the key itself instead of the variable's name does not find it in a log."""
    result = ostler("endpoints", "add", "x", "--kind", "openai", "--url", "https://a.b", "--key-env", "sk-secret")

    assert "sk-secret" not in result.err + result.out


def test_the_answer_to_a_question_is_a_route(ostler: Ostler, served: ServedHub) -> None:
    """`route --json` is verdict and explanation; who decided is said beside it."""
    code, out, err = ostler("route", "rename it", "--file", "a.py", "--touches", "b.py", "--json")

    assert code == 0
    assert msgspec.json.decode(out, type=RouteAnswer).verdict == samples.ROUTE
    (spec,) = served.asked("route")[0]
    assert (spec.prompt, set(spec.file_hints)) == ("rename it", {"a.py", "b.py"})
    assert err == ""


def test_a_question_tells_a_person_who_decided(ostler: Ostler, served: ServedHub) -> None:
    """Whether a hub or the profile alone decided is not left open."""
    result = ostler("route", "rename it")

    assert samples.WHY.headline in result.out
    assert result.err == f"decided by the hub at {served.url}\n"


def test_an_answer_of_another_shape_is_no_hub(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub of another version is told apart from a hub that is not there."""
    monkeypatch.setattr(samples, "STATUS", samples.PROBE)

    code, _, err = ostler("status")

    assert code == ExitCode.UNREACHABLE
    assert "is not a hub of this version" in err


def test_the_status_of_several_hubs_names_the_one_that_leads(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its address, for people and for programs; a hub with a file of its own is not asked which one it is."""
    assert "leads" not in ostler("status").out
    assert json.loads(ostler("status", "--json").out)["leader"] is None

    leader = Leader(name="den", url="http://den.lan:7433")
    monkeypatch.setattr(samples, "STATUS", msgspec.structs.replace(samples.STATUS, leader=leader))

    assert re.search(r"^leads +den at http://den\.lan:7433$", ostler("status").out, re.MULTILINE)
    assert json.loads(ostler("status", "--json").out)["leader"] == {"name": "den", "url": "http://den.lan:7433"}


def test_submitting_prints_the_id_alone(ostler: Ostler, served: ServedHub) -> None:
    """So that a script can keep it: `id=$(ostler submit ...)`."""
    code, out, err = ostler("submit", "name three horses")

    assert (code, err) == (0, "")
    assert served.asked("submit")[0][0][0].id == out.strip()


def test_submitting_as_json_is_the_answer_of_the_hub(ostler: Ostler, served: ServedHub) -> None:
    """Ids, states, and whether they were known."""
    _, out, _ = ostler("submit", "name three horses", "--id", "t-mine", "--json")

    assert [task.id for task in msgspec.json.decode(out, type=SubmitAnswer).tasks] == ["t-mine"]


def test_submitting_again_is_not_done_twice(ostler: Ostler, served: ServedHub) -> None:
    """The same id again is told as known."""
    ostler("submit", "name three horses", "--id", "t-mine")

    assert ostler("submit", "name three horses", "--id", "t-mine").out == "t-mine  (known already, queued)\n"
