"""One message of a talk with a model, free of any wire format."""

import msgspec

ROLES = ("system", "user", "assistant")


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One turn: a role of `ROLES`, and text."""

    role: str
    text: str
