"""Weighted means and ratios with their standard errors, for many resamples at once.

A resample is a row of weights (B, n), equal within a unit. Each value is a sum of ratios of means,

    v = sum over parts j of (M N_j) / (M D_j),

normalised anew in each resample; its standard error is the linearised (influence function) one, summed by unit:

    psi_u = sum_j (N_ju - r_j D_ju) / mean(D_j),   se = sqrt(sum_u M_u psi_u^2 * m / (m - 1)) / m,   m = sum_u M_u.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from discover.ope.feedback import Floats, Ints

Estimates = tuple[Floats, Floats]


def mean(values: Floats, unit: Ints, weights: Floats) -> Estimates:
    """Values (B,) and standard errors (B,) of the mean over (n,) rows."""
    return ratios([(values, np.ones(len(values)))], unit, weights)


def ratios(parts: Sequence[tuple[Floats, Floats]], unit: Ints, weights: Floats) -> Estimates:
    """Values (B,) and standard errors (B,) of a sum of ratios of means.

    Args:
        parts: (numerator (n,), denominator (n,)) of each ratio.
        unit: (n,) rows of one unit are dependent.
        weights: (B, n) how often each row is in each resample, equal within a unit.

    Returns:
        NaN where a denominator is 0; a standard error of one unit is NaN.
    """
    codes, by_unit = _by_unit(unit, weights)
    total = by_unit.sum(axis=1)
    values, columns, factors = np.zeros(len(weights)), [], []
    with np.errstate(divide="ignore", invalid="ignore"):
        for numerator, denominator in parts:
            above, below = np.bincount(codes, numerator), np.bincount(codes, denominator)
            # Centred first: squares of rewards far from 0 would cancel the digits that the error lives in.
            anchor = numerator.sum() / denominator.sum()
            above = above - anchor * below
            scale = by_unit @ below / total
            offset = by_unit @ above / total / scale
            values = values + anchor + offset
            columns += [above, below]
            factors += [1 / scale, -offset / scale]
        table, factor = np.stack(columns, axis=1), np.stack(factors, axis=1)
        squares = (table[:, :, None] * table[:, None, :]).reshape(len(table), -1)
        gram = (by_unit @ squares).reshape(len(weights), table.shape[1], -1)
        spread = np.einsum("bi,bij,bj->b", factor, gram, factor)
        return values, np.sqrt(np.maximum(spread, 0) / (total * (total - 1)))


def _by_unit(unit: Ints, weights: Floats) -> tuple[NDArray[np.int64], Floats]:
    """(n,) number of each row's unit, and (B, units) their weights."""
    _, first, codes = np.unique(unit, return_index=True, return_inverse=True)
    return np.asarray(codes), np.asarray(weights, np.float64)[:, first]
