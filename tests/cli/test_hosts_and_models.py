"""`ostler hosts` and `ostler models`: every line of them, in narrow and wide windows, and what can go wrong."""

import json
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

import msgspec
import pytest

from ostler.cli import hosts as hosts_module
from ostler.cli import models as models_module
from ostler.cli.host_text import host_lines
from ostler.cli.model_fit import ModelFit, cost_on, cost_text, success_text
from ostler.cli.model_text import comparison_lines, list_row
from ostler.domain.errors import ConflictError, ExitCode, UnreachableError
from ostler.domain.fleet import HeldPhase
from ostler.domain.managed import Counts, ModelQueue, ResidentView, SwapView
from ostler.domain.observations import ObservationQuery
from ostler.domain.policy import HistoryRule
from ostler.hub.fleet_views import HostList, HostRow, LoadFailure, ModelList, ModelRow
from ostler.hub.pattern_views import PatternReport, PatternRow
from ostler.hub.simulated import Saved
from tests.cli.conftest import Ostler
from tests.web import samples
from tests.web.recording_hub import RecordingHub, ServedHub

NOW_MS = samples.NOW_MS
BOX, CLOUD = samples.HOSTS.hosts


def lines_of(width: int = 100, *, host: HostRow = BOX, **changes: object) -> list[str]:
    """The lines of one host."""
    row = msgspec.structs.replace(host, **changes)
    return host_lines(HostList(hosts=(row,), now_ms=NOW_MS), width)


