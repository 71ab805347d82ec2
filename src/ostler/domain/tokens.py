"""What a hub knows of a token that is valid. Neither the token nor its hash is part of it."""

import msgspec


class KnownToken(msgspec.Struct, frozen=True, kw_only=True):
    """One token. A revoked one is forgotten, so who is known is let in."""

    name: str
    scope: str
    created_ms: int
