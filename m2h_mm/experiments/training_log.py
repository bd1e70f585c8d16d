"""Curves of losses, weights and metrics, read from the log of a training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from m2h_mm.engine.config import BASE_DATASETS

RUNTIME = BASE_DATASETS.parent / 'default_runtime.py'
LOWER_IS_BETTER = ('loss', 'raw_')
# Progress, and what is logged of a validation beside its metrics under names that the training uses
# too.
_NOT_CURVES = ('iter', 'epoch', 'step')
_VALIDATION_TIMES = ('time', 'data_time')


@dataclass(frozen=True)
class Curve:
    """One logged quantity of one run.

    Attributes:
        iterations: ascending.
        values: as many.
    """

    iterations: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def last(self) -> float:
        return self.values[-1]

    def best(self, direction: str) -> tuple[int, float] | None:
        """Iteration and value of the ``'greater'`` or ``'less'`` extreme, the first of equals; None
        if all are NaN.
        """
        points = [
            point
            for point in zip(self.iterations, self.values, strict=True)
            if not math.isnan(point[1])
        ]
        sign = 1 if direction == 'greater' else -1
        return max(points, key=lambda point: sign * point[1], default=None)


def read_training_log(work_dir: str | Path) -> dict[str, Curve]:
    """All curves of a work dir, by the names under which mmengine logged them.

    Every start of a training writes a folder ``<work dir>/<time stamp>/vis_data``. They are joined
    by iteration: from the first iteration that a later start has logged, what earlier ones had
    logged is dropped, so that a run that was killed and resumed from a checkpoint gives one curve.
    The last line of a file, if a killed run left it half-written, is ignored.

    Validations stand at the iteration they were made at; where mmengine numbered them by epochs, at
    the last iteration logged before them. Their own ``time`` and ``data_time`` are left out.

    Raises:
        FileNotFoundError: there is no such folder, or no log of a training in it.
        ValueError: a file that is no such log.
    """
    work_dir = Path(work_dir)
    if not work_dir.is_dir():
        raise FileNotFoundError(f'There is no work dir {work_dir}.')
    joined: list[tuple[int, dict[str, float]]] = []
    for folder in sorted(work_dir.glob('*/vis_data')):
        points = [point for path in _log_files(folder) for point in _read_points(path)]
        if points:
            begin = min(iteration for iteration, _ in points)
            joined = [point for point in joined if point[0] < begin] + points
    if not joined:
        raise FileNotFoundError(
            f'Work dir {work_dir}: no log of a training; looked for lines in {work_dir}/<time '
            'stamp>/vis_data/*.json. A training writes them with '
            "vis_backends=[dict(type='LocalVisBackend')], every default_hooks.logger.interval "
            'iterations.'
        )
    found: dict[str, dict[int, float]] = {}
    for iteration, values in joined:
        for key, value in values.items():
            found.setdefault(key, {})[iteration] = value
    return {
        key: Curve(tuple(sorted(points)), tuple(points[iteration] for iteration in sorted(points)))
        for key, points in found.items()
    }


def _log_files(folder: Path) -> list[Path]:
    # mmengine writes every line into a second file, named by the time, too.
    main = folder / 'scalars.json'
    return [main] if main.is_file() else sorted(folder.glob('*.json'))


def _read_points(path: Path) -> list[tuple[int, dict[str, float]]]:
    lines = [line for line in path.read_text(errors='replace').splitlines() if line.strip()]
    points: list[tuple[int, dict[str, float]]] = []
    latest = 0
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ValueError(
                f'{path}, line {number}: expected one JSON object per line ({error}). Repair or '
                'delete the line.'
            ) from error
        if not isinstance(record, Mapping) or not isinstance(record.get('step'), int):
            raise ValueError(
                f"{path}, line {number}: expected what mmengine logs, an object with a 'step', "
                f'got {line[:60]!r}. Move other JSON files out of vis_data.'
            )
        latest = max(latest, record['step'])
        points.append((latest, _scalars(record)))
    return points


def _scalars(record: Mapping[str, Any]) -> dict[str, float]:
    left_out = _NOT_CURVES if 'iter' in record else (*_NOT_CURVES, *_VALIDATION_TIMES)
    return {
        key: float(value)
        for key, value in record.items()
        if key not in left_out and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


@cache
def best_direction(key: str) -> str | None:
    """``'greater'`` or ``'less'``, whichever is better; None for what is neither, as weights and
    times.

    Losses are better if less; metrics are what ``save_best`` takes them for, by the keys in
    ``configs/_base_/default_runtime.py``.
    """
    if key.startswith(LOWER_IS_BETTER):
        return 'less'
    if '/' not in key and key != 'delta_m':
        return None
    settings = dict(_checkpoint_settings(), save_best=key)
    try:
        return CheckpointHook(**settings).rules[0]
    except ValueError:  # neither list names it
        return None


@cache
def _checkpoint_settings() -> Mapping[str, Sequence[str]]:
    hook = Config.fromfile(str(RUNTIME)).default_hooks.checkpoint
    return {name: list(hook[name]) for name in ('greater_keys', 'less_keys')}
