"""Sparse attention: each pair of tasks chooses the context that helps, out of a pool."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.registry import MODELS
from m2h_mm.system.spelling import did_you_mean

NONE = 'none'
CONTEXTS = ('local', 'global', 'target_regions', 'source_regions')


@MODELS.register_module()
class SparseAttention(nn.Module):
    """Adaptive task-relational context, after ATRC (Bruggemann et al., ICCV 2021,
    arXiv 2104.13874).

    Each task, as a target, attends to each task, as a source (itself too), and for each such pair
    a choice is learned of what it attends to. With q_t, k_s, v_s linear functions, one per task, of
    a layer norm of the maps, to D channels, the contexts of a pixel are

    - ``'local'``: attention to the n x n pixels of the source around it that lie in the map, with a
      learned number per target and offset added to the logits, at the start minus the distance;
    - ``'global'``: to all pixels of the source, as efficient attention (arXiv 1812.01243) does at
      linear cost: ``softmax(q_t) (softmax(k_s)^T v_s)``, over channels and over pixels;
    - ``'source_regions'``, ``'target_regions'``: to R regions of the source's pixels, each a mean
      of k_s and v_s with weights ``softmax(linear(x))`` over pixels, x the source's or the target's
      map;
    - ``'none'``: nothing.

    ``y_t = x_t + sum_s linear_ts(sum_c w_tsc context_tsc)``, where the weights ``w_ts =
    sparsemax(preference_ts)`` (arXiv 1602.02068) are at least 0, sum to 1, are equal at the start,
    and become exactly 0 for contexts that fall behind; where one has all the weight the choice is
    final. ``weights()`` tells them, and ``found()`` names the contexts with the greatest, in the
    form of ``choice``: then only these are computed. The order of the tasks does not matter. Time
    and memory are linear in the area, with ``D (2 n^2 + D + 6 R + C)`` multiply-adds per pixel and
    pair. linear_ts starts at zero: an untrained exchange changes nothing.

    Read were ATRC's abstract and summaries of it with its figure 2. As there, the pool has these
    five, chosen per pair of target and source, and a choice that was found can be trained alone.
    Decided here: without the numbers per offset a pixel could not find its own place in the source.
    ATRC searches by samples of a Gumbel softmax and keeps the largest; a sparsemax
    needs no noise, no temperature and no second training, and the model that is evaluated is the
    one that was trained. ATRC's regions are classes that auxiliary predictions tell; an interaction
    is given none, so they are learned from the maps. A task's projections serve all its pairs.

    Training: the preferences are few and move slowly at the rate of other weights. 10 times that is
    ``optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'interaction.preference':
    dict(lr_mult=10, decay_mult=0)}))``.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.
        key_channels: D. Default: 16.
        window_size: n in pixels, odd. Default: 5.
        num_regions: R. Default: 16.
        choice: the context of each pair, ``{target: {source: name}}``; pairs that are left out have
            ``'none'``. Default: None, which learns it.

    Shapes: ``{task: (N, C, H, W)}`` kept.

    Raises:
        ValueError: a ``window_size`` that is even, numbers below 1, or names in ``choice`` that are
            no tasks or contexts.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        key_channels: int = 16,
        window_size: int = 5,
        num_regions: int = 16,
        choice: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__()
        owner = 'model.decoder.interaction (SparseAttention)'
        if min(key_channels, window_size, num_regions) < 1 or window_size % 2 == 0:
            raise ValueError(
                f'{owner}: expected key_channels, window_size and num_regions of at least 1, '
                f'window_size odd, got {key_channels=}, {window_size=}, {num_regions=}.'
            )
        self.tasks = tuple(tasks)
        self.sizes = (key_channels,) * 3 + (num_regions,)
        self.pool = _pool(owner, choice, self.tasks)
        used = {task for pair, names in self.pool.items() for task in pair if names}
        used = [task for task in self.tasks if task in used]
        self.norms = nn.ModuleDict({task: nn.LayerNorm(channels) for task in used})
        self.project = nn.ModuleDict({task: nn.Linear(channels, sum(self.sizes)) for task in used})
        self.position = nn.ParameterDict(
            {
                target: -distances(window_size)
                for target in self.tasks
                if any('local' in self.pool[target, source] for source in self.tasks)
            }
        )
        self.out, self.preference = nn.ModuleDict(), nn.ModuleDict()
        for target in self.tasks:
            sources = [source for source in self.tasks if self.pool[target, source]]
            self.out[target] = nn.ModuleDict(
                {source: nn.Linear(key_channels, channels, bias=False) for source in sources}
            )
            for layer in self.out[target].values():
                nn.init.zeros_(layer.weight)
            if choice is None:
                self.preference[target] = nn.ParameterDict(
                    {source: torch.zeros(1 + len(CONTEXTS)) for source in sources}
                )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        height, width = maps[self.tasks[0]].shape[2:]
        parts = {}
        for task, project in self.project.items():
            x = project(self.norms[task](maps[task].permute(0, 2, 3, 1)).flatten(1, 2))
            query, key, value, regions = x.split(self.sizes, dim=2)
            parts[task] = query, key, value, regions.softmax(1)
        attended, weights = {task: maps[task] for task in self.tasks}, self.weights()
        for source in parts:
            for target, found in self._contexts(parts, source, (height, width)).items():
                if weights:
                    shares = weights[target][source]
                    heard = sum(shares[1 + CONTEXTS.index(name)] * x for name, x in found.items())
                else:
                    (heard,) = found.values()
                heard = self.out[target][source](heard).transpose(1, 2)
                attended[target] = attended[target] + heard.unflatten(2, (height, width))
        return attended

    def _contexts(
        self, parts: Mapping[str, Sequence[Tensor]], source: str, size: tuple[int, int]
    ) -> dict[str, dict[str, Tensor]]:
        """What each target finds in one source, ``(N, H W, D)``, by target and context."""
        _, key, value, regions = parts[source]
        contexts: dict[str, dict[str, Tensor]] = {}
        for name in CONTEXTS:
            targets = [target for target in self.tasks if name in self.pool[target, source]]
            if not targets:
                continue
            query = torch.stack([parts[target][0] for target in targets], dim=1)
            if name == 'local':
                position = torch.stack([self.position[target] for target in targets])
                found = local_attention(query, key, value, position, size)
            elif name == 'global':
                found = linear_attention(query, key, value)
            else:
                of_regions = regions[:, None]
                if name == 'target_regions':
                    of_regions = torch.stack([parts[target][3] for target in targets], dim=1)
                found = region_attention(query, key, value, of_regions)
            for target, x in zip(targets, found.unbind(1), strict=True):
                contexts.setdefault(target, {})[name] = x
        return contexts

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """What is learned, by target and source: the weights of ``'none'`` and of the contexts in
        the order of ``CONTEXTS``, ``(5,)``. Empty with a ``choice``.
        """
        if not self.preference:
            return {}
        # All at once, which is a few nodes of an exported graph.
        of_pairs = [x for pairs in self.preference.values() for x in pairs.values()]
        stacked = iter(sparsemax(torch.stack(of_pairs)).unbind())
        return {
            target: {source: next(stacked) for source in pairs}
            for target, pairs in self.preference.items()
        }

    def found(self) -> dict[str, dict[str, str]]:
        """The contexts of the greatest weights, ``{target: {source: name}}``, for ``choice``."""
        names = (NONE, *CONTEXTS)
        return {
            target: {source: names[int(x.argmax())] for source, x in pairs.items()}
            for target, pairs in self.weights().items()
        }


