"""Every effective setting of a loaded profile, as a person would write it, with its origin.

The names are those of the file, so that a row can be copied into it. Secrets are never settings; an address that holds
one all the same is shown without it: a password, what an option of that name says, the path of a webhook.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum

import msgspec

from ostler.config.decode import fields_of, key_in_file
from ostler.config.mistakes import SettingPath, dotted
from ostler.config.settings import LoadedProfile
from ostler.config.units import Unit, duration_text, money_text, size_text, unit_of
from ostler.domain.catalog import DIRECT
from ostler.domain.policy import RoutingPolicy

_ROUTING_PATHS: Mapping[str, SettingPath] = {
    "fallback_wait_ms": ("fallback", "wait"),
    "fallback_direction": ("fallback", "direction"),
    "fallback_by_tier": ("fallback", "by_tier"),
    "unclassified_tier": ("unclassified",),
    "complexity_tiers": ("complexity",),
}
"""Where the file says what the policy keeps under another name."""
_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):\S*@")
_PASSWORD_OPTION = re.compile(
    r"([?&](?:password|key|api[_-]?key|token|access_token|secret|sig|signature)=)[^&\s]*", re.IGNORECASE
)
_PATH = re.compile(r"(?<=[^:/])/\S+")


class EffectiveSetting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: its path and dotted name in the file, its value as text, and where the value comes from."""

    path: SettingPath
    setting: str
    value: str
    origin: str


def effective_settings(profile: LoadedProfile) -> Iterator[EffectiveSetting]:
    """All settings in the order of the documentation."""
    for path, value in _all(profile):
        setting = dotted(path)
        yield EffectiveSetting(path=path, setting=setting, value=value, origin=profile.origins.get(setting, "default"))


def summary(profile: LoadedProfile, env: Mapping[str, str]) -> tuple[str, ...]:
    """What a profile amounts to, in a few plain lines; says which keys are missing in `env`."""
    catalog = profile.policy.catalog
    tiers = [tier for tier in catalog.tiers if tier.enabled]
    disabled = [tier.name for tier in catalog.tiers if not tier.enabled]
    lines = [
        f"profile {profile.policy.profile}, version {profile.policy.version}, from {profile.path}",
        f"tiers, cheapest first: {', '.join(tier.name for tier in tiers)}",
    ]
    if disabled:
        lines.append(f"disabled tiers: {', '.join(disabled)}")
    goes = ", ".join(f"{level} -> {tier}" for level, tier in profile.policy.routing.complexity_tiers.items())
    lines.append(f"work: {goes}")
    lines.append(f"{len(catalog.models)} models, {len(catalog.endpoints)} endpoints, {len(catalog.hosts)} hosts")
    lines.extend(
        f"endpoint {spec.name}: no key, {spec.api_key_env} is not set"
        for spec in catalog.endpoints.values()
        if spec.enabled and spec.api_key_env is not None and not env.get(spec.api_key_env)
    )
    return tuple(lines)


def _all(profile: LoadedProfile) -> Iterator[tuple[SettingPath, str]]:
    policy = profile.policy
    yield ("name",), policy.profile
    yield from _routing(policy.routing)
    for tier in policy.catalog.tiers:
        only = ("aliases",) if tier.name == DIRECT else ()
        yield from _struct(tier, ("routing", "tiers", tier.name), skip=("name",), only=only)
    for section in ("endpoints", "models", "hosts"):
        for name, spec in getattr(policy.catalog, section).items():
            yield from _struct(spec, (section, name), skip=("name",))
    yield from _struct(policy.scheduler, ("scheduler",))
    yield from _struct(policy.residency, ("residency",))
    yield from _struct(policy.learning, ("learning",))
    for section in ("worker", "agents", "hub", "gateway", "alerts", "telemetry", "budget", "context", "agi_loop"):
        yield from _struct(getattr(profile, section), (section,))


def _routing(routing: RoutingPolicy) -> Iterator[tuple[SettingPath, str]]:
    for key, field in fields_of(RoutingPolicy).items():
        path = ("routing", *_ROUTING_PATHS.get(field.name, (key,)))
        yield from _value(getattr(routing, field.name), path, unit_of(field.name))


def _struct(
    struct: msgspec.Struct, path: SettingPath, *, skip: tuple[str, ...] = (), only: tuple[str, ...] = ()
) -> Iterator[tuple[SettingPath, str]]:
    for field in fields_of(type(struct)).values():
        if field.name not in skip and (not only or field.name in only):
            yield from _value(getattr(struct, field.name), (*path, key_in_file(field)), unit_of(field.name))


def _value(value: object, path: SettingPath, unit: Unit) -> Iterator[tuple[SettingPath, str]]:
    if isinstance(value, msgspec.Struct):
        yield from _struct(value, path)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _value(inner, (*path, str(key)), Unit.NONE)
    elif path[:2] == ("alerts", "webhooks") and path[-1] == "url":
        # Who knows the path of a webhook may tell there what they like: it is the secret of many services.
        yield path, _PATH.sub("/***", value_text(value, unit), count=1)
    else:
        yield path, value_text(value, unit)


def value_text(value: object, unit: Unit = Unit.NONE) -> str:
    """A value as it is written in a profile.

    >>> value_text(5000, Unit.DURATION), value_text(("a", "b")), value_text(None), value_text(True)
    ('5s', '[a, b]', 'null', 'true')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple | frozenset):
        texts = [value_text(item) for item in value]
        return f"[{', '.join(sorted(texts) if isinstance(value, frozenset) else texts)}]"
    if isinstance(value, int):
        writers = {Unit.DURATION: duration_text, Unit.SIZE: size_text, Unit.MONEY: money_text}
        return writers.get(unit, str)(value)
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return _PASSWORD_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", str(value))) or '""'
