"""Bearer tokens: random, shown once, stored as a SHA-256 hash. `admin` may do everything, `worker` only work,
`viewer` only look.
"""

import asyncio
import hashlib
import secrets

from ostler.domain.commands import DropToken, PutToken, Refused
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError, nearest
from ostler.domain.ports import Store
from ostler.hub.pump import Pump
from ostler.hub.views import TokenList, TokenMade

SCOPES = ("admin", "viewer", "worker")
NAME_LENGTH_MAX = 200
REMEMBERED_MS = 1_000
"""A token that was good is asked for again after this: workers show theirs with all that they say. One that is revoked
here is worthless at once; one that another hub revokes, after this.
"""


def token_hash(token: str) -> str:
    """What is stored of a token. A plain hash is enough: the token has 256 bits of its own."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


class TokenDesk:
    """Makes, lists, revokes and checks tokens."""

    def __init__(self, pump: Pump, store: Store) -> None:
        self._pump = pump
        self._store = store
        self._good: dict[tuple[str, str], int] = {}
        """(hash, scope) of what was good, and when that was. Never more than there are tokens, times scopes."""
        self._asked: dict[tuple[str, str], asyncio.Task[bool]] = {}
        """Look-ups that are under way: who comes meanwhile waits for the same one, unless a token is revoked."""
        self._revoked = 0

    async def make(self, name: str, scope: str) -> TokenMade:
        """A new token under a name that is free."""
        if scope not in SCOPES:
            raise InvalidInputError(f"no scope {scope!r}", where="scope", remedy=nearest(scope, SCOPES))
        if not name or not name.isprintable() or len(name) > NAME_LENGTH_MAX:
            remedy = f"say who will use it, in at most {NAME_LENGTH_MAX} characters"
            raise InvalidInputError("a token needs a name", where="name", remedy=remedy)
        token = f"ostler-{scope}-{secrets.token_urlsafe(32)}"
        command = PutToken(name=name, token_hash=token_hash(token), scope=scope, created_ms=self._pump.clock.now_ms())
        (result,) = await self._pump.apply([command])
        if isinstance(result, Refused):
            raise ConflictError(f"there is a token named {name}", where="name", remedy="revoke it or use another name")
        return TokenMade(name=name, scope=scope, token=token)

    async def tokens(self) -> TokenList:
        """All tokens that are valid, by name."""
        return TokenList(tokens=tuple(await self._store.tokens()), now_ms=self._pump.clock.now_ms())

    async def revoke(self, name: str) -> None:
        """Make a token worthless."""
        (result,) = await self._pump.apply([DropToken(name=name)])
        if isinstance(result, Refused):
            known = [token.name for token in await self._store.tokens()]
            raise NotFoundError(f"there is no token named {name}", remedy=nearest(name, known))
        self._good.clear()
        self._asked.clear()
        self._revoked += 1

    async def allowed(self, token: str, scope: str) -> bool:
        """Whether the token is good for the scope."""
        key = (token_hash(token), scope)
        now_ms = self._pump.clock.now_ms()
        if 0 <= now_ms - self._good.get(key, now_ms + 1) < REMEMBERED_MS:
            return True
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.create_task(self._look_up(key, now_ms))
            asked.add_done_callback(lambda done: self._looked_up(key, done))
        return await asyncio.shield(asked)

    def _looked_up(self, key: tuple[str, str], done: asyncio.Task[bool]) -> None:
        if self._asked.get(key) is done:
            del self._asked[key]
        if not done.cancelled():
            done.exception()  # told to who waits, if anybody still does

    async def _look_up(self, key: tuple[str, str], now_ms: int) -> bool:
        revoked = self._revoked
        good = await self._is_good(*key)
        if not good:
            self._good.pop(key, None)
        elif revoked == self._revoked:  # else this one may have been, while it was looked up
            self._good[key] = now_ms
        return good

    async def _is_good(self, hashed: str, scope: str) -> bool:
        if await self._store.token_name(hashed, "admin") is not None:
            return True
        return scope != "admin" and await self._store.token_name(hashed, scope) is not None
