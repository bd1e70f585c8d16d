"""Time and memory of models that are called in turn, with random weights and random images."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from torch import Tensor, nn

from m2h_mm.experiments.timing import is_out_of_memory, peak_memory, time_calls
from m2h_mm.models.adapters import merge_adapters
from m2h_mm.models.building import require_tasks
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample

DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16)
Size = tuple[int, int]


def build_model(path: str, cfg: Config, args: argparse.Namespace) -> nn.Module:
    """A config's model in its fast form, with random weights (``init_cfg`` is not read)."""
    model = MODELS.build(cfg.model).to(args.device).train(args.train)
    optimize(model if args.train else merge_adapters(model), training=args.train)
    if args.tasks:
        require_tasks(f'--tasks ({path})', args.tasks, tuple(model.tasks))
    if args.compile:
        # A loss looks at the labels in Python, which the network does not.
        parts = (
            [model.backbone, model.neck, model.decoder, *model.heads.values()]
            if args.train
            else [model]
        )
        for part in filter(None, parts):
            part.compile(dynamic=False)
    return model


def predicted_labels(model: nn.Module, inputs: Tensor) -> list[MultiTaskDataSample]:
    """A label of every task, in its own space: what the untrained model predicts of noise."""
    height, width = inputs.shape[-2:]
    camera = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]])
    samples = [MultiTaskDataSample(metainfo=dict(cam2img=camera)) for _ in inputs]
    model.eval()
    with torch.no_grad():
        model.predict(inputs, samples)
    model.train()
    for sample in samples:
        for task in model.tasks.values():
            prediction = sample.get(task.pred_field).data
            valid = torch.ones_like(prediction[:1], dtype=torch.bool)
            sample.set_field(PixelData(data=prediction, valid=valid), task.gt_field)
    return samples


def build_call(
    model: nn.Module, batch_size: int, size: Size, args: argparse.Namespace
) -> Callable[[], Any]:
    """What is measured, a function without arguments."""
    inputs = torch.randn(batch_size, 3, *size, device=args.device)
    autocast = dict(
        device_type=torch.device(args.device).type,
        dtype=DTYPES[args.dtype],
        enabled=args.dtype != 'fp32',
    )

    def predict() -> dict[str, Tensor]:
        with torch.no_grad(), torch.autocast(**autocast):
            return model(inputs, mode='tensor', tasks=args.tasks)

    if not args.train:
        return predict
    samples = predicted_labels(model, inputs)

    def train_step() -> None:
        with torch.autocast(**autocast):
            loss, _ = model.parse_losses(model(inputs, samples, mode='loss'))
        loss.backward()
        model.zero_grad()

    return train_step


def measure_cell(
    models: Mapping[str, nn.Module],
    sizes: Mapping[str, Size],
    batch_size: int,
    args: argparse.Namespace,
) -> list[dict[str, Any]]:
    """All models at one size and batch size, called in turn; memory first, then time."""
    torch.compiler.reset()
    rows = {
        name: dict(config=name, size=sizes[name], batch_size=batch_size, out_of_memory=False)
        for name in models
    }
    calls = {}
    for name, model in models.items():
        try:
            call = build_call(model, batch_size, sizes[name], args)
            call()
            weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
            rows[name]['peak_memory_bytes'] = weights + peak_memory(call, args.device)
            calls[name] = call
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            rows[name]['out_of_memory'] = True
            model.zero_grad()
        if args.device.startswith('cuda'):
            torch.cuda.empty_cache()
    times = time_calls(calls, args.repeats, args.warmup, args.device) if calls else {}
    first = next(iter(models))
    for name, values in times.items():
        low, median, high = np.percentile(values, (10, 50, 90)).tolist()
        rows[name].update(median_s=median, p10_s=low, p90_s=high, images_per_s=batch_size / median)
        if first in times:
            rows[name]['ratio'] = float(np.median(np.divide(values, times[first])))
    return list(rows.values())


def describe_device(args: argparse.Namespace) -> str:
    if args.device.startswith('cuda'):
        return torch.cuda.get_device_name(args.device)
    return f'{platform.processor() or platform.machine()} CPU, {torch.get_num_threads()} thread(s)'
