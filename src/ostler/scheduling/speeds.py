"""Measured speeds of models on hosts, by context: fed by ended loads and calls, handed to routing as plain speeds.

`effective` holds the speeds to reckon with for every (host, model) that was ever measured: what was measured replaces
the configured guess, which stays in as one sample. The context that was measured most counts where several were.
O(1) for each sample.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from ostler.domain.catalog import Catalog, Speeds
from ostler.domain.measured import Measured, Measurement, Quantity
from ostler.domain.tasks import Usage
from ostler.residency.measured import Estimate, estimate, sampled

PREFILL_TOKENS_MIN = 32
"""A shorter prompt says more about the clock than about the engine."""
DECODE_TOKENS_MIN = 8
COLD_LOAD_MS = 500
"""An engine reports some milliseconds for a model that was loaded already; that is no load."""

Place = tuple[str, str, int]
"""(host, model, context; 0 = not known)."""


class MeasuredSpeeds:
    """All measurements."""

    def __init__(self) -> None:
        self.effective: dict[tuple[str, str], Speeds] = {}
        self._seen: dict[Place, dict[Quantity, Measured]] = {}
        self._contexts: dict[tuple[str, str], list[int]] = {}

    def of(self, host: str, model: str, guess: Speeds) -> Speeds:
        """Speeds to reckon with."""
        return self.effective.get((host, model), guess)

    def restore(self, measurements: Iterable[Measurement], catalog: Catalog) -> None:
        """Take over what was stored."""
        for row in measurements:
            self._put((row.host, row.model, row.context_tokens), row.quantity, row.seen)
        self.follow(catalog)

    def follow(self, catalog: Catalog) -> None:
        """The profile has other guesses: work all effective speeds out anew."""
        for host, model in self._contexts:
            self._refresh(host, model, catalog)

    def add(self, place: Place, samples: Mapping[Quantity, float], catalog: Catalog, at_ms: int) -> list[Measurement]:
        """Take samples in; returns the rows to store."""
        host, model, context = place
        guess = _guess(model, catalog)
        rows = []
        for quantity, value in samples.items():
            before = self._seen.get(place, {}).get(quantity)
            seen = sampled(before, _guessed(guess, quantity), value, at_ms)
            if seen == before or not seen.samples:
                continue
            self._put(place, quantity, seen)
            rows.append(Measurement(host=host, model=model, context_tokens=context, quantity=quantity, seen=seen))
        if rows:
            self._refresh(host, model, catalog)
        return rows

    def places(self) -> list[Place]:
        """Every place of which something was measured, in order."""
        return sorted(self._seen)

    def estimates(
        self, host: str, model: str, catalog: Catalog, context: int | None = None
    ) -> dict[Quantity, Estimate]:
        """Every quantity with its uncertainty, at a context, else at the one that was measured most; guesses where
        nothing was.
        """
        guess = _guess(model, catalog)
        there = {} if context is None else self._seen.get((host, model, context), {})
        return {
            quantity: estimate(
                self._most(host, model, quantity) if context is None else there.get(quantity),
                _guessed(guess, quantity),
            )
            for quantity in Quantity
        }

    def _put(self, place: Place, quantity: Quantity, seen: Measured) -> None:
        host, model, context = place
        contexts = self._contexts.setdefault((host, model), [])
        if context not in contexts:
            contexts.append(context)
            contexts.sort()
        self._seen.setdefault(place, {})[quantity] = seen

    def _most(self, host: str, model: str, quantity: Quantity) -> Measured | None:
        found = [
            seen
            for context in self._contexts.get((host, model), ())
            if (seen := self._seen[host, model, context].get(quantity)) is not None
        ]
        return max(found, key=lambda seen: (seen.weight, seen.updated_ms), default=None)

    def _refresh(self, host: str, model: str, catalog: Catalog) -> None:
        found = self.estimates(host, model, catalog)
        guess = _guess(model, catalog)
        self.effective[host, model] = replace(
            guess,
            prefill_tokens_per_s=found[Quantity.PREFILL].value,
            decode_tokens_per_s=found[Quantity.DECODE].value,
            load_s=found[Quantity.LOAD_MS].value / 1000.0,
            unload_s=found[Quantity.UNLOAD_MS].value / 1000.0,
        )


def samples_of(usage: Usage) -> dict[Quantity, float]:
    """What the engine's own counts of one call say of its speeds; nothing where they are estimates of ours."""
    found: dict[Quantity, float] = {}
    if usage.estimated:
        return found
    read = usage.input_tokens - usage.cached_tokens
    if usage.prefill_ms and read >= PREFILL_TOKENS_MIN:
        found[Quantity.PREFILL] = read * 1000.0 / usage.prefill_ms
    if usage.decode_ms and usage.output_tokens >= DECODE_TOKENS_MIN:
        found[Quantity.DECODE] = usage.output_tokens * 1000.0 / usage.decode_ms
    if usage.load_ms is not None and usage.load_ms >= COLD_LOAD_MS:
        found[Quantity.LOAD_MS] = float(usage.load_ms)
    return found


def _guess(model: str, catalog: Catalog) -> Speeds:
    spec = catalog.models.get(model)
    return spec.speeds if spec is not None else Speeds()


def _guessed(speeds: Speeds, quantity: Quantity) -> float:
    match quantity:
        case Quantity.LOAD_MS:
            return speeds.load_s * 1000.0
        case Quantity.UNLOAD_MS:
            return speeds.unload_s * 1000.0
        case Quantity.PREFILL:
            return speeds.prefill_tokens_per_s
        case Quantity.DECODE:
            return speeds.decode_tokens_per_s
