"""Where a profile is looked for, and what is said when it is not there or cannot be read."""

from pathlib import Path

import pytest

from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.config.sources import BYTES_MAX
from ostler.domain.errors import Problem, ProfileError
from tests.config.support import ONE_TIER


def named(name: str) -> str:
    return f"name: {name}\n{ONE_TIER}"


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A profile in every place that is searched, each named after its place."""
    found = {
        "flag": tmp_path / "flag.yaml",
        "variable": tmp_path / "variable.yaml",
        "folder": tmp_path / "cwd" / "ostler.yaml",
        "user": tmp_path / "home" / ".config" / "ostler" / "ostler.yaml",
    }
    for name, path in found.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(named(name), encoding="utf-8")
    return found


def load(tmp_path: Path, choice: str | Path | None = None, **env: str) -> LoadedProfile:
    return load_profile(choice, {"HOME": str(tmp_path / "home"), **env}, cwd=tmp_path / "cwd")


def refused(tmp_path: Path, choice: str | None = None, **env: str) -> Problem:
    with pytest.raises(ProfileError) as caught:
        load(tmp_path, choice, **env)
    (problem,) = caught.value.problems
    return problem


def test_the_first_place_that_says_something_wins(tmp_path: Path, places: dict[str, Path]) -> None:
    """Flag, variable, current folder, the user's configuration, built-in: in this order."""
    variable = str(places["variable"])

    assert load(tmp_path, str(places["flag"]), OSTLER_PROFILE=variable).policy.profile == "flag"
    assert load(tmp_path, OSTLER_PROFILE=variable).policy.profile == "variable"
    assert load(tmp_path).policy.profile == "folder"
    places["folder"].unlink()
    assert load(tmp_path).policy.profile == "user"
    places["user"].unlink()
    assert load(tmp_path).policy.profile == "default"


def test_the_users_configuration_folder_may_be_elsewhere(tmp_path: Path, places: dict[str, Path]) -> None:
    """The usual variable for configuration folders is honoured."""
    places["folder"].unlink()
    moved = tmp_path / "config" / "ostler" / "ostler.yaml"
    moved.parent.mkdir(parents=True)
    moved.write_text(named("moved"), encoding="utf-8")

    assert load(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config")).policy.profile == "moved"


def test_a_choice_may_be_a_name_a_relative_path_or_one_from_home(tmp_path: Path, places: dict[str, Path]) -> None:
    """`three-tiers` is built in; a path counts from the current folder; `~` is the home folder."""
    assert load(tmp_path, "three-tiers").policy.profile == "three-tiers"
    assert load(tmp_path, "../flag.yaml").policy.profile == "flag"
    assert load(tmp_path, "~/.config/ostler/ostler.yaml").policy.profile == "user"
    assert load(tmp_path, places["flag"]).path == places["flag"]
    assert load(tmp_path, OSTLER_PROFILE="anthropic-pairs").policy.profile == "anthropic-pairs"


def test_a_name_that_is_no_built_in_profile_may_be_a_file(tmp_path: Path, places: dict[str, Path]) -> None:
    """A file without suffix is taken when no built-in profile has its name."""
    (tmp_path / "cwd" / "mine").write_text(named("mine"), encoding="utf-8")

    assert load(tmp_path, "mine").policy.profile == "mine"


def test_a_misspelt_name_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    """The remedy names the profile that was meant and where a file was looked for."""
    (tmp_path / "cwd").mkdir()

    problem = refused(tmp_path, "three-tires")

    assert (problem.where, problem.what) == ("--profile", "there is no profile 'three-tires'")
    assert problem.remedy.startswith("did you mean 'three-tiers'?")
    assert str(tmp_path / "cwd" / "three-tires") in problem.remedy


@pytest.mark.parametrize("choice", ["gone.yaml", "sub/gone"])
def test_a_file_that_is_missing_says_where_it_was_looked_for(tmp_path: Path, choice: str) -> None:
    """The full path is named, and so is who asked for it."""
    (tmp_path / "cwd").mkdir()

    flag, variable = refused(tmp_path, choice), refused(tmp_path, OSTLER_PROFILE=choice)

    assert flag.what == variable.what == f"there is no file {tmp_path / 'cwd' / choice}"
    assert (flag.where, variable.where) == ("--profile", "environment OSTLER_PROFILE")
    assert "three-tiers" in flag.remedy


def test_a_folder_is_no_profile(tmp_path: Path) -> None:
    """A folder is told apart from a missing file."""
    (tmp_path / "cwd" / "conf.yaml").mkdir(parents=True)

    assert refused(tmp_path, "conf.yaml").what == f"{tmp_path / 'cwd' / 'conf.yaml'} is a folder"


def test_a_file_that_is_not_utf_8_is_refused_with_the_line(tmp_path: Path) -> None:
    """The first bad byte has a line."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "ostler.yaml").write_bytes(b"hub:\n  host: caf\xe9\n")

    problem = refused(tmp_path)

    assert (problem.where, problem.what) == ("ostler.yaml:2", "byte 0xe9 is not UTF-8")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Some editors write one."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "ostler.yaml").write_bytes(b"\xef\xbb\xbf" + named("marked").encode())

    assert load(tmp_path).policy.profile == "marked"


def test_a_file_far_too_large_is_not_parsed(tmp_path: Path) -> None:
    """Somebody's log file is not read as a profile."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "big.yaml").write_bytes(b"#" * (BYTES_MAX + 1))

    assert "is this the right file?" in refused(tmp_path, "big.yaml").remedy


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's reason is passed on, with the path."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "ostler.yaml").write_text(ONE_TIER, encoding="utf-8")

    def forbidden(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    problem = refused(tmp_path)

    assert problem.what == "cannot read the profile: Permission denied"
    assert str(tmp_path / "cwd" / "ostler.yaml") in problem.remedy


def test_mistakes_name_the_file_as_the_user_knows_it(tmp_path: Path) -> None:
    """Relative to the current folder when it is below it, else in full."""
    (tmp_path / "cwd").mkdir()
    for path in (tmp_path / "cwd" / "here.yaml", tmp_path / "there.yaml"):
        path.write_text("hub: {prot: 1}\n", encoding="utf-8")

    assert refused(tmp_path, "here.yaml").where == "here.yaml:1 hub.prot"
    assert refused(tmp_path, "../there.yaml").where.endswith("there.yaml:1 hub.prot")
