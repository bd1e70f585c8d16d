"""M2H (arXiv 2510.17363) as its official code computes it, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import (
    ASPP,
    Conv,
    FusionBlock,
    Refinement,
    Restoration,
    UniqueFeature,
    UpsampleBlock,
    resize,
)
from .dinov2 import PATCH, DINOv2

TASKS = ('edges', 'normals', 'sem_seg', 'depth')  # the order within the cross-task attention


class Reassemble(nn.Module):
    """Per level: the class token read into every position, a 1x1 convolution, another resolution
    (4, 2, 1, 1/2).
    """

    def __init__(self, embed_dim: int, widths: Sequence[int], conv: type[nn.Module]) -> None:
        super().__init__()
        self.projects = nn.ModuleList(conv(embed_dim, width, 1) for width in widths)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(widths[0], widths[0], 4, stride=4),
                nn.ConvTranspose2d(widths[1], widths[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(widths[3], widths[3], 3, stride=2, padding=1),
            ]
        )
        self.readout_projects = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * embed_dim, embed_dim), nn.GELU()) for _ in widths
        )

    def forward(self, features: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        outputs = []
        for level, (x, cls_token) in enumerate(features):
            z = torch.cat([x, cls_token[:, :, None, None].expand_as(x)], dim=1)
            z = self.readout_projects[level](z.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            outputs.append(self.resize_layers[level](self.projects[level](z)))
        return outputs


class CrossTaskBlock(nn.Module):
    """Attention among the tokens of all tasks within a window of n x n pixels.

    Args:
        channels: C.
        num_heads: attention heads; divide C.
        window: n.

    Shapes: one map ``(N, C, H, W)`` per task, in the order of ``TASKS``, to the same.
    """

    def __init__(self, channels: int, num_heads: int = 4, window: int = 7) -> None:
        super().__init__()
        self.window = window
        self.norm_layers = nn.ModuleList(nn.LayerNorm(channels) for _ in TASKS)
        self.attn = nn.MultiheadAttention(channels, num_heads, batch_first=True)
        self.ffn_fc1 = nn.Linear(channels, 4 * channels)
        self.ffn_fc2 = nn.Linear(4 * channels, channels)
        self.norm2_layers = nn.ModuleList(nn.LayerNorm(channels) for _ in TASKS)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        height, width = maps[0].shape[2:]
        tokens = [norm(self.cut(x)) for norm, x in zip(self.norm_layers, maps, strict=True)]
        z = torch.cat(tokens, dim=1)
        z = z + self.attn(z, z, z, need_weights=True)[0]
        z = z + self.ffn_fc2(F.gelu(self.ffn_fc1(z)))
        tokens = z.chunk(len(maps), dim=1)
        return [
            self.merge(norm(x), height, width)
            for norm, x in zip(self.norm2_layers, tokens, strict=True)
        ]

    def cut(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)``, zero padded at the bottom and right, to ``(N * windows, n * n, C)``."""
        n = self.window
        x = F.pad(x, (0, -x.shape[3] % n, 0, -x.shape[2] % n))
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels, height // n, n, width // n, n)
        return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, n * n, channels)

    def merge(self, windows: Tensor, height: int, width: int) -> Tensor:
        """The inverse of :meth:`cut`, the padding cropped."""
        n, channels = self.window, windows.shape[2]
        rows, columns = -(-height // n), -(-width // n)
        x = windows.reshape(-1, rows, columns, n, n, channels)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, rows * n, columns * n)[
            :, :, :height, :width
        ]


