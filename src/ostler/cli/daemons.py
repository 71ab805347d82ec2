"""`ostler up`, `ostler worker`, `ostler demo`: the processes that stay."""

from typing import Any

import click

from ostler.cli.flags import Number, address_options, example, json_option
from ostler.domain.errors import InvalidInputError
from ostler.domain.tasks import TaskKind

_KINDS = [kind.value for kind in TaskKind]

profile_option = click.option(
    "--profile", metavar="FILE", help="Profile, or the name of a built-in one.  [default: ostler.yaml if there is one]"
)
log_option = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What is logged to standard error.",
)


@click.command(epilog=example("ostler up", "ostler up --profile ostler.yaml --host 0.0.0.0 --no-worker"))
@profile_option
@click.option("--data-dir", metavar="DIR", help="Folder of the hub's files.  [default: as the profile says]")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; beyond 127.0.0.1 every request needs a token.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on; 0 = any free one.")
@click.option("--worker/--no-worker", default=True, show_default=True, help="Whether a worker runs inside.")
@click.option(
    "--allow", multiple=True, type=click.Choice(_KINDS), help="Work the worker inside may do.  [several times]"
)
@click.option(
    "--respawn-above",
    metavar="MB",
    type=click.IntRange(1),
    help="End in good order after a wave of work when memory is above; a supervisor starts it anew.",
)
@log_option
def up(
    *,
    profile: str | None,
    data_dir: str | None,
    host: str | None,
    port: int | None,
    worker: bool,
    allow: tuple[str, ...],
    respawn_above: int | None,
    log_level: str,
) -> None:
    """Start the hub: scheduler, store, API, and a worker inside. Ctrl-C stops it in good order; tasks are kept."""
    from ostler.app.options import UpOptions, load_app

    load_app().up(
        UpOptions(
            profile=profile,
            data_dir=data_dir,
            host=host,
            port=port,
            worker=worker,
            allow=tuple(TaskKind(kind) for kind in allow) or None,
            log_level=log_level,
            respawn_above_bytes=None if respawn_above is None else respawn_above * 1024**2,
        )
    )


@click.command(
    epilog=example("ostler worker --hub http://studio:7433 --token-file token --slots command=2 --slots chat=4")
)
@profile_option
@click.option("--name", metavar="NAME", help="Name of this worker.  [default: the machine's]")
@click.option(
    "--on-host", "host", metavar="NAME", help="Host that the endpoints here belong to.  [default: the machine's name]"
)
@click.option(
    "--slots",
    metavar="KIND=N",
    multiple=True,
    help="Attempts at once of a kind; a kind left out is not run.  [several times]",
)
@click.option(
    "--has", "capabilities", metavar="NAME", multiple=True, help="Something tasks may require.  [several times]"
)
@click.option("--repo", "repos", metavar="NAME", multiple=True, help="Repository it has.  [several times]")
@log_option
@address_options
def worker(*, slots: tuple[str, ...], hub: str | None, token_file: str | None, **told: Any) -> None:  # noqa: ANN401
    """Run tasks of a hub on this machine. It needs a token: `ostler tokens create NAME` on the hub makes one."""
    from ostler.app.options import WorkerOptions, load_app
    from ostler.cli import address

    load_app().worker(
        WorkerOptions(
            hub=address.hub_url(hub),
            token=address.token(token_file),
            slots=dict(_slots(text) for text in slots),
            **told,
        )
    )


@click.command(epilog=example("ostler demo", "ostler demo --engine llama", "ostler demo --seed 7 --json"))
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port of the hub.  [default: any free one]")
@click.option("--data-dir", metavar="DIR", help="Keep the hub's files here.  [default: a temporary folder]")
@click.option("--engine", type=click.Choice(["llama"]), help="A real llama.cpp beside the simulated machines.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of everything simulated.")
@click.option("--speed", type=Number(0.1, 1000), default=10.0, show_default=True, help="Modelled seconds per second.")
@json_option
def demo(**told: Any) -> int:  # noqa: ANN401 -- click's options
    """Start a hub over simulated machines and a simulated cloud, hand in some work, and show what happens.

    Nothing outside this machine is called and nothing costs anything. It ends by itself; exit code 0 only when every
    task that is not optional succeeded.
    """
    from ostler.app.options import DemoOptions, load_app

    return load_app().demo(DemoOptions(**told))


def _slots(text: str) -> tuple[TaskKind, int]:
    from ostler.domain.errors import nearest

    kind, _, number = text.partition("=")
    if kind not in _KINDS:
        raise InvalidInputError(f"'{kind}' is no kind of work", where="--slots", remedy=nearest(kind, _KINDS))
    if not (number.isascii() and number.isdecimal() and int(number) > 0):
        raise InvalidInputError(f"'{text}' has no number of slots", where="--slots", remedy=f"write {kind}=2")
    return TaskKind(kind), int(number)
