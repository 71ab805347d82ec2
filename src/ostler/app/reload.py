"""Hot reload: a changed profile is taken over whole, or refused whole while the old one stays in force."""

import os

from ostler.app.hub_parts import HubParts
from ostler.app.loop_rules import loop_rules
from ostler.app.prices import with_list_prices
from ostler.app.profiles import setting_rows
from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.config.watch import ProfileWatcher
from ostler.domain.errors import OstlerError
from ostler.hub.errands import Errands


async def watch_profile(parts: HubParts, profile: LoadedProfile, path: str | None) -> None:
    """Watch the file of a profile until cancelled. Where the hub listens and stores changes only with a restart."""
    errands = Errands("taking over a profile")

    def changed(loaded: LoadedProfile) -> None:
        parts.prober.set_policy(loaded.policy.scheduler)
        parts.alerts.follow(loaded)
        parts.hub.metrics.enabled = loaded.telemetry.metrics
        parts.janitor.keep_events_ms = loaded.telemetry.keep_events_ms
        parts.janitor.keep_tasks_ms = loaded.hub.keep_tasks_ms
        parts.hub.gateway.keep_calls_ms = loaded.gateway.keep_calls_ms
        parts.follow_agents(loaded.agents)
        parts.hub.loops.runner.rules = loop_rules(loaded)
        _ = errands.begin(parts.hub.reload(loaded.policy, setting_rows(loaded)))

    def refused(text: str) -> None:
        _ = errands.begin(parts.hub.reload_refused(OstlerError(text)))

    watcher = ProfileWatcher(profile.path, lambda: with_list_prices(load_profile(path, os.environ)), changed, refused)
    try:
        await watcher.run()
    finally:
        await errands.stop()
