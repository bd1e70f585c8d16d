"""Multi-task gain."""

from __future__ import annotations

from collections.abc import Mapping


def task_gains(
    values: Mapping[str, float],
    reference: Mapping[str, float],
    higher_is_better: Mapping[str, bool],
) -> dict[str, float]:
    """Relative gain of each task over its reference in percent, positive if better.

    Args:
        values: task name to its headline measure in the multi-task model.
        reference: the same of single-task models, for the same tasks.
        higher_is_better: task name to the direction of the measure; further tasks are ignored.

    Raises:
        ValueError: the tasks differ, or a reference is not above 0.
    """
    if not values or set(values) != set(reference) or set(values) - set(higher_is_better):
        raise ValueError(
            'Multi-task gain: expected the same tasks, at least one; got values for '
            f'{sorted(values)}, references for {sorted(reference)}, directions for '
            f'{sorted(higher_is_better)}.'
        )
    wrong = {task: reference[task] for task in values if reference[task] <= 0}
    if wrong:
        # Over a negative one, what is worse would look better.
        raise ValueError(
            f'Multi-task gain: expected references above 0, got {wrong}: a relative gain over them '
            'is undefined.'
        )
    return {
        task: (1 if higher_is_better[task] else -1)
        * 100
        * (value - reference[task])
        / reference[task]
        for task, value in values.items()
    }


def multi_task_gain(
    values: Mapping[str, float],
    reference: Mapping[str, float],
    higher_is_better: Mapping[str, bool],
) -> float:
    """Mean of :func:`task_gains` in percent: Delta_m of Maninis et al., CVPR 2019, eq. 1."""
    gains = task_gains(values, reference, higher_is_better)
    return sum(gains.values()) / len(gains)
