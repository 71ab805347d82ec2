"""`ostler run FILE`: hand in a file of tasks and watch them to the end."""

import sys
from typing import TYPE_CHECKING, Any

import click

from ostler.cli.flags import Number, example, hub_options, json_option
from ostler.domain.errors import ExitCode

if TYPE_CHECKING:
    from ostler.cli.planned import PlannedTimes
    from ostler.cli.taskfile import TaskFile
    from ostler.cli.watch import Picture
    from ostler.client.hub_client import HubClient
    from ostler.domain.tasks import Task
    from ostler.hub.plan_views import RunPlan
    from ostler.hub.views import SubmitAnswer

LIVE_TICK_S = 0.5


@click.command(
    epilog=example(
        "ostler run tasks.yaml",
        "ostler run tasks.yaml --plan",
        "ostler run tasks.yaml --check",
        "ostler run tasks.yaml --resume r-x2m4k7",
    )
)
@click.argument("file", metavar="FILE")
@click.option("--check", "only_check", is_flag=True, help="Check the file and hand in nothing.")
@click.option("--no-wait", is_flag=True, help="Hand the tasks in and leave.")
@click.option("--run-id", metavar="ID", help="Id of this run; the same one again takes it up.  [default: a new one]")
@click.option("--resume", metavar="ID", help="Take this run up: what ended badly is tried again, what is done stays.")
@click.option("--plan", "make_plan", is_flag=True, help="Plan the run, follow the plan, and show both at the end.")
@click.option("--seconds", type=Number(0.1, 60), help="With --plan: time for the search.  [default: 2]")
@click.option("--results", "show_results", is_flag=True, help="Print the results at the end, phase by phase.")
@json_option
@hub_options
def run(
    client: "HubClient",
    *,
    file: str,
    only_check: bool,
    no_wait: bool,
    run_id: str | None,
    resume: str | None,
    show_results: bool,
    as_json: bool,
    **planning: Any,  # noqa: ANN401 -- `make_plan`, `seconds`
) -> int:
    """Hand in a YAML file of tasks with needs, and watch them to the end.

    The file is checked whole before anything is handed in. Ids count inside the file; `ostler tasks list --batch RUN`
    shows a run later. Exit code 0: every task that is not optional succeeded.
    """
    from ostler.cli.taskfile import load_task_file

    _check_planning(**planning)
    tasks = load_task_file(file)
    if only_check:
        click.echo("{}" if as_json else f"{file}: {len(tasks.specs)} tasks, all right")
        return ExitCode.OK
    name = _run_id(run_id) if resume is None else _known_run(client, resume, run_id)
    answer = _hand_in(client, tasks, name, resume=resume is not None, plan_s=_search_s(**planning))
    plan = _planned(client, name, answer) if planning["make_plan"] else None
    if no_wait:
        return _report(answer, name, as_json=as_json, plan=plan)
    return _watch_run(client, answer, name, as_json=as_json, show_results=show_results, plan=plan)


def _check_planning(*, make_plan: bool, seconds: float | None) -> None:
    from ostler.domain.errors import InvalidInputError

    if seconds is not None and not make_plan:
        raise InvalidInputError("only a plan takes time to search", where="--seconds", remedy="add --plan")


def _search_s(*, make_plan: bool, seconds: float | None) -> float | None:
    from ostler.cli.run_plan import SECONDS

    if not make_plan:
        return None
    return SECONDS if seconds is None else seconds


def _planned(client: "HubClient", run_id: str, answer: "SubmitAnswer") -> "RunPlan | None":
    from ostler.cli.render import clean

    if answer.unplanned:
        click.echo(f"run {run_id} goes on without a plan: {clean(answer.unplanned)}", err=True)
        return None
    return client.run_plan(run_id)


def submit_file(client: "HubClient", file: str, *, wait: bool, as_json: bool) -> int:
    """What `ostler submit --file` does: as `run`, but without waiting unless asked to."""
    from ostler.cli.taskfile import load_task_file

    answer = _hand_in(client, load_task_file(file), name := _run_id(None))
    return _watch_run(client, answer, name, as_json=as_json) if wait else _report(answer, name, as_json=as_json)


def _run_id(told: str | None, flag: str = "--run-id") -> str:
    from ostler.cli.spec import check_id, new_id
    from ostler.cli.taskfile import SEPARATOR
    from ostler.domain.errors import InvalidInputError

    if told is None:
        return new_id().replace("t-", "r-")
    check_id(told, flag)
    if SEPARATOR in told or len(told) > 40:  # noqa: PLR2004 -- leaves room for the ids in the file
        remedy = "use at most 40 letters, digits or - _"
        raise InvalidInputError(f"'{told}' cannot be the id of a run", where=flag, remedy=remedy)
    return told


def _known_run(client: "HubClient", resume: str, run_id: str | None) -> str:
    """The run to take up. Raises `NotFoundError` when the hub has none of this id: a slip must not start a new one."""
    from ostler.domain.errors import InvalidInputError, NotFoundError

    if run_id not in (None, resume):
        raise InvalidInputError("--resume and --run-id name two runs", where="--resume", remedy="give one of them")
    name = _run_id(resume, "--resume")
    if not client.tasks((), name, 1).tasks:
        remedy = "'ostler tasks list' shows what there is; leave --resume out to start anew"
        raise NotFoundError(f"there is no run {name}", where="--resume", remedy=remedy)
    return name


