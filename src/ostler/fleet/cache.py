"""Probe results kept between runs of `ostler endpoints check`, so that asking twice in a minute costs one listing.

A result is used again for 300 s, one that says "rate limited" for 60 s. The exit code comes from the stored result
itself and cannot differ from a fresh one. A result counts only for what was probed: another address, kind, name of the
key or key makes it stale. Of a key only a 32-bit salted digest is stored, enough to notice a change and nothing else.

The file is a convenience: torn, foreign, old or unwritable, it is treated as empty and replaced. It is written beside
itself and renamed, readable for its owner only. Two writers at once lose one result, which is then probed again.
"""

import asyncio
import hashlib
import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import Probe, ProbeStatus

FILE_NAME = "endpoint-probes.json"
VERSION = 1
STATUS_TTL_MS = 300_000
RATE_LIMIT_TTL_MS = 60_000
MAX_FILE_BYTES = 16 * 1024 * 1024
DIGEST_BYTES = 4


class _Entry(msgspec.Struct, frozen=True):
    target: str
    probe: Probe


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    salt: str
    entries: dict[str, _Entry]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint's result, and whether it was probed just now."""

    probe: Probe
    cached: bool

    @property
    def exit_code(self) -> int:
        """See `ProbeStatus.exit_code`."""
        return self.probe.status.exit_code


class ProbeCache:
    """The file of results in a data directory. `env` holds the keys by name."""

    def __init__(self, data_dir: Path, env: Mapping[str, str]) -> None:
        self._path = data_dir / FILE_NAME
        self._env = env

    def fresh(self, specs: Sequence[EndpointSpec], now_ms: int, *, ttl_ms: int = STATUS_TTL_MS) -> dict[str, Probe]:
        """Results by endpoint name that are still good for these endpoints."""
        file = self._read()
        found: dict[str, Probe] = {}
        for spec in specs:
            entry = file.entries.get(spec.name)
            if entry is None or entry.target != self._target(spec, file.salt):
                continue
            limited = entry.probe.status is ProbeStatus.RATE_LIMITED
            if 0 <= now_ms - entry.probe.at_ms < (min(RATE_LIMIT_TTL_MS, ttl_ms) if limited else ttl_ms):
                found[spec.name] = entry.probe
        return found

    def store(self, results: Sequence[tuple[EndpointSpec, Probe]]) -> bool:
        """Keep results beside those of other endpoints. `False` when the file cannot be written."""
        file = self._read()
        entries = {spec.name: _Entry(self._target(spec, file.salt), probe) for spec, probe in results}
        return self._write(msgspec.structs.replace(file, entries=file.entries | entries))

    def clear(self) -> None:
        """Forget everything."""
        self._path.unlink(missing_ok=True)

    def _target(self, spec: EndpointSpec, salt: str) -> str:
        """What a result was about. The digest of an absent key differs from that of any key."""
        key = self._env.get(spec.api_key_env or "", "").strip()
        digest = hashlib.blake2b(key.encode(), key=salt.encode(), digest_size=DIGEST_BYTES).hexdigest()
        return f"{spec.kind} {spec.url} {spec.api_key_env or '-'} {digest if key else 'none'}"

    def _read(self) -> _File:
        empty = _File(version=VERSION, salt=secrets.token_hex(16), entries={})
        try:
            if self._path.stat().st_size > MAX_FILE_BYTES:
                return empty
            file = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return empty
        return file if file.version == VERSION and file.salt else empty

    def _write(self, file: _File) -> bool:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # mkstemp makes the file readable for its owner only, and the rename keeps that.
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=FILE_NAME)
            try:
                with os.fdopen(descriptor, "wb") as temporary:
                    temporary.write(msgspec.json.encode(file))
                Path(name).replace(self._path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return False
        return True


async def check_endpoints(
    specs: Sequence[EndpointSpec],
    probe: Callable[[EndpointSpec], Awaitable[Probe]],
    cache: ProbeCache,
    now_ms: int,
    *,
    ttl_ms: int = STATUS_TTL_MS,
) -> list[Checked]:
    """A result for each endpoint in the order given: from the cache if not older than `ttl_ms`, or probed now.

    Probes run all at once. `ttl_ms=0` probes every endpoint, whatever is known.
    """
    known = cache.fresh(specs, now_ms, ttl_ms=ttl_ms)
    missing = [spec for spec in specs if spec.name not in known]
    probed = await asyncio.gather(*(probe(spec) for spec in missing))
    if probed:
        cache.store(list(zip(missing, probed, strict=True)))
    fresh = {spec.name: result for spec, result in zip(missing, probed, strict=True)}
    return [Checked(probe=fresh.get(spec.name) or known[spec.name], cached=spec.name not in fresh) for spec in specs]
