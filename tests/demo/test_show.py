"""What a person reads at the end and while it runs: complete, truthful, and of the size of a terminal."""

import io

import msgspec
import pytest
from rich.console import Console

from ostler.demo.live import NEWS_MAX, PlainView, counts_text, picture
from ostler.demo.machines import MachineState
from ostler.demo.report import Chapter, build_report
from ostler.demo.show import WIDTH, print_report
from ostler.demo.watcher import Look
from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import EndpointView, Health
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Task
from ostler.hub.views import EndpointRow
from tests.demo import recorded


def printed(kept: str | None = None, **fields: object) -> str:
    out = io.StringIO()
    print_report(build_report(recorded.evidence(**fields)), Console(file=out, width=WIDTH), kept)
    return out.getvalue()


def test_every_task_is_a_line_with_its_route() -> None:
    """Task, kind, tier, model, endpoint, tries, waiting, cost class: all on one line of a terminal."""
    text = printed()
    line = next(line for line in text.splitlines() if line.startswith("humaneval-shift "))

    for word in ("chat", "cloud_small", "gpt-simulated-mini", "sim-openai", "metered", "FALLBACK"):
        assert word in line
    for answer in recorded.answers():
        assert sum(line.startswith(f"{answer.task.id} ") for line in text.splitlines()) >= 1
    assert max(map(len, text.splitlines())) <= WIDTH


def test_every_fallback_and_retry_comes_with_its_reason() -> None:
    """Reasons are printed in the hub's words, none of which is cut off."""
    words = printed().split()
    text = " ".join(words)

    assert "local_strong -> cloud_small, because no endpoint of local_strong is available: sim-alpha is down" in text
    for row in build_report(recorded.evidence()).retries:
        assert set(f"{row.message} [{row.kind}]".split()) <= set(words), row.task


def test_what_is_simulated_is_called_simulated() -> None:
    """Machines, money and pace say so wherever they show."""
    text = printed()

    assert "165 s simulated (8.2 s here)" in text
    assert "These prices are simulated: nobody is billed." in text
    assert "simulated  both machines" in text.replace("simulated both", "simulated  both")


def test_measured_loads_are_not_called_simulated() -> None:
    """A real engine's loads are real seconds."""
    text = printed(hosts=(recorded.host(simulated=False, lost_ms=1500),))

    assert "1.5 s measured" in text
    assert "s here)" not in text


def test_a_bad_run_begins_with_why() -> None:
    """The first lines say what is wrong."""
    first = "\n".join(printed(left_running=("process 7: python x.py",)).splitlines()[:5])

    assert first.startswith("Not good")
    assert "! left running, and killed: process 7: python x.py" in first
    assert "nothing was left running" not in first


def test_the_end_tells_how_to_go_on() -> None:
    """A newcomer sees the next command, and where the files are if they were kept."""
    assert "ostler up " in printed()
    assert "Kept" not in printed()
    assert "/tmp/here" in printed(kept="/tmp/here")


def test_a_file_has_no_blanks_at_the_ends_of_lines() -> None:
    """What fills a terminal's lines does not belong into a file."""
    assert all(line == line.rstrip() for line in printed().splitlines())


def endpoint(name: str, *, local: bool, health: Health = Health.UP) -> EndpointRow:
    spec = msgspec.convert(
        {
            "name": name,
            "kind": "ollama",
            "url": "http://127.0.0.1:1",
            "provider": "ollama",
            "host": name,
            "local": local,
        },
        EndpointSpec,
    )
    return EndpointRow(view=EndpointView(spec=spec, health=health), in_flight=1, source="profile")


def busy_look(tasks: int = 60) -> Look:
    """More of everything than the demo has."""
    base = recorded.answer("humaneval-shift").task
    states = (TaskState.RUNNING, TaskState.QUEUED, TaskState.SUCCEEDED)
    rows: list[Task] = []
    for index in range(tasks):
        state = states[index % 3]
        wait = Wait(code=WaitCode.CAPACITY, since_ms=0, detail=f"reason {index} " + "x" * 200)
        fields = {"id": f"task-{index}", "state": state, "wait": wait if state is TaskState.QUEUED else None}
        rows.append(msgspec.structs.replace(base, **fields))
    return Look(
        elapsed_s=75.0,
        now_ms=base.created_ms + 5000,
        tasks=tuple(rows),
        endpoints=(
            endpoint("sim-alpha", local=True, health=Health.DOWN),
            endpoint("sim-beta", local=True),
            endpoint("sim-openai", local=False),
            endpoint("sim-anthropic", local=False),
        ),
        machines={"sim-beta": MachineState(residents=("llama3.2:3b", "other"), loads=2)},
        off=frozenset({"sim-alpha"}),
    )


def drawn(look: Look, news: list[Chapter]) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=120, force_terminal=False).print(picture("the demo, 10x", "a note", look, news))
    return out.getvalue().splitlines()


def test_the_picture_fits_a_terminal() -> None:
    """However many tasks and news there are: 40 lines of 120 characters, the newest news last."""
    news = [Chapter(at_s=float(index), text=f"news {index} " + "y" * 200) for index in range(50)]
    lines = drawn(busy_look(), news)

    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120
    assert "news 49" in lines[-1]
    assert sum("news" in line for line in lines) == NEWS_MAX


def test_the_picture_shows_the_machine_that_is_off() -> None:
    """The clock, the counts, and each machine with its state."""
    lines = drawn(busy_look(9), [])
    text = "\n".join(lines)

    assert "the demo, 10x   1:15" in lines[0]
    assert "9 tasks   3 succeeded   3 running   3 queued" in text
    assert any(line.startswith("sim-alpha") and " OFF " in line for line in lines)
    assert any("llama3.2:3b, other" in line for line in lines)
    assert "FALLBACK" in text


def test_a_failure_that_is_allowed_is_counted_apart() -> None:
    """An optional task that failed on purpose does not look like a defect."""
    allowed = recorded.answer("optional-check").task
    real = msgspec.structs.replace(allowed, optional=False)

    assert counts_text([allowed]) == "1 tasks; 1 failed, but optional"
    assert counts_text([real]) == "1 tasks; 1 dead letter"


def test_plain_lines_come_once_and_none_is_missed() -> None:
    """The hub tells of some things later than they happened: a line may come out of order, never twice or never."""
    out = io.StringIO()
    view = PlainView(Console(file=out, width=200), "the demo")
    early, late = Chapter(at_s=1.0, text="early"), Chapter(at_s=2.0, text="late")
    look = Look(elapsed_s=1.0, now_ms=0)

    view.show(look, [late])
    view.show(look, [early, late])
    view.show(look, [early, late])

    assert [line.split()[-1] for line in out.getvalue().splitlines()] == ["demo", "late", "early"]


@pytest.mark.parametrize("width", [60, 120, 200])
def test_the_report_can_be_drawn_at_any_width(width: int) -> None:
    """A narrow terminal folds and cuts; nothing breaks."""
    out = io.StringIO()
    print_report(build_report(recorded.evidence()), Console(file=out, width=width, force_terminal=True), "/tmp/here")

    assert "Every task" in out.getvalue()


def test_a_live_call_is_a_line_and_a_fallback_is_told() -> None:
    """Who spoke how, what was asked for, who answered; and why it was another tier."""
    text = printed()
    line = next(line for line in text.splitlines() if line.startswith("openai-chat, streamed"))
    for word in ("tier:local_small", "llama3.2:3b", "sim-beta", "0.1 s", "1.3 s", "$0.0000"):
        assert word in line
    assert "tier:local_strong was answered by cloud_small, because sim-alpha is down" in " ".join(text.split())
