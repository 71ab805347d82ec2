"""What is believed of a model before it has any outcome: a rate by its size, or by its price, that counts for two.

The rates are means of measured pass rates of 34 models over 118 short programming tasks (EvalPlus, evalperf results,
Apache-2.0), put together by class; models that are smaller than any of those stand at the lower end. They say little on
purpose: sizes and prices that differ tenfold differ by a few points there, and the first handful of outcomes outweighs
them. They order models of which nothing is known; nothing is promoted by them (`promotion`).
"""

import re

from ostler.learning.belief import Prior

WEIGHT = 2.0
"""A prior counts for as many outcomes."""
_SIZE = re.compile(r"(?<![\w.])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z0-9])")
_TINY_BELOW_B, _TINY = 6.0, 0.55
_BY_SIZE_B = ((10.0, 0.70), (25.0, 0.72), (40.0, 0.82))
_LARGE = 0.78
_BY_PRICE_USD = ((1.5, 0.80), (8.0, 0.85))
_DEAR = 0.88
_UNKNOWN = 0.70


def prior_of(model: str, output_usd_per_mtok: float | None = None) -> Prior:
    """The prior of a model by its name, else by its price for a million tokens of output.

    >>> prior_of("qwen2.5:7b").rate, prior_of("mixtral:8x7b").rate, prior_of("cloud", 15.0).rate, prior_of("what").rate
    (0.7, 0.78, 0.88, 0.7)
    """
    size = parameters_b(model)
    if size is not None:
        return Prior(rate=_by_size(size), weight=WEIGHT)
    if output_usd_per_mtok is not None:
        rate = next((rate for below, rate in _BY_PRICE_USD if output_usd_per_mtok < below), _DEAR)
        return Prior(rate=rate, weight=WEIGHT)
    return Prior(rate=_UNKNOWN, weight=WEIGHT)


def parameters_b(model: str) -> float | None:
    """How many billions of parameters a model says that it has, in its name; `None` = it does not say.

    >>> parameters_b("llama3.1:8b-instruct-q4"), parameters_b("smollm2:360m"), parameters_b("gpt-4o")
    (8.0, None, None)
    """
    found = _SIZE.search(re.sub(r"[-_:/]", " ", model.lower()))
    if found is None:
        return None
    return float(found[2]) * (int(found[1]) if found[1] else 1)


def _by_size(size_b: float) -> float:
    if size_b < _TINY_BELOW_B:
        return _TINY
    return next((rate for below, rate in _BY_SIZE_B if size_b < below), _LARGE)
