"""From a request to the question put to the scheduler: what it needs, what it may use, how long it may wait."""

import msgspec

from ostler.config.settings import GatewaySettings
from ostler.domain.errors import InvalidInputError, NotAllowedError, nearest
from ostler.domain.limits import Limit, ScopeKind, Window, WindowKind
from ostler.domain.live import GatewayKey, LiveCall
from ostler.domain.tasks import Priority
from ostler.gateway.inbound import Head, own_flag, own_number


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How a call may be treated: by its key, its own headers and the profile."""

    priority: Priority
    deadline_s: float
    queue_s: float
    local_only: bool
    whole: bool
    """The caller wants a whole answer or none: nothing leaves before the end, so that it can be tried again."""


def terms_of(head: Head, key: GatewayKey | None, settings: GatewaySettings) -> Terms:
    """Raises `InvalidInputError` for a header of ours that says nothing valid."""
    if not head.own:
        return _usual_terms(key, settings)
    deadline_s = settings.deadline_ms / 1_000
    asked_s = own_number(head, "deadline")
    if asked_s is not None:
        deadline_s = min(deadline_s, asked_s)
    queue_s = settings.queue_ms / 1_000
    asked_s = own_number(head, "queue")
    if asked_s is not None:
        queue_s = min(queue_s, asked_s)
    return Terms(
        priority=_priority(head, key),
        deadline_s=deadline_s,
        queue_s=min(queue_s, deadline_s),
        local_only=own_flag(head, "local-only") or (key is not None and key.local_only),
        whole=own_flag(head, "whole"),
    )


def _usual_terms(key: GatewayKey | None, settings: GatewaySettings) -> Terms:
    """Of a call that says nothing of its own."""
    deadline_s = settings.deadline_ms / 1_000
    return Terms(
        priority=key.priority if key is not None else Priority.HIGH,
        deadline_s=deadline_s,
        queue_s=min(settings.queue_ms / 1_000, deadline_s),
        local_only=key is not None and key.local_only,
        whole=False,
    )


def _priority(head: Head, key: GatewayKey | None) -> Priority:
    """As asked, but never before what the key allows."""
    allowed = key.priority if key is not None else Priority.HIGH
    text = head.own.get("priority")
    if text is None:
        return allowed
    names = {priority.name.lower(): priority for priority in Priority}
    asked = names.get(text.lower())
    if asked is None:
        raise InvalidInputError(
            f"'{text}' is no priority", where="x-ostler-priority header", remedy=nearest(text, names)
        )
    return max(allowed, asked)


def check_key_allows(key: GatewayKey | None, call: LiveCall) -> None:
    """Raises `NotAllowedError` when the model or tier that the caller names is not among those of its key."""
    if key is None:
        return
    facts = call.facts
    if facts.model is not None and key.models and facts.model not in key.models:
        raise NotAllowedError(
            f"the key '{key.name}' may not use model {facts.model}",
            where="model",
            remedy=f"it may use {', '.join(key.models)}",
        )
    if facts.tier is not None and key.tiers and facts.tier not in key.tiers:
        raise NotAllowedError(
            f"the key '{key.name}' may not use tier {facts.tier}",
            where="model",
            remedy=f"it may use {', '.join(key.tiers)}",
        )


def own_limits(key: GatewayKey | None) -> tuple[Limit, ...]:
    """What a key may spend, as a limit beside those of the profile: checked where money is held, so that many calls at
    once cannot pass it together.
    """
    if key is None or key.limit_micro_usd is None:
        return ()
    kind = WindowKind.NONE if key.limit_window == "total" else WindowKind(key.limit_window)
    window = Window(kind=kind)
    return (Limit(name="key", scope=ScopeKind.KEY, of=key.name, window=window, hard=key.limit_micro_usd),)
