"""`ostler budget configure` and `configure-period`: settings of a provider, written into the user's profile."""

import os
from collections.abc import Mapping
from pathlib import Path

from ostler.config.edit import edit_profile
from ostler.config.sources import find_profile

KEYS = {
    "billing_type": "billing",
    "daily_budget": "daily_budget",
    "degradation_pct": "degrade_percent",
    "exhaustion_pct": "exhaust_percent",
    "priority": "priority",
    "period_warn_pct": "warn_percent",
}
"""Flags and the settings they stand for."""


def configure_provider(profile: str | None, provider: str, fields: Mapping[str, object]) -> Path:
    """Write what is given, leave the rest; the file that was changed."""
    values = {KEYS[name]: _plain(value) for name, value in fields.items() if value is not None}
    return _write(profile, ("budget", "providers", provider), values)


def configure_allowance(profile: str | None, provider: str, fields: Mapping[str, object]) -> Path:
    """Write a period as an allowance, and that the provider is subscribed to."""
    allowance = {
        "window": "period",
        "start": fields["start"],
        "end": fields["end"],
        "unit": fields["unit"],
        "amount": _plain(fields["allowance"]),
    }
    # Both at once: an allowance without a subscription would not be used.
    values = {"billing": "subscription", "allowances": {str(fields["name"]): allowance}}
    return _write(profile, ("budget", "providers", provider), values)


def _write(profile: str | None, path: tuple[str, ...], values: Mapping[str, object]) -> Path:
    source = find_profile(profile, os.environ, Path.cwd())
    edit_profile(source, path, values, os.environ)
    return source.path


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
