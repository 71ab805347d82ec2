"""What a profile says of loops is what a new loop begins with."""

from pathlib import Path

import pytest

from ostler.app.loop_rules import loop_rules
from ostler.config.load import load_profile
from ostler.domain.errors import ProfileError
from ostler.domain.loops import ScheduleConfig
from ostler.domain.schedules import check


def written(folder: Path, text: str) -> str:
    path = folder / "ostler.yaml"
    path.write_text(text)
    return str(path)


def test_the_ladder_profile_says_half_an_hour_without_end() -> None:
    """Each value of its section, and the sizes of its context."""
    rules = loop_rules(load_profile("tiered-ladder", {}))
    assert rules.defaults == ScheduleConfig()
    assert (rules.summarize_every, rules.window, rules.tokens) == (10, 30, 4_000)
    check(rules.defaults)


def test_every_field_of_a_schedule_can_be_set(tmp_path: Path) -> None:
    """None is left at its default by mistake."""
    lines = {
        "interval_hours": 1,
        "interval_minutes": 15,
        "cron": '"0 9 * * mon-fri"',
        "time_zone": "Europe/Berlin",
        "max_loops": 7,
        "ticks_per_loop": 3,
        "max_steps_per_tick": 2,
        "stimulus": "look around",
        "auto_pause_on_budget": "false",
        "auto_pause_on_error_streak": 4,
        "identical_ticks": 3,
        "catch_up": "true",
        "wait_first": "true",
    }
    assert set(lines) == set(ScheduleConfig.__struct_fields__)
    text = "agi_loop:\n" + "".join(f"  {name}: {value}\n" for name, value in lines.items())
    text += "context:\n  compaction_interval: 5\n  window_size: 7\n"
    found = loop_rules(load_profile(written(tmp_path, text), {}))
    same = [name for name in lines if getattr(found.defaults, name) == getattr(ScheduleConfig(), name)]
    assert same == []
    assert (found.summarize_every, found.window) == (5, 7)
    check(found.defaults)


def test_an_interval_of_nothing_needs_a_cron_expression(tmp_path: Path) -> None:
    """Alone it would spin."""
    nothing = "agi_loop:\n  interval_minutes: 0\n"
    with pytest.raises(ProfileError, match="without a pause"):
        load_profile(written(tmp_path, nothing), {})
    assert load_profile(written(tmp_path, nothing + '  cron: "@daily"\n'), {}).agi_loop.cron == "@daily"
