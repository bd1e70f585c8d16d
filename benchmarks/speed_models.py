"""What ``speed.py`` compares: a model and its optimised form, and what is done with either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.engine.config import CONFIGS, load_config
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample

# Config, and what is changed in it. The tiny ones are for a look at the script itself.
_TINY = {
    'model.backbone.arch': dict(_delete_=True, embed_dims=48, depth=4, num_heads=3),
    'model.backbone.out_indices': (0, 1, 2, 3),
    'model.backbone.img_size': 70,
    'model.neck.out_channels': 32,
    'model.decoder.channels': 32,
}
VARIANTS = {
    'm2h_vits': ('m2h/m2h_vits_nyud.py', {}),
    'm2h_small_vits': ('m2h/m2h_small_vits_nyud.py', {}),
    'm2h_fast_vits': ('m2h/m2h_fast_vits_nyud.py', {}),
    'm2h_edge': ('m2h/m2h_edge_lite0_rooms.py', {}),
    'm2h_mx_vitb': ('m2h_mx/m2h_mx_vitb_nyud.py', {}),
    'mti_net_vits': ('mti_net/mti_net_vits_nyud.py', {}),
    'invpt_vits': ('invpt/invpt_vits_nyud.py', {}),
    'm2h_tiny': ('m2h/m2h_vits_nyud.py', _TINY),
    'm2h_small_tiny': ('m2h/m2h_small_vits_nyud.py', _TINY),
    'm2h_fast_tiny': ('m2h/m2h_fast_vits_nyud.py', _TINY),
}
NETWORKS = ('plain', 'optimized')
DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16)
ACTIONS = ('forward', 'predict', 'train')


def compile_parts(model: nn.Module) -> None:
    """Compile all but the losses, which look at the labels in Python."""
    for part in filter(None, (model.backbone, model.neck, model.decoder, *model.heads.values())):
        part.compile(dynamic=False)


def channels_last(model: nn.Module) -> None:
    model.to(memory_format=torch.channels_last)
    model.channels_last = True


@contextmanager
def tf32() -> Iterator[None]:
    """Convolutions and matrix products of a GPU round their factors to 10 bits."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


# What a contender may have done to its network, in place, in eval or training mode: one line for a
# new one.
PREPARATIONS: dict[str, Callable[[nn.Module], Any]] = dict(
    channels_last=channels_last, compile=compile_parts
)
# What a call of it may run in, by the kind of its device.
SURROUNDINGS: dict[str, Callable[[str], Any]] = dict(
    bf16=lambda kind: torch.autocast(kind, torch.bfloat16), tf32=lambda kind: tf32()
)
# A forward pass that is recorded once and replayed without Python. On a GPU only.
GRAPH = 'graph'
MADE = (*PREPARATIONS, *SURROUNDINGS, GRAPH)


@dataclass(frozen=True)
class Cell:
    """One comparison.

    Attributes:
        variant: one of ``VARIANTS``.
        backbone: ``'frozen'`` or ``'trainable'``.
        size: (H, W) in pixels; padded to what the variant's backbone takes.
        batch_size: images per call.
        dtype: ``'fp32'``, or ``'bf16'``: autocast, weights stay in float32.
        device: ``'cpu'``, ``'cuda'`` or ``'cuda:N'``.
        action: ``'forward'``: the heads' outputs; ``'predict'``: predictions at the image's size;
            ``'train'``: forward, losses, backward and a step of AdamW.
    """

    variant: str
    backbone: str
    size: tuple[int, int]
    batch_size: int
    dtype: str
    device: str
    action: str

    @property
    def name(self) -> str:
        size = 'x'.join(map(str, self.size))
        return '/'.join(
            (
                self.variant,
                self.backbone,
                size,
                f'batch{self.batch_size}',
                self.dtype,
                self.device,
                self.action,
            )
        )


def build_model(cell: Cell, contender: str) -> nn.Module:
    """A contender, ready to be called.

    Args:
        cell: what for.
        contender: ``'plain'`` or ``'optimized'``, and any of ``MADE`` behind a ``+`` each. What
            surrounds a call is the call's, see :func:`build_call`.

    Returns:
        A ``MultiTaskModel`` of the variant's config. All contenders of a cell have the same random
        weights and the same losses. The plain one is in the memory format that torch starts from.
    """
    network, *preparations = contender.split('+')
    path, options = VARIANTS[cell.variant]
    train = cell.action == 'train'
    cfg = load_config(
        str(CONFIGS / path),
        {
            **options,
            'model.freeze_backbone': cell.backbone == 'frozen',
            'model.backbone.init_cfg': None,
        },
    )
    if network == 'plain':
        cfg.model.channels_last = False
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    if hasattr(model.heads.depth, 'parametrization'):
        nn.init.constant_(model.heads.depth.final.bias, 2.5)  # else its ReLU may be closed
    model.to(cell.device).train(train)
    if network == 'optimized':
        optimize(model, training=train)
    for preparation in PREPARATIONS.keys() & preparations:
        PREPARATIONS[preparation](model)
    return model


