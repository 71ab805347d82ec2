"""What a profile says of loops: the schedule that a new one begins with, and how its talk is kept."""

from ostler.config.settings import LoadedProfile
from ostler.domain.loops import ScheduleConfig
from ostler.hub.loop_runner import LoopRules


def loop_rules(profile: LoadedProfile) -> LoopRules:
    """The sections `agi_loop` and `context`."""
    section = profile.agi_loop
    schedule = ScheduleConfig(
        interval_hours=section.interval_hours,
        interval_minutes=section.interval_minutes,
        cron=section.cron,
        time_zone=section.time_zone,
        max_loops=section.max_loops,
        ticks_per_loop=section.ticks_per_loop,
        max_steps_per_tick=section.max_steps_per_tick,
        stimulus=section.stimulus,
        auto_pause_on_budget=section.auto_pause_on_budget,
        auto_pause_on_error_streak=section.auto_pause_on_error_streak,
        identical_ticks=section.identical_ticks,
        catch_up=section.catch_up,
        wait_first=section.wait_first,
    )
    context = profile.context
    return LoopRules(defaults=schedule, summarize_every=context.compaction_interval, tokens=context.budget.small_tokens)
