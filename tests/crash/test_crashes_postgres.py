"""Real crashes over a database server that is killed too, and two hubs; `make crash` plays ten thousand tasks."""

from tests.crash.faults import OF_DATABASE, Kind
from tests.crash.small import TASKS, play


def test_nothing_is_lost_run_twice_at_once_or_billed_twice() -> None:
    """Every kind of fault; in the end all that was acknowledged has succeeded, once, and is paid once."""
    told = play("postgres", every=26, seed=3)

    assert (told["problems"], told["acknowledged"]) == (0, TASKS)
    suffered = set(Kind) - (OF_DATABASE if told["store"] == "sqlite" else set())
    suffered -= {Kind.DISK_FULL} if told["no_disk"] else set()
    faults = told["faults"]
    assert isinstance(faults, dict)
    assert set(faults) == {kind.value for kind in suffered}
    assert told["kills"]
    assert told["ledger_micro_usd"]
