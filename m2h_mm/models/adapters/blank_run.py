"""A backbone run once on blank images, to see what of it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from m2h_mm.models.building import NOT_ON_META, PROBE_SIZE
from m2h_mm.structures import Features


@dataclass
class Call:
    """How a module was called for the first time.

    Attributes:
        position: number of the call among all.
        batch: first dimension of the first positional argument, None where that is no tensor.
        positional: whether there is one.
        trains: whether a graph was being built.
    """

    position: int
    batch: int | None
    positional: bool
    trains: bool


@dataclass
class BlankRun:
    """What was seen.

    Attributes:
        calls: by name of the module within the backbone.
        features: what came out.
        images: how many went in.
    """

    images: int
    calls: dict[str, Call] = field(default_factory=dict)
    features: Features | None = None


def run_blank(backbone: nn.Module, images: int = 1) -> BlankRun:
    """Run a backbone as in a training, with its dropouts and norms in eval mode.

    It takes no time: tensors have no values (device ``meta``), unless the backbone looks at some.
    """
    training = {module: module.training for module in backbone.modules()}
    backbone.eval()
    try:
        with torch.enable_grad():
            try:
                return _observe(backbone, images, _on_meta(backbone), 'meta')
            except NOT_ON_META:
                device = next((p.device for p in backbone.parameters()), torch.device('cpu'))
                return _observe(backbone, images, backbone, device)
    finally:
        for module, mode in training.items():
            module.training = mode


def _on_meta(backbone: nn.Module) -> Callable[[Tensor], Any]:
    tensors = {
        name: tensor.to('meta')
        for name, tensor in chain(backbone.named_parameters(), backbone.named_buffers())
    }
    return lambda image: functional_call(backbone, tensors, (image,))


def _observe(
    backbone: nn.Module,
    images: int,
    forward: Callable[[Tensor], Any],
    device: torch.device | str,
) -> BlankRun:
    seen = BlankRun(images)
    handles = [
        module.register_forward_pre_hook(_recorder(seen, name))
        for name, module in backbone.named_modules()
    ]
    dtype = next((p.dtype for p in backbone.parameters()), torch.float32)
    try:
        divisor = getattr(backbone, 'size_divisor', 1)
        side = -(-PROBE_SIZE // divisor) * divisor
        image = torch.zeros(images, 3, side, side, device=device, dtype=dtype)
        seen.features = Features.of(forward(image))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _recorder(seen: BlankRun, name: str) -> Callable[[nn.Module, tuple], None]:
    def record(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        first = inputs[0] if inputs else None
        batch = first.shape[0] if isinstance(first, Tensor) and first.ndim else None
        call = Call(len(seen.calls), batch, bool(inputs), torch.is_grad_enabled())
        seen.calls.setdefault(name, call)

    return record
