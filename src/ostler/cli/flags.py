"""Options that many verbs share, and the client they lead to."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


profile_option = click.option(
    "--profile", metavar="FILE", help="Profile to reckon with.  [default: the one that `ostler up` would take]"
)


class Number(click.FloatRange):
    """A number in a range. Python takes `nan` and `inf` for numbers, and a range does not keep `nan` out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """The number. Refuses what is none, and what lies outside of the range."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number to count with", param, ctx)
        return number


def example(*lines: str) -> str:
    """The end of a verb's help: how it is used, line by line."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def hub_options(command: F) -> F:
    """Add `--hub` and `--token-file`; the command gets `client`, which connects when it is first used."""

    @wraps(command)
    def with_client(*args: Any, hub: str | None, token_file: str | None, **kwargs: Any) -> Any:  # noqa: ANN401
        return command(*args, client=connect(hub, token_file), **kwargs)

    return address_options(with_client)  # type: ignore[return-value]


def address_options(command: F) -> F:
    """Add `--hub` and `--token-file` as they are, for verbs that can do without a hub."""
    token_file = click.option(
        "--token-file", metavar="FILE", help="File with the token to present.  [default: OSTLER_TOKEN]"
    )
    address = click.option(
        "--hub", metavar="URL", help="Address of the hub.  [default: OSTLER_HUB, or the one that runs here]"
    )
    return address(token_file(command))


def connect(hub: str | None, token_file: str | None) -> Any:  # noqa: ANN401 -- a `HubClient`, named by the callers
    """A client for the hub that the options mean."""
    from ostler.cli.address import hub_url, token
    from ostler.client.hub_client import HubClient
    from ostler.client.transport import Transport

    return HubClient(Transport(hub_url(hub), token(token_file)))
