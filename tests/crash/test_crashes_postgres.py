"""Real crashes over a database server that is killed too, and two hubs; `make crash` plays ten thousand tasks."""

from tests.crash.small import all_is_well


def test_nothing_is_lost_run_twice_at_once_or_billed_twice() -> None:
    """Every kind of fault; in the end all that was acknowledged has succeeded, once, and is paid once."""
    all_is_well("postgres", every=26, seed=3)
