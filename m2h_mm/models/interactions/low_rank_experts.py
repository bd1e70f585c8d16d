"""Low-rank experts: convolutions that all tasks share, mixed anew for each task and image."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS

KEY = 'model.decoder.interaction'


@MODELS.register_module()
class LowRankExperts(nn.Module):
    """Mixture of low-rank experts, MLoRE (Yang et al., CVPR 2024, arXiv 2403.17749).

    ``y_t = x_t + s_t * f_t(x_t)``, where f_t are :class:`RoutedConv` s one after the other, with
    ``conv1(BN(GELU(.)))`` of each task's own between two of them. In each, the map of a task goes
    through three paths, which are summed: one convolution that all tasks share, low-rank
    convolutions (experts) that all tasks share, of which a router of the task takes ``top_k`` for
    each image, and one low-rank convolution of the task's own.

    No task looks at another's map: tasks meet in the weights alone. So a task can be computed
    without the others. All paths are linear in the map, so that their kernels can be summed
    before the convolution: per image, since the router looks at the image.
    :func:`~m2h_mm.models.optimize.optimize` does this for inference.

    Read were the paper's abstract, its figure 2 and the sentence on how modules are stacked
    (appendix A.1): two modules, a task's own block of GELU, batch norm and linear layer between
    them. What follows was decided here. The router is two linear layers on the map's mean, in
    float32, and a softmax over the ``top_k`` largest. Experts have a batch norm between their two
    convolutions, with statistics for each task, because an expert sees maps of all tasks. Ranks,
    their number and ``top_k`` are for maps of about 50 channels. The paper has no path around its
    modules; ``x_t`` and the small ``s_t`` are this project's, so that the exchange begins close to
    no change.

    Multiply-adds per pixel, task and module: ``k^2 C^2 + (k^2 + 1) C R`` for kernels k x k, with R
    the sum of all ranks; for inference ``k^2 C^2``, and ``k^2 C^2 R`` for each image.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks, one or more. Filled in by the decoder.
        ranks: rank of each shared expert. Default: 2 to 16 in steps of 2.
        top_k: shared experts that a task takes for an image. Default: 5.
        task_rank: rank of the task's own expert. Default: 8.
        kernel_size: k, odd, of the shared convolution and of every expert. Default: 3.
        num_layers: modules, one after the other. Default: 2.
        layer_scale: what the learned factors s_t, one per task and channel, start at
            (LayerScale, arXiv 2103.17239). Default: 0.1.

    Shapes: ``{task: (N, C, H, W)}`` kept; any of the tasks.

    Raises:
        ValueError: no layers, no expert, a rank below 1, ``top_k`` that is not among 1 to the
            number of experts, an even kernel.
    """

    independent = True  # tasks share weights, not maps

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        ranks: Sequence[int] = (2, 4, 6, 8, 10, 12, 14, 16),
        top_k: int = 5,
        task_rank: int = 8,
        kernel_size: int = 3,
        num_layers: int = 2,
        layer_scale: float = 0.1,
    ) -> None:
        super().__init__()
        _require_at_least_one('ranks', *ranks, 0 if not ranks else 1)
        _require_at_least_one('task_rank', task_rank)
        _require_at_least_one('num_layers', num_layers)
        if not 1 <= top_k <= len(ranks):
            raise ValueError(
                f'{KEY}.top_k (LowRankExperts): expected 1 to the number of experts, '
                f'{len(ranks)}, got {top_k}. Change it, or give more ranks.'
            )
        if kernel_size % 2 == 0:
            raise ValueError(
                f'{KEY}.kernel_size (LowRankExperts): expected an odd number, got {kernel_size}.'
            )
        self.tasks = tuple(tasks)
        self.layers = nn.ModuleList(
            RoutedConv(channels, self.tasks, ranks, top_k, task_rank, kernel_size)
            for _ in range(num_layers)
        )
        self.between = nn.ModuleList(
            nn.ModuleDict({task: _nonlinear(channels) for task in self.tasks})
            for _ in range(num_layers - 1)
        )
        self.scales = nn.ParameterDict(
            {task: torch.full((channels, 1, 1), float(layer_scale)) for task in self.tasks}
        )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        return {task: x + self.scales[task] * self.refine(x, task) for task, x in maps.items()}

    def refine(self, x: Tensor, task: str) -> Tensor:
        """What the modules make of the map of one task, ``(N, C, H, W)`` kept."""
        x = self.layers[0](x, task)
        for nonlinear, layer in zip(self.between, self.layers[1:], strict=True):
            x = layer(nonlinear[task](x), task)
        return x


class RoutedConv(nn.Module):
    """One module of MLoRE: ``W x + sum_e g_e B_e BN_t(A_e x) + B_t BN_t(A_t x)``.

    W is a ``k x k`` convolution with bias; A and B are those of an expert, ``k x k`` from C to its
    rank channels and 1x1 back to C, without bias. The index t stands for a task's own, e runs over
    the shared experts, and g are the :class:`Router` 's gates. The convolutions of all shared
    experts are one: their ranks lie side by side.

    Args:
        channels: C.
        tasks: names of the tasks.
        ranks, top_k, task_rank, kernel_size: see :class:`LowRankExperts`.

    Shapes: ``(N, C, H, W)`` kept.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        ranks: Sequence[int],
        top_k: int,
        task_rank: int,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()

        def conv(out_channels: int, bias: bool = False) -> nn.Conv2d:
            return nn.Conv2d(
                channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias
            )

        self.shared = conv(channels, bias=True)
        self.down = conv(sum(ranks))
        self.norm = nn.ModuleDict({task: nn.BatchNorm2d(sum(ranks)) for task in tasks})
        self.up = nn.Conv2d(sum(ranks), channels, 1, bias=False)
        self.task_down = nn.ModuleDict({task: conv(task_rank) for task in tasks})
        self.task_norm = nn.ModuleDict({task: nn.BatchNorm2d(task_rank) for task in tasks})
        self.task_up = nn.ModuleDict(
            {task: nn.Conv2d(task_rank, channels, 1, bias=False) for task in tasks}
        )
        self.router = nn.ModuleDict({task: Router(channels, len(ranks), top_k) for task in tasks})
        # Of which expert each of the ranks that lie side by side is.
        expert = [index for index, rank in enumerate(ranks) for _ in range(rank)]
        self.register_buffer('expert', torch.tensor(expert), persistent=False)

    def forward(self, x: Tensor, task: str) -> Tensor:
        gates = self.router[task](x)[:, self.expert, None, None]
        code = self.norm[task](self.down(x))
        own = self.task_up[task](self.task_norm[task](self.task_down[task](x)))
        return self.shared(x) + self.up(code * gates.to(code.dtype)) + own


