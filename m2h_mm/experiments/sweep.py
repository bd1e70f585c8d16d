"""Sweeps: one spec becomes many trainings, all checked before the first one starts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from m2h_mm.engine.ablations import ablation_names, apply_ablation
from m2h_mm.engine.config import override, restrict_tasks, share_preprocessing, share_tasks
from m2h_mm.engine.config_check import check_config
from m2h_mm.engine.config_files import CONFIGS, SWEEPS, find_config
from m2h_mm.engine.config_places import runner_keys
from m2h_mm.engine.config_variables import read_config
from m2h_mm.experiments.schedule import shorten_schedule
from m2h_mm.experiments.sweep_parts import import_parts, try_parts, with_imports
from m2h_mm.experiments.sweep_spec import SINGLE_TASK, check_spec
from m2h_mm.experiments.sweep_tuning import Tuning, check_frames, check_tuning, choose
from m2h_mm.system.spelling import did_you_mean
from m2h_mm.tasks import Task, build_tasks


@dataclass(frozen=True)
class Run:
    """One training and its test.

    Args:
        variant: name of the variant, or :data:`SINGLE_TASK`.
        seed: of the initial weights, the order of the frames and the augmentation.
        cfg: all that the run depends on; nothing else is in its ``config.py``.
        folder: where it is kept.
        task: the only task of a single-task model, else None.
        setting: what a tuned sweep has set, as a folder is named, such as ``lr_0.001``; else None.
    """

    variant: str
    seed: int
    cfg: Config = field(repr=False)
    folder: Path
    task: str | None = None
    setting: str | None = None

    @property
    def name(self) -> str:
        parts = (self.variant, self.task, self.setting, f'seed{self.seed}')
        return '/'.join(filter(None, parts))

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
        tuning: what is chosen for each variant with the first seed; None: nothing.
    """

    name: str
    folder: Path
    variants: Mapping[str, Config]
    single_task: Mapping[str, Config]
    seeds: tuple[int, ...]
    tuning: Tuning | None = None

    @property
    def tasks(self) -> dict[str, Task]:
        """Name to task, of all variants; with the arguments of the first that has it."""
        tasks: dict[str, Task] = {}
        for cfg in self.variants.values():
            tasks = {**build_tasks(cfg.tasks), **tasks}
        return {name: tasks[name] for cfg in self.variants.values() for name in cfg.tasks}

    @property
    def models(self) -> list[tuple[str, str | None, Config]]:
        """Variant, only task (None: all) and config of every model that is compared."""
        return [
            *((name, None, cfg) for name, cfg in self.variants.items()),
            *((SINGLE_TASK, task, cfg) for task, cfg in self.single_task.items()),
        ]

    @property
    def runs(self) -> list[Run]:
        """All runs, seed by seed: a sweep that is stopped early compares all variants.

        Of a tuned sweep, those of the first seed with every value; and those of the other seeds
        with the chosen one, as soon as it is known.
        """
        if self.tuning is None:
            return [self._run(seed, *model) for seed in self.seeds for model in self.models]
        first = [run for model in self.models for run in self.trials(*model)]
        return first + self._chosen_runs(self.seeds[1:])

    @property
    def compared(self) -> list[Run]:
        """The runs whose results are in the tables: of a tuned sweep those of the chosen values."""
        return self.runs if self.tuning is None else self._chosen_runs(self.seeds)

    @property
    def waiting(self) -> bool:
        """Whether further seeds wait for the choice of a value."""
        return self.tuning is not None and any(self.chosen(*model) is None for model in self.models)

    def trials(self, variant: str, task: str | None, cfg: Config) -> list[Run]:
        """One model's runs of the first seed, one per value that may be chosen."""
        return [self._run(self.seeds[0], variant, task, cfg, value) for value in self.tuning.values]

    def chosen(self, variant: str, task: str | None, cfg: Config) -> Any:
        """The value of one model; None until its trials have ended."""
        trials = self.trials(variant, task, cfg)
        best = choose(trials)
        return None if best is None else self.tuning.values[trials.index(best)]

    def _chosen_runs(self, seeds: Sequence[int]) -> list[Run]:
        """Of every model whose value is known, with that value."""
        chosen = [(model, self.chosen(*model)) for model in self.models]
        return [
            self._run(seed, *model, value)
            for seed in seeds
            for model, value in chosen
            if value is not None
        ]

    def _run(
        self, seed: int, variant: str, task: str | None, cfg: Config, value: Any = None
    ) -> Run:
        cfg = Config(
            copy.deepcopy(
                {key: value for key, value in cfg._cfg_dict.items() if key in runner_keys()}
            )
        )
        setting = None
        if self.tuning is not None:
            cfg = override(cfg, {self.tuning.key: value})
            setting = self.tuning.label(value)
        cfg.randomness = {**cfg.get('randomness', {}), 'seed': seed}
        folder = self.folder.joinpath(*filter(None, (variant, task, setting)), f'seed{seed}')
        return Run(variant, seed, cfg, folder, task, setting)


def find_sweep(name: str | Path) -> Path:
    """The file of a spec: its path, or the name of one that comes with this project.

    Raises:
        FileNotFoundError: there is none.
    """
    for path in (Path(name), CONFIGS.parent / name, SWEEPS / f'{name}.py'):
        if path.suffix == '.py' and path.is_file():
            return path
    raise FileNotFoundError(
        f'There is no spec {name}, neither as a path nor by that name in {SWEEPS}.'
        + did_you_mean(Path(name).stem, [path.stem for path in SWEEPS.glob('*.py')])
    )


