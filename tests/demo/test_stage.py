"""What is refused before anything starts, and what a start that fails leaves behind."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from ostler.app.options import DemoOptions
from ostler.demo import run, stage
from ostler.demo.live import SilentView
from ostler.domain.errors import ExitCode, InvalidInputError
from ostler.engines.llama import EngineError


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    """The demo starts from nothing and overwrites nothing."""
    (tmp_path / "precious").touch()

    with pytest.raises(InvalidInputError, match="the folder is not empty") as caught:
        run(DemoOptions(data_dir=str(tmp_path)))
    assert caught.value.exit_code is ExitCode.USAGE
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """With the system's reason."""
    (tmp_path / "file").touch()

    with pytest.raises(InvalidInputError, match="cannot be used: "):
        run(DemoOptions(data_dir=str(tmp_path / "file" / "below")))


def test_without_the_engine_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message with the command that builds it; nothing was started and no folder stays."""
    monkeypatch.setenv("OSTLER_ENGINE_PYTHON", str(tmp_path / "nowhere" / "python"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with pytest.raises(EngineError, match="make engine"):
        run(DemoOptions(engine="llama"))
    assert list(tmp_path.iterdir()) == []


class ClosedTerminal(SilentView):
    def say(self, text: str) -> None:
        raise OSError("the terminal is gone")


class RecordingFleet:
    """A fleet whose processes only remember what was asked of them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.processes = self

    def stop_all(self) -> None:
        self.asked.append("stop")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN, "a second Ctrl-C must not leave half of them"

    def left(self) -> tuple[str, ...]:
        self.asked.append("left")
        return ("process 7: x",)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, OSError])
def test_everything_is_stopped_whatever_happens(error: type[BaseException] | None) -> None:
    """After an interrupt, after an error, and when the terminal is gone: stopped, looked for, told."""
    fleet, told = RecordingFleet(), list[str]()

    with pytest.raises(error or KeyboardInterrupt):  # noqa: PT012 -- the way out is what is tested
        with stage._stopped_at_the_end(fleet, ClosedTerminal()) as left:  # type: ignore[arg-type]
            told = left
            if error is not None:
                raise error
        raise KeyboardInterrupt

    assert fleet.asked == ["stop", "left"]
    assert told == ["process 7: x"]
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_kill_is_taken_for_an_interrupt(number: signal.Signals) -> None:
    """So that it leaves by the same way; afterwards the signal means what it meant before."""
    before = signal.getsignal(number)

    with pytest.raises(KeyboardInterrupt), stage._interruptible():
        os.kill(os.getpid(), number)

    assert signal.getsignal(number) == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """`nohup ostler demo` goes on when the terminal closes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stage._interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
