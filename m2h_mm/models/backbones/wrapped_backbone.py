"""What the backbones of other libraries share: sizes, units and unused weights, looked up once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import lcm
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from m2h_mm.models.building import NOT_ON_META
from m2h_mm.structures import Features

from .architectures import block_numbers, patch_grid, quarters
from .staged_backbone import StagedBackbone
from .units import backbone_units

# What transformers and timm call the list of blocks or stages.
UNIT_LISTS = ('blocks', 'layer', 'layers', 'stages')
LEVELS = 4  # maps that a backbone yields by default


class Normalisation(NamedTuple):
    """What weights were trained with, of RGB in 0..255.

    Attributes:
        mean, std: per channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Facts(NamedTuple):
    """What is found out about a network by running a copy of it without values.

    Attributes:
        channels, strides: of each map.
        divisor: sides of an image must be multiples of it, pixels.
        unused: parameters that no output depends on.
    """

    channels: tuple[int, ...]
    strides: tuple[float, ...]
    divisor: int
    unused: tuple[str, ...]


class WrappedBackbone(StagedBackbone):
    """A network of another library, in ``model``.

    A subclass calls :meth:`wrap` at the end of its ``__init__``, and says in :meth:`read` how
    features come out of the network.

    Attributes:
        out_channels, strides: of each map.
        size_divisor: sides of an image must be multiples of it, pixels. The model compares it with
            ``data_preprocessor.size_divisor`` when it is built.
        unused: names of the parameters of ``model`` that no output depends on.
        normalisation: :class:`Normalisation` of the loaded weights, None where it is not known. The
            model compares it with its ``data_preprocessor`` once the weights are loaded.
    """

    BEGINNING = ('embedding or stem',)
    UNITS = 'units'

    def __init__(self, frozen_stages: int, init_cfg: Mapping[str, Any] | None) -> None:
        super().__init__(frozen_stages, init_cfg)
        self.normalisation: Normalisation | None = None

    @abstractmethod
    def read(self, model: nn.Module, image: Tensor) -> Features:
        """What ``model`` makes of ``image (N, 3, H, W)``."""

    def wrap(self, build: Callable[[], nn.Module], native: Sequence[int]) -> None:
        """Build the network, freeze what is to be frozen and what nothing depends on.

        Args:
            build: makes it.
            native: (H, W) in pixels of an image that it surely takes.

        Raises:
            ValueError: it takes images of one size only; ``frozen_stages`` is not possible.
        """
        facts = find_facts(build, self.read, native)
        self.out_channels, self.strides = facts.channels, facts.strides
        self.size_divisor = facts.divisor
        self.unused = frozenset(facts.unused)
        self.model = build()
        self.freeze_stages()
        for name in facts.unused:
            # DistributedDataParallel would wait for its gradient.
            self.model.get_parameter(name).requires_grad_(False)

    def forward(self, image: Tensor) -> Features:
        patch_grid(image, self.size_divisor, type(self).__name__)
        return self.read(self.model, image)

    def units(self) -> tuple[nn.Module, ...]:
        """The blocks or stages; of a network without a list of them, its composite children."""
        for name, module in self.model.named_modules():
            if isinstance(module, (nn.ModuleList, nn.Sequential)) and (
                name.rpartition('.')[2] in UNIT_LISTS
            ):
                if any(isinstance(unit, nn.ModuleList) for unit in module):
                    break  # which is not called as a module
                return tuple(module)
        return backbone_units(self.model)

    def _frozen_parts(self) -> list[nn.Module | Tensor]:
        if self.frozen_stages < 0:
            return []
        return [*_before(self.model, self.units()[0]), *self.units()[: self.frozen_stages]]


def _before(model: nn.Module, unit: nn.Module) -> Iterator[nn.Module | Tensor]:
    """Modules and parameters that are registered before ``unit``."""
    for module in model.modules():
        if module is unit:
            return
        if any(inner is unit for inner in module.modules()):
            yield from module.parameters(recurse=False)
        else:
            yield module


