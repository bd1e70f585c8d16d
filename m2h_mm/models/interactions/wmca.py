"""WMCA: window-based cross-task attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.conv import require_divisible
from m2h_mm.models.layers.cross_task_layer import CrossTaskLayer
from m2h_mm.models.layers.resize import resize
from m2h_mm.models.layers.task_tokens import stack_tasks, unstack_tasks
from m2h_mm.models.layers.windows import WindowGrid
from m2h_mm.registry import MODELS
from m2h_mm.system.spelling import did_you_mean

LISTENS_TO = ('all', 'others', 'task_per_head')
PER_TASK = ('qkv', 'proj', 'ffn')


@MODELS.register_module()
class WMCA(nn.Module):
    """Window-based multi-task cross-attention of M2H (arXiv 2510.17363).

    All tasks' tokens in a window of n x n pixels attend to each other: T tasks give T n^2 tokens
    per window, so the cost of attention is O(H W n^2 T^2 C), linear in the map's size. There is no
    encoding of position or task in the attention itself; what tells tasks apart are their own norms
    before and after it, so their order does not matter. The residual path starts at the
    *normalised* tokens, and the result is a norm's output. ``residual``, ``pre_norm``,
    ``position_bias``, ``per_task`` and ``listens_to`` are not M2H's; they change this.

    M2H-small: ``reduction=4, pooling=2``.

    The official code stores a shift and a dilation and uses neither, and its padding (zeros, at the
    bottom and right) takes part in the attention. That is the default here; ``shift_size``,
    ``dilation`` and ``mask_padding`` are the options, which the paper describes and which work.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the tasks, at least two. Filled in by the decoder.
        window_size: n in pixels, of all layers or of each. With 1 only the tokens of one pixel
            attend to each other. Default: 7.
        num_heads: attention heads; must divide the attention's channels, C / ``reduction``.
            Default: 4.
        num_layers: layers, one after the other. Default: 2.
        shift_size: pixels by which windows lie further down and right, below ``window_size *
            dilation``. One number:
            of every second layer, as in Swin; a sequence: of each layer. Pixels at opposite edges
            of the map never attend to each other. Default: 0.
        dilation: distance in pixels between the pixels that a window takes, of all layers or of
            each. Default: 1.
        mask_padding: keep the map's tokens from attending to padding. Default: False.
        ffn_ratio: hidden channels of the feed-forward network per channel. Default: 4.
        reduction: with more than 1, 1x1 convolutions (one per task) to and from C / ``reduction``
            channels around the layers. Default: 1.
        pooling: with more than 1, max pooling by that factor before the layers and bilinear
            upsampling after them. Default: 1.
        residual: hand on the maps themselves, and add to each what the exchange found, ``F_t + s_t
            * WMCA(F)_t``, with a learned factor s_t per task and channel (LayerScale,
            arXiv 2103.17239). Default: False.
        layer_scale: what all s_t of ``residual`` start at. With 0 an untrained exchange changes
            nothing, as in ReZero (arXiv 2003.04887). Default: 0.
        pre_norm: norms before attention and feed-forward network, and an identity path past both
            (arXiv 2002.04745), in place of the official order. Default: False.
        position_bias: add to the attention's logits a learned number per head and offset between
            the two pixels, the same for all tasks: Swin's relative position bias
            (arXiv 2103.14030, section 3.2). It starts near 0. Default: False.
        per_task: which parts have weights of their own for each task, out of ``'qkv'`` (queries,
            keys and values), ``'proj'`` (the projection after the attention) and ``'ffn'`` (the
            feed-forward network). All three: the joint attention of Stable Diffusion 3
            (arXiv 2403.03206, section 4), whose streams are tasks here. Default: none.
        listens_to: which tokens of its window a token attends to. ``'all'``; ``'others'``: those of
            the other tasks, as the tasks of MTI-Net's distillation (arXiv 2001.06902) do;
            ``'task_per_head'``: each task is heard by ``num_heads`` / T heads that attend to its
            tokens alone, so that tasks do not compete in one softmax, as the attention per type of
            source node of HAN (arXiv 1903.07293). Default: ``'all'``.

    Shapes: ``{task: (N, C, H, W)}`` kept.

    Raises:
        ValueError: fewer than two tasks, no layers, channels that heads or ``reduction`` do not
            divide, a per-layer option of the wrong length or range, a name that is none,
            ``layer_scale`` without ``residual``, heads that tasks do not divide.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        window_size: int | Sequence[int] = 7,
        num_heads: int = 4,
        num_layers: int = 2,
        shift_size: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        mask_padding: bool = False,
        ffn_ratio: float = 4,
        reduction: int = 1,
        pooling: int = 1,
        residual: bool = False,
        layer_scale: float = 0,
        pre_norm: bool = False,
        position_bias: bool = False,
        per_task: Sequence[str] = (),
        listens_to: str = 'all',
    ) -> None:
        super().__init__()
        if len(tasks) < 2:
            raise ValueError(
                'model.decoder.interaction (WMCA): expected at least two tasks, got '
                f"{list(tasks)}. Use interaction=dict(type='NoInteraction') for a single task."
            )
        if num_layers < 1:
            raise ValueError(
                'model.decoder.interaction.num_layers (WMCA): expected 1 or more, got '
                f"{num_layers}. Use interaction=dict(type='NoInteraction') for none."
            )
        require_divisible(
            'model.decoder.interaction (WMCA)', 'channels', channels, reduction, f'{reduction=}'
        )
        width = channels // reduction
        require_divisible(
            'model.decoder.interaction (WMCA)',
            'channels / reduction',
            width,
            num_heads,
            f'{num_heads=}',
        )
        if layer_scale and not residual:
            raise ValueError(
                'model.decoder.interaction.layer_scale (WMCA): expected 0 without residual=True, '
                f'whose factors start at it, got {layer_scale}.'
            )
        _require_names('per_task', per_task, PER_TASK)
        _require_names('listens_to', [listens_to], LISTENS_TO)
        if listens_to == 'task_per_head':
            require_divisible(
                'model.decoder.interaction (WMCA)',
                'num_heads',
                num_heads,
                len(tasks),
                f'{listens_to=} and {len(tasks)} tasks',
            )
        self.tasks = tuple(tasks)
        self.num_heads = num_heads
        self.listens_to = listens_to
        self.window_sizes = _per_layer('window_size', window_size, num_layers, minimum=1)
        self.dilations = _per_layer('dilation', dilation, num_layers, minimum=1)
        if isinstance(shift_size, int):
            shift_size = [shift_size if layer % 2 else 0 for layer in range(num_layers)]
        self.shift_sizes = _per_layer('shift_size', shift_size, num_layers, minimum=0)
        for shift, size, step in zip(
            self.shift_sizes, self.window_sizes, self.dilations, strict=True
        ):
            if shift >= size * step:
                raise ValueError(
                    'model.decoder.interaction.shift_size (WMCA): expected less than window_size '
                    f'* dilation = {size * step}, got {shift}.'
                )
        self.mask_padding = mask_padding
        self.pooling = pooling
        self.pre_project = self.post_project = None
        if reduction > 1:
            self.pre_project = nn.ModuleDict(
                {task: nn.Conv2d(channels, width, 1) for task in tasks}
            )
            self.post_project = nn.ModuleDict(
                {task: nn.Conv2d(width, channels, 1) for task in tasks}
            )
        self.layers = nn.ModuleList(
            CrossTaskLayer(
                width,
                self.tasks,
                num_heads,
                ffn_ratio,
                pre_norm,
                position_bias=size if position_bias else 0,
                per_task=per_task,
            )
            for size in self.window_sizes
        )
        self.scales = None
        if residual:
            self.scales = nn.ParameterDict(
                {task: torch.full((channels, 1, 1), float(layer_scale)) for task in tasks}
            )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        exchanged = self.exchange(maps)
        if self.scales is None:
            return exchanged
        return {task: maps[task] + self.scales[task] * exchanged[task] for task in self.tasks}

    def exchange(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the layers make of the maps, at their size."""
        size = tuple(maps[self.tasks[0]].shape[-2:])
        attended = self.attend(self.reduce(maps))
        attended = {task: resize(x, size, align_corners=True) for task, x in attended.items()}
        if self.post_project is None:
            return attended
        return {task: self.post_project[task](x) for task, x in attended.items()}

    def reduce(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The maps that the layers see: ``(N, C / reduction, H / pooling, W / pooling)``."""
        if self.pre_project is not None:
            maps = {task: self.pre_project[task](maps[task]) for task in self.tasks}
        if self.pooling > 1:
            maps = {task: F.max_pool2d(maps[task], self.pooling) for task in self.tasks}
        return maps

    def attend(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The layers, one after the other, each on windows of its own."""
        first = maps[self.tasks[0]]
        num = first.shape[0]  # not len(first), which an export would make a constant
        x = stack_tasks(maps, self.tasks)
        for layer, grid in zip(self.layers, self.grids(*first.shape[2:]), strict=True):
            mask = self.mask(grid, num, first.device)
            x = grid.merge(layer(grid.cut(x), mask), num)
        return unstack_tasks(x, self.tasks, first)

    def grids(self, height: int, width: int) -> list[WindowGrid]:
        """How each layer cuts a map of H x W pixels into windows."""
        options = zip(self.window_sizes, self.dilations, self.shift_sizes, strict=True)
        return [WindowGrid(height, width, *layer_options) for layer_options in options]

    def mask(self, grid: WindowGrid, num: int, device: torch.device) -> Tensor | None:
        """The attention mask of N = ``num`` maps, ``(N * windows, 1 or heads, L, L)``, or with a 1
        in front where it is that of every window; None: nothing is hidden.
        """
        mask = grid.mask(len(self.tasks), device, self.mask_padding)
        if mask is not None:
            mask = mask.expand(num, -1, -1, -1).flatten(0, 1)[:, None]
        if self.listens_to == 'all':
            return mask
        heard = self.heard(grid.window_size**2, device)
        return heard if mask is None else mask & heard

    def heard(self, pixels: int, device: torch.device) -> Tensor:
        """Which tasks' tokens are heard by which, ``(1, 1 or heads, L, L)`` bool."""
        num_tasks = len(self.tasks)
        task = torch.arange(num_tasks, device=device).repeat(pixels)
        if self.listens_to == 'others':
            return (task[:, None] != task)[None, None]
        of_head = torch.arange(self.num_heads, device=device) % num_tasks
        return (of_head[:, None, None] == task).expand(-1, len(task), -1)[None]


def _require_names(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    if isinstance(names, str):
        raise ValueError(
            f'model.decoder.interaction.{option} (WMCA): expected a list of names out of '
            f'{known}, got the text {names!r}. Write [{names!r}].'
        )
    for name in names:
        if name not in known:
            raise ValueError(
                f'model.decoder.interaction.{option} (WMCA): expected a name out of {known}, got '
                f'{name!r}.{did_you_mean(name, known)}'
            )


def _per_layer(
    name: str, value: int | Sequence[int], num_layers: int, minimum: int
) -> tuple[int, ...]:
    values = (value,) * num_layers if isinstance(value, int) else tuple(value)
    if len(values) != num_layers or min(values, default=minimum) < minimum:
        raise ValueError(
            f'model.decoder.interaction.{name} (WMCA): expected an integer of at least '
            f'{minimum}, or one per layer ({num_layers}), got {value}.'
        )
    return values
