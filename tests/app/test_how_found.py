"""What `ostler up` says of where other verbs find the hub."""

from pathlib import Path

import pytest

from ostler.app.serve import how_found
from ostler.cli.address import hub_url
from ostler.config.place import DEFAULT_URL, HUB_FILE, data_dir

ELSEWHERE = "http://127.0.0.1:8123"


@pytest.mark.parametrize("url", [DEFAULT_URL, ELSEWHERE])
@pytest.mark.parametrize("told", ["", "HOME", "XDG_DATA_HOME", "OSTLER_HUB_DATA_DIR"])
@pytest.mark.parametrize("usual", [True, False])
def test_it_is_said_just_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, told: str, usual: bool
) -> None:
    """Where the other verbs, asked in the same environment, would go to another address."""
    environment = {"HOME": str(tmp_path / "home")} | ({told: str(tmp_path / "set")} if told else {})
    for name in ("HOME", "XDG_DATA_HOME", "OSTLER_HUB_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    folder = data_dir(environment) if usual else tmp_path / "mine"
    folder.mkdir(parents=True)
    (folder / HUB_FILE).write_text(f'{{"url": "{url}"}}', encoding="utf-8")

    said = how_found(url, folder, environment)

    assert bool(said) == (hub_url(None) != url)
    assert not said or url in said
