"""What is seen while the demo runs: one picture that is redrawn on a terminal, occasional lines elsewhere."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ostler.demo.report import Chapter, Tone
from ostler.demo.watcher import Look
from ostler.domain.fleet import Health
from ostler.domain.states import FINAL_STATES, LEASED_STATES, TaskState
from ostler.domain.tasks import Task

RUNNING_MAX = 9
WAITING_MAX = 5
NEWS_MAX = 9
LINE_EVERY_S = 5.0
NONE = "-"
STYLES = {
    "succeeded": "green",
    "up": "green",
    "running": "cyan",
    "assigned": "cyan",
    "evaluating": "cyan",
    "retry_wait": "yellow",
    "unknown": "yellow",
    "down": "red",
    "key_invalid": "red",
    "dead_letter": "bold red",
    "failed": "bold red",
    "expired": "bold red",
    "needs_human": "bold red",
}
TONES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.CHANGE: "yellow", Tone.BAD: "bold red"}
ORDER = ("succeeded", "running", "assigned", "evaluating", "queued", "retry_wait", "scheduled", "needs_human")


class View(Protocol):
    """Shows one look after the other."""

    def show(self, look: Look, news: Sequence[Chapter]) -> None:
        """Show the newest look. `news`: all that was told so far, oldest first."""
        ...

    def say(self, text: str) -> None:
        """Tell what the demo itself does."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class SilentView:
    """Shows nothing: for JSON."""

    def show(self, look: Look, news: Sequence[Chapter]) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainView:
    """A line for each piece of news, and the counts now and then. `title` says what is simulated, and how fast."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._print(title)
        self._told: set[Chapter] = set()
        self._counted_s = 0.0

    def show(self, look: Look, news: Sequence[Chapter]) -> None:
        """Print what is new."""
        for chapter in news:
            if chapter not in self._told:  # the hub tells of some things later than they happened
                self._told.add(chapter)
                self._print(f"{chapter.at_s:6.1f} s  {chapter.text}")
        if look.elapsed_s - self._counted_s >= LINE_EVERY_S:
            self._counted_s = look.elapsed_s
            self._print(f"{look.elapsed_s:6.1f} s  {counts_text(look.tasks)}")

    def say(self, text: str) -> None:
        """Print a line."""
        self._print(text)

    def close(self) -> None:
        """Nothing to tidy up."""

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class LiveView:
    """One picture, redrawn in place. `title` says what is simulated, and how fast."""

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._said = ""
        """The newest line; it stays below the title."""
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, look: Look, news: Sequence[Chapter]) -> None:
        """Redraw."""
        self._live.update(picture(self._title, self._said, look, news), refresh=True)

    def say(self, text: str) -> None:
        """Show a line below the title, until there is a newer one."""
        self._said = text
        self._live.update(Group(Text(self._title, style="bold"), Text(text, style="dim")), refresh=True)

    def close(self) -> None:
        """Take the picture away; the report comes in its place."""
        self._live.stop()


def picture(title: str, note: str, look: Look, news: Sequence[Chapter]) -> RenderableType:
    """The whole picture, at most 40 lines of 120 characters for the demo's own fleet."""
    clock = f"{int(look.elapsed_s) // 60}:{int(look.elapsed_s) % 60:02d}"
    head = Text.assemble((title, "bold"), "   ", (clock, "bold cyan"), "\n", (note, "dim"), "\n", counts(look.tasks))
    running = [task for task in look.tasks if task.state in LEASED_STATES]
    parts: list[RenderableType] = [
        head,
        Text(""),
        _machines(look),
        Text(""),
        Text(f"Running ({len(running)})", style="bold"),
        _running(running, look.now_ms),
        Text(""),
        Text("Waiting", style="bold"),
        *_waiting(look.tasks),
        Text(""),
        Text("What happens", style="bold"),
        *(_news_line(chapter) for chapter in news[-NEWS_MAX:]),
    ]
    return Group(*parts)


def _news_line(chapter: Chapter) -> Text:
    style = TONES[chapter.tone]
    return Text(f"{chapter.at_s:6.1f} s  {chapter.text}", style=style, no_wrap=True, overflow="ellipsis")


def counts(tasks: Iterable[Task]) -> Text:
    """Tasks by state, coloured; what failed and may fail is set apart."""
    found = Counter(_state_of(task) for task in tasks)
    text = Text(f"{found.total()} tasks")
    for state in (*ORDER, *sorted(found.keys() - set(ORDER))):
        if found[state]:
            text.append("   ")
            text.append(f"{found[state]} {state.replace('_', ' ')}", style=STYLES.get(state, ""))
    return text


def _state_of(task: Task) -> str:
    may_fail = task.optional and task.state in FINAL_STATES and task.state is not TaskState.SUCCEEDED
    return "failed, but optional" if may_fail else task.state.value


def counts_text(tasks: Iterable[Task]) -> str:
    """Tasks by state in one plain line."""
    return "; ".join(counts(tasks).plain.split("   "))


def _machines(look: Look) -> Table:
    table = _grid(("endpoint", "state", "worker", "cpu", "in memory", "calls", "loads", "swaps", "lost to loads"))
    joined = {row.session.offer.name for row in look.workers}
    for row in look.endpoints:
        name = row.view.spec.name
        state = look.machines.get(name)
        if name in look.off:
            health = Text("OFF", style="bold red")
        else:
            health = Text(row.view.health, style=STYLES.get(row.view.health.value, ""))
        if not row.view.spec.local:
            worker, cpu, memory, loads, swaps, lost = (NONE,) * 6
        else:
            worker = "joined" if name in joined else "gone"
            residents = state.residents if state is not None else ()
            memory = ", ".join(residents) or NONE
            report = row.report if name in joined else None
            cpu = f"{report.cpu_percent:.0f} %" if report is not None and report.cpu_percent is not None else NONE
            loads, swaps = (str(state.loads), str(state.swaps)) if state is not None else (NONE, NONE)
            lost = f"{state.lost_ms / 1000:.0f} s simulated" if state is not None else NONE
        busy = f"{row.in_flight}/{row.view.slots}" if row.view.health is Health.UP else NONE
        table.add_row(name, health, worker, cpu, memory, busy, loads, swaps, lost)
    return table


def _running(tasks: Sequence[Task], now_ms: int) -> Table:
    table = _grid(("task", "tier", "model", "at", "for"))
    for task in tasks[:RUNNING_MAX]:
        tier = Text(task.tier or NONE)
        if task.fallback_used:
            tier.append(" FALLBACK", style="bold yellow")
        since_ms = task.started_ms if task.started_ms is not None else task.updated_ms
        place = task.endpoint or f"worker {task.worker}"
        table.add_row(task.id, tier, task.model or NONE, place, f"{max(0, now_ms - since_ms) / 1000:.1f} s")
    return table


def _waiting(tasks: Iterable[Task]) -> Iterable[Text]:
    """Queued tasks by reason, the largest group first."""
    groups: dict[tuple[str, str], int] = {}
    for task in tasks:
        if task.state is TaskState.QUEUED and task.wait is not None:
            detail = "" if task.wait.code.value == "deps" else task.wait.detail
            key = (task.wait.code.value.replace("_", " "), detail)
            groups[key] = groups.get(key, 0) + 1
    ranked = sorted(groups.items(), key=lambda entry: (-entry[1], entry[0]))
    for (code, detail), number in ranked[:WAITING_MAX]:
        text = f"{number:3} {code}" + (f": {detail}" if detail else "")
        yield Text(text, no_wrap=True, overflow="ellipsis")


def _grid(columns: Sequence[str]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in columns:
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    return table
