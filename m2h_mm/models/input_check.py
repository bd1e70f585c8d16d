"""Whether the preprocessor makes the input that a backbone is made for."""

from __future__ import annotations

import logging

import torch
from mmengine.logging import print_log
from torch import nn

# Of values in 0..255: less than what rounding to integers changes.
SAME = 0.51


def require_padding(backbone: nn.Module, preprocessor: nn.Module) -> None:
    """Compare the ``size_divisor`` of a backbone that states one with what images are padded to.

    Raises:
        ValueError: padded images would not fit.
    """
    wanted = getattr(backbone, 'size_divisor', None)
    pipeline = getattr(preprocessor, 'pipeline', None)
    if wanted and pipeline is not None and pipeline.size_divisor % wanted:
        raise ValueError(
            f'model.data_preprocessor.size_divisor={pipeline.size_divisor}: model.backbone '
            f'({type(backbone).__name__}) takes images whose sides are multiples of {wanted}. Set '
            f'model.data_preprocessor.size_divisor={wanted}, to which images are padded.'
        )


def warn_of_normalisation(backbone: nn.Module, preprocessor: nn.Module) -> None:
    """Log a warning if a backbone knows what its weights were trained with, and images are
    normalised otherwise.
    """
    wanted = getattr(backbone, 'normalisation', None)
    pipeline = getattr(preprocessor, 'pipeline', None)
    if wanted is None or pipeline is None:
        return
    given = torch.stack([pipeline.mean, pipeline.std]).flatten().cpu()
    if (given - torch.tensor([*wanted.mean, *wanted.std])).abs().max() < SAME:
        return
    ours, theirs = (
        'mean={}, std={}'.format(*([round(float(value), 3) for value in values] for values in pair))
        for pair in ((pipeline.mean.flatten(), pipeline.std.flatten()), wanted)
    )
    print_log(
        f'model.data_preprocessor normalises with {ours}, but the weights of model.backbone '
        f'({type(backbone).__name__}) were trained with others. Set '
        f'model.data_preprocessor=dict({theirs}), unless that is meant.',
        'current',
        logging.WARNING,
    )