def test_a_host_reads_from_its_memory_to_its_costs() -> None:
    """The whole of it, in the order in which one asks."""
    assert lines_of(106) == [
        "box: 25.0 GiB used, 5.0 GiB free (2.0 GiB of 32.0 GiB reserved), endpoint stable",
        "  MODEL        CONTEXT  MEMORY    NOW           CALLS  NOTE",
        "  qwen-latest  131072   20.0 GiB  leaving 4 s   1/2",
        "  qwen-fast    32768    5.0 GiB   ready 10 min  0/1    pinned, held for 8 s",
        "  loading qwen-quality in place of qwen-latest, when calls on qwen-latest have ended: about 41 s left, for",
        "    4 s so far (4 waiting)",
        "  4 tasks wait for qwen-quality, the oldest for 1 min 35 s, patient for 1 min 25 s more",
        "  could not load broken: no such file; again in 30 s",
        "  last hour: 3 loads, 2 unloads, 2 swaps, 1 min 10 s lost to them",
        "  since the start: 7 loads, 5 unloads, 4 swaps, 1 failed, 2 min 30 s lost to them",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_hosts_fit_the_window(width: int) -> None:
    """No line is wider than a window of the usual sizes."""
    assert [line for line in host_lines(samples.HOSTS, width) if len(line) > width] == []


@pytest.mark.parametrize("width", [80, 120])
def test_a_comparison_fits_the_window(width: int) -> None:
    """Models that do not fit beside the others come below them, none is left out."""
    lines = comparison_lines(samples.MODELS, width)

    assert [line for line in lines if len(line) > width] == []
    assert {model.name for model in samples.MODELS.models} <= set(" ".join(lines).split())


def test_a_host_that_is_not_managed_says_why() -> None:
    """And shows what its endpoints list, without claims about memory."""
    listed = ResidentView(
        endpoint="e",
        model="m",
        context_tokens=None,
        memory_bytes=None,
        phase=HeldPhase.READY,
        busy=0,
        since_ms=None,
        used_ms=None,
        pinned=False,
    )

    assert lines_of(host=CLOUD) == ["cloud: endpoint anthropic", "  not managed: a cloud: nothing is loaded there"]
    assert lines_of(host=CLOUD, residents=(listed,), endpoints=("e", "f"), total_bytes=samples.GIB)[0::3] == [
        "cloud: 1.0 GiB, endpoint e, f",
        "  m      -        -       ready  0/1    on e",
    ]


SWAP = SwapView(
    kind="load",
    endpoint="e",
    model="a",
    evict=(),
    reason="by hand",
    since_ms=NOW_MS - 9_000,
    begun=True,
    ready_ms=NOW_MS,
)
SWAPS = [
    (SWAP, "loading a: longer than expected, for 9 s so far (by hand)"),
    (
        msgspec.structs.replace(SWAP, evict=("b", "c"), ready_ms=NOW_MS + 5_000),
        "loading a in place of b, c: about 5 s left, for 9 s so far (by hand)",
    ),
    (
        msgspec.structs.replace(SWAP, kind="unload", evict=("a",), begun=False, ready_ms=NOW_MS + 5_000),
        "unloading a, when calls on a have ended: about 5 s left, for 9 s so far (by hand)",
    ),
]


@pytest.mark.parametrize(("swap", "text"), SWAPS, ids=[text[:24] for _, text in SWAPS])
def test_a_change_says_what_goes_and_how_long(swap: SwapView, text: str) -> None:
    """Before it begins it says what it waits for; one that takes too long says so."""
    assert f"  {text}" in lines_of(swap=swap)


QUEUES = [
    (ModelQueue(model="m", waiting=1, oldest_ms=None, hosts=()), "1 task waits for m"),
    (ModelQueue(model="m", waiting=1, calls=1, oldest_ms=None, hosts=()), "1 live call waits for m"),
    (ModelQueue(model="m", waiting=5, calls=3, oldest_ms=None, hosts=()), "2 tasks and 3 live calls wait for m"),
    (
        ModelQueue(model="m", waiting=2, oldest_ms=NOW_MS - 1_000, hosts=(), patience_ends_ms=NOW_MS),
        "2 tasks wait for m, the oldest for 1 s, patient no longer",
    ),
]


@pytest.mark.parametrize(("queue", "text"), QUEUES, ids=["usable", "call", "both", "overdue"])
def test_a_queue_tells_of_its_patience(queue: ModelQueue, text: str) -> None:
    """Only where it counts: a model that is usable has none. Live calls are told apart from tasks."""
    assert f"  {text}" in lines_of(queues=(queue,))


def test_an_empty_host_and_an_empty_fleet_say_so() -> None:
    """Nothing is not shown as a table without rows."""
    assert "  nothing is loaded" in lines_of(residents=(), max_resident_models=1)
    assert "at most 1 model" in lines_of(residents=(), max_resident_models=1)[0]
    assert host_lines(HostList(hosts=(), now_ms=0), 80) == ["no host; add an endpoint with `ostler endpoints add`"]


def test_why_there_is_no_comparison_is_told() -> None:
    """Instead of a figure that would be made up."""
    answer = HostList(hosts=(), now_ms=0, not_saved_because="no endpoint to simulate")

    assert host_lines(answer, 200)[-1].endswith("cannot be simulated: no endpoint to simulate")


def test_a_comparison_that_is_not_of_now_says_of_when_it_is() -> None:
    """A minute is not worth a word."""
    saved = Saved(tasks=1, minutes=2.0, happened_wait_ms=1, fifo_wait_ms=2, fifo_swaps=3, said="2 minutes saved")
    fresh, old = (HostList(hosts=(), now_ms=NOW_MS, saved=saved, saved_at_ms=NOW_MS - ms) for ms in (60_000, 300_000))

    assert host_lines(fresh, 200)[-1] == "last hour against first-in-first-out: 2 minutes saved"
    assert host_lines(old, 200)[-1] == "last hour against first-in-first-out, as of 5 min ago: 2 minutes saved"


def test_control_characters_of_an_engine_do_not_reach_the_terminal() -> None:
    """A message of an engine is data."""
    failed = LoadFailure(model="m", message="\x1b[2Jgone", until_ms=NOW_MS)

    assert "\x1b" not in "".join(lines_of(failed=(failed,)))


class _Enough(Exception):
    """The test has seen enough."""


def _pauses(monkeypatch: pytest.MonkeyPatch, module: object, change: object = None, limit: int = 3) -> None:
    """Let each pause do something to the hub instead of waiting, and end after some."""
    seen = count(1)

    def sleep(_seconds: float) -> None:
        number = next(seen)
        if number > limit:
            raise KeyboardInterrupt
        if callable(change):
            change(number)

    monkeypatch.setattr(module, "time", type("Time", (), {"sleep": staticmethod(sleep)}))


def test_watching_prints_what_has_changed(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no terminal: again only when something but the clock has changed; Ctrl-C ends it."""
    hub = served.hub

    def change(number: int) -> None:
        hub.host_list = msgspec.structs.replace(hub.host_list, now_ms=NOW_MS + number)
        if number == 2:
            hub.host_list = msgspec.structs.replace(hub.host_list, hosts=(CLOUD,))

    _pauses(monkeypatch, hosts_module, change)
    result = ostler("hosts", "--watch", "--json")

    assert result.code == ExitCode.INTERRUPTED
    assert [len(json.loads(line)["hosts"]) for line in result.out.splitlines()] == [2, 1]


def test_watching_outlives_a_hub_that_is_away(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart of the hub is said once and waited for; the first question must be answered."""
    hub = served.hub

    def change(number: int) -> None:
        hub.raises = UnreachableError("away") if number in (1, 2) else None
        if number == 3:
            hub.host_list = msgspec.structs.replace(hub.host_list, hosts=(CLOUD,))

    _pauses(monkeypatch, hosts_module, change)
    result = ostler("hosts", "--watch", "--json")

    assert result.err.strip() == "the hub does not answer; waiting for it"
    assert len(result.out.splitlines()) == 2


def test_a_long_load_is_waited_for(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a question may take: the host is looked at until the change is over."""
    hub = served.hub
    hub.change = msgspec.structs.replace(samples.CHANGE, under_way=True, took_ms=None)
    _pauses(monkeypatch, models_module, lambda number: _ends(hub, number, "qwen-quality"))

    result = ostler("models", "load", "qwen-quality")

    assert (result.code, result.err) == (0, "")
    assert result.out == "loaded qwen-quality on box after 25 s, qwen-latest went for it\n"


def _ends(hub: RecordingHub, number: int, *loaded: str) -> None:
    """With the second look the change is over, and these are loaded."""
    if number < 2:
        return
    resident = BOX.residents[0]
    row = msgspec.structs.replace(
        BOX,
        swap=None,
        residents=tuple(msgspec.structs.replace(resident, model=name) for name in loaded),
        failed=(LoadFailure(model="qwen-quality", message="no memory", until_ms=0),),
    )
    hub.host_list = HostList(hosts=(row,), now_ms=NOW_MS + 5_000)


def test_a_long_load_that_fails_says_why(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1: it was tried, and the engine could not."""
    hub = served.hub
    hub.change = msgspec.structs.replace(samples.CHANGE, under_way=True, took_ms=None)
    _pauses(monkeypatch, models_module, lambda number: _ends(hub, number))

    result = ostler("models", "load", "qwen-quality")

    assert (result.code, result.out) == (ExitCode.FAILED, "")
    assert result.err == "ostler: model: qwen-quality could not be loaded on box: no memory\n"


def test_not_waiting_says_how_long_it_will_take(ostler: Ostler, served: ServedHub) -> None:
    """The order stands; nobody waits."""
    served.hub.change = msgspec.structs.replace(samples.CHANGE, under_way=True, took_ms=None, ready_ms=NOW_MS + 41_000)

    result = ostler("models", "load", "qwen-quality", "--no-wait")

    assert result.out == "loading qwen-quality on box, about 41 s left, qwen-latest goes for it\n"


@pytest.mark.parametrize(
    ("code", "exit_code"), [("conflict", ExitCode.REFUSED), ("model_swap_failed", ExitCode.FAILED)]
)
@pytest.mark.parametrize("verb", ["load", "unload"])
def test_a_refusal_and_a_failure_have_codes_of_their_own(
    ostler: Ostler, served: ServedHub, verb: str, code: str, exit_code: ExitCode
) -> None:
    """4: nothing was tried; 1: it was tried and failed. As JSON too."""
    error = ConflictError("qwen is working on box", remedy="try again when its work has ended")
    error.code = code
    served.fails_with(error)

    plain, machine = ostler("models", verb, "qwen"), ostler("models", verb, "qwen", "--json")

    assert (plain.code, machine.code) == (exit_code, exit_code)
    assert plain.err == "ostler: qwen is working on box (try again when its work has ended)\n"
    assert json.loads(machine.err)["error"]["code"] == code


def test_the_only_managed_host_need_not_be_named(ostler: Ostler, served: ServedHub) -> None:
    """It is found by a look at the hosts."""
    assert ostler("models", "pin", "qwen-fast").code == 0
    assert served.hub.calls == [("hosts", False), ("pin_model", "box", "qwen-fast", True)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((CLOUD,), "no host is managed ('ostler hosts' says why)"),
        ((BOX, msgspec.structs.replace(BOX, name="mac")), "several hosts are managed (name one of box, mac)"),
    ],
)
def test_a_pin_without_a_clear_host_is_refused(
    ostler: Ostler, served: ServedHub, rows: tuple[HostRow, ...], message: str
) -> None:
    """Bad input, with the names there are."""
    served.hub.host_list = HostList(hosts=rows, now_ms=NOW_MS)

    result = ostler("models", "unpin", "qwen-fast")

    assert (result.code, result.err) == (ExitCode.USAGE, f"ostler: --on: {message}\n")


def test_models_are_chosen_by_name_and_alias(ostler: Ostler, served: ServedHub) -> None:
    """In the order given, each once."""
    found = json.loads(ostler("models", "compare", "sonnet", "gpt-4", "qwen-latest", "--json").out)

    assert [model["name"] for model in found["models"]] == ["sonnet", "qwen-latest"]


def test_an_unknown_model_names_the_nearest(ostler: Ostler, served: ServedHub) -> None:
    """Nothing is compared."""
    result = ostler("models", "compare", "qwen-latst")

    assert (result.code, result.out) == (ExitCode.REFUSED, "")
    assert result.err == "ostler: MODEL: there is no model qwen-latst (did you mean 'qwen-latest'?)\n"


def test_a_comparison_sets_measured_beside_configured() -> None:
    """What was never measured has no line; a cloud has nothing to load."""
    lines = comparison_lines(samples.MODELS, 120)

    assert "load, measured          38 s (30-48, 6x)   -             -" in lines
    assert "load, assumed           40 s               20 s          -" in lines
    assert not [line for line in lines if line.startswith("unload, measured")]


def test_nothing_to_compare_says_so() -> None:
    """No table without columns."""
    assert comparison_lines(ModelList(models=(), now_ms=0), 80)[0].startswith("no model")


def test_a_row_of_the_list_is_about_one_model() -> None:
    """Loaded and installed places apart, what waits with its age."""
    latest, quality, sonnet = (list_row(model, NOW_MS) for model in samples.MODELS.models)

    assert latest == ("qwen-latest", "standard", "box (leaving, 1 busy)", "box", "20.0 GiB", "131072", "-")
    assert quality[2:4] == ("-", "box")
    assert quality[6] == "4 (1 min 35 s)"
    assert sonnet[1:5] == ("-", "-", "cloud", "-")


def test_counts_without_failures_do_not_speak_of_them() -> None:
    """What did not happen is not told."""
    assert "failed" not in "".join(lines_of(since_start=Counts(), last_hour=Counts(), failed=()))


def outcomes(*rows: PatternRow) -> Callable[[ObservationQuery], Coroutine[Any, Any, PatternReport]]:
    """What a hub answers that knows these outcomes."""

    async def report(query: ObservationQuery) -> PatternReport:
        found = tuple(row for row in rows if query.task_type in ("", row.task_type))
        return PatternReport(history=HistoryRule.OBSERVE, rate=0.75, confidence=0.9, patterns=found)

    return report


CODING = (
    PatternRow(task_type="coding", model="sonnet", successes=12, failures=2, mean=0.84, low=0.7),
    PatternRow(task_type="coding", model="qwen-latest", successes=1, failures=3, mean=0.4, low=0.2),
)


def test_models_are_compared_for_a_type_of_work(ostler: Ostler, served: ServedHub) -> None:
    """One word that outcomes are known of: what came, what is believed, and what an answer costs. Local is free."""
    served.hub.report = outcomes(*CODING)  # type: ignore[method-assign, assignment]

    told = json.loads(
        ostler("models", "compare", "sonnet", "qwen-latest", "qwen-quality", "--task", "coding", "--json").out
    )

    fits = {fit["model"]: fit for fit in told["task"]["models"]}
    assert [model["name"] for model in told["models"]] == ["sonnet", "qwen-latest", "qwen-quality"]
    assert (fits["sonnet"]["successes"], fits["sonnet"]["failures"], fits["sonnet"]["rate"]) == (12, 2, 0.84)
    assert (fits["qwen-latest"]["cost_micro_usd"], fits["qwen-quality"]["rate"]) == (0, None)
    asked = [call for call in served.hub.calls if call[0] == "route"]
    assert [call[1].task_type for call in asked] == ["coding"]


def test_models_are_compared_for_a_prompt(ostler: Ostler, served: ServedHub) -> None:
    """Any other text is classified by the hub, as if it were handed in; the last line says where it would run."""
    rows = tuple(msgspec.structs.replace(row, task_type=samples.DECISION.classification.task_type) for row in CODING)
    served.hub.report = outcomes(*rows)  # type: ignore[method-assign, assignment]

    result = ostler("models", "compare", "sonnet", "--task", "fix the parser")

    lines = {" ".join(line.split()[:3]): line for line in result.out.splitlines()}
    kind = samples.DECISION.classification
    assert lines[f"success at {kind.task_type}"].endswith("12 of 14, 84% (at least 70%)")
    assert any(line.startswith("cost of it") for line in lines)
    assert result.out.endswith(f"{kind.complexity} {kind.task_type}: {samples.DECISION.summary}\n")
    (asked,) = [call[1] for call in served.hub.calls if call[0] == "route"]
    assert (asked.prompt, asked.task_type) == ("fix the parser", None)


def test_what_a_model_can_do_is_told() -> None:
    """Nothing known is not the same as nothing."""
    names: dict[str, tuple[str, ...] | None] = {"a": ("tools", "vision"), "b": (), "c": None}
    rows = tuple(ModelRow(name=name, capabilities=capabilities) for name, capabilities in names.items())
    (line,) = [line for line in comparison_lines(ModelList(models=rows, now_ms=0), 120) if line.startswith("can do")]

    assert line.split("  ")[-1].strip() == "-"
    assert "tools, vision" in line
    assert "text only" in line


def test_a_cost_is_of_the_prompt_and_an_answer_and_unknown_without_a_price() -> None:
    """A thousand characters and 400 tokens of answer at 3 and 15 dollars a million."""
    paid = ModelRow(name="m", input_usd_per_mtok=3.0, output_usd_per_mtok=15.0)
    assert cost_text(ModelFit(model="m", cost_micro_usd=cost_on(paid, 250))) == "$0.00675"
    assert cost_text(ModelFit(model="m", cost_micro_usd=cost_on(ModelRow(name="m"), 250))) == "-"
    assert success_text(ModelFit(model="m")) == "-"
