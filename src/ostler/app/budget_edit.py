"""`ostler budget configure` and `configure-period`: settings of a provider, written into the user's profile."""

import os
from collections.abc import Mapping
from pathlib import Path

from ostler.config.edit import edit_profile
from ostler.config.load import load_source
from ostler.config.settings import BillingType
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


PERIOD_WARN_PERCENT, PERIOD_EXHAUST_PERCENT = 85, 95
"""Of what a provider may cost in a month: where it is degraded, and where it is used up."""


def configure_provider(profile: str | None, provider: str, fields: Mapping[str, object]) -> Path:
    """Write what is given, leave the rest; the file that was changed."""
    values = {KEYS[name]: _plain(value) for name, value in fields.items() if name in KEYS and value is not None}
    path = _write(profile, ("budget", "providers", provider), values)
    period = fields.get("period_budget")
    return path if period is None else _period(profile, provider, float(str(period)), fields)


def _period(profile: str | None, provider: str, dollars: float, fields: Mapping[str, object]) -> Path:
    """A month of a provider: an allowance where it is subscribed to, else a limit of what it may cost."""
    source = find_profile(profile, os.environ, Path.cwd())
    section = load_source(source, os.environ, Path.cwd()).budget.providers[provider]
    if section.billing is BillingType.SUBSCRIPTION:
        month: dict[str, object] = {"window": "month", "unit": "usd", "amount": _plain(dollars)}
        return _write(profile, ("budget", "providers", provider, "allowances", "month"), month)
    given = fields.get("period_warn_pct")
    warn = PERIOD_WARN_PERCENT if given is None else int(str(given))
    shares = {"soft": min(warn, PERIOD_EXHAUST_PERCENT), "hard": PERIOD_EXHAUST_PERCENT}
    limit: dict[str, object] = {"scope": "provider", "only": provider, "window": "month"}
    limit |= {name: _plain(round(dollars * share / 100, 6)) for name, share in shares.items()}
    return _write(profile, ("budget", "limits", f"{provider}-month"), limit)


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
