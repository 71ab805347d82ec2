"""The profile a process runs with: a file, a built-in one, or one made from what is found on this machine."""

import platform
from collections.abc import Mapping, Sequence

import msgspec

from ostler.app.loop import clock
from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.config.show import effective_settings
from ostler.config.sources import find_profile
from ostler.domain.policy import Policy
from ostler.hub.views import SettingRow


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """A profile, and what there is to say about how it came to be."""

    profile: LoadedProfile
    lines: tuple[str, ...] = ()
    watched: bool = False
    """Whether it is a file of the user that may change."""


async def choose(path: str | None, env: Mapping[str, str]) -> Chosen:
    """The profile that `path`, the environment or the usual places name; else the default one, fitted."""
    from pathlib import Path

    source = find_profile(path, env, Path.cwd())
    profile = load_profile(path, env)
    if path is None and source.built_in and "OSTLER_PROFILE" not in env:
        return await _fitted(profile, env)
    return Chosen(profile=profile, lines=(f"profile {profile.path}",), watched=not source.built_in)


async def _fitted(base: LoadedProfile, env: Mapping[str, str]) -> Chosen:
    from ostler.config.fit import FoundEndpoint, profile_with_endpoints
    from ostler.config.sizes import FoundModel
    from ostler.fleet.discover import discover

    found = await discover(env, clock(), host=platform.node() or "localhost")
    endpoints = [
        FoundEndpoint(
            provider=spec.provider,
            url=spec.url,
            slots=spec.slots,
            models=tuple(
                FoundModel(name=model, context_tokens=found.probes[spec.name].context_tokens.get(model))
                for model in found.probes[spec.name].models
            ),
        )
        for spec in found.endpoints
    ]
    keys = [spec.api_key_env for spec in found.cloud if spec.api_key_env is not None]
    fitted = profile_with_endpoints(base, endpoints, keys)
    return Chosen(profile=fitted.profile, lines=("no profile: looked for what is here", *found.lines, *fitted.lines))


def setting_rows(profile: LoadedProfile) -> Sequence[SettingRow]:
    """The effective settings as the hub shows them."""
    return [SettingRow(setting=row.setting, value=row.value, origin=row.origin) for row in effective_settings(profile)]


def endpoint_count(policy: Policy) -> int:
    """How many endpoints are enabled."""
    return sum(spec.enabled for spec in policy.catalog.endpoints.values())