def load_sweep(path: str | Path, work_dir: str | Path | None = None) -> Sweep:
    """Read a spec and check every variant, without touching data or weights.

    A spec is a Python config with

    - ``variants``: name to what is changed in ``base``: a dict of overrides, see
      :func:`~m2h_mm.engine.config_override.override`; the name of an ablation; or a list of these,
      applied in turn, in which a string may also be the file of an ablation. A string may be a
      config as well, which then stands for itself. The first variant is what the others are
      compared with. A ``type`` may name a class in a file of the user's own,
      ``'my_interaction.py:MyInteraction'``.
    - ``base``: path or name of the config that is changed.
    - ``single_task``: name of the variant of which one single-task model per task is trained as
      well. Default: none.
    - ``seeds``: Default: ``[0]``.
    - ``tune``: ``dict(key=..., values=[...])``, a setting that is chosen for each variant, such as
      the learning rate, see :class:`~m2h_mm.experiments.sweep_tuning.Tuning`. Default: none.
    - ``max_iters``: length of every training, see
      :func:`~m2h_mm.experiments.schedule.shorten_schedule`. Default: the configs' own.
    - ``options``: overrides of every run, in force after ``max_iters``. Default: none.

    Names that begin with an underscore are the spec's own. Files are looked for in the spec's
    folder, in the folders above it, and in the current one.

    Args:
        path: path or name of the spec, see :func:`find_sweep`.
        work_dir: where everything is kept. Default: ``work_dirs/<name of the spec>``.

    Raises:
        FileNotFoundError: no such spec, or a file that it names.
        ValueError: whatever is wrong with the spec or one of its variants; the message names the
            variant and the key.
    """
    path = find_sweep(path)
    spec = Config.fromfile(path)._cfg_dict.to_dict()
    spec = {key: value for key, value in spec.items() if not key.startswith('_')}
    check_spec(spec, path)
    base = read_config(_find(spec['base'], path)) if spec.get('base') else None
    variants = {
        name: _in_variant(path, name, _build_variant, spec, base, content, path)
        for name, content in spec['variants'].items()
    }
    single_task = {}
    if spec.get('single_task') is not None:
        chosen = variants[spec['single_task']]
        single_task = {
            task: _in_variant(path, f'{SINGLE_TASK}/{task}', _build_single_task, chosen, task)
            for task in chosen.tasks
        }
    sweep = Sweep(
        path.stem,
        Path(work_dir or Path('work_dirs') / path.stem),
        variants,
        single_task,
        tuple(spec.get('seeds', (0,))),
        Tuning(spec['tune']['key'], tuple(spec['tune']['values'])) if spec.get('tune') else None,
    )
    if sweep.tuning is not None:
        name, _, first = sweep.models[0]
        _in_variant(path, name, check_tuning, sweep.tuning, first)
        for name, cfg in variants.items():
            _in_variant(path, name, check_frames, cfg)
    return sweep


def _in_variant(path: Path, name: str, build: Any, *args: Any) -> Config:
    """``build(*args)``, whose errors then name the variant."""
    try:
        return build(*args)
    except (ValueError, TypeError, KeyError, AssertionError) as error:
        raise ValueError(f'{path}, variant {name!r}: {error}') from error


def _build_variant(
    spec: Mapping, base: Config | None, content: dict | list | str, path: Path
) -> Config:
    if isinstance(content, str) and content not in ablation_names():
        cfg = read_config(_find(content, path))
    else:
        changes = content if isinstance(content, (list, tuple)) else [content]
        cfg = _change(copy.deepcopy(base), changes, path)
    if spec.get('max_iters') is not None:
        shorten_schedule(cfg, spec['max_iters'])
    cfg = _override(cfg, spec.get('options', {}), path)
    check_config(share_preprocessing(share_tasks(cfg)))
    try_parts(cfg)
    return cfg


def _change(cfg: Config, changes: Sequence[dict | str], path: Path) -> Config:
    for change in changes:
        if isinstance(change, str):
            local = _beside(change, path)
            cfg = apply_ablation(cfg, local or change)
        else:
            cfg = _override(cfg, change, path)
    return cfg


def _override(cfg: Config, changes: Mapping, path: Path) -> Config:
    changes, imports = import_parts(changes, lambda name: _beside(name, path))
    return with_imports(override(cfg, changes), imports)


def _build_single_task(cfg: Config, task: str) -> Config:
    cfg = restrict_tasks(cfg, [task])
    check_config(cfg)
    try_parts(cfg)
    return cfg


def _beside(name: str, spec: Path) -> Path | None:
    """A file that a spec names by a path relative to itself, a folder above, or the current one."""
    folders = [*spec.resolve().parents, Path.cwd()]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _find(name: str, spec: Path) -> Path:
    found = _beside(name, spec)
    if found:
        return found
    try:
        return find_config(name)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{spec}: there is no config {name}, neither by name in {CONFIGS} nor as a path from '
            f'{spec.resolve().parent}, the folders above it, or {Path.cwd()}.'
        ) from None