class ContextHead(nn.Module):
    """The heads of depth and segmentation: to metres before the ReLU, or to class logits."""

    blocks = (ASPP, UpsampleBlock, Refinement)

    def __init__(self, channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        context, upsample, refine = self.blocks
        self.aspp = context(channels)
        self.upsample1 = upsample(channels, 128)
        self.upsample2 = upsample(128, 64)
        self.refine = refine(64)
        self.final_conv = nn.Conv2d(64, out_channels, kernel_size, padding=kernel_size // 2)
        self.spatial_attn = nn.Sequential(nn.Conv2d(64, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x = self.refine(self.upsample2(self.upsample1(self.aspp(x))))
        return self.final_conv(x * self.spatial_attn(x))


class PlainHead(nn.Module):
    """The heads of normals and edges."""

    def __init__(self, channels: int, out_channels: int, upsample: type[nn.Module]) -> None:
        super().__init__()
        self.head = nn.Sequential(
            upsample(channels, 128), upsample(128, 64), nn.Conv2d(64, out_channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


class MLTHead(nn.Module):
    """All of M2H behind the backbone.

    Args:
        embed_dim: channels of the backbone's maps.
        channels: C of all maps inside.
        num_classes: K, of the segmentation.
        min_depth: metres that are added to the depth's ReLU.

    Shapes: four pairs of map ``(N, embed_dim, h, w)`` and class token to ``depth (N, 1, 4 H, 4 W)``
    in metres, ``seg (N, K, ...)`` logits, ``normals (N, 3, ...)`` unit vectors, ``edges (N, 1,
    ...)`` logits, H = 16 ceil(h / 2).
    """

    conv, fusion_block, upsample_block = Conv, FusionBlock, UpsampleBlock
    restoration, context_head = Restoration, ContextHead
    attention_share = 1  # channels per channel of the cross-task attention

    def __init__(
        self,
        embed_dim: int = 384,
        channels: int = 256,
        num_classes: int = 40,
        min_depth: float = 1e-3,
    ) -> None:
        super().__init__()
        widths = (embed_dim // 8, embed_dim // 4, embed_dim // 2, embed_dim)
        self.min_depth = min_depth
        self.reassemble_blocks = Reassemble(embed_dim, widths, self.conv)
        self.convs = nn.ModuleList(self.conv(width, channels, 3, bias=False) for width in widths)
        for task in TASKS:
            blocks = nn.ModuleList(
                self.fusion_block(channels, lateral=index > 0) for index in range(4)
            )
            setattr(self, f'fusion_blocks_{task}', blocks)
            setattr(self, f'project_{task}', self.conv(channels, channels, 3))
        self.cross_attn = nn.ModuleList(
            CrossTaskBlock(channels // self.attention_share) for _ in range(2)
        )
        unique = (embed_dim, widths[3], channels, self.conv, self.fusion_block)
        self.unique_depth_feature = UniqueFeature(*unique)
        self.unique_semantic_feature = UniqueFeature(*unique)
        self.conv_depth = self.context_head(channels, 1, kernel_size=3)
        self.seg_out = self.context_head(channels, num_classes, kernel_size=1)
        self.conv_normal = PlainHead(channels, 3, self.upsample_block)
        self.conv_edge = PlainHead(channels, 1, self.upsample_block)
        self.restore_depth = self.restoration(channels)
        self.restore_semseg = self.restoration(channels)

    def forward(self, features: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        levels = [
            conv(x) for conv, x in zip(self.convs, self.reassemble_blocks(features), strict=True)
        ]
        last = features[3][0]
        unique_depth, unique_semantic = (
            self.unique_depth_feature(last),
            self.unique_semantic_feature(last),
        )
        fused = {task: self.fuse(task, levels) for task in TASKS}
        attended = self.exchange(fused)
        depth = self.restore_depth(attended['depth'], fused['depth'], unique_depth)
        semantic = self.restore_semseg(attended['sem_seg'], fused['sem_seg'], unique_semantic)
        return dict(
            depth=F.relu(self.conv_depth(depth)) + self.min_depth,
            seg=self.seg_out(semantic),
            normals=F.normalize(torch.tanh(self.conv_normal(attended['normals'])), dim=1),
            edges=self.conv_edge(attended['edges']),
        )

    def fuse(self, task: str, levels: list[Tensor]) -> Tensor:
        """One task's way through the levels, coarse to fine: ``(N, C, 16 h_3, 16 w_3)``."""
        blocks = getattr(self, f'fusion_blocks_{task}')
        x = blocks[0](levels[3])
        x = blocks[1](x, levels[2])
        x = blocks[2](x, levels[1])
        x = blocks[3](x, levels[0])
        return F.relu(getattr(self, f'project_{task}')(x))

    def exchange(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The cross-task attention."""
        tokens = [maps[task] for task in TASKS]
        for block in self.cross_attn:
            tokens = block(tokens)
        return dict(zip(TASKS, tokens, strict=True))


class M2H(nn.Module):
    """Backbone and head.

    Args:
        backbone: see :class:`DINOv2`.
        frozen: train no parameter of the backbone, as in the official code.
        head: arguments of :class:`MLTHead`.

    Shapes: normalised image ``(N, 3, H, W)`` of any size to the maps of :class:`MLTHead` at H x W.
    """

    head_type = MLTHead

    def __init__(self, backbone: DINOv2, frozen: bool = True, **head) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(not frozen)
        self.mlt_head = self.head_type(**head)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        size = image.shape[2:]
        return {name: resize(output, size) for name, output in self.run(image).items()}

    def run(self, image: Tensor) -> dict[str, Tensor]:
        """The maps at the head's own resolution."""
        below, right = (-length % PATCH for length in image.shape[2:])
        image = F.pad(image, (right // 2, right - right // 2, below // 2, below - below // 2))
        return self.mlt_head(self.backbone(image))
