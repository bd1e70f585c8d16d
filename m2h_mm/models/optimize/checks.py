"""Whether a layer is exactly what a fast form takes it for."""

from __future__ import annotations

from torch import nn


def is_exactly(layer: nn.Module | None, cls: type[nn.Module]) -> bool:
    """Whether calling ``layer`` does what ``cls`` says and nothing else.

    A fast form may read the layer's weights in place of calling it only then. Not so for a
    subclass, a wrapper such as an adapter's, a layer with hooks and one whose ``forward`` was
    replaced.
    """
    return (
        type(layer) is cls
        and 'forward' not in layer.__dict__
        and not layer._forward_pre_hooks
        and not layer._forward_hooks
        and not layer._backward_pre_hooks
        and not layer._backward_hooks
    )


def is_pointwise(layer: nn.Module | None) -> bool:
    """Whether ``layer`` is exactly a 1x1 convolution, grouped or not.

    It commutes with bilinear resizing: the weights of a bilinear sample sum to 1, so that a bias
    passes through, too.
    """
    return (
        is_exactly(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and layer.stride == (1, 1)
        and layer.padding == (0, 0)
    )