def _hand_in(
    client: "HubClient", tasks: "TaskFile", run_id: str, *, resume: bool = False, plan_s: float | None = None
) -> "SubmitAnswer":
    from ostler.domain.errors import InvalidInputError

    try:
        return client.submit(tasks.for_run(run_id), resume=resume, plan_s=plan_s)
    except InvalidInputError as error:
        error.where = tasks.locate(run_id, error.where, error.what)
        raise


def _report(answer: "SubmitAnswer", run_id: str, *, as_json: bool, plan: "RunPlan | None" = None) -> int:
    from ostler.cli import render

    if as_json:
        render.print_json(answer)
    else:
        _say_begin(answer, run_id, plan)
    return ExitCode.OK


def _say_begin(answer: "SubmitAnswer", run_id: str, plan: "RunPlan | None" = None) -> None:
    from ostler.domain.states import TaskState

    known = sum(task.duplicate for task in answer.tasks)
    retried = sum(task.retried for task in answer.tasks)
    done = sum(task.duplicate and task.state is TaskState.SUCCEEDED for task in answer.tasks)
    counts = [(known, "known already"), (done, "of them done"), (retried, "tried again")]
    said = [f", {count} {what}" for count, what in counts if count]
    click.echo(f"run {run_id}: {len(answer.tasks)} tasks{''.join(said)}")
    if plan is not None:
        from ostler.cli.run_plan import promise

        click.echo(promise(plan))


def _watch_run(
    client: "HubClient",
    answer: "SubmitAnswer",
    run_id: str,
    *,
    as_json: bool,
    show_results: bool = False,
    plan: "RunPlan | None" = None,
) -> int:
    from ostler.cli import render
    from ostler.cli.planned import PlannedTimes

    if not as_json:
        _say_begin(answer, run_id, plan)
    try:
        last = _watch(client, run_id, silent=as_json, plan=None if plan is None else PlannedTimes(plan))
    except KeyboardInterrupt:
        _leave(client, run_id)
        return ExitCode.INTERRUPTED
    happened = None if plan is None else client.run_plan(run_id)
    if as_json:
        from ostler.hub.results import phase_row, phases_of
        from ostler.hub.views import RunReport

        outputs = _outputs(client, run_id) if show_results else None
        phases = tuple(phase_row(phase, outputs) for phase in phases_of(last.tasks))
        render.print_json(RunReport(tasks=last.tasks, phases=phases, now_ms=last.now_ms, plan=happened))
    else:
        if happened is not None:
            from ostler.cli.run_plan import print_end

            print_end(happened)
        _print_end(last)
        if show_results:
            from ostler.cli.results import print_results

            print_results(client.results(run_id))
    return last.exit_code


def _outputs(client: "HubClient", run_id: str) -> dict[str, str]:
    rows = (row for phase in client.results(run_id).phases for row in phase.tasks)
    return {row.id: row.output for row in rows if row.output is not None}


def _watch(client: "HubClient", run_id: str, *, silent: bool, plan: "PlannedTimes | None" = None) -> "Picture":
    from ostler.cli.progress import progress
    from ostler.cli.tasks import batch_tasks
    from ostler.cli.watch import Bell, pictures

    def ask() -> "tuple[tuple[Task, ...], int]":
        return batch_tasks(client, run_id)

    prefix = run_id + "."
    live = not silent and sys.stdout.isatty()
    shown = pictures(ask, Bell(client, lambda task_id: task_id.startswith(prefix)), *([LIVE_TICK_S] if live else []))
    if silent:
        return list(shown)[-1]
    with progress(live=live, plan=plan) as display:
        for picture in shown:
            display.show(picture)
    return picture


def _leave(client: "HubClient", run_id: str) -> None:
    """After Ctrl-C: the tasks are the hub's and go on, unless the person says otherwise."""
    from ostler.cli.tasks import open_tasks

    click.echo()
    if sys.stdin.isatty() and sys.stdout.isatty() and click.confirm("cancel what is left of this run?", default=False):
        for task in open_tasks(client, run_id):
            click.echo(f"{task.id}  {client.cancel(task.id, 'interrupted').state}")
        return
    click.echo(f"run {run_id} goes on. Take it up, list it, cancel it:", err=True)
    click.echo(f"  ostler run FILE --run-id {run_id}", err=True)
    click.echo(f"  ostler tasks list --batch {run_id}", err=True)
    click.echo(f"  ostler tasks cancel --batch {run_id}", err=True)


def _print_end(last: "Picture") -> None:
    """What did not succeed, how the phases went, and the counts."""
    from ostler.cli.progress import change_line, summary
    from ostler.cli.results import phase_lines
    from ostler.cli.watch import has_succeeded

    bad = [task for task in last.tasks if not has_succeeded(task)]
    if bad:
        click.echo()
    for task in bad:
        click.echo(change_line(task, last.now_ms))
    lines = phase_lines(last.tasks)
    if len(lines) > 1:
        click.echo()
        for text in lines:
            click.echo(text)
    click.echo(summary(last))
