"""The beta distribution: what is known of a rate after so many successes and failures.

`chance_below` is the regularised incomplete beta function I_x(a, b) by its continued fraction (modified Lentz); it is
good to about twelve digits for counts up to 1e5. A bound is found by bisection: about forty evaluations.
"""

from math import exp, lgamma, log, log1p

_TINY = 1e-300
_STEPS_MAX = 500
_ENOUGH = 1e-14
_HALVINGS = 46


def chance_below(rate: float, a: float, b: float) -> float:
    """P(the true rate is below `rate`) under Beta(a, b); a, b > 0.

    >>> round(chance_below(0.5, 2.0, 2.0), 12), round(chance_below(0.25, 1.0, 1.0), 12)
    (0.5, 0.25)
    """
    if rate <= 0.0:
        return 0.0
    if rate >= 1.0:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(rate) + b * log1p(-rate))
    # The fraction converges fast on the side of the mean alone; the other side is its mirror image.
    if rate < (a + 1.0) / (a + b + 2.0):
        return min(1.0, front * _fraction(rate, a, b) / a)
    return max(0.0, 1.0 - front * _fraction(1.0 - rate, b, a) / b)


def chance_above(rate: float, a: float, b: float) -> float:
    """P(the true rate is above `rate`)."""
    return 1.0 - chance_below(rate, a, b)


def lower_bound(a: float, b: float, confidence: float = 0.9) -> float:
    """The rate that the true one is above with this confidence.

    >>> round(lower_bound(1.0, 1.0, 0.9), 9)
    0.1
    """
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if chance_below(middle, a, b) < 1.0 - confidence:
            low = middle
        else:
            high = middle
    return low


def upper_bound(a: float, b: float, confidence: float = 0.9) -> float:
    """The rate that the true one is below with this confidence."""
    return 1.0 - lower_bound(b, a, confidence)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function."""
    c, d = 1.0, 1.0 / _safe(1.0 - (a + b) * x / (a + 1.0))
    result = d
    for step in range(1, _STEPS_MAX):
        even = step * (b - step) * x / ((a + 2 * step - 1.0) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1.0))
        for term in (even, odd):
            d = 1.0 / _safe(1.0 + term * d)
            c = _safe(1.0 + term / c)
            result *= d * c
        if abs(d * c - 1.0) < _ENOUGH:
            break
    return result


def _safe(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
