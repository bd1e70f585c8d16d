"""A low-rank change of one layer, which is added to the layer's output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LowRank(nn.Module):
    """The matrices of ``B A x``, a change that is zero at first.

    Args:
        layer: a linear layer or an ungrouped convolution.
        out_channels: D, of the layer's output, or of the part of it that is changed.
        rank: R.

    Parameters: ``A`` ``(R, C)``, or ``(R, C, kh, kw)`` for a convolution, uniform within ``+-1 /
    sqrt(inputs)``; ``B`` ``(D, R)``, zero.
    """

    def __init__(self, layer: nn.Module, out_channels: int, rank: int) -> None:
        super().__init__()
        shape, options = layer.weight.shape[1:], dict(dtype=layer.weight.dtype)
        bound = 1 / math.sqrt(math.prod(shape))
        device = layer.weight.device
        self.A = nn.Parameter(torch.empty(rank, *shape, device=device, **options))
        self.B = nn.Parameter(torch.zeros(out_channels, rank, device=device, **options))
        nn.init.uniform_(self.A, -bound, bound)

    def change(self) -> Tensor:
        """``B A`` in the shape of the layer's weight, float64."""
        return torch.einsum('or,r...->o...', self.B.double(), self.A.double())


class LayerAdapter:
    """What is added to the output of one layer: ``y = layer(x) + scale B (A dropout(x))``.

    It works by a hook, so that the layer keeps its class, its weights and their names, and whoever
    calls it gets the sum. Its parameters are where ``parts`` are registered.

    Args:
        layer: a linear layer or an ungrouped convolution.
        parts: one :class:`LowRank` by task for each of the equal parts of the output, None for a
            part that is not changed. A single one changes the whole output. Adapters that serve all
            tasks stand under the name ``''``.
        scale: factor of the change.
        dropout: probability that a value of x is left out of the change, in training.

    Attributes:
        tasks: those whose samples x holds, one after the other; as many samples of each.

    Raises:
        RuntimeError: the layer is called for no task.
    """

    def __init__(
        self,
        layer: nn.Module,
        parts: Sequence[Mapping[str, LowRank] | None],
        scale: float,
        dropout: float,
    ) -> None:
        self.layer, self.parts = layer, [part and dict(part) for part in parts]
        self.scale, self.dropout = scale, dropout
        self.tasks: tuple[str, ...] = ('',)
        self.handle = layer.register_forward_hook(self.add)

    def add(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """The hook."""
        x = inputs[0]
        if len(self.parts) == 1:
            return output + self._changed(x, self.parts[0])
        pieces = zip(output.chunk(len(self.parts), dim=-1), self.parts, strict=True)
        return torch.cat(
            [piece if part is None else piece + self._changed(x, part) for piece, part in pieces],
            dim=-1,
        )

    @torch.no_grad()
    def merge(self) -> None:
        """Put the change into the layer's weight, and take the hook off.

        Raises:
            ValueError: there is one for each of several tasks.
        """
        for index, part in enumerate(self.parts):
            if part is None:
                continue
            (pair,) = (part[task] for task in self.tasks)
            weight = self.layer.weight.chunk(len(self.parts))[index]
            weight.copy_(weight.double() + self.scale * pair.change())
        self.handle.remove()

    def _changed(self, x: Tensor, part: Mapping[str, LowRank]) -> Tensor:
        pairs = [part[task] for task in self.tasks]
        if not pairs:
            raise RuntimeError(
                'model.adapters.per_task=True: the backbone was called for no task. Call '
                'model.extract_features() or model.adapters.run().'
            )
        if self.dropout:  # 0 would keep a mask for the backward pass
            x = F.dropout(x, self.dropout, pairs[0].training)
        if isinstance(self.layer, nn.Linear):
            return self._of_tokens(x, pairs)
        found = [
            self._of_map(share, pair)
            for share, pair in zip(x.chunk(len(pairs)), pairs, strict=True)
        ]
        return torch.cat(found) if len(found) > 1 else found[0]

    def _of_tokens(self, x: Tensor, pairs: list[LowRank]) -> Tensor:
        if len(pairs) == 1:
            return F.linear(self.scale * F.linear(x, pairs[0].A), pairs[0].B)
        first = torch.stack([pair.A for pair in pairs]).transpose(1, 2)
        second = torch.stack([pair.B for pair in pairs]).transpose(1, 2)
        rows = x.reshape(len(pairs), -1, x.shape[-1])
        return (self.scale * (rows @ first) @ second).view(*x.shape[:-1], -1)

    def _of_map(self, x: Tensor, pair: LowRank) -> Tensor:
        # Padded and strided as the layer's own.
        reduced = self.layer._conv_forward(x, pair.A, None)
        return F.conv2d(self.scale * reduced, pair.B[:, :, None, None])
