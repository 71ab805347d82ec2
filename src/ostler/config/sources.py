"""Where a profile is looked for, and its text.

Order: the choice on the command line, `$OSTLER_PROFILE`, `ostler.yaml` in the current folder, `ostler/ostler.yaml` in
the user's configuration folder, else the built-in profile `default`. A choice is the name of a built-in profile or the
path of a file.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from ostler.config.place import home
from ostler.domain.errors import Problem, ProfileError, nearest

FILE_NAMES = ("ostler.yaml", "ostler.yml")
SUFFIXES = (".yaml", ".yml")
BYTES_MAX = 1024 * 1024
DEFAULT = "default"
VARIABLE = "OSTLER_PROFILE"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A profile that was found. `label` is what messages call it."""

    path: Path
    label: str
    name: str
    built_in: bool = False


def built_in_names() -> tuple[str, ...]:
    """Names of the profiles that come with Ostler."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def built_in(name: str) -> Source:
    """One of the profiles that come with Ostler."""
    return Source(path=_folder() / f"{name}.yaml", label=f"profile {name}", name=name, built_in=True)


def find_profile(choice: str | Path | None, env: Mapping[str, str], cwd: Path, *, flag: str = "--profile") -> Source:
    """The profile to read. Raises `ProfileError` when a choice names nothing; without a choice there always is one.

    `flag`: where the choice was made.
    """
    if choice is not None:
        return _chosen(str(choice), env, cwd, flag)
    if env.get(VARIABLE, "").strip():
        return _chosen(env[VARIABLE].strip(), env, cwd, f"environment {VARIABLE}")
    for path in _usual_places(env, cwd):
        if path.is_file():
            return _file(path, cwd)
    return built_in(DEFAULT)


def read_text(source: Source) -> str:
    """The text of a profile. Raises `ProfileError` when it cannot be read, is too large or is not UTF-8."""
    try:
        data = source.path.read_bytes()
    except OSError as error:
        what = f"cannot read the profile: {error.strerror or error}"
        raise ProfileError([Problem(what, where=source.label, remedy=f"looked at {source.path}")]) from None
    if len(data) > BYTES_MAX:
        what = f"the file has {len(data)} bytes, a profile at most {BYTES_MAX}"
        raise ProfileError([Problem(what, where=source.label, remedy="is this the right file?")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        what = f"byte 0x{data[error.start]:02x} is not UTF-8"
        where = f"{source.label}:{line}"
        raise ProfileError([Problem(what, where=where, remedy="save the file as UTF-8")]) from None


def expand_user(text: str, env: Mapping[str, str]) -> Path:
    """A path with `~` replaced by the home folder of `env`."""
    return home(env) / text[2:] if text.startswith("~/") else Path(text)


def _chosen(choice: str, env: Mapping[str, str], cwd: Path, where: str) -> Source:
    is_path = choice.endswith(SUFFIXES) or os.sep in choice or "/" in choice
    names = built_in_names()
    if not is_path and choice in names:
        return built_in(choice)
    path = cwd / expand_user(choice, env)
    if path.is_file():
        return _file(path, cwd)
    if path.is_dir():
        remedy = f"give a file, such as {path / FILE_NAMES[0]}"
        raise ProfileError([Problem(f"{path} is a folder", where=where, remedy=remedy)])
    if is_path:
        remedy = f"built-in profiles: {', '.join(names)}"
        raise ProfileError([Problem(f"there is no file {path}", where=where, remedy=remedy)])
    remedy = f"{nearest(choice, names)} or give the path of a file; looked for {path} too"
    raise ProfileError([Problem(f"there is no profile '{choice}'", where=where, remedy=remedy)])


def _usual_places(env: Mapping[str, str], cwd: Path) -> Iterable[Path]:
    yield from (cwd / name for name in FILE_NAMES)
    folder = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else home(env) / ".config"
    yield from (folder / "ostler" / name for name in FILE_NAMES)


def _file(path: Path, cwd: Path) -> Source:
    label = path.relative_to(cwd) if path.is_relative_to(cwd) else path
    return Source(path=path.absolute(), label=str(label), name=path.stem)


def _folder() -> Path:
    return Path(__file__).with_name("profiles")