def find_facts(
    build: Callable[[], nn.Module],
    read: Callable[[nn.Module, Tensor], Features],
    native: Sequence[int],
) -> Facts:
    """Look at a network, see :class:`Facts`.

    It is built once more on the meta device, where it takes neither memory nor time; on the CPU
    where the library looks at values while it builds.

    Args:
        build: makes the network.
        read: gets features from it.
        native: (H, W) in pixels of an image that it surely takes.

    Raises:
        ValueError: it takes no other images.
    """
    try:
        with torch.device('meta'):
            twin = build().eval()
        features = read(twin, _blank(twin, native))
    except NOT_ON_META:
        twin = build().eval()
        features = read(twin, _blank(twin, native))
    strides = tuple(_stride(native[0], level.shape[-2]) for level in features.maps)
    names, parameters = zip(*twin.named_parameters(), strict=True)
    outputs = [*features.maps, *(features.cls_tokens or ()), *(features.register_tokens or ())]
    gradients = torch.autograd.grad(
        sum(output.sum() for output in outputs), parameters, allow_unused=True
    )
    return Facts(
        channels=tuple(level.shape[1] for level in features.maps),
        strides=strides,
        divisor=_divisor(twin, read, native, strides),
        unused=tuple(name for name, value in zip(names, gradients, strict=True) if value is None),
    )


def _divisor(
    model: nn.Module,
    read: Callable[[nn.Module, Tensor], Features],
    native: Sequence[int],
    strides: Sequence[float],
) -> int:
    """Of the sides of an image: the coarsest stride or, for windows that must fit without rest,
    what both native sides divide.
    """
    for divisor in (round(max(strides)), lcm(*native)):
        size = (native[0] + divisor, native[1])
        try:
            with torch.no_grad():
                maps = read(model, _blank(model, size)).maps
        except Exception:  # whatever a library raises at a size that it does not take
            continue
        if all(
            level.shape[-2] == size[0] / stride for level, stride in zip(maps, strides, strict=True)
        ):
            return divisor
    raise ValueError(
        f'model.backbone: this network takes images of {native[0]}x{native[1]} (HxW) alone, and '
        'frames come in other sizes. Choose a network without fixed positions, or look in its '
        'library for an option that resamples them and set it in model.backbone.options.'
    )


def _blank(model: nn.Module, size: Sequence[int]) -> Tensor:
    return torch.zeros(1, 3, *size, device=next(model.parameters()).device)


def _stride(length: int, cells: int) -> float:
    return length // cells if length % cells == 0 else length / cells


def choose_levels(out_indices: Sequence[int] | None, count: int, plain: bool) -> tuple[int, ...]:
    """The blocks of a plain transformer, or the levels of a pyramid, whose outputs are returned.

    Args:
        out_indices: as the config states them. None: four blocks, a quarter of the depth apart, or
            the last four levels.
        count: how many there are.
        plain: whether they are blocks.

    Raises:
        ValueError: they are no ascending numbers of those.
    """
    if out_indices is not None:
        return block_numbers(out_indices, count, 'block' if plain else 'level')
    return quarters(count) if plain else tuple(range(max(0, count - LEVELS), count))


def from_tokens(tokens: Sequence[Tensor], grid: tuple[int, int]) -> Features:
    """Maps, class tokens and registers of a plain transformer.

    Args:
        tokens: per level ``(N, P + h * w, C)``, with P others before those of the patches, row by
            row. The first of the P is the class token; the rest count as registers.
        grid: (h, w).
    """
    prefix = tokens[0].shape[1] - grid[0] * grid[1]
    return Features(
        maps=tuple(level[:, prefix:].transpose(1, 2).unflatten(2, grid) for level in tokens),
        cls_tokens=tuple(level[:, 0] for level in tokens) if prefix else None,
        register_tokens=tuple(level[:, 1:prefix] for level in tokens) if prefix > 1 else None,
    )
