"""Reading configs: by path, and the data sets that have one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from m2h_mm.experiments.single_task import restrict_tasks

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
BASE_DATASETS = CONFIGS / '_base_' / 'datasets'


def load_config(
    path: str, options: Mapping, work_dir: str | None = None, tasks: Sequence[str] | None = None
) -> Config:
    """Read a config, apply ``--cfg-options``, set its work dir and make its registries the default
    ones.

    Args:
        path: of the config.
        options: ``--cfg-options``.
        work_dir: ``--work-dir``. Default: the config's, else ``work_dirs/<config name>``, with the
            names of ``tasks``.
        tasks: ``--tasks``, to keep these alone, see
            :func:`~m2h_mm.experiments.single_task.restrict_tasks`. Default: all.

    Raises:
        FileNotFoundError: there is no such config.
        ValueError: a task that it does not have.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'There is no config {path}. The configs that come with this project are in configs/.'
        )
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(dict(options))
    if work_dir or cfg.get('work_dir') is None:
        cfg.work_dir = work_dir or str(
            Path('work_dirs') / '_'.join([Path(path).stem, *(tasks or ())])
        )
    init_default_scope(cfg.get('default_scope', 'm2h_mm'))
    return restrict_tasks(cfg, tasks) if tasks else cfg


def dataset_names() -> list[str]:
    """What ``--dataset`` may be: the data sets that have a config in ``configs/_base_/datasets``."""
    return sorted(path.stem for path in BASE_DATASETS.glob('*.py'))


def load_dataset_config(name: str, options: Mapping | None = None) -> Config:
    """The config of a data set and its metrics: ``test_dataloader.dataset`` and ``test_evaluator``.

    Args:
        name: one of :func:`dataset_names`.
        options: ``--cfg-options``.

    Raises:
        ValueError: another name.
    """
    if name not in dataset_names():
        raise ValueError(
            f'--dataset: expected one of {dataset_names()} (the configs in '
            f'{BASE_DATASETS}), got '
            f'{name!r}. A data set of your own is named by a config of yours: '
            '--config FILE.'
        )
    return load_config(str(BASE_DATASETS / f'{name}.py'), options or {})


def read_dataset_config(
    name: str | None,
    path: str | None,
    options: Mapping,
    data_root: str | None = None,
    split: str | None = None,
) -> Config:
    """The config of labelled data that a command line names, ``test_dataloader.dataset`` set to
    what it says of them.

    Args:
        name: ``--dataset``, one of :func:`dataset_names`; None to read ``path``.
        path: ``--config``.
        options: ``--cfg-options``.
        data_root, split: take the place of the config's unless None.

    Raises:
        ValueError: the config has no ``test_dataloader.dataset``.
    """
    cfg = load_dataset_config(name, options) if name else load_config(path, options)
    if 'dataset' not in (cfg.get('test_dataloader') or {}):
        raise ValueError(
            f'{path}: expected test_dataloader.dataset, the labelled data, in the '
            'config; it has '
            f'{sorted(cfg)}.'
        )
    settings = dict(data_root=data_root, split=split)
    cfg.test_dataloader.dataset.update(
        {key: value for key, value in settings.items() if value}, test_mode=True
    )
    return cfg
