"""How failures look to a client: a status, a class, one message, and when to come back.

The status is chosen for what the client is to do. Its own libraries try again by themselves on 429 and 5xx; where that
is no use, the answer says so in a header of its own (`x-should-retry`), which they heed.
"""

from collections.abc import Mapping, Sequence

from ostler.domain.calls import CallError
from ostler.domain.decision import Rejection
from ostler.domain.errors import OstlerError
from ostler.domain.live import CallAttempt, Denial
from ostler.domain.states import FailureClass, WaitCode
from ostler.hub.sign_ins import TooOftenError
from ostler.wire.classify import one_line
from ostler.wire.codec import Fault

_F = FailureClass
CLIENT_GONE = 499
_STATUS: Mapping[FailureClass, int] = {
    _F.RATE_LIMIT: 429,
    _F.QUOTA: 429,
    _F.OVERLOADED: 503,
    _F.SERVER: 502,
    _F.NETWORK: 502,
    _F.CUT: 502,
    _F.MALFORMED: 502,
    _F.TIMEOUT: 504,
    _F.STALLED: 504,
    _F.MODEL_MISSING: 404,
    _F.OUT_OF_MEMORY: 503,
    _F.CONTEXT_TOO_LONG: 400,
    _F.REFUSAL: 400,
    _F.CAPABILITY: 400,
    _F.POLICY: 403,
    _F.AUTH: 502,
    _F.CANCELLED: CLIENT_GONE,
}
"""An endpoint that refuses our key is no fault of the caller's key: 502, and no use to try again."""
_NO_USE = frozenset({_F.AUTH, _F.QUOTA, _F.POLICY, _F.TIMEOUT, _F.STALLED})

_BY_HTTP: Mapping[int, FailureClass] = {
    400: _F.CAPABILITY,
    401: _F.AUTH,
    403: _F.POLICY,
    404: _F.MODEL_MISSING,
    405: _F.CAPABILITY,
    413: _F.CONTEXT_TOO_LONG,
    429: _F.QUOTA,
    503: _F.OVERLOADED,
}
MESSAGE_CHARS = 1_000


def of_call(error: CallError, attempts: Sequence[CallAttempt]) -> Fault:
    """A failed attempt, when it is the end of the call."""
    message = error.message
    if len(attempts) > 1:
        others = "; ".join(f"{a.endpoint} ({a.model}): {a.message or 'failed'}" for a in attempts)
        message = f"{message} [{len(attempts)} attempts: {others}]"
    return Fault(
        kind=error.kind,
        status=_STATUS.get(error.kind, 502),
        message=one_line(message, MESSAGE_CHARS),
        retry_after_ms=error.retry_after_ms,
    )


def of_denial(denial: Denial) -> Fault:
    """A call that was never dispatched."""
    wait = denial.wait
    if wait.code is WaitCode.NO_ROUTE and _lacks_room(denial):
        message = one_line(f"the prompt is too long: {wait.detail}", MESSAGE_CHARS)
        return Fault(kind=_F.CONTEXT_TOO_LONG, status=400, message=message)
    if wait.code is WaitCode.NO_ROUTE:
        return Fault(kind=_F.CAPABILITY, status=400, message=one_line(wait.detail, MESSAGE_CHARS), code="no_route")
    waited = f"after {denial.wait_ms / 1_000:g} s in line: " if denial.wait_ms >= 1_000 else ""  # noqa: PLR2004 -- a second
    if wait.code is WaitCode.BUDGET:
        message = one_line(f"the budget leaves nothing for the call: {wait.detail}", MESSAGE_CHARS)
        return Fault(kind=_F.QUOTA, status=429, message=message, retry_after_ms=denial.retry_after_ms, code="budget")
    limited = wait.code is WaitCode.QUOTA_UNTIL
    return Fault(
        kind=_F.RATE_LIMIT if limited else _F.OVERLOADED,
        status=429 if limited else 503,
        message=one_line(f"no model could take the call, {waited}{wait.code.value}: {wait.detail}", MESSAGE_CHARS),
        retry_after_ms=denial.retry_after_ms or 1_000,
        code="queue_deadline" if denial.wait_ms else wait.code.value,
    )


def _lacks_room(denial: Denial) -> bool:
    """Whether every model that was asked for had too small a window: agents then shorten what they send."""
    if denial.decision is None:
        return False
    why = {candidate.rejection for candidate in denial.decision.candidates}
    return why - {Rejection.PINNED} == {Rejection.CONTEXT}


def of_ours(error: OstlerError) -> Fault:
    """What we refuse ourselves."""
    often = isinstance(error, TooOftenError)
    kind = _F.RATE_LIMIT if often else _BY_HTTP.get(error.http_status, _F.SERVER)
    retry_ms = getattr(error, "retry_after_ms", None)
    return Fault(kind=kind, status=error.http_status, message=str(error), code=error.code, retry_after_ms=retry_ms)


def headers_of(fault: Fault) -> dict[str, str]:
    """Headers that go with a fault."""
    headers = {}
    if fault.retry_after_ms is not None:
        headers["retry-after"] = str(max(1, -(-fault.retry_after_ms // 1_000)))
    if fault.status >= 500 and fault.kind in _NO_USE:  # noqa: PLR2004 -- below it nobody tries again
        headers["x-should-retry"] = "false"
    return headers
