"""`ostler simulate-host` and `ostler simulate-cloud`: simulated machines and providers on real ports."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ostler.cli.flags import Number, example

F = TypeVar("F", bound=Callable[..., Any])

OLLAMA_PORT = 11_434
CLOUD_PORT = 11_500


def serving_options(port: int) -> Callable[[F], F]:
    """Options of every simulated server."""

    def add(command: F) -> F:
        command = click.option(
            "--speed",
            type=Number(0.1, 1000),
            default=1.0,
            show_default=True,
            help="Modelled seconds per second.",
        )(command)
        command = click.option(
            "--port", type=click.IntRange(0, 65_535), default=port, show_default=True, help="Port; 0 = any free one."
        )(command)
        return click.option("--bind", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address.")(
            command
        )

    return add


@click.command("simulate-host", epilog=example("ostler simulate-host --preset laptop --port 11434 --speed 10"))
@click.option("--preset", metavar="NAME", default="workstation", show_default=True, help="A ready-made machine.")
@click.option("--spec", metavar="FILE", help="YAML or JSON file that describes the machine.")
@click.option("--name", metavar="NAME", help="Another name for it.")
@serving_options(OLLAMA_PORT)
def simulate_host(*, preset: str, spec: str | None, name: str | None, bind: str, port: int, speed: float) -> None:
    """Serve a simulated machine that holds models in memory: the protocols of Ollama and OpenAI on one port.

    Loading, swapping and generating take the time they would take; the answers say that they are simulated.
    """
    from ostler.app.options import SimulateOptions, load_app

    load_app().simulate_host(SimulateOptions(preset=preset, spec=spec, name=name, bind=bind, port=port, speed=speed))


@click.command("simulate-cloud", epilog=example("ostler simulate-cloud --port 11500"))
@click.option(
    "--spec", metavar="FILE", help="YAML or JSON file that describes the provider.  [default: a ready-made one]"
)
@serving_options(CLOUD_PORT)
def simulate_cloud(*, spec: str | None, bind: str, port: int, speed: float) -> None:
    """Serve a simulated cloud provider: the protocols of OpenAI and Anthropic on one port, with keys and limits."""
    from ostler.app.options import SimulateOptions, load_app

    load_app().simulate_cloud(SimulateOptions(spec=spec, bind=bind, port=port, speed=speed))
