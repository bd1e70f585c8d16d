"""A trained model as one small file to share: weights, and what they are."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from m2h_mm import __version__
from m2h_mm.engine.model_description import META_KEY, ModelDescription
from m2h_mm.models.adapters import merge_adapters
from m2h_mm.structures.checkpoint_file import TRAINING_STATE
from m2h_mm.structures.safetensors_file import read_meta, write_safetensors

PUBLISHED_KEY = 'm2h_mm_published'
"""Under this key of the metadata stands what is said of the weights: ``name``, ``trained_on``,
``command``, ``config``, ``seed``, ``iterations``, ``licence``, ``results`` and ``version``, each
where it is known.
"""
TEXTS = ('name', 'trained_on', 'command', 'config', 'licence', 'version')
_LONGEST = 500
_LARGEST_HALF = torch.finfo(torch.float16).max


def publish(
    path: str | Path,
    model: nn.Module,
    description: ModelDescription,
    facts: Mapping[str, Any],
    half: bool = False,
) -> None:
    """Write a model as a file of safetensors, which :func:`~m2h_mm.inference.load_model` reads.

    Args:
        path: the file.
        model: its weights are written, without the state of the loss weighting. Adapters are put
            into the weights, in place, as for inference.
        description: of the model.
        facts: what is said of it, see :data:`PUBLISHED_KEY`.
        half: store weights of two or more dimensions in float16, half the size; they become float32
            again when they are loaded. Those of one dimension, statistics of norms among them, and
            those with values beyond float16 stay as they are.

    Raises:
        OSError: it could not be written.
    """
    if getattr(merge_adapters(model), 'adapters', None) is None:
        parts = {name: part for name, part in description.model.items() if name != 'adapters'}
        description = replace(description, model=parts)
    state = {
        name: _halved(value) if half else value
        for name, value in model.state_dict().items()
        if not name.startswith(TRAINING_STATE)
    }
    published = {**facts, 'version': __version__}
    write_safetensors(path, state, {META_KEY: description.to_plain(), PUBLISHED_KEY: published})


def _halved(value: Tensor) -> Tensor:
    fits = value.dtype == torch.float32 and value.ndim > 1 and value.abs().max() <= _LARGEST_HALF
    return value.half() if fits else value


def read_published(path: str | Path) -> dict[str, Any]:
    """What a published file says of its weights, empty where it says nothing.

    Whoever has written it may have written anything: what is not of the right kind is left out.

    Raises:
        ValueError: the file is damaged.
    """
    stored = read_meta(path).get(PUBLISHED_KEY)
    if not isinstance(stored, Mapping):
        return {}
    facts = {**_texts(stored, TEXTS), **_counts(stored, ('seed', 'iterations'))}
    results = stored.get('results')
    if isinstance(results, Mapping) and isinstance(results.get('metrics'), Mapping):
        constant = results.get('constant_predictor')
        facts['results'] = {
            'metrics': _numbers(results['metrics']),
            'constant_predictor': _numbers(constant if isinstance(constant, Mapping) else {}),
            **_texts(results, ('config',)),
            **_counts(results, ('num_frames',)),
        }
    return facts


def _texts(stored: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """On one line each."""
    found = {name: stored[name] for name in names if isinstance(stored.get(name), str)}
    return {name: ' '.join(value[:_LONGEST].split()) for name, value in found.items()}


def _counts(stored: Mapping[str, Any], names: Iterable[str]) -> dict[str, int]:
    return {name: stored[name] for name in names if type(stored.get(name)) is int}


def _numbers(stored: Mapping[str, Any]) -> dict[str, float]:
    return {
        str(name)[:_LONGEST]: value
        for name, value in stored.items()
        if isinstance(value, float) and math.isfinite(value)
    }


def read_results(path: str | Path, sha256: str) -> dict[str, Any]:
    """What ``m2h-mm test --out`` has written of a checkpoint: its metrics, those of the constant
    predictor where they are there, the number of frames, and the config.

    Args:
        path: of a ``results.json``.
        sha256: of the checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, or of another checkpoint.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'There are no results {path}.')
    try:
        report = json.loads(Path(path).read_text())
        kept = ('metrics', 'constant_predictor', 'num_frames')
        results = {name: report[name] for name in kept if name in report}
        results.update(metrics=dict(report['metrics']), config=Path(report['config']).stem)
        tested = report['checkpoint_sha256']
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f'{path} is no report of m2h-mm test --out ({error!r}): expected metrics, config and '
            'checkpoint_sha256.'
        ) from error
    if tested != sha256:
        raise ValueError(
            f'{path} has the results of another checkpoint ({report.get("checkpoint")}). Test this '
            f'one again: m2h-mm test CONFIG CHECKPOINT --out {path} --overwrite.'
        )
    return results
