"""An error as OpenAI's formats tell it: one object with message, type and code. Pure.

Official clients choose their exception by the HTTP status and show `code`; proxies behind us classify by `type` and
`code` again. So the words are those that `wire.classify` reads as the class they were made from.
"""

from collections.abc import Mapping

import msgspec

from ostler.domain.states import FailureClass
from ostler.wire.codec import Fault
from ostler.wire.talk import Json

_F = FailureClass

_WORDS: Mapping[FailureClass, tuple[str, str]] = {
    _F.RATE_LIMIT: ("rate_limit_error", "rate_limit_exceeded"),
    _F.QUOTA: ("insufficient_quota", "insufficient_quota"),
    _F.OVERLOADED: ("overloaded_error", "server_overloaded"),
    _F.TIMEOUT: ("timeout_error", "deadline_exceeded"),
    _F.MODEL_MISSING: ("not_found_error", "model_not_found"),
    _F.CONTEXT_TOO_LONG: ("invalid_request_error", "context_length_exceeded"),
    _F.AUTH: ("authentication_error", "invalid_api_key"),
    _F.REFUSAL: ("invalid_request_error", "content_filter"),
}
"""Class to type and code. The others follow from the HTTP status."""


def error_object(fault: Fault) -> Json:
    """The error as an object. A code of our own takes the place of the class's; its type then still says the class."""
    kind, code = _WORDS.get(fault.kind, ("", ""))
    if not kind:
        kind = "invalid_request_error" if fault.status < 500 else "server_error"  # noqa: PLR2004 -- as HTTP has it
    return {"message": fault.message, "type": kind, "param": None, "code": fault.code or code or fault.kind.value}


def error_body(fault: Fault) -> bytes:
    """The body of an HTTP answer."""
    return msgspec.json.encode({"error": error_object(fault)})
