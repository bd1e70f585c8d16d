"""What a checkpoint says of the training that has written it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

TRAINING_KEY = 'm2h_mm_training'
"""Under this key of a checkpoint's ``meta`` stands what :func:`describe_training` returns."""


def describe_training(runner: Runner) -> dict[str, str]:
    """Text for whoever is given the weights: ``config``, its name; ``trained_on``, how many frames
    of which data sets; ``command``, as it was typed.
    """
    dataset = runner.train_dataloader.dataset
    parts = getattr(dataset, 'datasets', [dataset])
    file = runner.cfg.filename
    return dict(
        config=Path(file).stem if file else runner.experiment_name,
        trained_on=' and '.join(f'{len(part)} frames of {type(part).__name__}' for part in parts),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    )


def read_training(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its training, as far as it does: see :func:`describe_training`, and
    ``seed`` and ``iterations``.
    """
    meta = content.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    stored = meta.get(TRAINING_KEY)
    facts = dict(stored) if isinstance(stored, Mapping) else {}
    facts.update(seed=meta.get('seed'), iterations=meta.get('iter'))
    return {name: value for name, value in facts.items() if isinstance(value, (str, int))}
