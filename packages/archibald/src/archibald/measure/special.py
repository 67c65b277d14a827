"""The incomplete gamma function, from which chi-square and Poisson probabilities follow."""

from __future__ import annotations

import math


def gamma_beyond(a: float, x: float) -> float:
    """Return the regularized upper incomplete gamma function Q(a, x).

    A series below a + 1, Lentz's continued fraction above (Numerical Recipes, 6.2).
    """
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > total * 1e-14:
            n += 1
            term *= x / n
            total += term
        return min(1.0, max(0.0, 1 - front * total))
    b, c = x + 1 - a, 1e300
    d = 1 / b
    h = d
    for i in range(1, 100_000):
        an = -i * (i - a)
        b += 2
        d = 1 / (an * d + b)
        c = b + an / c
        h *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return min(1.0, front * h)


def chi_square_beyond(value: float, freedom: int) -> float:
    """Return P(chi-square >= value)."""
    return gamma_beyond(freedom / 2, value / 2)


def poisson_at_least(count: int, mean: float) -> float:
    """Return P(N >= count) of a Poisson variable."""
    return 1 - gamma_beyond(count, mean) if count > 0 else 1.0
