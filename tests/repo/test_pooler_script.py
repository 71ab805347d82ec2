"""scripts/pooler.sh, with a stand-in for apt-get: what it installs, when it does not, and what it says then."""

from pathlib import Path

import pytest

from tests.repo.stand_ins import Bench

APT = 'echo "apt-get $@" >>"$LOG"'
SYSTEMCTL = 'echo "systemctl $@" >>"$LOG"'
IDLE_SYSTEMCTL = f"{SYSTEMCTL}; echo 'not booted with it' >&2; exit 1"
STUBBORN_SYSTEMCTL = '[ "$2" = is-active ]'
NONE = ""
"""A program that is there."""


def pooler(folder: Path, **programs: str) -> Bench:
    """What scripts/pooler.sh meets. It is told of a folder beside the PATH in which nothing is yet."""
    bench = Bench(folder, "pooler.sh", str(folder / "more"))
    bench.tools({name.replace("_", "-"): script for name, script in programs.items()})
    return bench


def test_what_is_there_is_used(tmp_path: Path) -> None:
    """On the PATH, or where systems keep what only root is to call: nothing is asked, nothing said."""
    bench = pooler(tmp_path, pgbouncer=NONE, apt_get=APT)
    on_the_path = bench.install()
    (tmp_path / "more").mkdir()
    (tmp_path / "tools" / "pgbouncer").rename(tmp_path / "more" / "pgbouncer")
    beside_it = bench.install()

    for done in (on_the_path, beside_it):
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert bench.asked == []


def test_the_one_that_is_named_is_used(tmp_path: Path) -> None:
    """A name of nothing is said: the tests would not start it."""
    bench = pooler(tmp_path, elsewhere=NONE, apt_get=APT)
    right = bench.install(OSTLER_PGBOUNCER=str(tmp_path / "tools" / "elsewhere"))
    wrong = bench.install(OSTLER_PGBOUNCER="/not/here")

    assert (right.returncode, right.stderr) == (0, "")
    assert wrong.returncode == 1
    assert "OSTLER_PGBOUNCER is no program: /not/here" in wrong.stderr
    assert bench.asked == []


@pytest.mark.parametrize("systemctl", [None, IDLE_SYSTEMCTL])
def test_debians_is_installed_and_it_is_said(tmp_path: Path, systemctl: str | None) -> None:
    """Only as root, only that package, and in one line. Where no services run, none is switched off."""
    bench = pooler(tmp_path, apt_get=APT, **({"systemctl": systemctl} if systemctl else {}))
    done = bench.install()

    assert (done.returncode, done.stderr) == (0, "")
    assert "installing the Debian package pgbouncer" in done.stdout
    assert bench.asked[0] == "apt-get install -y -qq --no-install-recommends pgbouncer"
    assert bench.asked[1:] == (["systemctl --quiet is-active pgbouncer.service"] if systemctl else [])
    assert done.stdout.count("\n") == 1


def test_the_service_that_came_along_is_switched_off(tmp_path: Path) -> None:
    """Nobody asked for a pooler that listens."""
    bench = pooler(tmp_path, apt_get=APT, systemctl=SYSTEMCTL)
    done = bench.install()

    assert (done.returncode, done.stderr) == (0, "")
    assert bench.asked[-1] == "systemctl --quiet disable --now pgbouncer.service"


def test_a_service_that_goes_on_is_told(tmp_path: Path) -> None:
    """It is in nobody's way: the tests run."""
    done = pooler(tmp_path, apt_get=APT, systemctl=STUBBORN_SYSTEMCTL).install()

    assert done.returncode == 0
    assert "systemctl disable --now pgbouncer" in done.stdout


@pytest.mark.parametrize(
    ("programs", "told"),
    [
        ({}, "sudo apt-get install pgbouncer"),
        ({"apt_get": APT, "id": "echo 1000"}, "sudo apt-get install pgbouncer"),
        ({"apt_get": "exit 1"}, "apt-get could not install pgbouncer"),
    ],
)
def test_what_cannot_be_installed_is_said_with_the_way_without(
    tmp_path: Path, programs: dict[str, str], told: str
) -> None:
    """The tests do not run as if all was well."""
    done = pooler(tmp_path, **programs).install()

    assert done.returncode == 1
    assert told in done.stderr
    assert "WITHOUT_POOLER=1" in done.stderr