def _pool(
    owner: str, choice: Mapping[str, Mapping[str, str]] | None, tasks: Sequence[str]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """The contexts that each pair of target and source considers."""
    if choice is None:
        return {(target, source): CONTEXTS for target in tasks for source in tasks}
    pool = {(target, source): () for target in tasks for source in tasks}
    for target, of_target in choice.items():
        for source, name in of_target.items():
            key = f'{owner}: choice.{target}.{source}'
            for task in (target, source):
                if task not in tasks:
                    raise ValueError(
                        f'{key}: expected tasks out of {list(tasks)}, got {task!r}.'
                        f'{did_you_mean(task, tasks)}'
                    )
            if name not in (NONE, *CONTEXTS):
                raise ValueError(
                    f'{key}: expected one of {[NONE, *CONTEXTS]}, got {name!r}.'
                    f'{did_you_mean(name, (NONE, *CONTEXTS))}'
                )
            pool[target, source] = () if name == NONE else (name,)
    return pool


def sparsemax(logits: Tensor) -> Tensor:
    """The point of the simplex that is nearest to K numbers (Martins and Astudillo,
    arXiv 1602.02068, algorithm 1), of the last dimension.
    """
    ordered = logits.sort(dim=-1, descending=True).values
    above = ordered.cumsum(dim=-1) - 1
    count = torch.arange(1, logits.shape[-1] + 1, dtype=logits.dtype, device=logits.device)
    support = (count * ordered > above).sum(dim=-1, keepdim=True)
    threshold = above.gather(-1, support - 1) / support.to(logits.dtype)
    return (logits - threshold).clamp(min=0)


def distances(window_size: int) -> Tensor:
    """Of the n x n pixels of a window from its centre, row by row, in pixels."""
    offsets = torch.arange(window_size, dtype=torch.get_default_dtype()) - window_size // 2
    return torch.hypot(offsets[:, None], offsets[None]).flatten()


def local_attention(
    query: Tensor, key: Tensor, value: Tensor, position: Tensor, size: tuple[int, int]
) -> Tensor:
    """Attention to the n x n pixels around each that lie in the map.

    Shapes: query ``(N, T, H W, D)``, kept; key and value ``(N, H W, D)``; position ``(T, n^2)``,
    what is added to the logits; size H and W.
    """
    window_size = math.isqrt(position.shape[1])
    reach = window_size // 2

    def around(x: Tensor) -> Tensor:
        """``(N, H W, D)`` to ``(N, H W, n^2, D)``, zeros outside the map."""
        maps = F.pad(x.unflatten(1, size), (0, 0, reach, reach, reach, reach))
        windows = maps.unfold(1, window_size, 1).unfold(2, window_size, 1)
        return windows.permute(0, 1, 2, 4, 5, 3).flatten(3, 4).flatten(1, 2)

    inside = around(torch.ones_like(key[:1, :, :1])).mT > 0
    logits = query.transpose(1, 2) @ around(key).mT * key.shape[2] ** -0.5 + position
    logits = logits.masked_fill(~inside, -torch.inf)
    return (logits.softmax(dim=3) @ around(value)).transpose(1, 2)


def linear_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Efficient attention (Shen et al., arXiv 1812.01243): to all pixels, at a cost that is linear
    in their number.

    Shapes: query ``(N, T, H W, D)``, kept; key and value ``(N, H W, D)``.
    """
    summary = key.softmax(dim=1).mT @ value
    return query.softmax(dim=3) @ summary[:, None]


def region_attention(query: Tensor, key: Tensor, value: Tensor, regions: Tensor) -> Tensor:
    """Attention to means of pixels.

    Shapes: query ``(N, T, H W, D)``, kept; key and value ``(N, H W, D)``; regions ``(N, T or 1,
    H W, R)``, the shares of the pixels.
    """
    key, value = regions.mT @ key[:, None], regions.mT @ value[:, None]
    logits = query @ key.mT * key.shape[3] ** -0.5
    return logits.softmax(dim=3) @ value
