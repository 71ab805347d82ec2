"""How many characters a token of a model has, measured from what endpoints report.

Each report of a prompt (its characters, its tokens) counts into its model's rate and into that of all models, which
stands in for a model nobody has seen. A prior of `PRIOR_TOKENS` tokens at `CHARS_PER_TOKEN` keeps one short prompt from
saying much; old reports fade, so that a new template or language is noticed. A measured length gets a margin on top: a
prompt that is said to fit should fit. A function that counts exactly needs none, and goes before any rate.

O(1) a report and a question.
"""

from collections.abc import Callable, Mapping

import msgspec

from ostler.context.trim import CHARS_PER_TOKEN

Count = Callable[[str], int]
"""Text to its number of tokens."""
PRIOR_TOKENS = 500.0
KEEP = 0.99
"""What a report still counts when the next one has come."""
MARGIN_PERCENT = 10
FEWEST, MOST = 0.25, 16.0
"""Characters per token that are believed."""


class Rate(msgspec.Struct, frozen=True):
    """What was seen of a model, faded; both are 0 before the first report."""

    chars: float = 0.0
    tokens: float = 0.0

    @property
    def chars_per_token(self) -> float:
        """With the prior."""
        rate = (self.chars + PRIOR_TOKENS * CHARS_PER_TOKEN) / (self.tokens + PRIOR_TOKENS)
        return min(MOST, max(FEWEST, rate))

    def seen(self, chars: int, tokens: int) -> "Rate":
        """With one more report."""
        return Rate(self.chars * KEEP + chars, self.tokens * KEEP + tokens)


class TokenRates:
    """Rates by model. `exact`: functions that count for the models they are named for."""

    def __init__(
        self,
        rates: Mapping[str, Rate] | None = None,
        *,
        exact: Mapping[str, Count] | None = None,
        margin_percent: int = MARGIN_PERCENT,
    ) -> None:
        self.rates = dict(rates or {})
        self._exact = dict(exact or {})
        self._margin = 1 + margin_percent / 100
        self._any = Rate(
            sum(rate.chars for rate in self.rates.values()), sum(rate.tokens for rate in self.rates.values())
        )

    def note(self, model: str, chars: int, tokens: int) -> None:
        """An endpoint has reported a prompt's length. Reports without both counts say nothing."""
        if chars > 0 and tokens > 0:
            self.rates[model] = self.rates.get(model, Rate()).seen(chars, tokens)
            self._any = self._any.seen(chars, tokens)

    def chars_per_token(self, model: str) -> float:
        """Of the model, else of all models, else `CHARS_PER_TOKEN`; the margin is not in it."""
        return self.rates.get(model, self._any).chars_per_token

    def counter(self, model: str) -> Count:
        """What counts for a model: exactly where something can, else with the margin."""
        exact = self._exact.get(model)
        if exact is not None:
            return exact
        per_token = self.chars_per_token(model) / self._margin
        return lambda text: ceiling(len(text), per_token)

    def as_estimated(self, model: str, tokens: int) -> int:
        """A limit in tokens of the model, said in tokens of `CHARS_PER_TOKEN` characters, margin kept. Before anything
        was measured it is the same number.
        """
        rate = self.rates.get(model, self._any)
        if not rate.tokens:
            return tokens
        return int(tokens * rate.chars_per_token / self._margin / CHARS_PER_TOKEN)


def ceiling(chars: int, per_token: float) -> int:
    """Tokens of so many characters, rounded up; nothing is nothing."""
    whole = int(chars / per_token)
    return whole if whole * per_token >= chars else whole + 1


def usual(text: str) -> int:
    """The estimate of who has measured nothing: characters / 4, rounded up."""
    return -(-len(text) // CHARS_PER_TOKEN)
