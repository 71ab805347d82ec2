"""What all tests share: how Hypothesis behaves here, and an environment without variables of Ostler's own."""

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from xdist.remote import Producer

    from tests.lanes import Lanes
    from tests.postgres_server import PostgresServer

# Machines are shared and slow at times: how long an example takes proves nothing here. On CI the examples are the same
# on every run, so that a red run is about the change; elsewhere they are new each time and find what nobody thought of.
settings.register_profile(
    "ostler",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
)
settings.load_profile("ostler")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "Lanes | None":
    """Tests that wait run beside tests that compute."""
    from tests.lanes import scheduler

    return scheduler(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Interrupts are heard, also where a script runs the tests in the background; processes share what all have to do,
    and those that wait for programs go first.
    """
    for number, heard in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, heard)
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        from tests.compiled import compile_part
        from tests.lanes import make_way

        make_way(worker["workerid"])
        compile_part(config, int(worker["workerid"].removeprefix("gw")), worker["workercount"])


@pytest.fixture(autouse=True)
def no_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user who runs the tests has set for Ostler does not reach them."""
    for name in list(os.environ):
        if name.startswith("OSTLER_") and name != "OSTLER_ENGINE_PYTHON":
            monkeypatch.delenv(name)


@pytest.fixture
def terminal() -> Iterator[None]:
    """As in a terminal: a hang-up is not ignored, here and in what is started, also if the tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresServer]":
    """A server for all tests of this process; it does not sync, which only a crash of the machine would show."""
    from ostler.store.postgres import prepare
    from ostler.store.postgres_engine import place_of
    from tests.postgres_server import TEMPLATE, PostgresServer

    server = PostgresServer()
    prepare(place_of(server.new_database(name=TEMPLATE)))
    yield server
    server.remove()


@pytest.fixture
def postgres_url(postgres: "PostgresServer") -> Iterator[str]:
    """The address of an empty database of this test alone."""
    from tests.postgres_server import TEMPLATE

    url = postgres.new_database(TEMPLATE)
    yield url
    postgres.drop(url)
