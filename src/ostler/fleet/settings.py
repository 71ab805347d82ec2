"""Limits of the drivers in one frozen value. Durations in milliseconds; all of them bound one wait, none a whole call.

A whole call has no limit here: a long answer is not an error. The caller who wants one cancels the iterator.
"""

import msgspec


class DriverSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long the drivers wait for what."""

    connect_timeout_ms: int = 3_000
    """From name lookup to an open connection."""
    probe_timeout_ms: int = 5_000
    """One probe with all the listings it needs."""
    first_token_timeout_ms: int = 300_000
    """From sending a call to its first piece of text; includes loading the model on an engine that does so."""
    idle_timeout_ms: int = 120_000
    """Between two reads of a stream that has begun; any byte counts, also a keep-alive comment."""
    load_timeout_ms: int = 600_000
    unload_timeout_ms: int = 60_000
    keep_loaded_s: int = 1_800
    """How long an engine keeps a model that was loaded on request, unless a call says otherwise."""
    keepalive_ms: int = 4_000
    """How long an idle connection is kept. Below the 5 s after which common servers close theirs: a connection that
    both sides close at once costs a call."""
    proxy_url: str | None = None
    """Proxy for endpoints that are not local. The environment's proxy settings are never read."""
