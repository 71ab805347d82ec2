"""`ostler loop`: loops of autonomous agents, made, steered and watched."""

from typing import TYPE_CHECKING, Any, TypeVar

import click

from ostler.cli.flags import example, hub_options, json_option
from ostler.cli.spec import build_spec, spec_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from ostler.client.hub_client import HubClient
    from ostler.domain.tasks import TaskSpec
    from ostler.hub.loop_views import LoopAnswer, ScheduleChange

F = TypeVar("F", bound="Callable[..., Any]")

COLUMNS = ("name", "status", "loop", "tick", "next", "done", "skipped", "errors", "spent", "why")
HISTORY = ("loop", "due", "took", "ticks", "errors", "spent", "outcome")

_SCHEDULE = (
    click.option("--hours", "interval_hours", type=float, metavar="N", help="Hours between loops."),
    click.option(
        "--minutes", "interval_minutes", type=float, metavar="N", help="Minutes between loops, added to them."
    ),
    click.option("--cron", metavar="EXPRESSION", help="When loops are due, such as `0 9 * * mon-fri`."),
    click.option("--time-zone", metavar="ZONE", help="Whose clock the expression reads."),
    click.option("--max-loops", type=click.IntRange(min=0), help="Loops to run; 0 = without end."),
    click.option("--ticks", "ticks_per_loop", type=click.IntRange(min=1), help="Ticks of a loop."),
    click.option("--steps", "max_steps_per_tick", type=click.IntRange(min=1), help="Steps of a tick at most."),
    click.option("--stimulus", metavar="TEXT", help="What the agent is told at each tick."),
    click.option(
        "--pause-on-budget/--wait-for-budget",
        "auto_pause_on_budget",
        default=None,
        help="What a tick without money does.",
    ),
    click.option(
        "--error-streak",
        "auto_pause_on_error_streak",
        type=click.IntRange(min=0),
        help="Failed ticks in a row that pause it; 0 = never.",
    ),
    click.option(
        "--identical",
        "identical_ticks",
        type=click.IntRange(min=0),
        help="Equal answers in a row that end a loop; 0 = never.",
    ),
    click.option("--catch-up/--skip-missed", "catch_up", default=None, help="What becomes of loops that were missed."),
    click.option("--wait-first/--at-once", "wait_first", default=None, help="When the first loop comes."),
)
_SCHEDULE_FIELDS = (
    "interval_hours",
    "interval_minutes",
    "cron",
    "time_zone",
    "max_loops",
    "ticks_per_loop",
    "max_steps_per_tick",
    "stimulus",
    "auto_pause_on_budget",
    "auto_pause_on_error_streak",
    "identical_ticks",
    "catch_up",
    "wait_first",
)


def schedule_options(command: F) -> F:
    """Add the options of a schedule; what is not given stays as it is, or as the profile has it."""
    for option in reversed(_SCHEDULE):
        command = option(command)
    return command


@click.group(
    epilog=example(
        'ostler loop create night "mend what is broken" --minutes 30 --tier standard --start',
        "ostler loop status night",
        "ostler loop stop night",
    )
)
def loop() -> None:
    """Make, steer and watch loops of autonomous agents."""


@loop.command(
    epilog=example(
        'ostler loop create night "look around and mend what is broken" --minutes 30 --start',
        "ostler loop create tests --command --cron '0 6 * * *' --ticks 1 -- make test",
    )
)
@click.argument("name")
@click.argument("words", metavar="[PROMPT]...", nargs=-1)
@schedule_options
@spec_options
@click.option("--start", is_flag=True, help="Begin at once.")
@json_option
@hub_options
def create(
    client: "HubClient",
    *,
    name: str,
    words: tuple[str, ...],
    start: bool,
    as_json: bool,
    **fields: Any,  # noqa: ANN401 -- the options of a schedule and of a task
) -> None:
    """Make a loop. Each step of it is a task with this prompt (or the stimulus alone), or a command."""
    from ostler.hub.loop_views import LoopWish

    change = _change(fields)
    _print(
        client.create_loop(LoopWish(name=name, schedule=change, work=_work(words, change, fields), start=start)),
        as_json=as_json,
    )


def _steering(verb: str, told: str) -> None:
    """Add a verb that steers a loop."""

    @loop.command(verb, help=told, epilog=example(f"ostler loop {verb} night"))
    @click.argument("name")
    @json_option
    @hub_options
    def steer(client: "HubClient", *, name: str, as_json: bool) -> None:
        _print(client.steer_loop(name, verb), as_json=as_json)


_steering("start", "Begin the schedule of a loop; loops are counted anew.")
_steering("stop", "End the schedule of a loop; a step under way is cancelled.")
_steering("pause", "Begin nothing new; a step under way ends and counts.")
_steering("resume", "Go on where the loop was paused.")


@loop.command(epilog=example("ostler loop change night --minutes 10", "ostler loop change night --cron '@hourly'"))
@click.argument("name")
@schedule_options
@json_option
@hub_options
def change(client: "HubClient", *, name: str, as_json: bool, **fields: Any) -> None:  # noqa: ANN401 -- as above
    """Change the schedule of a loop, also while it runs; what is not named stays."""
    _print(client.change_loop(name, _change(fields)), as_json=as_json)


