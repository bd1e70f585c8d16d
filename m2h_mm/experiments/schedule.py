"""Shorter trainings with the same schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.config import Config

# What a scheduler counts in iterations.
SCHEDULER_TIMES = ('begin', 'end', 'T_max', 'total_iters', 'step_size')


def shorten_schedule(cfg: Config, max_iters: int) -> None:
    """Let a training last ``max_iters`` iterations, everything in its schedule scaled alike, in
    place.

    Scaled are the times of the schedulers and the intervals of validation and checkpoints. A
    scheduler that would be left with less than two iterations is left out. The interval of a
    weighting and of the log are no part of it.

    Raises:
        ValueError: the training or a scheduler counts epochs.
    """
    old = (cfg.get('train_cfg') or {}).get('max_iters')
    if not old:
        raise ValueError(
            'max_iters: train_cfg has none of its own that could be scaled, got '
            f'{cfg.get("train_cfg")}. Only trainings that count iterations can be shortened: '
            'leave max_iters out.'
        )

    def scale(iterations: int) -> int:
        return round(iterations * max_iters / old)

    schedulers = []
    for index, scheduler in enumerate(_as_list(cfg.get('param_scheduler'))):
        if scheduler.get('by_epoch', True):
            raise ValueError(
                f'max_iters: param_scheduler[{index}] ({scheduler["type"]}) counts epochs. Set '
                'its by_epoch=False, or leave max_iters out.'
            )
        times = {key: scale(scheduler[key]) for key in SCHEDULER_TIMES if scheduler.get(key)}
        if 'milestones' in scheduler:
            times['milestones'] = [scale(milestone) for milestone in scheduler['milestones']]
        if times.get('end', max_iters) - times.get('begin', 0) >= 2:
            schedulers.append({**scheduler, **times})
    cfg.param_scheduler = schedulers
    if cfg.train_cfg.get('dynamic_intervals'):
        cfg.train_cfg.dynamic_intervals = [
            (scale(start), max(1, scale(interval)))
            for start, interval in cfg.train_cfg.dynamic_intervals
        ]
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    for part, key in ((cfg.train_cfg, 'val_interval'), (checkpoint, 'interval')):
        if part.get(key, -1) > 0:
            part[key] = max(1, scale(part[key]))
    cfg.train_cfg.max_iters = max_iters


def _as_list(value: Sequence | Mapping | None) -> list:
    return [value] if isinstance(value, Mapping) else list(value or ())