def input_size(model: nn.Module, cell: Cell) -> tuple[int, int]:
    """The cell's size, padded to what the model's backbone takes."""
    divisor = model.data_preprocessor.pipeline.size_divisor
    height, width = (-(-length // divisor) * divisor for length in cell.size)
    return height, width


def random_samples(cell: Cell, size: tuple[int, int]) -> list[MultiTaskDataSample]:
    """Frames of a size with random labels of all tasks, and a camera."""
    height, width = size
    generator = torch.Generator().manual_seed(1)
    camera = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]])

    def uniform(channels: int) -> Tensor:
        return torch.rand(channels, height, width, generator=generator)

    samples = []
    for _ in range(cell.batch_size):
        labels = dict(
            gt_semseg=(40 * uniform(1)).long(),
            gt_depth=0.5 + 8 * uniform(1),
            gt_normals=F.normalize(uniform(3) - 0.5, dim=0),
            gt_edge=(uniform(1) > 0.9).float(),
        )
        sample = MultiTaskDataSample(metainfo=dict(cam2img=camera, ori_shape=size))
        for field, label in labels.items():
            valid = torch.ones(1, height, width, dtype=torch.bool, device=cell.device)
            sample.set_field(PixelData(data=label.to(cell.device), valid=valid), field)
        samples.append(sample)
    return samples


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-6
    )


def build_call(
    model: nn.Module,
    cell: Cell,
    optimizer: torch.optim.Optimizer | None = None,
    contender: str = '',
) -> Callable[[], Any]:
    """The action as a function without arguments.

    Args:
        model: see :func:`build_model`.
        cell: what is done with it.
        optimizer: of a training step. Default: a new one.
        contender: of its ``SURROUNDINGS``, and ``GRAPH``, each call is made in those.

    Returns:
        A function that returns what :func:`difference` compares: outputs by task, or the loss.
    """
    size = input_size(model, cell)
    inputs = torch.randn(cell.batch_size, 3, *size, generator=torch.Generator().manual_seed(2)).to(
        cell.device
    )
    samples = random_samples(cell, size)
    autocast = dict(
        device_type=torch.device(cell.device).type,
        dtype=DTYPES[cell.dtype],
        enabled=cell.dtype != 'fp32',
    )

    def forward() -> dict[str, Tensor]:
        with torch.inference_mode(), torch.autocast(**autocast):
            return model(inputs, mode='tensor')

    def predict() -> dict[str, Tensor]:
        with torch.inference_mode(), torch.autocast(**autocast):
            model(inputs, samples, mode='predict')
        return {
            name: torch.stack([sample.get(task.pred_field).data for sample in samples])
            for name, task in model.tasks.items()
        }

    parts = contender.split('+')
    around = [SURROUNDINGS[name] for name in parts if name in SURROUNDINGS]
    if cell.action != 'train':
        call = surrounded(dict(forward=forward, predict=predict)[cell.action], around, cell.device)
        return graphed(call) if GRAPH in parts else call
    optimizer = optimizer or build_optimizer(model)

    def train() -> dict[str, Tensor]:
        with torch.autocast(**autocast):
            loss, _ = model.parse_losses(model(inputs, samples, mode='loss'))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return dict(loss=loss.detach())

    return surrounded(train, around, cell.device)


def surrounded(
    call: Callable[[], Any], around: list[Callable[[str], Any]], device: str
) -> Callable[[], Any]:
    """A call that is made in these contexts."""
    for context in around:
        call = _within(call, context, torch.device(device).type)
    return call


def _within(call: Callable[[], Any], context: Callable[[str], Any], kind: str) -> Callable[[], Any]:
    def within() -> Any:
        with context(kind):
            return call()

    return within


def graphed(call: Callable[[], Any]) -> Callable[[], Any]:
    """A call whose operations are recorded once and replayed: nothing but the GPU is at work."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries choose their kernels and take their memory
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> Any:
        graph.replay()
        return result

    return replay


def difference(result: dict[str, Tensor], reference: dict[str, Tensor]) -> float:
    """The largest relative difference of two results, over all tasks but segmentation's classes,
    which are names.
    """
    return max(
        ((result[name] - expected).abs().max() / expected.abs().max()).item()
        for name, expected in reference.items()
        if expected.is_floating_point()
    )
