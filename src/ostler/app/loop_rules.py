"""What a profile says of loops: the schedule that a new one begins with, and how its talk is kept."""

from ostler.config.settings import LoadedProfile
from ostler.hub.loop_runner import LoopRules


def loop_rules(profile: LoadedProfile) -> LoopRules:
    """The sections `agi_loop` and `context`."""
    context = profile.context
    return LoopRules(
        defaults=profile.agi_loop.schedule,
        summarize_every=context.compaction_interval,
        window=context.window_size,
        tokens=context.budget.small_tokens,
    )
