"""What an attempt cost, in micro-dollars, and on what that rests.

A model on the user's own machines costs nothing. One with a price costs its tokens times that: cached input counts as
input, for the profile knows no price of its own for it, so that the sum is never too low. Anything else is unknown,
which is not the same as nothing.
"""

from ostler.domain.catalog import EndpointSpec, ModelSpec
from ostler.wire.talk import Tokens

PER_MTOK = 1_000_000


def cost_of(tokens: Tokens, model: ModelSpec | None, spec: EndpointSpec) -> tuple[int | None, str]:
    """Cost and its basis (`local`, `priced`, `unknown`); tokens that nobody counted are taken as given."""
    if spec.local:
        return 0, "local"
    if model is None or model.input_usd_per_mtok is None or model.output_usd_per_mtok is None:
        return None, "unknown"
    usd_per_mtok = (tokens.input_tokens or 0) * model.input_usd_per_mtok
    usd_per_mtok += (tokens.output_tokens or 0) * model.output_usd_per_mtok
    # Dollars for a million tokens are micro-dollars for one. Rounded up: what was spent is never told as less.
    return -int(-usd_per_mtok // 1), "priced"
