"""`ostler config`: the profile, checked, shown, and imported from other systems; no hub is needed."""

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
    """Check, show and import the profile."""


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


@config.command(
    "import",
    epilog=example(
        "ostler config import orchestra-config.json config.yaml --out .",
        "ostler config import config.yaml > ostler.yaml",
    ),
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--out", metavar="DIR", help="Write `ostler.yaml` and `pipeline.yaml` into this folder.")
@json_option
def import_files(*, files: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Make a profile, and a pipeline where there is one, from `orchestra-config.json` or ccproxy's `config.yaml`.

    Several files are laid over each other. What is not taken over and what had to be assumed is said on standard error.
    Nothing is overwritten.
    """
    from ostler.cli import render
    from ostler.cli.importing import imported, written

    found = imported(files)
    if out is not None:
        for path in written(found, out):
            click.echo(f"wrote {path}", err=True)
    if as_json:
        render.print_json(found)
        return
    for note in found.notes:
        click.echo(f"note: {render.clean(note)}", err=True)
    if out is None:
        click.echo(found.profile, nl=False)
        if found.pipeline is not None:
            click.echo(f"\n# pipeline.yaml, a file of its own:\n---\n{found.pipeline}", nl=False)


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
