"""Operations and parameters of a model, counted part by part without weights or data."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from m2h_mm.models import building
from m2h_mm.models.adapters import merge_adapters
from m2h_mm.models.optimize import optimize

PARTS = ('backbone', 'neck', 'decoder', 'heads')


def build_without_weights(cfg: Config) -> nn.Module:
    """The model of a config, in eval mode and in its fast form, as it is deployed; ``init_cfg`` is
    not read, so no file of weights is needed. See
    :func:`m2h_mm.models.building.build_without_weights`.

    Args:
        cfg: a config whose ``default_scope`` is in force, see
            :func:`m2h_mm.engine.config.load_config`.
    """
    return optimize(building.build_without_weights(cfg.model).eval())


def count_flops(
    model: nn.Module, size: tuple[int, int], tasks: Sequence[str] | None = None
) -> dict[str, Any]:
    """Floating point operations that the prediction of one image takes.

    Counted are convolutions, linear layers, matrix products and attention, by PyTorch's own
    counter; norms, activations, pooling and interpolation are not. **One multiply-add is two
    FLOPs.** What papers call FLOPs are mostly multiply-adds, half of this number: compare them with
    ``macs``.

    The model runs on the meta device, with its own shapes and without its weights, so that neither
    memory nor time depend on its size; if one of its parts cannot, it runs where it is (the CPU, if
    it is nowhere). It is left as it was.

    Args:
        model: a :class:`~m2h_mm.models.MultiTaskModel`, on any device.
        size: (H, W) of the image in pixels, multiples of the backbone's stride.
        tasks: the tasks asked for. Default: all.

    Returns:
        ``flops`` and ``macs`` (half of them), integers; ``by_part``, the FLOPs of ``backbone``,
        ``neck`` (0 without one), ``decoder`` and ``heads``, and of ``other`` if anything else has
        some.
    """
    if getattr(model, 'adapters', None) is not None:
        model = merge_adapters(copy.deepcopy(model))  # as it is deployed
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        try:
            counts = _count(model, size, tasks, 'meta')
        except building.NOT_ON_META:
            device = next(model.parameters()).device
            counts = _count(model, size, tasks, 'cpu' if device.type == 'meta' else device)
    finally:
        for module, training in modes.items():
            module.training = training
    name = type(model).__name__
    by_part = dict.fromkeys(PARTS, 0)
    for part, child in model.named_children():
        # A container is never called itself, only what is in it.
        called = (
            [f'{name}.{part}']
            if f'{name}.{part}' in counts
            else [f'{name}.{part}.{inner}' for inner, _ in child.named_children()]
        )
        flops = sum(sum(counts[module].values()) for module in called if module in counts)
        if flops or part in PARTS:
            by_part[part] = flops
    total = sum(counts['Global'].values())
    if total != sum(by_part.values()):
        by_part['other'] = total - sum(by_part.values())
    return dict(flops=total, macs=total // 2, by_part=by_part)


def _count(
    model: nn.Module, size: tuple[int, int], tasks: Sequence[str] | None, device: str | torch.device
) -> Mapping[str, Mapping[Any, int]]:
    image = torch.zeros(1, 3, *size, device=device)
    # Stand-ins, as the numbers do not depend on the values; the model itself keeps its own weights.
    state = {
        key: torch.zeros_like(tensor, device=device)
        for key, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    # The counter does not know every fused kernel, and takes one it does not know for free:
    # attention is to be made of plain products. For nn.MultiheadAttention the device's context sees
    # to that, under which it is never fused.
    with (
        torch.no_grad(),
        torch.device(device),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        functional_call(model, state, (image,), dict(mode='tensor', tasks=tasks))
    return counter.get_flop_counts()


def count_parameters(model: nn.Module) -> dict[str, Any]:
    """Numbers of parameters; one that several modules share counts once, for the first of them.

    Returns:
        ``total``; ``trainable``, those that a training changes; ``by_part``, the total of
        ``backbone``, ``neck`` (0 without one), ``decoder`` and ``heads``, and of any further child
        of the model that has some.
    """
    seen: set[Tensor] = set()
    by_part = dict.fromkeys(PARTS, 0)
    for part, child in model.named_children():
        parameters = [parameter for parameter in child.parameters() if parameter not in seen]
        seen.update(parameters)
        if parameters or part in PARTS:
            by_part[part] = sum(parameter.numel() for parameter in parameters)
    return dict(
        total=sum(parameter.numel() for parameter in model.parameters()),
        trainable=sum(
            parameter.numel() for parameter in model.parameters() if parameter.requires_grad
        ),
        by_part=by_part,
    )


def training_size(cfg: Config) -> tuple[int, int]:
    """(H, W) in pixels of the images that a config trains on, before padding.

    It is the ``size`` of the last transform of ``train_dataloader.dataset.pipeline`` that has one,
    else the ``size`` of the data set itself.

    Raises:
        ValueError: neither is there.
    """
    dataset = cfg.get('train_dataloader', {}).get('dataset', {})
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    sizes = [
        transform['size']
        for transform in dataset.get('pipeline', ())
        if transform.get('size') is not None
    ]
    size = sizes[-1] if sizes else dataset.get('size')
    if size is None:
        raise ValueError(
            f'{cfg.filename}: neither train_dataloader.dataset.pipeline nor '
            'train_dataloader.dataset says a size of the images. Name one on the command line: '
            '--size 448 576.'
        )
    return int(size[0]), int(size[1])


def fit_size(model: nn.Module, size: Sequence[int]) -> tuple[int, int]:
    """``size`` (H, W) rounded up to multiples of ``model.data_preprocessor.size_divisor``, as
    images are padded.
    """
    divisor = model.pipeline.size_divisor
    return tuple(-(-length // divisor) * divisor for length in size)
