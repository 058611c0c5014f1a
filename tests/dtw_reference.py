"""Dynamic time warping as it is defined: every path listed, or one cell after the other, in double precision."""

import math
from itertools import combinations_with_replacement, pairwise

import numpy as np
from hypothesis import strategies as st


def every_path(cost, hold=0.0, skip=0.0, open_begin=False, open_end=False):
    """The cheapest of all textbook paths, by listing them."""
    rows, columns = cost.shape

    def cheapest(n, m):
        if n >= rows or m >= columns:
            return math.inf
        at_end = n == rows - 1 and (open_end or m == columns - 1)
        rest = min(
            cheapest(n + 1, m + 1), cheapest(n + 1, m) + hold, cheapest(n, m + 1) + skip, 0.0 if at_end else math.inf
        )
        return cost[n, m] + rest

    return min(cheapest(0, m) for m in range(columns if open_begin else 1))


def every_sequence(cost, penalties, open_begin=True, open_end=True):
    """The cheapest of all sequences of clip frames that never go back, by listing them."""
    rows, columns = cost.shape
    best = math.inf
    for path in combinations_with_replacement(range(columns), rows):
        if (not open_begin and path[0] != 0) or (not open_end and path[-1] != columns - 1):
            continue
        total = sum(cost[n, m] for n, m in enumerate(path))
        total += sum(step_penalty(b - a, penalties) for a, b in pairwise(path))
        best = min(best, total)
    return best


def step_penalty(advance, penalties):
    low, high = penalties.free
    if advance < low:
        return penalties.hold
    return 0.0 if advance <= high else penalties.skip + penalties.skipped * (advance - high)


def accumulated(cost, hold=0.0, skip=0.0, open_begin=False):
    """The recurrence of textbook dynamic time warping, cell by cell, shape (N, M)."""
    rows, columns = cost.shape
    sums = np.full((rows, columns), np.inf)
    for n in range(rows):
        for m in range(columns):
            ways = [0.0] if n == 0 and (open_begin or m == 0) else []
            ways += [sums[n - 1, m - 1]] if n and m else []
            ways += [sums[n - 1, m] + hold] if n else []
            ways += [sums[n, m - 1] + skip] if m else []
            sums[n, m] = cost[n, m] + min(ways)
    return sums


def matrices(longest=5, gaps=False):
    """Costs with many ties and plateaus, or with few; with ``gaps`` some cells are infinite, but no whole row."""
    shapes = st.tuples(st.integers(1, longest), st.integers(1, longest))
    return st.builds(made, shapes, st.sampled_from(["ties", "plateau", "real"]), st.just(gaps), st.integers(0, 2**32))


def made(shape, kind, gaps, seed):
    rng = np.random.default_rng(seed)
    if kind == "ties":
        cost = rng.integers(0, 3, shape).astype(float)
    elif kind == "plateau":
        cost = np.full(shape, float(rng.integers(0, 4)))
    else:
        cost = rng.random(shape)
    if gaps:
        hole = rng.random(shape) < 0.2
        hole[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = False
        cost[hole] = np.inf
    return cost


def penalty():
    return st.sampled_from([0.0, 0.25, 1.0])
