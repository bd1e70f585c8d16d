"""The modules of a backbone that sharding and adapters take as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def backbone_units(backbone: nn.Module) -> tuple[nn.Module, ...]:
    """What a backbone declares by ``units()``; without it, its composite children.

    Those are the stages of mmseg's ResNet and HRNet, the stages of its Swin, the layers of its
    ViT: children that are made of several modules, a list of modules taken apart, as it is no
    module that is called. A single layer at the top, such as the first convolution, is no unit.

    The units do not overlap, and each is called as a module in the backbone's forward pass.
    """
    if hasattr(backbone, 'units'):
        return tuple(backbone.units())
    return tuple(_composite_children(backbone))


def _composite_children(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)):
            yield from _composite_children(child)
        elif list(child.children()) and list(child.parameters()):
            yield child
