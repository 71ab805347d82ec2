"""What kind of thing went wrong: HTTP status, error body or connection problem to a `FailureClass`. Pure, table-driven.

Three tables are asked in order, because a more specific word beats a more general one:

1. error codes and types, compared whole: what providers promise to keep stable;
2. wordings, for servers that give only a sentence (Ollama, llama.cpp, vLLM) and for codes that say too little;
3. the HTTP status.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from ostler.domain.states import FailureClass
from ostler.wire.error_body import ErrorDetails
from ostler.wire.retry_after import retry_after_ms

MAX_MESSAGE_CHARS = 300
_MASKED = re.compile(r"[A-Za-z0-9_-]{1,40}\*{3,}[A-Za-z0-9_-]{1,40}")
"""A key of which its server shows the two ends."""
SEARCHED_CHARS = 500
"""Wordings are looked for no further on: some servers repeat the request they refuse, whose words mean nothing here."""

_F = FailureClass


class Problem(StrEnum):
    """What can go wrong below HTTP."""

    UNREACHABLE = "cannot connect"
    UNKNOWN_HOST = "unknown host name"
    CONNECT_TIMEOUT = "no connection in time"
    TLS = "TLS failed"
    LOST = "connection lost"
    CUT = "answer cut off"
    NOT_HTTP = "not an HTTP answer"
    BAD_URL = "bad address"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A classified failure: its kind, one line for people, and the wait the endpoint asked for."""

    kind: FailureClass
    message: str
    retry_after_ms: int | None = None


_BY_PROBLEM: Mapping[Problem, FailureClass] = {
    Problem.UNREACHABLE: _F.NETWORK,
    Problem.UNKNOWN_HOST: _F.NETWORK,
    Problem.CONNECT_TIMEOUT: _F.NETWORK,
    Problem.TLS: _F.NETWORK,
    Problem.LOST: _F.NETWORK,
    Problem.CUT: _F.CUT,
    Problem.NOT_HTTP: _F.MALFORMED,
    Problem.BAD_URL: _F.NETWORK,
}

_BY_CODE: tuple[tuple[FailureClass, frozenset[str]], ...] = (
    (_F.QUOTA, frozenset({
        "insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active", "payment_required",
        "credit_balance_too_low", "contract_spend_limit_reached", "enforced_spend_limit_reached",
        "linked_organization_spend_limit_reached", "linked_organization_billing_unavailable",
    })),
    (_F.CONTEXT_TOO_LONG, frozenset({
        "context_length_exceeded", "exceed_context_size_error", "request_too_large",
        "request_body_too_large_after_decoding", "string_above_max_length",
    })),
    (_F.REFUSAL, frozenset({
        "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "cyber_policy_violation",
    })),
    (_F.MODEL_MISSING, frozenset({"model_not_found", "not_found_error", "model_decommissioned", "deploymentnotfound"})),
    (_F.AUTH, frozenset({
        "invalid_api_key", "authentication_error", "permission_error", "permission_denied", "unauthenticated",
        "organization_on_hold", "account_deactivated",
    })),
    (_F.OVERLOADED, frozenset({"overloaded_error", "engine_overloaded", "unavailable_error", "server_overloaded"})),
    (_F.RATE_LIMIT, frozenset({
        "rate_limit_error", "rate_limit_exceeded", "resource_exhausted", "requests", "tokens", "ramp_limit_exceeded",
    })),
    (_F.TIMEOUT, frozenset({"timeout_error", "deadline_exceeded"})),
)  # fmt: skip
"""Compared in lower case with code, type, status and detail code; the first class that matches wins. Codes for 'some
server error' are left out: engines put them on everything they raise, and the wording says more."""

_WORDINGS: tuple[tuple[FailureClass, tuple[str, ...]], ...] = (
    (_F.QUOTA, (
        "credit balance is too low", "insufficient (?:balance|credits|quota|funds)", "exceeded your current quota",
        "api usage limits", "spend(?:ing)? limit",
    )),
    (_F.OUT_OF_MEMORY, (
        "requires more (?:system |gpu )?memory", "out of memory", "outofmemory", "cudamalloc failed",
        "not enough memory", "failed to allocate", "unable to allocate", "insufficient memory",
        "memory layout cannot be allocated", "has terminated: signal: killed",
    )),
    (_F.CONTEXT_TOO_LONG, (
        "context[ _](?:length|window|size|limit)", "maximum (?:context|model) length", "prompt is too long",
        "input is too long", "reduce the length of", "max_tokens must be at least 1, got -",
    )),
    (_F.REFUSAL, (
        "content management policy", "content policy", "safety system", "requires moderation",
        "(?:input|prompt|content|request|message)s? (?:was|were|is|has been) flagged",
    )),
    (_F.AUTH, ("api key not valid", "(?:invalid|incorrect) (?:x-)?api[ -]key")),
    (_F.MODEL_MISSING, (
        r"\bmodel\b.{0,200}?(?:not found|does not exist|not exist|is not available|decommissioned)",
        "no such model", "unknown model", "invalid model", "not a valid model", "no endpoints found for",
    )),
    (_F.OVERLOADED, ("overload", "server busy", "at capacity", "no (?:slots?|capacity) available")),
    (_F.RATE_LIMIT, ("rate limit", "too many requests")),
)  # fmt: skip
"""Searched in the order given: a memory error often mentions the context, a quota error the rate limit."""

