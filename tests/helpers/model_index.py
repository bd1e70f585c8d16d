"""The index of the project's configs in OpenMMLab's form: ``model-index.yml`` and one
``metafile.yml`` per folder of configs. ``python tests/helpers/model_index.py`` writes them; a test
compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from m2h_mm.engine.config import CONFIGS, load_config
from m2h_mm.inference.publishing import read_published
from m2h_mm.inference.shipped import SHIPPED
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.view import build_view

REPOSITORY = CONFIGS.parent
INDEX, METAFILE = 'model-index.yml', 'metafile.yml'
# Folder to the name of the method, the title of its paper and its number on arXiv or its address.
METHODS = {
    'baselines': ('Multi-task baseline', None, None),
    'invpt': (
        'InvPT',
        'Inverted Pyramid Multi-task Transformer for Dense Scene Understanding',
        '2203.07997',
    ),
    'm2h': (
        'M2H',
        'M2H: Multi-Task Learning with Efficient Window-Based Cross-Task Attention for Monocular '
        'Spatial Perception',
        '2510.17363',
    ),
    'm2h_mx': (
        'M2H-MX',
        'M2H-MX: Multi-Task Dense Visual Perception for Real-Time Monocular Spatial Understanding',
        '2603.29236',
    ),
    'mti_net': (
        'MTI-Net',
        'MTI-Net: Multi-Scale Task Interaction Networks for Multi-Task Learning',
        '2001.06902',
    ),
    'pad_net': (
        'PAD-Net',
        'PAD-Net: Multi-Tasks Guided Prediction-and-Distillation Network for Simultaneous Depth '
        'Estimation and Scene Parsing',
        '1805.04409',
    ),
    'taskprompter': (
        'TaskPrompter',
        'TaskPrompter: Spatial-Channel Multi-Task Prompting for Dense Scene Understanding',
        'https://openreview.net/forum?id=-CwPopPJda',
    ),
}


def folders() -> list[Path]:
    """Those with configs of trainings."""
    found = {path.parent for path in CONFIGS.glob('*/*.py')}
    return sorted(path for path in found if path.name not in ('_base_', 'ablations', 'sweeps'))


def index() -> str:
    """The text of ``model-index.yml``."""
    return _text(
        dict(
            Import=[(folder / METAFILE).relative_to(REPOSITORY).as_posix() for folder in folders()]
        )
    )


def metafile(folder: Path, load: Callable[[str], Config]) -> str:
    """The text of a folder's ``metafile.yml``; ``load`` reads a config by its name."""
    name, title, number = METHODS.get(folder.name, (folder.name, None, None))
    configs = {path.stem: load(path.stem) for path in sorted(folder.glob('*.py'))}
    data = {_data(cfg) for cfg in configs.values()}
    collection: dict[str, Any] = {
        'Name': name,
        'License': 'Apache License 2.0',
        'Metadata': {'Training Data': sorted(data)},
    }
    if number:
        paper = {'Title': title} if title else {}
        address = number if '://' in number else f'https://arxiv.org/abs/{number}'
        collection['Paper'] = {**paper, 'URL': address}
    models = [_model(stem, folder, name, cfg) for stem, cfg in configs.items()]
    return _text(dict(Collections=[collection], Models=models))


def _model(stem: str, folder: Path, collection: str, cfg: Config) -> dict[str, Any]:
    backbone, decoder = cfg.model.backbone, cfg.model.get('decoder') or {}
    parts = [' '.join(filter(None, [backbone.type, _arch(backbone)]))]
    parts += [part.type for part in (decoder, decoder.get('interaction')) if part]
    entry = {
        'Name': stem,
        'In Collection': collection,
        'Config': f'configs/{folder.name}/{stem}.py',
        'Metadata': {
            'Training Data': _data(cfg),
            'Iterations': cfg.train_cfg.max_iters,
            'Batch Size': cfg.train_dataloader.batch_size,
            'Architecture': parts,
            'Tasks': [build_view(task).title for task in build_tasks(cfg.tasks).values()],
        },
    }
    facts = read_published(SHIPPED)
    results = facts.get('results', {})
    if results.get('config') == stem:
        tasks = build_tasks(cfg.tasks)
        entry['Weights'] = SHIPPED.relative_to(REPOSITORY).as_posix()
        entry['Results'] = [
            {
                'Task': build_view(task).title,
                # Of several data sets, metrics have the name of each before theirs.
                'Dataset': name.removesuffix(f'{key}/{task.metric}').strip('/') or _data(cfg),
                'Metrics': {task.metric: round(value, 4)},
            }
            for key, task in tasks.items()
            for name, value in results['metrics'].items()
            if f'/{name}'.endswith(f'/{key}/{task.metric}')
        ]
    return entry


def _arch(backbone: Mapping[str, Any]) -> str:
    arch = backbone.get('arch', '')
    return arch if isinstance(arch, str) else ''


def _data(cfg: Config) -> str:
    dataset = cfg.train_dataloader.dataset
    if dataset.type == 'MultiTaskDataset':  # of no data set in particular
        return Path(dataset.data_root).name
    return dataset.type.removesuffix('Dataset')


def _text(content: Mapping[str, Any]) -> str:
    note = '# Written by tests/helpers/model_index.py from the configs.\n'
    return note + yaml.safe_dump(content, sort_keys=False, width=100)


def main() -> None:
    (REPOSITORY / INDEX).write_text(index())
    for folder in folders():
        (folder / METAFILE).write_text(metafile(folder, load_config))


if __name__ == '__main__':
    main()
