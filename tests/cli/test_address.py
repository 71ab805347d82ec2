"""Which hub is meant, and which token opens it."""

import json
import os
from pathlib import Path

import pytest

from ostler.cli.address import hub_url, token
from ostler.config.place import DEFAULT_URL, data_dir
from ostler.domain.errors import InvalidInputError
from tests.cli.conftest import Ostler
from tests.web.recording_hub import ServedHub


def keep(folder: Path, content: str) -> None:
    """Write the file of a running hub."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hub.json").write_text(content, encoding="utf-8")


def test_the_first_that_says_it_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag beats the variable, the variable the running hub, the running hub the default."""
    assert hub_url(None) == DEFAULT_URL

    keep(data_dir(os.environ), json.dumps({"url": "http://127.0.0.1:1", "pid": 1}))
    assert hub_url(None) == "http://127.0.0.1:1"

    monkeypatch.setenv("OSTLER_HUB", "http://127.0.0.1:2/")
    assert hub_url(None) == "http://127.0.0.1:2"
    assert hub_url("http://127.0.0.1:3") == "http://127.0.0.1:3"


def test_the_running_hub_is_found_through_its_file(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub on any port is found without being told."""
    monkeypatch.delenv("OSTLER_HUB")
    keep(data_dir(os.environ), json.dumps({"url": served.url, "pid": 1}))

    assert ostler("status").code == 0


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"url": 7}', '{"url": "file:///etc"}', '"x"'])
def test_a_broken_file_names_no_hub(content: str) -> None:
    """A half written or foreign file leads to the default, never to a crash."""
    keep(data_dir(os.environ), content)

    assert hub_url(None) == DEFAULT_URL


def test_the_data_folder_is_where_such_data_belongs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Variable of the hub, then the folder for data, then the usual place."""
    assert data_dir(os.environ) == tmp_path / "data"

    monkeypatch.delenv("OSTLER_HUB_DATA_DIR")
    assert data_dir(os.environ) == tmp_path / ".local" / "share" / "ostler"

    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert data_dir(os.environ) == Path("/xdg/ostler")


@pytest.mark.parametrize("url", ["localhost:7433", "ftp://box", "http://", "box", "http:///"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """With the place it came from and an example."""
    with pytest.raises(InvalidInputError, match="is no address of a hub") as caught:
        hub_url(url)

    assert caught.value.where == "--hub"
    assert DEFAULT_URL in caught.value.remedy


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody looks for the mistake in the flags."""
    monkeypatch.setenv("OSTLER_HUB", "box")

    with pytest.raises(InvalidInputError) as caught:
        hub_url(None)

    assert caught.value.where == "environment OSTLER_HUB"


def test_a_token_comes_from_its_file_or_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file wins; the line end of a shell redirect does not belong to the token."""
    assert token(None) is None

    monkeypatch.setenv("OSTLER_TOKEN", "from-variable")
    (tmp_path / "token").write_text("from-file\n", encoding="utf-8")

    assert token(None) == "from-variable"
    assert token(str(tmp_path / "token")) == "from-file"


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "the file is empty"), (b"two words", "this is no token"), (b"a\r\nX: y", "no token"), (b"\xff", "not text")],
)
def test_a_file_without_a_token_is_refused_without_showing_it(tmp_path: Path, content: bytes, what: str) -> None:
    """A token that could smuggle in a header, or none at all, is refused; its text is in no message."""
    (tmp_path / "token").write_bytes(content)

    with pytest.raises(InvalidInputError, match=what) as caught:
        token(str(tmp_path / "token"))

    assert "two words" not in str(caught.value)


def test_a_token_file_that_is_not_there_is_named() -> None:
    """With the reason of the system."""
    with pytest.raises(InvalidInputError, match=r"--token-file nowhere: .*No such file"):
        token("nowhere")