_BY_TEXT = tuple((kind, re.compile("|".join(wordings), re.IGNORECASE | re.DOTALL)) for kind, wordings in _WORDINGS)

_BY_STATUS: Mapping[int, FailureClass] = {
    401: _F.AUTH,
    402: _F.QUOTA,
    403: _F.AUTH,
    404: _F.MALFORMED,
    405: _F.MALFORMED,
    408: _F.TIMEOUT,
    409: _F.SERVER,
    413: _F.CONTEXT_TOO_LONG,
    425: _F.RATE_LIMIT,
    429: _F.RATE_LIMIT,
    529: _F.OVERLOADED,
}
"""404 and 405 with no word of a model: the path is unknown there, so the endpoint speaks another protocol."""

_STATUS_WINS = frozenset({401, 407})
"""Whatever the words: an unknown key cannot be out of quota. 403 is less clear: it also carries moderation."""

_FOR_NOW = 503
"""Says that it will pass: a model that is not available now, as a gateway says of one whose places are down, is not one
that does not exist.
"""

_NO_WAIT = frozenset({_F.AUTH, _F.CONTEXT_TOO_LONG, _F.MODEL_MISSING, _F.REFUSAL, _F.OUT_OF_MEMORY, _F.CAPABILITY})
"""Waiting changes nothing here, so a wait is not reported even when a proxy added one."""


def classify_answer(status: int, headers: Mapping[str, str], body: bytes, now_ms: int) -> Fault:
    """An HTTP answer other than success. Header names in lower case."""
    details = ErrorDetails.parse(body)
    message = f"HTTP {status}: {details.text}" if details.text else f"HTTP {status}"
    kind = _redirect(status) or _kind(status, details)
    wait = None if kind in _NO_WAIT else retry_after_ms(headers, now_ms, body_delay=details.delay)
    return Fault(kind=kind, message=one_line(message), retry_after_ms=wait)


def classify_stream_error(body: bytes, now_ms: int) -> Fault:
    """An error that arrived inside a stream, after HTTP said success."""
    details = ErrorDetails.parse(body)
    kind = _kind(details.status or 500, details)
    wait = None if kind in _NO_WAIT else retry_after_ms({}, now_ms, body_delay=details.delay)
    return Fault(kind=kind, message=one_line(details.text) or "the endpoint reported an error", retry_after_ms=wait)


def classify_problem(problem: Problem, origin: str, detail: str = "") -> Fault:
    """A connection that failed. `origin` is host and port."""
    hint = ": is the server running?" if problem is Problem.UNREACHABLE else ""
    message = f"{problem.value} at {origin}" + (f" ({detail})" if detail else "") + hint
    return Fault(kind=_BY_PROBLEM[problem], message=one_line(message))


def one_line(text: str, limit: int = MAX_MESSAGE_CHARS) -> str:
    """Text made fit for one line of a log or table: no control characters, no runs of space, bounded length."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text[: limit * 8]).split())
    return flat if len(flat) <= limit else flat[: limit - 3].rstrip() + "..."


def redact(text: str, key: str) -> str:
    """`text` without `key`: some servers echo the key they refuse, whole or with stars in its middle.

    >>> redact("bad key sk-abcdef: sk-a****cdef, sk-abcd...", "sk-abcdef")
    'bad key [key]: [key], sk-abcd...'
    """
    return _MASKED.sub("[key]", text.replace(key, "[key]")) if key else text


def _redirect(status: int) -> FailureClass | None:
    """A redirect is not followed: it would carry prompt and key to an address nobody configured."""
    return _F.MALFORMED if 300 <= status < 400 else None  # noqa: PLR2004 -- the range HTTP defines


def _kind(status: int, details: ErrorDetails) -> FailureClass:
    if status in _STATUS_WINS:
        return _F.AUTH
    for kind, codes in _BY_CODE:
        if not codes.isdisjoint(details.codes) and not (kind is _F.MODEL_MISSING and status >= 500):  # noqa: PLR2004
            return kind
    said = details.text[:SEARCHED_CHARS]
    for kind, pattern in _BY_TEXT:
        if pattern.search(said) and not (kind is _F.MODEL_MISSING and status == _FOR_NOW):
            return kind
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return _F.SERVER if status >= 500 else _F.CAPABILITY  # noqa: PLR2004 -- as HTTP defines it
