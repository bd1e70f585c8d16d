"""A sweep: one spec that stands for many trainings, each checked before the first one starts."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.utils import import_modules_from_strings

from m2h_mm.engine.config import restrict_tasks, share_tasks
from m2h_mm.engine.config_check import check_config, check_overrides, runner_keys
from m2h_mm.tasks import Task, build_tasks

SPEC_KEYS = ('base', 'variants', 'single_task', 'seeds', 'max_iters', 'options')
SINGLE_TASK = 'single_task'
# What a scheduler counts in iterations.
SCHEDULER_TIMES = ('begin', 'end', 'T_max', 'total_iters', 'step_size')


@dataclass(frozen=True)
class Run:
    """One training and its test.

    Args:
        variant: name of the variant, or :data:`SINGLE_TASK`.
        seed: of the initial weights, the order of the frames and the augmentation.
        cfg: all that the run depends on; nothing else is in its ``config.py``.
        folder: where it is kept.
        task: the only task of a single-task model, else None.
    """

    variant: str
    seed: int
    cfg: Config = field(repr=False)
    folder: Path
    task: str | None = None

    @property
    def name(self) -> str:
        return '/'.join(filter(None, (self.variant, self.task, f'seed{self.seed}')))

    @property
    def config(self) -> Path:
        return self.folder / 'config.py'

    @property
    def results(self) -> Path:
        return self.folder / 'results.json'

    @property
    def log(self) -> Path:
        return self.folder / 'run.log'

    @property
    def training(self) -> Path:
        """Work dir of the training."""
        return self.folder / 'training'


@dataclass(frozen=True)
class Sweep:
    """What a spec stands for.

    Args:
        name: of the spec's file.
        folder: where everything is kept.
        variants: name to config, in the spec's order.
        single_task: task to config of its single-task model; empty if the spec asks for none.
        seeds: of every variant.
    """

    name: str
    folder: Path
    variants: Mapping[str, Config]
    single_task: Mapping[str, Config]
    seeds: tuple[int, ...]

    @property
    def tasks(self) -> dict[str, Task]:
        """Name to task, of all variants; with the arguments of the first that has it."""
        tasks: dict[str, Task] = {}
        for cfg in self.variants.values():
            tasks = {**build_tasks(cfg.tasks), **tasks}
        return {name: tasks[name] for cfg in self.variants.values() for name in cfg.tasks}

    @property
    def runs(self) -> list[Run]:
        """All of them, seed by seed, so that a sweep that is stopped early compares all variants."""
        return [
            run
            for seed in self.seeds
            for run in (
                *(self._run(name, seed, cfg) for name, cfg in self.variants.items()),
                *(
                    self._run(SINGLE_TASK, seed, cfg, task)
                    for task, cfg in self.single_task.items()
                ),
            )
        ]

    def _run(self, variant: str, seed: int, cfg: Config, task: str | None = None) -> Run:
        cfg = Config(
            copy.deepcopy(
                {key: value for key, value in cfg._cfg_dict.items() if key in runner_keys()}
            )
        )
        cfg.randomness = {**cfg.get('randomness', {}), 'seed': seed}
        folder = self.folder.joinpath(*filter(None, (variant, task)), f'seed{seed}')
        return Run(variant, seed, cfg, folder, task)


def load_sweep(path: str | Path, work_dir: str | Path | None = None) -> Sweep:
    """Read a spec and check every variant, without touching data or weights.

    A spec is a Python config with

    - ``variants``: name to overrides of ``base``, see :func:`override`, or to the file of a config.
      The first is what the others are compared with.
    - ``base``: the file of the config that the overrides are for.
    - ``single_task``: name of the variant of which one single-task model per task is trained as
      well. Default: none.
    - ``seeds``: Default: ``[0]``.
    - ``max_iters``: length of every training, see :func:`shorten_schedule`. Default: the configs'
      own.
    - ``options``: overrides of every run, in force after ``max_iters``. Default: none.

    Files are looked for in the spec's folder, in the folders above it, and in the current one.

    Args:
        path: of the spec.
        work_dir: where everything is kept. Default: ``work_dirs/<name of the spec>``.

    Raises:
        FileNotFoundError: no such spec, or a file that it names.
        ValueError: whatever is wrong with the spec or one of its variants; the message names the
            variant and the key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'There is no spec {path}. Those that come with this project are in configs/sweeps/.'
        )
    spec = Config.fromfile(path)._cfg_dict.to_dict()
    _check_spec(spec, path)
    variants = {
        name: _in_variant(path, name, _build_variant, spec, content, path)
        for name, content in spec['variants'].items()
    }
    chosen = spec.get('single_task')
    single_task = (
        {}
        if chosen is None
        else {
            task: _in_variant(
                path, f'{SINGLE_TASK}/{task}', _build_single_task, variants[chosen], task
            )
            for task in variants[chosen].tasks
        }
    )
    return Sweep(
        path.stem,
        Path(work_dir or Path('work_dirs') / path.stem),
        variants,
        single_task,
        tuple(spec.get('seeds', (0,))),
    )


