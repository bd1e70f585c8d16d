"""Reading configs, by path or by name, with what the command line says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from .ablations import ablation_names, apply_ablation, apply_ablations, find_ablation
from .config_check import check_arguments
from .config_files import BASE_DATASETS, CONFIGS, dataset_names, find_config
from .config_override import check_options, override
from .config_variables import read_config
from .shared_preprocessing import share_preprocessing
from .shared_tasks import share_tasks
from .task_restriction import restrict_tasks

__all__ = [
    'BASE_DATASETS',
    'CONFIGS',
    'ablation_names',
    'apply_ablation',
    'apply_ablations',
    'dataset_names',
    'find_ablation',
    'find_config',
    'load_config',
    'load_dataset_config',
    'override',
    'read_dataset_config',
    'restrict_tasks',
    'share_preprocessing',
    'share_tasks',
]

# What the commands that score and check labelled data read of a config.
READ_OF_DATA = ('test_dataloader', 'test_evaluator', 'tasks', 'custom_imports', 'default_scope')


def load_config(
    path: str | Path,
    options: Mapping | None = None,
    work_dir: str | None = None,
    tasks: Sequence[str] | None = None,
    ablations: Sequence[str | Path] | None = None,
) -> Config:
    """Read a config, change it as the command line says, share out its tasks, and make its
    registries the default ones.

    Args:
        path: path or name of the config, see :func:`find_config`.
        options: ``--cfg-options``, in force after the ablations.
        work_dir: ``--work-dir``. Default: the config's, else ``work_dirs/<config name>``, with the
            names of ``ablations`` and ``tasks``.
        tasks: ``--tasks``, to keep these alone, see
            :func:`~m2h_mm.engine.task_restriction.restrict_tasks`. Default: all.
        ablations: ``--ablation``, applied in this order, see
            :func:`~m2h_mm.engine.ablations.apply_ablation`. Default: none.

    Raises:
        FileNotFoundError: there is no such config or ablation.
        ValueError: a key that nothing reads, in the file or in ``options``, or a number that cannot
            be, see :func:`~m2h_mm.engine.config_check.check_arguments`; an ablation that does
            not fit, or a task that the config does not have; what
            :func:`~m2h_mm.engine.shared_tasks.share_tasks` raises.
    """
    path = find_config(path)
    cfg = read_config(path)
    init_default_scope(cfg.get('default_scope', 'm2h_mm'))
    cfg = apply_ablations(cfg, ablations or ())
    check_options(options or {}, cfg)
    cfg.merge_from_dict(dict(options or {}))
    check_arguments(cfg)
    if work_dir or cfg.get('work_dir') is None:
        names = [path.stem, *(Path(name).stem for name in ablations or ()), *(tasks or ())]
        cfg.work_dir = work_dir or str(Path('work_dirs') / '_'.join(names))
    share_tasks(cfg)
    share_preprocessing(cfg)
    return restrict_tasks(cfg, tasks) if tasks else cfg


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
            f'--dataset: expected one of {dataset_names()} (the configs in {BASE_DATASETS}), got '
            f'{name!r}. A data set of your own is named by a config of yours: --config FILE.'
        )
    return load_config(BASE_DATASETS / f'{name}.py', options)


def read_dataset_config(
    name: str | None,
    path: str | None,
    options: Mapping,
    data_root: str | None = None,
    split: str | None = None,
) -> Config:
    """The config of labelled data that a command line names, with ``test_dataloader.dataset`` set
    to what it says of them.

    Args:
        name: ``--dataset``, one of :func:`dataset_names`; None to read ``path``.
        path: ``--config``.
        options: ``--cfg-options``.
        data_root, split: take the place of the config's unless None.

    Raises:
        ValueError: the config has no ``test_dataloader.dataset``; an option of a part that is not
            read here.
    """
    unread = [key for key in options if key.partition('.')[0] not in READ_OF_DATA]
    if unread:
        raise ValueError(
            f'--cfg-options {unread[0]}: it has no effect here. Of a config only '
            f'{", ".join(READ_OF_DATA)} are read: labels are those of test_dataloader.dataset.'
        )
    cfg = load_dataset_config(name, options) if name else load_config(path, options)
    if 'dataset' not in (cfg.get('test_dataloader') or {}):
        raise ValueError(
            f'{path}: expected test_dataloader.dataset, the labelled data, in the config; it has '
            f'{sorted(cfg)}.'
        )
    settings = dict(data_root=data_root, split=split)
    cfg.test_dataloader.dataset.update(
        {key: value for key, value in settings.items() if value}, test_mode=True
    )
    return cfg
