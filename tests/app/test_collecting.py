"""The collector while a hub takes up its work, and afterwards."""

import gc

import pytest

from ostler.app.serve import COLLECT_AFTER, _nothing_collected


def test_nothing_is_collected_while_work_is_taken_up() -> None:
    """It would look at all rows again with each 700 new ones; afterwards they are left alone, also when it failed."""
    before = gc.get_threshold()
    try:
        with _nothing_collected():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert (gc.get_threshold(), gc.get_freeze_count() > 0) == (COLLECT_AFTER, True)
        with pytest.raises(ZeroDivisionError), _nothing_collected():
            raise ZeroDivisionError
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
