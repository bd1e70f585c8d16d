"""The keys of a sweep's spec, and the check of their values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m2h_mm.system.spelling import did_you_mean

SPEC_KEYS = ('base', 'variants', 'single_task', 'seeds', 'max_iters', 'options', 'tune')
# Name of the single-task models among the variants, in folders and in tables.
SINGLE_TASK = 'single_task'


def check_spec(spec: Mapping, path: Path) -> None:
    """Refuse a spec that does not have the form of :func:`~m2h_mm.experiments.sweep.load_sweep`.

    Raises:
        ValueError: with the file, the key, what was expected and what came.
    """
    for key in spec:
        if key not in SPEC_KEYS:
            raise ValueError(
                f'{path}: unknown key {key!r}; a spec has {list(SPEC_KEYS)}.'
                + did_you_mean(key, SPEC_KEYS)
            )
    variants = spec.get('variants')
    if not isinstance(variants, dict) or not variants:
        raise ValueError(
            f'{path}: variants: expected dict(name=overrides, ablation or config, ...) with at '
            f'least one entry, got {variants!r}.'
        )
    for name, content in variants.items():
        _check_variant(name, content, spec, path)
    if spec.get('single_task') not in [None, *variants]:
        raise ValueError(
            f'{path}: single_task: expected one of the variants, {list(variants)}, got '
            f'{spec["single_task"]!r}.'
        )
    _check_numbers(spec, path)
    _check_tune(spec.get('tune'), path)
    if not isinstance(spec.get('options', {}), dict):
        raise ValueError(f'{path}: options: expected a dict of overrides, got {spec["options"]!r}.')


def _check_variant(name: str, content: Any, spec: Mapping, path: Path) -> None:
    if name == SINGLE_TASK or not name or set(name) & set('/\\') or name.startswith('.'):
        raise ValueError(
            f'{path}: variants: {name!r} cannot be the name of a variant, it is a folder in the '
            f'work dir. Choose a name without slashes and other than {SINGLE_TASK!r}.'
        )
    changes = content if isinstance(content, (list, tuple)) else [content]
    if not all(isinstance(change, (dict, str)) for change in changes):
        raise ValueError(
            f'{path}: variants.{name}: expected a dict of overrides, the name of an ablation, a '
            f'list of these, or a config, got {content!r}.'
        )
    if not isinstance(content, str) and not isinstance(spec.get('base'), str):
        raise ValueError(
            f'{path}: variants.{name} overrides a base, but the spec names none. Add base=CONFIG.'
        )


def _check_numbers(spec: Mapping, path: Path) -> None:
    seeds = spec.get('seeds', [0])
    if (
        not isinstance(seeds, (list, tuple))
        or not seeds
        or not all(isinstance(seed, int) for seed in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise ValueError(f'{path}: seeds: expected a list of different integers, got {seeds!r}.')
    max_iters = spec.get('max_iters')
    if max_iters is not None and (not isinstance(max_iters, int) or max_iters < 1):
        raise ValueError(f'{path}: max_iters: expected a number of iterations, got {max_iters!r}.')


def _check_tune(tune: Any, path: Path) -> None:
    if tune is None:
        return
    if (
        not isinstance(tune, dict)
        or set(tune) != {'key', 'values'}
        or not isinstance(tune['key'], str)
        or not isinstance(tune['values'], (list, tuple))
        or len({repr(value) for value in tune['values']}) < max(2, len(tune['values']))
    ):
        raise ValueError(
            f"{path}: tune: expected dict(key='optim_wrapper.optimizer.lr', values=[...]) with at "
            f'least two different values, got {tune!r}.'
        )
    labels = [str(value) for value in tune['values']]
    if any(set(label) & set('/\\') or label.startswith('.') for label in labels):
        raise ValueError(
            f'{path}: tune.values: each names a folder of the work dir, so expected numbers or '
            f'short words, got {tune["values"]!r}.'
        )
