"""The setting that a sweep chooses for each variant, such as its learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mmengine.config import Config

from m2h_mm.engine.config import override
from m2h_mm.engine.config_check import check_config
from m2h_mm.evaluation.gain import multi_task_gain
from m2h_mm.experiments.sweep_recovery import is_finished
from m2h_mm.experiments.training_log import read_training_log
from m2h_mm.tasks import build_tasks

if TYPE_CHECKING:
    from m2h_mm.experiments.sweep import Run


@dataclass(frozen=True)
class Tuning:
    """What is chosen, and among which values.

    Every variant is trained with every value and the first seed. Its value is the one that is best
    in the last validation of the training, on ``val_dataloader``; the tables show the test, on
    ``test_dataloader``, whose frames have no part in the choice.

    Args:
        key: of the config, such as ``'optim_wrapper.optimizer.lr'``.
        values: at least two.
    """

    key: str
    values: tuple[Any, ...]

    def label(self, value: Any) -> str:
        """Name of a run's folder, such as ``lr_0.001``."""
        return f'{self.key.rpartition(".")[2]}_{value}'


def check_tuning(tuning: Tuning, cfg: Config) -> None:
    """Raise unless every value can be set in a model's config.

    Raises:
        ValueError: with the key.
    """
    for value in tuning.values:
        check_config(override(cfg, {tuning.key: value}))


def check_frames(cfg: Config) -> None:
    """Raise unless a model's values are chosen on other frames than those of the test.

    Raises:
        ValueError: with the way out.
    """
    datasets = [(cfg.get(f'{split}_dataloader') or {}).get('dataset') for split in ('val', 'test')]
    if datasets[0] is None or datasets[0] == datasets[1]:
        raise ValueError(
            'tune: a value is chosen by val_dataloader, and the tables are of test_dataloader. '
            f'Expected two different data sets, got {datasets[0]} for both. Give validation frames '
            "of their own, for instance options={'val_dataloader.dataset.seed': 1} for rooms."
            if datasets[0] is not None
            else 'tune: a value is chosen by val_dataloader, and the config has none.'
        )


def choose(runs: Sequence[Run]) -> Run | None:
    """The best of one variant's runs, one per value; None until all have ended.

    The rule: each task's headline metric of the last validation, relative to its mean over the
    values, signed so that more is better, averaged over the tasks. A value whose training gave a
    metric that is not a number is out.

    Raises:
        ValueError: no value is left, or a validation lacks a task's metric.
    """
    if not runs or not all(is_finished(run) for run in runs):
        return None
    tasks = build_tasks(runs[0].cfg.tasks)
    keys = {name: f'{name}/{task.metric}' for name, task in tasks.items()}
    better = {name: task.higher_is_better for name, task in tasks.items()}
    found = {index: last_validation(run, keys) for index, run in enumerate(runs)}
    left = {
        index: values
        for index, values in found.items()
        if all(math.isfinite(value) for value in values.values())
    }
    if not left:
        raise ValueError(
            f'{runs[0].variant}: no value is left to choose: every validation has a metric that '
            f'is not a number ({found}). Give smaller values.'
        )
    mean = {name: fmean(values[name] for values in left.values()) for name in tasks}
    scores = {
        index: multi_task_gain(values, mean, better) if all(mean.values()) else 0.0
        for index, values in left.items()
    }
    return runs[max(scores, key=scores.__getitem__)]


def last_validation(run: Run, keys: Mapping[str, str]) -> dict[str, float]:
    """By task the headline metric of the last validation of a training.

    Raises:
        ValueError: the log has none.
    """
    curves = read_training_log(run.training)
    for key in keys.values():
        if key not in curves:
            raise ValueError(
                f'{run.name}: the log of the training in {run.training} has no {key}: what is '
                'tuned is chosen by the validations of the training, which need a val_dataloader '
                'and a val_evaluator that computes it.'
            )
    return {name: curves[key].last for name, key in keys.items()}
