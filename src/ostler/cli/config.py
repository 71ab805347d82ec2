"""`ostler config`: the profile, checked and shown; no hub is needed."""

import os
from typing import TYPE_CHECKING

import click

from ostler.cli.flags import address_options, connect, example, json_option
from ostler.domain.errors import InvalidInputError, nearest

if TYPE_CHECKING:
    from ostler.config.settings import LoadedProfile
    from ostler.hub.views import SettingList


@click.group(epilog=example("ostler config check ostler.yaml", "ostler config show routing.fallback"))
def config() -> None:
    """Check and show the profile."""


@config.command("check", epilog=example("ostler config check ostler.yaml", "ostler config check three-tiers --json"))
@click.argument("profile", metavar="[PROFILE]", required=False)
@json_option
def check(*, profile: str | None, as_json: bool) -> None:
    """Check a profile and say what it amounts to; all mistakes are listed at once.

    PROFILE is a file or the name of a built-in profile; without it the one that `ostler up` would take.
    """
    from ostler.cli import render
    from ostler.config.show import summary

    loaded = _load(profile)
    if as_json:
        render.print_json(settings_of(loaded))
        return
    for text in summary(loaded, os.environ):
        click.echo(text)
    click.echo("valid")


@config.command("show", epilog=example("ostler config show", "ostler config show routing.fallback --running"))
@click.argument("prefix", metavar="[SETTING]", required=False)
@click.option("--profile", metavar="FILE", help="Profile to show.  [default: the one that `ostler up` would take]")
@click.option("--running", is_flag=True, help="Show what the running hub obeys instead.")
@json_option
@address_options
def show(
    *, prefix: str | None, profile: str | None, running: bool, as_json: bool, hub: str | None, token_file: str | None
) -> None:
    """Show every effective setting and where it comes from; SETTING shows those that begin with it."""
    import msgspec

    from ostler.cli import render

    if running and profile is not None:
        raise InvalidInputError("--running and --profile exclude each other", where="config show", remedy="use one")
    found = connect(hub, token_file).settings() if running or hub else settings_of(_load(profile))
    if prefix is not None:
        rows = tuple(row for row in found.settings if _is_below(row.setting, prefix))
        if not rows:
            raise InvalidInputError(f"no setting '{prefix}'", where="SETTING", remedy=nearest(prefix, _names(found)))
        found = msgspec.structs.replace(found, settings=rows)
    if as_json:
        render.print_json(found)
        return
    render.print_table(
        ("setting", "value", "from"),
        [(row.setting, row.value, row.origin) for row in found.settings],
        empty="no settings",
    )


def settings_of(profile: "LoadedProfile") -> "SettingList":
    """The effective settings of a loaded profile, as a hub would list them."""
    from ostler.config.show import effective_settings
    from ostler.hub.views import SettingList, SettingRow

    return SettingList(
        settings=tuple(
            SettingRow(setting=row.setting, value=row.value, origin=row.origin) for row in effective_settings(profile)
        )
    )


def _load(profile: str | None) -> "LoadedProfile":
    from ostler.config.load import load_profile

    return load_profile(profile, os.environ)


def _is_below(setting: str, prefix: str) -> bool:
    return setting == prefix or setting.startswith(prefix.rstrip(".") + ".")


def _names(found: "SettingList") -> set[str]:
    """Every setting and every section above one."""
    names: set[str] = set()
    for row in found.settings:
        parts = row.setting.split(".")
        names.update(".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return names