@loop.command("list", epilog=example("ostler loop list", "ostler loop list --json"))
@json_option
@hub_options
def list_loops(client: "HubClient", *, as_json: bool) -> None:
    """List all loops: what they do now, when the next one is due, what they have done and spent."""
    from ostler.cli import render

    answer = client.loops()
    if as_json:
        render.print_json(answer)
    else:
        empty = "no loop; make one with `ostler loop create NAME PROMPT`"
        render.print_table(COLUMNS, map(loop_row, answer.loops), empty=empty)


@loop.command(epilog=example("ostler loop status night"))
@click.argument("name")
@json_option
@hub_options
def status(client: "HubClient", *, name: str, as_json: bool) -> None:
    """Show a loop: schedule, state, countdown, and what its agent keeps in mind."""
    _print(client.loop(name), as_json=as_json, whole=True)


@loop.command(epilog=example("ostler loop history night", "ostler loop history night --limit 50 --json"))
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 50), default=20, show_default=True, help="At most so many.")
@json_option
@hub_options
def history(client: "HubClient", *, name: str, limit: int, as_json: bool) -> None:
    """List loops that are over, the newest first."""
    import time

    from ostler.cli import render, words

    answer = client.loop_history(name, limit)
    if as_json:
        render.print_json(answer)
        return
    now_ms = time.time_ns() // 1_000_000
    rows = [
        (
            str(done.number),
            words.ago(done.due_ms, now_ms),
            words.duration(done.ended_ms - done.started_ms),
            str(done.ticks),
            str(done.errors),
            words.money(done.cost_micro_usd),
            done.outcome,
        )
        for done in answer.loops
    ]
    render.print_table(HISTORY, rows, empty="no loop is over yet")


@loop.command(epilog=example("ostler loop drop night"))
@click.argument("name")
@json_option
@hub_options
def drop(client: "HubClient", *, name: str, as_json: bool) -> None:
    """Forget a loop that neither runs nor waits; its tasks stay."""
    from ostler.cli import render

    client.drop_loop(name)
    if as_json:
        render.print_json({"dropped": name})
    else:
        click.echo(f"dropped {name}")


def _change(fields: dict[str, Any]) -> "ScheduleChange":
    from ostler.hub.loop_views import ScheduleChange

    return ScheduleChange(**{name: fields.pop(name) for name in _SCHEDULE_FIELDS})


def _work(words: tuple[str, ...], change: "ScheduleChange", fields: dict[str, Any]) -> "TaskSpec":
    """The task of a step. Without a prompt the stimulus stands alone."""
    import msgspec

    if words or fields["is_command"] or not change.stimulus:
        return build_spec("work", words, fields)
    return msgspec.structs.replace(build_spec("work", (change.stimulus,), fields), prompt="")


def loop_row(answer: "LoopAnswer") -> tuple[str, ...]:
    """A loop in the columns of the list."""
    from ostler.cli import words

    one, run = answer.loop, answer.loop.run
    return (
        one.name,
        one.status.value,
        str(run.number) if run is not None else words.NONE,
        f"{run.tick}/{one.schedule.ticks_per_loop}" if run is not None else words.NONE,
        f"in {words.duration(answer.countdown_ms)}" if answer.countdown_ms is not None else words.NONE,
        str(one.loops_completed),
        str(one.loops_skipped),
        str(one.total_errors),
        words.money(one.total_cost_micro_usd),
        one.reason or answer.waits,
    )


def _print(answer: "LoopAnswer", *, as_json: bool, whole: bool = False) -> None:
    from ostler.cli import render

    if as_json:
        render.print_json(answer)
        return
    render.print_pairs(_pairs(answer) if whole else _pairs(answer)[:5])
    mind = answer.loop.working.text()
    if whole and mind:
        click.echo(f"\n{render.clean(mind)}")


def _pairs(answer: "LoopAnswer") -> list[tuple[str, str]]:
    from ostler.cli import words

    one, run, schedule = answer.loop, answer.loop.run, answer.loop.schedule
    at = f"loop {run.number}, tick {run.tick} of {schedule.ticks_per_loop}, step {run.step}" if run is not None else ""
    every = f"cron {schedule.cron} ({schedule.time_zone})" if schedule.cron else words.duration(schedule.interval_ms)
    return [
        ("loop", one.name),
        ("status", one.status.value + (f" ({one.reason})" if one.reason else "")),
        ("under way", at),
        ("task", answer.step + (f", waits: {answer.waits}" if answer.waits else "")),
        ("next", f"in {words.duration(answer.countdown_ms)}" if answer.countdown_ms is not None else ""),
        ("every", every if schedule.cron else f"{every} from the start"),
        ("loops", f"{one.loops_completed} done, {one.loops_skipped} skipped, of {schedule.max_loops or 'no end'}"),
        ("ticks", f"{one.total_ticks_run}, {one.total_errors} failed, {one.consecutive_errors} of them in a row now"),
        ("spent", words.money(one.total_cost_micro_usd)),
        ("work", f"{one.work.kind.value}: {one.work.prompt or ' '.join(one.work.argv)}"),
        ("stimulus", schedule.stimulus),
        ("last error", one.last_error),
    ]