def _check_spec(spec: Mapping, path: Path) -> None:
    for key in spec:
        if key not in SPEC_KEYS:
            close = difflib.get_close_matches(key, SPEC_KEYS, n=1)
            raise ValueError(
                f'{path}: unknown key {key!r}; a spec has {list(SPEC_KEYS)}.'
                + (f' Did you mean {close[0]!r}?' if close else '')
            )
    variants = spec.get('variants')
    if not isinstance(variants, dict) or not variants:
        raise ValueError(
            f'{path}: variants: expected dict(name=overrides or file, ...) with at '
            'least one entry, got '
            f'{variants!r}.'
        )
    for name, content in variants.items():
        if name == SINGLE_TASK or not name or set(name) & set('/\\') or name.startswith('.'):
            raise ValueError(
                f'{path}: variants: {name!r} cannot be the name of a variant, it is a '
                'folder in the work '
                f'dir. Choose a name without slashes and other than {SINGLE_TASK!r}.'
            )
        if not isinstance(content, (dict, str)):
            raise ValueError(
                f'{path}: variants.{name}: expected a dict of overrides or the file '
                'of a config, got '
                f'{content!r}.'
            )
        if isinstance(content, dict) and not isinstance(spec.get('base'), str):
            raise ValueError(
                f'{path}: variants.{name} overrides a base, but the spec names none. Add base=FILE.'
            )
    if spec.get('single_task') not in (None, *variants):
        raise ValueError(
            f'{path}: single_task: expected one of the variants, {list(variants)}, '
            'got '
            f'{spec["single_task"]!r}.'
        )
    seeds = spec.get('seeds', [0])
    if (
        not isinstance(seeds, (list, tuple))
        or not seeds
        or len(set(seeds)) < len(seeds)
        or not all(isinstance(seed, int) for seed in seeds)
    ):
        raise ValueError(f'{path}: seeds: expected a list of different integers, got {seeds!r}.')
    max_iters = spec.get('max_iters')
    if max_iters is not None and (not isinstance(max_iters, int) or max_iters < 1):
        raise ValueError(f'{path}: max_iters: expected a number of iterations, got {max_iters!r}.')
    if not isinstance(spec.get('options', {}), dict):
        raise ValueError(f'{path}: options: expected a dict of overrides, got {spec["options"]!r}.')


def _in_variant(path: Path, name: str, build: Any, *args: Any) -> Config:
    """``build(*args)``, whose errors then name the variant."""
    try:
        return build(*args)
    except (ValueError, TypeError, KeyError, AssertionError) as error:
        raise ValueError(f'{path}, variant {name!r}: {error}') from error


def _build_variant(spec: Mapping, content: dict | str, path: Path) -> Config:
    if isinstance(content, str):
        cfg = Config.fromfile(_find(content, path))
    else:
        cfg = override(Config.fromfile(_find(spec['base'], path)), content)
    if spec.get('max_iters') is not None:
        shorten_schedule(cfg, spec['max_iters'])
    cfg = override(cfg, spec.get('options', {}))
    check_config(share_tasks(cfg))
    return cfg


def _build_single_task(cfg: Config, task: str) -> Config:
    cfg = restrict_tasks(cfg, [task])
    check_config(cfg)
    return cfg


def _find(name: str, spec: Path) -> Path:
    folders = [*spec.resolve().parents, Path.cwd()]
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f'{spec}: there is no config {name}; looked for it in '
            f'{folders[0]}, the folders above '
            f'it, and {folders[-1]}.'
        )
    return found


def override(cfg: Config, overrides: Mapping) -> Config:
    """``cfg`` with ``overrides`` merged into it, as a config with a ``_base_`` would be; not in
    place.

    Args:
        overrides: nested or, at the top, dotted: ``{'model.decoder.channels': 64}``.
            ``_delete_=True`` replaces a dict. A list is replaced, or changed at a position:
            ``{'param_scheduler.0.end': 10}``.

    Raises:
        ValueError: a key that does not exist, see
            :func:`~m2h_mm.engine.config_check.check_overrides`.
    """
    nested = _nest(overrides)
    if 'custom_imports' in nested:
        import_modules_from_strings(**nested['custom_imports'])
    check_overrides(nested, cfg._cfg_dict)
    merged = Config._merge_a_into_b(
        copy.deepcopy(nested), copy.deepcopy(cfg._cfg_dict), allow_list_keys=True
    )
    return Config(_without_marks(merged), filename=cfg.filename)


def _nest(overrides: Mapping) -> dict:
    """Dotted keys at the top as nested dicts."""
    nested: dict = {}
    for key, value in overrides.items():
        for part in reversed(key.split('.')[1:]):
            value = {part: value}
        nested = Config._merge_a_into_b({key.split('.')[0]: copy.deepcopy(value)}, nested)
    return nested


def _without_marks(value: Any) -> Any:
    """What a new part still says about the one that it replaces: nothing."""
    if isinstance(value, Mapping):
        return ConfigDict(
            {key: _without_marks(item) for key, item in value.items() if key != '_delete_'}
        )
    if isinstance(value, (list, tuple)):
        return type(value)(_without_marks(item) for item in value)
    return value


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
            f'{cfg.get("train_cfg")}. '
            'Only trainings that count iterations can be shortened: leave max_iters '
            'out.'
        )

    def scale(iterations: int) -> int:
        return round(iterations * max_iters / old)

    schedulers = []
    for index, scheduler in enumerate(_as_list(cfg.get('param_scheduler'))):
        if scheduler.get('by_epoch', True):
            raise ValueError(
                f'max_iters: param_scheduler[{index}] ({scheduler["type"]}) counts '
                'epochs. Set its '
                'by_epoch=False, or leave max_iters out.'
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