class Router(nn.Module):
    """``softmax(keep_k(linear(GELU(linear(mean of x)))))``: which experts, and how much of each.

    The k largest are kept, and all that equal the k-th; the others are exactly 0. It computes in
    float32 at least: a rounding must not change the choice.

    Args:
        channels: C.
        num_experts: E.
        top_k: k.

    Shapes: ``(N, C, H, W)`` to ``(N, E)``, sums of 1.
    """

    def __init__(self, channels: int, num_experts: int, top_k: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, channels)
        self.score = nn.Linear(channels, num_experts)
        self.top_k = top_k

    def forward(self, x: Tensor) -> Tensor:
        # Devices without arithmetic, on which operations are counted, know no autocast.
        autocast = torch.amp.is_autocast_available(x.device.type)
        with torch.autocast(x.device.type, enabled=False) if autocast else nullcontext():
            mean = x.to(self.hidden.weight.dtype).mean((2, 3))
            scores = self.score(nn.functional.gelu(self.hidden(mean)))
            least = scores.topk(self.top_k, dim=1).values[:, -1:]
            return scores.masked_fill(scores < least, float('-inf')).softmax(dim=1)


def _nonlinear(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.GELU(), nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 1))


def _require_at_least_one(name: str, *values: int) -> None:
    if min(values) < 1:
        raise ValueError(
            f'{KEY}.{name} (LowRankExperts): expected numbers of 1 or more, got {list(values)}.'
        )
