"""scripts/browser.sh, with stand-ins for npm and apt-get: what it installs, when it does not, what it says then."""

import json
from pathlib import Path

import pytest

from tests.repo.stand_ins import BROKEN_NPM, IDLE_NPM, ROOT, Bench

SOURCE = ROOT / "tests" / "browser"
GOOD_NPM = """\
mkdir -p node_modules/axe-core
echo axe >node_modules/axe-core/axe.min.js
echo "$@" >>"$LOG"
"""
APT = """\
echo "apt-get $@" >>"$LOG"
printf '#!/bin/sh\\n' >"${0%/*}/chromium"
chmod +x "${0%/*}/chromium"
"""


def browser(folder: Path, **programs: str) -> Bench:
    """What scripts/browser.sh meets."""
    bench = Bench(folder, "browser.sh", str(folder / "browser"), OSTLER_BROWSER=str(folder / "store"))
    bench.tools({name.replace("_", "-"): script for name, script in programs.items()})
    return bench


def test_what_is_there_is_used_and_axe_comes_once(tmp_path: Path) -> None:
    """By exact lock and without scripts of the package; the second time nothing is asked."""
    bench = browser(tmp_path, npm=GOOD_NPM, chromium="")
    first, second = bench.install(), bench.install()

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "axe-core" in first.stdout
    assert second.stdout == ""
    assert bench.asked == ["ci --ignore-scripts --no-audit --no-fund --loglevel=error"]
    assert (tmp_path / "browser" / "node_modules" / "axe-core" / "axe.min.js").exists()


def test_without_a_browser_debians_is_installed_and_it_is_said(tmp_path: Path) -> None:
    """Only as root, and only that package."""
    bench = browser(tmp_path, npm=GOOD_NPM, apt_get=APT)
    done = bench.install()

    assert done.returncode == 0, done.stderr
    assert "installing the Debian package chromium" in done.stdout
    assert bench.asked[0] == "apt-get install -y -qq --no-install-recommends chromium"


@pytest.mark.parametrize(
    ("programs", "told"),
    [
        ({"npm": BROKEN_NPM, "chromium": ""}, "npm could not install axe-core"),
        ({"npm": IDLE_NPM, "chromium": ""}, "npm installed no axe-core"),
        ({"npm": GOOD_NPM}, "sudo apt-get install chromium"),
        ({"npm": GOOD_NPM, "apt_get": APT, "id": "echo 1000"}, "sudo apt-get install chromium"),
        ({"npm": GOOD_NPM, "apt_get": "exit 1"}, "apt-get could not install chromium"),
        ({"chromium": ""}, "sudo apt-get install npm"),
    ],
)
def test_what_cannot_be_installed_is_said_with_the_way_without(
    tmp_path: Path, programs: dict[str, str], told: str
) -> None:
    """The tests do not run as if all was well, and nothing half is left."""
    bench = browser(tmp_path, **programs)
    done = bench.install()

    assert done.returncode == 1
    assert told in done.stderr
    assert "WITHOUT_BROWSER=1" in done.stderr
    assert not (tmp_path / "browser").exists()


def test_the_lock_names_one_package_with_its_hash_and_no_address() -> None:
    """Where it comes from is the business of who installs."""
    text = (SOURCE / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]

    assert "http" not in text
    assert set(packages) == {"", "node_modules/axe-core"}
    assert packages["node_modules/axe-core"]["integrity"].startswith("sha512-")
    assert not any(part in text for part in ("resolved", "funding"))


def test_the_browser_and_its_checks_are_no_part_of_what_users_install() -> None:
    """They stand in the lock of developers alone."""
    core = (ROOT / "requirements" / "core.lock").read_text(encoding="utf-8")
    dev = (ROOT / "requirements" / "dev.lock").read_text(encoding="utf-8")

    assert "playwright" not in core
    assert "playwright==" in dev
    assert "jinja2==" in core
