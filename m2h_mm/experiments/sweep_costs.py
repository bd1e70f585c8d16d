"""Parameters, operations, latency and memory of each variant of a sweep."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config

from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.experiments.complexity import (
    build_without_weights,
    count_flops,
    count_parameters,
    fit_size,
    training_size,
)
from m2h_mm.experiments.sweep import Sweep
from m2h_mm.experiments.sweep_spec import SINGLE_TASK
from m2h_mm.experiments.timing import peak_memory, time_calls
from m2h_mm.models.adapters import merge_adapters
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import MODELS

WARMUP = 3


def measure_costs(sweep: Sweep, device: str, repeats: int, cache: Path) -> dict[str, Any]:
    """The costs of one image, each variant's and that of the single-task models together.

    All are measured in this one process with random weights, timed calls in turn, on an image of
    the size that the first variant is trained on, rounded up to what each model takes. A
    measurement of the same models, device and versions is taken from ``cache``.

    The single-task models run one after the other: parameters, operations and latencies are summed,
    the peak memory is the largest.

    Args:
        device: 'cpu' or 'cuda'.
        repeats: timed calls of each; 0 leaves out latency and memory, whose values are then None.
        cache: a JSON file, written if it does not fit.

    Returns:
        ``device``, ``threads``, ``repeats`` and ``rows``: by variant ``parameters``, ``macs``,
        ``latency`` (median, seconds), ``memory`` (bytes of activations at the peak), ``size``
        (H, W).
    """
    configs = {
        **sweep.variants,
        **{f'{SINGLE_TASK}/{task}': cfg for task, cfg in sweep.single_task.items()},
    }
    size = training_size(next(iter(sweep.variants.values())))
    name = (
        torch.cuda.get_device_name()
        if device == 'cuda'
        else platform.processor() or platform.machine()
    )
    setting = dict(device=f'{device} ({name})', threads=torch.get_num_threads(), repeats=repeats)
    models = {key: cfg.model.to_dict() for key, cfg in configs.items()}
    # By them a file of the user's own has a digest, of which the costs are, too.
    models.update(
        {
            f'{key}, imports': cfg.custom_imports.to_dict()
            for key, cfg in configs.items()
            if cfg.get('custom_imports')
        }
    )
    digest = hashlib.sha256(repr((models, size, setting, versions())).encode()).hexdigest()
    known = _read(cache)
    if known.get('digest') == digest:
        return known
    rows = {key: _count(cfg, size) for key, cfg in configs.items()}
    if repeats:
        _measure(configs, rows, device, repeats)
    costs = dict(digest=digest, **setting, rows=_together(rows, sweep))
    write_report(cache, costs)
    return costs


def _read(cache: Path) -> dict:
    try:
        return json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}


def _count(cfg: Config, size: tuple[int, int]) -> dict[str, Any]:
    model = build_without_weights(cfg)
    size = fit_size(model, size)
    return dict(
        parameters=count_parameters(model)['total'],
        macs=count_flops(model, size)['macs'],
        latency=None,
        memory=None,
        size=list(size),
    )


def _measure(
    configs: Mapping[str, Config], rows: dict[str, dict], device: str, repeats: int
) -> None:
    def prepare(key: str, cfg: Config) -> Any:
        model = optimize(merge_adapters(MODELS.build(cfg.model)).eval().to(device))
        image = torch.randn(1, 3, *rows[key]['size'], device=device)
        return lambda: model(image, mode='tensor')

    with torch.inference_mode():
        calls = {key: prepare(key, cfg) for key, cfg in configs.items()}
        for key, times in time_calls(calls, repeats, WARMUP, device).items():
            rows[key].update(latency=median(times), memory=peak_memory(calls[key], device))


def _together(rows: Mapping[str, dict], sweep: Sweep) -> dict[str, dict]:
    """The rows of the table: the variants, and one for all single-task models."""
    table = {name: rows[name] for name in sweep.variants}
    single = [rows[f'{SINGLE_TASK}/{task}'] for task in sweep.single_task]
    if single:
        timed = single[0]['latency'] is not None
        table[SINGLE_TASK] = dict(
            parameters=sum(row['parameters'] for row in single),
            macs=sum(row['macs'] for row in single),
            latency=sum(row['latency'] for row in single) if timed else None,
            memory=max(row['memory'] for row in single) if timed else None,
            size=single[0]['size'],
        )
    return table
