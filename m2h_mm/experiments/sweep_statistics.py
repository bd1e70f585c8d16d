"""Which differences between the rows of a sweep's table count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t as student_t

from m2h_mm.experiments.sweep_spec import SINGLE_TASK

CONFIDENCE = 0.95


def paired_difference(
    values: Mapping[int, float], reference: Mapping[int, float]
) -> tuple[float, float] | None:
    """Mean difference over the seeds that both have, and half the width of its 95 % confidence
    interval (Student's t, n - 1 degrees of freedom). None for less than two such seeds.

    The runs of one seed share frames, their order, and the initial weights of what they have in
    common, so that their difference varies less than either of them.
    """
    pairs = [values[seed] - reference[seed] for seed in values if seed in reference]
    if len(pairs) < 2:
        return None
    quantile = student_t.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1)
    return fmean(pairs), float(quantile) * stdev(pairs) / math.sqrt(len(pairs))


def compare(
    values: Mapping[str, Mapping[int, float]], higher_is_better: bool
) -> dict[str, dict[str, Any]]:
    """One column of the table.

    Two rows are told apart if the confidence interval of their difference, see
    :func:`paired_difference`, does not contain 0.

    Args:
        values: by row, seed to value; the first row is the reference.

    Returns:
        By row ``values`` (a list, by seed), ``mean`` (None without values), ``std`` (n - 1; None
        below two), ``difference`` and ``interval`` of the row minus the reference (None where there
        is none, and for the reference), ``like_reference`` (True if not told apart from it, None if
        that cannot be said), and ``best``: better than every other row that has values, and told
        apart from each. The single-task row is not a candidate.
    """
    reference = next(iter(values))
    cells = {}
    for row, found in values.items():
        numbers = list(found.values())
        against = None if row == reference else paired_difference(found, values[reference])
        difference, interval = against or (None, None)
        others = [
            other for name, other in values.items() if name not in (row, SINGLE_TASK) and other
        ]
        cells[row] = dict(
            values=numbers,
            mean=fmean(numbers) if numbers else None,
            std=stdev(numbers) if len(numbers) > 1 else None,
            difference=difference,
            interval=interval,
            like_reference=None if against is None else abs(difference) <= interval,
            best=row != SINGLE_TASK
            and bool(others)
            and all(_better(found, other, higher_is_better) for other in others),
        )
    return cells


def _better(a: Mapping[int, float], b: Mapping[int, float], higher_is_better: bool) -> bool:
    against = paired_difference(a, b)
    if against is None:
        return False
    difference, interval = against
    return abs(difference) > interval and (difference > 0) == higher_is_better
