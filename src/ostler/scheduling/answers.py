"""How long answers of paid models are, for what the next attempt reserves: by type of work and model, as they end.

An estimate is a quantile of what was seen (`budget.estimate`), of the type of work where enough was seen of it, else of
the model whatever the type. Before that, the profile's usual length stands, or the longest that was seen when that is
longer. Answers that were cut, hung up on or not counted say nothing and are left out.

O(bins) for an answer, a look-up for an estimate. What is known is bounded by types x models.
"""

from collections.abc import Iterable, Mapping

from ostler.budget.estimate import Lengths, expected_output, is_enough, seen
from ostler.domain.ledger import EntryKind, LedgerEntry
from ostler.domain.policy import Policy

ANY_TYPE = ""
Pair = tuple[str, str]
"""(type of work, model)."""


class AnswerLengths:
    """What was seen, and the estimates that follow."""

    def __init__(self) -> None:
        self._seen: dict[Pair, Lengths] = {}
        self._longest: dict[str, int] = {}
        self._expected: dict[Pair, int] = {}

    @property
    def expected(self) -> Mapping[Pair, int]:
        """Tokens to reserve for, by type and model, and by model alone under `ANY_TYPE`. What is absent is as usual."""
        return self._expected

    def add(self, task_type: str, model: str, output_tokens: int, policy: Policy) -> None:
        """An answer came to its end and was counted."""
        self._longest[model] = max(self._longest.get(model, 0), output_tokens)
        for pair in dict.fromkeys(((task_type, model), (ANY_TYPE, model))):
            self._seen[pair] = seen(self._seen.get(pair, Lengths()), output_tokens)
            self._reckon(pair, policy)

    def restore(self, entries: Iterable[LedgerEntry], policy: Policy) -> None:
        """Take up what the ledger knows of answers, by their type where an entry says it."""
        for entry in entries:
            if entry.kind is EntryKind.SETTLE and not entry.ambiguous and entry.amount.output_tokens:
                self.add(entry.task_type, entry.scopes.model, entry.amount.output_tokens, policy)

    def policy_changed(self, policy: Policy) -> None:
        """Other quantile, other usual length."""
        self._expected.clear()
        for pair in self._seen:
            self._reckon(pair, policy)

    def _reckon(self, pair: Pair, policy: Policy) -> None:
        usual, percent = policy.routing.default_output_tokens, policy.budget.output_quantile_percent
        lengths = self._seen[pair]
        if is_enough(lengths, quantile_percent=percent):
            self._expected[pair] = expected_output(lengths, usual, quantile_percent=percent)
        elif pair[0] == ANY_TYPE and self._longest[pair[1]] > usual:
            self._expected[pair] = self._longest[pair[1]]
