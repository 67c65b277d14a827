"""The generalized Pareto distribution, fitted to counts in bins.

Excesses over a high threshold follow S(x) = (1 + xi x / sigma)^(-1/xi) for a large class of
distributions (Pickands 1975; Balkema and de Haan 1974). Bins of 1 us are not points: each one
contributes the probability of its interval, the overflow that of everything beyond. Treating bin
centres as values biases the shape when sigma is a few bins wide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Below it maximum likelihood is not regular (Smith 1985); above it there is no mean.
XI_RANGE = (-0.5, 1.5)

_STEPS = 60


class Cell(NamedTuple):
    """``hits`` excesses lie in [low, high); ``high`` is infinite for what overflowed."""

    low: float
    high: float
    hits: int


@dataclass(frozen=True)
class Fit:
    """Scale and shape, the log-likelihood, and whether the shape was held at its bound."""

    sigma: float
    xi: float
    log_likelihood: float
    at_bound: bool

    def survival(self, x: float) -> float:
        """Return P(excess >= x)."""
        return math.exp(_log_survival(x, self.sigma, self.xi))


def _log_survival(x: float, sigma: float, xi: float) -> float:
    if x == math.inf:
        return -math.inf
    u = x / sigma
    if abs(xi) < 1e-8:
        return -u + xi * u * u / 2
    z = xi * u
    return -math.log1p(z) / xi if z > -1 else -math.inf


def _at(x: float, sigma: float, xi: float) -> tuple[float, float, float]:
    """Return log S and its derivatives by log sigma and by xi."""
    u = x / sigma
    w = xi * u
    if w <= -1:
        return -math.inf, 0.0, 0.0
    z = 1 + w
    log_z = math.log1p(w)
    by_xi = u * u / 2 - 2 * w * u * u / 3 if abs(w) < 1e-4 else (log_z / xi - u / z) / xi
    return _log_survival(x, sigma, xi) if abs(xi) < 1e-8 else -log_z / xi, u / z, by_xi


class _Score(NamedTuple):
    """Log-likelihood, its gradient, and the outer products of the gradients of single counts."""

    value: float
    sigma: float
    xi: float
    ss: float
    sx: float
    xx: float


_IMPOSSIBLE = _Score(-math.inf, 0, 0, 1, 0, 1)


def _score(cells: Sequence[Cell], log_sigma: float, xi: float) -> _Score:
    sigma = math.exp(log_sigma)
    value = gs = gx = ss = sx = xx = 0.0
    # Most bins begin where the one before ends: what was computed there is used again.
    edge, at_edge = -1.0, (0.0, 0.0, 0.0)
    for low, high, count in cells:
        top, ds, dx = at_edge if low == edge else _at(low, sigma, xi)
        if top == -math.inf:
            return _IMPOSSIBLE
        if high < math.inf:
            edge, at_edge = high, _at(high, sigma, xi)
            bottom, es, ex = at_edge
            # P = S(low) - S(high); the common factor S(low) is taken out.
            inside = -math.expm1(bottom - top)
            if inside <= 0:
                return _IMPOSSIBLE
            rest = 1 - inside
            ds, dx = (ds - rest * es) / inside, (dx - rest * ex) / inside
            top += math.log(inside)
        value += count * top
        gs, gx = gs + count * ds, gx + count * dx
        ss, sx, xx = ss + count * ds * ds, sx + count * ds * dx, xx + count * dx * dx
    return _Score(value, gs, gx, ss, sx, xx)


def _log_likelihood(cells: Sequence[Cell], log_sigma: float, xi: float) -> float:
    """Return the value of :func:`_score` alone, in a third of the time."""
    sigma = math.exp(log_sigma)
    value, edge, at_edge = 0.0, -1.0, 0.0
    for low, high, count in cells:
        top = at_edge if low == edge else _log_survival(low, sigma, xi)
        if top == -math.inf:
            return -math.inf
        edge, at_edge = high, _log_survival(high, sigma, xi)
        drop = at_edge - top
        if drop > -math.inf:
            inside = -math.expm1(drop)
            if inside <= 0:
                return -math.inf
            top += math.log(inside)
        value += count * top
    return value


def fit_cells(
    cells: Sequence[Cell], *, start: tuple[float, float] | None = None, steps: int = _STEPS
) -> Fit:
    """Return the maximum-likelihood fit.

    Scoring steps with the outer product of gradients, halved until they climb. ``start`` is
    (sigma, xi) to begin from; ``steps`` limits the work.
    """
    if start is None:
        start = (max(0.5, _mean(cells)), 0.05)
    at = (math.log(start[0]), start[1])
    now = _score(cells, *at)
    if now.value == -math.inf:
        at = (math.log(max(0.5, _mean(cells))), 0.05)
        now = _score(cells, *at)
    for _ in range(steps):
        following, then = _climb(cells, at, now)
        gained = then.value - now.value
        at, now = following, then
        if gained < 1e-7:
            break
    low, high = XI_RANGE
    return Fit(math.exp(at[0]), at[1], now.value, not low + 1e-9 < at[1] < high - 1e-9)


def _climb(
    cells: Sequence[Cell], at: tuple[float, float], now: _Score
) -> tuple[tuple[float, float], _Score]:
    """Return the next point and its score; the same point when no step climbs."""
    step_s, step_x = _direction(now, at[1])
    scale = 1.0
    for _ in range(25):
        log_sigma = at[0] + scale * max(-1.0, min(1.0, step_s))
        xi = max(XI_RANGE[0], min(XI_RANGE[1], at[1] + scale * max(-0.3, min(0.3, step_x))))
        then = _score(cells, log_sigma, xi)
        if then.value > now.value:
            return (log_sigma, xi), then
        scale /= 2
    return at, now


def _direction(now: _Score, xi: float) -> tuple[float, float]:
    ridge = 1e-9 * (now.ss + now.xx)
    ss, xx = now.ss + ridge, now.xx + ridge
    determinant = ss * xx - now.sx * now.sx
    step_s = (xx * now.sigma - now.sx * now.xi) / determinant
    step_x = (ss * now.xi - now.sx * now.sigma) / determinant
    held = (xi <= XI_RANGE[0] and step_x < 0) or (xi >= XI_RANGE[1] and step_x > 0)
    return (now.sigma / ss, 0.0) if held else (step_s, step_x)


def _mean(cells: Sequence[Cell]) -> float:
    count = sum(cell.hits for cell in cells)
    middles = (
        (cell.low + (cell.high if cell.high < math.inf else 2 * cell.low)) / 2 * cell.hits
        for cell in cells
    )
    return math.fsum(middles) / count


def region(cells: Sequence[Cell], fit: Fit, drop: float) -> list[tuple[float, float]]:
    """Return points (sigma, xi) on the edge of {log-likelihood >= maximum - drop}.

    The range of a function over them is its profile-likelihood interval: with drop = 1.92 one of
    95 % for independent excesses.
    """
    floor = fit.log_likelihood - drop
    edge: list[tuple[float, float]] = []
    for sign in (1, -1):
        step, xi, log_sigma = 0.02, fit.xi, math.log(fit.sigma)
        # The best sigma moves along a smooth curve: the next one is looked for straight ahead.
        slope = 0.0
        while step > 0.002:
            following = xi + sign * step
            if not XI_RANGE[0] <= following <= XI_RANGE[1]:
                step /= 2
                continue
            ahead = log_sigma + slope * (following - xi)
            best, score = _best_sigma(cells, ahead, following)
            if score.value < floor:
                step /= 2
                continue
            slope = (best - log_sigma) / (following - xi)
            xi, log_sigma = following, best
            inside = best, score.value
            edge += [(_edge(cells, inside, xi, floor, way), xi) for way in (1, -1)]
            step *= 1.3
    inside = math.log(fit.sigma), fit.log_likelihood
    edge += [(_edge(cells, inside, fit.xi, floor, way), fit.xi) for way in (1, -1)]
    return edge


def _best_sigma(cells: Sequence[Cell], log_sigma: float, xi: float) -> tuple[float, _Score]:
    now = _score(cells, log_sigma, xi)
    for _ in range(40):
        if now.value > -math.inf:
            break
        log_sigma += 0.1
        now = _score(cells, log_sigma, xi)
    for _ in range(8):
        step = max(-0.5, min(0.5, now.sigma / (now.ss + 1e-9)))
        then = _score(cells, log_sigma + step, xi)
        if then.value <= now.value + 1e-5:
            break
        log_sigma, now = log_sigma + step, then
    return log_sigma, now


def _edge(
    cells: Sequence[Cell], inside: tuple[float, float], xi: float, floor: float, way: int
) -> float:
    """Return the sigma at which the likelihood falls to ``floor``.

    ``inside`` is (log sigma, log-likelihood) within the region. Over log sigma the likelihood is
    nearly a parabola, so each step goes to where one through the last point reaches the floor.
    """
    log_sigma, top = inside
    depth, reach = top - floor, 0.1
    for _ in range(12):
        fallen = top - _log_likelihood(cells, log_sigma + way * reach, xi)
        # Flat, or beyond what is possible: as far as a parabola may be trusted.
        factor = math.sqrt(depth / fallen) if fallen > 0 else 4.0
        following = min(4.0, reach * min(4.0, max(0.25, factor)))
        if abs(following - reach) <= 0.002 * reach:
            break
        reach = following
    return math.exp(log_sigma + way * reach)
