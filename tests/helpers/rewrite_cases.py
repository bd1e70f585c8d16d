"""A small module of every class that has a fast form, and its values and gradients."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from m2h_mm.methods.invpt.stage import CrossTaskAttention, InvPTStage
from m2h_mm.methods.m2h.aspp import ASPP
from m2h_mm.methods.m2h.heads import M2HEdgeHead, M2HNormalsHead
from m2h_mm.methods.m2h.upsample import UpsampleBlock
from m2h_mm.models.interactions.low_rank_experts import RoutedConv
from m2h_mm.models.interactions.wmca import WMCA
from m2h_mm.models.layers.cross_task_layer import CrossTaskLayer, TaskLayerNorm
from m2h_mm.models.layers.distillation import MultiModalDistillationUnit
from m2h_mm.models.layers.feed_forward import MLP, FeedForward
from m2h_mm.models.layers.fusion import FusionBlock
from m2h_mm.models.necks.token_reassembly import ReassembleLevel

TASKS = ('semseg', 'depth', 'edge')


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def task_maps(channels: int, *size: int) -> dict[str, Tensor]:
    return {task: randn(2, channels, *size, seed=index) for index, task in enumerate(TASKS)}


class Contribution(nn.Module):
    """What a stage of InvPT adds to the maps of two of its tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = InvPTStage(TASKS, 8, 6, pooling=2, in_channels=4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.stage.contribution(tokens, (0, 2), (9, 12))


@dataclass
class Case:
    """A module with a rewrite.

    Attributes:
        plain: the class that is rewritten.
        build: makes one, or a module that holds one.
        inputs: what it is called with.
        read: children whose weights the fast form reads or whose place it changes.
    """

    plain: type[nn.Module]
    build: Callable[[], nn.Module]
    inputs: tuple
    read: tuple[str, ...] = ()

    def make(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        torch.manual_seed(0)
        module = self.build()
        for parameter in module.parameters():  # no bias is zero, no norm is the identity
            nn.init.normal_(parameter, std=0.5)
        return module.to(dtype)


CASES = dict(
    mlp=Case(MLP, lambda: MLP(6, 10), (randn(2, 5, 6),), ('fc2',)),
    feed_forward=Case(FeedForward, lambda: FeedForward(6, 10), (randn(2, 5, 6),), ('1', '2')),
    fusion=Case(
        FusionBlock, lambda: FusionBlock(6), (randn(2, 6, 5, 3), randn(2, 6, 7, 4)), ('project',)
    ),
    fusion_separable=Case(
        FusionBlock, lambda: FusionBlock(6, separable=True), (randn(2, 6, 5, 3),)
    ),
    fusion_without_upsampling=Case(
        FusionBlock, lambda: FusionBlock(6, upsample=False), (randn(2, 6, 5, 3),), ('project',)
    ),
    task_norm=Case(
        TaskLayerNorm, lambda: TaskLayerNorm(6, TASKS), (randn(4, 2 * 3, 6),), ('depth',)
    ),
    # More windows than are computed at a time; all but the last chunk are full.
    cross_task_layer=Case(
        CrossTaskLayer, lambda: CrossTaskLayer(8, TASKS, 2, 2), (randn(70, 4 * 3, 8),)
    ),
    wmca=Case(
        WMCA,
        lambda: WMCA(8, TASKS, window_size=3, num_heads=2, num_layers=3, reduction=2, pooling=2),
        (task_maps(8, 9, 14),),
        ('post_project.depth', 'layers.1'),
    ),
    wmca_shifted=Case(
        WMCA,
        lambda: WMCA(
            8,
            TASKS,
            window_size=(3, 3, 3, 2),
            num_heads=2,
            num_layers=4,
            shift_size=(0, 0, 1, 1),
            mask_padding=True,
        ),
        (task_maps(8, 7, 5),),
        ('layers.1',),
    ),
    wmca_per_task=Case(
        WMCA,
        lambda: WMCA(
            12,
            TASKS,
            window_size=3,
            num_heads=3,
            shift_size=(0, 1),
            position_bias=True,
            per_task=('qkv', 'proj', 'ffn'),
            listens_to='task_per_head',
        ),
        (task_maps(12, 7, 5),),
        ('layers.1', 'layers.0.qkv.depth'),
    ),
    wmca_residual=Case(
        WMCA,
        lambda: WMCA(
            8,
            TASKS,
            window_size=3,
            num_heads=2,
            num_layers=2,
            reduction=2,
            pooling=2,
            residual=True,
            pre_norm=True,
            position_bias=True,
            listens_to='others',
        ),
        (task_maps(8, 9, 14),),
        ('post_project.depth', 'layers.1'),
    ),
    routed_conv=Case(
        RoutedConv,
        lambda: RoutedConv(6, TASKS, ranks=(1, 2, 3), top_k=2, task_rank=2),
        (randn(2, 6, 5, 3), 'depth'),
        ('shared', 'down', 'up', 'norm.depth', 'task_down.depth', 'router.depth'),
    ),
    reassemble=Case(
        ReassembleLevel,
        lambda: ReassembleLevel(6, 4, 5, nn.Identity(), readout=True, separable=False),
        (randn(2, 6, 5, 3), randn(2, 6)),
        ('readout',),
    ),
    reassemble_without_token=Case(
        ReassembleLevel,
        lambda: ReassembleLevel(6, 4, 5, nn.Identity(), readout=False, separable=True),
        (randn(2, 6, 5, 3),),
    ),
    distillation=Case(
        MultiModalDistillationUnit,
        lambda: MultiModalDistillationUnit(4, TASKS),
        (task_maps(4, 5, 3), ('depth',)),
        ('convs.edge',),
    ),
    aspp=Case(ASPP, lambda: ASPP(8), (randn(2, 8, 9, 7),), ('fuse', 'branches.1')),
    aspp_separable=Case(ASPP, lambda: ASPP(8, separable=True), (randn(2, 8, 9, 7),), ('fuse',)),
    upsample=Case(
        UpsampleBlock, lambda: UpsampleBlock(8, 4), (randn(2, 8, 5, 3),), ('expand', 'shortcut')
    ),
    upsample_separable=Case(
        UpsampleBlock,
        lambda: UpsampleBlock(8, 4, separable=True),
        (randn(2, 8, 5, 3),),
        ('expand', 'shortcut'),
    ),
    normals_head=Case(
        M2HNormalsHead,
        lambda: M2HNormalsHead(8, hidden_channels=(8, 4)),
        (randn(2, 8, 5, 3),),
        ('final', 'upsample.1', 'upsample.1.expand', 'upsample.1.shortcut', 'upsample'),
    ),
    normals_head_separable=Case(
        M2HNormalsHead,
        lambda: M2HNormalsHead(8, hidden_channels=(8, 4), separable=True),
        (randn(2, 8, 5, 3),),
    ),
    edge_head=Case(
        M2HEdgeHead, lambda: M2HEdgeHead(8, hidden_channels=(4,)), (randn(2, 8, 5, 3),), ('final',)
    ),
    invpt_attention=Case(
        CrossTaskAttention,
        lambda: CrossTaskAttention(TASKS, 8, pooling=2, message=True),
        (randn(2, 3, 4, 8, 8), randn(2, 2, 3 * 1 * 2, 3 * 2 * 4)),
        ('fuse',),
    ),
    invpt_stage=Case(InvPTStage, Contribution, (randn(2, 3, 4, 6, 8),), ('stage.reduce.edge',)),
)
EVERY_CASE = pytest.mark.parametrize('case', CASES.values(), ids=CASES)


def values(module: nn.Module, inputs: tuple, dtype: torch.dtype, train: bool) -> list[Tensor]:
    """Outputs and, in training, the gradients of inputs and parameters."""
    module.train(train)
    inputs = deepcopy(inputs)
    leaves = [x for x in tree_leaves(inputs) if isinstance(x, Tensor)]
    for x in leaves:
        x.data = x.data.to(dtype)
        x.requires_grad_(train)
    with torch.set_grad_enabled(train):
        outputs = [x for x in tree_leaves(module(*inputs)) if isinstance(x, Tensor)]
        if not train:
            return outputs
        weights = [randn(*x.shape, seed=index).to(dtype) for index, x in enumerate(outputs)]
        loss = sum((x * weight).sum() for x, weight in zip(outputs, weights, strict=True))
        wanted = [*leaves, *module.parameters()]
        gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [*outputs, *(x for x in gradients if x is not None)]
