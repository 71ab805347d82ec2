"""What the user's own machines have answered, added up from the records of attempts and calls that are kept.

Nothing of it is in the ledger, because it cost nothing; this is what its savings are reckoned from. O(attempts and
calls that are kept): for a person who asks, not for a decision.
"""

from typing import NamedTuple

from ostler.store.rows import Run


class UseTexts(NamedTuple):
    """The queries of one engine: the two read JSON each in its own way."""

    endpoints: str
    tasks: str
    calls: str


SQLITE_USE = UseTexts(
    endpoints="SELECT name FROM endpoint WHERE json_extract(body, '$.local')",
    tasks="""
SELECT json_extract(body, '$.endpoint'), json_extract(body, '$.model'), count(*),
    sum(coalesce(json_extract(body, '$.usage.input_tokens'), 0)),
    sum(coalesce(json_extract(body, '$.usage.output_tokens'), 0))
FROM attempt
WHERE json_type(body, '$.usage') = 'object' AND json_extract(body, '$.endpoint') IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2
""",
    calls="""
SELECT json_extract(one.value, '$.endpoint'), json_extract(one.value, '$.model'), count(*),
    sum(coalesce(json_extract(one.value, '$.input_tokens'), 0)),
    sum(coalesce(json_extract(one.value, '$.output_tokens'), 0))
FROM call, json_each(call.body, '$.attempts') AS one
WHERE json_extract(one.value, '$.cost_basis') = 'local'
GROUP BY 1, 2 ORDER BY 1, 2
""",
)
POSTGRES_USE = UseTexts(
    endpoints="SELECT name FROM endpoint WHERE (body::jsonb ->> 'local')::boolean",
    tasks="""
SELECT body ->> 'endpoint', body ->> 'model', count(*),
    sum(coalesce((body -> 'usage' ->> 'input_tokens')::bigint, 0)),
    sum(coalesce((body -> 'usage' ->> 'output_tokens')::bigint, 0))
FROM (SELECT body::jsonb AS body FROM attempt) AS attempt
WHERE jsonb_typeof(body -> 'usage') = 'object' AND body ->> 'endpoint' IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2
""",
    calls="""
SELECT one ->> 'endpoint', one ->> 'model', count(*),
    sum(coalesce((one ->> 'input_tokens')::bigint, 0)),
    sum(coalesce((one ->> 'output_tokens')::bigint, 0))
FROM call, jsonb_array_elements(call.body::jsonb -> 'attempts') AS one
WHERE one ->> 'cost_basis' = 'local'
GROUP BY 1, 2 ORDER BY 1, 2
""",
)


class Use(NamedTuple):
    """Attempts of a model at an endpoint, and their tokens."""

    endpoint: str
    model: str
    attempts: int
    input_tokens: int
    output_tokens: int


class KeptUse(NamedTuple):
    """All that is kept."""

    tasks: list[Use]
    """On every endpoint, those that cost money too."""
    calls: list[Use]
    """On the user's own machines alone."""
    added_local: frozenset[str]
    """Endpoints beside the profile that are the user's own."""


NO_USE = KeptUse([], [], frozenset())


def kept_use(run: Run, texts: UseTexts) -> KeptUse:
    """Add it up."""
    tasks, calls = ([Use(*row) for row in run(text, ())] for text in (texts.tasks, texts.calls))
    return KeptUse(tasks, calls, frozenset(name for (name,) in run(texts.endpoints, ())))
